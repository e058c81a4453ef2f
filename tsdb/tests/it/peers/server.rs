//! A real Prometheus server that is fed by remote write and asked by remote read.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::exact::{Exact, Written, put_message, put_number, put_time_series, read_response};

/// A Prometheus server on a free port, killed when dropped.
pub(super) struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// Starts one whose data is in the folder `data` of `root`. `storage` is the section `storage` of its configuration.
    pub(super) fn start(binary: &Path, root: &Path, storage: &str, arguments: &[&str]) -> Self {
        let config = root.join("prometheus.yml");
        std::fs::write(&config, format!("global: {{scrape_interval: 1h}}\nstorage: {{{storage}}}\n")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let log = std::fs::File::create(root.join("prometheus.log")).unwrap();
        let child = Command::new(binary)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", root.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--web.enable-admin-api", "--web.enable-remote-write-receiver", "--web.enable-lifecycle"])
            .args(["--storage.tsdb.retention.time=10y", "--enable-feature=native-histograms"])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self { child, address };
        server.wait_until("the real Prometheus starts", || {
            server.request("GET", "/-/ready", &[], &[]).is_ok_and(|answer| answer.contains("Ready"))
        });
        server
    }

    /// Asks another process again and again: there is no other way to learn that it is ready.
    pub(super) fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}: not within a minute");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Lets it end as it likes to end.
    pub(super) fn stop(mut self) {
        self.request("POST", "/-/quit", &[], &[]).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    /// `kill -9`.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The body of the answer, as text.
    pub(super) fn request(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> std::io::Result<String> {
        Ok(String::from_utf8_lossy(&self.exchange(method, path, headers, body)?).into_owned())
    }

    fn exchange(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.address)?;
        let mut head = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n", body.len());
        for header in headers {
            head += &format!("{header}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
        let body = answer.split_off(end);
        let head = String::from_utf8_lossy(&answer);
        let is_fine = head.contains(" 200 ") || head.contains(" 204 ") || path == "/-/ready";
        assert!(is_fine, "{path}: {head}\n{}", String::from_utf8_lossy(&body));
        Ok(body)
    }

    pub(super) fn write(&self, written: &[Written]) {
        let mut request = Vec::new();
        written.iter().for_each(|series| put_time_series(&mut request, series));
        self.post_snappy("/api/v1/write", &request);
    }

    fn post_snappy(&self, path: &str, message: &[u8]) -> Vec<u8> {
        let body = snap::raw::Encoder::new().compress_vec(message).unwrap();
        let headers = ["Content-Encoding: snappy", "Content-Type: application/x-protobuf"];
        self.exchange("POST", path, &headers, &body).unwrap()
    }

    /// Every sample that it has, by remote read.
    pub(super) fn read_everything(&self) -> Exact {
        let (mut matcher, mut query, mut request) = (Vec::new(), Vec::new(), Vec::new());
        // Any name: `=~` with `.+`.
        put_number(&mut matcher, 1, 2);
        put_message(&mut matcher, 2, b"__name__");
        put_message(&mut matcher, 3, b".+");
        put_number(&mut query, 1, 1);
        put_number(&mut query, 2, i64::MAX as u64 / 2);
        put_message(&mut query, 3, &matcher);
        put_message(&mut request, 1, &query);
        let answer = self.post_snappy("/api/v1/read", &request);
        read_response(&snap::raw::Decoder::new().decompress_vec(&answer).unwrap())
    }

    /// The exemplars of all series, as the API lists them.
    pub(super) fn exemplars(&self) -> serde_json::Value {
        let query: String = "{__name__=~\".+\"}".bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/api/v1/query_exemplars?query={query}&start=0&end=4000000000");
        let answer: serde_json::Value = serde_json::from_str(&self.request("GET", &path, &[], &[]).unwrap()).unwrap();
        answer["data"].clone()
    }

    /// One of its own metrics, by name and labels as they are written; 0 if it shows none.
    pub(super) fn metric(&self, name: &str) -> f64 {
        let text = self.request("GET", "/metrics", &[], &[]).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
