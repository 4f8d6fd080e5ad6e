//! The front alone, before a broker that answers nothing: how long a device may take.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::client::PATIENCE;
use super::tls::Certificates;
use super::{Problem, SourceHealth, context, until};
use crate::source::broker::events::Teller;
use crate::source::broker::front::Front;
use crate::source::broker::peers::Peers;
use crate::source::tls;

/// Time for the handshake, and again for the CONNECT.
const ADMISSION: Duration = Duration::from_millis(500);

/// A front before a listener that takes connections and says nothing.
async fn front(tls: Option<tokio_rustls::TlsAcceptor>) -> (SocketAddr, Arc<SourceHealth>) {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (context, _) = context(&["#"]);
    let peers = Arc::new(Peers::new(8, Arc::clone(&context.health)));
    let broker = mute.local_addr().unwrap();
    let teller = Arc::new(Teller::new(context.clone(), Arc::clone(&peers), 8));
    let front = Front::new(broker, peers, teller, Arc::clone(&context.health), 8);
    let front = Arc::new(front.with_admission_max(ADMISSION));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(front.accept(listener, tls));
    tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((connection, _)) = mute.accept().await {
            silent.push(connection);
        }
    });
    (address, context.health)
}

/// Waits for the front to hang up.
async fn hung_up_after(mut device: impl AsyncReadExt + Unpin, health: &SourceHealth) -> Duration {
    let started = Instant::now();
    // The end of a TLS connection without a goodbye is an error to rustls.
    let read = tokio::time::timeout(PATIENCE, device.read(&mut [0])).await;
    assert_eq!(read.expect("it hangs up").unwrap_or(0), 0);
    let took = started.elapsed();
    until(|| health.metrics.problem(Problem::Protocol.reason()).get() == 1).await;
    took
}

#[track_caller]
fn assert_after(took: Duration, least: Duration, what: &str) {
    // Its clock may have started a little before ours.
    assert!(took > least / 2, "{what}: {took:?}");
}

#[tokio::test]
async fn a_device_without_a_whole_connect_is_hung_up_on_in_time() {
    for said in [&b""[..], b"\x10\x0c\x00\x04MQTT"] {
        let (address, health) = front(None).await;
        let mut device = TcpStream::connect(address).await.unwrap();
        device.write_all(said).await.unwrap();
        assert_after(hung_up_after(device, &health).await, ADMISSION, "plain");
    }
}

#[tokio::test]
async fn a_device_without_a_tls_handshake_or_a_connect_after_it_is_hung_up_on_in_time() {
    let certificates = Certificates::new();
    let server = certificates.broker(None).listeners[0].tls.clone().unwrap();
    let acceptor = tls::acceptor(&server).unwrap();

    let (address, health) = front(Some(acceptor.clone())).await;
    let device = TcpStream::connect(address).await.unwrap();
    assert_after(hung_up_after(device, &health).await, ADMISSION, "no handshake");

    let (address, health) = front(Some(acceptor)).await;
    let device = certificates.handshake(address, None).await.unwrap();
    assert_after(hung_up_after(device, &health).await, ADMISSION, "no CONNECT");
}
