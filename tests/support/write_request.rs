//! Remote-write 1.0 requests for tests and benches: the other side of `ferula::remote::write`.

/// A `prometheus.WriteRequest`, series by series.
#[derive(Default)]
pub(crate) struct WriteRequest(Vec<u8>);

impl WriteRequest {
    /// Adds a series with float samples (milliseconds, value). Labels are sent in the order given.
    pub(crate) fn series(&mut self, labels: &[(&str, &str)], samples: &[(i64, f64)]) -> &mut Self {
        let mut series = Vec::new();
        for (name, value) in labels {
            let mut label = Vec::new();
            bytes(&mut label, 1, name.as_bytes());
            bytes(&mut label, 2, value.as_bytes());
            bytes(&mut series, 1, &label);
        }
        for (timestamp, value) in samples {
            let mut sample = vec![1 << 3 | 1];
            sample.extend_from_slice(&value.to_le_bytes());
            sample.push(2 << 3);
            varint(&mut sample, *timestamp as u64);
            bytes(&mut series, 2, &sample);
        }
        bytes(&mut self.0, 1, &series);
        self
    }

    /// The request as a snappy block.
    pub(crate) fn snappy(&self) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(&self.0).expect("a request is below 4 GiB")
    }
}

fn bytes(out: &mut Vec<u8>, field: u8, content: &[u8]) {
    out.push(field << 3 | 2);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
