//! Owns the bytes of a file in memory, in pages that copies share until they are written.
//!
//! Promises: a copy costs a counter, and a write copies only the pages that it touches; so
//! thousands of images of a disk that differ in a few sectors are cheap. Bytes behind the size are
//! zeros, also when the file grows over them later. Never shrinks.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The unit in which a file system knows data from holes.
pub(super) const PAGE: usize = 4096;
/// The unit that a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;

pub(super) type Sector = [u8; SECTOR];
type Page = [u8; PAGE];

/// The bytes of a file.
#[derive(Clone, Default)]
pub(super) struct Image {
    size: usize,
    /// One for each page that the size reaches into; `None` is all zero.
    pages: Arc<Vec<Option<Arc<Page>>>>,
}

impl Image {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut image = Self::default();
        image.grow(bytes.len());
        image.write(0, bytes);
        image
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Lengthens the file with zeros to at least `size`.
    pub(super) fn grow(&mut self, size: usize) {
        if size > self.size {
            self.size = size;
            Arc::make_mut(&mut self.pages).resize(size.div_ceil(PAGE), None);
        }
    }

    /// Fills `bytes` from `offset`; the range lies within the size.
    pub(super) fn read(&self, offset: usize, bytes: &mut [u8]) {
        assert!(offset + bytes.len() <= self.size, "a read lies within its file");
        for (page, within, part) in parts(offset..offset + bytes.len()) {
            match &self.pages[page] {
                Some(page) => bytes[part].copy_from_slice(&page[within]),
                None => bytes[part].fill(0),
            }
        }
    }

    /// The bytes of a range within the size.
    pub(super) fn bytes(&self, range: Range<usize>) -> Vec<u8> {
        let mut bytes = vec![0; range.len()];
        self.read(range.start, &mut bytes);
        bytes
    }

    /// Writes a range within the size.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.size, "the file has grown to the range before");
        for (page, within, part) in parts(offset..offset + bytes.len()) {
            let part = &bytes[part];
            if self.pages[page].is_none() && is_zero(part) {
                continue;
            }
            let pages = Arc::make_mut(&mut self.pages);
            let page = pages[page].get_or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[within].copy_from_slice(part);
        }
    }

    /// The sector of this number, with zeros behind the size.
    pub(super) fn sector(&self, index: usize) -> Sector {
        let mut sector = [0; SECTOR];
        let start = index * SECTOR;
        if let Some(Some(page)) = self.pages.get(start / PAGE) {
            sector.copy_from_slice(&page[start % PAGE..][..SECTOR]);
        }
        sector
    }

    /// Puts a sector in its place, as far as the size reaches.
    pub(super) fn set_sector(&mut self, index: usize, sector: &Sector) {
        let start = index * SECTOR;
        let length = self.size.saturating_sub(start).min(SECTOR);
        self.write(start.min(self.size), &sector[..length]);
    }

    /// The first offset at or behind `offset` whose page holds something other than zeros, or is a
    /// hole; `None` when none is.
    pub(super) fn next_page(&self, offset: usize, hole: bool) -> Option<usize> {
        if offset >= self.size {
            return None;
        }
        let is_hole = |page: &Option<Arc<Page>>| page.as_ref().is_none_or(|page| is_zero(&**page));
        let first = offset / PAGE;
        let found = self.pages[first..].iter().position(|page| is_hole(page) == hole)?;
        Some(offset.max((first + found) * PAGE))
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image").field("size", &self.size).finish_non_exhaustive()
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// A range of a file as parts of pages: the page, the range within it, and the range within the
/// whole.
fn parts(range: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>, Range<usize>)> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        let start = at;
        let length = (PAGE - start % PAGE).min(range.end - start);
        at += length;
        let (within, whole) = (start % PAGE, start - range.start);
        (length > 0).then(|| (start / PAGE, within..within + length, whole..whole + length))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_changed_alone() {
        let bytes: Vec<u8> = (0..3 * PAGE + 700).map(|byte| (byte % 251) as u8).collect();
        let image = Image::of(&bytes);
        let mut copy = image.clone();
        copy.write(PAGE - 3, &[7; 6]);
        assert_eq!(image.bytes(0..bytes.len()), bytes);
        let mut changed = bytes.clone();
        changed[PAGE - 3..PAGE + 3].fill(7);
        assert_eq!(copy.bytes(0..bytes.len()), changed);
        assert!(Arc::ptr_eq(image.pages[2].as_ref().unwrap(), copy.pages[2].as_ref().unwrap()));
    }

    #[test]
    fn what_stands_behind_the_size_is_gone_when_the_file_grows() {
        let mut image = Image::of(&[1; 600]);
        image.set_sector(1, &[2; SECTOR]);
        image.set_sector(7, &[3; SECTOR]);
        image.grow(2 * PAGE);
        let mut expected = vec![0; 2 * PAGE];
        expected[..SECTOR].fill(1);
        expected[SECTOR..600].fill(2);
        assert_eq!(image.bytes(0..2 * PAGE), expected);
        assert_eq!((image.sector(0), image.sector(99)), ([1; SECTOR], [0; SECTOR]));
    }
}
