//! Owns the plan: from what is known of a log to the steps that make it sound again. Pure: values
//! in, values out.
//!
//! Promises: what can be made again from the events is made again, and only what cannot be is cut.
//! A sound log gets no step. Before the last step each state of the files is refused by opening, or
//! sound; so the order of the steps matters. Never keeps an event behind one that is gone, because
//! positions have no gaps.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::survey::{Block, FileFacts, Survey};
use crate::chunk::file_name;
use crate::chunk::scan::Cursor;
use crate::clock::Timestamp;
use crate::format::CHUNK_HEADER_SIZE;
use crate::format::footer::Footer;
use crate::format::header::{ChainEnd, ChunkHeader};
use crate::format::hint::Hint;
use crate::options::{CHUNK_SIZE_DEFAULT, CHUNK_SIZE_MAX};
use crate::position::{ChunkNumber, Position};

/// One change of the files. What it removes or overwrites is kept aside first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A file that is not of this log, or not at this place of it, gets a name that says so.
    Aside { name: String, why: &'static str },
    /// The file of a chunk gets the name that its header asks for.
    Move { from: ChunkNumber, to: ChunkNumber },
    /// The header is made again, from the chunk before and the first group.
    Header { header: ChunkHeader },
    /// A file that was cut short behind its groups gets its full size.
    Resize { chunk: ChunkNumber, size: u64 },
    /// Sections and footer, from `from` on, are taken out, and made again from the events.
    Index { chunk: ChunkNumber, from: u64 },
    /// The groups from `from` on are taken out: the log ends there.
    Cut { chunk: ChunkNumber, from: u64 },
    /// What stands behind the capacity of the last chunk is taken out. No event can stand there.
    Behind { chunk: ChunkNumber, from: u64 },
    /// A chunk without events takes the place of one that is gone: the log ends there.
    Begin { header: ChunkHeader },
    /// The hint is told that the log is durable up to less than it says.
    Lower { hint: Hint },
}

/// What repair would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// What the steps take out of the log; `None` where they take out nothing.
    pub(super) loss: Option<Loss>,
    /// Why the log cannot be repaired. There are no steps then.
    pub(super) impossible: Option<Impossible>,
    /// Where events behind the damage stand.
    pub(super) sources: Vec<Source>,
}

/// Events that leave the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    /// Where the log will end.
    pub(super) from: Position,
    /// Up to where events are known to have been there; below `from` where that is unknown.
    pub(super) known: Position,
}

/// Why a log cannot be repaired in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Impossible {
    /// Nothing names the log's id, without which no checksum can be checked.
    Unknown,
    /// The damage is at the very start.
    NothingToKeep,
}

/// Groups of a chunk, from an offset on, in a file that may be named for another chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) file: ChunkNumber,
    pub(super) chunk: ChunkNumber,
    pub(super) from: u64,
    /// The position of the first event, where the groups before tell it.
    pub(super) position: Option<Position>,
}

/// A chunk's file where it belongs.
#[derive(Clone, Copy)]
struct Placed<'a> {
    file: ChunkNumber,
    facts: &'a FileFacts,
}

/// Where the log's sound part ends.
struct End {
    end: ChainEnd,
    position: Position,
    time: Timestamp,
}

struct Planner<'a> {
    survey: &'a Survey,
    log: Uuid,
    chunks: BTreeMap<ChunkNumber, Placed<'a>>,
    plan: Plan,
}

/// The plan for a log.
pub(super) fn plan(survey: &Survey) -> Plan {
    let Some(log) = survey.log else {
        return Plan { impossible: Some(Impossible::Unknown), ..Plan::default() };
    };
    let (chunks, plan) = (BTreeMap::new(), Plan::default());
    let mut planner = Planner { survey, log, chunks, plan };
    planner.place();
    planner.walk();
    if planner.plan.impossible.is_some() {
        planner.plan.steps.clear();
        return planner.plan;
    }
    let odd = survey.odd.iter();
    planner.plan.steps.extend(odd.map(|name| Step::Aside {
        name: (*name).to_owned(),
        why: "it holds nothing that a log leaves there; the next opening makes it anew",
    }));
    planner.plan
}

/// All groups of the log, wherever their files are, for a log of its own.
pub(super) fn everything(survey: &Survey) -> Vec<Source> {
    let Some(log) = survey.log else { return Vec::new() };
    let (chunks, plan) = (BTreeMap::new(), Plan::default());
    let mut planner = Planner { survey, log, chunks, plan };
    planner.place();
    planner.sources(ChunkNumber::FIRST, CHUNK_HEADER_SIZE, Position::START)
}

impl<'a> Planner<'a> {
    /// Finds for each chunk its file, by what the headers say; what has no place is set aside.
    fn place(&mut self) {
        let mut moved: Vec<(ChunkNumber, ChunkNumber)> = Vec::new();
        let mut blanks = Vec::new();
        for (number, facts) in &self.survey.files {
            match &facts.block {
                Block::Blank if !self.has_durable_groups(facts) => blanks.push((*number, facts)),
                Block::Sound(header) if header.log != self.log => {
                    self.aside(*number, "it is of another log");
                }
                Block::Sound(header) if header.number != *number => {
                    moved.push((*number, header.number));
                }
                _ => {
                    self.chunks.insert(*number, Placed { file: *number, facts });
                }
            }
        }
        moved.retain(|(file, number)| {
            let facts = &self.survey.files[file];
            let is_free = !self.chunks.contains_key(number);
            if is_free {
                self.chunks.insert(*number, Placed { file: *file, facts });
            } else {
                self.aside(*file, "it is a copy of another chunk");
            }
            is_free
        });
        let next = self.chunks.keys().next_back().map_or(ChunkNumber::FIRST, |last| last.next());
        for (number, facts) in blanks {
            if self.chunks.contains_key(&number) || number > next {
                self.aside(number, "it is empty and lies in the way");
            } else if number < next {
                self.chunks.insert(number, Placed { file: number, facts });
            } else if facts.size > CHUNK_SIZE_MAX {
                self.aside(number, "it is larger than a chunk may be, and empty");
            }
        }
        self.moves(moved);
    }

    fn aside(&mut self, number: ChunkNumber, why: &'static str) {
        self.plan.steps.push(Step::Aside { name: file_name(number), why });
    }

    /// Whether groups stand in a file without a header that were durable.
    fn has_durable_groups(&self, facts: &FileFacts) -> bool {
        let hinted = self.survey.hint.map(|hint| hint.durable_through).unwrap_or_default();
        let groups = facts.groups.as_ref();
        groups.is_some_and(|groups| groups.durable.max(hinted) > groups.start.position)
    }

    /// Orders renames so that each finds its new name free; a circle is opened by a name behind the
    /// last, from which a second repair would find the way too.
    fn moves(&mut self, mut moved: Vec<(ChunkNumber, ChunkNumber)>) {
        let is_aside = |name: &ChunkNumber| {
            let name = file_name(*name);
            let is_it = |step: &Step| matches!(step, Step::Aside { name: it, .. } if *it == name);
            self.plan.steps.iter().any(is_it)
        };
        let names = self.survey.files.keys().copied();
        let mut taken: BTreeSet<_> = names.filter(|name| !is_aside(name)).collect();
        while let Some(first) = moved.first().copied() {
            let free = moved.iter().position(|(_, to)| !taken.contains(to));
            let (from, to) = match free {
                Some(index) => moved.remove(index),
                None => {
                    let behind = taken.last().map_or(ChunkNumber::FIRST, |last| last.next());
                    moved[0].0 = behind;
                    (first.0, behind)
                }
            };
            taken.remove(&from);
            taken.insert(to);
            self.plan.steps.push(Step::Move { from, to });
        }
    }

    /// Follows the chain from the start of the log as far as it is sound.
    fn walk(&mut self) {
        let mut before =
            End { end: ChainEnd::default(), position: Position::START, time: Timestamp::default() };
        let Some(last) = self.chunks.keys().next_back().copied() else {
            self.plan.impossible = Some(Impossible::NothingToKeep);
            return;
        };
        let mut number = ChunkNumber::FIRST;
        loop {
            let Some(placed) = self.chunks.get(&number).copied() else {
                return self.cut_before(number, &before);
            };
            let Some(header) = self.header(number, placed, &before, number == last) else {
                return self.cut_before(number, &before);
            };
            let Some(groups) = &placed.facts.groups else {
                return self.cut_before(number, &before);
            };
            let is_whole = self.is_full(number, placed) || number == last && self.is_end(placed);
            if !is_whole {
                return self.cut_within(number, groups.end);
            }
            self.rebuild(number, placed, &header, number == last);
            let end = groups.end;
            before = End { end: end.end(), position: end.position, time: end.time };
            if number == last {
                if self.footer(number, placed).is_some() {
                    // A chunk is sealed only when the one behind it holds durable events.
                    self.cut_before(number.next(), &before);
                }
                return;
            }
            number = number.next();
        }
    }

    /// The header of a chunk, when it has one that continues the chunk before, or one can be made.
    fn header(
        &mut self,
        number: ChunkNumber,
        placed: Placed<'_>,
        before: &End,
        is_last: bool,
    ) -> Option<ChunkHeader> {
        if let Block::Sound(header) = &placed.facts.block {
            let fits = (header.previous, header.first_position) == (before.end, before.position);
            return fits.then(|| header.clone());
        }
        let groups = placed.facts.groups.as_ref()?;
        if (groups.start.chain, groups.start.position) != (before.end.chain, before.position) {
            return None;
        }
        let size = placed.facts.size;
        let whole = size.min(CHUNK_SIZE_MAX) / CHUNK_HEADER_SIZE * CHUNK_HEADER_SIZE;
        // An active chunk's file is as long as its capacity, a sealed one's may be longer.
        let usual = self.capacity().filter(|usual| !is_last && *usual <= size);
        let capacity = usual.filter(|usual| *usual >= groups.end.offset).unwrap_or(whole);
        // Recovery looks at nothing behind the capacity, so all groups stand below it. A file that
        // was cut short behind them grows again.
        let capacity = capacity.max(groups.end.offset.next_multiple_of(CHUNK_HEADER_SIZE));
        if capacity > CHUNK_SIZE_MAX {
            return None;
        }
        let header = ChunkHeader {
            log: self.log,
            number,
            first_position: before.position,
            capacity,
            previous: before.end,
            created: groups.first_time,
        };
        self.plan.steps.push(Step::Header { header: header.clone() });
        Some(header)
    }

    /// The capacity that chunks of this log have.
    fn capacity(&self) -> Option<u64> {
        self.chunks.values().rev().find_map(|placed| match &placed.facts.block {
            Block::Sound(header) => Some(header.capacity),
            _ => None,
        })
    }

    /// The footer of a chunk, when it tells the truth about the groups.
    fn footer(&self, number: ChunkNumber, placed: Placed<'a>) -> Option<&'a Footer> {
        let groups = placed.facts.groups.as_ref()?;
        placed.facts.footer.as_ref().filter(|footer| {
            footer.log == self.log
                && footer.number == number
                && footer.first_position == groups.start.position
                && (footer.end, footer.end_position()) == (groups.end.end(), groups.end.position)
        })
    }

    /// Whether all groups of a chunk before the last are sound: its footer or the next chunk says
    /// where they end.
    fn is_full(&self, number: ChunkNumber, placed: Placed<'a>) -> bool {
        let Some(groups) = &placed.facts.groups else { return false };
        let (end, position) = (groups.end.end(), groups.end.position);
        if self.footer(number, placed).is_some() {
            return true;
        }
        let Some(next) = self.chunks.get(&number.next()) else { return false };
        match (&next.facts.block, &next.facts.groups) {
            (Block::Sound(header), _) => {
                (header.previous, header.first_position) == (end, position)
            }
            (_, Some(next)) => (next.start.chain, next.start.position) == (end.chain, position),
            (_, None) => false,
        }
    }

    /// Whether nothing that was durable is missing behind the groups of the last chunk: the rule of
    /// recovery (R6).
    fn is_end(&self, placed: Placed<'_>) -> bool {
        let Some(groups) = &placed.facts.groups else { return false };
        groups.end.position >= self.durable(placed.facts)
    }

    fn durable(&self, facts: &FileFacts) -> Position {
        let hinted = self.survey.hint.map(|hint| hint.durable_through).unwrap_or_default();
        let groups = facts.groups.as_ref().map(|groups| groups.durable).unwrap_or_default();
        // Only durable chunks are sealed.
        let footer = facts.footer.as_ref().filter(|footer| footer.log == self.log);
        hinted.max(groups).max(footer.map(Footer::end_position).unwrap_or_default())
    }

    /// What can be made again of a chunk whose groups are sound.
    fn rebuild(
        &mut self,
        number: ChunkNumber,
        placed: Placed<'a>,
        header: &ChunkHeader,
        is_last: bool,
    ) {
        let Some(groups) = &placed.facts.groups else { return };
        if placed.facts.size < header.capacity {
            self.plan.steps.push(Step::Resize { chunk: number, size: header.capacity });
        }
        if is_last && placed.facts.data_end > header.capacity {
            self.plan.steps.push(Step::Behind { chunk: number, from: header.capacity });
        }
        let is_wrong = placed.facts.footer.is_some() && self.footer(number, placed).is_none();
        if !is_last && (is_wrong || placed.facts.is_index_damaged) {
            let from = groups.end.offset;
            self.plan.steps.push(Step::Index { chunk: number, from });
        }
    }

    /// Ends the log within a chunk.
    fn cut_within(&mut self, number: ChunkNumber, at: Cursor) {
        if self.is_nothing_left(number, at.offset, at.position) {
            return;
        }
        self.clear_behind(number);
        let facts = self.chunks[&number].facts;
        if facts.groups.as_ref().is_some_and(|groups| groups.garbage) {
            self.plan.steps.push(Step::Cut { chunk: number, from: at.offset });
        }
        if let Block::Sound(header) = &facts.block
            && facts.size < header.capacity
        {
            self.plan.steps.push(Step::Resize { chunk: number, size: header.capacity });
        }
        self.lower(number, &at);
    }

    /// Ends the log before a chunk, which begins anew: the one before it may be sealed, and then
    /// there must be one behind it.
    fn cut_before(&mut self, number: ChunkNumber, before: &End) {
        if self.is_nothing_left(number, CHUNK_HEADER_SIZE, before.position) {
            return;
        }
        if self.chunks.contains_key(&number) {
            self.aside(number, "its start is damaged, or does not follow the chunk before");
        } else if self.is_there(number) {
            self.aside(number, "it is empty, where a chunk should be");
        }
        self.clear_behind(number);
        let header = ChunkHeader {
            log: self.log,
            number,
            first_position: before.position,
            capacity: self.capacity().unwrap_or(CHUNK_SIZE_DEFAULT),
            previous: before.end,
            created: before.time,
        };
        let at = Cursor::start(&header);
        self.plan.steps.push(Step::Begin { header });
        self.lower(number, &at);
    }

    /// Notes what is lost by a cut, and whether that is everything.
    fn is_nothing_left(&mut self, number: ChunkNumber, offset: u64, position: Position) -> bool {
        self.plan.sources = self.sources(number, offset, position);
        let files = self.chunks.range(number..).map(|(_, placed)| {
            let seen = placed.facts.groups.as_ref().map(|groups| groups.seen).unwrap_or_default();
            self.durable(placed.facts).max(seen)
        });
        let hinted = self.survey.hint.map(|hint| hint.durable_through).unwrap_or_default();
        let known = files.max().unwrap_or_default().max(hinted);
        self.plan.loss = Some(Loss { from: position, known });
        let is_nothing = position == Position::START;
        if is_nothing {
            self.plan.impossible = Some(Impossible::NothingToKeep);
        }
        is_nothing
    }

    fn sources(&self, number: ChunkNumber, offset: u64, position: Position) -> Vec<Source> {
        let files = self.chunks.range(number..).map(|(chunk, placed)| {
            let is_first = *chunk == number;
            let from = if is_first { offset } else { CHUNK_HEADER_SIZE };
            let known = match &placed.facts.block {
                Block::Sound(header) => Some(header.first_position),
                _ => None,
            };
            let position = match known {
                Some(known) if !is_first || offset == CHUNK_HEADER_SIZE => Some(known),
                _ => is_first.then_some(position),
            };
            Source { file: placed.file, chunk: *chunk, from, position }
        });
        files.collect()
    }

    /// Sets all chunks behind the new last one aside, from the first on, so that a gap keeps the
    /// log closed until all are gone. The file that lies ready for the next chunk may stay.
    fn clear_behind(&mut self, last: ChunkNumber) {
        let placed = self.chunks.range(last.next()..).map(|(number, _)| *number);
        let ready = last.next().next();
        let blank = self.survey.files.range(ready..).map(|(number, _)| *number);
        let blank = blank.filter(|number| self.is_there(*number));
        let behind: BTreeSet<_> = placed.chain(blank).collect();
        for number in behind {
            let why = match self.chunks.contains_key(&number) {
                true => "it stands behind the new end of the log",
                false => "it is empty, and stands behind the new end of the log",
            };
            self.aside(number, why);
        }
    }

    /// Whether an empty file of this name is still there when the files of all chunks have their
    /// names.
    fn is_there(&self, number: ChunkNumber) -> bool {
        let is_gone = |step: &Step| match step {
            Step::Aside { name, .. } => *name == file_name(number),
            Step::Move { from, .. } => *from == number,
            _ => false,
        };
        self.survey.files.contains_key(&number)
            && !self.chunks.contains_key(&number)
            && !self.plan.steps.iter().any(is_gone)
    }

    fn lower(&mut self, chunk: ChunkNumber, at: &Cursor) {
        let Some(hint) = self.survey.hint else { return };
        if hint.durable_through <= at.position && hint.chunk <= chunk {
            return;
        }
        let hint = Hint {
            sequence: hint.sequence.saturating_add(1),
            durable_through: at.position,
            chunk,
            end: at.end(),
            clean: false,
            ..hint
        };
        self.plan.steps.push(Step::Lower { hint });
    }
}
