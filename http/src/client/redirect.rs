//! Redirects: where does the client go next, and what may it show there?

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Uri, header};

use super::Hop;
use crate::error::Cause;

/// Whether the answer sends the client elsewhere.
pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The request after a redirect. To another host, or down from https to http, nothing secret goes along, and it never
/// comes back once left out. 307 and 308 repeat the request; the others become a `GET` without body, unless they were
/// `HEAD`.
pub(super) fn next(hop: &Hop, status: StatusCode, location: &HeaderValue) -> Result<Hop, Cause> {
    let location = location.to_str().map_err(|_| Cause::Url("redirect to an address that is not ASCII".to_owned()))?;
    let url = resolve(&hop.url, location)?;
    let trusted = hop.trusted && same_host(&hop.url, &url);
    let mut headers = hop.headers.clone();
    if !trusted {
        for name in [header::AUTHORIZATION, header::COOKIE, header::WWW_AUTHENTICATE, header::PROXY_AUTHORIZATION] {
            headers.remove(name);
        }
    }
    let repeat = matches!(status.as_u16(), 307 | 308);
    let (method, body) = match &hop.method {
        method if repeat || *method == Method::HEAD => (method.clone(), hop.body.clone()),
        _ => (Method::GET, Bytes::new()),
    };
    if body.is_empty() {
        for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LENGTH] {
            headers.remove(name);
        }
    }
    headers.remove(header::HOST);
    Ok(Hop { method, url, headers, body, trusted })
}

fn same_host(from: &Uri, to: &Uri) -> bool {
    let host = |url: &Uri| url.host().map(str::to_ascii_lowercase);
    let port = |url: &Uri| url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
    let downgraded = from.scheme_str() == Some("https") && to.scheme_str() != Some("https");
    host(from) == host(to) && !downgraded && (port(from) == port(to) || from.scheme_str() != to.scheme_str())
}

/// RFC 3986 section 5.2 for http and https.
fn resolve(base: &Uri, reference: &str) -> Result<Uri, Cause> {
    let reference = reference.split('#').next().unwrap_or_default();
    let (Some(scheme), Some(authority)) = (base.scheme_str(), base.authority()) else {
        return Err(Cause::Url("redirect from a relative address".to_owned()));
    };
    let host = authority.as_str().rsplit('@').next().unwrap_or_default();
    let text = if reference.contains("://") {
        reference.to_owned()
    } else if let Some(rest) = reference.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if let Some(query) = reference.strip_prefix('?') {
        format!("{scheme}://{host}{}?{query}", base.path())
    } else {
        let (path, query) = reference.split_once('?').map_or((reference, None), |(path, query)| (path, Some(query)));
        let directory = base.path().rsplit_once('/').map_or("", |(directory, _)| directory);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("{directory}/{path}") };
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        format!("{scheme}://{host}{}{query}", without_dots(&path))
    };
    let url: Uri =
        text.parse().map_err(|error| Cause::Url(format!("failed to parse Location header {text:?}: {error}")))?;
    match url.scheme_str() {
        Some("http" | "https") => Ok(url),
        other => Err(Cause::Url(format!("unsupported protocol scheme {:?}", other.unwrap_or_default()))),
    }
}

fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    #[test]
    fn references_resolve_as_in_rfc_3986() {
        let base: Uri = "http://u:p@host:9/a/b/c?q".parse().unwrap();
        for (reference, expected) in [
            ("/x", "http://host:9/x"),
            ("d", "http://host:9/a/b/d"),
            ("../d?e=1#f", "http://host:9/a/d?e=1"),
            ("./", "http://host:9/a/b/"),
            ("../../../..", "http://host:9/"),
            ("?y", "http://host:9/a/b/c?y"),
            ("//other/z", "http://other/z"),
            ("https://other:1/z", "https://other:1/z"),
        ] {
            assert_eq!(resolve(&base, reference).unwrap().to_string(), expected, "{reference}");
        }
        assert!(resolve(&base, "ftp://x/y").is_err());
    }

    fn hop(url: &str) -> Hop {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("a"));
        Hop { method: Method::POST, url: url.parse().unwrap(), headers, body: Bytes::from("b"), trusted: true }
    }

    #[test]
    fn secrets_stay_on_their_host() {
        for (from, to, keeps) in [
            ("http://a/x", "/y", true),
            ("http://a/x", "http://a:80/y", true),
            ("http://a/x", "https://a/y", true),
            ("https://a/x", "http://a/y", false),
            ("http://a/x", "http://b/y", false),
            ("http://a/x", "http://sub.a/y", false),
            ("http://a:1/x", "http://a:2/y", false),
        ] {
            let next = next(&hop(from), StatusCode::FOUND, &HeaderValue::from_static(to)).unwrap();
            assert_eq!(next.headers.contains_key(header::AUTHORIZATION), keeps, "{from} {to}");
            assert_eq!(next.trusted, keeps);
            assert!(next.headers.contains_key(header::ACCEPT));
        }
    }

    #[test]
    fn only_307_and_308_repeat_the_body() {
        let to = HeaderValue::from_static("/y");
        let repeated = next(&hop("http://a/"), StatusCode::PERMANENT_REDIRECT, &to).unwrap();
        assert_eq!((repeated.method, repeated.body.len()), (Method::POST, 1));
        let changed = next(&hop("http://a/"), StatusCode::SEE_OTHER, &to).unwrap();
        assert_eq!((changed.method, changed.body.len()), (Method::GET, 0));
    }
}
