//! Owns the verb `chunks`: one row per chunk of a log.

use std::path::PathBuf;

use serde::Serialize;

use super::show::{self, Output};
use super::{CliError, Outcome, open};
use crate::{ChunkInfo, ChunkState};

/// List the chunks of a log
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paperchase chunks data
  paperchase chunks data --json | jq -s 'map(.events) | add'")]
pub(super) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line {
    chunk: u64,
    state: &'static str,
    first_position: u64,
    events: u64,
    data_bytes: u64,
    capacity: u64,
    first_time: Option<String>,
    last_time: Option<String>,
    file_bytes: u64,
}

pub(super) fn run(args: &Args) -> Result<Outcome, CliError> {
    let reading = open::for_reading(&args.dir)?;
    let mut chunks = reading.view.chunks();
    for chunk in &mut chunks {
        // A view knows the length that it reads, and the file of an active chunk is longer.
        chunk.file_size = reading.files.size(chunk.number).unwrap_or(chunk.file_size);
    }
    let mut output = Output::new();
    if args.json {
        chunks.iter().try_for_each(|chunk| output.json(&json(chunk)))?;
    } else {
        let mut table = show::table([
            ">CHUNK",
            "STATE",
            ">FIRST POSITION",
            ">EVENTS",
            ">DATA",
            ">FILL",
            "FIRST TIME",
            "LAST TIME",
            ">FILE",
        ]);
        chunks.iter().for_each(|chunk| {
            table.add_row(row(chunk));
        });
        output.table(&table)?;
    }
    output.finish()?;
    Ok(Outcome::Good)
}

fn json(chunk: &ChunkInfo) -> Line {
    Line {
        chunk: chunk.number.get(),
        state: state(chunk.state),
        first_position: chunk.first_position.get(),
        events: chunk.events,
        data_bytes: chunk.data_bytes,
        capacity: chunk.capacity,
        first_time: chunk.first_time.map(show::exact_time),
        last_time: chunk.last_time.map(show::exact_time),
        file_bytes: chunk.file_size,
    }
}

fn row(chunk: &ChunkInfo) -> [String; 9] {
    let time = |time: Option<_>| time.map_or_else(|| "-".to_owned(), show::time);
    [
        show::count(chunk.number.get()),
        state(chunk.state).to_owned(),
        show::count(chunk.first_position.get()),
        show::count(chunk.events),
        show::size(chunk.data_bytes),
        show::percent(chunk.data_bytes, chunk.capacity),
        time(chunk.first_time),
        time(chunk.last_time),
        show::size(chunk.file_size),
    ]
}

fn state(state: ChunkState) -> &'static str {
    match state {
        ChunkState::Active => "active",
        ChunkState::Full => "full",
        ChunkState::Sealed => "sealed",
    }
}
