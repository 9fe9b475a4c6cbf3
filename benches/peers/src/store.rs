//! Owns what a store must offer to be measured, and the list of those that are compiled in.
//!
//! Promises: an append has returned when its events are durable, in every store, by the store's own
//! calls or by ours; what a store does not offer it says, and nothing takes its place silently.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;

use crate::stores;

pub type Result<T = ()> = anyhow::Result<T>;
/// An append on its way. Ends when the events are durable.
pub type Started = Pin<Box<dyn Future<Output = Result> + Send>>;
/// Gets the payload of each event that is read.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8]);

/// A store that is open for appending.
pub trait Appender: Send + Sync {
    /// Appends events of one client as one call; returns when they are durable.
    fn append(&self, client: usize, events: &[&[u8]]) -> Result;

    /// Begins an append; `None` where only blocking calls are offered.
    fn start(&self, _client: usize, _events: &[&[u8]]) -> Option<Started> {
        None
    }

    /// Appends one batch of events, each to its stream; returns when they are durable. Stores
    /// without streams keep the payloads alone.
    fn load(&self, _streams: &[u64], events: &[&[u8]]) -> Result {
        self.append(0, events)
    }
}

/// A store that is open for reading. Each call is false where it is not offered.
pub trait Reading {
    /// Visits all events, in order within each class.
    fn scan(&mut self, visit: Visit<'_>) -> Result<bool>;

    /// Visits the event of this number.
    fn point(&mut self, number: u64, visit: Visit<'_>) -> Result<bool>;

    /// Visits the events of a stream, in order.
    fn stream(&mut self, _stream: u64, _visit: Visit<'_>) -> Result<bool> {
        Ok(false)
    }
}

/// A store, and what its figures rest on.
pub struct Peer {
    pub name: &'static str,
    /// Its crate in the lock file.
    pub package: &'static str,
    /// How events become durable before the ack.
    pub durable: &'static str,
    /// Whose grouping of appends it is.
    pub groups: &'static str,
    /// Whether what is read is checked against a checksum.
    pub checked: &'static str,
    /// What it keeps besides the payload.
    pub keeps: &'static str,
    /// The most events that it is loaded with.
    pub events_max: u64,
    /// Whether it offers many appends in flight from one thread.
    pub starts: bool,
    pub append: fn(&Path) -> Result<Box<dyn Appender>>,
    /// Opens for loading.
    pub load: fn(&Path) -> Result<Box<dyn Appender>>,
    pub read: fn(&Path) -> Result<Box<dyn Reading>>,
}

impl Peer {
    /// Its version in the lock file.
    pub fn version(&self) -> &'static str {
        let lock = include_str!("../Cargo.lock");
        let entry = lock
            .split("[[package]]")
            .find(|entry| entry.lines().any(|line| line == format!("name = \"{}\"", self.package)));
        let version = entry.and_then(|entry| entry.split("version = \"").nth(1)?.split('"').next());
        version.unwrap_or("-")
    }
}

/// All stores that are compiled in: Paperchase and the bare loop first.
pub fn peers() -> Vec<Peer> {
    vec![
        stores::paperchase::PEER,
        stores::bare::PEER,
        #[cfg(feature = "commitlog")]
        stores::commitlog::PEER,
        #[cfg(feature = "fjall")]
        stores::fjall::PEER,
        #[cfg(feature = "okaywal")]
        stores::okaywal::PEER,
        #[cfg(feature = "raft-engine")]
        stores::raft_engine::PEER,
        #[cfg(feature = "redb")]
        stores::redb::PEER,
        #[cfg(feature = "rusqlite")]
        stores::rusqlite::PEER,
        #[cfg(feature = "rusqlite")]
        stores::rusqlite::STREAMS,
        #[cfg(feature = "sierradb")]
        stores::sierradb::PEER,
        #[cfg(feature = "umadb")]
        stores::umadb::PEER,
    ]
}

/// The store of this name.
pub fn peer(name: &str) -> Result<Peer> {
    let found = peers().into_iter().find(|peer| peer.name == name);
    found.ok_or_else(|| anyhow::anyhow!("there is no store {name}"))
}
