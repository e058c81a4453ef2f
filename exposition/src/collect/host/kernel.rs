//! `loadavg`, `stat`, `filefd`, `pressure`, `time` and `uname`: how the kernel is.

use ferula_model::Timestamp;

use super::HostTimeZone;
use super::source::{Failure, Source, number};
use crate::collect::Families;

pub(super) fn load(source: &Source<'_>, out: &mut Families) -> Result<(), Failure> {
    let text = source.proc("loadavg")?;
    for (minutes, value) in ["1", "5", "15"].iter().zip(text.split_ascii_whitespace()) {
        out.gauge(&format!("node_load{minutes}"), &format!("{minutes}m load average."), &[], number(value));
    }
    Ok(())
}

/// The kinds of software interrupts, as the kernel counts them behind their sum.
const SOFTIRQS: [&str; 10] =
    ["hi", "timer", "net_tx", "net_rx", "block", "block_iopoll", "tasklet", "sched", "hrtimer", "rcu"];

pub(super) fn stat(source: &Source<'_>, softirqs: bool, out: &mut Families) -> Result<(), Failure> {
    for line in source.proc("stat")?.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(field), Some(value)) = (words.next(), words.next()) else { continue };
        let value = number(value);
        match field {
            "intr" => out.counter("node_intr_total", "Total number of interrupts serviced.", &[], value),
            "ctxt" => out.counter("node_context_switches_total", "Total number of context switches.", &[], value),
            "processes" => out.counter("node_forks_total", "Total number of forks.", &[], value),
            "btime" => out.gauge("node_boot_time_seconds", "Node boot time, in unixtime.", &[], value),
            "procs_running" => out.gauge("node_procs_running", "Number of processes in runnable state.", &[], value),
            "procs_blocked" => {
                out.gauge("node_procs_blocked", "Number of processes blocked waiting for I/O to complete.", &[], value);
            }
            "softirq" if softirqs => {
                for (vector, count) in SOFTIRQS.iter().zip(words) {
                    let help = "Number of softirq calls.";
                    out.counter("node_softirqs_total", help, &[("vector", vector)], number(count));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn file_descriptors(source: &Source<'_>, out: &mut Families) -> Result<(), Failure> {
    let text = source.proc("sys/fs/file-nr")?;
    let fields: Vec<_> = text.split_ascii_whitespace().map(number).collect();
    if let [allocated, _, maximum] = fields.as_slice() {
        out.gauge("node_filefd_allocated", "File descriptor statistics: allocated.", &[], *allocated);
        out.gauge("node_filefd_maximum", "File descriptor statistics: maximum.", &[], *maximum);
    }
    Ok(())
}

/// Resource, line of its file, what the name says, help.
const PRESSURES: [(&str, &str, &str, &str); 6] = [
    ("cpu", "some", "waiting", "Total time in seconds that processes have waited for CPU time"),
    ("io", "some", "waiting", "Total time in seconds that processes have waited due to IO congestion"),
    ("io", "full", "stalled", "Total time in seconds no process could make progress due to IO congestion"),
    ("memory", "some", "waiting", "Total time in seconds that processes have waited for memory"),
    ("memory", "full", "stalled", "Total time in seconds no process could make progress due to memory congestion"),
    ("irq", "full", "stalled", "Total time in seconds no process could make progress due to IRQ congestion"),
];

pub(super) fn pressure(source: &Source<'_>, out: &mut Families) -> Result<(), Failure> {
    let mut any = false;
    for (resource, line, what, help) in PRESSURES {
        let Ok(text) = source.proc(&format!("pressure/{resource}")) else { continue };
        any = true;
        let of_line = text.lines().find(|text| text.starts_with(line));
        let micros = of_line.and_then(|text| text.rsplit_once("total=")).map(|(_, total)| number(total.trim()));
        if let Some(micros) = micros {
            let name = format!("node_pressure_{resource}_{what}_seconds_total");
            out.counter(&name, help, &[], micros / 1000.0 / 1000.0);
        }
    }
    if any { Ok(()) } else { Err(Failure) }
}

pub(super) fn time(
    source: &Source<'_>,
    time_zone: &HostTimeZone,
    now: Timestamp,
    out: &mut Families,
) -> Result<(), Failure> {
    out.gauge("node_time_seconds", "System time in seconds since epoch (1970).", &[], now.as_secs_f64());
    let help = "System time zone offset in seconds.";
    let (zone, offset) = time_zone.at(now);
    out.gauge("node_time_zone_offset_seconds", help, &[("time_zone", &zone)], offset);
    for name in source.sys_names("devices/system/clocksource") {
        let Some(device) = name.strip_prefix("clocksource") else { continue };
        let file = |file: &str| source.sys(&format!("devices/system/clocksource/{name}/{file}")).unwrap_or_default();
        for clock in file("available_clocksource").split_ascii_whitespace() {
            let labels = [("device", device), ("clocksource", clock)];
            let help = "Available clocksources read from '/sys/devices/system/clocksource'.";
            out.gauge("node_time_clocksource_available_info", help, &labels, 1.0);
        }
        let labels = [("device", device), ("clocksource", &file("current_clocksource"))];
        let help = "Current clocksource read from '/sys/devices/system/clocksource'.";
        out.gauge("node_time_clocksource_current_info", help, &labels, 1.0);
    }
    Ok(())
}

pub(super) fn uname(out: &mut Families) -> Result<(), Failure> {
    let uname = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let labels = [
        ("sysname", text(uname.sysname())),
        ("release", text(uname.release())),
        ("version", text(uname.version())),
        ("machine", text(uname.machine())),
        ("nodename", text(uname.nodename())),
        ("domainname", text(uname.domainname())),
    ];
    let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let help = "Labeled system information as provided by the uname system call.";
    out.gauge("node_uname_info", help, &labels, 1.0);
    Ok(())
}
