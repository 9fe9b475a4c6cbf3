//! Owns a chunk as a file: its name, its bytes through the map, and the zeros that lie ready ahead
//! of the writer.
//!
//! Promises: bytes below the settled mark never change, every write lies at or beyond it, and the
//! file never shrinks (R8). What is settled was synced before, or left to the operating system by a
//! durability that does so. Assumes one writer and one preparing thread per file. Knows nothing of
//! indexes.

pub(crate) mod directory;
pub(crate) mod prove;
pub(crate) mod recover;
pub(crate) mod scan;
pub(crate) mod supply;

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{Access, Disk, DiskFile, Map};
use crate::error::{Damage, Error, Result};
use crate::format::checksum::{ChunkSalt, LogSalt};
use crate::format::footer::Footer;
use crate::format::header::ChunkHeader;
use crate::position::ChunkNumber;
use crate::sync::atomic::{AtomicU64, Ordering};

/// How much the preparing thread writes at once: small, because a write holds off the writer's.
pub(crate) const ZERO_PIECE: usize = 256 << 10;
static ZEROS: [u8; ZERO_PIECE] = [0; ZERO_PIECE];

/// The file of an unsealed chunk.
#[derive(Debug)]
pub(crate) struct ChunkFile {
    pub(crate) number: ChunkNumber,
    pub(crate) capacity: u64,
    file: Arc<dyn DiskFile>,
    /// The keeper's own way to the file: the kernel tells each opening of a file once of a failed
    /// write-back, so a sync through this one hides nothing from the writer's (F20).
    keeper: Arc<dyn DiskFile>,
    map: Map,
    /// Zeros up to here are written and synced, so that overwriting them changes no metadata of the
    /// file system.
    prepared: AtomicU64,
    /// Zeros up to here are written. Only who prepares asks for it.
    zeroed: AtomicU64,
    /// How far the writer has come.
    written: AtomicU64,
}

impl ChunkFile {
    /// Makes the file of a chunk that does not exist, as a hole of full size. The directory is not
    /// synced.
    pub(crate) fn create(disk: &dyn Disk, number: ChunkNumber, capacity: u64) -> io::Result<Self> {
        let file = disk.create(&file_name(number))?;
        Self::adopt(disk, file, number, capacity, 0)
    }

    /// Takes over an existing file, whose bytes from `prepared` on are zeros or holes.
    pub(crate) fn adopt(
        disk: &dyn Disk,
        file: Arc<dyn DiskFile>,
        number: ChunkNumber,
        capacity: u64,
        prepared: u64,
    ) -> io::Result<Self> {
        if file.size()? < capacity {
            file.grow(capacity)?;
        }
        let keeper = disk.open(&file_name(number), Access::Write)?;
        let map = file.map(capacity)?;
        let zeroed = AtomicU64::new(prepared);
        let (prepared, written) = (AtomicU64::new(prepared), AtomicU64::new(0));
        Ok(Self { number, capacity, file, keeper, map, prepared, zeroed, written })
    }

    /// The first `length` bytes of a file that another process writes, for reading alone.
    pub(crate) fn beside(
        file: Arc<dyn DiskFile>,
        number: ChunkNumber,
        length: u64,
    ) -> io::Result<Self> {
        let map = file.map(length)?;
        let (prepared, written) = (AtomicU64::new(0), AtomicU64::new(length));
        let zeroed = AtomicU64::new(0);
        let keeper = Arc::clone(&file);
        Ok(Self { number, capacity: length, file, keeper, map, prepared, zeroed, written })
    }

    /// How far zeros lie ready.
    pub(crate) fn prepared(&self) -> u64 {
        self.prepared.load(Ordering::Acquire)
    }

    /// How far the writer has come.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    pub(crate) fn advance_written(&self, to: u64) {
        self.written.fetch_max(to, Ordering::AcqRel);
    }

    /// How far zeros are written, ready or not.
    pub(crate) fn zeroed(&self) -> u64 {
        self.zeroed.load(Ordering::Relaxed)
    }

    /// Writes a piece of the zeros up to `through`, none beyond the capacity. One thread at a time
    /// may do so.
    pub(crate) fn zero(&self, through: u64) -> io::Result<()> {
        let start = self.zeroed();
        let length = through.min(self.capacity).saturating_sub(start).min(ZERO_PIECE as u64);
        if length == 0 {
            return Ok(());
        }
        assert!(start >= self.map.settled(), "settled bytes never change (R8)");
        self.keeper.write_at(&ZEROS[..length as usize], start)?;
        // So that the sync has little left to do, which the writer's own syncs would wait for.
        self.keeper.begin_writeback(start, length);
        self.zeroed.store(start + length, Ordering::Relaxed);
        Ok(())
    }

    /// Syncs and maps in the zeros that are written, which lie ready then.
    pub(crate) fn finish_zeros(&self) -> io::Result<()> {
        let (start, end) = (self.prepared(), self.zeroed());
        // A failed sync is final, also when it says that the disk is full (R1).
        self.keeper.sync_data().map_err(io::Error::other)?;
        self.map.populate(start..end);
        self.prepared.store(end, Ordering::Release);
        Ok(())
    }

    /// Brings zeros to lie ready up to `through`, or to the capacity.
    pub(crate) fn prepare(&self, through: u64) -> io::Result<()> {
        while self.zeroed() < through.min(self.capacity) {
            self.zero(through)?;
        }
        self.finish_zeros()
    }

    /// Writes `bytes` at `offset`, which lies at or beyond everything that may be read.
    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        assert!(offset >= self.map.settled(), "settled bytes never change (R8)");
        self.file.write_at(bytes, offset)
    }

    /// Fills `bytes` from `offset`, settled or not.
    pub(crate) fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(bytes, offset)
    }

    /// Length of the file.
    pub(crate) fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    /// Makes what was written durable. An error is final (R1).
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Opens bytes below `end` for reading. They will never be written again.
    pub(crate) fn settle(&self, end: u64) {
        self.map.settle(end);
    }

    /// How far bytes are open for reading.
    pub(crate) fn settled(&self) -> u64 {
        self.map.settled()
    }
}

/// A chunk of the log: a file with a valid header, active, full, or sealed.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) header: ChunkHeader,
    pub(crate) salt: ChunkSalt,
    pub(crate) body: Body,
}

/// What stands behind a chunk.
#[derive(Debug)]
pub(crate) enum Body {
    /// A file that has no footer yet.
    Unsealed(Arc<ChunkFile>),
    /// A whole, immutable file.
    Sealed { file: Bytes, footer: Footer },
}

impl Chunk {
    pub(crate) fn unsealed(header: ChunkHeader, file: Arc<ChunkFile>) -> Self {
        let salt = LogSalt::new(header.log).chunk(header.number);
        Self { header, salt, body: Body::Unsealed(file) }
    }

    /// Maps a sealed chunk, whose footer was read from `file`.
    pub(crate) fn sealed(header: ChunkHeader, file: &dyn DiskFile, footer: Footer) -> Result<Self> {
        let map = file
            .map(footer.file_size)
            .map_err(|error| Error::from_io(&format!("map {}", file_name(header.number)), error))?;
        map.settle(footer.file_size);
        let file = map.view(0..footer.file_size).expect("the whole map is settled");
        let salt = LogSalt::new(header.log).chunk(header.number);
        Ok(Self { header, salt, body: Body::Sealed { file, footer } })
    }

    pub(crate) fn number(&self) -> ChunkNumber {
        self.header.number
    }

    /// The footer of a sealed chunk.
    pub(crate) fn footer(&self) -> Option<&Footer> {
        match &self.body {
            Body::Unsealed(_) => None,
            Body::Sealed { footer, .. } => Some(footer),
        }
    }

    /// All bytes that may be read, without a copy.
    pub(crate) fn readable(&self) -> Bytes {
        match &self.body {
            Body::Unsealed(file) => {
                file.map.view(0..file.map.settled()).expect("up to the settled mark")
            }
            Body::Sealed { file, .. } => file.clone(),
        }
    }

    /// Fills `copy` with the written bytes of `range`, if they are not all settled; whether it did.
    /// There is no view of them: when their sync fails, the kernel may forget them and bring back
    /// what the disk has.
    pub(crate) fn copy_unsettled(&self, range: Range<u64>, copy: &mut Vec<u8>) -> Result<bool> {
        let Body::Unsealed(file) = &self.body else { return Ok(false) };
        if range.end <= file.settled() {
            return Ok(false);
        }
        copy.resize(usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0), 0);
        let read = file.read(copy, range.start);
        read.map_err(|error| Error::from_io(&format!("read {}", file_name(self.number())), error))?;
        Ok(true)
    }

    /// The bytes of `range`, without a copy.
    pub(crate) fn view(&self, range: Range<u64>) -> Result<Bytes, Damage> {
        let end = range.end;
        let view = match &self.body {
            Body::Unsealed(file) => file.map.view(range),
            Body::Sealed { file, .. } => (end <= file.len() as u64 && range.start <= end)
                .then(|| file.slice(range.start as usize..end as usize)),
        };
        view.ok_or_else(|| {
            Damage::new((self.number(), end), "range", "within the chunk", "beyond its end")
        })
    }

    /// A damage of this chunk.
    pub(crate) fn damage(
        &self,
        offset: u64,
        (what, expected, found): (&'static str, String, String),
    ) -> Damage {
        Damage::new((self.number(), offset), what, expected, found)
    }
}

/// The name of a chunk's file.
pub(crate) fn file_name(number: ChunkNumber) -> String {
    format!("chunk-{:010}", number.get())
}

/// The number of the chunk that a file name stands for.
pub(crate) fn number_of(name: &str) -> Option<ChunkNumber> {
    let number = ChunkNumber::new(name.strip_prefix("chunk-")?.parse().ok()?);
    (file_name(number) == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        assert_eq!(file_name(ChunkNumber::new(7)), "chunk-0000000007");
        assert_eq!(number_of("chunk-0000000007"), Some(ChunkNumber::new(7)));
        for alien in
            ["chunk-7", "chunk-00000000007", "chunk-0000000007.tmp", "hint", "chunk-+000000007"]
        {
            assert_eq!(number_of(alien), None, "{alien}");
        }
    }
}
