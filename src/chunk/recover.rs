//! Owns recovery: what stands at the end of an unsealed chunk, what is to be done about it, and
//! doing it.
//!
//! Promises: the decision is a table, pure and complete (`TABLE`). Durable bytes that are damaged
//! are never cut, bytes that are cut are kept aside first (R7), and a doubtful tail is written and
//! synced again before anything rests on it (R4). Recovery that is itself cut short ends in the
//! same state when it is run again. Never touches sealed chunks.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::file_name;
use super::scan::{self, BadGroup, Cursor, ScannedEvent};
use crate::disk::{Access, Disk, DiskFile};
use crate::error::{Damage, Error, OpenError};
use crate::format::checksum::ChunkSalt;
use crate::format::group::{GroupHeader, MAGIC};
use crate::format::header::ChunkHeader;
use crate::format::{ALIGNMENT, CHUNK_HEADER_SIZE, trimmed};
use crate::options::EVENT_SIZE_MAX;
use crate::position::{ChunkNumber, Position};

/// What is known of a place where a group should begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The group header fits its checksum at this place.
    pub(crate) header: bool,
    /// The body fits its checksum at this place.
    pub(crate) body: bool,
    /// The group continues what came before: chain value, position and time.
    pub(crate) chain: bool,
    /// Only zeros follow, to the end of the chunk.
    pub(crate) zero_rest: bool,
    /// A sound group header stands somewhere further on.
    pub(crate) valid_beyond: bool,
    /// Events from this place on are known to have been durable.
    pub(crate) below_durable: bool,
}

/// What is to be done at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The group is sound: go on behind it.
    Keep,
    /// The log ends here.
    End,
    /// Durable events have vanished: refuse to open.
    LostData,
    /// A write that was never acked was cut short: keep its bytes aside and end the log here.
    Cut,
    /// Durable bytes are damaged: refuse to open.
    Refuse,
}

/// A line of the table: what each fact must be (`None`: either), in the order of [`Facts`].
type Row = ([Option<bool>; 6], Decision);

const YES: Option<bool> = Some(true);
const NO: Option<bool> = Some(false);
const ANY: Option<bool> = None;

/// The decision at the end of the log. Exactly one row fits any facts; the test tries all of them.
///
/// It can be decided at all because a group states how far the log was durable when it was framed:
/// what is invalid below the greatest such mark was once whole, and what is invalid above it was
/// never acked.
#[rustfmt::skip]
pub(crate) const TABLE: [Row; 8] = [
    // header body chain zero beyond durable
    ([YES,    YES, YES,  ANY, ANY,   ANY], Decision::Keep),
    ([NO,     ANY, ANY,  YES, ANY,   NO ], Decision::End),
    ([NO,     ANY, ANY,  YES, ANY,   YES], Decision::LostData),
    ([NO,     ANY, ANY,  NO,  ANY,   NO ], Decision::Cut),
    ([NO,     ANY, ANY,  NO,  ANY,   YES], Decision::Refuse),
    ([YES,    NO,  ANY,  ANY, ANY,   NO ], Decision::Cut),
    // Foreign or stale bytes, valid in themselves, count as a bad body.
    ([YES,    YES, NO,   ANY, ANY,   NO ], Decision::Cut),
    ([YES,    ANY, NO,   ANY, ANY,   YES], Decision::Refuse),
];

/// Looks the facts up in the table.
pub(crate) fn decide(facts: &Facts) -> Decision {
    // A body can only be sound, and fit the chain, behind a sound header.
    let chain = facts.chain && facts.body && facts.header;
    let facts =
        [facts.header, facts.body, chain, facts.zero_rest, facts.valid_beyond, facts.below_durable];
    let fits = |row: &&Row| {
        row.0.iter().zip(facts).all(|(wanted, fact)| wanted.is_none_or(|wanted| wanted == fact))
    };
    TABLE.iter().find(fits).map_or(Decision::Refuse, |row| row.1)
}

/// What the walk over a chunk has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Walk {
    /// The place behind the last sound group.
    pub(crate) end: Cursor,
    /// Offset from which bytes are not proven to be durable; `end.offset` where all are.
    pub(crate) doubtful_from: u64,
    /// All events below were durable.
    pub(crate) durable: Position,
}

/// Walks the groups of a chunk from its start, hands every event to `visit`, and stops before the
/// first place that is no sound group, with what is wrong there. `known` is how far the log is
/// otherwise known to be durable.
pub(crate) fn walk<'a>(
    bytes: &'a [u8],
    (header, salt): (&ChunkHeader, ChunkSalt),
    known: Position,
    visit: &mut dyn FnMut(ScannedEvent<'a>),
) -> Result<(Walk, BadGroup), Damage> {
    let mut at = Cursor::start(header);
    let mut durable = known.max(header.first_position);
    // The groups that end beyond the mark, with their places; few, because the mark follows the
    // groups closely.
    let mut doubtful: VecDeque<(u64, Position)> = VecDeque::new();
    loop {
        let rest = usize::try_from(at.offset).ok().and_then(|start| bytes.get(start..));
        let group = match scan::check_group(rest.unwrap_or(&[]), salt, &at) {
            Ok(group) => group,
            Err(bad) => {
                let from = doubtful.front().map_or(at.offset, |(offset, _)| *offset);
                // The first group was written together with the chunk's header.
                let from = if from == CHUNK_HEADER_SIZE { 0 } else { from };
                return Ok((Walk { end: at, doubtful_from: from, durable }, bad));
            }
        };
        let body = rest.and_then(|rest| scan::body_of(rest, &group.header)).unwrap_or(&[]);
        scan::visit_events(body, salt, &at, &group.header, visit).map_err(|(offset, flaw)| {
            let (what, expected, found) = flaw.describe();
            Damage::new((header.number, offset), what, expected, found)
        })?;
        durable = durable.max(group.header.durable_through);
        doubtful.push_back((at.offset, group.header.end_position()));
        while doubtful.front().is_some_and(|(_, end)| *end <= durable) {
            doubtful.pop_front();
        }
        at = at.after(&group);
    }
}

/// What stands behind the last sound group, as far as it is not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rest {
    /// From the end of the log to behind the last byte that is not zero.
    pub(crate) garbage: Option<Range<u64>>,
    /// Sound group headers stand in it.
    pub(crate) valid_beyond: bool,
    /// The greatest durable-through mark among them.
    pub(crate) durable: Position,
}

/// Looks at all bytes from `from` to the end of `bytes` that may be other than zero.
pub(crate) fn look_beyond(
    file: &dyn DiskFile,
    bytes: &[u8],
    salt: ChunkSalt,
    from: u64,
) -> io::Result<Rest> {
    let mut rest = Rest::default();
    for region in data_regions(file, from, bytes.len() as u64)? {
        let data = &bytes[region.start as usize..region.end as usize];
        let end = region.start + trimmed(data) as u64;
        if end == region.start {
            continue;
        }
        rest.garbage = Some(from..end);
        let first = region.start.next_multiple_of(ALIGNMENT);
        for offset in (first..end).step_by(ALIGNMENT as usize) {
            let place = &bytes[offset as usize..];
            if offset > from
                && place.starts_with(&MAGIC)
                && let Ok(group) = GroupHeader::decode(place, salt, offset)
            {
                rest.valid_beyond = true;
                rest.durable = rest.durable.max(group.header.durable_through);
            }
        }
    }
    Ok(rest)
}

/// The parts of a file from `from` to `to` that may hold other bytes than zeros.
fn data_regions(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<Vec<Range<u64>>> {
    let mut regions = Vec::new();
    let mut at = from;
    while at < to
        && let Some(start) = file.next_data(at)?
    {
        let start = start.max(at);
        let hole = file.next_hole(start)?;
        let end = if hole <= start { to } else { hole.min(to) };
        if start >= to {
            break;
        }
        regions.push(start..end);
        at = end;
    }
    Ok(regions)
}

/// Reads by calls what a map of the file up to `end` shows: a sector that cannot be read is an
/// error then, and not the end of the process that touches it (F29).
pub(crate) fn read_through(file: &dyn DiskFile, end: u64) -> io::Result<()> {
    for region in data_regions(file, 0, end)? {
        pieces(&region, |offset, buffer| file.read_at(buffer, offset))?;
    }
    Ok(())
}

/// How much of a sound group may stand behind the last byte of a file that is not zero: the end of
/// one event and its padding, because no event begins with zeros alone.
const LACK_MAX: u64 = EVENT_SIZE_MAX as u64 + ALIGNMENT;

/// The bytes of a chunk whose file is shorter than its capacity. What the file lacks counts as
/// zeros, which are there as far as a sound group may reach into them; so a header that asks for
/// much costs little (F49).
pub(crate) fn read_short(file: &dyn DiskFile, capacity: u64) -> io::Result<Vec<u8>> {
    let regions = data_regions(file, 0, file.size()?.min(capacity))?;
    let end = regions.last().map_or(0, |region| region.end);
    let mut bytes = vec![0; capacity.min(end + LACK_MAX) as usize];
    for region in regions {
        file.read_at(&mut bytes[region.start as usize..region.end as usize], region.start)?;
    }
    Ok(bytes)
}

/// Bytes that recovery took out of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut {
    /// The chunk.
    pub chunk: ChunkNumber,
    /// Where in its file the bytes stood.
    pub offset: u64,
    /// How many they are.
    pub bytes: u64,
    /// Name of the file, in the log's directory, that keeps them.
    pub kept_in: String,
}

/// Decides what is to be done at the end of the last chunk: nothing, or a cut, or a refusal.
pub(crate) fn judge(
    chunk: ChunkNumber,
    walk: &Walk,
    bad: BadGroup,
    rest: &Rest,
) -> Result<Option<Range<u64>>, OpenError> {
    let durable = walk.durable.max(rest.durable);
    let facts = Facts {
        header: bad.header,
        body: bad.body,
        chain: false,
        zero_rest: rest.garbage.is_none(),
        valid_beyond: rest.valid_beyond,
        below_durable: walk.end.position < durable,
    };
    match decide(&facts) {
        Decision::Keep | Decision::End => Ok(None),
        Decision::Cut => Ok(rest.garbage.clone()),
        Decision::LostData => {
            Err(OpenError::LostData { expected: durable, found: walk.end.position })
        }
        Decision::Refuse => Err(OpenError::Corrupt(bad.damage(chunk, walk.end.offset))),
    }
}

/// Copies a range of a chunk's file into a file of its own, durably, and overwrites it with zeros,
/// durably.
pub(crate) fn cut(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    chunk: ChunkNumber,
    range: &Range<u64>,
) -> Result<Cut, Error> {
    let doing = |what: &str| format!("{what} the torn end of {}", file_name(chunk));
    let (name, aside) = create_aside(disk, file, chunk, range)
        .map_err(|error| Error::from_io(&doing("keep aside"), error))?;
    let keep = || {
        pieces(range, |offset, buffer| {
            file.read_at(buffer, offset)?;
            aside.write_at(buffer, offset - range.start)
        })?;
        aside.sync_data()?;
        disk.sync_directory()
    };
    keep().map_err(|error| Error::from_io(&doing("keep aside"), error))?;
    let clear = || {
        pieces(range, |offset, buffer| {
            buffer.fill(0);
            file.write_at(buffer, offset)
        })?;
        file.sync_data()
    };
    clear().map_err(|error| Error::from_io(&doing("cut"), error))?;
    Ok(Cut { chunk, offset: range.start, bytes: range.end - range.start, kept_in: name })
}

/// A file to keep a range of a chunk's file in: a new one, or that of an earlier try which was cut
/// short or found no space. So tries in vain leave one file, however many they are.
fn create_aside(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    chunk: ChunkNumber,
    range: &Range<u64>,
) -> io::Result<(String, Arc<dyn DiskFile>)> {
    let base = format!("lost-{}@{:010}", file_name(chunk), range.start);
    let mut name = base.clone();
    for attempt in 2..u32::MAX {
        match disk.create(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let begun = disk.open(&name, Access::Write);
                let begun = begun.and_then(|aside| Ok((is_begun(&*aside, file, range)?, aside)));
                if let Ok((true, aside)) = begun {
                    return Ok((name, aside));
                }
            }
            other => return other.map(|file| (name, file)),
        }
        name = format!("{base}.{attempt}");
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Whether a file holds the first bytes of a range of another, or all of them, and nothing else.
fn is_begun(aside: &dyn DiskFile, file: &dyn DiskFile, range: &Range<u64>) -> io::Result<bool> {
    let size = aside.size()?;
    if size > range.end - range.start {
        return Ok(false);
    }
    let mut is_same = true;
    pieces(&(range.start..range.start + size), |offset, wanted| {
        let mut found = vec![0; wanted.len()];
        file.read_at(wanted, offset)?;
        aside.read_at(&mut found, offset - range.start)?;
        is_same &= found == wanted;
        Ok(())
    })?;
    Ok(is_same)
}

/// Writes a range of a chunk's file with its own bytes and syncs it (R4): after a crash of the
/// operating system, or a failed sync, bytes can be readable from memory without being on the
/// medium (F20).
pub(crate) fn harden(file: &dyn DiskFile, range: &Range<u64>) -> io::Result<()> {
    rewrite(file, range)?;
    file.sync_data()
}

/// Writes a range of a file with its own bytes, and leaves it to the caller to sync them.
pub(crate) fn rewrite(file: &dyn DiskFile, range: &Range<u64>) -> io::Result<()> {
    pieces(range, |offset, buffer| {
        file.read_at(buffer, offset)?;
        file.write_at(buffer, offset)
    })
}

fn pieces(
    range: &Range<u64>,
    mut each: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; (range.end - range.start).min(1 << 20) as usize];
    let mut at = range.start;
    while at < range.end {
        let length = (range.end - at).min(buffer.len() as u64);
        each(at, &mut buffer[..length as usize])?;
        at += length;
    }
    Ok(())
}

/// From the start of a file to behind its last byte that is not zero; `None` where it is all zero.
pub(crate) fn garbage(file: &dyn DiskFile) -> io::Result<Option<Range<u64>>> {
    Ok(garbage_in(file, 0..file.size()?)?.map(|end| 0..end))
}

/// Where the last byte of a range ends that is not zero; `None` where all are.
pub(crate) fn garbage_in(file: &dyn DiskFile, range: Range<u64>) -> io::Result<Option<u64>> {
    let mut end = None;
    for region in data_regions(file, range.start, range.end.min(file.size()?))? {
        pieces(&region, |offset, buffer| {
            file.read_at(buffer, offset)?;
            match trimmed(buffer) {
                0 => {}
                length => end = Some(offset + length as u64),
            }
            Ok(())
        })?;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;
    use crate::options::CHUNK_SIZE_MAX;

    fn all_facts() -> impl Iterator<Item = Facts> {
        (0..64_u32).map(|bits| {
            let bit = |index: u32| bits >> index & 1 == 1;
            Facts {
                header: bit(0),
                body: bit(1),
                chain: bit(2),
                zero_rest: bit(3),
                valid_beyond: bit(4),
                below_durable: bit(5),
            }
        })
    }

    #[test]
    fn every_combination_of_facts_has_its_row() {
        for facts in all_facts() {
            let sound = facts.header && facts.body && facts.chain;
            let wanted = match (sound, facts.header || !facts.zero_rest, facts.below_durable) {
                (true, _, _) => Decision::Keep,
                (false, false, false) => Decision::End,
                (false, false, true) => Decision::LostData,
                (false, true, false) => Decision::Cut,
                (false, true, true) => Decision::Refuse,
            };
            assert_eq!(decide(&facts), wanted, "{facts:?}");
        }
    }

    #[test]
    fn no_row_is_covered_by_an_earlier_one() {
        for (index, row) in TABLE.iter().enumerate() {
            let used = all_facts().any(|facts| {
                let chain = facts.chain && facts.body && facts.header;
                let values = [
                    facts.header,
                    facts.body,
                    chain,
                    facts.zero_rest,
                    facts.valid_beyond,
                    facts.below_durable,
                ];
                let fits = |row: &Row| {
                    row.0.iter().zip(values).all(|(want, is)| want.is_none_or(|want| want == is))
                };
                fits(row) && !TABLE[..index].iter().any(fits)
            });
            assert!(used, "row {index} never decides");
        }
    }

    #[test]
    fn a_short_file_costs_what_is_there_whatever_its_header_says() {
        let disk = SimDisk::new();
        let read = |bytes: &[u8], capacity| {
            disk.write_file("chunk", bytes);
            read_short(&*disk.open("chunk", Access::Read).unwrap(), capacity).unwrap()
        };
        let bytes = [7; 5000];
        for capacity in [8 << 10, CHUNK_SIZE_MAX] {
            let found = read(&bytes, capacity);
            assert_eq!(found[..5000], bytes);
            assert!(found[5000..].iter().all(|byte| *byte == 0));
            assert_eq!(found.len() as u64, capacity.min(5000 + LACK_MAX));
        }
        assert_eq!(read(&[], CHUNK_SIZE_MAX).len() as u64, LACK_MAX);
    }

    #[test]
    fn durable_bytes_are_never_cut() {
        for facts in all_facts().filter(|facts| facts.below_durable) {
            assert!(!matches!(decide(&facts), Decision::Cut | Decision::End), "{facts:?}");
        }
    }
}
