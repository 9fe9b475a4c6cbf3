//! Owns the mending of checksums in bytes that a fuzzer has changed, so that its changes get past
//! them (F49).
//!
//! Promises: works on any bytes, and changes checksums, chain values and positions alone. Mended
//! bytes are valid only as far as checksums go. Compiled for tests and fuzzers only; never part of
//! the library.

use std::ops::Range;

use uuid::Uuid;

use super::checksum::{ChunkSalt, LogSalt, crc};
use super::event::{FIXED_SIZE, Layout};
use super::{CHUNK_HEADER_SIZE, GROUP_HEADER_SIZE};
use crate::position::{ChunkNumber, Position};

const HEADER: usize = CHUNK_HEADER_SIZE as usize;
const GROUP: usize = GROUP_HEADER_SIZE as usize;

/// Where a run of groups begins, and then where it has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) offset: usize,
    pub(crate) chain: u64,
    pub(crate) position: Position,
}

/// How much of groups is set right besides checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Nothing: counts, marks and times stay what they are.
    Checksums,
    /// The counts of events and appends, and the times of events, too.
    Counts,
}

/// Mends the block that `bytes` begin with, of which bytes 0..12 and 16..size have a checksum. What
/// is missing of it counts as zeros.
pub(crate) fn page(bytes: &mut [u8], size: usize, magic: [u8; 8]) {
    let mut block = vec![0; size];
    let there = bytes.len().min(size);
    block[..there].copy_from_slice(&bytes[..there]);
    block[..8].copy_from_slice(&magic);
    let checksum = crc(crc(0, &block[..12]), &block[16..]);
    block[12..16].copy_from_slice(&checksum.to_le_bytes());
    let there = there.min(16);
    bytes[..there].copy_from_slice(&block[..there]);
}

/// Mends the event that `bytes` begin with; its length in the file, when it lies within `bytes`.
pub(crate) fn event(bytes: &mut [u8], salt: ChunkSalt, position: Position) -> Option<usize> {
    let layout = Layout::of(bytes)?;
    let length = layout.parts.data.end as usize;
    let checksum = salt.log().content(&bytes[24..length]);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    let checksum = salt.at_position(position, &bytes[4..FIXED_SIZE]);
    bytes[..4].copy_from_slice(&checksum.to_le_bytes());
    Some(layout.padded_length())
}

/// Mends the groups from `at` on, as far as there are any in `bytes`, which begin at `start` of
/// their file. Returns the end of the last one.
pub(crate) fn groups(
    bytes: &mut [u8],
    start: usize,
    salt: ChunkSalt,
    mut at: At,
    extent: Extent,
) -> At {
    while let Some(group) = at.offset.checked_sub(start).and_then(|from| bytes.get_mut(from..)) {
        let Some(after) = group_at(group, salt, at, extent) else { break };
        at = after;
    }
    at
}

fn group_at(bytes: &mut [u8], salt: ChunkSalt, at: At, extent: Extent) -> Option<At> {
    let (head, behind) = bytes.split_at_mut_checked(GROUP)?;
    if !head.starts_with(b"PGRP") {
        return None;
    }
    let body = behind.get_mut(..u32_at(head, 40) as usize)?;
    let (mut from, mut events, mut appends) = (0, 0_u32, 0_u32);
    while let Some(event_bytes) = body.get_mut(from..).filter(|rest| !rest.is_empty()) {
        if extent == Extent::Counts
            && let Some(time) = event_bytes.get_mut(16..24)
        {
            time.copy_from_slice(&head[32..40]);
        }
        let is_first = event_bytes.get(39).is_some_and(|flags| flags & 4 != 0);
        let position = at.position.plus(events.into());
        let Some(length) = event(event_bytes, salt, position) else { break };
        (from, events, appends) = (from + length, events + 1, appends + u32::from(is_first));
    }
    if extent == Extent::Counts {
        head[48..52].copy_from_slice(&events.to_le_bytes());
        head[52..56].copy_from_slice(&appends.to_le_bytes());
    }
    let place = at.offset as u64;
    head[8..16].copy_from_slice(&at.chain.to_le_bytes());
    head[16..24].copy_from_slice(&at.position.get().to_le_bytes());
    let body_checksum = salt.at_place(place, body);
    head[44..48].copy_from_slice(&body_checksum.to_le_bytes());
    let checksum = salt.at_place(place, &head[8..]);
    head[4..8].copy_from_slice(&checksum.to_le_bytes());
    Some(At {
        offset: at.offset + GROUP + body.len(),
        chain: u64::from(checksum) << 32 | u64::from(body_checksum),
        position: at.position.plus(u32_at(head, 48).into()),
    })
}

/// Mends the chunks of a log, in their order, as the files of log `log`: headers, groups, sections
/// and footers, with the chain that leads through them. Returns the end of the last one.
pub(crate) fn chunks(files: &mut [&mut Vec<u8>], log: Uuid, extent: Extent) -> Option<At> {
    let mut before: Option<At> = None;
    for (number, file) in (0..).zip(files) {
        if file.len() < HEADER || file[..HEADER].iter().all(|byte| *byte == 0) {
            continue;
        }
        let salt = LogSalt::new(log).chunk(ChunkNumber::new(number));
        file[16..32].copy_from_slice(log.as_bytes());
        if let Some(before) = before {
            file[40..48].copy_from_slice(&before.position.get().to_le_bytes());
            file[56..64].copy_from_slice(&before.chain.to_le_bytes());
            file[64..72].copy_from_slice(&(before.offset as u64).to_le_bytes());
        }
        page(file, HEADER, *b"PCHCHUNK");
        let (position, chain) = (Position::new(u64_at(file, 40)), u64_at(file, 56));
        let at = groups(file, 0, salt, At { offset: HEADER, chain, position }, extent);
        let size = file.len();
        if let Some(offset) = size.checked_sub(HEADER).filter(|at| *at >= HEADER) {
            footer(file, offset, (log, salt), at);
        }
        before = Some(at);
    }
    before
}

/// Mends the footer at `offset` of a chunk's file, where one stands, and the checksums of the
/// sections that it names.
fn footer(file: &mut [u8], offset: usize, (log, salt): (Uuid, ChunkSalt), end: At) {
    if !file[offset..].starts_with(b"PCHFOOTR") {
        return;
    }
    for index in 0..(u32_at(file, offset + 96) as usize).min(32) {
        let row = offset + 104 + 24 * index;
        let (start, length) = (u64_at(file, row + 8) as usize, u64_at(file, row + 16) as usize);
        let range = start..start.saturating_add(length);
        if let Some(section) = file.get(range) {
            let checksum = salt.at_place(start as u64, section);
            file[row + 4..row + 8].copy_from_slice(&checksum.to_le_bytes());
        }
    }
    file[offset + 16..offset + 32].copy_from_slice(log.as_bytes());
    file[offset + 64..offset + 72].copy_from_slice(&end.chain.to_le_bytes());
    page(&mut file[offset..], HEADER, *b"PCHFOOTR");
}

/// Mends both slots of a hint file of log `log`; a slot that names the end `end` gets its chain
/// value.
pub(crate) fn hint(file: &mut [u8], log: Uuid, end: Option<At>) {
    for slot in file.chunks_mut(512).filter(|slot| slot.starts_with(b"PCHHINTS")) {
        let Some(fields) = slot.get_mut(..88) else { continue };
        fields[16..32].copy_from_slice(log.as_bytes());
        if let Some(end) = end.filter(|end| end.offset as u64 == u64_at(fields, 56)) {
            fields[64..72].copy_from_slice(&end.chain.to_le_bytes());
        }
        page(fields, 88, *b"PCHHINTS");
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at..at + 4))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at..at + 8))
}

fn array<const N: usize>(bytes: &[u8], range: Range<usize>) -> [u8; N] {
    let field = bytes.get(range).and_then(|field| field.first_chunk().copied());
    field.unwrap_or([0; N])
}
