//! Owns the verb `streams`: the names, versions and counts of all streams.

use std::path::PathBuf;

use serde::Serialize;

use super::show::{self, Output};
use super::{CliError, Outcome, open};

/// List the streams of a log
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paperchase streams data
  paperchase streams data --prefix cart- --json")]
pub(super) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// Only streams whose name begins so
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    stream: &'a str,
    events: u64,
    version: u64,
    last_position: u64,
}

pub(super) fn run(args: &Args) -> Result<Outcome, CliError> {
    let reading = open::for_reading(&args.dir)?;
    let streams = reading.view.streams(&args.prefix)?;
    let mut output = Output::new();
    if args.json {
        for stream in &streams {
            output.json(&Line {
                stream: &stream.name,
                events: stream.events,
                version: stream.version.get(),
                last_position: stream.last_position.get(),
            })?;
        }
    } else {
        let mut table = show::table(["STREAM", ">EVENTS", ">VERSION", ">LAST POSITION"]);
        for stream in &streams {
            table.add_row([
                show::plain(&stream.name).into_owned(),
                show::count(stream.events),
                show::count(stream.version.get()),
                show::count(stream.last_position.get()),
            ]);
        }
        output.table(&table)?;
    }
    output.finish()?;
    Ok(Outcome::Good)
}
