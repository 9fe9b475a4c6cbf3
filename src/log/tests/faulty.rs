//! Owns a disk in memory that numbers every call, fails those it is told to fail, and knows what a
//! loss of power leaves.
//!
//! Promises: after a failed sync the bytes that it was for stay visible, later syncs say that all
//! is well, each other opening of the file is told once, and the bytes are lost with the power, as
//! on Linux. A new entry that could not be synced may be synced later. The first sector of a file
//! is written as a whole or not at all, which the format assumes of headers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::disk::map::SharedPage;
use crate::disk::sim::SimDisk;
use crate::disk::{Access, Disk, DiskFile, LockError, Map};

const SECTOR: usize = 512;

/// A call of the traits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Create,
    Open,
    List,
    SyncDirectory,
    Lock,
    Page,
    Size,
    ReadAt,
    WriteAt,
    Grow,
    SyncData,
    NextData,
    NextHole,
    Map,
}

/// A call that was made.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) kind: Kind,
    pub(super) file: String,
    /// What it was made for.
    pub(super) path: &'static str,
    pub(super) has_failed: bool,
}

/// How often a fault meets calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spell {
    /// One call.
    Once,
    /// That call and all later ones of its kind.
    Always,
    /// That call and all later ones.
    FromThen,
}

/// How much of a write that fails is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Nothing,
    Byte,
    Sector,
    Half,
    AllButAByte,
}

/// What is to fail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// The number of the first call that fails, among all calls or those of one kind.
    pub(super) call: usize,
    pub(super) of: Option<Kind>,
    pub(super) errno: i32,
    pub(super) spell: Spell,
    pub(super) part: Part,
    /// The write does a part and says that it did all.
    pub(super) lies: bool,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<Call>,
    plan: Option<Plan>,
    /// The kind of the first call that failed.
    hit: Option<Kind>,
    stage: &'static str,
    active: String,
    files: BTreeMap<String, FileState>,
    /// Files whose entries are not synced.
    new: BTreeSet<String>,
}

impl State {
    /// What a call is made for.
    fn path(&self, kind: Kind, file: &str, offset: u64) -> &'static str {
        match self.stage {
            "writer" if kind == Kind::SyncData => "flush",
            "writer" if kind == Kind::WriteAt && offset == 0 => "roll",
            "writer" => "append",
            "keeper" if file == "hint" => "hint",
            "keeper" if file.starts_with("chunk") && *file < *self.active => "seal",
            "keeper" => "prepare",
            stage => stage,
        }
    }
}

/// What is known of a file beyond what programs see of it.
#[derive(Debug, Default)]
struct FileState {
    durable: Vec<u8>,
    changes: Vec<(u64, Vec<u8>)>,
    /// Syncs that failed.
    errors: u64,
}

impl FileState {
    fn settle(&mut self) {
        for (offset, bytes) in std::mem::take(&mut self.changes) {
            change(&mut self.durable, offset, &bytes);
        }
    }
}

fn change(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let end = offset as usize + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset as usize..end].copy_from_slice(bytes);
}

/// The disk. Clones are further handles of the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultyDisk {
    live: SimDisk,
    state: Arc<Mutex<State>>,
    /// Whether syncs of files are to wait.
    held: Arc<(Mutex<bool>, Condvar)>,
}

impl FaultyDisk {
    /// A disk on which all of this is durable.
    pub(super) fn on(live: SimDisk) -> Self {
        let disk = Self { live, ..Self::default() };
        for name in disk.live.list().unwrap() {
            let durable = disk.live.read_file(&name).unwrap();
            disk.state().files.insert(name, FileState { durable, ..FileState::default() });
        }
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Fails calls from now on, which are numbered anew from 0.
    pub(super) fn fail(&self, plan: Option<Plan>) {
        let mut state = self.state();
        (state.calls, state.hit, state.plan) = (Vec::new(), None, plan);
    }

    /// Lets no sync of a file begin from now on, or lets those that wait begin.
    pub(super) fn hold_syncs(&self, held: bool) {
        *self.held.0.lock().unwrap() = held;
        self.held.1.notify_all();
    }

    /// Says which stage makes the calls that follow, while this chunk is active.
    pub(super) fn enter(&self, stage: &'static str, active: String) {
        let mut state = self.state();
        (state.stage, state.active) = (stage, active);
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// What programs see, as after a kill.
    pub(super) fn seen(&self) -> SimDisk {
        self.live.snapshot()
    }

    /// What a loss of power leaves: what was synced, and of the rest nothing (`all` is false) or
    /// all that no failed sync was for.
    pub(super) fn left(&self, all: bool) -> SimDisk {
        if all { self.left_where(|_| true) } else { self.left_where(|_| false) }
    }

    /// What a loss of power leaves that spares the unsynced writes with these bytes, and unsynced
    /// entries of files together with writes of nothing.
    pub(super) fn left_where(&self, is_there: impl Fn(&[u8]) -> bool) -> SimDisk {
        let (disk, state) = (SimDisk::new(), self.state());
        for (name, file) in &state.files {
            if !is_there(&[]) && state.new.contains(name) {
                continue;
            }
            let mut content = file.durable.clone();
            let changes = file.changes.iter().filter(|(_, bytes)| is_there(bytes));
            changes.for_each(|(offset, bytes)| change(&mut content, *offset, bytes));
            disk.write_file(name, content);
        }
        disk
    }

    /// Notes a call. Returns the plan if the call is to fail.
    fn call(&self, kind: Kind, file: &str, offset: u64) -> Option<Plan> {
        let mut state = self.state();
        let plan = state.plan.filter(|plan| {
            let counts = |other: Kind| plan.of.is_none_or(|of| of == other);
            let number = state.calls.iter().filter(|call| counts(call.kind)).count();
            counts(kind)
                && match plan.spell {
                    Spell::Once => number == plan.call,
                    Spell::Always => number == plan.call || state.hit == Some(kind),
                    Spell::FromThen => number >= plan.call,
                }
        });
        if plan.is_some() {
            state.hit.get_or_insert(kind);
        }
        let path = state.path(kind, file, offset);
        let file = file.to_owned();
        let has_failed = plan.is_some();
        state.calls.push(Call { kind, file, path, has_failed });
        plan
    }

    fn check(&self, kind: Kind, file: &str) -> io::Result<()> {
        match self.call(kind, file, 0) {
            Some(plan) => Err(io::Error::from_raw_os_error(plan.errno)),
            None => Ok(()),
        }
    }

    fn wrap(&self, name: &str, live: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let errors = self.state().files.entry(name.to_owned()).or_default().errors;
        let (disk, name, told) = (self.clone(), name.to_owned(), AtomicU64::new(errors));
        Arc::new(FaultyFile { disk, name, live, told })
    }
}

impl Disk for FaultyDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.check(Kind::Create, name)?;
        let live = self.live.create(name)?;
        self.state().new.insert(name.to_owned());
        Ok(self.wrap(name, live))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        self.check(Kind::Open, name)?;
        self.live.open(name, access).map(|live| self.wrap(name, live))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.check(Kind::List, "")?;
        self.live.list()
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.check(Kind::SyncDirectory, "")?;
        self.state().new.clear();
        Ok(())
    }

    fn lock(&self) -> Result<Box<dyn fmt::Debug + Send + Sync>, LockError> {
        self.check(Kind::Lock, "").map_err(LockError::Io)?;
        self.live.lock()
    }

    fn page(&self, name: &str, access: Access) -> io::Result<SharedPage> {
        self.check(Kind::Page, name)?;
        self.live.page(name, access)
    }

    fn label(&self) -> String {
        "memory that fails".to_owned()
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    name: String,
    live: Arc<dyn DiskFile>,
    /// Of how many failed syncs this opening was told.
    told: AtomicU64,
}

impl FaultyFile {
    fn check(&self, kind: Kind) -> io::Result<()> {
        self.disk.check(kind, &self.name)
    }

    fn put(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.live.write_at(bytes, offset)?;
        let mut state = self.disk.state();
        let file = state.files.get_mut(&self.name).unwrap();
        file.changes.push((offset, bytes.to_vec()));
        Ok(())
    }
}

impl DiskFile for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        self.check(Kind::Size)?;
        self.live.size()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.check(Kind::ReadAt)?;
        self.live.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let Some(plan) = self.disk.call(Kind::WriteAt, &self.name, offset) else {
            return self.put(bytes, offset);
        };
        let length = match plan.part {
            Part::Nothing => 0,
            Part::Byte => 1,
            Part::Sector => SECTOR,
            Part::Half => bytes.len() / 2,
            Part::AllButAByte => bytes.len().saturating_sub(1),
        };
        let length = if offset == 0 && length < SECTOR { 0 } else { length.min(bytes.len()) };
        self.put(&bytes[..length], offset)?;
        if plan.lies { Ok(()) } else { Err(io::Error::from_raw_os_error(plan.errno)) }
    }

    fn grow(&self, size: u64) -> io::Result<()> {
        self.check(Kind::Grow)?;
        self.live.grow(size)?;
        let mut state = self.disk.state();
        let file = state.files.get_mut(&self.name).unwrap();
        // An empty change at the new end.
        file.changes.push((size, Vec::new()));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let (held, let_go) = &*self.disk.held;
        drop(let_go.wait_while(held.lock().unwrap(), |held| *held).unwrap());
        let plan = self.disk.call(Kind::SyncData, &self.name, 0);
        let mut state = self.disk.state();
        let file = state.files.get_mut(&self.name).unwrap();
        if let Some(plan) = plan {
            file.changes.clear();
            file.errors += 1;
            self.told.store(file.errors, Ordering::SeqCst);
            return Err(io::Error::from_raw_os_error(plan.errno));
        }
        file.settle();
        if self.told.swap(file.errors, Ordering::SeqCst) < file.errors {
            return Err(io::ErrorKind::Other.into());
        }
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        self.check(Kind::NextData)?;
        self.live.next_data(offset)
    }

    fn next_hole(&self, offset: u64) -> io::Result<u64> {
        self.check(Kind::NextHole)?;
        self.live.next_hole(offset)
    }

    fn map(&self, length: u64) -> io::Result<Map> {
        self.check(Kind::Map)?;
        self.live.map(length)
    }
}
