//! What the deltas of a record of the second version refer to: the item before, and the first one.

use super::RecordError;
use super::bytes::{Bytes, put_varint};

/// What the deltas of a record of the second version refer to.
#[derive(Default)]
pub(super) struct Bases {
    previous: Option<(u64, i64)>,
    first: (i64, i64),
}

impl Bases {
    pub(super) fn put(&mut self, out: &mut Vec<u8>, series: u64, time: i64, start: i64) {
        match self.previous {
            None => {
                put_varint(out, series as i64);
                put_varint(out, time);
                put_varint(out, start);
                self.first = (time, start);
            }
            Some((previous, previous_start)) => {
                put_varint(out, series.wrapping_sub(previous) as i64);
                put_varint(out, time.wrapping_sub(self.first.0));
                if start == 0 {
                    out.push(0);
                } else if start == previous_start {
                    out.push(1);
                } else {
                    out.push(2);
                    put_varint(out, start.wrapping_sub(self.first.1));
                }
            }
        }
        self.previous = Some((series, start));
    }

    pub(super) fn take(&mut self, reader: &mut Bytes<'_>) -> Result<(u64, i64, i64), RecordError> {
        let item = match self.previous {
            None => {
                let item = (reader.varint()? as u64, reader.varint()?, reader.varint()?);
                self.first = (item.1, item.2);
                item
            }
            Some((previous, previous_start)) => {
                let series = previous.wrapping_add(reader.varint()? as u64);
                let time = self.first.0.wrapping_add(reader.varint()?);
                let start = match reader.byte()? {
                    0 => 0,
                    1 => previous_start,
                    2 => self.first.1.wrapping_add(reader.varint()?),
                    _ => return Err(RecordError::Malformed("start marker")),
                };
                (series, time, start)
            }
        };
        self.previous = Some((item.0, item.2));
        Ok(item)
    }
}
