//! Owns the short way through a sealed chunk: the proof that nothing at all is wrong with it.
//!
//! Promises: a chunk that is proved has no flaw that the long way would find. Where there is any
//! doubt it gives up and says nothing, and the long way, which reads the chunk once more, names
//! what is wrong. Memory: the sections of the chunk, a piece of its groups, and a number per
//! stream.

use std::io;
use std::sync::Arc;

use super::super::walk::Pieces;
use super::chunk::{Known, Shown, Task};
use super::sealed::read_table;
use super::streams::Runs;
use super::told::{Before, Counts, Told};
use crate::chunk::scan::{self, Cursor};
use crate::clock::Timestamp;
use crate::format::checksum::LogSalt;
use crate::format::footer::Footer;
use crate::format::header::ChunkHeader;
use crate::index::witness::Witness;

/// What the groups of a chunk say.
struct Groups {
    at: Cursor,
    counts: Counts,
    first: Option<(u64, Timestamp)>,
    witness: Witness,
}

/// Reads a sealed chunk whose header and footer are sound; `None` unless all of it is.
pub(super) fn prove(
    known: &Known,
    header: &ChunkHeader,
    footer: &Footer,
    task: &Task,
    shown: &mut Shown<'_>,
) -> io::Result<Option<Told>> {
    if known.limit.is_some_and(|limit| footer.end_position() > limit) {
        return Ok(None);
    }
    let mut pieces = Pieces::past_gaps(Arc::clone(&task.file))?;
    let Some(groups) = walk(header, footer, &mut pieces, shown)? else { return Ok(None) };
    if !is_footer_of(footer, header, &groups) || !are_gaps_zero(footer, &mut pieces)? {
        return Ok(None);
    }
    let Ok(table) = read_table(&mut pieces, footer)? else { return Ok(None) };
    let is_true = table.check().is_ok()
        && table.witness().is_ok_and(|witness| witness.is_of(&groups.witness));
    let Some(streams) = table.streams().ok().filter(|_| is_true) else { return Ok(None) };
    if pieces.has_gap(&(0..pieces.size)) {
        return Ok(None);
    }
    shown.all(pieces.size);
    let (end, position, time) = (groups.at.end(), groups.at.position, groups.at.time);
    Ok(Some(Told {
        number: task.number,
        header: Some(header.clone()),
        counts: Counts { chunks: 1, sealed: 1, bytes: pieces.size, ..groups.counts },
        first: groups.first,
        streams: Runs::proved(streams),
        is_sealed: true,
        end: Some(Before { end, position, time }),
        ..Told::default()
    }))
}

fn walk(
    header: &ChunkHeader,
    footer: &Footer,
    pieces: &mut Pieces,
    shown: &mut Shown<'_>,
) -> io::Result<Option<Groups>> {
    let salt = LogSalt::new(header.log).chunk(header.number);
    let (at, counts) = (Cursor::start(header), Counts::default());
    let mut groups = Groups { at, counts, first: None, witness: Witness::default() };
    let end = footer.end.data_end;
    let mut ordinal = 0_u32;
    while groups.at.offset < end {
        let Ok(group) = pieces.group(salt, &groups.at, end)? else { return Ok(None) };
        let head = &group.checked.header;
        let witness = &mut groups.witness;
        let visited = scan::visit_events(&group.body, salt, &group.at, head, &mut |event| {
            witness.event(ordinal, &event);
            ordinal = ordinal.saturating_add(1);
        });
        if visited.is_err() {
            return Ok(None);
        }
        groups.counts.groups += 1;
        groups.counts.events += u64::from(head.events);
        groups.first.get_or_insert((group.at.offset, head.time));
        groups.at = groups.at.after(&group.checked);
        shown.upto(groups.at.offset);
    }
    Ok(Some(groups))
}

fn is_footer_of(footer: &Footer, header: &ChunkHeader, groups: &Groups) -> bool {
    let (first, at) = (groups.first.map(|(_, time)| time), &groups.at);
    footer.log == header.log
        && footer.number == header.number
        && footer.first_position == header.first_position
        && footer.end == at.end()
        && u64::from(footer.ordinals) == groups.counts.events
        && first.is_none_or(|first| footer.first_time == first && footer.last_time == at.time)
}

/// What lies between groups, sections and footer is zero.
fn are_gaps_zero(footer: &Footer, pieces: &mut Pieces) -> io::Result<bool> {
    let mut behind = footer.end.data_end;
    for range in footer.parts() {
        if !pieces.is_zero(behind..range.start)? {
            return Ok(false);
        }
        behind = range.end;
    }
    Ok(true)
}
