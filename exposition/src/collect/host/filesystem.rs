//! `filesystem`: how full mounted file systems are.

use std::collections::HashSet;
use std::path::Path;

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

pub(super) fn collect(source: &Source<'_>, options: &HostOptions, out: &mut Families) -> Result<(), Failure> {
    // In a container, process 1 of the host's proc sees the host's mounts.
    let text = source.proc("1/mountinfo").or_else(|_| source.proc("self/mountinfo"))?;
    let mut seen = HashSet::new();
    for mut mount in text.lines().filter_map(Mount::parse) {
        let Some(mount_point) = below(&options.root, &mount.mount_point) else { continue };
        mount.mount_point = mount_point;
        let kept = options.mount_points.keeps(&mount.mount_point) && options.filesystem_types.keeps(&mount.filesystem);
        if kept && seen.insert((mount.device.clone(), mount.mount_point.clone(), mount.filesystem.clone())) {
            tell(&options.root, &mount, out);
        }
    }
    Ok(())
}

/// The mount point as the host sees it; `None` if it is not below the host's root.
fn below(root: &Path, mount_point: &str) -> Option<String> {
    let rest = Path::new(mount_point).strip_prefix(root).ok()?;
    Some(format!("/{}", rest.display()))
}

fn tell(root: &Path, mount: &Mount, out: &mut Families) {
    let path = root.join(mount.mount_point.trim_start_matches('/'));
    let outcome = rustix::fs::statvfs(&path);
    let error = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
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
}
