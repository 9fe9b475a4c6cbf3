//! Owns okaywal: files of 64 MiB, preallocated. While appending, checkpoints at 48 MiB that keep
//! nothing, so that files are used again: that is what it is for. Loaded, it never checkpoints; the
//! places of events are what opening found, as it has no positions of its own.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use okaywal::{
    Configuration, Entry, EntryId, LogManager, LogPosition, LogVoid, ReadChunkResult,
    SegmentReader, WriteAheadLog,
};

use crate::events::PAYLOAD;
use crate::store::{Appender, Peer, Reading, Result, Visit};

pub const PEER: Peer = Peer {
    name: "okaywal",
    package: "okaywal",
    durable: "its fdatasync per group",
    groups: "own",
    checked: "on opening; single reads are not",
    keeps: "nothing: a log to recover from",
    events_max: u64::MAX,
    starts: false,
    append: |directory| Ok(Box::new(config(directory, CHECKPOINT).open(LogVoid)?)),
    load: |directory| Ok(Box::new(config(directory, u64::MAX).open(LogVoid)?)),
    read: open_to_read,
};

const FILE: u32 = 64 << 20;
const CHECKPOINT: u64 = 48 << 20;

fn config(directory: &Path, checkpoint: u64) -> Configuration {
    let config = Configuration::default_for(directory);
    config.preallocate_bytes(FILE).checkpoint_after_bytes(checkpoint)
}

impl Appender for WriteAheadLog {
    fn append(&self, _client: usize, events: &[&[u8]]) -> Result {
        let mut entry = self.begin_entry()?;
        for event in events {
            entry.write_chunk(event)?;
        }
        entry.commit()?;
        Ok(())
    }
}

/// Keeps where the events are.
#[derive(Clone, Debug, Default)]
struct Places(Arc<Mutex<Vec<LogPosition>>>);

impl LogManager for Places {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        let mut places = self.0.lock().expect("no holder panics");
        while let ReadChunkResult::Chunk(mut chunk) = entry.read_chunk()? {
            places.push(chunk.log_position());
            chunk.read_all()?;
            if !chunk.check_crc()? {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _last: EntryId,
        _entries: &mut SegmentReader,
        _log: &WriteAheadLog,
    ) -> io::Result<()> {
        Ok(())
    }
}

struct Reader {
    log: WriteAheadLog,
    places: Vec<LogPosition>,
}

fn open_to_read(directory: &Path) -> Result<Box<dyn Reading>> {
    let places = Places::default();
    let log = config(directory, u64::MAX).open(places.clone())?;
    let places = std::mem::take(&mut *places.0.lock().expect("no holder panics"));
    Ok(Box::new(Reader { log, places }))
}

impl Reading for Reader {
    /// Only opening reads all.
    fn scan(&mut self, _visit: Visit<'_>) -> Result<bool> {
        Ok(false)
    }

    fn point(&mut self, number: u64, visit: Visit<'_>) -> Result<bool> {
        let place = self.places.get(number as usize);
        let place = place.ok_or_else(|| anyhow::anyhow!("event {number} was not recovered"))?;
        let mut payload = [0; PAYLOAD];
        io::Read::read_exact(&mut self.log.read_at(*place)?, &mut payload)?;
        visit(&payload);
        Ok(true)
    }
}
