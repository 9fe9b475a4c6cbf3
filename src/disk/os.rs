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

#[cfg(test)]
mod short;

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

/// File systems whose files other machines serve, or change too (F64). Those that a program serves
/// (FUSE) are not among them: they may be local, and the system does not say.
#[cfg(any(target_os = "linux", test))]
const NETWORK: [(u32, &str); 11] = [
    (0x0000_6969, "NFS"),
    (0xFF53_4D42, "SMB"),
    (0xFE53_4D42, "SMB"),
    (0x0000_517B, "SMB"),
    (0x0102_1997, "9P"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x00C3_6400, "Ceph"),
    (0x7375_7245, "Coda"),
    (0x0000_564C, "NCP"),
    (0x0BD0_0BD0, "Lustre"),
];

/// A directory of the operating system.
#[derive(Debug)]
pub struct OsDisk {
    directory: OwnedFd,
    path: PathBuf,
    #[cfg(test)]
    calls: Option<Arc<short::Calls>>,
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
        Ok(Self {
            directory,
            path,
            #[cfg(test)]
            calls: None,
        })
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

    /// An existing directory in which each call reads or writes so many bytes, or by chance up to
    /// that, and some are interrupted.
    #[cfg(test)]
    pub(crate) fn open_with_short_calls(
        path: impl AsRef<Path>,
        longest: usize,
        by_chance: bool,
    ) -> io::Result<Self> {
        let calls = Some(Arc::new(short::Calls::new(longest, by_chance)));
        Ok(Self { calls, ..Self::open(path)? })
    }

    fn file(&self, file: File) -> Arc<dyn DiskFile> {
        Arc::new(OsFile {
            file,
            #[cfg(test)]
            calls: self.calls.clone(),
        })
    }

    fn open_file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let mode = Mode::from_raw_mode(0o644);
        // Without NONBLOCK, opening a pipe waits for its other end. Regular files ignore it.
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(retry(|| openat(&self.directory, name, flags, mode))?);
        let found = file.metadata()?.file_type();
        if found.is_dir() {
            return Err(Errno::ISDIR.into());
        }
        if !found.is_file() {
            let problem = format!("{name} is not a regular file");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        Ok(file)
    }
}

impl Disk for OsDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.open_file(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?;
        Ok(self.file(file))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::RDWR,
        };
        Ok(self.file(self.open_file(name, flags)?))
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
            return Ok(SharedPage::mapped(map, origin(&status), None));
        }
        if !overwrites_in_place(&self.directory) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let file = self.open_file(name, OFlags::RDWR | OFlags::CREATE)?;
        // Written once with what it holds, so that its block is taken before it is mapped.
        let mut bytes = vec![0; PAGE_SIZE];
        let length = file.metadata()?.len().min(PAGE_SIZE as u64);
        file.read_exact_at(&mut bytes[..length as usize], 0)?;
        file.write_all_at(&bytes, 0)?;
        let map = MmapOptions::new().len(PAGE_SIZE).map_raw(&file)?;
        let origin = origin(&file.metadata()?);
        let call = move |bytes: &[u8], offset| file.write_all_at(bytes, offset);
        Ok(SharedPage::mapped(map, origin, Some(Arc::new(call))))
    }

    fn network_file_system(&self) -> Option<&'static str> {
        #[cfg(target_os = "linux")]
        {
            let system = rustix::fs::fstatfs(&self.directory).ok()?;
            network_name(system.f_type as u32)
        }
        #[cfg(not(target_os = "linux"))]
        None
    }

    fn label(&self) -> String {
        self.path.display().to_string()
    }
}

/// The name of the file system with this magic number, if it is one of the network.
#[cfg(any(target_os = "linux", test))]
fn network_name(magic: u32) -> Option<&'static str> {
    NETWORK.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name)
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
struct OsFile {
    file: File,
    #[cfg(test)]
    calls: Option<Arc<short::Calls>>,
}

impl OsFile {
    /// One call; may read less.
    fn read_some(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        #[cfg(test)]
        let length = self.calls.as_ref().map_or(Ok(bytes.len()), |it| it.next(bytes.len()))?;
        #[cfg(test)]
        let bytes = &mut bytes[..length];
        self.file.read_at(bytes, offset)
    }

    /// One call; may write less.
    fn write_some(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        #[cfg(test)]
        let length = self.calls.as_ref().map_or(Ok(bytes.len()), |it| it.next(bytes.len()))?;
        #[cfg(test)]
        let bytes = &bytes[..length];
        self.file.write_at(bytes, offset)
    }
}

impl DiskFile for OsFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        read_all(bytes, offset, |part, at| self.read_some(part, at))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        write_all(bytes, offset, |part, at| self.write_some(part, at))
    }

    fn grow(&self, size: u64) -> io::Result<()> {
        if size < self.size()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file never shrinks"));
        }
        self.file.set_len(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn begin_writeback(&self, offset: u64, length: u64) {
        // Linux begins to write dirty pages back when it is told that they are not needed, and
        // keeps them, because they are dirty.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(
            &self.file,
            offset,
            std::num::NonZeroU64::new(length),
            rustix::fs::Advice::DontNeed,
        );
        #[cfg(not(target_os = "linux"))]
        let _ = (offset, length);
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        match rustix::fs::seek(&self.file, SeekFrom::Data(offset)) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NXIO) => Ok(None),
            Err(_) => Ok((offset < self.size()?).then_some(offset)),
        }
    }

    fn next_hole(&self, offset: u64) -> io::Result<u64> {
        Ok(rustix::fs::seek(&self.file, SeekFrom::Hole(offset)).unwrap_or(offset))
    }

    fn map(&self, length: u64) -> io::Result<Map> {
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
        let map = MmapOptions::new().len(length).map_raw_read_only(&self.file)?;
        Ok(Map::new(Arc::new(OsMap(map))))
    }
}

/// Fills `bytes` from `offset` by calls that may be interrupted and may read less than asked.
fn read_all(
    mut bytes: &mut [u8],
    mut offset: u64,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match read(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                bytes = bytes.get_mut(count..).ok_or(io::ErrorKind::InvalidData)?;
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `bytes` at `offset` by calls that may be interrupted and may write less than
/// asked.
fn write_all(
    mut bytes: &[u8],
    mut offset: u64,
    mut write: impl FnMut(&[u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match write(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = bytes.get(count..).ok_or(io::ErrorKind::InvalidData)?;
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f64_file_systems_of_the_network_are_told_from_local_ones() {
        for (magic, name) in [(0x6969, "NFS"), (0xFF53_4D42, "SMB"), (0x0102_1997, "9P")] {
            assert_eq!(network_name(magic), Some(name));
        }
        // ext4, XFS, Btrfs, tmpfs, overlay, ZFS, F2FS, FUSE.
        let local = [
            0xEF53,
            0x5846_5342,
            0x9123_683E,
            0x0102_1994,
            0x794C_7630,
            0x2FC1_2FC1,
            0xF2F5_2010,
            0x6573_5546,
        ];
        assert!(local.into_iter().all(|magic| network_name(magic).is_none()));
        let here = tempfile::tempdir().unwrap();
        assert_eq!(OsDisk::open(here.path()).unwrap().network_file_system(), None);
    }
}
