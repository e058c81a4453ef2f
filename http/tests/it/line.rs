//! One server asked again and again over a connection that the caller keeps: what servers do to it between two requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ferula_http::{BodyBuffer, Client, Error, HttpClientConfig, Limits, Line, ProxyConfig};
use http::{Request, Response};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::client::{LIMITS, OK, closing_server, get, redirect};
use super::server::{Answer, connection, header, listen, serve, serve_unix_once, text};

fn line() -> Line {
    Client::new(&HttpClientConfig::default()).unwrap().line()
}

async fn ask(line: &Line, request: Request<Bytes>) -> Result<String, Error> {
    let mut buffer = BodyBuffer::default();
    line.send_into(request, &LIMITS, &mut buffer).await?;
    Ok(String::from_utf8(buffer.as_slice().to_vec()).unwrap())
}

/// Serves, and counts the connections.
async fn counting_server(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let (count, answer) = (Arc::clone(&accepted), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let answer = Arc::clone(&answer);
            tokio::spawn(connection(socket, Arc::new(move |request: Request<_>| answer(request.uri().path()))));
        }
    });
    (address, accepted)
}

/// Reads the head of a request; false if none comes.
async fn read_head(socket: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    true
}

#[tokio::test]
async fn a_line_asks_over_one_connection() {
    let (server, accepted) = counting_server(|path| text(path.repeat(50_000))).await;
    let line = line();
    for path in ["/a", "/bc", "/", "/d"] {
        assert_eq!(ask(&line, get(format!("http://{server}{path}"))).await.unwrap(), path.repeat(50_000));
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
    let request = || get(format!("http://{server}/e"));
    let (one, other) = tokio::join!(ask(&line, request()), ask(&line, request()));
    assert_eq!(one.unwrap(), other.unwrap(), "two at once have a connection each");
    assert_eq!(accepted.load(Ordering::SeqCst), 2);
}

/// Outside the threads of the runtime, a task that has used up its turn is woken while it still runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_long_body_is_read_in_turns() {
    let (server, _) = counting_server(|_| text(vec![b'x'; 80 << 20])).await;
    let (request, limits) = (get(format!("http://{server}/")), LIMITS.body_bytes_max(1 << 30));
    let mut buffer = BodyBuffer::default();
    line().send_into(request, &limits, &mut buffer).await.unwrap();
    assert_eq!(buffer.as_slice().len(), 80 << 20);
}

#[tokio::test]
async fn another_server_is_asked_over_another_connection() {
    let (one, _) = counting_server(|_| text("one")).await;
    let (other, _) = counting_server(|_| text("other")).await;
    let line = line();
    for (server, expected) in [(one, "one"), (other, "other"), (one, "one")] {
        assert_eq!(ask(&line, get(format!("http://{server}/"))).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_request_looks_as_from_the_pool() {
    let server = serve(|request| text(format!("{} {}", request.uri(), header(&request, "host")))).await;
    let line = line();
    for (url, uri) in [(format!("http://{server}/a?b=c"), "/a?b=c"), (format!("http://{server}"), "/")] {
        assert_eq!(ask(&line, get(url)).await.unwrap(), format!("{uri} {server}"));
    }
}

#[tokio::test]
async fn a_server_may_close_after_each_answer() {
    // With notice and without, as soon as it has answered and in the place of the next answer.
    let notice = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let until_close = "HTTP/1.1 200 OK\r\n\r\nok";
    for (answers, last, expected) in [
        (&[OK] as &'static [&str], "", 5),
        (&[] as &[&str], OK, 3),
        (&[], notice, 3),
        (&[], until_close, 3),
        (&[], "HTTP/1.0 200 OK\r\n\r\nok", 3),
    ] {
        let (url, requests) = closing_server(answers, last).await;
        let line = line();
        for _ in 0..3 {
            assert_eq!(ask(&line, get(url.clone())).await.unwrap(), "ok", "{last}");
        }
        assert_eq!(requests.load(Ordering::SeqCst), expected, "{last}: those that came twice count twice");
    }
}

#[tokio::test]
async fn only_what_changes_nothing_and_was_not_answered_is_repeated() {
    let post = |url: &str| Request::post(url).body(Bytes::new()).unwrap();
    let (url, requests) = closing_server(&[OK], "").await;
    let over = line();
    ask(&over, post(&url)).await.unwrap();
    let error = ask(&over, post(&url)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("Post \"{url}\": EOF"), "a write");
    assert_eq!(requests.load(Ordering::SeqCst), 2);

    let (url, requests) = closing_server(&[OK], "HTTP/1.1 2").await;
    let over = line();
    ask(&over, get(url.clone())).await.unwrap();
    ask(&over, get(url)).await.unwrap_err();
    assert_eq!(requests.load(Ordering::SeqCst), 2, "an answer that began");

    let (url, requests) = closing_server(&[], "").await;
    let error = ask(&line(), get(url.clone())).await.unwrap_err();
    assert_eq!(error.to_string(), format!("Get \"{url}\": EOF"));
    assert_eq!(requests.load(Ordering::SeqCst), 1, "a new connection");
}

#[tokio::test]
async fn a_server_may_restart_between_two_requests() {
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = first.local_addr().unwrap();
    let url = format!("http://{address}/");
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let (mut socket, _) = first.accept().await.unwrap();
        assert!(read_head(&mut socket).await);
        socket.write_all(OK.as_bytes()).await.unwrap();
        stopped.await.unwrap();
    });
    let line = line();
    assert_eq!(ask(&line, get(url.clone())).await.unwrap(), "ok");
    stop.send(()).unwrap();
    server.await.unwrap();
    let error = ask(&line, get(url.clone())).await.unwrap_err();
    assert_eq!(error.to_string(), format!("Get \"{url}\": dial tcp {address}: connect: connection refused"));

    let second = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = second.accept().await {
            tokio::spawn(connection(socket, Arc::new(|_| text("again"))));
        }
    });
    for _ in 0..2 {
        assert_eq!(ask(&line, get(url.clone())).await.unwrap(), "again");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_end_ends_the_connection() {
    let (listener, url) = listen().await;
    tokio::spawn(async move {
        let mut held = Vec::new();
        for (answer, closes) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", true),
            (OK, false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false),
        ] {
            let (mut socket, _) = listener.accept().await.unwrap();
            assert!(read_head(&mut socket).await);
            socket.write_all(answer.as_bytes()).await.unwrap();
            if answer == OK {
                // It is kept for the next request, whose answer breaks off.
                assert!(read_head(&mut socket).await);
                socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await.unwrap();
            } else if !closes {
                held.push(socket);
            }
        }
        std::future::pending::<()>().await;
    });
    let line = line();
    let broken = |error: Error| assert_eq!(error.to_string(), "unexpected EOF");
    broken(ask(&line, get(url.clone())).await.unwrap_err());
    assert_eq!(ask(&line, get(url.clone())).await.unwrap(), "ok");
    broken(ask(&line, get(url.clone())).await.unwrap_err());
    broken(ask(&line, get(url.clone())).await.unwrap_err());
    let brief = Limits::timeout(Duration::from_millis(20));
    let error = line.send_into(get(url.clone()), &brief, &mut BodyBuffer::default()).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(ask(&line, get(url)).await.unwrap(), "ok", "not the rest of the answer before");
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_end_the_connection() {
    let (listener, url) = listen().await;
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            assert!(read_head(&mut socket).await);
            socket.write_all(format!("{OK}{}", OK.replace("ok", "no")).as_bytes()).await.unwrap();
            held.push(socket);
        }
    });
    let line = line();
    for _ in 0..3 {
        assert_eq!(ask(&line, get(url.clone())).await.unwrap(), "ok");
    }
}

#[tokio::test]
async fn redirects_leave_the_line_for_one_hop() {
    let elsewhere = serve(|_| text("elsewhere")).await;
    let (server, accepted) = counting_server(move |path| match path {
        "/" => redirect(format!("http://{elsewhere}/")),
        "/large" => {
            let body = vec![b'x'; 4 << 20];
            Response::builder().status(302).header("location", "/here").body(Full::new(body.into())).unwrap()
        }
        _ => text("here"),
    })
    .await;
    let line = line();
    for _ in 0..3 {
        assert_eq!(ask(&line, get(format!("http://{server}/"))).await.unwrap(), "elsewhere");
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 1, "what sends the line away keeps it");
    for _ in 0..2 {
        assert_eq!(ask(&line, get(format!("http://{server}/large"))).await.unwrap(), "here");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_does_not_end_the_line() {
    let (server, _) = counting_server(|path| text(path.repeat(100_000))).await;
    let (line, mut buffer) = (line(), BodyBuffer::default());
    let limits = LIMITS.body_bytes_max(100_000);
    for _ in 0..2 {
        let error = line.send_into(get(format!("http://{server}/x")), &limits, &mut buffer).await.unwrap_err();
        assert!(error.is_body_too_large());
        line.send_into(get(format!("http://{server}/")), &limits, &mut buffer).await.unwrap();
        assert_eq!(buffer.as_slice().len(), 100_000);
    }
}

#[tokio::test]
async fn a_line_goes_through_proxies_and_unix_sockets() {
    let proxy = serve(|request| text(format!("{} {}", request.uri(), header(&request, "host")))).await;
    let proxy_url = format!("http://{proxy}").into();
    let config = HttpClientConfig { proxy: ProxyConfig { proxy_url, ..Default::default() }, ..Default::default() };
    let line = Client::new(&config).unwrap().line();
    for _ in 0..2 {
        let answer = ask(&line, get("http://host.invalid/x".into())).await.unwrap();
        assert_eq!(answer, "http://host.invalid/x host.invalid");
    }

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    serve_unix_once(&path, |request| text(header(&request, "host").to_owned()));
    let line = Client::builder(&HttpClientConfig::default()).unix_socket(&path).build().unwrap().line();
    for _ in 0..2 {
        assert_eq!(ask(&line, get("http://name/".into())).await.unwrap(), "name");
    }
}
