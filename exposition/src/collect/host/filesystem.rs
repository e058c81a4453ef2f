//! `filesystem`: how full mounted file systems are.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use parking_lot::Mutex;
use rustix::fs::StatVfs;

use super::HostOptions;
use super::source::{Failure, Source};
use crate::collect::Families;

/// A line of mountinfo.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Mount {
    major: String,
    minor: String,
    mount_point: String,
    filesystem: String,
    device: String,
    read_only: bool,
}

/// File systems that did not answer in time. A thread each waits for them to do so, in the kernel, where nothing can end it.
pub(super) type Stuck = Arc<Mutex<HashSet<PathBuf>>>;

pub(super) fn collect(
    source: &Source<'_>,
    options: &HostOptions,
    stuck: &Stuck,
    out: &mut Families,
) -> Result<(), Failure> {
    // In a container, process 1 of the host's proc sees the host's mounts.
    let text = source.proc("1/mountinfo").or_else(|_| source.proc("self/mountinfo"))?;
    let mut seen = HashSet::new();
    let mut mounts = Vec::new();
    for mut mount in text.lines().filter_map(Mount::parse) {
        let Some(mount_point) = below(&options.root, &mount.mount_point) else { continue };
        mount.mount_point = mount_point;
        let kept = options.mount_points.keeps(&mount.mount_point) && options.filesystem_types.keeps(&mount.filesystem);
        if kept && seen.insert((mount.device.clone(), mount.mount_point.clone(), mount.filesystem.clone())) {
            mounts.push(mount);
        }
    }
    let paths = mounts.iter().map(|mount| options.root.join(mount.mount_point.trim_start_matches('/')));
    let answers = ask(&paths.collect::<Vec<_>>(), stuck, stat, |answers| answers.recv_timeout(options.mount_timeout));
    for (mount, answer) in mounts.iter().zip(answers) {
        tell(mount, answer, out);
    }
    Ok(())
}

/// What a file system says of itself, or why it does not.
type Answer = Result<StatVfs, String>;

fn stat(path: &Path) -> Answer {
    rustix::fs::statvfs(path).map_err(|error| error.to_string())
}

/// The answer of each path. One that does not come in time is given up, until it has come; the others are asked from another
/// thread.
fn ask(
    paths: &[PathBuf],
    stuck: &Stuck,
    stat: fn(&Path) -> Answer,
    mut receive: impl FnMut(&Receiver<Answer>) -> Result<Answer, RecvTimeoutError>,
) -> Vec<Answer> {
    let mut answers = Vec::with_capacity(paths.len());
    while answers.len() < paths.len() {
        let rest: Vec<PathBuf> = paths.iter().skip(answers.len()).cloned().collect();
        let (sender, receiver) = std::sync::mpsc::channel();
        // Only what was stuck before: a path that is given up while it waits its turn here has to be asked all the same.
        let (stuck_before, asking) = (stuck.lock().clone(), rest.clone());
        let stuck_now = Arc::clone(stuck);
        std::thread::spawn(move || {
            let mut asked = Vec::new();
            for path in asking {
                let answer = if stuck_before.contains(&path) {
                    Err(STUCK.to_owned())
                } else {
                    asked.push(path.clone());
                    stat(&path)
                };
                if sender.send(answer).is_err() {
                    break;
                }
            }
            // One that was given up has answered after all.
            let mut stuck_now = stuck_now.lock();
            asked.iter().for_each(|path| drop(stuck_now.take(path)));
        });
        for path in rest {
            match receive(&receiver) {
                Ok(answer) => answers.push(answer),
                Err(_) => {
                    stuck.lock().insert(path);
                    answers.push(Err(STUCK.to_owned()));
                    break;
                }
            }
        }
    }
    answers
}

/// As upstream says it.
const STUCK: &str = "mountpoint timeout";

/// The mount point as the host sees it; `None` if it is not below the host's root.
fn below(root: &Path, mount_point: &str) -> Option<String> {
    let rest = Path::new(mount_point).strip_prefix(root).ok()?;
    Some(format!("/{}", rest.display()))
}

fn tell(mount: &Mount, outcome: Answer, out: &mut Families) {
    let error = outcome.as_ref().err().cloned().unwrap_or_default();
    let labels = [
        ("device", mount.device.as_str()),
        ("mountpoint", mount.mount_point.as_str()),
        ("fstype", mount.filesystem.as_str()),
        ("device_error", error.as_str()),
    ];
    let mut gauge = |name: &str, help: &str, value: f64| out.gauge(name, help, &labels, value);
    let help = "Whether an error occurred while getting statistics for the given device.";
    gauge("node_filesystem_device_error", help, f64::from(u8::from(outcome.is_err())));
    gauge("node_filesystem_readonly", "Filesystem read-only status.", f64::from(u8::from(mount.read_only)));
    if let Ok(stat) = outcome {
        let bytes = |blocks: u64| blocks as f64 * stat.f_bsize as f64;
        gauge("node_filesystem_size_bytes", "Filesystem size in bytes.", bytes(stat.f_blocks));
        gauge("node_filesystem_free_bytes", "Filesystem free space in bytes.", bytes(stat.f_bfree));
        let help = "Filesystem space available to non-root users in bytes.";
        gauge("node_filesystem_avail_bytes", help, bytes(stat.f_bavail));
        gauge("node_filesystem_files", "Filesystem total file nodes.", stat.f_files as f64);
        gauge("node_filesystem_files_free", "Filesystem total free file nodes.", stat.f_ffree as f64);
        let help = "Filesystem space available including purgeable space (MacOS specific).";
        gauge("node_filesystem_purgeable_bytes", help, 0.0);
    }
    let labels = [
        ("device", mount.device.as_str()),
        ("major", mount.major.as_str()),
        ("minor", mount.minor.as_str()),
        ("mountpoint", mount.mount_point.as_str()),
    ];
    out.gauge("node_filesystem_mount_info", "Filesystem mount information.", &labels, 1.0);
}

impl Mount {
    /// `id parent major:minor root mount-point options fields... - type device super-options`
    fn parse(line: &str) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let front: Vec<_> = front.split(' ').collect();
        let mut back = back.split(' ');
        let (major, minor) = front.get(2)?.split_once(':')?;
        let (filesystem, device) = (back.next()?, back.next()?);
        let read_only = |options: &str| options.split(',').any(|option| option == "ro");
        Some(Self {
            major: major.to_owned(),
            minor: minor.to_owned(),
            mount_point: unescaped(front.get(4)?),
            filesystem: filesystem.to_owned(),
            device: unescaped(device),
            read_only: read_only(front.get(5)?) || back.next().is_some_and(read_only),
        })
    }
}

/// Blanks and the like are written as a backslash and three octal digits.
fn unescaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.filter(|_| *byte == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) => {
                out.push(escaped);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_read_with_its_escapes() {
        let line = r"36 35 98:0 /mnt1 /mnt/my\040disk rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let mount = Mount::parse(line).unwrap();
        assert_eq!((mount.mount_point.as_str(), mount.device.as_str()), ("/mnt/my disk", "/dev/root"));
        assert_eq!((mount.major.as_str(), mount.filesystem.as_str(), mount.read_only), ("98", "ext3", false));
        assert!(Mount::parse("1 2 8:1 / / ro - ext4 /dev/sda1 rw").unwrap().read_only);
        assert_eq!(below(Path::new("/host"), "/host/data").as_deref(), Some("/data"));
        assert_eq!(below(Path::new("/host"), "/data"), None);
    }

    #[test]
    fn a_file_system_that_does_not_answer_is_given_up_until_it_does() {
        static RELEASED: (Mutex<bool>, parking_lot::Condvar) = (Mutex::new(false), parking_lot::Condvar::new());
        fn stat(path: &Path) -> Answer {
            if path == Path::new("/stuck") {
                let mut released = RELEASED.0.lock();
                RELEASED.1.wait_while(&mut released, |released| !*released);
            }
            Err(format!("asked {}", path.display()))
        }
        let paths: Vec<PathBuf> = ["/a", "/stuck", "/b"].map(PathBuf::from).to_vec();
        let stuck = Stuck::default();
        let told = |patience: &mut dyn FnMut() -> bool| {
            let answers = ask(&paths, &stuck, stat, |answers| match patience() {
                true => answers.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => Err(RecvTimeoutError::Timeout),
            });
            answers.into_iter().map(|answer| answer.err().unwrap_or_default()).collect::<Vec<_>>()
        };
        let mut turn = 0;
        let mut second_times_out = || {
            turn += 1;
            turn != 2
        };
        let given_up = ["asked /a", STUCK, "asked /b"];
        assert_eq!(told(&mut second_times_out), given_up);
        assert_eq!(told(&mut || true), given_up, "it is not asked again");
        *RELEASED.0.lock() = true;
        RELEASED.1.notify_all();
        while stuck.lock().contains(Path::new("/stuck")) {
            std::thread::yield_now();
        }
        assert_eq!(told(&mut || true), ["asked /a", "asked /stuck", "asked /b"]);
    }
}
