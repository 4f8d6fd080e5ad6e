//! TLS, client certificates, server names, WebSockets and IPv6.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, date_time_ymd,
};
use rumqttc::QoS;
use rustls::server::Acceptor;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::LazyConfigAcceptor;

use super::BOTH;
use super::mosquitto::{Mosquitto, free_port, publish};
use super::rig::{Rig, config, within};
use crate::config::{MqttProtocol, MqttSource, MqttTransport, TlsIdentity};
use crate::source::Problem;

/// An authority and what it signed, as files.
struct Authority {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Plant authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { directory, issuer: Issuer::new(params, key) }
    }

    fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Signs a certificate for `name`, valid over `years`.
    fn sign(&self, name: &str, years: (i32, i32)) -> TlsIdentity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate: Certificate = params.signed_by(&key, &self.issuer).unwrap();
        let file = |end: &str| self.directory.path().join(format!("{name}-{}.{end}", years.0));
        std::fs::write(file("pem"), certificate.pem()).unwrap();
        std::fs::write(file("key"), key.serialize_pem()).unwrap();
        TlsIdentity { cert_file: file("pem"), key_file: file("key") }
    }
}

const VALID: (i32, i32) = (2020, 2100);

fn listener(port: u16, authority: &Authority, identity: &TlsIdentity, extra: &str) -> String {
    format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\ncafile {}\ncertfile {}\nkeyfile {}\n{extra}\n",
        authority.ca_file().display(),
        identity.cert_file.display(),
        identity.key_file.display()
    )
}

fn over_tls(port: u16, protocol: MqttProtocol, authority: &Authority) -> MqttSource {
    let mut config = config(port, protocol);
    config.transport = MqttTransport::Tls;
    config.tls.ca_file = Some(authority.ca_file());
    config.tls.server_name = Some("broker.example".to_owned());
    config
}

/// A message goes through: published in the clear, received as configured.
async fn assert_works(config: MqttSource, publish_port: u16) {
    let what = format!("{config:?}");
    let mut rig = Rig::start(config, &["t/#"]);
    tokio::select! {
        _ = rig.connected() => {}
        why = rig.disconnected() => panic!("{why}: {what}"),
    }
    publish(publish_port, QoS::AtLeastOnce, [("t/1", "secret".to_owned())]).await;
    assert_eq!(rig.accept_payloads(1).await, ["secret"], "{what}");
    rig.stop().await;
}

/// The text an operator gets.
async fn why_not(config: MqttSource) -> String {
    let rig = Rig::start(config, &["t/#"]);
    let why = rig.disconnected().await;
    assert!(rig.problems(Problem::Unreachable) >= 1, "{why}");
    rig.stop().await;
    why
}

#[tokio::test]
async fn tls_checks_the_authority_the_name_and_the_dates_and_says_which_is_wrong() {
    let authority = Authority::new();
    let [clear, good, expired, early] = [free_port(), free_port(), free_port(), free_port()];
    let identities = [
        (good, authority.sign("broker.example", VALID)),
        (expired, authority.sign("broker.example", (2001, 2002))),
        (early, authority.sign("broker.example", (2090, 2100))),
    ];
    let listeners =
        identities.map(|(port, identity)| listener(port, &authority, &identity, "")).concat();
    let _mosquitto = Mosquitto::start_with(clear, |_| {
        format!("listener {clear} 127.0.0.1\nallow_anonymous true\n{listeners}")
    })
    .await;

    for protocol in BOTH {
        assert_works(over_tls(good, protocol, &authority), clear).await;
    }
    let with = |change: fn(&mut MqttSource)| {
        let mut config = over_tls(good, MqttProtocol::Auto, &authority);
        change(&mut config);
        config
    };
    let other_name = with(|config| config.tls.server_name = None);
    let why = why_not(other_name).await;
    assert!(why.contains("not for `127.0.0.1`: set `tls.server_name`"), "{why}");

    let mut other_authority = over_tls(good, MqttProtocol::Auto, &authority);
    let stranger = Authority::new();
    other_authority.tls.ca_file = Some(stranger.ca_file());
    let why = why_not(other_authority).await;
    assert!(why.contains("not trusted here: set `tls.ca_file`"), "{why}");

    let missing = with(|config| config.tls.ca_file = Some("/no/such/ca.pem".into()));
    let why = why_not(missing).await;
    assert!(why.contains("cannot read certificates from `/no/such/ca.pem`"), "{why}");

    let why = why_not(over_tls(expired, MqttProtocol::Auto, &authority)).await;
    assert!(why.contains("has expired"), "{why}");
    let why = why_not(over_tls(early, MqttProtocol::Auto, &authority)).await;
    assert!(why.contains("not valid yet: this machine's clock"), "{why}");

    let why = why_not(over_tls(clear, MqttProtocol::Auto, &authority)).await;
    assert!(why.contains("TLS"), "{why}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_its_absence_is_told() {
    let authority = Authority::new();
    let [clear, secure] = [free_port(), free_port()];
    let server = authority.sign("broker.example", VALID);
    let _mosquitto = Mosquitto::start_with(clear, |_| {
        let secure = listener(secure, &authority, &server, "require_certificate true");
        format!("listener {clear} 127.0.0.1\nallow_anonymous true\n{secure}")
    })
    .await;
    let mut config = over_tls(secure, MqttProtocol::V5, &authority);
    let why = why_not(config.clone()).await;
    assert!(why.contains("client certificate"), "{why}");
    config.tls.identity = Some(authority.sign("gateway-7", VALID));
    assert_works(config, clear).await;
}

#[tokio::test]
async fn the_configured_server_name_is_what_the_broker_is_asked_for() {
    let authority = Authority::new();
    for transport in [MqttTransport::Tls, MqttTransport::WebSocketTls { path: "/mqtt".into() }] {
        let asked = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = asked.local_addr().unwrap().port();
        let mut config = over_tls(port, MqttProtocol::V5, &authority);
        config.transport = transport;
        let rig = Rig::start(config, &["t/#"]);
        let (stream, _) = within("it connects", asked.accept()).await.unwrap();
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
        let hello = within("a ClientHello comes", hello).await.unwrap();
        assert_eq!(hello.client_hello().server_name(), Some("broker.example"));
        rig.stop().await;
    }
}

#[tokio::test]
async fn web_sockets_carry_mqtt_with_and_without_tls() {
    let authority = Authority::new();
    let [clear, plain, secure] = [free_port(), free_port(), free_port()];
    let server = authority.sign("broker.example", VALID);
    let _mosquitto = Mosquitto::start_with(clear, |_| {
        let secure = listener(secure, &authority, &server, "protocol websockets");
        format!(
            "listener {clear} 127.0.0.1\nallow_anonymous true\nlistener {plain} 127.0.0.1\nprotocol websockets\nallow_anonymous true\n{secure}"
        )
    })
    .await;
    for protocol in BOTH {
        let mut config = config(plain, protocol);
        config.transport = MqttTransport::WebSocket { path: "/mqtt".to_owned() };
        assert_works(config, clear).await;
        let mut config = over_tls(secure, protocol, &authority);
        config.transport = MqttTransport::WebSocketTls { path: "/mqtt".to_owned() };
        assert_works(config, clear).await;
    }
    let mut wrong = config(clear, MqttProtocol::V5);
    wrong.transport = MqttTransport::WebSocket { path: "/mqtt".to_owned() };
    let why = why_not(wrong).await;
    assert!(why.contains("does not open a WebSocket"), "{why}");
}

#[tokio::test]
async fn an_ipv6_address_works_in_every_form() {
    let authority = Authority::new();
    let [clear, secure] = [free_port(), free_port()];
    let server = authority.sign("::1", VALID);
    if TcpListener::bind("[::1]:0").await.is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let _mosquitto = Mosquitto::start_with(clear, |_| {
        let secure = listener(secure, &authority, &server, "").replace("127.0.0.1", "::1");
        format!("listener {clear}\nallow_anonymous true\n{secure}")
    })
    .await;
    for host in ["::1", "[::1]"] {
        let mut config = config(clear, MqttProtocol::V5);
        config.host = host.to_owned();
        assert_works(config.clone(), clear).await;
        config.transport = MqttTransport::Tls;
        config.port = secure;
        config.tls.ca_file = Some(authority.ca_file());
        assert_works(config, clear).await;
    }
}
