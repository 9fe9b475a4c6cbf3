//! Owns raft-engine: default settings without compression and purging, one region per client,
//! `write(batch, sync = true)`. Loaded, all is in one region, whose index is the event's number.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use crate::store::{Appender, Peer, Reading, Result, Visit};

pub const PEER: Peer = Peer {
    name: "raft-engine",
    package: "raft-engine",
    durable: "write(batch, sync = true), its fdatasync per group",
    groups: "own",
    checked: "yes, each block",
    keeps: "region and index",
    events_max: u64::MAX,
    starts: false,
    append: |directory| Ok(Box::new(RaftEngine::open(directory)?)),
    load: |directory| Ok(Box::new(RaftEngine::open(directory)?)),
    read: |directory| Ok(Box::new(RaftEngine::open(directory)?)),
};

const REGION: u64 = 1;
const INDEX: usize = 8;
const READ: u64 = 256;

/// An entry is bytes, of which the first eight are its index.
#[derive(Clone)]
struct Indexed;

impl MessageExt for Indexed {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        let index = entry.value.first_chunk().copied();
        index.map_or(0, u64::from_le_bytes)
    }
}

struct RaftEngine {
    engine: Engine,
    next: Mutex<HashMap<u64, u64>>,
}

impl RaftEngine {
    fn open(directory: &Path) -> Result<Self> {
        let config = Config {
            dir: directory.to_string_lossy().into_owned(),
            batch_compression_threshold: ReadableSize::kb(0),
            purge_threshold: ReadableSize::gb(20),
            ..Config::default()
        };
        Ok(Self { engine: Engine::open(config)?, next: Mutex::default() })
    }

    /// Takes the next indexes of a region. Indexes begin at 1.
    fn take(&self, region: u64, count: u64) -> u64 {
        let mut next = self.next.lock().expect("no holder panics");
        let next = next.entry(region).or_insert(1);
        *next += count;
        *next - count
    }
}

impl Appender for RaftEngine {
    fn append(&self, client: usize, events: &[&[u8]]) -> Result {
        let region = client as u64 + REGION;
        let first = self.take(region, events.len() as u64);
        let entry = |(index, event): (u64, &&[u8])| {
            let mut entry = BytesValue::new();
            entry.value = [&index.to_le_bytes(), *event].concat();
            entry
        };
        let entries: Vec<_> = (first..).zip(events).map(entry).collect();
        let mut batch = LogBatch::with_capacity(1);
        batch.add_entries::<Indexed>(region, &entries)?;
        self.engine.write(&mut batch, true)?;
        Ok(())
    }
}

impl Reading for RaftEngine {
    fn scan(&mut self, visit: Visit<'_>) -> Result<bool> {
        let end = self.engine.last_index(REGION).map_or(0, |last| last + 1);
        let mut entries = Vec::new();
        for first in (1..end).step_by(READ as usize) {
            let until = end.min(first + READ);
            self.engine.fetch_entries_to::<Indexed>(REGION, first, until, None, &mut entries)?;
            entries.drain(..).for_each(|entry| visit(&entry.value[INDEX..]));
        }
        Ok(true)
    }

    fn point(&mut self, number: u64, visit: Visit<'_>) -> Result<bool> {
        if let Some(entry) = self.engine.get_entry::<Indexed>(REGION, number + 1)? {
            visit(&entry.value[INDEX..]);
        }
        Ok(true)
    }
}
