//! Owns the only door to the operating system: a directory of files, as two traits of a few verbs
//! each.
//!
//! Promises the layers above: short and interrupted reads and writes are finished or reported,
//! never half-told; what is synced is durable. Assumes of the disk below: `sync` means durable, a
//! write changes no byte outside its range, and any subset of unsynced 512-byte sectors may be lost
//! in a crash. Never retries a failed sync (R1).

pub(crate) mod map;
pub(crate) mod os;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::Arc;

pub use map::{Map, SharedPage};
pub use os::OsDisk;

/// Whether a call failed because there is no space. It may work later.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// One directory that holds one log. Names are plain file names.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Makes a new, empty file for reading and writing; fails with `AlreadyExists` where there is
    /// one. The entry is durable only after [`Disk::sync_directory`].
    ///
    /// # Errors
    /// Whatever the operating system reports.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing file.
    ///
    /// # Errors
    /// `NotFound` where there is none, otherwise whatever the operating system reports.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>>;

    /// The names of all files, sorted.
    ///
    /// # Errors
    /// Whatever the operating system reports.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes all creations so far durable.
    ///
    /// # Errors
    /// Whatever the operating system reports. After that it is unknown which entries are durable.
    fn sync_directory(&self) -> io::Result<()>;

    /// Gives a file another name, at once and as a whole; fails with `AlreadyExists` where there is
    /// a file of that name. Durable only after [`Disk::sync_directory`]. For repair alone: a log
    /// that is open renames nothing.
    ///
    /// Unless a disk says otherwise, it cannot.
    ///
    /// # Errors
    /// `NotFound` where there is no such file, otherwise whatever the operating system reports.
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let _ = (from, to);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Takes the exclusive lock of the directory, or tells who has it. Never waits. The lock ends
    /// with the returned guard and with the process.
    ///
    /// # Errors
    /// [`LockError::Held`] when another handle has it.
    fn lock(&self) -> Result<Box<dyn fmt::Debug + Send + Sync>, LockError>;

    /// Opens a page of numbers that processes share, for writing by making it where it is missing.
    /// It is for the living: nothing of it is ever durable. Storing to it never fails, so it is
    /// only given where its place on the disk is taken for good.
    ///
    /// Unless a disk says otherwise, its page is seen by its writer alone.
    ///
    /// # Errors
    /// For reading: `NotFound` where there is none, `UnexpectedEof` where it is not whole.
    /// `Unsupported` where none can be shared; otherwise whatever the operating system reports.
    fn page(&self, name: &str, access: Access) -> io::Result<SharedPage> {
        let _ = name;
        match access {
            Access::Write => Ok(SharedPage::in_memory(None)),
            Access::Read => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// What the file system of this directory is called, when it is known to be one of the network
    /// (NFS, SMB). A log is not opened for writing there unless the options allow it.
    ///
    /// Unless a disk says otherwise, it is none.
    fn network_file_system(&self) -> Option<&'static str> {
        None
    }

    /// How people call this directory.
    fn label(&self) -> String;
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading alone.
    Read,
    /// Reading and writing.
    Write,
}

/// Why the lock was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Another handle has it.
    Held {
        /// The process id that the holder wrote, when it can be read.
        pid: Option<u32>,
    },
    /// The operating system refused.
    Io(io::Error),
}

/// One file. All calls may come from several threads.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Size in bytes.
    ///
    /// # Errors
    /// Whatever the operating system reports.
    fn size(&self) -> io::Result<u64>;

    /// Fills all of `bytes` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before, otherwise whatever the operating system reports.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`; the file grows where needed. Durable only after a sync.
    ///
    /// # Errors
    /// Whatever the operating system reports; a part may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Grows the file to `size`, with zeros. Never shrinks it: a smaller size is `InvalidInput`.
    ///
    /// # Errors
    /// Whatever the operating system reports.
    fn grow(&self, size: u64) -> io::Result<()>;

    /// Makes all bytes written before this call durable, and the size as far as they need it
    /// (`fdatasync`).
    ///
    /// # Errors
    /// After an error nothing is known about the bytes written since the last success; a second
    /// call proves nothing.
    fn sync_data(&self) -> io::Result<()>;

    /// Asks that `length` bytes written at `offset` begin their way to the medium. A hint for
    /// speed: nothing is durable by it, and nothing is told of it.
    fn begin_writeback(&self, offset: u64, length: u64) {
        let _ = (offset, length);
    }

    /// The first offset at or behind `offset` that may hold something other than zeros; `None` when
    /// only zeros follow. A hint for speed: the answer `Some(offset)` is always right for an offset
    /// within the file.
    ///
    /// # Errors
    /// Whatever the operating system reports.
    fn next_data(&self, offset: u64) -> io::Result<Option<u64>>;

    /// The first offset at or behind `offset` that lies in a hole of the file, or its size when
    /// none follows. A system without such knowledge answers `offset`.
    ///
    /// # Errors
    /// Whatever the operating system reports.
    fn next_hole(&self, offset: u64) -> io::Result<u64>;

    /// Maps the first `length` bytes for reading. The file is at least that long, and never
    /// shrinks.
    ///
    /// # Errors
    /// Whatever the operating system reports.
    fn map(&self, length: u64) -> io::Result<Map>;
}
