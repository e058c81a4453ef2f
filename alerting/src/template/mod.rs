//! Templates.

/// Why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(String);

/// A template.
#[derive(Clone, Debug)]
pub(crate) struct Template;

impl Template {
    pub(crate) fn of_alert(_rule: &str, _text: &str) -> Result<Self, TemplateError> {
        Ok(Self)
    }
}
