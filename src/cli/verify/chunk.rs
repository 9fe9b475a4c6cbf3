//! Owns the verification of one chunk: its header, its groups and events, and where they end.
//!
//! Promises: goes on behind damage as soon as a sound group is found, and takes that group at its
//! word. Judges the end of the last chunk as recovery does: what was durable and is not whole is
//! damage, what was never acked is a torn end.

use std::io;
use std::sync::Arc;

use super::super::walk::{self, Group, Pieces, Rest};
use super::super::{CliError, show};
use super::{Before, Check, Files};
use crate::chunk::scan::{self, BadGroup, Cursor};
use crate::clock::Timestamp;
use crate::disk::DiskFile;
use crate::error::Damage;
use crate::format::checksum::{ChunkSalt, LogSalt};
use crate::format::footer::{FOOTER_SIZE, Footer};
use crate::format::header::{ChainEnd, ChunkHeader};
use crate::format::{ALIGNMENT, CHUNK_HEADER_SIZE};
use crate::index::memory::{Entry, MemoryIndex};
use crate::position::ChunkNumber;

/// One chunk while it is verified.
pub(super) struct Walk<'a> {
    pub(super) check: &'a mut Check,
    pub(super) number: ChunkNumber,
    pub(super) pieces: Pieces,
    pub(super) salt: ChunkSalt,
    pub(super) at: Cursor,
    /// What the events that were found say that the index should hold.
    pub(super) index: MemoryIndex,
    /// Whether no damage has hidden an event of this chunk.
    pub(super) is_whole: bool,
    /// The time of the first event.
    pub(super) first_time: Option<Timestamp>,
    /// Bytes that are reported to the progress bar.
    shown: u64,
}

/// What stands behind a chunk.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next<'a> {
    /// Nothing: the log ends in it.
    Nothing,
    /// A chunk that says where this one ends.
    Chunk(&'a ChunkHeader),
    /// A chunk whose header is damaged.
    Damaged,
}

impl Check {
    /// Verifies one chunk, whose header is not blank.
    pub(super) fn chunk(
        &mut self,
        files: &Files,
        number: ChunkNumber,
        next: Next<'_>,
    ) -> Result<(), CliError> {
        if self.limit.zip(self.before).is_some_and(|(limit, before)| before.position >= limit) {
            return Ok(());
        }
        let file = files.open(number)?;
        // A sector that cannot be read is damage like any other.
        if let Err(error) = self.chunk_file(file, number, next) {
            self.unreadable((number, 0), &error);
        }
        Ok(())
    }

    fn unreadable(&mut self, place: (ChunkNumber, u64), error: &io::Error) {
        self.damaged(Damage::new(place, "bytes of the file", "readable", error));
        self.before = None;
        self.versions.lose();
    }

    fn chunk_file(
        &mut self,
        file: Arc<dyn DiskFile>,
        number: ChunkNumber,
        next: Next<'_>,
    ) -> io::Result<()> {
        let mut pieces = Pieces::new(file)?;
        let header = match read_header(&mut pieces, number)? {
            Ok(header) => Some(header),
            Err(damage) => {
                self.damaged(damage);
                None
            }
        };
        if self.limit.zip(header.as_ref()).is_some_and(|(limit, head)| head.first_position >= limit)
        {
            return Ok(());
        }
        self.chunks += 1;
        self.bytes += pieces.size;
        self.bar.inc_length(pieces.size);
        if let Some(header) = &header
            && !self.belongs(number, header, pieces.size)
        {
            self.before = None;
            self.versions.lose();
            return Ok(());
        }
        let Some((log, at)) = self.start(header.as_ref()) else {
            return Ok(());
        };
        let salt = LogSalt::new(log).chunk(number);
        let is_whole = at.is_some();
        let at = match at {
            Some(at) => Some(at),
            // Where nothing says how the chunk begins, its first group is taken at its word.
            None => pieces.resume(salt, CHUNK_HEADER_SIZE, pieces.size)?,
        };
        let Some(at) = at else { return Ok(()) };
        let index = MemoryIndex::default();
        let first_time = None;
        let mut walk =
            Walk { check: self, number, pieces, salt, at, index, is_whole, first_time, shown: 0 };
        if let Err(error) = walk.all(next) {
            let place = (number, walk.at.offset);
            self.unreadable(place, &error);
        }
        Ok(())
    }

    /// Whether a chunk is of this log and this place at all; what else is unfit is told too.
    fn belongs(&mut self, number: ChunkNumber, header: &ChunkHeader, size: u64) -> bool {
        let end = |end: ChainEnd| format!("chain {:#018x} at {}", end.chain, end.data_end);
        let (log, before) = (self.log, self.before);
        let mut unfit = |what, expected: String, found: String| {
            let is_unfit = expected != found;
            if is_unfit {
                self.damaged(Damage::new((number, 0), what, expected, found));
            }
            is_unfit
        };
        let is_foreign = log
            .is_some_and(|log| unfit("log id", log.to_string(), header.log.to_string()))
            || unfit("chunk number", number.to_string(), header.number.to_string());
        if is_foreign {
            return false;
        }
        if let Some(before) = before {
            let (expected, found) = (before.position, header.first_position);
            unfit("first position of the chunk", expected.to_string(), found.to_string());
            unfit("end of the chunk before", end(before.end), end(header.previous));
        }
        if size < header.capacity {
            let expected = format!("at least {}", header.capacity);
            unfit("size of the file", expected, size.to_string());
        }
        true
    }

    /// The log, and where the groups of a chunk begin as far as that is known.
    fn start(&self, header: Option<&ChunkHeader>) -> Option<(uuid::Uuid, Option<Cursor>)> {
        let time = self.before.map(|before| before.time).unwrap_or_default();
        let known = header.map(|header| Cursor { time, ..Cursor::start(header) });
        let expected = self.before.map(|before| Cursor {
            offset: CHUNK_HEADER_SIZE,
            chain: before.end.chain,
            position: before.position,
            time,
        });
        let log = header.map(|header| header.log).or(self.log)?;
        Some((log, known.or(expected)))
    }
}

fn read_header(
    pieces: &mut Pieces,
    number: ChunkNumber,
) -> io::Result<Result<ChunkHeader, Damage>> {
    let block = pieces.bytes(0, CHUNK_HEADER_SIZE)?;
    Ok(ChunkHeader::decode(&block).map_err(|flaw| walk::header_damage(number, flaw)))
}

/// How a walk goes on behind a place.
enum Onward {
    Yes,
    /// The chunk's groups end here.
    End,
    /// No further group was found, and the end is unknown.
    Lost,
}

impl Walk<'_> {
    fn all(&mut self, next: Next<'_>) -> io::Result<()> {
        let footer = self.footer()?;
        let (first, counted) = (self.at.position, self.check.events);
        let said = match (&footer, next) {
            (Some(footer), _) => Some(footer.end),
            (None, Next::Chunk(next)) => Some(next.previous),
            (None, _) => None,
        };
        let is_known = match said {
            Some(end) => self.groups(end.data_end, None)?,
            None => self.groups(self.pieces.size, Some(matches!(next, Next::Nothing)))?,
        };
        let at = self.at;
        self.check.before =
            is_known.then_some(Before { end: at.end(), position: at.position, time: at.time });
        // Beside a writer, a chunk may have grown and been sealed behind the end of what is
        // checked.
        let is_cut = self.check.limit.is_some_and(|limit| at.position >= limit);
        let end = match (&footer, next) {
            (Some(footer), _) => Some(footer.end_position()),
            (None, Next::Chunk(next)) => Some(next.first_position),
            (None, _) => is_known.then_some(at.position),
        };
        if let Some(end) = end.filter(|_| !is_cut) {
            let first = footer.as_ref().map_or(first, |footer| footer.first_position);
            let all = end.get().saturating_sub(first.get());
            self.note_uncounted(all.saturating_sub(self.check.events - counted));
        }
        match (&footer, next) {
            _ if is_cut => {}
            (Some(footer), _) => self.sealed(footer, next)?,
            (None, Next::Nothing) => {}
            (None, _) => self.unsealed()?,
        }
        self.check.bar.inc(self.pieces.size.saturating_sub(self.shown));
        Ok(())
    }

    fn note_uncounted(&mut self, hidden: u64) {
        if hidden > 0 {
            let events = show::counted(hidden, "event");
            self.check.uncounted += hidden;
            self.check.notes.push(format!(
                "{events} of chunk {} could not be counted: damage hides them",
                self.number
            ));
        }
    }

    /// The footer, when there is a sound one.
    fn footer(&mut self) -> io::Result<Option<Footer>> {
        let size = self.pieces.size;
        let Some(offset) = size.checked_sub(FOOTER_SIZE).filter(|at| *at >= CHUNK_HEADER_SIZE)
        else {
            return Ok(None);
        };
        let block = self.pieces.bytes(offset, FOOTER_SIZE)?;
        Ok(Footer::decode(&block).ok().filter(|footer| footer.file_size == size))
    }

    /// A chunk that is complete and has no sound footer. The keeper seals behind the writer's back,
    /// so that is no damage in itself; in a log that was closed, a block that is neither zero nor a
    /// footer was one.
    fn unsealed(&mut self) -> io::Result<()> {
        let offset = self.pieces.size.saturating_sub(FOOTER_SIZE).max(self.at.offset);
        let is_blank = self.pieces.is_zero(offset..self.pieces.size)?;
        let is_closed = self.check.hint.is_some_and(|hint| hint.clean);
        if !is_blank && is_closed && self.check.limit.is_none() {
            let flaw = "a sound footer of this chunk";
            let damage = Damage::new((self.number, offset), "footer", flaw, "other bytes");
            self.check.damaged(damage);
        } else if self.check.limit.is_none() {
            let note = format!("chunk {} is not sealed; the next open seals it", self.number);
            self.check.notes.push(note);
        }
        Ok(())
    }

    /// Walks all groups that end at or before `end`. Where nothing names the end, `open` tells
    /// whether the log ends here too. Whether the cursor stands behind the last group of the chunk
    /// then.
    fn groups(&mut self, end: u64, open: Option<bool>) -> io::Result<bool> {
        while self.at.offset < end {
            if self.check.limit.is_some_and(|limit| self.at.position >= limit) {
                return Ok(true);
            }
            let onward = match (self.pieces.group(self.salt, &self.at, end)?, open) {
                (Ok(group), _) => {
                    self.group(&group);
                    Onward::Yes
                }
                (Err(bad), Some(is_end_of_log)) => self.open_end(bad, is_end_of_log)?,
                (Err(bad), None) => self.past(bad, end)?,
            };
            match onward {
                Onward::Yes => {}
                Onward::End => return Ok(true),
                Onward::Lost => return Ok(false),
            }
            self.check.bar.inc(self.at.offset.saturating_sub(self.shown));
            self.shown = self.shown.max(self.at.offset);
        }
        Ok(true)
    }

    fn group(&mut self, group: &Group) {
        let header = &group.checked.header;
        let Self { check, number, salt, index, is_whole, first_time, .. } = self;
        let mut flaws = Vec::new();
        let versions = &mut check.versions;
        let visited = scan::visit_events(&group.body, *salt, &group.at, header, &mut |event| {
            let (stream, version) = (event.stream(), event.version());
            if let Err(expected) = versions.next(stream, version) {
                let what = "version in the stream";
                flaws.push(Damage::new((*number, event.offset), what, expected, version));
            }
            index.insert(&Entry {
                offset: u32::try_from(event.offset).unwrap_or(u32::MAX),
                stream,
                version,
                event_type: event.event_type(),
                tags: event.tags(),
                operation: event.operation(),
            });
        });
        if let Err((offset, flaw)) = visited {
            flaws.push(walk::event_damage((*number, offset), flaw));
            check.versions.lose();
            *is_whole = false;
        }
        flaws.into_iter().for_each(|flaw| check.damaged(flaw));
        check.durable = check.durable.max(header.durable_through);
        check.groups += 1;
        first_time.get_or_insert(header.time);
        check.events += u64::from(header.events);
        self.at = self.at.after(&group.checked);
    }

    /// Judges the place where the groups of a chunk cease whose end nothing names.
    fn open_end(&mut self, bad: BadGroup, is_end_of_log: bool) -> io::Result<Onward> {
        let Rest { garbage, group, durable } = self.pieces.rest(self.salt, self.at.offset)?;
        let position = self.at.position;
        if !is_end_of_log {
            // A damaged header behind this chunk is reported, and hides where this one ends.
            return if group.is_some() {
                self.past(bad, self.pieces.size)
            } else {
                Ok(Onward::Lost)
            };
        }
        let hinted = self.check.hint.map(|hint| hint.durable_through).unwrap_or_default();
        let seen = self.check.limit.unwrap_or_default();
        let durable = durable.max(self.check.durable).max(hinted).max(seen);
        match garbage {
            Some(_) if position < durable => self.past(bad, self.pieces.size),
            Some(garbage) => {
                let bytes = show::counted(garbage.end - garbage.start, "byte");
                self.check.notes.push(format!(
                    "chunk {} ends at offset {} with {bytes} of a write that was never acked; \
                     the next open takes them out and keeps them aside",
                    self.number, garbage.start
                ));
                Ok(Onward::End)
            }
            // The hint is compared with the end of the log, whichever chunk that lies in.
            None if position < durable && hinted <= position => {
                let place = (self.number, self.at.offset);
                let expected = format!("events up to position {durable}");
                self.check.damaged(Damage::new(place, "durable events", expected, "zeros"));
                Ok(Onward::Lost)
            }
            None => Ok(Onward::End),
        }
    }

    /// Reports a bad group and goes to the next sound one.
    fn past(&mut self, bad: BadGroup, end: u64) -> io::Result<Onward> {
        let offset = self.at.offset;
        let is_sound = bad.body;
        let (header, damage) = self.pieces.diagnose(self.salt, (self.number, offset), bad)?;
        for mut finding in damage {
            finding.position.get_or_insert(self.at.position);
            self.check.damaged(finding);
        }
        match header.map(|group| (group, group.header)) {
            // A group that is sound in itself counts as it stands: only its place in the chain is
            // wrong.
            Some((_, said)) if is_sound => {
                if (self.at.chain, self.at.position) != (said.previous_chain, said.first_position) {
                    self.lose();
                }
                self.at.chain = said.previous_chain;
                self.at.position = said.first_position;
                self.at.time = said.time;
            }
            Some((group, _)) => {
                self.lose();
                self.at = self.at.after(&group);
            }
            None => {
                self.lose();
                match self.pieces.resume(self.salt, offset + ALIGNMENT, end)? {
                    Some(at) => self.at = at,
                    None => return Ok(Onward::Lost),
                }
            }
        }
        Ok(Onward::Yes)
    }

    fn lose(&mut self) {
        self.is_whole = false;
        self.check.versions.lose();
    }
}
