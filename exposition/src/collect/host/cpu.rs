//! `cpu`: how long each processor spent in each mode.

use std::collections::BTreeMap;

use super::source::{Failure, Source, number};
use super::{Filter, HostOptions};
use crate::collect::Families;

const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const IDLE: usize = 3;
/// When idle time steps back further than this, in seconds, the processor was taken out and put in again.
const HOTPLUG_IDLE_STEP: f64 = 3.0;

/// Times by processor: the modes, then guest and guest at low priority.
pub(super) type Times = BTreeMap<String, [f64; 10]>;

pub(super) fn collect(
    source: &Source<'_>,
    options: &HostOptions,
    known: &mut Times,
    out: &mut Families,
) -> Result<(), Failure> {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    for line in source.proc("stat")?.lines() {
        let mut fields = line.split_ascii_whitespace();
        let Some(cpu) = fields.next().and_then(|name| name.strip_prefix("cpu")).filter(|cpu| !cpu.is_empty()) else {
            continue;
        };
        let mut times = [0.0; 10];
        for (time, field) in times.iter_mut().zip(fields) {
            *time = number(field) / ticks;
        }
        hold(known.entry(cpu.to_owned()).or_default(), times);
    }
    for (cpu, times) in known.iter() {
        for (mode, seconds) in MODES.iter().zip(times) {
            let help = "Seconds the CPUs spent in each mode.";
            out.counter("node_cpu_seconds_total", help, &[("cpu", cpu), ("mode", mode)], *seconds);
        }
        for (mode, seconds) in ["user", "nice"].iter().zip(&times[8..]) {
            let help = "Seconds the CPUs spent in guests (VMs) for each mode.";
            out.counter("node_cpu_guest_seconds_total", help, &[("cpu", cpu), ("mode", mode)], *seconds);
        }
    }
    throttles(source, out);
    for cpu in source.sys("devices/system/cpu/isolated").iter().flat_map(|list| ranges(list)) {
        out.gauge("node_cpu_isolated", "Whether each core is isolated.", &[("cpu", &cpu.to_string())], 1.0);
    }
    if options.cpu_info {
        info(source, options, out)?;
    }
    Ok(())
}

/// Takes the new times, but never back: the kernel's idle and iowait are not exact.
fn hold(known: &mut [f64; 10], new: [f64; 10]) {
    if known[IDLE] - new[IDLE] >= HOTPLUG_IDLE_STEP {
        *known = new;
        return;
    }
    for (known, new) in known.iter_mut().zip(new) {
        *known = known.max(new);
    }
}

fn throttles(source: &Source<'_>, out: &mut Families) {
    // Where the first processor cannot be taken out, upstream says nothing of the others either.
    let tells_online = source.sys("devices/system/cpu/cpu0/online").is_some();
    let mut packages = BTreeMap::new();
    let mut cores = BTreeMap::new();
    for name in source.sys_names("devices/system/cpu") {
        let Some(cpu) = name.strip_prefix("cpu").filter(|cpu| cpu.bytes().all(|b| b.is_ascii_digit())) else {
            continue;
        };
        if cpu.is_empty() {
            continue;
        }
        let file = |path: &str| source.sys(&format!("devices/system/cpu/{name}/{path}"));
        if let Some(online) = file("online").filter(|_| tells_online) {
            out.gauge("node_cpu_online", "CPUs that are online and being scheduled.", &[("cpu", cpu)], number(&online));
        }
        let (Some(package), Some(core)) = (file("topology/physical_package_id"), file("topology/core_id")) else {
            continue;
        };
        if let Some(count) = file("thermal_throttle/core_throttle_count") {
            cores.entry((package.clone(), core)).or_insert(number(&count));
        }
        if let Some(count) = file("thermal_throttle/package_throttle_count") {
            packages.entry(package).or_insert(number(&count));
        }
    }
    for ((package, core), count) in &cores {
        let help = "Number of times this CPU core has been throttled.";
        out.counter("node_cpu_core_throttles_total", help, &[("package", package), ("core", core)], *count);
    }
    for (package, count) in &packages {
        let help = "Number of times this CPU package has been throttled.";
        out.counter("node_cpu_package_throttles_total", help, &[("package", package)], *count);
    }
}

fn info(source: &Source<'_>, options: &HostOptions, out: &mut Families) -> Result<(), Failure> {
    let text = source.proc("cpuinfo")?;
    let mut first = true;
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let fields: BTreeMap<_, _> =
            block.lines().filter_map(|line| line.split_once(':')).map(|(k, v)| (k.trim(), v.trim())).collect();
        let field = |name: &str| fields.get(name).copied().unwrap_or_default();
        let labels = [
            ("package", field("physical id")),
            ("core", field("core id")),
            ("cpu", field("processor")),
            ("vendor", field("vendor_id")),
            ("family", field("cpu family")),
            ("model", field("model")),
            ("model_name", field("model name")),
            ("microcode", field("microcode")),
            ("stepping", field("stepping")),
            ("cachesize", field("cache size")),
        ];
        out.gauge("node_cpu_info", "CPU information from /proc/cpuinfo.", &labels, 1.0);
        let place = &labels[..3];
        let help = "CPU frequency in hertz from /proc/cpuinfo.";
        out.gauge("node_cpu_frequency_hertz", help, place, number(field("cpu MHz")) * 1e6);
        if first {
            // Those of the first processor stand for all.
            let help = "The `flags` field of CPU information from /proc/cpuinfo taken from the first core.";
            words("node_cpu_flag_info", help, "flag", field("flags"), &options.cpu_flags, out);
            let help = "The `bugs` field of CPU information from /proc/cpuinfo taken from the first core.";
            words("node_cpu_bug_info", help, "bug", field("bugs"), &options.cpu_bugs, out);
        }
        first = false;
    }
    Ok(())
}

fn words(name: &str, help: &str, label: &str, words: &str, filter: &Option<Filter>, out: &mut Families) {
    let Some(filter) = filter else { return };
    for word in words.split_ascii_whitespace().filter(|word| filter.keeps(word)) {
        out.gauge(name, help, &[(label, word)], 1.0);
    }
}

/// The numbers of a list such as `0-3,8`.
fn ranges(list: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for part in list.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            numbers.extend((first..=last).take(1 << 16));
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_hold_when_the_kernel_steps_back() {
        let mut known = [10.0; 10];
        hold(&mut known, [9.5; 10]);
        assert_eq!(known, [10.0; 10]);
        hold(&mut known, [1.0; 10]);
        assert_eq!(known, [1.0; 10], "hot-plugged");
        assert_eq!(ranges("0-2,5"), [0, 1, 2, 5]);
    }
}
