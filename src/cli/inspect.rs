//! Owns the verb `inspect`: one chunk file by itself, as it is on disk, sound or not.
//!
//! Promises: needs no other file of the log and changes nothing. What is damaged is named with its
//! place, and all that can be read around it is shown.

mod event;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::show::{self, Output};
use super::walk::{self, Finding, Group, Pieces};
use super::{CliError, Outcome, args as values, failure};
use crate::chunk::number_of;
use crate::chunk::scan::{self, BadGroup, Cursor};
use crate::disk::{Access, Disk, OsDisk};
use crate::error::Damage;
use crate::format::checksum::{ChunkSalt, LogSalt};
use crate::format::footer::{FOOTER_SIZE, Footer, Section};
use crate::format::header::ChunkHeader;
use crate::format::page::Flaw;
use crate::format::{CHUNK_HEADER_SIZE, VERSION, is_zero};
use crate::position::{ChunkNumber, Position};

/// Rows of the list of groups that are laid out together.
const PAGE: usize = 500;

/// Look into one chunk file: header, groups, events, footer and sections
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paperchase inspect data/chunk-0000000000
  paperchase inspect data/chunk-0000000000 --groups
  paperchase inspect data/chunk-0000000000 --event 17 --hex")]
pub(super) struct Args {
    /// A chunk file
    file: PathBuf,
    /// List the groups
    #[arg(long, conflicts_with = "event")]
    groups: bool,
    /// Show the event at this position
    #[arg(long, value_name = "POSITION", value_parser = values::number)]
    event: Option<u64>,
    /// With --event: show its bytes too
    #[arg(long, requires = "event")]
    hex: bool,
}

/// A chunk file with a sound header.
struct Chunk {
    header: ChunkHeader,
    salt: ChunkSalt,
    pieces: Pieces,
    footer: Result<Option<Footer>, Damage>,
}

/// What the walk over all groups finds.
#[derive(Default)]
struct Survey {
    groups: u64,
    appends: u64,
    events: u64,
    end: Option<Cursor>,
    damage: Vec<Finding>,
    /// Bytes behind the last group that are no group and may yet become one.
    unfinished: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<Outcome, CliError> {
    let place = args.file.display().to_string();
    let reading = |error: io::Error| CliError::cannot(format_args!("read {place}: {error}"));
    if args.file.is_dir() {
        let file = failure::quoted(&place);
        return Err(CliError::cannot(format_args!("{place} is a directory")).next(format_args!(
            "name a chunk file in it: paperchase inspect {}/chunk-0000000000",
            file.trim_end_matches('/')
        )));
    }
    let mut pieces = open(&args.file).map_err(|error| {
        CliError::cannot(format_args!("open {place}: {error}"))
            .next("name a file `chunk-...` in the directory of a log")
    })?;
    let mut output = Output::new();
    let block = pieces.bytes(0, CHUNK_HEADER_SIZE).map_err(reading)?;
    let header = match ChunkHeader::decode(&block) {
        Ok(header) => header,
        Err(_) if is_zero(&block) => {
            output.line(
                "blank: this file lies ready for the next chunk, nothing was written to it",
            )?;
            output.finish()?;
            return Ok(Outcome::Good);
        }
        Err(Flaw::Magic) if named(&args.file).is_none() => {
            return Err(failure::not_a_chunk(&place));
        }
        Err(flaw) => {
            let number = named(&args.file).unwrap_or_default();
            let damage = walk::header_damage(number, flaw);
            return Err(CliError::damage(format_args!("{place} is damaged: {damage}"))
                .next("`paperchase verify` on the whole log tells what stands behind the header"));
        }
    };
    let salt = LogSalt::new(header.log).chunk(header.number);
    let footer = read_footer(&header, &mut pieces).map_err(reading)?;
    let mut chunk = Chunk { header, salt, pieces, footer };
    let sound = match args.event {
        Some(position) => {
            let position = Position::new(position);
            event::show(&mut chunk, position, args.hex, &mut output).map_err(
                |error| match error {
                    event::Missing::Unreadable(error) => reading(error),
                    event::Missing::Absent(error) | event::Missing::Output(error) => error,
                },
            )?
        }
        None => chunk.show(args.groups, &mut output, &reading)?,
    };
    output.finish()?;
    Ok(if sound { Outcome::Good } else { Outcome::Damage })
}

fn open(path: &Path) -> io::Result<Pieces> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let name =
        path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
    let disk = OsDisk::open(directory.unwrap_or(Path::new(".")))?;
    Pieces::new(disk.open(name, Access::Read)?)
}

fn named(path: &Path) -> Option<ChunkNumber> {
    number_of(path.file_name()?.to_str()?)
}

/// The footer, none where there is no sign of one, or what is wrong with it.
fn read_footer(
    header: &ChunkHeader,
    pieces: &mut Pieces,
) -> io::Result<Result<Option<Footer>, Damage>> {
    let size = pieces.size;
    let Some(offset) = size.checked_sub(FOOTER_SIZE).filter(|at| *at >= CHUNK_HEADER_SIZE) else {
        return Ok(Ok(None));
    };
    let block = pieces.bytes(offset, FOOTER_SIZE)?;
    let place = (header.number, offset);
    Ok(match Footer::decode(&block) {
        Ok(footer) if footer.file_size == size => Ok(Some(footer)),
        Ok(footer) => Err(Damage::new(place, "file size", footer.file_size, size)),
        Err(Flaw::Magic) => Ok(None),
        Err(flaw) => {
            let (what, expected, found) = flaw.describe();
            let what = if what == "checksum" { "footer checksum" } else { what };
            Err(Damage::new(place, what, expected, found))
        }
    })
}

impl Chunk {
    /// Prints what the file holds. Whether all of it is sound.
    fn show(
        &mut self,
        list: bool,
        output: &mut Output,
        reading: &dyn Fn(io::Error) -> CliError,
    ) -> Result<bool, CliError> {
        let mut survey = Survey::default();
        let mut page = Vec::new();
        let mut at = Some(Cursor::start(&self.header));
        let mut is_first = true;
        while let Some(place) = at {
            let (next, row) = self.step(&place, &mut survey).map_err(reading)?;
            at = next;
            page.extend(row.filter(|_| list));
            if page.len() == PAGE || (at.is_none() && list) {
                print_groups(&page, is_first, output)?;
                is_first = false;
                page.clear();
            }
        }
        if !list {
            output.table(&show::facts(self.facts(&survey)))?;
            survey.damage.extend(self.footer.as_ref().err().cloned().map(Finding::from));
            if let Ok(Some(footer)) = self.footer.clone() {
                self.sections(&footer, &mut survey, output).map_err(reading)??;
            }
        }
        for damage in &survey.damage {
            output.line(format_args!("damage: {damage}"))?;
        }
        if let Some(unfinished) = &survey.unfinished {
            output.line(format_args!("note: {unfinished}"))?;
        }
        Ok(survey.damage.is_empty())
    }

    /// Takes the group at `at` into the survey: where the next one stands, and the row of this one.
    fn step(
        &mut self,
        at: &Cursor,
        survey: &mut Survey,
    ) -> io::Result<(Option<Cursor>, Option<Row>)> {
        let end = match &self.footer {
            Ok(Some(footer)) => footer.end.data_end,
            _ => self.pieces.size,
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
                let rest = self.pieces.rest(self.salt, at.offset)?;
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
                survey.damage.extend(damage);
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
        let chain = |chain: u64| format!("{chain:#018x}");
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
        vec![
            ("log id", header.log.to_string()),
            ("format version", VERSION.to_string()),
            ("chunk", show::count(header.number.get())),
            ("state", self.state()),
            ("created", show::time(header.created)),
            ("capacity", show::size(header.capacity)),
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
                    _ => format!(
                        "ends at offset {}, chain {}",
                        show::count(header.previous.data_end),
                        chain(header.previous.chain)
                    ),
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
                    chain(end.chain)
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

    /// Prints the footer's list of sections, with what their checksums say.
    fn sections(
        &mut self,
        footer: &Footer,
        survey: &mut Survey,
        output: &mut Output,
    ) -> io::Result<Result<(), CliError>> {
        let mut table = show::table(["SECTION", ">OFFSET", ">BYTES", "CHECKSUM"]);
        for section in &footer.sections {
            let bytes = self.pieces.bytes(section.offset, section.length)?;
            let checksum = self.salt.at_place(section.offset, &bytes);
            let verdict = if checksum == section.checksum { "sound" } else { "DAMAGED" };
            table.add_row([
                section_name(section),
                show::count(section.offset),
                show::count(section.length),
                format!("{:#010x} {verdict}", section.checksum),
            ]);
            if checksum != section.checksum {
                let [expected, found] =
                    [checksum, section.checksum].map(|checksum| format!("{checksum:#010x}"));
                let place = (self.header.number, section.offset);
                let damage = Damage::new(place, "section checksum", expected, found);
                survey.damage.push(damage.into());
            }
        }
        let summary = format!(
            "\nfooter: {}, {}, from {} to {}",
            show::counted(footer.ordinals.into(), "event"),
            show::counted(footer.keys.into(), "key"),
            show::time(footer.first_time),
            show::time(footer.last_time)
        );
        Ok(output.line(summary).and_then(|()| output.table(&table)))
    }
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

fn section_name(section: &Section) -> String {
    let names = ["offsets", "keys", "names", "postings", "filter"];
    let index = usize::try_from(section.kind).unwrap_or(usize::MAX);
    match index.checked_sub(1).and_then(|index| names.get(index)) {
        Some(name) => (*name).to_owned(),
        None => format!("unknown kind {}", section.kind),
    }
}

/// A row of the list of groups.
type Row = [String; 8];

fn row(group: &Group) -> Row {
    let header = &group.checked.header;
    [
        show::count(group.at.offset),
        show::count(header.first_position.get()),
        show::count(header.events),
        show::count(header.appends),
        show::count(header.body_length),
        show::count(header.durable_through.get()),
        show::time(header.time),
        format!("{:#018x}", group.checked.chain()),
    ]
}

fn print_groups(rows: &[Row], is_first: bool, output: &mut Output) -> Result<(), CliError> {
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
    table.add_rows(rows.iter().cloned());
    let lines = table.lines().skip(usize::from(!is_first));
    lines.into_iter().try_for_each(|line| output.line(line.trim_end()))
}
