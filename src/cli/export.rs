//! Owns the verb `export`: the log on stdout, one event a line, as `import` reads it.
//!
//! Promises: a snapshot of the moment it begins. A reader that goes away ends it quietly. Of a
//! damaged log it gives all that is sound, when it is asked to, and says what is missing.

use std::path::PathBuf;

use super::show::Output;
use super::{CliError, Outcome, args, line, open, repair};
use crate::Position;

/// Write events to stdout: one JSON object a line, as `import` reads it
///
/// Each line has the fields `position`, `version`, `time`, `stream`, `type`, `id`, `data`, and
/// `metadata` and `tags` where there are any. Bytes that cannot stand in a line as JSON are written
/// as `data_base64` and `metadata_base64`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paperchase export data > backup.ndjson
  paperchase export data --from 1000 --limit 10
  paperchase export data --salvage | paperchase import new
  paperchase export data | jq -r .stream | sort | uniq -c")]
pub(super) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// Begin at this position
    #[arg(long, value_name = "POSITION", default_value_t = 0, value_parser = args::number)]
    #[arg(allow_negative_numbers = true)]
    from: u64,
    /// Write at most this many events
    #[arg(long, value_name = "COUNT", value_parser = args::number, allow_negative_numbers = true)]
    #[arg(default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
    /// Read past damage, also where the log does not open; needs no index, changes nothing
    ///
    /// Writes every event that its own checksums prove, says on stderr which positions are missing,
    /// and exits with 1 where there are any.
    #[arg(long)]
    salvage: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome, CliError> {
    let mut output = Output::new();
    if args.salvage {
        let from = Position::new(args.from);
        return repair::export(&args.dir, from..from.plus(args.limit), &mut output);
    }
    let reading = open::for_reading(&args.dir)?;
    let mut text = Vec::new();
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    for event in reading.view.read_all(Position::new(args.from)..).take(limit) {
        text.clear();
        line::write(&mut text, &event?);
        output.bytes(&text)?;
    }
    output.finish()?;
    Ok(Outcome::Good)
}
