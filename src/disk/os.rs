//! Owns real files: the [`Disk`] of the operating system, by the descriptor of one directory.
//!
//! Promises what the traits promise. Interrupted and short calls are resumed here. Descriptors
//! close on `exec`. Works on any 64-bit Unix; where a system knows nothing of holes in files, all
//! of a file counts as data, and where it cannot promise a page its place, none is shared.

use std::fmt;
use std::fs::{File, Metadata, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
#[cfg(target_os = "linux")]
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::MmapOptions;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, SeekFrom, openat};
use rustix::io::Errno;
#[cfg(target_os = "linux")]
use uuid::Uuid;

use super::map::{OsMap, PAGE_SIZE, PageOrigin, SharedPage};
use super::{Access, Disk, DiskFile, LockError, Map};

const LOCK: &str = "LOCK";
/// Tells one run of the operating system from another.
#[cfg(target_os = "linux")]
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// File systems that overwrite a block in its place: ext2 to ext4, XFS, tmpfs. On one that moves
/// what is written, a store to a mapped page could find no space, and end the process.
#[cfg(target_os = "linux")]
const OVERWRITING: [u32; 3] = [0xEF53, 0x5846_5342, 0x0102_1994];

/// A directory of the operating system.
#[derive(Debug)]
pub struct OsDisk {
    directory: OwnedFd,
    path: PathBuf,
}

impl OsDisk {
    /// Opens an existing directory.
    ///
    /// # Errors
    /// Whatever the operating system reports.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_owned();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&path, flags, Mode::empty())?;
        Ok(Self { directory, path })
    }

    /// Opens a directory, making it and its parents where they are missing, durably.
    ///
    /// # Errors
    /// Whatever the operating system reports.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let missing = path.ancestors().take_while(|level| !level.is_dir()).count();
        std::fs::create_dir_all(path)?;
        // The entries of the directory and of its new parents must survive too, or the log in them
        // would vanish. The entry of one that exists may be from a moment before a crash.
        for level in path.ancestors().take(missing.max(1)) {
            let parent = level.parent().filter(|parent| !parent.as_os_str().is_empty());
            let synced =
                File::open(parent.unwrap_or_else(|| Path::new("."))).and_then(|it| it.sync_all());
            if missing > 0 {
                synced?;
            }
        }
        Self::open(path)
    }

    fn open_file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let mode = Mode::from_raw_mode(0o644);
        let fd = retry(|| openat(&self.directory, name, flags | OFlags::CLOEXEC, mode))?;
        Ok(File::from(fd))
    }
}

impl Disk for OsDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.open_file(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::RDWR,
        };
        Ok(Arc::new(OsFile(self.open_file(name, flags)?)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.directory)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(retry(|| rustix::fs::fsync(&self.directory))?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        // Whoever renames holds the lock, so nobody makes a file of this name in between.
        match rustix::fs::statat(&self.directory, to, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) => return Err(error.into()),
        }
        Ok(retry(|| rustix::fs::renameat(&self.directory, from, &self.directory, to))?)
    }

    fn lock(&self) -> Result<Box<dyn fmt::Debug + Send + Sync>, LockError> {
        let mut file =
            self.open_file(LOCK, OFlags::RDWR | OFlags::CREATE).map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let read = (&file).take(32).read_to_string(&mut text);
                let pid = read.ok().and_then(|_| text.trim().parse().ok());
                return Err(LockError::Held { pid });
            }
            Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        }
        let pid = format!("{}\n", std::process::id());
        // The lock holds without the number, which only serves a message; a full disk has no room
        // for it.
        let _ = file.set_len(0).and_then(|()| file.write_all(pid.as_bytes()));
        Ok(Box::new(file))
    }

    fn page(&self, name: &str, access: Access) -> io::Result<SharedPage> {
        if access == Access::Read {
            let file = self.open_file(name, OFlags::RDONLY)?;
            let status = file.metadata()?;
            if status.len() < PAGE_SIZE as u64 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let map = MmapOptions::new().len(PAGE_SIZE).map_raw_read_only(&file)?;
            return Ok(SharedPage::mapped(map, origin(&status), false));
        }
        if !overwrites_in_place(&self.directory) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let file = self.open_file(name, OFlags::RDWR | OFlags::CREATE)?;
        // Written once with what it holds, so that its block is taken before it is mapped.
        let mut bytes = [0; PAGE_SIZE];
        let length = file.metadata()?.len().min(PAGE_SIZE as u64);
        file.read_exact_at(&mut bytes[..length as usize], 0)?;
        file.write_all_at(&bytes, 0)?;
        let map = MmapOptions::new().len(PAGE_SIZE).map_raw(&file)?;
        Ok(SharedPage::mapped(map, origin(&file.metadata()?), true))
    }

    fn label(&self) -> String {
        self.path.display().to_string()
    }
}

#[cfg(target_os = "linux")]
fn overwrites_in_place(directory: &OwnedFd) -> bool {
    rustix::fs::fstatfs(directory).is_ok_and(|system| OVERWRITING.contains(&(system.f_type as u32)))
}

#[cfg(not(target_os = "linux"))]
fn overwrites_in_place(_directory: &OwnedFd) -> bool {
    false
}

#[cfg(target_os = "linux")]
fn origin(page: &Metadata) -> Option<PageOrigin> {
    let text = std::fs::read_to_string(BOOT_ID).ok()?;
    let boot = Uuid::parse_str(text.trim()).ok().filter(|boot| !boot.is_nil())?;
    Some(PageOrigin { boot, file: page.ino() })
}

#[cfg(not(target_os = "linux"))]
fn origin(_page: &Metadata) -> Option<PageOrigin> {
    None
}

#[derive(Debug)]
struct OsFile(File);

impl DiskFile for OsFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn grow(&self, size: u64) -> io::Result<()> {
        if size < self.size()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file never shrinks"));
        }
        self.0.set_len(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn begin_writeback(&self, offset: u64, length: u64) {
        // Linux begins to write dirty pages back when it is told that they are not needed, and
        // keeps them, because they are dirty.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(
            &self.0,
            offset,
            std::num::NonZeroU64::new(length),
            rustix::fs::Advice::DontNeed,
        );
        #[cfg(not(target_os = "linux"))]
        let _ = (offset, length);
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        match rustix::fs::seek(&self.0, SeekFrom::Data(offset)) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NXIO) => Ok(None),
            Err(_) => Ok((offset < self.size()?).then_some(offset)),
        }
    }

    fn next_hole(&self, offset: u64) -> io::Result<u64> {
        Ok(rustix::fs::seek(&self.0, SeekFrom::Hole(offset)).unwrap_or(offset))
    }

    fn map(&self, length: u64) -> io::Result<Map> {
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
        let map = MmapOptions::new().len(length).map_raw_read_only(&self.0)?;
        Ok(Map::new(Arc::new(OsMap(map))))
    }
}

/// Repeats a call that a signal interrupted. Never used for the sync of data, which must not be
/// repeated after an error (R1); an interruption is none, and the standard library resumes it.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
