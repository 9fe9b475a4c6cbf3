//! Owns the verb `inspect`: one chunk file by itself, as it is on disk, sound or not.
//!
//! Promises: needs no other file of the log and changes nothing. What is damaged is named with its
//! place, and all that can be read around it is shown.

mod event;
mod spot;
mod survey;

use std::io;
use std::path::{Path, PathBuf};

use super::show::Output;
use super::walk::{self, Pieces};
use super::{CliError, Outcome, args as values, failure};
use crate::chunk::number_of;
use crate::disk::{Access, Disk, OsDisk};
use crate::error::Damage;
use crate::format::checksum::{ChunkSalt, LogSalt};
use crate::format::footer::{FOOTER_SIZE, Footer};
use crate::format::header::{ChainEnd, ChunkHeader};
use crate::format::page::Flaw;
use crate::format::{CHUNK_HEADER_SIZE, Fields};
use crate::position::{ChunkNumber, Position};

/// Look into one chunk file: header, groups, events, footer and sections
///
/// Where there is damage, shows the bytes around it, which structure they belong to, and what
/// stands before and behind.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paperchase inspect data/chunk-0000000000
  paperchase inspect data/chunk-0000000000 --groups
  paperchase inspect data/chunk-0000000000 --event 17 --hex
  paperchase inspect data/chunk-0000000000 --at 20000")]
pub(super) struct Args {
    /// A chunk file
    file: PathBuf,
    /// List the groups
    #[arg(long, conflicts_with_all = ["event", "at"])]
    groups: bool,
    /// Show the event at this position
    #[arg(long, value_name = "POSITION", value_parser = values::number)]
    event: Option<u64>,
    /// Show what covers the byte at this offset of the file, and the bytes around it
    #[arg(long, value_name = "OFFSET", value_parser = values::number, conflicts_with = "event")]
    at: Option<u64>,
    /// With --event: show its bytes too
    #[arg(long, requires = "event")]
    hex: bool,
    /// JSON: one object, or one a line for each group
    #[arg(long, conflicts_with = "hex")]
    json: bool,
}

/// A chunk file.
struct Chunk {
    /// Where it is damaged: what can be known of it otherwise.
    header: ChunkHeader,
    header_damage: Option<Damage>,
    salt: ChunkSalt,
    pieces: Pieces,
    footer: Result<Option<Footer>, Damage>,
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
    let (header, header_damage) = match ChunkHeader::decode(&block) {
        Ok(header) => (header, None),
        Err(_) if is_blank(&mut pieces).map_err(reading)? => {
            let text = "blank: this file lies ready for the next chunk, nothing was written to it";
            match args.json {
                true => output.json(&serde_json::json!({ "state": "blank" }))?,
                false => output.line(text)?,
            }
            output.finish()?;
            return Ok(Outcome::Good);
        }
        Err(Flaw::Magic) if named(&args.file).is_none() => {
            return Err(failure::not_a_chunk(&place));
        }
        Err(flaw) => {
            let number = named(&args.file).unwrap_or_default();
            let damage = walk::header_damage(number, flaw);
            match guess(&block, number, &mut pieces).map_err(reading)? {
                Some(header) => (header, Some(damage)),
                None => return lost(&place, &block, damage, output),
            }
        }
    };
    let salt = LogSalt::new(header.log).chunk(header.number);
    let footer = read_footer(&header, &mut pieces).map_err(reading)?;
    let mut chunk = Chunk { header, header_damage, salt, pieces, footer };
    let sound = match (args.event, args.at) {
        (Some(position), _) => {
            let position = Position::new(position);
            let form = event::Form { hex: args.hex, json: args.json };
            event::show(&mut chunk, position, form, &mut output).map_err(|error| match error {
                event::Missing::Unreadable(error) => reading(error),
                event::Missing::Absent(error) | event::Missing::Output(error) => error,
            })?
        }
        (_, Some(offset)) if offset >= chunk.pieces.size => {
            let text = format_args!("{place} has {} bytes", chunk.pieces.size);
            return Err(CliError::usage(text).next("name an offset within the file"));
        }
        (_, Some(offset)) => {
            let spot = chunk.spot(offset).map_err(reading)?;
            if args.json {
                output.json(&spot)?;
            } else {
                spot.print(&mut output)?;
            }
            spot.is_sound()
        }
        _ => chunk.show(args.groups, args.json, &mut output, &reading)?,
    };
    output.finish()?;
    Ok(if sound { Outcome::Good } else { Outcome::Damage })
}

fn open(path: &Path) -> io::Result<Pieces> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let name =
        path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
    let disk = OsDisk::open(directory.unwrap_or(Path::new(".")))?;
    Pieces::past_gaps(disk.open(name, Access::Read)?)
}

fn named(path: &Path) -> Option<ChunkNumber> {
    number_of(path.file_name()?.to_str()?)
}

/// Whether nothing was ever written to a file.
fn is_blank(pieces: &mut Pieces) -> io::Result<bool> {
    let whole = 0..pieces.size;
    Ok(pieces.is_zero(whole.clone())? && !pieces.has_gap(&whole))
}

/// What can be known of a chunk whose header is damaged: by its footer, or by the header's own
/// fields when a group proves that they name the log and the chunk.
fn guess(block: &[u8], named: ChunkNumber, pieces: &mut Pieces) -> io::Result<Option<ChunkHeader>> {
    let footer = match pieces.size.checked_sub(FOOTER_SIZE) {
        Some(offset) => Footer::decode(&pieces.bytes(offset, FOOTER_SIZE)?).ok(),
        None => None,
    };
    let mut candidates: Vec<_> = footer.iter().map(|it| (it.log, it.number)).collect();
    if let Some(fields) = Fields::of(block, 40) {
        let log = uuid::Uuid::from_bytes(fields.array(16));
        candidates.extend([(log, named), (log, ChunkNumber::new(fields.u64(32)))]);
    }
    for (log, number) in candidates {
        let salt = LogSalt::new(log).chunk(number);
        let group = pieces.resume(salt, CHUNK_HEADER_SIZE, pieces.size)?;
        let footer = footer.as_ref().filter(|footer| footer.log == log);
        if group.is_none() && footer.is_none() {
            continue;
        }
        let first = group.filter(|group| group.offset == CHUNK_HEADER_SIZE);
        let position = footer.map(|footer| footer.first_position);
        return Ok(Some(ChunkHeader {
            log,
            number,
            first_position: position
                .or(group.map(|group| group.position))
                .unwrap_or(Position::START),
            capacity: pieces.size,
            previous: ChainEnd { chain: first.map_or(0, |group| group.chain), data_end: 0 },
            created: crate::Timestamp::default(),
        }));
    }
    Ok(None)
}

/// Shows a header that is damaged so that nothing behind it can be read.
fn lost(
    place: &str,
    block: &[u8],
    damage: Damage,
    mut output: Output,
) -> Result<Outcome, CliError> {
    output.line(format_args!("damage: {damage}"))?;
    spot::print_rows(&spot::rows(0, &block[..block.len().min(128)]), &mut output)?;
    output.finish()?;
    Err(CliError::damage(format_args!(
        "{place}: neither its header nor a footer tells the log, so no group can be read"
    ))
    .next("`paperchase verify` on the whole log tells what stands behind the header"))
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
