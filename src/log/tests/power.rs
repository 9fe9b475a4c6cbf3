//! Owns a disk in memory that can lose its power: each write, growth and new file that was not
//! synced is then there or not, by chance.
//!
//! Promises: what was synced stays. Each write is lost as a whole or not at all; a write that is
//! torn within is for another test. The end of a process alone loses nothing, and makes nothing
//! durable.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use super::random::Random;
use crate::disk::sim::SimDisk;
use crate::disk::{Access, Disk, DiskFile, LockError, Map};

/// The disk. Clones are further handles of the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct PowerDisk {
    /// What programs see.
    live: SimDisk,
    /// What was synced.
    synced: SimDisk,
    files: Arc<Mutex<BTreeMap<String, Unsynced>>>,
}

/// What a loss of power may take of a file.
#[derive(Debug, Default)]
struct Unsynced {
    entry: bool,
    changes: Arc<Mutex<Vec<Change>>>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Grow(u64),
}

impl Change {
    fn apply(&self, file: &dyn DiskFile) -> io::Result<()> {
        match self {
            Self::Write(offset, bytes) => file.write_at(bytes, *offset),
            // A later write may have grown the file already.
            Self::Grow(size) if file.size()? >= *size => Ok(()),
            Self::Grow(size) => file.grow(*size),
        }
    }
}

impl PowerDisk {
    /// The disk as it is after a loss of power.
    pub(super) fn lose_power(&self, random: &mut Random) -> Self {
        // Often all or nothing of a file survives.
        let percent = random.pick(&[0, 50, 50, 90, 100]);
        for (name, unsynced) in &*self.files.lock().unwrap() {
            if unsynced.entry && random.percent(50) {
                self.synced.remove(name);
                continue;
            }
            let file = self.synced.open(name, Access::Write).unwrap();
            for change in &*unsynced.changes.lock().unwrap() {
                if random.percent(percent) {
                    change.apply(&*file).unwrap();
                }
            }
        }
        let (live, synced) = (self.synced.snapshot(), self.synced.clone());
        let names = live.list().unwrap();
        let known = names.into_iter().map(|name| (name, Unsynced::default())).collect();
        Self { live, synced, files: Arc::new(Mutex::new(known)) }
    }

    fn wrap(&self, name: &str, live: Arc<dyn DiskFile>) -> io::Result<Arc<dyn DiskFile>> {
        let mut files = self.files.lock().unwrap();
        let changes = Arc::clone(&files.entry(name.to_owned()).or_default().changes);
        let synced = self.synced.open(name, Access::Write)?;
        Ok(Arc::new(PowerFile { live, synced, changes }))
    }
}

impl Disk for PowerDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let live = self.live.create(name)?;
        self.synced.create(name)?;
        let unsynced = Unsynced { entry: true, changes: Arc::default() };
        self.files.lock().unwrap().insert(name.to_owned(), unsynced);
        self.wrap(name, live)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let live = self.live.open(name, access)?;
        self.wrap(name, live)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.live.list()
    }

    fn sync_directory(&self) -> io::Result<()> {
        for unsynced in self.files.lock().unwrap().values_mut() {
            unsynced.entry = false;
        }
        Ok(())
    }

    fn lock(&self) -> Result<Box<dyn fmt::Debug + Send + Sync>, LockError> {
        self.live.lock()
    }

    fn label(&self) -> String {
        self.live.label()
    }
}

#[derive(Debug)]
struct PowerFile {
    live: Arc<dyn DiskFile>,
    synced: Arc<dyn DiskFile>,
    changes: Arc<Mutex<Vec<Change>>>,
}

impl DiskFile for PowerFile {
    fn size(&self) -> io::Result<u64> {
        self.live.size()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.live.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.live.write_at(bytes, offset)?;
        self.changes.lock().unwrap().push(Change::Write(offset, bytes.to_vec()));
        Ok(())
    }

    fn grow(&self, size: u64) -> io::Result<()> {
        self.live.grow(size)?;
        self.changes.lock().unwrap().push(Change::Grow(size));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let changes = std::mem::take(&mut *self.changes.lock().unwrap());
        changes.iter().try_for_each(|change| change.apply(&*self.synced))
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        self.live.next_data(offset)
    }

    fn next_hole(&self, offset: u64) -> io::Result<u64> {
        self.live.next_hole(offset)
    }

    fn map(&self, length: u64) -> io::Result<Map> {
        self.live.map(length)
    }
}
