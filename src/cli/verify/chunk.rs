//! Owns the verification of one chunk: its header, its groups and events, and where they end.
//!
//! Promises: goes on behind damage as soon as a sound group is found, and takes that group at its
//! word. Judges the end of the last chunk as recovery does: what was durable and is not whole is
//! damage, what was never acked is a torn end. Needs no other chunk, but for the header behind it.

use std::io;
use std::sync::Arc;

use indicatif::ProgressBar;
use uuid::Uuid;

use super::super::show;
use super::super::walk::{self, Group, Pieces, Rest};
use super::told::{Before, Told};
use crate::chunk::scan::{self, BadGroup, Cursor};
use crate::disk::DiskFile;
use crate::error::Damage;
use crate::format::checksum::{ChunkSalt, LogSalt};
use crate::format::footer::{FOOTER_SIZE, Footer};
use crate::format::header::ChunkHeader;
use crate::format::hint::Hint;
use crate::format::{ALIGNMENT, CHUNK_HEADER_SIZE};
use crate::index::memory::MemoryIndex;
use crate::position::{ChunkNumber, Position};

/// What is known of a log before its chunks are looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    pub(super) log: Option<Uuid>,
    pub(super) hint: Option<Hint>,
    /// Beside a writer: the end of what is checked.
    pub(super) limit: Option<Position>,
    /// Whether the chunk is looked at alone, without the rest of its log.
    pub(super) alone: bool,
}

/// One chunk that is to be verified.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) number: ChunkNumber,
    pub(super) next: Next,
}

/// What stands behind a chunk.
#[derive(Clone, Debug)]
pub(super) enum Next {
    /// Nothing: the log ends in it.
    Nothing,
    /// A chunk that says where this one ends.
    Chunk(ChunkHeader),
    /// A chunk whose header is damaged.
    Damaged,
}

/// What a look at one chunk comes to.
#[derive(Debug)]
pub(super) enum Look {
    /// All of it lies behind the end of what is checked.
    Beyond,
    /// Its header is damaged, so where it begins is for the chunks before to say.
    NeedsStart,
    Told(Box<Told>),
}

/// How much of a chunk is reported to the progress bar.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    bar: &'a ProgressBar,
    through: u64,
}

/// One chunk while it is verified.
pub(super) struct Walk<'a> {
    pub(super) known: &'a Known,
    pub(super) told: Told,
    pub(super) number: ChunkNumber,
    pub(super) pieces: Pieces,
    pub(super) salt: ChunkSalt,
    pub(super) at: Cursor,
    /// What the events that were found say that the index should hold; `None` where there is no
    /// index to compare.
    pub(super) index: Option<MemoryIndex>,
    /// Whether no damage has hidden an event of this chunk.
    pub(super) is_whole: bool,
    /// All events below were durable, as far as the groups say.
    durable: Position,
}

/// Looks at one chunk. `start` is the end of the chunk before, where that is known and asked for.
pub(super) fn look(
    known: &Known,
    task: &Task,
    start: Option<Option<Before>>,
    bar: &ProgressBar,
) -> Look {
    let mut shown = Shown { bar, through: 0 };
    let looked = look_at(known, task, start, &mut shown);
    looked.unwrap_or_else(|error| {
        // Errors of reads are gaps, so this is one of asking for the size.
        let mut told = Told { number: task.number, ..Told::default() };
        let place = (task.number, 0);
        told.damage.add(Damage::new(place, "bytes of the file", "readable", error));
        told.streams.lose();
        Look::Told(Box::new(told))
    })
}

fn look_at(
    known: &Known,
    task: &Task,
    start: Option<Option<Before>>,
    shown: &mut Shown<'_>,
) -> io::Result<Look> {
    let number = task.number;
    let mut pieces = Pieces::past_gaps(Arc::clone(&task.file))?;
    let mut told = Told { number, ..Told::default() };
    let block = pieces.bytes(0, CHUNK_HEADER_SIZE)?;
    let header = ChunkHeader::decode(&block);
    if header.is_err() && start.is_none() {
        return Ok(Look::NeedsStart);
    }
    let first = header.as_ref().ok().map(|header| header.first_position);
    let first = first.or(start.flatten().map(|before| before.position));
    if known.limit.zip(first).is_some_and(|(limit, first)| first >= limit) {
        return Ok(Look::Beyond);
    }
    told.counts.chunks = 1;
    told.counts.bytes = pieces.size;
    match header {
        Ok(header) => {
            told.is_foreign = !belongs(&mut told, known, &header, pieces.size);
            told.header = Some(header);
        }
        Err(_) if pieces.has_gap(&(0..CHUNK_HEADER_SIZE)) => {}
        Err(flaw) => told.damage.add(walk::header_damage(number, flaw)),
    }
    if told.is_foreign {
        shown.all(pieces.size);
        return Ok(ended(told, &pieces));
    }
    let footer = read_footer(&mut pieces)?;
    let log = told.header.as_ref().map(|header| header.log).or(known.log);
    let log = log.or(footer.as_ref().map(|footer| footer.log));
    let at = begin(told.header.as_ref(), start.flatten());
    let Some(salt) = log.map(|log| LogSalt::new(log).chunk(number)) else {
        told.streams.lose();
        told.notes.push(format!(
            "nothing tells the id of the log, so what stands behind the header of chunk {number} \
             cannot be checked"
        ));
        return Ok(ended(told, &pieces));
    };
    if let Some(footer) = &footer
        && let Some(header) = &told.header
        && told.damage.count == 0
        && let Some(proved) = super::proof::prove(known, header, footer, task, shown)?
    {
        return Ok(Look::Told(Box::new(proved)));
    }
    let is_whole = at.is_some();
    // Where nothing says how the chunk begins, its first group is taken at its word.
    let size = pieces.size;
    let at = match at {
        Some(at) => Some(at),
        None => pieces.resume(salt, CHUNK_HEADER_SIZE, size)?,
    };
    let index = footer.is_some().then(MemoryIndex::default);
    let durable = Position::START;
    let Some(at) = at else {
        told.streams.lose();
        return Ok(ended(told, &pieces));
    };
    let mut walk = Walk { known, told, number, pieces, salt, at, index, is_whole, durable };
    walk.all(&task.next, footer.as_ref(), shown)?;
    Ok(Look::Told(Box::new(walk.told)))
}

/// What is told of a chunk that cannot be walked, with what the disk did not give.
fn ended(mut told: Told, pieces: &Pieces) -> Look {
    pieces.gaps(told.number).into_iter().for_each(|gap| told.damage.add(gap));
    Look::Told(Box::new(told))
}

/// Where the first group of a chunk stands and what it must fit, as its header says, or the chunk
/// before where that is damaged.
fn begin(header: Option<&ChunkHeader>, before: Option<Before>) -> Option<Cursor> {
    header.map(Cursor::start).or(before.map(|before| Cursor {
        offset: CHUNK_HEADER_SIZE,
        chain: before.end.chain,
        position: before.position,
        time: before.time,
    }))
}

/// Whether a chunk is of this log and this place at all; what else is unfit is told too.
fn belongs(told: &mut Told, known: &Known, header: &ChunkHeader, size: u64) -> bool {
    let number = told.number;
    let mut unfit = |what, expected: String, found: String| {
        let is_unfit = expected != found;
        if is_unfit {
            told.damage.add(Damage::new((number, 0), what, expected, found));
        }
        is_unfit
    };
    let is_foreign =
        known.log.is_some_and(|log| unfit("log id", log.to_string(), header.log.to_string()))
            || unfit("chunk number", number.to_string(), header.number.to_string());
    if !is_foreign && size < header.capacity {
        let expected = format!("at least {}", header.capacity);
        unfit("size of the file", expected, size.to_string());
    }
    !is_foreign
}

/// The footer, when there is a sound one.
pub(super) fn read_footer(pieces: &mut Pieces) -> io::Result<Option<Footer>> {
    let size = pieces.size;
    let Some(offset) = size.checked_sub(FOOTER_SIZE).filter(|at| *at >= CHUNK_HEADER_SIZE) else {
        return Ok(None);
    };
    let block = pieces.bytes(offset, FOOTER_SIZE)?;
    Ok(Footer::decode(&block).ok().filter(|footer| footer.file_size == size))
}

impl Shown<'_> {
    /// Everything below `offset` is looked at.
    pub(super) fn upto(&mut self, offset: u64) {
        self.bar.inc(offset.saturating_sub(self.through));
        self.through = self.through.max(offset);
    }

    /// The whole chunk is looked at.
    pub(super) fn all(&mut self, size: u64) {
        self.upto(size);
    }
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
    fn all(
        &mut self,
        next: &Next,
        footer: Option<&Footer>,
        shown: &mut Shown<'_>,
    ) -> io::Result<()> {
        let first = self.at.position;
        let said = match (footer, next) {
            (Some(footer), _) => Some(footer.end),
            (None, Next::Chunk(next)) => Some(next.previous),
            (None, _) => None,
        };
        let is_known = match said {
            Some(end) => self.groups(end.data_end, None, shown)?,
            None => {
                let end = self.pieces.reach(self.told.header.as_ref());
                self.groups(end, Some(matches!(next, Next::Nothing)), shown)?
            }
        };
        let at = self.at;
        self.told.end =
            is_known.then_some(Before { end: at.end(), position: at.position, time: at.time });
        // Beside a writer, a chunk may have grown and been sealed behind the end of what is
        // checked.
        let is_cut = self.known.limit.is_some_and(|limit| at.position >= limit);
        let end = match (footer, next) {
            (Some(footer), _) => Some(footer.end_position()),
            (None, Next::Chunk(next)) => Some(next.first_position),
            (None, _) => is_known.then_some(at.position),
        };
        if let Some(end) = end.filter(|_| !is_cut) {
            let first = footer.map_or(first, |footer| footer.first_position);
            let all = end.get().saturating_sub(first.get());
            self.note_uncounted(all.saturating_sub(self.told.counts.events));
        }
        match (footer, next) {
            _ if is_cut => {}
            (Some(footer), _) => self.sealed(footer)?,
            (None, Next::Nothing) => self.behind_capacity()?,
            (None, _) => self.unsealed()?,
        }
        for gap in self.pieces.gaps(self.number) {
            self.told.damage.add(gap);
        }
        shown.all(self.pieces.size);
        Ok(())
    }

    /// The last chunk of a log is not sealed, so nothing writes behind its capacity.
    fn behind_capacity(&mut self) -> io::Result<()> {
        let is_asked = !self.known.alone && self.known.limit.is_none();
        let Some(header) = self.told.header.as_ref().filter(|_| is_asked) else { return Ok(()) };
        let capacity = header.capacity;
        if let Some(bytes) = self.pieces.garbage(capacity, self.pieces.size)? {
            let found = format!("other bytes up to offset {}", bytes.end);
            let what = "bytes behind the chunk's capacity";
            self.told.damage.add(Damage::new((self.number, capacity), what, "zeros", found));
        }
        Ok(())
    }

    fn note_uncounted(&mut self, hidden: u64) {
        if hidden > 0 {
            let events = show::counted(hidden, "event");
            self.told.counts.uncounted += hidden;
            self.told.notes.push(format!(
                "{events} of chunk {} could not be counted: damage hides them",
                self.number
            ));
        }
    }

    /// A chunk that is complete and has no sound footer. The keeper seals behind the writer's back,
    /// so that is no damage in itself; in a log that was closed, a block that is neither zero nor a
    /// footer was one.
    fn unsealed(&mut self) -> io::Result<()> {
        let offset = self.pieces.size.saturating_sub(FOOTER_SIZE).max(self.at.offset);
        let is_blank = self.pieces.is_zero(offset..self.pieces.size)?;
        if self.pieces.has_gap(&(offset..self.pieces.size)) {
            return Ok(());
        }
        let is_closed = self.known.hint.is_some_and(|hint| hint.clean);
        if !is_blank && is_closed && self.known.limit.is_none() {
            let flaw = "a sound footer of this chunk";
            let damage = Damage::new((self.number, offset), "footer", flaw, "other bytes");
            self.told.damage.add(damage);
        } else if self.known.limit.is_none() {
            let note = format!("chunk {} is not sealed; the next open seals it", self.number);
            self.told.notes.push(note);
        }
        Ok(())
    }

    /// Walks all groups that end at or before `end`. Where nothing names the end, `open` tells
    /// whether the log ends here too. Whether the cursor stands behind the last group of the chunk
    /// then.
    fn groups(&mut self, end: u64, open: Option<bool>, shown: &mut Shown<'_>) -> io::Result<bool> {
        while self.at.offset < end {
            if self.known.limit.is_some_and(|limit| self.at.position >= limit) {
                return Ok(true);
            }
            let onward = match (self.pieces.group(self.salt, &self.at, end)?, open) {
                (Ok(group), _) => {
                    self.group(&group);
                    Onward::Yes
                }
                (Err(bad), Some(is_end_of_log)) => self.open_end(bad, end, is_end_of_log)?,
                (Err(bad), None) => self.past(bad, end)?,
            };
            match onward {
                Onward::Yes => {}
                Onward::End => return Ok(true),
                Onward::Lost => return Ok(false),
            }
            shown.upto(self.at.offset);
        }
        Ok(true)
    }

    fn group(&mut self, group: &Group) {
        let header = &group.checked.header;
        let Self { told, number, salt, index, is_whole, .. } = self;
        let mut flaws = Vec::new();
        let streams = &mut told.streams;
        let visited = scan::visit_events(&group.body, *salt, &group.at, header, &mut |event| {
            let version = event.version();
            if let Err(expected) = streams.next(event.stream(), version, event.offset) {
                let what = "version in the stream";
                flaws.push(Damage::new((*number, event.offset), what, expected, version));
            }
            if let Some(index) = index {
                index.insert_event(&event);
            }
        });
        if let Err((offset, flaw)) = visited {
            flaws.push(walk::event_damage((*number, offset), flaw));
            told.streams.lose();
            *is_whole = false;
        }
        flaws.into_iter().for_each(|flaw| told.damage.add(flaw));
        self.durable = self.durable.max(header.durable_through);
        told.counts.groups += 1;
        told.first.get_or_insert((group.at.offset, header.time));
        told.counts.events += u64::from(header.events);
        self.at = self.at.after(&group.checked);
    }

    /// Judges the place where the groups of a chunk cease whose end nothing names.
    fn open_end(&mut self, bad: BadGroup, end: u64, is_end_of_log: bool) -> io::Result<Onward> {
        let Rest { garbage, group, durable } = self.pieces.rest(self.salt, self.at.offset, end)?;
        let position = self.at.position;
        if !is_end_of_log {
            // A damaged header behind this chunk is reported, and hides where this one ends.
            return if group.is_some() { self.past(bad, end) } else { Ok(Onward::Lost) };
        }
        let hinted = self.known.hint.map(|hint| hint.durable_through).unwrap_or_default();
        let seen = self.known.limit.unwrap_or_default();
        let durable = durable.max(self.durable).max(hinted).max(seen);
        match garbage {
            Some(_) if position < durable => self.past(bad, end),
            Some(garbage) => {
                let bytes = show::counted(garbage.end - garbage.start, "byte");
                let (number, start) = (self.number, garbage.start);
                self.told.notes.push(if self.known.alone {
                    format!(
                        "chunk {number} ends at offset {start}; {bytes} behind it are of a write \
                         in progress, or the torn end of one, as far as it tells alone"
                    )
                } else {
                    format!(
                        "chunk {number} ends at offset {start} with {bytes} of a write that was \
                         never acked; the next open takes them out and keeps them aside"
                    )
                });
                Ok(Onward::End)
            }
            // The hint is compared with the end of the log, whichever chunk that lies in.
            None if position < durable && hinted <= position => {
                let place = (self.number, self.at.offset);
                let expected = format!("events up to position {durable}");
                self.told.damage.add(Damage::new(place, "durable events", expected, "zeros"));
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
        let length = header.map_or(ALIGNMENT, |group| group.header.length());
        // What is zero because it could not be read is told as just that.
        if !self.pieces.has_gap(&(offset..offset + length)) {
            for mut finding in damage {
                finding.position.get_or_insert(self.at.position);
                self.told.damage.add(finding);
            }
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
        self.told.streams.lose();
    }
}
