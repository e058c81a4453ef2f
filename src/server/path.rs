//! Paths that are almost right: where do they lead?
//!
//! Go's router cleans a path before it looks at it, and forgives a slash at its end; clients that build URLs by
//! concatenation depend on that.

use std::borrow::Cow;

use http::{Method, StatusCode};

use super::route::Route;
use crate::api::Response;

/// Where a path leads that has empty parts, `.` or `..` in it; `None` if it has none of them.
pub(super) fn clean(path: &str) -> Option<String> {
    if !path.contains("//") && !path.contains("/.") && path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    let end = if parts.is_empty() || !path.ends_with('/') { "" } else { "/" };
    Some(format!("/{}{end}", parts.join("/"))).filter(|cleaned| cleaned != path)
}

/// The path without the slash at its end, if only the slash is wrong about it.
pub(super) fn without_slash(path: &str) -> Option<&str> {
    let shorter = path.strip_suffix('/').filter(|shorter| !shorter.is_empty())?;
    (!Route::of(path).exists() && Route::of(shorter).exists()).then_some(shorter)
}

/// Sends the client to `path`, with the query string it came with; those who read get a page that says so.
pub(super) fn redirect(status: StatusCode, path: &str, query: Option<&str>, method: &Method) -> Response {
    let location = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let page = if *method == Method::GET {
        let reason = status.canonical_reason().unwrap_or_default();
        Response::page(format!("<a href=\"{}\">{reason}</a>.\n\n", escape(&location)))
    } else {
        Response::empty(status)
    };
    Response { status, ..page }.with_header("location", location)
}

/// A text as it may stand in HTML, inside of quotes too.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    Cow::Owned(escaped.replace('"', "&#34;").replace('\'', "&#39;"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_gos_router_does() {
        for (path, cleaned) in [
            ("//api/v1/query", "/api/v1/query"),
            ("/api//v1///query", "/api/v1/query"),
            ("/./metrics", "/metrics"),
            ("/../metrics", "/metrics"),
            ("/a/../-/healthy", "/-/healthy"),
            ("/metrics//", "/metrics/"),
            ("//", "/"),
            ("/a/..", "/"),
        ] {
            assert_eq!(clean(path).as_deref(), Some(cleaned), "{path}");
        }
        for path in ["/", "/metrics", "/metrics/", "/.well-known", "/a/...", "/api/v1/label/.hidden/values"] {
            assert_eq!(clean(path), None, "{path}");
        }
    }

    #[test]
    fn a_slash_too_many_is_forgiven() {
        assert_eq!(without_slash("/metrics/"), Some("/metrics"));
        assert_eq!(without_slash("/api/v1/label/job/values/"), Some("/api/v1/label/job/values"));
        for path in ["/", "/metrics", "/nothing/", "/api/v1/nothing/", "/api/v1/"] {
            assert_eq!(without_slash(path), None, "{path}");
        }
    }
}
