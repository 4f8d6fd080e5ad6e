//! A TCP link between two ends on loopback that the test cuts, makes swallow everything, or makes thin.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Bytes pass.
const OPEN: u8 = 0;
/// Connections stay up and are accepted; what is sent is swallowed, and nobody hears that the other end has gone.
const SILENT: u8 = 1;
/// Connections break, and new ones with them.
const CUT: u8 = 2;
/// The test is over.
const GONE: u8 = 3;

/// The link; dropping it ends its threads.
#[derive(Debug)]
pub struct Link {
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: u16,
    mode: AtomicU8,
    /// Of each connection in each direction.
    bytes_per_second_max: AtomicU32,
    connections: Mutex<Vec<TcpStream>>,
}

impl Link {
    /// A link to a port on loopback.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            target,
            mode: AtomicU8::new(OPEN),
            bytes_per_second_max: AtomicU32::new(u32::MAX),
            connections: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                match accepting.mode() {
                    GONE => return,
                    CUT => drop(near),
                    _ => accepting.carry(near),
                }
            }
        });
        Self { port, shared }
    }

    /// Bytes pass again, over new connections: what was swallowed stays swallowed.
    pub fn open(&self) {
        self.shared.set_mode(OPEN);
    }

    /// From now on nothing gets through, and nobody is told.
    pub fn silence(&self) {
        self.shared.set_mode(SILENT);
    }

    /// No connection carries more from now on.
    pub fn throttle(&self, bytes_per_second_max: u32) {
        self.shared.bytes_per_second_max.store(bytes_per_second_max, Ordering::SeqCst);
    }

    /// Breaks all connections, and those that come until it is opened again.
    pub fn cut(&self) {
        self.shared.set_mode(CUT);
        self.shared.break_all();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.set_mode(GONE);
        self.shared.break_all();
        // Wakes the accepting thread.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl Shared {
    fn mode(&self) -> u8 {
        self.mode.load(Ordering::SeqCst)
    }

    fn set_mode(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    fn break_all(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            drop(connection.shutdown(Shutdown::Both));
        }
    }

    fn carry(self: &Arc<Self>, near: TcpStream) {
        let Ok(far) = TcpStream::connect(("127.0.0.1", self.target)) else { return };
        for end in [&near, &far] {
            end.set_nodelay(true).unwrap();
            // Often enough to see that the link went silent while nothing was sent.
            end.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            self.connections.lock().unwrap().push(end.try_clone().unwrap());
        }
        let (near_again, far_again) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let (inwards, outwards) = (Arc::clone(self), Arc::clone(self));
        std::thread::spawn(move || inwards.pump(near, far));
        std::thread::spawn(move || outwards.pump(far_again, near_again));
    }

    fn take_time_for(&self, bytes: usize) {
        let rate = self.bytes_per_second_max.load(Ordering::SeqCst);
        if rate < u32::MAX {
            #[expect(clippy::disallowed_methods, reason = "a thin link is slow")]
            std::thread::sleep(Duration::from_secs_f64(bytes as f64 / f64::from(rate)));
        }
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = vec![0; 16 << 10];
        let mut is_deaf = false;
        loop {
            let read = from.read(&mut bytes);
            // A stream with a hole in it is worse than none: it stays as it is until an end gives up.
            is_deaf |= self.mode() == SILENT;
            match read {
                Ok(0) if is_deaf => return,
                Ok(0) => break,
                Ok(_) if is_deaf => {}
                Ok(count) => {
                    self.take_time_for(count);
                    if to.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if self.mode() == GONE {
                        return;
                    }
                }
                Err(_) => break,
            }
        }
        drop(to.shutdown(Shutdown::Both));
        drop(from.shutdown(Shutdown::Both));
    }
}
