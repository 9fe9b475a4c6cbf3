//! Owns the verb `import`: each line of stdin is one whole event, as `export` writes it.
//!
//! Promises: order, ids and content are kept byte for byte; positions, versions and times are those
//! of this log.

use std::path::PathBuf;

use super::args::Writing;
use super::intake::Intake;
use super::{CliError, Outcome, line};

/// Append events from stdin: each line is one event as JSON, as `export` writes it
///
/// A line has the fields `stream`, `type`, and if wanted `id`, `data`, `metadata` and `tags`.
/// `data` and `metadata` are any JSON value, kept byte for byte; other bytes travel in
/// `data_base64` and `metadata_base64`. A missing id is made. `position`, `version` and `time` are
/// passed over. A line that cannot be stored ends the import; all lines before it are stored.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  zcat flights.ndjson.gz | paperchase import data
  paperchase export old | paperchase import new --chunk-size 64MiB
  echo '{\"stream\":\"cart-7\",\"type\":\"Added\",\"data\":{}}' | paperchase import data")]
pub(super) struct Args {
    /// Directory of the log; it is made where there is none
    dir: PathBuf,
    #[command(flatten)]
    writing: Writing,
    /// Report as one JSON object on stdout
    #[arg(long)]
    json: bool,
    /// Print the last acked position on stdout, a line each time that it grows
    #[arg(long, conflicts_with = "json")]
    acks: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome, CliError> {
    let Args { dir, writing, json, acks } = args;
    Intake { dir, writing: *writing, json: *json, acks: *acks }.run(line::parse)
}
