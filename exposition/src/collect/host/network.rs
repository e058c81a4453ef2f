//! `netdev`, `netstat` and `sockstat`: what the network does.

use ferula_model::MetricType;

use super::Filter;
use super::source::{Failure, Source, number};
use crate::collect::Families;

/// Columns of `/proc/net/dev`, whose sums are those that the kernel's netlink answers in parts.
const RECEIVE: [&str; 8] = ["bytes", "packets", "errs", "drop", "fifo", "frame", "compressed", "multicast"];
const TRANSMIT: [&str; 8] = ["bytes", "packets", "errs", "drop", "fifo", "colls", "carrier", "compressed"];

pub(super) fn devices(source: &Source<'_>, devices: &Filter, out: &mut Families) -> Result<(), Failure> {
    for (device, rest) in source.proc("net/dev")?.lines().filter_map(|line| line.split_once(':')) {
        let device = device.trim();
        if !devices.keeps(device) {
            continue;
        }
        let mut values = rest.split_ascii_whitespace();
        let mut counter = |direction: &str, field: &str, value: f64| {
            let name = format!("node_network_{direction}_{field}_total");
            let help = format!("Network device statistic {direction}_{field}.");
            out.counter(&name, &help, &[("device", device)], value);
        };
        for (direction, fields) in [("receive", RECEIVE), ("transmit", TRANSMIT)] {
            for (field, value) in fields.iter().zip(&mut values) {
                counter(direction, field, number(value));
            }
        }
        if let Some(value) = source.sys(&format!("class/net/{device}/statistics/rx_nohandler")) {
            counter("receive", "nohandler", number(&value));
        }
    }
    Ok(())
}

pub(super) fn protocols(source: &Source<'_>, fields: &Filter, out: &mut Families) -> Result<(), Failure> {
    let mut tell = |protocol: &str, field: &str, value: &str| {
        let key = format!("{protocol}_{field}");
        if fields.keeps(&key) {
            let help = format!("Statistic {protocol}{field}.");
            out.add(MetricType::Unknown, &format!("node_netstat_{key}"), &help, &[], number(value));
        }
    };
    for file in ["net/netstat", "net/snmp"] {
        let text = source.proc(file)?;
        let mut lines = text.lines();
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            let (Some((protocol, names)), Some((_, values))) = (names.split_once(':'), values.split_once(':')) else {
                continue;
            };
            for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
                tell(protocol, name, value);
            }
        }
    }
    // Without IPv6 there is no such file.
    for line in source.proc("net/snmp6").unwrap_or_default().lines() {
        let Some((key, value)) = line.split_once(char::is_whitespace) else { continue };
        if let Some(six) = key.find('6') {
            let (protocol, name) = key.split_at(six + 1);
            tell(protocol, name, value.trim());
        }
    }
    Ok(())
}

pub(super) fn sockets(source: &Source<'_>, out: &mut Families) -> Result<(), Failure> {
    let page = rustix::param::page_size() as f64;
    let four = source.proc("net/sockstat")?;
    let six = source.proc("net/sockstat6").unwrap_or_default();
    for (protocol, rest) in four.lines().chain(six.lines()).filter_map(|line| line.split_once(':')) {
        let mut words = rest.split_ascii_whitespace();
        while let (Some(field), Some(value)) = (words.next(), words.next()) {
            let mut gauge = |field: &str, value: f64| {
                let help = format!("Number of {protocol} sockets in state {field}.");
                out.gauge(&format!("node_sockstat_{protocol}_{field}"), &help, &[], value);
            };
            gauge(field, number(value));
            if field == "mem" {
                gauge("mem_bytes", number(value) * page);
            }
        }
    }
    Ok(())
}
