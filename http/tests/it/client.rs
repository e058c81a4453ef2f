//! Requests, credentials, redirects, proxies, limits.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ferula_http::{
    Authorization, BasicAuth, BodyBuffer, Client, HeaderValues, HttpClientConfig, Limits, OAuth2, ProxyConfig,
    SecretSource,
};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::server::{connection, header, listen, serve, serve_unix_once, text};

pub(crate) const LIMITS: Limits = Limits::timeout(Duration::from_secs(20));

pub(crate) fn get(url: String) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

async fn body(config: &HttpClientConfig, url: String) -> String {
    let answer = Client::new(config).unwrap().send(get(url), &LIMITS).await.unwrap();
    String::from_utf8(answer.into_body().to_vec()).unwrap()
}

#[tokio::test]
async fn credentials_go_with_each_request_and_files_are_read_anew() {
    let server = serve(|request| text(header(&request, "authorization").to_owned())).await;
    let url = || format!("http://{server}/");
    let basic = HttpClientConfig {
        basic_auth: Some(BasicAuth { username: SecretSource::value("u"), password: SecretSource::value("p") }),
        ..Default::default()
    };
    assert_eq!(body(&basic, url()).await, "Basic dTpw");
    assert_eq!(body(&HttpClientConfig::default(), format!("http://u:p@{server}/")).await, "Basic dTpw");

    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "one").unwrap();
    let bearer = HttpClientConfig {
        authorization: Some(Authorization { kind: String::new(), credentials: SecretSource::file(file.path()) }),
        ..Default::default()
    };
    let client = Client::new(&bearer).unwrap();
    assert_eq!(client.send(get(url()), &LIMITS).await.unwrap().body(), "Bearer one");
    std::fs::write(file.path(), "two").unwrap();
    assert_eq!(client.send(get(url()), &LIMITS).await.unwrap().body(), "Bearer two");
    std::fs::remove_file(file.path()).unwrap();
    let error = client.send(get(url()), &LIMITS).await.unwrap_err().to_string();
    assert!(error.contains("unable to read authorization credentials_file"), "{error}");
}

#[tokio::test]
async fn configured_headers_are_added() {
    let server = serve(|request| text(format!("{} {}", header(&request, "x-a"), header(&request, "user-agent")))).await;
    let mut config = HttpClientConfig::default();
    config.http_headers.0.insert("X-A".into(), HeaderValues { secrets: vec!["s".into()], ..Default::default() });
    let client = Client::builder(&config).user_agent("ua").build().unwrap();
    assert_eq!(client.send(get(format!("http://{server}/")), &LIMITS).await.unwrap().body(), "s ua");
}

#[tokio::test]
async fn redirects_leave_credentials_at_their_host() {
    let elsewhere = serve(|request| text(format!("elsewhere {}", header(&request, "authorization")))).await;
    let server = serve(move |request| match request.uri().path() {
        "/here" => text(format!("here {}", header(&request, "authorization"))),
        "/loop" => redirect("/loop".to_owned()),
        "/inside" => redirect("/here".to_owned()),
        _ => redirect(format!("http://{elsewhere}/x")),
    })
    .await;
    let mut config = HttpClientConfig { bearer_token: "t".into(), ..Default::default() };
    assert_eq!(body(&config, format!("http://{server}/inside")).await, "here Bearer t");
    assert_eq!(body(&config, format!("http://{server}/outside")).await, "elsewhere -");
    let error = Client::new(&config).unwrap().send(get(format!("http://{server}/loop")), &LIMITS).await.unwrap_err();
    assert_eq!(error.to_string(), format!("Get \"http://{server}/loop\": stopped after 10 redirects"));
    config.follow_redirects = false;
    let answer = Client::new(&config).unwrap().send(get(format!("http://{server}/inside")), &LIMITS).await.unwrap();
    assert_eq!(answer.status(), StatusCode::FOUND);
}

pub(crate) fn redirect(to: String) -> Response<Full<Bytes>> {
    Response::builder().status(302).header("location", to).body(Full::default()).unwrap()
}

#[tokio::test]
async fn limits_hold_for_plain_and_packed_bodies() {
    let server = serve(|request| {
        let bytes = vec![b'x'; 100_000];
        if request.uri().path() == "/plain" {
            return text(bytes);
        }
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&bytes).unwrap();
        let packed = encoder.finish().unwrap();
        Response::builder().header("content-encoding", "gzip").body(Full::new(packed.into())).unwrap()
    })
    .await;
    let client = Client::new(&HttpClientConfig::default()).unwrap();
    for path in ["plain", "packed"] {
        let mut buffer = BodyBuffer::default();
        let request = || get(format!("http://{server}/{path}"));
        client.send_into(request(), &LIMITS.body_bytes_max(100_000), &mut buffer).await.unwrap();
        assert_eq!(buffer.as_slice().len(), 100_000);
        let error = client.send_into(request(), &LIMITS.body_bytes_max(99_999), &mut buffer).await.unwrap_err();
        assert!(error.is_body_too_large());
        assert_eq!(error.to_string(), "body size limit exceeded");
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(connection(socket, Arc::new(|_| text("ok"))));
        }
    });
    let client = Client::new(&HttpClientConfig::default()).unwrap();
    for _ in 0..5 {
        client.send(get(format!("http://{address}/")), &LIMITS).await.unwrap();
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
}

/// A server that gives the first `answers` on each connection it accepts; then it reads one more request, writes
/// `last` and closes. It counts the requests it read.
pub(crate) async fn closing_server(answers: &'static [&'static str], last: &'static str) -> (String, Arc<AtomicUsize>) {
    let (listener, url) = listen().await;
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            for answer in answers.iter().chain([&last]) {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match socket.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                count.fetch_add(1, Ordering::SeqCst);
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    (url, requests)
}

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_read_over_a_connection_that_went_stale_is_repeated() {
    let client = Client::new(&HttpClientConfig::default()).unwrap();
    let (url, requests) = closing_server(&[OK], "").await;
    for _ in 0..3 {
        assert_eq!(client.send(get(url.clone()), &LIMITS).await.unwrap().body(), "ok");
    }
    assert_eq!(requests.load(Ordering::SeqCst), 5, "the second and the third came twice");

    let (url, _) = closing_server(&["HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"], "").await;
    let error = client.send(get(url), &LIMITS).await.unwrap_err();
    assert!(error.to_string().ends_with("stopped after 10 redirects"), "each hop was answered: {error}");
}

#[tokio::test]
async fn nothing_else_is_repeated() {
    let client = Client::new(&HttpClientConfig::default()).unwrap();
    let post = |url: &str| Request::post(url).body(Bytes::new()).unwrap();
    let (url, requests) = closing_server(&[OK], "").await;
    client.send(post(&url), &LIMITS).await.unwrap();
    let error = client.send(post(&url), &LIMITS).await.unwrap_err();
    assert_eq!(error.to_string(), format!("Post \"{url}\": EOF"), "a write");
    assert_eq!(requests.load(Ordering::SeqCst), 2);

    let (url, requests) = closing_server(&[OK], "HTTP/1.1 2").await;
    client.send(get(url.clone()), &LIMITS).await.unwrap();
    client.send(get(url), &LIMITS).await.unwrap_err();
    assert_eq!(requests.load(Ordering::SeqCst), 2, "an answer that began");

    let (url, requests) = closing_server(&[], "").await;
    client.send(get(url), &LIMITS).await.unwrap_err();
    assert_eq!(requests.load(Ordering::SeqCst), 1, "a new connection");
}

#[tokio::test]
async fn failures_read_like_gos() {
    let client = Client::new(&HttpClientConfig::default()).unwrap();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let url = format!("http://{closed}/metrics");
    let error = client.send(get(url.clone()), &LIMITS).await.unwrap_err();
    assert!(error.is_connect());
    assert_eq!(error.to_string(), format!("Get \"{url}\": dial tcp {closed}: connect: connection refused"));

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let error = client.send(get(url.clone()), &Limits::timeout(Duration::from_millis(20))).await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(error.to_string(), format!("Get \"{url}\": context deadline exceeded"));

    let short = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = short.local_addr().unwrap();
    tokio::spawn(async move {
        for head in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "rubbish\r\n\r\n"] {
            let (mut socket, _) = short.accept().await.unwrap();
            let _ = socket.read(&mut [0; 1024]).await;
            let _ = socket.write_all(head.as_bytes()).await;
        }
    });
    let url = format!("http://{address}/");
    let mut errors = Vec::new();
    for _ in 0..3 {
        errors.push(client.send(get(url.clone()), &LIMITS).await.unwrap_err().to_string());
    }
    assert_eq!(errors[0], format!("Get \"{url}\": EOF"));
    assert_eq!(errors[1], "unexpected EOF");
    assert!(errors[2].starts_with(&format!("Get \"{url}\": net/http: ")), "{}", errors[2]);
}

#[tokio::test]
async fn a_unix_socket_can_stand_for_the_host() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    serve_unix_once(&path, |request| text(header(&request, "host").to_owned()));
    let client = Client::builder(&HttpClientConfig::default()).unix_socket(&path).build().unwrap();
    assert_eq!(client.send(get("http://name/".into()), &LIMITS).await.unwrap().body(), "name");
}

#[tokio::test]
async fn plain_requests_name_their_url_to_the_proxy() {
    let proxy = serve(|request| text(format!("{} {}", request.uri(), header(&request, "proxy-authorization")))).await;
    let proxy_url = format!("http://u:p@{proxy}").into();
    let config = HttpClientConfig { proxy: ProxyConfig { proxy_url, ..Default::default() }, ..Default::default() };
    assert_eq!(body(&config, "http://host.invalid/x".into()).await, "http://host.invalid/x Basic dTpw");
}

#[tokio::test]
async fn a_token_is_fetched_once_and_again_after_refusal() {
    let fetched = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&fetched);
    let endpoint = serve(move |request| {
        assert_eq!(header(&request, "authorization"), "Basic aWQ6c2VjcmV0");
        let number = count.fetch_add(1, Ordering::SeqCst);
        text(format!("{{\"access_token\":\"t{number}\",\"token_type\":\"bearer\",\"expires_in\":3600}}"))
    })
    .await;
    let server = serve(|request| {
        let mut answer = text(header(&request, "authorization").to_owned());
        if request.uri().path() == "/refuse" {
            *answer.status_mut() = StatusCode::UNAUTHORIZED;
        }
        answer
    })
    .await;
    let oauth2 = OAuth2 {
        client_id: "id".into(),
        client_secret: SecretSource::value("secret"),
        token_url: format!("http://{endpoint}/token"),
        ..Default::default()
    };
    let client = Client::new(&HttpClientConfig { oauth2: Some(oauth2), ..Default::default() }).unwrap();
    for (path, expected) in [("", "Bearer t0"), ("", "Bearer t0"), ("refuse", "Bearer t0"), ("", "Bearer t1")] {
        let answer = client.send(get(format!("http://{server}/{path}")), &LIMITS).await.unwrap();
        assert_eq!(answer.body(), expected);
    }
    assert_eq!(fetched.load(Ordering::SeqCst), 2);
}
