//! What passes through, for whoever looks on at the moment: `waypost tail`.
//!
//! Nobody looks on most of the time, and then it costs one relaxed load per group of events or answer. Everybody who
//! looks on has a buffer of [`LINES_MAX`] lines; what does not fit is counted and never waited for, so that a slow
//! reader loses lines and the gateway nothing. Lines carry excerpts of payloads and no header.

mod line;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

pub use line::{Happening, Line, Request, Seen};

use crate::clock::UnixMillis;
use crate::event::Event;
use crate::name::{RuleName, SinkName};

/// Lines that wait for one reader.
const LINES_MAX: usize = 1024;

/// Readers at once.
const READERS_MAX: usize = 8;

/// Where things happen and where they are looked at. Cheap to clone; the default is one that nobody looks at yet.
#[derive(Debug, Clone, Default)]
pub struct Tail(Arc<Hub>);

#[derive(Debug, Default)]
struct Hub {
    /// How many readers there are.
    watching: AtomicUsize,
    readers: Mutex<Vec<Arc<Reader>>>,
}

/// What a reader wants to see; everything by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only what concerns this sink.
    pub sink: Option<SinkName>,
    /// Only what concerns this rule.
    pub rule: Option<RuleName>,
}

#[derive(Debug)]
struct Reader {
    wanted: Wanted,
    lines: mpsc::Sender<Line>,
    /// Lines that did not fit.
    lost: AtomicU64,
}

/// As many look on as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{READERS_MAX} are looking on already: end one of them")]
pub struct TooManyReaders;

impl Tail {
    /// Who looks on; `None` when nobody does.
    #[must_use]
    pub fn audience(&self) -> Option<Audience> {
        if self.0.watching.load(Ordering::Relaxed) == 0 {
            return None;
        }
        Some(Audience(self.0.lock().clone()))
    }

    /// Looks on from now until the listener is dropped.
    pub fn listen(&self, wanted: Wanted) -> Result<Listener, TooManyReaders> {
        let (sender, lines) = mpsc::channel(LINES_MAX);
        let reader = Arc::new(Reader { wanted, lines: sender, lost: AtomicU64::new(0) });
        let mut readers = self.0.lock();
        if readers.len() >= READERS_MAX {
            return Err(TooManyReaders);
        }
        readers.push(Arc::clone(&reader));
        self.0.watching.store(readers.len(), Ordering::Relaxed);
        drop(readers);
        Ok(Listener { hub: Arc::clone(&self.0), reader, lines })
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Reader>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those who look on.
#[derive(Debug, Clone)]
pub struct Audience(Vec<Arc<Reader>>);

/// What a line is about, for those who want to see only that.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Sinks that are concerned.
    pub sinks: &'a [SinkName],
    /// Rules that are concerned.
    pub rules: &'a [RuleName],
}

impl Audience {
    /// Tells everybody who wants to know; the line is made only when there is somebody with room for it.
    pub fn tell(&self, about: About<'_>, happening: impl FnOnce() -> Happening) {
        let concerned: Vec<_> = self.0.iter().filter(|reader| reader.wants(about)).collect();
        let (with_room, without): (Vec<_>, Vec<_>) =
            concerned.into_iter().partition(|reader| reader.lines.capacity() > 0);
        for reader in without {
            reader.lost.fetch_add(1, Ordering::Relaxed);
        }
        if with_room.is_empty() {
            return;
        }
        let line = Line { at: UnixMillis::now(), happening: happening() };
        for reader in with_room {
            if reader.lines.try_send(line.clone()).is_err() {
                reader.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Tells of an event for which no rule has topics that fit.
pub fn tell_of_unwanted(audience: &Audience, event: &Event) {
    let about = About { sinks: &[], rules: &[] };
    audience.tell(about, || Happening::NoRule { event: Seen::of(event) });
}

impl Reader {
    fn wants(&self, about: About<'_>) -> bool {
        let sink = self.wanted.sink.as_ref();
        let rule = self.wanted.rule.as_ref();
        sink.is_none_or(|sink| about.sinks.contains(sink))
            && rule.is_none_or(|rule| about.rules.contains(rule))
    }
}

/// One who looks on. Dropping it ends that.
#[derive(Debug)]
pub struct Listener {
    hub: Arc<Hub>,
    reader: Arc<Reader>,
    lines: mpsc::Receiver<Line>,
}

impl Listener {
    /// The next line; one that says how many were lost comes before those after them. Cancel safe.
    pub async fn next(&mut self) -> Line {
        let lost = self.reader.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            return Line { at: UnixMillis::now(), happening: Happening::Lost { lines: lost } };
        }
        match self.lines.recv().await {
            Some(line) => line,
            // The sender is ours, in `reader`.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut readers = self.hub.lock();
        readers.retain(|reader| !Arc::ptr_eq(reader, &self.reader));
        self.hub.watching.store(readers.len(), Ordering::Relaxed);
    }
}
