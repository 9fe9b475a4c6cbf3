//! Owns the changes that an input makes to the files of a log.
//!
//! Promises: any bytes mean some changes. By accident, no bytes get in that were not in the log,
//! and few bits flip, so that no checksum can be made to fit; an enemy writes what it wants, and
//! mends what does not fit.

use super::small::{self, Files, Small};
use crate::format::mend::Extent;

const CHANGES_MAX: usize = 6;
const CHANGES_OF_ENEMY_MAX: usize = 24;
/// CRC-32 finds every error of up to three bits in as many bytes as a header or a section has.
const FLIPS_MAX: u8 = 3;
/// A file is not made longer than this.
const SIZE_MAX: usize = 256 << 10;

/// The bytes of an input, as they are taken. Behind the last come zeros.
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(super) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn number(&mut self, bytes: usize) -> usize {
        (0..bytes).fold(0, |number, _| number << 8 | usize::from(self.byte()))
    }

    fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// One of the files, by its name.
    fn file(&mut self, files: &Files) -> Option<String> {
        let index = usize::from(self.byte()) % files.len().max(1);
        files.keys().nth(index).cloned()
    }

    /// A place in a file: any, or one near its begin, its end or the begin of a structure.
    fn place(&mut self, file: &[u8]) -> usize {
        let kind = self.byte();
        let near = usize::from(self.byte());
        let place = match kind % 8 {
            0 => near,
            1 => 512 + near,
            2 => 4096 + near,
            3 => file.len().saturating_sub(4096) + near,
            4 => file.len().saturating_sub(near + 1),
            5 | 6 => self.group(file) + near,
            _ => near << 16 | self.number(2),
        };
        place % file.len().max(1)
    }

    /// Where one of the groups of a file begins.
    fn group(&mut self, file: &[u8]) -> usize {
        let wanted = usize::from(self.byte());
        let places = (4096..file.len()).step_by(8).filter(|at| file[*at..].starts_with(b"PGRP"));
        let places: Vec<usize> = places.take(256).collect();
        places.get(wanted % places.len().max(1)).copied().unwrap_or(4096)
    }
}

/// The files of a small log, changed.
pub(super) fn changed(input: &mut Input<'_>, small: &Small, is_enemy: bool) -> Files {
    let mut files = small.files.clone();
    let (max, kinds) = if is_enemy { (CHANGES_OF_ENEMY_MAX, 12) } else { (CHANGES_MAX, 9) };
    let mut flips = 0;
    for _ in 0..max {
        if input.0.is_empty() {
            break;
        }
        match input.byte() % kinds {
            0 if flips < FLIPS_MAX || is_enemy => {
                flips += 1;
                flip(input, &mut files);
            }
            0 | 1 => fill(input, &mut files),
            2 => cut(input, &mut files),
            3 => grow(input, &mut files),
            4 | 5 => copy(input, &mut files),
            6 => swap(input, &mut files),
            7 => double(input, &mut files),
            8 => _ = input.file(&files).map(|name| files.remove(&name)),
            9 => overwrite(input, &mut files),
            10 => set_number(input, &mut files),
            _ => small::mend_all(&mut files, Extent::Counts),
        }
    }
    if is_enemy {
        // The last change is mostly not to be mended in its counts.
        small::mend_all(&mut files, Extent::Checksums);
        limit_capacities(&mut files);
    }
    files
}

fn flip(input: &mut Input<'_>, files: &mut Files) {
    let Some(file) = input.file(files).and_then(|name| files.get_mut(&name)) else { return };
    let (at, bit) = (input.place(file), input.byte() % 8);
    if let Some(byte) = file.get_mut(at) {
        *byte ^= 1 << bit;
    }
}

/// Zeros, or ones, in place of some bytes.
fn fill(input: &mut Input<'_>, files: &mut Files) {
    let Some(file) = input.file(files).and_then(|name| files.get_mut(&name)) else { return };
    let (at, length) = (input.place(file), input.number(2));
    let value = if input.byte() % 4 == 3 { 0xFF } else { 0 };
    let end = file.len().min(at + length);
    file[at.min(end)..end].fill(value);
}

fn cut(input: &mut Input<'_>, files: &mut Files) {
    let Some(file) = input.file(files).and_then(|name| files.get_mut(&name)) else { return };
    let at = input.place(file);
    file.truncate(at);
}

fn grow(input: &mut Input<'_>, files: &mut Files) {
    let Some(file) = input.file(files).and_then(|name| files.get_mut(&name)) else { return };
    let more = input.number(2);
    file.resize((file.len() + more).min(SIZE_MAX).max(file.len()), 0);
}

/// Some bytes of one place at another; half of the time in pages.
fn copy(input: &mut Input<'_>, files: &mut Files) {
    let Some((from, to)) = input.file(files).zip(input.file(files)) else { return };
    let (from_file, to_file) = (&files[&from], &files[&to]);
    let (from_at, to_at) = (input.place(from_file), input.place(to_file));
    let length = input.number(2);
    let round = |at: usize, unit: usize| at / unit * unit;
    let unit = [1, 8, 512, 4096][usize::from(input.byte() % 4)];
    let (from_at, to_at) = (round(from_at, unit), round(to_at, unit));
    let length = round(length, unit).max(unit);
    let end = from_file.len().min(from_at + length);
    let some = from_file[from_at.min(end)..end].to_vec();
    let Some(file) = files.get_mut(&to) else { return };
    let end = file.len().min(to_at + some.len());
    let place = &mut file[to_at.min(end)..end];
    place.copy_from_slice(&some[..place.len()]);
}

fn swap(input: &mut Input<'_>, files: &mut Files) {
    let Some((one, other)) = input.file(files).zip(input.file(files)) else { return };
    let bytes = files[&one].clone();
    let others = files.insert(other, bytes).unwrap_or_default();
    files.insert(one, others);
}

/// A second copy of a file, as another chunk.
fn double(input: &mut Input<'_>, files: &mut Files) {
    let Some(name) = input.file(files) else { return };
    let bytes = files[&name].clone();
    let number = input.byte() % 8;
    let name = if number == 7 { "hint".to_owned() } else { format!("chunk-{number:010}") };
    files.insert(name, bytes);
}

fn overwrite(input: &mut Input<'_>, files: &mut Files) {
    let Some(file) = input.file(files).and_then(|name| files.get_mut(&name)) else { return };
    let at = input.place(file);
    let length = usize::from(input.byte() % 33);
    let bytes = input.bytes(length);
    let end = file.len().min(at + bytes.len());
    let place = &mut file[at.min(end)..end];
    place.copy_from_slice(&bytes[..place.len()]);
}

/// A number in a field, often one at the edge.
fn set_number(input: &mut Input<'_>, files: &mut Files) {
    let Some(file) = input.file(files).and_then(|name| files.get_mut(&name)) else { return };
    let at = input.place(file) / 4 * 4;
    let kind = input.byte();
    let number = match kind % 6 {
        0 => u64::MAX,
        1 => u64::MAX - u64::from(input.byte()),
        2 => 1 << (input.byte() % 64),
        3 => (1 << (input.byte() % 64)) - 1,
        _ => input.number(4) as u64,
    };
    let size = if kind & 0x80 == 0 { 8 } else { 4 };
    if let Some(field) = file.get_mut(at..at + size) {
        field.copy_from_slice(&number.to_le_bytes()[..size]);
    }
}

/// Keeps chunks small: a file is as large as its chunk may grow, and memory is a small disk.
fn limit_capacities(files: &mut Files) {
    let mut is_changed = false;
    for file in files.values_mut().filter(|file| file.starts_with(b"PCHCHUNK")) {
        let Some(field) = file.get_mut(48..56) else { continue };
        // The field is below 2 GiB where it counts; what is above is left to be refused.
        if field[4..] == [0; 4] && (field[3] != 0 || field[2] > 0x0F) {
            (field[2], field[3]) = (field[2] & 0x0F, 0);
            is_changed = true;
        }
    }
    if is_changed {
        small::mend_all(files, Extent::Checksums);
    }
}
