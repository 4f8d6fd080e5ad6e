use std::net::TcpListener;

use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use rustls::CertificateError;
use rustls::crypto::ring;

use super::failure::tls_in_words;
use super::*;
use crate::delivery::request::Renderer;
use crate::delivery::tests::{client, record, renderer, sink_config};

async fn error_of(url: &str, connect: Duration) -> TransportError {
    let mut config = sink_config(url);
    config.timeouts.connect = connect;
    client(&config).send(&message(&mut renderer(&config))).await.unwrap_err()
}

fn message(renderer: &mut Renderer) -> Message {
    let record = record(1, "a");
    assert!(renderer.add(&record));
    renderer.finish(&[record.number])
}

#[tokio::test]
async fn what_goes_wrong_with_a_connection_is_told_in_an_operators_words() {
    let patient = Duration::from_secs(20);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(error_of(&closed, patient).await, TransportError::Refused);
    let unknown = error_of("http://no-such-host.invalid/", patient).await;
    assert_eq!(unknown, TransportError::NameNotResolved);
    // Takes the connection and never says a word of TLS.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("https://{}/", silent.local_addr().unwrap());
    let silent = error_of(&silent, Duration::from_millis(100)).await;
    assert_eq!(silent, TransportError::ConnectTimeout);
}

#[tokio::test]
async fn a_service_that_does_not_speak_http_or_presents_a_strange_certificate_is_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().self_signed(&key).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let server = tokio::spawn(async move {
        let (mut plain, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        assert!(plain.read(&mut request).await.unwrap() > 0);
        plain.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
        let (secret, _) = listener.accept().await.unwrap();
        assert!(acceptor.accept(secret).await.is_err());
    });
    let patient = Duration::from_secs(20);
    let plain = error_of(&format!("http://127.0.0.1:{port}/"), patient).await;
    assert_eq!(plain, TransportError::NotHttp);
    let secret = error_of(&format!("https://127.0.0.1:{port}/"), patient).await;
    let why = "TLS: the server's certificate comes from an authority that is not trusted here: set `tls.ca_file` to it";
    assert_eq!(secret.to_string(), why);
    server.await.unwrap();
}

#[test]
fn a_certificate_out_of_its_time_points_at_the_clock() {
    let words = |why| tls_in_words(&rustls::Error::InvalidCertificate(why));
    assert!(words(CertificateError::NotValidYet).contains("is this machine's clock right?"));
    assert!(words(CertificateError::Expired).contains("clock is wrong"));
    assert!(words(CertificateError::NotValidForName).contains("another host name"));
}
