//! A real Prometheus on the loopback, started for a test and ended with it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ferula_model::{Labels, Sample};

use super::remote_write::WriteRequest;

pub(crate) struct Peer {
    process: Child,
    connection: BufReader<TcpStream>,
    _folder: tempfile::TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Peer {
    /// Starts a Prometheus of that folder of programs with an empty storage.
    pub(crate) fn start(programs: &Path, features: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = folder.path().join("prometheus.yml");
        std::fs::write(&config, "global:\n  evaluation_interval: 1m\n").expect("a configuration");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let mut process = Command::new(programs.join("prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg(format!("--enable-feature={features}"))
            .args(["--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=100y"])
            .args(["--query.max-samples=50000000", "--log.level=error"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the peer starts");
        let connection = loop {
            if let Some(status) = process.try_wait().expect("a child") {
                let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                unreachable!("the peer ended with {status}: {log}");
            }
            let ready = TcpStream::connect(("127.0.0.1", port)).ok().filter(|stream| {
                let mut probe = BufReader::new(stream.try_clone().expect("a socket"));
                request(&mut probe, "GET", "/-/ready", &[], b"").is_some_and(|(status, _)| status == 200)
            });
            if let Some(stream) = ready {
                break BufReader::new(stream);
            }
            std::thread::yield_now();
        };
        connection.get_ref().set_nodelay(true).expect("a socket");
        Self { process, connection, _folder: folder }
    }

    /// Sends one stretch of samples of all series.
    pub(crate) fn write(&mut self, series: &[(&Labels, &[Sample])]) {
        let body = WriteRequest::of(series).compressed();
        let headers = ["Content-Encoding: snappy", "Content-Type: application/x-protobuf"];
        let (status, text) =
            request(&mut self.connection, "POST", "/api/v1/write", &headers, &body).expect("an answer");
        assert!((200..300).contains(&status), "{status}: {}", String::from_utf8_lossy(&text));
    }

    /// The body of an answer of the API, whatever its status.
    pub(crate) fn ask(&mut self, path: &str, form: &[(&str, &str)]) -> serde_json::Value {
        let mut body = String::new();
        for (name, value) in form {
            let escaped: String = value
                .bytes()
                .map(
                    |byte| {
                        if byte.is_ascii_alphanumeric() { (byte as char).to_string() } else { format!("%{byte:02X}") }
                    },
                )
                .collect();
            body.push_str(&format!("{name}={escaped}&"));
        }
        let headers = ["Content-Type: application/x-www-form-urlencoded"];
        let (_, text) = request(&mut self.connection, "POST", path, &headers, body.as_bytes()).expect("an answer");
        serde_json::from_slice(&text).expect("JSON")
    }
}

/// One exchange on a kept connection; `None` if it broke.
fn request(
    connection: &mut BufReader<TcpStream>,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> Option<(u16, Vec<u8>)> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    connection.get_mut().write_all(&bytes).ok()?;
    let mut line = String::new();
    connection.read_line(&mut line).ok()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let (mut length, mut chunked) = (0, false);
    loop {
        line.clear();
        connection.read_line(&mut line).ok()?;
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        chunked |= header == "transfer-encoding: chunked";
    }
    let mut out = Vec::new();
    if !chunked {
        out.resize(length, 0);
        connection.read_exact(&mut out).ok()?;
        return Some((status, out));
    }
    loop {
        line.clear();
        connection.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim(), 16).ok()?;
        let begin = out.len();
        out.resize(begin + size, 0);
        connection.read_exact(&mut out[begin..]).ok()?;
        line.clear();
        connection.read_line(&mut line).ok()?;
        if size == 0 {
            return Some((status, out));
        }
    }
}
