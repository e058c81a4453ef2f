//! `meminfo` and `vmstat`: what memory is used for.

use ferula_model::MetricType;

use super::Filter;
use super::source::{Failure, Source, number};
use crate::collect::Families;

/// The fields that node_exporter tells, with parentheses as it writes them. A newer kernel has more.
const FIELDS: &str = "Active Active_anon Active_file AnonHugePages AnonPages Bounce Buffers Cached CmaFree CmaTotal \
     CommitLimit Committed_AS DirectMap1G DirectMap2M DirectMap4k Dirty HardwareCorrupted HugePages_Free HugePages_Rsvd \
     HugePages_Surp HugePages_Total Hugepagesize Inactive Inactive_anon Inactive_file KernelStack Mapped MemAvailable \
     MemFree MemTotal Mlocked NFS_Unstable PageTables Percpu SReclaimable SUnreclaim Shmem ShmemHugePages \
     ShmemPmdMapped Slab SwapCached SwapFree SwapTotal Unevictable VmallocChunk VmallocTotal VmallocUsed Writeback \
     WritebackTmp Zswap Zswapped";

pub(super) fn meminfo(source: &Source<'_>, out: &mut Families) -> Result<(), Failure> {
    for line in source.proc("meminfo")?.lines() {
        let Some((field, rest)) = line.split_once(':') else { continue };
        let mut words = rest.split_ascii_whitespace();
        let value = number(words.next().unwrap_or_default());
        let field = field.replace('(', "_").replace(')', "");
        if !FIELDS.split_ascii_whitespace().any(|known| known == field) {
            continue;
        }
        let (name, value) = match words.next() {
            Some("kB") => (format!("{field}_bytes"), value * 1024.0),
            _ => (field, value),
        };
        let help = format!("Memory information field {name}.");
        out.gauge(&format!("node_memory_{name}"), &help, &[], value);
    }
    Ok(())
}

pub(super) fn vmstat(source: &Source<'_>, fields: &Filter, out: &mut Families) -> Result<(), Failure> {
    for (field, value) in source.proc("vmstat")?.lines().filter_map(|line| line.split_once(' ')) {
        if fields.keeps(field) {
            let help = format!("/proc/vmstat information field {field}.");
            out.add(MetricType::Unknown, &format!("node_vmstat_{field}"), &help, &[], number(value));
        }
    }
    Ok(())
}
