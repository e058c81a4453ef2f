//! A Prometheus to compare with, and the targets that it scrapes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

/// What a target answers, given path and `Accept`: Content-Type and body.
pub(super) type Answer = dyn Fn(&str, &str) -> (String, Vec<u8>) + Send + Sync;

/// Serves until the test process ends.
pub(super) fn serve(answer: Arc<Answer>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || respond(&stream.unwrap(), &*answer));
        }
    });
    address
}

fn respond(mut stream: &TcpStream, answer: &Answer) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next().and_then(|line| line.split(' ').nth(1).map(str::to_owned)).unwrap_or_default();
    let headers = lines.take_while(|line| !line.is_empty());
    let accept = headers.filter_map(|line| line.strip_prefix("Accept: ").map(str::to_owned)).last();
    let (content_type, body) = answer(&path, &accept.unwrap_or_default());
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // A scraper that hangs up is seen by what it says of the target.
    let _ = stream.write_all(&[head.as_bytes(), &body].concat());
}

/// A running Prometheus, which ends with the test.
pub(super) struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Starts it with a configuration, if `FERULA_PEERS` says where it is.
    pub(super) fn start(configuration: &str) -> Option<Self> {
        let Some(peers) = std::env::var_os("FERULA_PEERS") else {
            println!("FERULA_PEERS is not set: not compared with Prometheus");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, configuration).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let argument = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let mut command = Command::new(PathBuf::from(peers).join("prometheus"));
        command.arg(argument("config.file", &file)).arg(argument("storage.tsdb.path", &folder.path().join("data")));
        command.arg(format!("--web.listen-address={address}"));
        command.arg("--enable-feature=exemplar-storage,native-histograms");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Some(Self { child, address, _folder: folder })
    }

    /// Asks for a path again and again until the answer is what the caller waits for. How long that takes is Prometheus'
    /// affair; a minute is taken for never.
    pub(super) fn wait_for<T>(&self, path: &str, found: impl Fn(&Value) -> Option<T>) -> T {
        let start = Instant::now();
        let mut last = Value::Null;
        while start.elapsed() < Duration::from_secs(60) {
            if let Some(answer) = self.ask(path) {
                if let Some(found) = found(&answer) {
                    return found;
                }
                last = answer;
            }
            std::thread::yield_now();
        }
        panic!("{path}: nothing to be seen in {last:#}");
    }

    pub(super) fn ask(&self, path: &str) -> Option<Value> {
        serde_json::from_slice(&self.get(path, "identity")?.1).ok()
    }

    /// Head and body of an answer, whose body is packed as it comes.
    pub(super) fn get(&self, path: &str, accept_encoding: &str) -> Option<(String, Vec<u8>)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nAccept-Encoding: {accept_encoding}\r\n\r\n").ok()?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response).ok()?;
        let start = response.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let body = response.split_off(start);
        Some((String::from_utf8(response).ok()?, body))
    }
}
