//! Protocols: which formats does a job ask for, and how does it want names written?
//!
//! What the protocols are, and how both sides agree on one, is [`ferula_exposition::negotiate`]; here is what jobs make of
//! it.

pub use ferula_exposition::Escaping as EscapingScheme;
pub use ferula_exposition::negotiate::{ContentTypeError, ScrapeProtocol};

use super::JobError;
use crate::relabel::NameScheme;

/// What is asked for if nothing is configured: protobuf first where native histograms are wanted, since only it carries
/// them.
pub(super) fn preferred(native_histograms: bool) -> &'static [ScrapeProtocol] {
    if native_histograms { &ScrapeProtocol::PROTO_FIRST } else { &ScrapeProtocol::DEFAULT }
}

/// How names are asked for if nothing is configured.
pub(super) fn escaping_of(names: NameScheme) -> EscapingScheme {
    match names {
        NameScheme::Utf8 => EscapingScheme::AllowUtf8,
        NameScheme::Legacy => EscapingScheme::Underscores,
    }
}

/// The protocol of a name in a configuration.
pub(super) fn protocol_named(name: &str) -> Result<ScrapeProtocol, JobError> {
    ScrapeProtocol::from_name(name).ok_or_else(|| JobError::UnknownProtocol(name.to_owned()))
}

/// The escaping scheme of a word in a configuration.
pub(super) fn escaping_named(word: &str) -> Result<EscapingScheme, JobError> {
    let unknown = || JobError::UnknownScheme { what: "escaping method setting", value: word.to_owned() };
    EscapingScheme::from_word(word).ok_or_else(unknown)
}
