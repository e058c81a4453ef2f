//! Which experimental parts of the language, and which functions of the host, may a query use?

use std::sync::Arc;

use crate::functions::HostSignature;

/// The language as one engine speaks it.
///
/// ```
/// use ferula_promql::syntax::{Dialect, Features, parse_with};
///
/// let dialect = Dialect { features: Features::all(), functions: Vec::new() };
/// assert!(parse_with("limitk(3, up)", &dialect).is_ok());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Dialect {
    /// The experimental parts.
    pub features: Features,
    /// Functions of the host. One that has the name of a function of the language is never called.
    pub functions: Vec<Arc<HostSignature>>,
}

/// Switches for the experimental parts of the language, all off by default, as in Prometheus 3.14. Fields follow the
/// names of upstream's `--enable-feature`; what changes the evaluation, not the language, is an option of the engine.
///
/// ```
/// use ferula_promql::syntax::{parse, Features};
///
/// assert!(parse("limitk(3, up)", &Features::default()).is_err());
/// assert!(parse("limitk(3, up)", &Features::all()).is_ok());
/// let mut features = Features::default();
/// assert!(features.enable("promql-experimental-functions"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features {
    /// `promql-experimental-functions`: functions and aggregations marked experimental.
    pub experimental_functions: bool,
    /// `promql-extended-range-selectors`: `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `promql-binop-fill-modifiers`: `fill`, `fill_left`, `fill_right`.
    pub fill_modifiers: bool,
}

impl Features {
    /// Everything on.
    pub const fn all() -> Self {
        Self { experimental_functions: true, extended_range_selectors: true, fill_modifiers: true }
    }

    /// Switches a feature on by upstream's name; says whether the name belongs to the language. `promql-duration-expr`
    /// is known and does nothing: duration expressions are stable since 3.14.
    pub fn enable(&mut self, name: &str) -> bool {
        match name {
            "promql-experimental-functions" => self.experimental_functions = true,
            "promql-extended-range-selectors" => self.extended_range_selectors = true,
            "promql-binop-fill-modifiers" => self.fill_modifiers = true,
            "promql-duration-expr" => {}
            _ => return false,
        }
        true
    }
}
