//! Labels as a remote-write message has them: what is hashed.

/// Appends a label as a remote-write message has it, as
/// [`Table::fingerprint_encoded`](super::Table::fingerprint_encoded) takes it.
pub(in crate::head) fn put_label(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let used = out.len();
    out.resize(used + name.len() + value.len() + LABEL_OVERHEAD_MAX, 0);
    let mut encoder = Encoder { out, used };
    encoder.label(name, value);
    let used = encoder.used;
    out.truncate(used);
}

/// Three tags and three lengths of at most ten bytes.
pub(super) const LABEL_OVERHEAD_MAX: usize = 33;

/// Encodes labels into a buffer that is large enough.
pub(super) struct Encoder<'a> {
    pub(super) out: &'a mut [u8],
    pub(super) used: usize,
}

impl Encoder<'_> {
    /// A field 1 that holds the fields 1 and 2.
    #[inline]
    pub(super) fn label(&mut self, name: &[u8], value: &[u8]) {
        let inner = 2 + uvarint_bytes(name.len()) + name.len() + uvarint_bytes(value.len()) + value.len();
        self.byte(0x0A);
        self.uvarint(inner);
        for (tag, text) in [(0x0A, name), (0x12, value)] {
            self.byte(tag);
            self.uvarint(text.len());
            self.text(text);
        }
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        self.out[self.used] = byte;
        self.used += 1;
    }

    #[inline]
    fn uvarint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    /// Short texts are most of all; two words that overlap are faster than a call.
    #[inline]
    fn text(&mut self, text: &[u8]) {
        let out = &mut self.out[self.used..self.used + text.len()];
        self.used += text.len();
        match text.len() {
            8..=16 => overlapping::<8>(text, out),
            4..=7 => overlapping::<4>(text, out),
            0..=3 => out.iter_mut().zip(text).for_each(|(to, from)| *to = *from),
            _ => out.copy_from_slice(text),
        }
    }
}

/// Copies `N` to `2 * N` bytes.
#[inline]
fn overlapping<const N: usize>(from: &[u8], to: &mut [u8]) {
    if let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) {
        if let Some(to) = to.first_chunk_mut::<N>() {
            *to = *first;
        }
        if let Some(to) = to.last_chunk_mut::<N>() {
            *to = *last;
        }
    }
}

#[inline]
fn uvarint_bytes(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}
