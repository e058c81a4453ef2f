//! The example `server` as a process, and a small HTTP client to talk to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// A running server, killed when it is dropped.
pub struct Program {
    child: Mutex<Child>,
    address: String,
}

impl Program {
    /// Starts the server on a free port with its data in `data`, and waits until it says that it listens.
    pub fn start(data: &Path, flags: &[&str]) -> Self {
        let mut child = Command::new(executable())
            .arg(format!("--storage.tsdb.path={}", data.join("tsdb").display()))
            .arg(format!("--config.file={}", data.join("prometheus.yml").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--web.enable-remote-write-receiver", "--log.level=info"])
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example `server` is built along with the tests");
        let mut log = BufReader::new(child.stderr.take().expect("standard error is piped"));
        let mut seen = String::new();
        let address = loop {
            let mut line = String::new();
            if log.read_line(&mut line).expect("the log is text") == 0 {
                let _ = child.wait();
                panic!("the server ended before it listened:\n{seen}");
            }
            seen.push_str(&line);
            if let Some((_, rest)) = line.split_once("address=") {
                break rest.split_whitespace().next().unwrap_or_default().trim_matches('"').to_owned();
            }
        };
        // Read on, so that the server never waits for a full pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child: Mutex::new(child), address }
    }

    /// `kill -9`, while other threads may be talking to it.
    pub fn kill_now(&self) {
        let mut child = self.child.lock().expect("nobody panics with the lock held");
        child.kill().expect("the process is ours");
        child.wait().expect("the process is ours");
    }

    /// One request on a connection of its own: status and body. An error if the server goes away meanwhile.
    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        )?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let cut = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let (head, body) = answer.split_at(cut.ok_or(std::io::ErrorKind::UnexpectedEof)? + 4);
        let status = String::from_utf8_lossy(head).split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok((status.ok_or(std::io::ErrorKind::InvalidData)?, body.to_vec()))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill_now();
    }
}

/// Where cargo puts the examples of the profile that the tests were built with.
fn executable() -> PathBuf {
    let test = std::env::current_exe().expect("tests know their own path");
    let profile = test.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps");
    profile.join("examples").join(format!("server{}", std::env::consts::EXE_SUFFIX))
}
