//! Servers as processes (ours and real ones), and a small HTTP client to talk to them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// A running server, killed when it is dropped.
pub(crate) struct Program {
    child: Mutex<Child>,
    address: String,
}

impl Program {
    /// Starts the example `server` on a free port with its data and `prometheus.yml` in `folder`, and waits until its log
    /// says that it listens.
    pub(crate) fn start(folder: &Path, flags: &[&str]) -> Self {
        let mut command = Command::new(example("server"));
        command.args(prometheus_flags(folder, "127.0.0.1:0")).args(flags);
        Self::wait_for(command, |line| {
            let (_, rest) = line.split_once("address=")?;
            Some(rest.split_whitespace().next()?.trim_matches('"').to_owned())
        })
    }

    /// Starts the real Prometheus on a free port, if `FERULA_PEERS` names the folder of its binary.
    pub(crate) fn start_prometheus(folder: &Path, flags: &[&str]) -> Option<Self> {
        let address = free_address();
        let mut command = Command::new(peer("prometheus")?);
        command.args(prometheus_flags(folder, &address)).args(flags);
        Some(Self::wait_for(command, move |line| line.contains("ready to receive").then(|| address.clone())))
    }

    /// Runs a command until `ready` finds the server's address in a line of its log (standard error).
    fn wait_for(mut command: Command, ready: impl Fn(&str) -> Option<String>) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut log = BufReader::new(child.stderr.take().expect("standard error is piped"));
        let mut seen = String::new();
        let address = loop {
            let mut line = String::new();
            if log.read_line(&mut line).expect("the log is text") == 0 {
                let _ = child.wait();
                panic!("the server ended before it listened:\n{seen}");
            }
            seen.push_str(&line);
            if let Some(address) = ready(&line) {
                break address;
            }
        };
        // Read on, so that the server never waits for a full pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child: Mutex::new(child), address }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// `kill -9`, while other threads may be talking to it.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().expect("nobody panics with the lock held");
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Sends a signal by its name, without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.lock().expect("nobody panics with the lock held").id();
        let sent = Command::new("kill").arg(format!("-{name}")).arg(id.to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// Waits for the end of the process; its exit status, if no signal ended it.
    pub(crate) fn ended(&self) -> Option<i32> {
        self.child.lock().expect("nobody panics with the lock held").wait().ok()?.code()
    }

    /// A GET request: status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let (status, body) = self.request("GET", path, b"").unwrap_or_else(|error| panic!("GET {path}: {error}"));
        (status, String::from_utf8(body).expect("answers are UTF-8"))
    }

    /// One request on a connection of its own: status and body. An error if the server goes away meanwhile.
    pub(crate) fn request(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
        let answer = self.exchange(method, path, &[], body)?;
        Ok((answer.status, answer.body))
    }

    /// One request with headers on a connection of its own. An error if the server goes away meanwhile.
    pub(crate) fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let mut stream = TcpStream::connect(&self.address)?;
        // HTTP/1.0: one request, one answer, no chunks.
        let mut head = format!("{method} {path} HTTP/1.0\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        write!(stream, "{head}Content-Length: {}\r\n\r\n", body.len())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let cut = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let (head, body) = answer.split_at(cut.ok_or(std::io::ErrorKind::UnexpectedEof)? + 4);
        let head = String::from_utf8_lossy(head);
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let headers = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        Ok(Answer {
            status: status.ok_or(std::io::ErrorKind::InvalidData)?,
            headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect(),
            body: body.to_vec(),
        })
    }
}

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case, and values.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The binary of a peer, if `FERULA_PEERS` names the folder where they are.
pub(crate) fn peer(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("FERULA_PEERS") else {
        eprintln!("FERULA_PEERS is not set: nothing is compared with the real {name}");
        return None;
    };
    Some(PathBuf::from(folder).join(name))
}

fn prometheus_flags(folder: &Path, address: &str) -> [String; 3] {
    [
        format!("--storage.tsdb.path={}", folder.join("data").display()),
        format!("--config.file={}", folder.join("prometheus.yml").display()),
        format!("--web.listen-address={address}"),
    ]
}

/// An address that nobody listens on now.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address").to_string()
}

/// Where cargo puts the examples of the profile that the tests were built with.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("tests know their own path");
    let profile = test.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps");
    profile.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}
