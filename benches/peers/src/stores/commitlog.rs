//! Owns commitlog: segments of 256 MiB behind our writer thread. Its `flush` syncs the index alone,
//! so the newest segment is synced by us, through a handle of our own.

use std::fs::File;
use std::path::{Path, PathBuf};

use commitlog::message::{MessageBuf, MessageSet};
use commitlog::{CommitLog, LogOptions, ReadLimit};

use crate::grouped::{Engine, Grouped, Job};
use crate::store::{Appender, Peer, Reading, Result, Visit};

pub const PEER: Peer = Peer {
    name: "commitlog",
    package: "commitlog",
    durable: "our fdatasync of the newest segment after its flush()",
    groups: "our wrapper",
    checked: "no (its hashes are there; reading does not look)",
    keeps: "offset",
    events_max: u64::MAX,
    starts: true,
    append: open,
    load: open,
    read: |directory| Ok(Box::new(CommitLog::new(options(directory))?)),
};

const SEGMENT: usize = 256 << 20;
const MESSAGES_MAX: usize = 64 << 20;
const INDEX_ITEMS: usize = 1_000_000;
const READ: usize = 64 << 10;

struct Commitlog {
    log: CommitLog,
    directory: PathBuf,
    segment: File,
}

fn options(directory: &Path) -> LogOptions {
    let mut options = LogOptions::new(directory);
    options.segment_max_bytes(SEGMENT).message_max_bytes(MESSAGES_MAX);
    options.index_max_items(INDEX_ITEMS);
    options
}

fn segment(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.log"))
}

fn open(directory: &Path) -> Result<Box<dyn Appender>> {
    let log = CommitLog::new(options(directory))?;
    let segment = File::open(segment(directory, 0))?;
    Ok(Grouped::behind(Commitlog { log, directory: directory.to_owned(), segment }))
}

impl Engine for Commitlog {
    fn commit(&mut self, group: &[Job]) -> Result {
        let mut messages = MessageBuf::default();
        for event in group.iter().flat_map(|job| &job.events) {
            messages.push(event).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        }
        let stored = self.log.append(&mut messages)?;
        self.log.flush()?;
        // A segment is named after its first offset, and begins with the first of an append.
        let newest = segment(&self.directory, stored.first());
        if stored.first() > 0 && newest.exists() {
            self.segment.sync_data()?;
            self.segment = File::open(newest)?;
            File::open(&self.directory)?.sync_all()?;
        }
        Ok(self.segment.sync_data()?)
    }
}

impl Reading for CommitLog {
    fn scan(&mut self, visit: Visit<'_>) -> Result<bool> {
        let mut offset = 0;
        loop {
            let messages = self.read(offset, ReadLimit::max_bytes(READ))?;
            if messages.is_empty() {
                return Ok(true);
            }
            for message in messages.iter() {
                visit(message.payload());
                offset = message.offset() + 1;
            }
        }
    }

    fn point(&mut self, number: u64, visit: Visit<'_>) -> Result<bool> {
        let messages = self.read(number, ReadLimit::max_bytes(400))?;
        messages.iter().take(1).for_each(|message| visit(message.payload()));
        Ok(true)
    }
}
