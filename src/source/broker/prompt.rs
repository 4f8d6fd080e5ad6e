//! A device's socket whose kernel acknowledges at once what arrived.
//!
//! Otherwise it waits up to 40 ms for something to send the acknowledgement with. Most devices' stacks hold a small
//! write back until the last one is acknowledged (Nagle), so one that answers a message and then publishes its own would
//! wait for that each time: 44 ms instead of 1 ms were measured with MQTT.js.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The socket.
#[derive(Debug)]
pub(super) struct Prompt(TcpStream);

impl Prompt {
    /// Small packets leave and are acknowledged at once on `socket`.
    pub(super) fn new(socket: TcpStream) -> io::Result<Self> {
        // A PUBACK must not wait for a full segment.
        socket.set_nodelay(true)?;
        Ok(Self(socket))
    }
}

impl AsyncRead for Prompt {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = &mut self.get_mut().0;
        let read = ready!(Pin::new(&mut *socket).poll_read(context, buffer));
        // The kernel goes back to waiting by itself. Where it does not know this, devices wait.
        drop(SockRef::from(&*socket).set_tcp_quickack(true));
        Poll::Ready(read)
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(context)
    }
}
