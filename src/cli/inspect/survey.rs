//! Owns the survey of a chunk file: its facts, its groups, its sections, and what is damaged.
//!
//! Promises: one walk over all groups, past damage. Each damaged place is shown with the bytes
//! around it, the first ones at least.

use std::io;
use std::ops::Range;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::CliError;
use super::super::show::{self, Output};
use super::super::walk::{self, Finding, Group};
use super::Chunk;
use super::spot::Spot;
use crate::chunk::scan::{self, BadGroup, Cursor};
use crate::error::Damage;
use crate::format::VERSION;
use crate::format::footer::{Footer, Section};
use crate::position::ChunkNumber;

/// Rows of the list of groups that are laid out together.
const PAGE: usize = 500;
/// Damaged places that are shown with their bytes; more are only named.
const SPOTS_MAX: usize = 10;

/// What the walk over all groups finds.
#[derive(Default)]
struct Survey {
    groups: u64,
    appends: u64,
    events: u64,
    end: Option<Cursor>,
    damage: Vec<Finding>,
    sections: Vec<Part>,
    /// Bytes behind the last group that are no group and may yet become one.
    unfinished: Option<String>,
}

/// A section with what its checksum says.
#[derive(Serialize)]
struct Part {
    kind: u32,
    name: String,
    offset: u64,
    length: u64,
    checksum: u32,
    sound: bool,
}

impl Chunk {
    /// Prints what the file holds. Whether all of it is sound.
    pub(super) fn show(
        &mut self,
        list: bool,
        json: bool,
        output: &mut Output,
        reading: &dyn Fn(io::Error) -> CliError,
    ) -> Result<bool, CliError> {
        let mut survey = Survey::default();
        survey.damage.extend(self.header_damage.clone().map(Finding::from));
        let mut page = Vec::new();
        let mut at = Some(Cursor::start(&self.header));
        let mut is_first = true;
        while let Some(place) = at {
            let (next, row) = self.step(&place, &mut survey).map_err(reading)?;
            at = next;
            page.extend(row.filter(|_| list));
            if page.len() == PAGE || (at.is_none() && list) {
                print_groups(&page, is_first, json, output)?;
                is_first = false;
                page.clear();
            }
        }
        survey.damage.extend(self.footer.as_ref().err().cloned().map(Finding::from));
        self.behind_capacity(&mut survey).map_err(reading)?;
        if let Ok(Some(footer)) = self.footer.clone() {
            self.sections(&footer, &mut survey).map_err(reading)?;
        }
        survey.damage.extend(self.pieces.gaps(self.header.number));
        let mut spots = Vec::new();
        for damage in survey.damage.iter().take(SPOTS_MAX) {
            spots.push(self.spot(damage.damage.offset).map_err(reading)?);
        }
        match (list, json) {
            (true, true) => {}
            (false, true) => output.json(&self.json(&survey, &spots))?,
            (_, false) => self.print(list, &survey, &spots, output)?,
        }
        Ok(survey.damage.is_empty())
    }

    /// Notes what stands behind the capacity of a chunk that is not sealed. Sealing writes there,
    /// so alone it is no damage.
    fn behind_capacity(&mut self, survey: &mut Survey) -> io::Result<()> {
        let capacity = self.header.capacity;
        if self.header_damage.is_some() || !matches!(self.footer, Ok(None)) {
            return Ok(());
        }
        if let Some(bytes) = self.pieces.garbage(capacity, self.pieces.size)? {
            survey.unfinished.get_or_insert(format!(
                "bytes that are not zero stand behind the capacity, from {} to {}: no event can \
                 stand there, and recovery does not look",
                show::count(capacity),
                show::count(bytes.end)
            ));
        }
        Ok(())
    }

    fn print(
        &self,
        list: bool,
        survey: &Survey,
        spots: &[Spot],
        output: &mut Output,
    ) -> Result<(), CliError> {
        if !list {
            output.table(&show::facts(self.facts(survey)))?;
            if let Ok(Some(footer)) = &self.footer {
                print_sections(footer, survey, output)?;
            }
        }
        let mut spots = spots.iter();
        for damage in &survey.damage {
            output.line(format_args!("damage: {damage}"))?;
            if let Some(spot) = spots.next() {
                spot.print(output)?;
                output.line("")?;
            }
        }
        if let Some(unfinished) = &survey.unfinished {
            output.line(format_args!("note: {unfinished}"))?;
        }
        Ok(())
    }

    fn json(&self, survey: &Survey, spots: &[Spot]) -> Value {
        let end = survey.end.unwrap_or(Cursor::start(&self.header));
        let is_known = self.header_damage.is_none();
        let header = &self.header;
        let mut spots = spots.iter();
        let damage = survey.damage.iter().map(|it| {
            json!({
                "offset": it.damage.offset,
                "what": it.damage.what,
                "expected": it.damage.expected,
                "found": it.damage.found,
                "position": it.position.map(crate::Position::get),
                "spot": spots.next(),
            })
        });
        json!({
            "log": header.log.to_string(),
            "chunk": header.number.get(),
            "state": self.state(),
            "created": is_known.then(|| show::exact_time(header.created)),
            "capacity": is_known.then_some(header.capacity),
            "file_size": self.pieces.size,
            "previous_data_end": is_known.then_some(header.previous.data_end),
            "previous_chain": is_known.then(|| hex64(header.previous.chain)),
            "groups": survey.groups,
            "appends": survey.appends,
            "events": survey.events,
            "first_position": header.first_position.get(),
            "end_position": end.position.get(),
            "data_end": end.offset,
            "chain": hex64(end.chain),
            "sections": survey.sections,
            "damage": damage.collect::<Vec<_>>(),
            "note": survey.unfinished,
        })
    }

    /// Takes the group at `at` into the survey: where the next one stands, and the row of this one.
    fn step(
        &mut self,
        at: &Cursor,
        survey: &mut Survey,
    ) -> io::Result<(Option<Cursor>, Option<Row>)> {
        let end = match &self.footer {
            Ok(Some(footer)) => footer.end.data_end,
            // Recovery looks at nothing behind the capacity, where that is known.
            _ => self.pieces.reach(self.header_damage.is_none().then_some(&self.header)),
        };
        survey.end = Some(*at);
        if at.offset >= end {
            return Ok((None, None));
        }
        match self.pieces.group(self.salt, at, end)? {
            Ok(group) => {
                self.events(&group, survey);
                Ok((Some(at.after(&group.checked)), Some(row(&group))))
            }
            Err(bad) => {
                let rest = self.pieces.rest(self.salt, at.offset, end)?;
                let is_sealed = matches!(self.footer, Ok(Some(_)));
                if !is_sealed && rest.garbage.is_none() {
                    return Ok((None, None));
                }
                // What was durable says so further on; else this may be the end of the log.
                if !is_sealed && rest.durable <= at.position {
                    survey.unfinished = Some(unfinished(at, &bad, rest.garbage));
                    return Ok((None, None));
                }
                let place = (self.header.number, at.offset);
                let (header, damage) = self.pieces.diagnose(self.salt, place, bad)?;
                let length = header.map_or(8, |group| group.header.length());
                // What could not be read is told as just that.
                if !self.pieces.has_gap(&(at.offset..at.offset + length)) {
                    survey.damage.extend(damage);
                }
                let next = match header {
                    Some(group) => Some(at.after(&group)),
                    None => self.pieces.resume(self.salt, at.offset + 8, end)?,
                };
                Ok((next, None))
            }
        }
    }

    fn events(&self, group: &Group, survey: &mut Survey) {
        let header = &group.checked.header;
        survey.groups += 1;
        survey.appends += u64::from(header.appends);
        survey.events += u64::from(header.events);
        let visited = scan::visit_events(&group.body, self.salt, &group.at, header, &mut |_| {});
        if let Err((offset, flaw)) = visited {
            survey.damage.push(walk::event_damage((self.header.number, offset), flaw).into());
        }
    }

    fn facts(&self, survey: &Survey) -> Vec<(&'static str, String)> {
        let header = &self.header;
        let end = survey.end.unwrap_or(Cursor::start(header));
        let events = match end.position.since(header.first_position) {
            0 => "none".to_owned(),
            all => format!(
                "{}, positions {} to {}",
                show::count(all),
                show::count(header.first_position.get()),
                show::count(end.position.get() - 1)
            ),
        };
        let known = |text: String| match self.header_damage {
            None => text,
            Some(_) => "unknown: the header is damaged".to_owned(),
        };
        vec![
            ("log id", header.log.to_string()),
            ("format version", VERSION.to_string()),
            ("chunk", show::count(header.number.get())),
            ("state", self.state()),
            ("created", known(show::time(header.created))),
            ("capacity", known(show::size(header.capacity))),
            (
                "file size",
                format!(
                    "{} ({} bytes)",
                    show::size(self.pieces.size),
                    show::count(self.pieces.size)
                ),
            ),
            (
                "chunk before",
                match header.number {
                    ChunkNumber::FIRST => "none".to_owned(),
                    _ => known(format!(
                        "ends at offset {}, chain {}",
                        show::count(header.previous.data_end),
                        hex64(header.previous.chain)
                    )),
                },
            ),
            (
                "groups",
                format!(
                    "{} of {}",
                    show::count(survey.groups),
                    show::counted(survey.appends, "append")
                ),
            ),
            ("events", events),
            (
                "ends",
                format!(
                    "at offset {} ({} full), chain {}",
                    show::count(end.offset),
                    show::percent(end.offset, header.capacity),
                    hex64(end.chain)
                ),
            ),
            (
                "last written",
                if survey.groups == 0 { "-".to_owned() } else { show::time(end.time) },
            ),
        ]
    }

    fn state(&self) -> String {
        match &self.footer {
            Ok(Some(_)) => "sealed".to_owned(),
            Ok(None) => "active, or waiting to be sealed".to_owned(),
            Err(_) => "sealed, with a damaged footer".to_owned(),
        }
    }

    /// Takes the sections into the survey, with what their checksums say.
    fn sections(&mut self, footer: &Footer, survey: &mut Survey) -> io::Result<()> {
        for section in &footer.sections {
            let bytes = self.pieces.bytes(section.offset, section.length)?;
            let checksum = self.salt.at_place(section.offset, &bytes);
            let has_gap = self.pieces.has_gap(&(section.offset..section.end()));
            let sound = checksum == section.checksum && !has_gap;
            if !sound && !has_gap {
                let [expected, found] =
                    [checksum, section.checksum].map(|checksum| format!("{checksum:#010x}"));
                let place = (self.header.number, section.offset);
                let damage = Damage::new(place, "section checksum", expected, found);
                survey.damage.push(damage.into());
            }
            survey.sections.push(Part {
                kind: section.kind,
                name: section_name(section),
                offset: section.offset,
                length: section.length,
                checksum: section.checksum,
                sound,
            });
        }
        Ok(())
    }
}

fn print_sections(footer: &Footer, survey: &Survey, output: &mut Output) -> Result<(), CliError> {
    let mut table = show::table(["SECTION", ">OFFSET", ">BYTES", "CHECKSUM"]);
    for part in &survey.sections {
        let verdict = if part.sound { "sound" } else { "DAMAGED" };
        table.add_row([
            part.name.clone(),
            show::count(part.offset),
            show::count(part.length),
            format!("{:#010x} {verdict}", part.checksum),
        ]);
    }
    output.line(format_args!(
        "\nfooter: {}, {}, from {} to {}",
        show::counted(footer.ordinals.into(), "event"),
        show::counted(footer.keys.into(), "key"),
        show::time(footer.first_time),
        show::time(footer.last_time)
    ))?;
    output.table(&table)
}

fn hex64(chain: u64) -> String {
    format!("{chain:#018x}")
}

fn unfinished(at: &Cursor, bad: &BadGroup, garbage: Option<Range<u64>>) -> String {
    let bytes = garbage.map_or(0, |garbage| garbage.end - garbage.start);
    format!(
        "{} at offset {} are no sound group ({}: expected {}, found {}): a write in progress, or \
         the torn end of one; `paperchase verify` on the log tells which",
        show::counted(bytes, "byte"),
        show::count(at.offset),
        bad.what,
        bad.expected,
        bad.found
    )
}

pub(super) fn section_name(section: &Section) -> String {
    let names = ["offsets", "keys", "names", "postings", "filter", "operations"];
    let index = usize::try_from(section.kind).unwrap_or(usize::MAX);
    match index.checked_sub(1).and_then(|index| names.get(index)) {
        Some(name) => (*name).to_owned(),
        None => format!("unknown kind {}", section.kind),
    }
}

/// A group in the list of them.
#[derive(Clone, Serialize)]
struct Row {
    offset: u64,
    first_position: u64,
    events: u32,
    appends: u32,
    bytes: u32,
    durable_through: u64,
    time: String,
    chain: String,
}

fn row(group: &Group) -> Row {
    let header = &group.checked.header;
    Row {
        offset: group.at.offset,
        first_position: header.first_position.get(),
        events: header.events,
        appends: header.appends,
        bytes: header.body_length,
        durable_through: header.durable_through.get(),
        time: show::time(header.time),
        chain: hex64(group.checked.chain()),
    }
}

fn print_groups(
    rows: &[Row],
    is_first: bool,
    json: bool,
    output: &mut Output,
) -> Result<(), CliError> {
    if json {
        return rows.iter().try_for_each(|row| output.json(row));
    }
    let mut table = show::table([
        ">OFFSET",
        ">FIRST POSITION",
        ">EVENTS",
        ">APPENDS",
        ">BYTES",
        ">DURABLE THROUGH",
        "TIME",
        "CHAIN",
    ]);
    table.add_rows(rows.iter().map(|row| {
        [
            show::count(row.offset),
            show::count(row.first_position),
            show::count(row.events),
            show::count(row.appends),
            show::count(row.bytes),
            show::count(row.durable_through),
            row.time.clone(),
            row.chain.clone(),
        ]
    }));
    let lines = table.lines().skip(usize::from(!is_first));
    lines.into_iter().try_for_each(|line| output.line(line.trim_end()))
}
