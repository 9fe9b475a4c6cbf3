//! Owns the verb `info`: what a log is and how it is, on one screen.

use std::path::PathBuf;

use serde::Serialize;

use super::open::{Reading, State};
use super::show::{self, Output};
use super::{CliError, Outcome, open};
use crate::format::VERSION;
use crate::{Position, Timestamp};

/// Show what a log holds and how it was left
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paperchase info data
  paperchase info data --json | jq .events")]
pub(super) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Info {
    log_id: String,
    format_version: u32,
    events: u64,
    end_position: u64,
    streams: u64,
    chunks: u64,
    data_bytes: u64,
    file_bytes: u64,
    disk_bytes: u64,
    first_time: Option<String>,
    last_time: Option<String>,
    state: &'static str,
    writer_pid: Option<u32>,
}

pub(super) fn run(args: &Args) -> Result<Outcome, CliError> {
    let reading = open::for_reading(&args.dir)?;
    let mut output = Output::new();
    let (info, times) = gather(&reading)?;
    if args.json {
        output.json(&info)?;
    } else {
        output.table(&show::facts(lines(&info, times, reading.state)))?;
    }
    output.finish()?;
    Ok(Outcome::Good)
}

type Times = [Option<Timestamp>; 2];

fn gather(reading: &Reading) -> Result<(Info, Times), CliError> {
    let view = &reading.view;
    let chunks = view.chunks();
    let times = [
        chunks.iter().find_map(|chunk| chunk.first_time),
        chunks.iter().rev().find_map(|chunk| chunk.last_time),
    ];
    let [first_time, last_time] = times.map(|time| time.map(show::exact_time));
    let (file_bytes, disk_bytes) = reading.files.sizes();
    let info = Info {
        log_id: view.log_id().to_string(),
        format_version: VERSION,
        events: view.end().since(Position::START),
        end_position: view.end().get(),
        streams: view.streams("")?.len() as u64,
        chunks: chunks.len() as u64,
        data_bytes: chunks.iter().map(|chunk| chunk.data_bytes).sum(),
        file_bytes,
        disk_bytes,
        first_time,
        last_time,
        state: match reading.state {
            State::Closed => "closed",
            State::Recovered => "recovered",
            State::Unclosed => "unclosed",
            State::Open(_) => "open",
        },
        writer_pid: if let State::Open(pid) = reading.state { pid } else { None },
    };
    Ok((info, times))
}

fn lines(info: &Info, times: Times, state: State) -> [(&'static str, String); 11] {
    let time = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), show::time);
    let state = match state {
        State::Closed => "closed cleanly".to_owned(),
        State::Recovered => "was not closed; recovered and closed by this call".to_owned(),
        State::Unclosed => {
            "was not closed, and cannot be recovered without write access".to_owned()
        }
        State::Open(Some(pid)) => format!("open for writing in process {pid}"),
        State::Open(None) => "open for writing in another process".to_owned(),
    };
    [
        ("log id", info.log_id.clone()),
        ("format version", info.format_version.to_string()),
        ("state", state),
        ("events", show::count(info.events)),
        ("end position", show::count(info.end_position)),
        ("streams", show::count(info.streams)),
        ("chunks", show::count(info.chunks)),
        ("data", show::size(info.data_bytes)),
        (
            "files",
            format!(
                "{}, {} of it on disk",
                show::size(info.file_bytes),
                show::size(info.disk_bytes)
            ),
        ),
        ("first event", time(times[0])),
        ("last event", time(times[1])),
    ]
}
