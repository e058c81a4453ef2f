//! TLS: who is at the other end, and who are we to it?
//!
//! Certificates in files are read again when a connection is opened and a file has changed; connections that are open
//! go on with what they began with.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use tokio_rustls::TlsConnector;

use super::connect::Duplex;
use crate::config::{TlsConfig, TlsVersion};
use crate::error::{BuildError, Cause};

/// Gives the TLS state for new connections.
pub(super) struct TlsSource {
    config: TlsConfig,
    current: Mutex<Option<(Material, Arc<ClientConfig>)>>,
}

/// What the files say.
#[derive(Clone, PartialEq, Eq)]
struct Material {
    ca: Option<Vec<u8>>,
    cert: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

impl TlsSource {
    /// Reads the files once, so that what is wrong with them is known now. Without anything configured, nothing is
    /// read before the first https connection.
    pub(super) fn new(config: &TlsConfig) -> Result<Self, BuildError> {
        if config.max_version.is_some_and(|version| version < TlsVersion::Tls12) {
            let version = config.max_version.map_or("", TlsVersion::as_str);
            let text = format!("tls_config.max_version {version}: TLS before 1.2 is not spoken");
            return Err(BuildError::Unsupported(text));
        }
        let source = Self { config: config.clone(), current: Mutex::new(None) };
        if *config != TlsConfig::default() {
            source.fresh()?;
        }
        Ok(source)
    }

    pub(super) async fn handshake(&self, host: &str, socket: Box<dyn Duplex>) -> Result<Box<dyn Duplex>, Cause> {
        let config = self.fresh().map_err(|error| match error {
            BuildError::File(cause) => cause,
            other => Cause::Tls(other.to_string()),
        })?;
        let name = if self.config.server_name.is_empty() { host } else { &self.config.server_name };
        let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(|error| Cause::Tls(error.to_string()))?;
        let stream = TlsConnector::from(config).connect(name, socket).await;
        stream.map(|stream| Box::new(stream) as Box<dyn Duplex>).map_err(|error| Cause::Tls(handshake_text(&error)))
    }

    fn fresh(&self) -> Result<Arc<ClientConfig>, BuildError> {
        let material = Material::read(&self.config)?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, config)) = &*current
            && *known == material
        {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(build(&self.config, &material)?);
        *current = Some((material, Arc::clone(&config)));
        Ok(config)
    }
}

fn handshake_text(error: &std::io::Error) -> String {
    let Some(inner) = error.get_ref() else { return error.to_string() };
    let text = inner.to_string();
    match text.strip_prefix("invalid peer certificate: ") {
        Some("UnknownIssuer") => {
            "failed to verify certificate: x509: certificate signed by unknown authority".to_owned()
        }
        Some(rest) => format!("failed to verify certificate: x509: {rest}"),
        None => text,
    }
}

impl Material {
    fn read(config: &TlsConfig) -> Result<Self, BuildError> {
        let pick = |inline: &str, file: &Option<PathBuf>, what| match file {
            _ if !inline.is_empty() => Ok(Some(inline.as_bytes().to_vec())),
            None => Ok(None),
            Some(path) => std::fs::read(path)
                .map(Some)
                .map_err(|source| BuildError::File(Cause::File { what, path: path.clone(), source: Arc::new(source) })),
        };
        Ok(Self {
            ca: pick(&config.ca, &config.ca_file, "CA cert")?,
            cert: pick(&config.cert, &config.cert_file, "client cert")?,
            key: pick(config.key.expose(), &config.key_file, "client key")?,
        })
    }
}

fn build(config: &TlsConfig, material: &Material) -> Result<ClientConfig, BuildError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let invalid = |what, problem: String| BuildError::Tls { what, problem };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(config))
        .map_err(|error| invalid("TLS versions", error.to_string()))?;
    let builder = if config.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAnyone { algorithms }))
    } else {
        builder.with_root_certificates(roots(material)?)
    };
    match (&material.cert, &material.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert, "client cert")?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| invalid("client key", error.to_string()))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| invalid("client cert", error.to_string()))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn versions(config: &TlsConfig) -> Vec<&'static SupportedProtocolVersion> {
    let min = config.min_version.unwrap_or(TlsVersion::Tls12);
    let max = config.max_version.unwrap_or(TlsVersion::Tls13);
    [(TlsVersion::Tls12, &rustls::version::TLS12), (TlsVersion::Tls13, &rustls::version::TLS13)]
        .into_iter()
        .filter(|(version, _)| min <= *version && *version <= max)
        .map(|(_, supported)| supported)
        .collect()
}

fn roots(material: &Material) -> Result<RootCertStore, BuildError> {
    let mut roots = RootCertStore::empty();
    match &material.ca {
        Some(pem) => {
            for certificate in certificates(pem, "CA cert")? {
                roots
                    .add(certificate)
                    .map_err(|error| BuildError::Tls { what: "CA cert", problem: error.to_string() })?;
            }
        }
        None => {
            // Single certificates of the system that cannot be read are left out, as every program does.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, BuildError> {
    let invalid = |problem: String| BuildError::Tls { what, problem };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| invalid(error.to_string()))?;
    if found.is_empty() { Err(invalid("no certificate in it".to_owned())) } else { Ok(found) }
}

/// `insecure_skip_verify`: the signatures of the handshake are checked, the certificate is not.
#[derive(Debug)]
struct TrustAnyone {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
