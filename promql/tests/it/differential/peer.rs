//! A real Prometheus as a process of its own, filled by remote write.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::remote_write;
use crate::generated::Dataset;

/// A running Prometheus; killed, with its data, when dropped.
pub(super) struct Peer {
    child: Child,
    address: String,
    connection: BufReader<TcpStream>,
    _folder: tempfile::TempDir,
}

/// The binary, if `FERULA_PEERS` names the folder where it is.
pub(super) fn binary() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("FERULA_PEERS")?).join("prometheus"))
}

impl Peer {
    /// Starts one on a free port and waits until it says that it is ready.
    pub(super) fn start(binary: PathBuf, features: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("prometheus.yml");
        std::fs::write(&config, "global: {}\n").expect("a configuration");
        let address = free_address();
        let mut child = Command::new(&binary)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg("--storage.tsdb.retention.time=100y")
            .arg(format!("--web.listen-address={address}"))
            .arg(format!("--enable-feature={features}"))
            .args(["--web.enable-remote-write-receiver", "--log.level=warn"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        let mut log = child.stderr.take().expect("standard error is piped");
        let connection = loop {
            if let Some(status) = child.try_wait().expect("a child") {
                let mut said = String::new();
                let _ = log.read_to_string(&mut said);
                panic!("prometheus ended with {status}:\n{said}");
            }
            if let Ok(stream) = TcpStream::connect(&address) {
                break BufReader::new(stream);
            }
            std::thread::yield_now();
        };
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let mut peer = Self { child, address, connection, _folder: folder };
        while peer.request("GET", "/-/ready", "", b"").0 != 200 {
            std::thread::yield_now();
        }
        peer
    }

    /// Sends all samples: one request for each moment, so that floats and histograms of one series stay in order.
    pub(super) fn fill(&mut self, data: &Dataset) {
        let mut moments: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (labels, samples) in &data.series {
            for sample in samples {
                moments.entry(sample.timestamp).or_default().push((labels, sample));
            }
        }
        for samples in moments.into_values() {
            let body = remote_write::request(samples);
            let headers = "Content-Encoding: snappy\r\nContent-Type: application/x-protobuf\r\n";
            let (status, said) = self.request("POST", "/api/v1/write", headers, &body);
            assert_eq!(status / 100, 2, "remote write: {said}");
        }
    }

    /// Asks the API: the body of its answer, of whatever status.
    pub(super) fn ask(&mut self, path: &str, parameters: &[(&str, String)]) -> String {
        let encoded: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
        self.request("POST", path, headers, encoded.join("&").as_bytes()).1
    }

    /// One request on the open connection: status and body.
    fn request(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let (address, length) = (&self.address, body.len());
        let mut bytes =
            format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Content-Length: {length}\r\n\r\n")
                .into_bytes();
        bytes.extend(body);
        self.connection.get_mut().write_all(&bytes).expect("prometheus listens");
        self.read_answer()
    }

    fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.connection.read_line(&mut line).expect("prometheus answers");
        line.trim_end().to_owned()
    }

    fn read_answer(&mut self) -> (u16, String) {
        let status = self.read_line().split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.read_line().to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("content-length", text)) => length = text.parse().expect("a length"),
                Some(("transfer-encoding", "chunked")) => chunked = true,
                Some(_) => {}
                None => break,
            }
        }
        let mut body = Vec::new();
        while chunked {
            let size = usize::from_str_radix(&self.read_line(), 16).expect("the size of a chunk");
            self.read_exactly(size, &mut body);
            assert_eq!(self.read_line(), "", "a chunk ends with a line break");
            chunked = size > 0;
        }
        self.read_exactly(length, &mut body);
        (status, String::from_utf8(body).expect("answers are UTF-8"))
    }

    fn read_exactly(&mut self, size: usize, body: &mut Vec<u8>) {
        let start = body.len();
        body.resize(start + size, 0);
        self.connection.read_exact(&mut body[start..]).expect("prometheus answers");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that nobody listens on now.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address").to_string()
}

fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
