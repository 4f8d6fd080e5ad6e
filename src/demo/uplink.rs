//! An uplink that can be cut: a TCP forwarder between Waypost and the receiver.

use std::io;
use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Forwards connections while it is up; drops them all when it is cut, and new ones at once while it is.
#[derive(Debug)]
pub(super) struct Uplink {
    address: SocketAddr,
    up: watch::Sender<bool>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Connections forwarded at once.
const CONNECTIONS_MAX: usize = 64;

impl Uplink {
    pub(super) async fn start(to: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (up, watching) = watch::channel(true);
        let stop = CancellationToken::new();
        let task = super::spawn(&stop, forward(listener, to, watching));
        Ok(Self { address, up, stop, task })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn set_up(&self, up: bool) {
        self.up.send_if_modified(|current| std::mem::replace(current, up) != up);
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        drop(self.task.await);
    }
}

async fn forward(listener: TcpListener, to: SocketAddr, up: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((mut near, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        if !*up.borrow() || connections.len() >= CONNECTIONS_MAX {
            continue;
        }
        let mut up = up.clone();
        connections.spawn(async move {
            let Ok(mut far) = TcpStream::connect(to).await else { return };
            tokio::select! {
                _ = copy_bidirectional(&mut near, &mut far) => {}
                _ = up.wait_for(|up| !up) => {}
            }
        });
    }
}
