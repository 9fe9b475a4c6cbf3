//! Owns what repair knows of a log before it plans: each chunk file by itself, the hint, and what
//! the verification has found.
//!
//! Promises: reads by calls and changes nothing. A chunk in which the verification found nothing is
//! taken by its footer; all others are walked to the first place that is no sound group. Judges
//! nothing: that is the plan's.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use uuid::Uuid;

use super::super::walk::{Pieces, Rest};
use crate::chunk::directory::HINT;
use crate::chunk::scan::{self, Cursor};
use crate::chunk::{file_name, number_of};
use crate::clock::Timestamp;
use crate::disk::map::PAGE_SIZE;
use crate::disk::{Access, Disk, DiskFile};
use crate::format::checksum::{ChunkSalt, LogSalt};
use crate::format::footer::{FOOTER_SIZE, Footer};
use crate::format::header::ChunkHeader;
use crate::format::hint::{FILE_SIZE, Hint};
use crate::format::{CHUNK_HEADER_SIZE, is_zero};
use crate::index::table::Table;
use crate::position::{ChunkNumber, Position};
use crate::stage::page::STATS;

/// What is known of a log.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// The log's id, where anything names it.
    pub(super) log: Option<Uuid>,
    /// The chunk files, by the number in their name.
    pub(super) files: BTreeMap<ChunkNumber, FileFacts>,
    /// The newest hint of this log.
    pub(super) hint: Option<Hint>,
    /// Files beside the chunks that hold nothing that this program could have left.
    pub(super) odd: Vec<&'static str>,
}

/// What a chunk's file says of itself.
#[derive(Clone, Debug)]
pub(super) struct FileFacts {
    pub(super) size: u64,
    pub(super) block: Block,
    /// A sound footer at the end of the file.
    pub(super) footer: Option<Footer>,
    /// Its groups, read as those of the chunk that the header names; without one, as those of the
    /// chunk that the file's name names. `None` where no group stands first.
    pub(super) groups: Option<Groups>,
    /// Something behind the groups is damaged.
    pub(super) is_index_damaged: bool,
    /// Without a footer, behind the last byte that is not zero or cannot be read; otherwise 0.
    pub(super) data_end: u64,
}

/// The first 4096 bytes of a chunk's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Block {
    Sound(ChunkHeader),
    Blank,
    Bad,
}

/// The groups of a chunk, from the first one on as far as each is sound and continues the last.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    /// What the first one wants to follow.
    pub(super) start: Cursor,
    /// Behind the last one.
    pub(super) end: Cursor,
    pub(super) first_time: Timestamp,
    /// All events below were durable, as the groups say, also those behind `end`.
    pub(super) durable: Position,
    /// Something behind `end` is not zero.
    pub(super) garbage: bool,
    /// Behind the last event for which there is a sound group header.
    pub(super) seen: Position,
}

/// The chunks of which the verification has found damage, each with the lowest offset of it.
pub(super) type Suspects = BTreeMap<ChunkNumber, Vec<u64>>;

impl Survey {
    /// Looks at all files. Chunks that are not among the suspects are believed; without suspects,
    /// none is.
    pub(super) fn of(disk: &dyn Disk, suspects: Option<&Suspects>) -> io::Result<Self> {
        // The hint comes first: it may not be ahead of what is seen after it.
        let hints = bytes_of(disk, HINT, FILE_SIZE)?;
        let mut survey = Self::default();
        let names = disk.list()?;
        let numbers: Vec<_> = names.iter().filter_map(|name| number_of(name)).collect();
        let mut heads = BTreeMap::new();
        for number in &numbers {
            let pieces = Pieces::new(disk.open(&file_name(*number), Access::Read)?)?;
            heads.insert(*number, Head::of(pieces));
        }
        survey.log = log_of(&heads, Hint::newest_of_any(&hints));
        survey.hint = survey.log.and_then(|log| Hint::newest(&hints, log));
        for (number, head) in heads {
            let found = suspects.map(|suspects| suspects.get(&number));
            let facts = head.facts(number, survey.log, found);
            survey.files.insert(number, facts);
        }
        if survey.hint.is_none() && !is_zero(&hints) {
            survey.odd.push(HINT);
        }
        let page = disk.open(STATS, Access::Read).and_then(|file| file.size());
        if page.is_ok_and(|size| size != PAGE_SIZE as u64) {
            survey.odd.push(STATS);
        }
        Ok(survey)
    }
}

fn bytes_of(disk: &dyn Disk, name: &str, most: u64) -> io::Result<Vec<u8>> {
    let file = match disk.open(name, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut bytes = vec![0; usize::try_from(file.size()?.min(most)).map_err(io::Error::other)?];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// The id that the hint and a chunk agree on; without that, the one that most chunks have, and of
/// those the first.
fn log_of(heads: &BTreeMap<ChunkNumber, Head>, hint: Option<Hint>) -> Option<Uuid> {
    let mut logs: Vec<(Uuid, usize)> = Vec::new();
    for log in heads.values().filter_map(Head::log) {
        match logs.iter_mut().find(|(known, _)| *known == log) {
            Some((_, count)) => *count += 1,
            None => logs.push((log, 1)),
        }
    }
    if let Some(hint) = hint
        && (logs.is_empty() || logs.iter().any(|(log, _)| *log == hint.log))
    {
        return Some(hint.log);
    }
    let most = logs.iter().map(|(_, count)| *count).max()?;
    logs.iter().find(|(_, count)| *count == most).map(|(log, _)| *log)
}

/// The ends of a chunk's file.
struct Head {
    pieces: Pieces,
    block: Block,
    footer: Option<Footer>,
}

impl Head {
    fn of(mut pieces: Pieces) -> Self {
        // What cannot be read is damaged.
        let block =
            pieces.bytes(0, CHUNK_HEADER_SIZE).map_or(
                Block::Bad,
                |block| match ChunkHeader::decode(&block) {
                    Ok(header) => Block::Sound(header),
                    Err(_) if is_zero(&block) => Block::Blank,
                    Err(_) => Block::Bad,
                },
            );
        let size = pieces.size;
        let footer = size.checked_sub(FOOTER_SIZE).filter(|at| *at >= CHUNK_HEADER_SIZE);
        let footer = footer.and_then(|at| pieces.bytes(at, FOOTER_SIZE).ok());
        let footer = footer.and_then(|block| Footer::decode(&block).ok());
        let footer = footer.filter(|footer| footer.file_size == size);
        Self { pieces, block, footer }
    }

    fn log(&self) -> Option<Uuid> {
        match &self.block {
            Block::Sound(header) => Some(header.log),
            _ => self.footer.as_ref().map(|footer| footer.log),
        }
    }

    /// `found` is where the verification has found damage in this chunk; without one everything is
    /// looked at.
    fn facts(
        self,
        number: ChunkNumber,
        log: Option<Uuid>,
        found: Option<Option<&Vec<u64>>>,
    ) -> FileFacts {
        let Self { mut pieces, block, footer } = self;
        let (log, number, start) = match &block {
            Block::Sound(header) => (Some(header.log), header.number, Some(Cursor::start(header))),
            _ => (log, number, None),
        };
        let salt = log.map(|log| LogSalt::new(log).chunk(number));
        let is_believed = found == Some(None);
        let header = match &block {
            Block::Sound(header) => Some(header),
            _ => None,
        };
        // A sealed chunk's index may reach beyond the capacity; groups never do.
        let reach = pieces.reach(header);
        let groups = match (&footer, start) {
            (Some(footer), Some(start)) if is_believed => Some(by_footer(start, footer)),
            _ => salt.and_then(|salt| groups(&mut pieces, salt, start, reach)),
        };
        let behind = groups.as_ref().map_or(u64::MAX, |groups| groups.end.offset);
        let behind = footer.as_ref().map_or(behind, |footer| footer.end.data_end);
        let is_told = found.flatten().is_some_and(|found| found.iter().any(|at| *at >= behind));
        let is_wrong = footer.as_ref().zip(salt).is_some_and(|(footer, salt)| {
            !is_believed && !is_index_sound(&mut pieces, salt, footer).unwrap_or(false)
        });
        // Where nobody tells, a last block that is neither a footer nor zeros was one.
        let block_at = pieces.size.saturating_sub(FOOTER_SIZE).max(behind);
        let is_spoilt = found.is_none()
            && footer.is_none()
            && !pieces.is_zero(block_at..pieces.size).unwrap_or(false);
        let is_index_damaged = is_told || is_wrong || is_spoilt;
        let data_end = if footer.is_none() { data_end(&mut pieces) } else { 0 };
        FileFacts { size: pieces.size, block, footer, groups, is_index_damaged, data_end }
    }
}

fn by_footer(start: Cursor, footer: &Footer) -> Groups {
    let end = Cursor {
        offset: footer.end.data_end,
        chain: footer.end.chain,
        position: footer.end_position(),
        time: footer.last_time,
    };
    Groups {
        start,
        end,
        first_time: footer.first_time,
        durable: end.position,
        garbage: false,
        seen: end.position,
    }
}

/// Walks the groups of a chunk. Where its header does not tell how they begin, the first is taken
/// at its word.
fn groups(
    pieces: &mut Pieces,
    salt: ChunkSalt,
    start: Option<Cursor>,
    reach: u64,
) -> Option<Groups> {
    let start = start.or_else(|| {
        let group = pieces.header(salt, CHUNK_HEADER_SIZE).ok().flatten()?;
        Some(Cursor {
            offset: CHUNK_HEADER_SIZE,
            chain: group.header.previous_chain,
            position: group.header.first_position,
            time: Timestamp::default(),
        })
    })?;
    let (mut at, mut durable, mut first_time) = (start, start.position, None);
    // A group that cannot be read ends the walk as a damaged one does.
    while let Ok(Ok(group)) = pieces.group(salt, &at, reach) {
        let header = &group.checked.header;
        if scan::visit_events(&group.body, salt, &at, header, &mut |_| {}).is_err() {
            break;
        }
        durable = durable.max(header.durable_through);
        first_time.get_or_insert(header.time);
        at = at.after(&group.checked);
    }
    let Rest { garbage, durable: behind, .. } = pieces
        .rest(salt, at.offset, reach)
        .unwrap_or(Rest { garbage: Some(at.offset..reach), ..Rest::default() });
    let mut groups = Groups {
        start,
        end: at,
        first_time: first_time.unwrap_or_default(),
        durable: durable.max(behind),
        garbage: garbage.is_some() || data_end(pieces) > reach,
        seen: at.position,
    };
    let mut from = at.offset;
    while garbage.is_some()
        && let Ok(Some(found)) = pieces.resume(salt, from, reach)
        && let Ok(Some(group)) = pieces.header(salt, found.offset)
    {
        groups.seen = groups.seen.max(group.header.end_position());
        from = found.offset + group.header.length();
    }
    Some(groups)
}

fn data_end(pieces: &mut Pieces) -> u64 {
    let size = pieces.size;
    pieces.garbage(0, size).map_or(size, |garbage| garbage.map_or(0, |garbage| garbage.end))
}

fn is_index_sound(pieces: &mut Pieces, salt: ChunkSalt, footer: &Footer) -> io::Result<bool> {
    for section in &footer.sections {
        let bytes = pieces.bytes(section.offset, section.length)?;
        if salt.at_place(section.offset, &bytes) != section.checksum {
            return Ok(false);
        }
    }
    let file = pieces.mapped()?;
    Ok(Table::open(&file, footer).is_ok_and(|table| table.check().is_ok()))
}

/// A chunk's file, opened for reading.
pub(super) fn open(disk: &dyn Disk, number: ChunkNumber) -> io::Result<Arc<dyn DiskFile>> {
    disk.open(&file_name(number), Access::Read)
}
