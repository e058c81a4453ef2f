//! The shortest decimal digits of a float, apart from how they are laid out.

/// `0.d1 d2 d3 ... * 10^point`: the fewest digits that read back as the same float. Zero has the one digit `0` and
/// point 1.
pub(super) struct Decimal {
    digits: [u8; 20],
    len: usize,
    /// How many digits stand before the decimal point; zero or negative if the first digit stands behind it.
    pub(super) point: i32,
}

impl Decimal {
    /// From `12.34`, `0.0012`, `1.2e+30` or `1.2e30`: any layout of digits with one point and one exponent.
    pub(super) fn from_text(text: &str) -> Self {
        let (mantissa, exponent) = match text.split_once('e') {
            Some((mantissa, exponent)) => (mantissa, exponent.parse().unwrap_or(0)),
            None => (text, 0),
        };
        let mut decimal = Self { digits: [0; 20], len: 0, point: exponent };
        let mut behind_point = false;
        for byte in mantissa.bytes() {
            match byte {
                b'.' => behind_point = true,
                b'0' if decimal.len == 0 => decimal.point -= i32::from(behind_point),
                digit => {
                    if let Some(slot) = decimal.digits.get_mut(decimal.len) {
                        *slot = digit;
                        decimal.len += 1;
                    }
                    decimal.point += i32::from(!behind_point);
                }
            }
        }
        decimal.trim();
        decimal
    }

    /// Drops trailing zeros.
    fn trim(&mut self) {
        while self.len > 0 && self.digits.get(self.len - 1) == Some(&b'0') {
            self.len -= 1;
        }
        if self.len == 0 {
            *self = Self { digits: [b'0'; 20], len: 1, point: 1 };
        }
    }

    /// The digits, most significant first; at least one, and no trailing zero except in zero itself.
    pub(super) fn digits(&self) -> &[u8] {
        self.digits.get(..self.len).unwrap_or_default()
    }

    /// The power of ten in `d.ddd * 10^exponent`.
    pub(super) fn exponent(&self) -> i32 {
        self.point - 1
    }
}
