//! Owns the targets of groups and events.
//!
//! Promises: an event that decodes encodes to the same bytes, and a group closes to them. The walk
//! over a chunk hands over just the events that decode alone, and its index finds each of them.

use bytes::Bytes;

use super::{CHUNK, LOG, POSITION, salt};
use crate::chunk::recover;
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::error::AppendError;
use crate::event::{NewEvent, RecordedEvent, category};
use crate::format::CHUNK_HEADER_SIZE;
use crate::format::event::{self as format_event, Place};
use crate::format::group::GroupHeader;
use crate::format::header::{ChainEnd, ChunkHeader};
use crate::format::mend::{self, At, Extent};
use crate::index::key::Key;
use crate::index::memory::MemoryIndex;
use crate::position::Position;

/// Decodes an event of the position 1000.
pub fn event(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    match format_event::decode(&bytes, salt(), POSITION) {
        Ok(event) => check_event(&event, data, POSITION),
        Err(flaw) => _ = flaw.describe(),
    }
}

/// Mends the checksums of an event.
pub fn mend_event(data: &mut [u8], _: u32) {
    mend::event(data, salt(), POSITION);
}

/// Checks that the event, decoded from the start of `bytes`, is encoded as they are.
fn check_event(event: &RecordedEvent, bytes: &[u8], position: Position) {
    assert_eq!(event.position(), position);
    assert!(event.stream().starts_with(category(event.stream())));
    let again = recorded(event);
    let place = match format_event::is_first(event) {
        true => Place::First(event.operation()),
        false => Place::Later,
    };
    let mut encoded = Vec::new();
    match format_event::encode(&mut encoded, salt().log(), event.stream(), &again, place) {
        Ok(()) => {}
        // Writers keep room for an operation id in every event.
        Err(AppendError::TooLarge { size, max, .. }) if size <= max + 16 => return,
        Err(error) => panic!("{event:?} cannot be written: {error}"),
    }
    format_event::stamp(&mut encoded, salt(), position, event.version(), event.time());
    assert_eq!(encoded, bytes[..encoded.len()], "{event:?}");
    assert!(format_event::has_id_of(&encoded, event));
    assert!(format_event::has_content_of(&encoded, event));
    assert_eq!(format_event::stream_of(&encoded), event.stream());
}

/// The event as a writer would be given it.
pub(crate) fn recorded(event: &RecordedEvent) -> NewEvent {
    let new = NewEvent::new(event.event_type().to_owned(), event.data())
        .id(event.id())
        .data_kind(event.data_kind())
        .metadata(event.metadata(), event.metadata_kind());
    event.tags().fold(new, NewEvent::tag)
}

/// Walks over the groups that stand behind the header of a chunk.
pub fn group(data: &[u8]) {
    let mut chunk = vec![0; CHUNK_HEADER_SIZE as usize];
    chunk.extend_from_slice(data);
    let header = ChunkHeader {
        log: LOG,
        number: CHUNK,
        first_position: POSITION,
        capacity: 1 << 20,
        previous: ChainEnd { chain: 7, data_end: 8192 },
        created: crate::clock::Timestamp::default(),
    };
    if let Ok(group) = GroupHeader::decode(data, salt(), CHUNK_HEADER_SIZE) {
        check_group(data, &group.header);
    }
    let bytes = Bytes::from(chunk);
    let (mut index, mut offsets) = (MemoryIndex::default(), Vec::new());
    let walked = recover::walk(&bytes, (&header, salt()), Position::START, &mut |event| {
        index.insert_event(&event);
        offsets.push(event.offset);
        assert!(event.stream().len() + event.event_type().len() + event.tags().len() > 0);
    });
    for (ordinal, offset) in (0_u32..).zip(&offsets) {
        check_scanned(&bytes, *offset, ordinal, &index);
    }
    let Ok((walk, bad)) = walked else { return };
    assert!(walk.end.offset <= bytes.len() as u64);
    assert_eq!(walk.end.position.since(POSITION), offsets.len() as u64);
    let disk = SimDisk::new();
    disk.write_file("chunk", bytes.to_vec());
    let file = disk.open("chunk", crate::disk::Access::Read).expect("the file is there");
    let rest = recover::look_beyond(&*file, &bytes, salt(), walk.end.offset);
    let rest = rest.expect("memory can be read");
    if let Some(garbage) = &rest.garbage {
        assert!(garbage.start == walk.end.offset && garbage.end <= bytes.len() as u64);
        let behind = &bytes[garbage.end as usize..];
        assert!(behind.iter().all(|byte| *byte == 0));
    }
    let cut = recover::judge(CHUNK, &walk, bad, &rest);
    assert!(cut.is_err() || walk.end.position >= walk.durable.max(rest.durable));
}

/// Checks that a group, whose header is sound, is closed to the same bytes.
fn check_group(data: &[u8], header: &GroupHeader) {
    let length = usize::try_from(header.length()).unwrap_or(usize::MAX);
    let Some(bytes) = data.get(..length) else { return };
    let mut again = bytes.to_vec();
    again[..64].fill(0xFF);
    let chain = header.close(&mut again, salt(), CHUNK_HEADER_SIZE);
    let decoded = GroupHeader::decode(&again, salt(), CHUNK_HEADER_SIZE).expect("just closed");
    assert_eq!((decoded.header, decoded.chain()), (*header, chain));
    let is_body_sound = again[44..48] == bytes[44..48];
    assert!(!is_body_sound || again == bytes, "{header:?}");
}

/// Checks an event that the walk has handed over.
fn check_scanned(chunk: &Bytes, offset: u64, ordinal: u32, index: &MemoryIndex) {
    let position = POSITION.plus(ordinal.into());
    let bytes = chunk.slice(offset as usize..);
    let event = format_event::decode(&bytes, salt(), position).expect("the walk has checked it");
    check_event(&event, &bytes, position);
    let has = |key: &Key<'_>| {
        let found = index.find(key).expect("an index has the keys of its events");
        assert!(found.postings.is_sorted_by(|a, b| a < b), "{key:?}: {:?}", found.postings);
        found.postings.contains(&ordinal)
    };
    assert_eq!(index.offset(ordinal), u32::try_from(offset).ok());
    assert!(has(&Key::stream(event.stream())) && has(&Key::category(category(event.stream()))));
    assert!(has(&Key::event_type(event.event_type())));
    assert!(event.tags().all(|tag| has(&Key::tag(tag))));
    assert!(event.operation().is_none_or(|id| has(&Key::operation(&id))));
}

/// Mends the checksums, places and chain of groups, and often their counts.
pub fn mend_group(data: &mut [u8], seed: u32) {
    if let Some(magic) = data.get_mut(..4) {
        magic.copy_from_slice(b"PGRP");
    }
    // Bodies that end within the input are what a walk goes on behind.
    let room = data.len().saturating_sub(64) / 8 * 8;
    if seed & 0x200 != 0
        && let Some(length) = data.get_mut(40..44)
        && u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize > room
    {
        length.copy_from_slice(&u32::try_from(room).unwrap_or_default().to_le_bytes());
    }
    let extent = if seed & 0x100 == 0 { Extent::Checksums } else { Extent::Counts };
    let offset = CHUNK_HEADER_SIZE as usize;
    let at = At { offset, chain: 7, position: POSITION };
    mend::groups(data, offset, salt(), at, extent);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_id_stands_in_the_first_event_of_its_append_alone() {
        let (mut bytes, id) = (Vec::new(), uuid::Uuid::from_u128(7));
        let event = NewEvent::new("T", "data");
        let place = Place::First(Some(id));
        format_event::encode(&mut bytes, salt().log(), "s", &event, place).unwrap();
        let decode = |bytes: &[u8]| {
            let bytes = Bytes::copy_from_slice(bytes);
            format_event::decode(&bytes, salt(), POSITION).map(|event| event.operation())
        };
        mend_event(&mut bytes, 0);
        assert_eq!(decode(&bytes), Ok(Some(id)));
        bytes[39] &= !4;
        mend_event(&mut bytes, 0);
        assert_eq!(decode(&bytes), Err(format_event::EventFlaw::Field("flags")));
    }
}
