//! Expressions that were compiled before.
//!
//! Rules and dashboards ask the same question again and again, and to compile the expression of a `label_replace` costs as much as
//! to apply it to a hundred series.

use std::collections::HashMap;

use ferula_model::{Regex, RegexError};
use parking_lot::Mutex;

/// How many bytes of compiled expressions are kept.
const BYTES_MAX: usize = 4 << 20;

/// Compiled expressions by their texts.
#[derive(Debug, Default)]
pub(crate) struct Expressions {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_text: HashMap<String, Regex>,
    bytes: usize,
}

impl Expressions {
    /// An expression, compiled if it is not known.
    ///
    /// # Errors
    ///
    /// It is none.
    pub(crate) fn compiled(&self, text: &str) -> Result<Regex, RegexError> {
        if let Some(known) = self.known.lock().by_text.get(text) {
            return Ok(known.clone());
        }
        let regex = Regex::new(text)?;
        let bytes = regex.heap_bytes() + text.len();
        // One that takes much of the room would only push the others out.
        if bytes <= BYTES_MAX / 4 {
            let mut known = self.known.lock();
            if known.bytes + bytes > BYTES_MAX {
                *known = Known::default();
            }
            if known.by_text.insert(text.to_owned(), regex.clone()).is_none() {
                known.bytes += bytes;
            }
        }
        Ok(regex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_large_expressions_are_not() {
        let expressions = Expressions::default();
        let kept = || expressions.known.lock().by_text.len();
        for number in 0..2_000 {
            let regex = expressions.compiled(&format!("(host{number})-(.*)")).expect("an expression");
            assert!(regex.is_match(&format!("host{number}-x")));
        }
        assert!((1..2_000).contains(&kept()) && expressions.known.lock().bytes <= BYTES_MAX, "{}", kept());
        assert!(expressions.compiled("(a").is_err());
        let before = kept();
        expressions.compiled(r"(\pL{150})").expect("a large one");
        assert_eq!(kept(), before);
    }
}
