//! Which pages of other origins may read the answers.

use ferula_model::Regex;
use http::{HeaderMap, HeaderValue, header};

/// The origins a browser may ask from.
#[derive(Clone, Debug)]
pub struct Cors(Option<Regex>);

impl Cors {
    /// Any origin.
    pub fn any() -> Self {
        Self(None)
    }

    /// Origins that match an expression (RE2, anchored at both ends). `.*` is [`any`](Self::any).
    ///
    /// # Errors
    ///
    /// The expression is not RE2.
    pub fn matching(expression: &str) -> Result<Self, ferula_model::RegexError> {
        if expression == ".*" {
            return Ok(Self::any());
        }
        Regex::new(expression).map(|regex| Self(Some(regex)))
    }

    pub(super) fn apply(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = origin else { return };
        let fixed = [
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "Accept, Authorization, Content-Type, Origin"),
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        match &self.0 {
            None => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Some(allowed) if origin.to_str().is_ok_and(|text| allowed.is_match(text)) => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            }
            Some(_) => {}
        }
    }
}
