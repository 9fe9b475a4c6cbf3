//! Owns fjall: default settings, big-endian numbers as keys, one batch per group behind our writer
//! thread. By itself it keeps a batch in a buffer; here each asks for `SyncData`.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::grouped::{Engine, Grouped, Job};
use crate::store::{Peer, Reading, Result, Visit};

pub const PEER: Peer = Peer {
    name: "fjall",
    package: "fjall",
    durable: "PersistMode::SyncData per batch (default: none)",
    groups: "our wrapper",
    checked: "yes, each block read from disk",
    keeps: "number",
    events_max: u64::MAX,
    starts: true,
    append: |directory| Ok(Grouped::behind(Fjall::open(directory)?)),
    load: |directory| Ok(Grouped::behind(Fjall::open(directory)?)),
    read: open_to_read,
};

struct Fjall {
    database: Database,
    events: Keyspace,
    next: u64,
}

impl Fjall {
    fn open(directory: &Path) -> Result<Self> {
        let database = Database::builder(directory).open()?;
        let events = database.keyspace("events", KeyspaceCreateOptions::default)?;
        Ok(Self { database, events, next: 0 })
    }
}

fn open_to_read(directory: &Path) -> Result<Box<dyn Reading>> {
    Ok(Box::new(Fjall::open(directory)?))
}

impl Engine for Fjall {
    fn commit(&mut self, group: &[Job]) -> Result {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for event in group.iter().flat_map(|job| &job.events) {
            batch.insert(&self.events, self.next.to_be_bytes(), event.as_slice());
            self.next += 1;
        }
        Ok(batch.commit()?)
    }
}

impl Reading for Fjall {
    fn scan(&mut self, visit: Visit<'_>) -> Result<bool> {
        for event in self.events.iter() {
            visit(&event.value()?);
        }
        Ok(true)
    }

    fn point(&mut self, number: u64, visit: Visit<'_>) -> Result<bool> {
        if let Some(event) = self.events.get(number.to_be_bytes())? {
            visit(&event);
        }
        Ok(true)
    }
}
