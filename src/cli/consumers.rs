//! Owns the verb `consumers`: which consumers keep their places in a log, and how far each is
//! behind.

use std::path::PathBuf;

use serde::Serialize;

use super::show::{self, Output};
use super::{CliError, Outcome, open};
use crate::clock::{Clock, SystemClock};

/// List the consumers of a log: their places, and how far they are behind
///
/// The lag counts events, bytes of log, and the time for which the first event that is not consumed
/// has been waiting. Of a consumer of another log only the place is known here.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paperchase consumers data
  paperchase consumers data --json | jq 'select(.lag.seconds > 60)'")]
pub(super) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    consumer: &'a str,
    log: Option<String>,
    position: Option<u64>,
    instances: u64,
    lag: Option<LagOfLine>,
}

#[derive(Serialize)]
struct LagOfLine {
    events: u64,
    bytes: u64,
    seconds: f64,
}

pub(super) fn run(args: &Args) -> Result<Outcome, CliError> {
    let reading = open::for_reading(&args.dir)?;
    let (consumers, now) = (reading.view.consumers()?, SystemClock::default().wall());
    let mut output = Output::new();
    if args.json {
        for consumer in &consumers {
            let lag = consumer.lag.as_ref();
            output.json(&Line {
                consumer: &consumer.name,
                log: consumer.place.map(|place| place.log().to_string()),
                position: consumer.place.map(|place| place.position().get()),
                instances: consumer.instances,
                lag: lag.map(|lag| LagOfLine {
                    events: lag.events,
                    bytes: lag.bytes,
                    seconds: lag.seconds(now),
                }),
            })?;
        }
    } else {
        let head = ["CONSUMER", ">POSITION", ">INSTANCES", ">EVENTS BEHIND", ">BYTES", ">SECONDS"];
        let mut table = show::table(head);
        for consumer in &consumers {
            let position = consumer.place.map(|place| show::count(place.position().get()));
            let lag = consumer.lag.as_ref();
            let unknown = || "other log".to_owned();
            table.add_row([
                show::plain(&consumer.name).into_owned(),
                position.unwrap_or_else(|| "-".to_owned()),
                show::count(consumer.instances),
                lag.map_or_else(unknown, |lag| show::count(lag.events)),
                lag.map_or_else(unknown, |lag| show::size(lag.bytes)),
                lag.map_or_else(unknown, |lag| format!("{:.1}", lag.seconds(now))),
            ]);
        }
        output.table(&table)?;
    }
    output.finish()?;
    Ok(Outcome::Good)
}
