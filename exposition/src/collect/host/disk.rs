//! `diskstats`: what block devices read and wrote.

use super::HostOptions;
use super::source::{Failure, Source, number};
use crate::collect::Families;

/// The kernel counts in sectors of this size, whatever the device has.
const SECTOR_BYTES: f64 = 512.0;
const MILLIS: f64 = 0.001;

/// Name, help and factor of each column behind the device's name.
const COLUMNS: [(&str, &str, f64); 17] = [
    ("reads_completed_total", "The total number of reads completed successfully.", 1.0),
    ("reads_merged_total", "The total number of reads merged.", 1.0),
    ("read_bytes_total", "The total number of bytes read successfully.", SECTOR_BYTES),
    ("read_time_seconds_total", "The total number of seconds spent by all reads.", MILLIS),
    ("writes_completed_total", "The total number of writes completed successfully.", 1.0),
    ("writes_merged_total", "The number of writes merged.", 1.0),
    ("written_bytes_total", "The total number of bytes written successfully.", SECTOR_BYTES),
    ("write_time_seconds_total", "This is the total number of seconds spent by all writes.", MILLIS),
    ("io_now", "The number of I/Os currently in progress.", 1.0),
    ("io_time_seconds_total", "Total seconds spent doing I/Os.", MILLIS),
    ("io_time_weighted_seconds_total", "The weighted number of seconds spent doing I/Os.", MILLIS),
    ("discards_completed_total", "The total number of discards completed successfully.", 1.0),
    ("discards_merged_total", "The total number of discards merged.", 1.0),
    ("discarded_sectors_total", "The total number of sectors discarded successfully.", 1.0),
    ("discard_time_seconds_total", "This is the total number of seconds spent by all discards.", MILLIS),
    ("flush_requests_total", "The total number of flush requests completed successfully.", 1.0),
    ("flush_requests_time_seconds_total", "This is the total number of seconds spent by all flush requests.", MILLIS),
];

pub(super) fn collect(source: &Source<'_>, options: &HostOptions, out: &mut Families) -> Result<(), Failure> {
    for line in source.proc("diskstats")?.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(major), Some(minor), Some(device)) = (fields.next(), fields.next(), fields.next()) else { continue };
        if !options.disks.keeps(device) {
            continue;
        }
        for ((name, help, factor), value) in COLUMNS.iter().zip(fields) {
            let name = format!("node_disk_{name}");
            // Dividing milliseconds is what upstream does; it differs from multiplying in the last digit.
            let value = if *factor == MILLIS { number(value) / 1000.0 } else { number(value) * factor };
            if name.ends_with("_total") {
                out.counter(&name, help, &[("device", device)], value);
            } else {
                out.gauge(&name, help, &[("device", device)], value);
            }
        }
        describe(source, device, (major, minor), out);
    }
    Ok(())
}

/// What udev knows about a device.
fn describe(source: &Source<'_>, device: &str, (major, minor): (&str, &str), out: &mut Families) {
    let properties = source.udev(major, minor);
    let udev = |name: &str| properties.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value.as_str());
    let rotational = source.sys(&format!("block/{device}/queue/rotational")).unwrap_or_default();
    let serial = match udev("SCSI_IDENT_SERIAL") {
        "" => udev("ID_SERIAL_SHORT"),
        serial => serial,
    };
    let labels = [
        ("device", device),
        ("major", major),
        ("minor", minor),
        ("path", udev("ID_PATH")),
        ("wwn", udev("ID_WWN")),
        ("model", udev("ID_MODEL")),
        ("serial", serial),
        ("revision", udev("ID_REVISION")),
        ("rotational", rotational.as_str()),
    ];
    out.gauge("node_disk_info", "Info of /sys/block/<block_device>.", &labels, 1.0);
    if !udev("DM_NAME").is_empty() {
        let labels = [
            ("device", device),
            ("name", udev("DM_NAME")),
            ("uuid", udev("DM_UUID")),
            ("vg_name", udev("DM_VG_NAME")),
            ("lv_name", udev("DM_LV_NAME")),
            ("lv_layer", udev("DM_LV_LAYER")),
        ];
        out.gauge("node_disk_device_mapper_info", "Info about disk device mapper.", &labels, 1.0);
    }
    if !udev("ID_FS_TYPE").is_empty() || !udev("ID_FS_USAGE").is_empty() {
        let labels = [
            ("device", device),
            ("type", udev("ID_FS_TYPE")),
            ("usage", udev("ID_FS_USAGE")),
            ("uuid", udev("ID_FS_UUID")),
            ("version", udev("ID_FS_VERSION")),
        ];
        out.gauge("node_disk_filesystem_info", "Info about disk filesystem.", &labels, 1.0);
    }
    if udev("ID_ATA").is_empty() {
        return;
    }
    for (property, name, help) in [
        ("ID_ATA_WRITE_CACHE", "node_disk_ata_write_cache", "ATA disk has a write cache."),
        ("ID_ATA_WRITE_CACHE_ENABLED", "node_disk_ata_write_cache_enabled", "ATA disk has its write cache enabled."),
        ("ID_ATA_ROTATION_RATE_RPM", "node_disk_ata_rotation_rate_rpm", "ATA disk rotation rate in RPMs (0 for SSDs)."),
    ] {
        if let Ok(value) = udev(property).parse::<f64>() {
            out.gauge(name, help, &[("device", device)], value);
        }
    }
}
