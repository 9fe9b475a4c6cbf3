//! Owns the proof that the groups of a chunk lead from one place to another. It reads headers
//! alone, by calls.
//!
//! Promises: whoever is told an end by somebody else learns whether it is the end of just these
//! groups, before a byte of them is opened for reading. The chain value stands for all headers up
//! to it, and for the checksums of the bodies; whether the bodies fit those is for the reader to
//! check. Assumes nothing of what was told.

use super::scan::{self, Cursor};
use super::{Chunk, ChunkFile, file_name};
use crate::error::{Damage, Error, OpenError};
use crate::format::GROUP_HEADER_SIZE;
use crate::format::header::ChainEnd;
use crate::position::Position;

/// How much is read at once: some headers of small groups, and not much more than one of large
/// ones.
const WINDOW: u64 = 16 << 10;

/// Proves that the groups of an unsealed chunk, from `at` on, lead to `end` with the position
/// `position`.
pub(crate) fn leads_to(
    chunk: &Chunk,
    file: &ChunkFile,
    at: &Cursor,
    (end, position): (ChainEnd, Position),
) -> Result<(), OpenError> {
    let number = chunk.number();
    if end.data_end > file.capacity {
        let (told, length) = (end.data_end, file.capacity);
        let what = "length of the chunk's file";
        return Err(Damage::new((number, length), what, format!("at least {told}"), length).into());
    }
    let mut window = Window { file, start: 0, bytes: Vec::new() };
    let mut at = *at;
    while at.offset < end.data_end {
        let bytes = window.read(at.offset, end.data_end).map_err(|error| {
            OpenError::Failed(Error::from_io(&format!("read {}", file_name(number)), error))
        })?;
        let group = scan::check_header(bytes, chunk.salt, &at)
            .map_err(|bad| bad.damage(number, at.offset))?;
        at = at.after(&group);
    }
    if at.end() == end && at.position == position {
        return Ok(());
    }
    let place = |end: ChainEnd, position| {
        format!("position {position}, chain {:#018x} at {}", end.chain, end.data_end)
    };
    let (expected, found) = (place(end, position), place(at.end(), at.position));
    Err(Damage::new((number, at.offset), "end of the groups", expected, found).into())
}

/// The part of a file that was read last.
struct Window<'a> {
    file: &'a ChunkFile,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// The bytes from `offset`: a group header, or as much as lies before `end`.
    fn read(&mut self, offset: u64, end: u64) -> std::io::Result<&[u8]> {
        let wanted = GROUP_HEADER_SIZE.min(end - offset);
        let known = self.start..=self.start + self.bytes.len() as u64;
        if !known.contains(&offset) || !known.contains(&(offset + wanted)) {
            self.bytes.resize(WINDOW.min(end - offset) as usize, 0);
            self.start = offset;
            let read = self.file.read(&mut self.bytes, offset);
            if read.is_err() {
                self.bytes.clear();
            }
            read?;
        }
        Ok(&self.bytes[(offset - self.start) as usize..])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Timestamp;
    use crate::disk::sim::SimDisk;
    use crate::disk::{Access, Disk};
    use crate::format::checksum::LogSalt;
    use crate::format::group::GroupHeader;
    use crate::format::header::ChunkHeader;
    use crate::position::ChunkNumber;

    const CAPACITY: u64 = 1 << 20;

    /// A chunk of groups with bodies of these lengths, and the cursors before and behind each.
    fn chunk(bodies: &[usize]) -> (SimDisk, ChunkHeader, Vec<Cursor>) {
        let header = ChunkHeader {
            log: uuid::Uuid::from_u128(3),
            number: ChunkNumber::new(2),
            first_position: Position::new(70),
            capacity: CAPACITY,
            previous: ChainEnd { chain: 5, data_end: 8000 },
            created: Timestamp::from_nanos(1),
        };
        let salt = LogSalt::new(header.log).chunk(header.number);
        let mut file = vec![0; CAPACITY as usize];
        let mut cursors = vec![Cursor::start(&header)];
        for &length in bodies {
            let at = *cursors.last().unwrap();
            let group = GroupHeader {
                previous_chain: at.chain,
                first_position: at.position,
                durable_through: at.position,
                time: Timestamp::from_nanos(2),
                body_length: u32::try_from(length).unwrap(),
                events: 3,
                appends: 1,
            };
            let place = at.offset as usize..(at.offset + group.length()) as usize;
            group.close(&mut file[place.clone()], salt, at.offset);
            let read = GroupHeader::decode(&file[place], salt, at.offset).unwrap();
            cursors.push(at.after(&read));
        }
        let disk = SimDisk::new();
        disk.write_file(&file_name(header.number), file);
        (disk, header, cursors)
    }

    fn prove(disk: &SimDisk, header: &ChunkHeader, from: &Cursor, to: &Cursor) -> bool {
        let file = disk.open(&file_name(header.number), Access::Read).unwrap();
        let size = file.size().unwrap();
        let file = Arc::new(ChunkFile::beside(file, header.number, size).unwrap());
        let chunk = Chunk::unsealed(header.clone(), Arc::clone(&file));
        leads_to(&chunk, &file, from, (to.end(), to.position)).is_ok()
    }

    #[test]
    fn each_place_leads_to_each_later_one() {
        let (disk, header, cursors) = chunk(&[8, 800, 40_000, 16, 16_320, 16_384, 8]);
        for (index, from) in cursors.iter().enumerate() {
            for (other, to) in cursors.iter().enumerate() {
                assert_eq!(prove(&disk, &header, from, to), index <= other, "{index} {other}");
            }
        }
    }

    #[test]
    fn an_end_that_is_told_wrong_is_not_reached() {
        let (disk, header, cursors) = chunk(&[8, 16_384, 8]);
        let (start, end) = (cursors[0], cursors[3]);
        assert!(prove(&disk, &header, &start, &end));
        for bit in 0..64 {
            let flipped = |number: u64| number ^ (1 << bit);
            let wrong = [
                Cursor { offset: flipped(end.offset), ..end },
                Cursor { chain: flipped(end.chain), ..end },
                Cursor { position: Position::new(flipped(end.position.get())), ..end },
            ];
            for end in wrong {
                assert!(!prove(&disk, &header, &start, &end), "bit {bit}: {end:?}");
            }
        }
        let mut file = disk.read_file(&file_name(header.number)).unwrap();
        file.truncate(end.offset as usize - 1);
        disk.write_file(&file_name(header.number), file);
        assert!(prove(&disk, &header, &start, &cursors[2]));
        assert!(!prove(&disk, &header, &start, &end), "the file ends before");
    }
}
