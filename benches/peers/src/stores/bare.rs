//! Owns the floor: the disk alone, with no store between. Appending is the loop of 4 KiB pwrite and
//! fdatasync over blocks that were written before, by one thread, whatever the workload; reading is
//! pread of a flat file.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

use crate::events::PAYLOAD;
use crate::store::{Appender, Peer, Reading, Result, Visit};

pub const NAME: &str = "bare";

pub const PEER: Peer = Peer {
    name: NAME,
    package: "",
    durable: "4 KiB pwrite + fdatasync on a zeroed file, one thread",
    groups: "none",
    checked: "no",
    keeps: "nothing",
    events_max: u64::MAX,
    starts: false,
    append: |directory| Ok(Box::new(Bare::create(directory)?)),
    load: |directory| Ok(Box::new(Flat(Mutex::new((File::create(directory.join(FILE))?, 0))))),
    read: |directory| Ok(Box::new(File::open(directory.join(FILE))?)),
};

const FILE: &str = "flat";
const ZEROED: u64 = 32 << 20;
const WRITE: usize = 4 << 10;
const READ: usize = 64 << 10;

struct Bare(Mutex<(File, u64)>);

impl Bare {
    fn create(directory: &Path) -> Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).open(directory.join(FILE))?;
        let zeros = vec![0; 1 << 20];
        for offset in (0..ZEROED).step_by(zeros.len()) {
            file.write_all_at(&zeros, offset)?;
        }
        file.sync_all()?;
        Ok(Self(Mutex::new((file, 0))))
    }
}

impl Appender for Bare {
    fn append(&self, _client: usize, _events: &[&[u8]]) -> Result {
        let mut state = self.0.lock().expect("no holder panics");
        let (file, offset) = &mut *state;
        file.write_all_at(&[0x5a; WRITE], *offset)?;
        file.sync_data()?;
        *offset = (*offset + WRITE as u64) % ZEROED;
        Ok(())
    }
}

/// Payloads one behind another.
struct Flat(Mutex<(File, u64)>);

impl Appender for Flat {
    fn append(&self, _client: usize, events: &[&[u8]]) -> Result {
        let mut state = self.0.lock().expect("no holder panics");
        let (file, offset) = &mut *state;
        let bytes = events.concat();
        file.write_all_at(&bytes, *offset)?;
        file.sync_data()?;
        *offset += bytes.len() as u64;
        Ok(())
    }
}

impl Reading for File {
    fn scan(&mut self, visit: Visit<'_>) -> Result<bool> {
        let mut buffer = vec![0; READ];
        let mut offset = 0;
        loop {
            let read = self.read_at(&mut buffer, offset)?;
            if read == 0 {
                return Ok(true);
            }
            buffer[..read].chunks_exact(PAYLOAD).for_each(&mut *visit);
            offset += read as u64;
        }
    }

    fn point(&mut self, number: u64, visit: Visit<'_>) -> Result<bool> {
        let mut buffer = [0; PAYLOAD];
        self.read_exact_at(&mut buffer, number * PAYLOAD as u64)?;
        visit(&buffer);
        Ok(true)
    }
}
