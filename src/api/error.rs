//! What a request can be refused with, and the status each refusal has.

use http::StatusCode;
use thiserror::Error;

/// The kinds of errors that the API tells apart (Prometheus 3.14, `errorType` in the answer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is wrong: a parameter, a selector, an expression.
    BadData,
    /// The expression is fine but could not be evaluated.
    Execution,
    /// The client went away.
    Canceled,
    /// The query took too long.
    Timeout,
    /// Storage or gathering had trouble.
    Internal,
    /// Not ready, or switched off.
    Unavailable,
    /// There is no such thing.
    NotFound,
}

impl ErrorKind {
    /// The word in the answer.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::BadData => "bad_data",
            ErrorKind::Execution => "execution",
            ErrorKind::Canceled => "canceled",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Internal => "internal",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::NotFound => "not_found",
        }
    }

    /// The status of the answer. `unavailable` has 500, as upstream has it.
    pub fn status(self) -> StatusCode {
        match self {
            ErrorKind::BadData => StatusCode::BAD_REQUEST,
            ErrorKind::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            // 499, "client closed request", has no name in the registry but is a valid code.
            ErrorKind::Canceled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            ErrorKind::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Internal | ErrorKind::Unavailable => StatusCode::INTERNAL_SERVER_ERROR,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
        }
    }
}

/// A request that is answered with an error.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ApiError {
    /// Which kind.
    pub kind: ErrorKind,
    /// What is wrong, in the words that clients match on.
    pub message: String,
}

impl ApiError {
    /// An error of any kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The request is wrong.
    pub fn bad_data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadData, message)
    }

    /// A parameter is wrong: `invalid parameter "time": cannot parse ...`.
    pub fn parameter(name: &str, cause: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter {}: {cause}", ferula_model::go_quote(name)))
    }
}
