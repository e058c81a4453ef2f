//! https: trust, client certificates, tunnels through a proxy.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ferula_http::{BodyBuffer, Client, HttpClientConfig, Limits, ProxyConfig, TlsConfig};
use http::Request;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::server::{connection, text};

const LIMITS: Limits = Limits::timeout(Duration::from_secs(20));

/// A server for `localhost` and the certificate to trust, PEM.
async fn serve_tls() -> (u16, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if let Ok(socket) = acceptor.accept(socket).await {
                tokio::spawn(connection(socket, Arc::new(|_| text("secret"))));
            }
        }
    });
    (port, cert.pem())
}

async fn ask(tls_config: TlsConfig, proxy: ProxyConfig, url: &str) -> Result<Bytes, String> {
    let config = HttpClientConfig { tls_config, proxy, ..Default::default() };
    let request = Request::get(url).body(Bytes::new()).unwrap();
    let client = Client::new(&config).map_err(|error| error.to_string())?;
    client.send(request, &LIMITS).await.map(http::Response::into_body).map_err(|error| error.to_string())
}

#[tokio::test]
async fn trust_comes_from_the_configuration() {
    let (port, pem) = serve_tls().await;
    let url = format!("https://localhost:{port}/");
    let direct = ProxyConfig::default;
    let trusted = TlsConfig { ca: pem.clone(), ..Default::default() };
    assert_eq!(ask(trusted.clone(), direct(), &url).await.unwrap(), "secret");
    let careless = TlsConfig { insecure_skip_verify: true, ..Default::default() };
    assert_eq!(ask(careless, direct(), &url).await.unwrap(), "secret");
    let error = ask(TlsConfig::default(), direct(), &url).await.unwrap_err();
    assert!(error.contains("x509: certificate signed by unknown authority"), "{error}");
    let by_address = format!("https://127.0.0.1:{port}/");
    assert!(ask(trusted.clone(), direct(), &by_address).await.is_err());
    let named = TlsConfig { server_name: "localhost".into(), ..trusted };
    assert_eq!(ask(named, direct(), &by_address).await.unwrap(), "secret");
}

#[tokio::test]
async fn a_line_is_kept_over_tls() {
    let (port, pem) = serve_tls().await;
    let tls_config = TlsConfig { ca: pem, ..Default::default() };
    let line = Client::new(&HttpClientConfig { tls_config, ..Default::default() }).unwrap().line();
    let mut buffer = BodyBuffer::default();
    for _ in 0..3 {
        let request = Request::get(format!("https://localhost:{port}/")).body(Bytes::new()).unwrap();
        line.send_into(request, &LIMITS, &mut buffer).await.unwrap();
        assert_eq!(buffer.as_slice(), b"secret");
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_said_when_the_client_is_built() {
    let old = TlsConfig { max_version: Some("TLS11".parse().unwrap()), ..Default::default() };
    let error = ask(old, ProxyConfig::default(), "https://localhost/").await.unwrap_err();
    assert_eq!(error, "tls_config.max_version TLS11: TLS before 1.2 is not spoken");
    let empty = TlsConfig { ca: "nothing".into(), ..Default::default() };
    let error = ask(empty, ProxyConfig::default(), "https://localhost/").await.unwrap_err();
    assert_eq!(error, "unable to use CA cert: no certificate in it");
}

#[tokio::test]
async fn https_tunnels_through_the_proxy() {
    let (port, pem) = serve_tls().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut socket = BufReader::new(socket);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            socket.read_line(&mut head).await.unwrap();
        }
        assert!(head.starts_with("CONNECT localhost:1 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("Proxy-Authorization: Basic dTpw\r\n"));
        socket.write_all(b"HTTP/1.1 200 fine\r\n\r\n").await.unwrap();
        let mut target = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut socket, &mut target).await;
    });
    let rules = ProxyConfig { proxy_url: format!("http://u:p@{proxy}").into(), ..Default::default() };
    let trusted = TlsConfig { ca: pem, ..Default::default() };
    assert_eq!(ask(trusted, rules, "https://localhost:1/").await.unwrap(), "secret");
}
