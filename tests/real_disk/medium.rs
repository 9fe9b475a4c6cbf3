//! Owns the bytes that a disk of these tests has, and the log of what it was told: each write with
//! its data, and each flush, in order.
//!
//! Promises: replaying a log onto the bytes that it began with gives every state that the disk was
//! in. Pages of zeros take no memory, and are holes in files. A log that was cut short is refused.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};

const PAGE: u64 = 4096;
/// Stands in the place of an offset where a log has a flush.
const FLUSH: u64 = u64::MAX;

/// What a disk was told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    Write { offset: u64, bytes: Vec<u8> },
    Flush,
}

/// The bytes of a disk.
#[derive(Clone)]
pub(crate) struct Medium {
    pub(crate) size: u64,
    /// The pages that are not zero.
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl Medium {
    /// The bytes of an image file.
    pub(crate) fn load(image: &Path) -> io::Result<Self> {
        let file = File::open(image)?;
        let mut medium = Self { size: file.metadata()?.len(), pages: BTreeMap::new() };
        let mut bytes = vec![0; 1 << 20];
        let mut at = 0;
        while let Ok(data) = seek(&file, SeekFrom::Data(at)) {
            let data = data / PAGE * PAGE;
            let length = bytes.len().min((medium.size - data) as usize);
            file.read_exact_at(&mut bytes[..length], data)?;
            medium.write(data, &bytes[..length]);
            at = data + length as u64;
        }
        Ok(medium)
    }

    /// Makes an image file of them.
    pub(crate) fn save(&self, image: &Path) -> io::Result<()> {
        let file = File::create(image)?;
        file.set_len(self.size)?;
        let mut run: (u64, Vec<u8>) = (0, Vec::new());
        for (number, page) in &self.pages {
            if run.0 + run.1.len() as u64 != number * PAGE {
                file.write_all_at(&run.1, run.0)?;
                run = (number * PAGE, Vec::new());
            }
            run.1.extend_from_slice(page);
        }
        file.write_all_at(&run.1, run.0)
    }

    pub(crate) fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let end = (offset + length as u64).min(self.size);
        let mut bytes = vec![0; end.saturating_sub(offset) as usize];
        for (number, within, part) in parts(offset, bytes.len()) {
            if let Some(page) = self.pages.get(&number) {
                let length = part.len();
                bytes[part].copy_from_slice(&page[within..within + length]);
            }
        }
        bytes
    }

    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (number, within, part) in parts(offset, bytes.len()) {
            let bytes = &bytes[part];
            let is_zero = bytes.iter().all(|byte| *byte == 0);
            if is_zero && bytes.len() as u64 == PAGE {
                self.pages.remove(&number);
            } else if !is_zero || self.pages.contains_key(&number) {
                let page = self.pages.entry(number).or_insert_with(|| vec![0; 4096].into());
                page[within..within + bytes.len()].copy_from_slice(bytes);
            }
        }
    }

    pub(crate) fn apply(&mut self, entry: &Entry) {
        if let Entry::Write { offset, bytes } = entry {
            self.write(*offset, bytes);
        }
    }

    /// Whether the mark stands within a page.
    pub(crate) fn contains(&self, mark: &[u8]) -> bool {
        self.pages.values().any(|page| contains(page, mark))
    }
}

/// The pages that a range touches: their numbers, where in each it begins, and which part of the
/// range that is.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = at % PAGE;
        let part = done..length.min(done + (PAGE - within) as usize);
        done = part.end;
        (!part.is_empty()).then_some((at / PAGE, within as usize, part))
    })
}

pub(crate) fn contains(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.windows(mark.len()).any(|part| part == mark)
}

/// Writes a log to a file.
pub(crate) fn save_log(entries: &[Entry], path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for entry in entries {
        let (offset, bytes) = match entry {
            Entry::Write { offset, bytes } => (*offset, &bytes[..]),
            Entry::Flush => (FLUSH, &[][..]),
        };
        file.write_all(&offset.to_le_bytes())?;
        file.write_all(&(bytes.len() as u64).to_le_bytes())?;
        file.write_all(bytes)?;
    }
    file.flush()
}

/// Reads a log from a file.
pub(crate) fn load_log(path: &Path) -> io::Result<Vec<Entry>> {
    let file = File::open(path)?;
    let mut left = file.metadata()?.len();
    let mut file = BufReader::new(file);
    let mut entries = Vec::new();
    while left > 0 {
        let mut number = [0; 8];
        file.read_exact(&mut number)?;
        let offset = u64::from_le_bytes(number);
        file.read_exact(&mut number)?;
        let mut bytes = vec![0; u64::from_le_bytes(number) as usize];
        file.read_exact(&mut bytes)?;
        left -= 16 + bytes.len() as u64;
        entries.push(if offset == FLUSH { Entry::Flush } else { Entry::Write { offset, bytes } });
    }
    Ok(entries)
}

#[test]
fn a_medium_is_what_was_written_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    let mut medium = Medium { size: 64 << 10, pages: BTreeMap::new() };
    let mut wanted = vec![0; 64 << 10];
    let mut random = crate::support::Random::new();
    for _ in 0..500 {
        let offset = random.below(120) * 512;
        let length = (random.below(8) as usize * 512).min(wanted.len() - offset as usize);
        let bytes = vec![random.below(3) as u8; length];
        wanted[offset as usize..][..length].copy_from_slice(&bytes);
        medium.write(offset, &bytes);
    }
    assert_eq!(medium.read(0, wanted.len()), wanted);
    assert_eq!(medium.read(5000, 3000), wanted[5000..8000]);
    medium.save(&image).unwrap();
    assert_eq!(std::fs::read(&image).unwrap(), wanted);
    assert_eq!(Medium::load(&image).unwrap().read(0, wanted.len()), wanted);
    let log = [Entry::Write { offset: 512, bytes: vec![7; 512] }, Entry::Flush];
    save_log(&log, &image).unwrap();
    assert_eq!(load_log(&image).unwrap(), log);
}
