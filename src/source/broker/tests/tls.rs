//! TLS in front, with the certificates that an operator would make.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::{Device, Login, PATIENCE, Seen, Version, puback};
use super::mosquitto::Mosquitto;
use super::{Running, config, context};
use crate::config::{BrokerSource, Listener, TlsIdentity, TlsServer};
use crate::source::Problem;
use crate::source::broker::{Broker, BrokerError};
use crate::source::listen::{ListenError, describe};

/// An authority and what it has signed, as PEM files.
pub(super) struct Certificates {
    folder: tempfile::TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Self { folder, authority }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs a certificate for `name`.
    fn identity(&self, name: &str) -> TlsIdentity {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        let identity = TlsIdentity {
            cert_file: self.path(&format!("{name}.pem")),
            key_file: self.path(&format!("{name}.key")),
        };
        std::fs::write(&identity.cert_file, certificate.pem()).unwrap();
        std::fs::write(&identity.key_file, key.serialize_pem()).unwrap();
        identity
    }

    pub(super) fn broker(&self, client_ca_file: Option<PathBuf>) -> BrokerSource {
        let tls = Some(TlsServer { identity: self.identity("localhost"), client_ca_file });
        let listener = Listener { address: "127.0.0.1:0".parse().unwrap(), tls };
        BrokerSource { listeners: vec![listener], ..config() }
    }

    /// A device over TLS; an error when the handshake fails, which TLS 1.3 may say only at the first read.
    async fn connect(
        &self,
        broker: &Running,
        identity: Option<&TlsIdentity>,
    ) -> std::io::Result<Device<TlsStream<TcpStream>>> {
        let stream = self.handshake(broker.address, identity).await?;
        Ok(Device::over(stream, Version::V311))
    }

    /// A connection over TLS, without a word of MQTT.
    pub(super) async fn handshake(
        &self,
        address: SocketAddr,
        identity: Option<&TlsIdentity>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = vec![CertificateDer::from_pem_file(&identity.cert_file).unwrap()];
                let key = PrivateKeyDer::from_pem_file(&identity.key_file).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let socket = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, socket).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_publishes_over_tls_and_is_known_by_its_own_address() {
    let certificates = Certificates::new();
    let mut broker = Running::with(certificates.broker(None), &["#"]).await;
    let mut device = certificates.connect(&broker, None).await.unwrap();
    assert_eq!(device.login(Login::new(Version::V311, "d")).await, Some(0));
    let payload = vec![7; 200_000];
    device.publish("t/1", 1, 7, &payload).await;
    let incoming = broker.next().await;
    assert_eq!(&incoming.event.message().unwrap().payload[..], &payload[..]);
    assert_eq!(
        incoming.event.message().unwrap().peer,
        Some(device.io().get_ref().0.local_addr().unwrap())
    );
    incoming.custody.accept();
    assert_eq!(device.see(PATIENCE).await, puback(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_client_authority_only_its_certificates_get_in() {
    let certificates = Certificates::new();
    let config = certificates.broker(Some(certificates.path("ca.pem")));
    let broker = Running::with(config, &["#"]).await;
    let ours = certificates.identity("pump-1");
    let mut device = certificates.connect(&broker, Some(&ours)).await.unwrap();
    assert_eq!(device.login(Login::new(Version::V311, "d")).await, Some(0));

    let others = Certificates::new();
    let foreign = others.identity("pump-1");
    for identity in [None, Some(&foreign)] {
        if let Ok(mut device) = certificates.connect(&broker, identity).await {
            assert_eq!(device.see(PATIENCE).await, Seen::Closed, "{identity:?}");
        }
    }
    broker.until(|| broker.problems(Problem::Protocol) == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquittos_client_trusts_the_certificate_and_delivers() {
    let certificates = Certificates::new();
    let config = certificates.broker(Some(certificates.path("ca.pem")));
    let mut broker = Running::with(config, &["#"]).await;
    let TlsIdentity { cert_file, key_file } = certificates.identity("pump-1");
    let ca_file = certificates.path("ca.pem");
    let mut arguments: Vec<&OsStr> = Vec::new();
    arguments.extend(["-t", "t/1", "-m", "hello", "-V", "mqttv5"].map(OsStr::new));
    for (option, file) in [("--cafile", &ca_file), ("--cert", &cert_file), ("--key", &key_file)] {
        arguments.extend([OsStr::new(option), file.as_os_str()]);
    }
    let publisher = Mosquitto::start("mosquitto_pub", "localhost", &broker, &arguments);
    let incoming = broker.next().await;
    assert_eq!(&incoming.event.message().unwrap().payload[..], b"hello");
    incoming.custody.accept();
    assert!(publisher.succeeds().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_file_that_cannot_be_used_is_named_with_the_reason() {
    let certificates = Certificates::new();
    let config = certificates.broker(None);
    let identity = config.listeners[0].tls.clone().unwrap().identity;
    std::fs::copy(certificates.identity("other").key_file, &identity.key_file).unwrap();
    let error = Broker::bind(context(&[]).0, &config).await.unwrap_err();
    assert!(matches!(error, BrokerError::Listen(ListenError::Tls { .. })));
    let cert_file = identity.cert_file.display().to_string();
    let expected = format!(
        "cannot listen with TLS on 127.0.0.1:0: cannot use the certificate and its key from {cert_file}: \
         keys may not be consistent: KeyMismatch"
    );
    assert_eq!(describe(&error), expected);

    std::fs::remove_file(&identity.cert_file).unwrap();
    let error = Broker::bind(context(&[]).0, &config).await.unwrap_err();
    let expected = format!(
        "cannot listen with TLS on 127.0.0.1:0: cannot read the certificate chain from {cert_file}: "
    );
    assert!(describe(&error).starts_with(&expected), "{}", describe(&error));
}
