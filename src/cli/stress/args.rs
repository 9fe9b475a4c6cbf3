//! Owns what can be asked of the load harness on the command line.
//!
//! Promises: what cannot be run is refused before anything is made, with what to write instead. A
//! setting that only an open loop has is refused to a closed one, and the other way round.

use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

use super::super::CliError;
use super::ledger::StreamLedger;
use super::mix::{Batches, Sizes, Skew};
use super::payload::{Identity, Pool};
use super::plan::Mix;
use super::report::{Arrivals, DurabilityMode, Mode, WhenFull};
use super::saved::Saved;
use crate::format::checksum::LogSalt;
use crate::format::{CHUNK_HEADER_SIZE, GROUP_HEADER_SIZE, event};
use crate::{APPEND_SIZE_MAX, Durability, Options};

const TIME_MAX: Duration = Duration::from_secs(86_400);
const RATE_MAX: f64 = 1e8;
const STREAMS_MAX: u64 = 4_000_000;
/// Clients of a closed loop where none are named: enough to share flushes, few enough to look at.
const CLIENTS: u32 = 8;
/// Appends in flight of the closed loop that a sweep takes its rates from: as much as the log does.
const SWEEP_PIPELINE: u32 = 1024;

/// Load a log, measure it, and check afterwards that every acked event is there.
///
/// Closed loop, unless told otherwise: each client waits for an ack before it sends again, so a
/// stalled log is asked less, and latencies are times of service. With --rate it is an open loop:
/// appends are sent when they were planned to be, whatever the log does, and their time runs from
/// the planned moment, as for users who come by themselves. Ctrl-C ends the load early; the events
/// are checked all the same.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("open").args(["rate", "sweep"]))]
#[command(after_help = "\
Examples:
  paperchase stress
  paperchase stress --clients 64 --async --seconds 60 --warmup 5 --probe
  paperchase stress --clients 64 --fill 4000000 --rest 20 --seconds 2 --chunk-size 512MiB
  paperchase stress --rate 20000 --seconds 60 --probe --hlog run.hlog
  paperchase stress --rate 5000 --size lognormal:512:1 --batch uniform:1..4 --streams 1000 \\
      --skew zipf:1 --conditions 20 --readers 1 --subscribers 1
  paperchase stress --sweep --seconds 60 --json --html sweep.html > sweep.json
  paperchase stress --compare a1.json,a2.json,a3.json b1.json,b2.json,b3.json
  paperchase stress --dir /mnt/disk/try --batch 10 --json | jq '.loops[0].service.named'

Exit codes: 0 the figures stand, 1 the log lost or altered events, 2 wrong usage, 3 the run failed,
or its latencies are void because the sender itself was late.")]
pub(in super::super) struct Args {
    /// Clients that append at the same time, one thread each [default: 8]; with --rate or --sweep
    /// senders, which share the rate [default: 1].
    #[arg(long, value_name = "N", value_parser = at_least_one(), help_heading = "Load")]
    clients: Option<u32>,
    /// Appends that each client has in flight [default: 1; with --sweep 1024].
    #[arg(long, value_name = "D", value_parser = at_least_one(), conflicts_with = "rate")]
    #[arg(help_heading = "Load")]
    pipeline: Option<u32>,
    /// All clients are futures on one thread, in place of a thread each.
    #[arg(long = "async", conflicts_with = "open", help_heading = "Load")]
    pub(super) asynchronous: bool,
    /// Appends a second, planned before and independent of the answers: an open loop.
    #[arg(long, value_name = "R", value_parser = rate, help_heading = "Load")]
    pub(super) rate: Option<f64>,
    /// A closed loop, then open ones at 10 to 110 % of its rate, each on a fresh log that is filled
    /// and rests as --fill and --rest say.
    #[arg(long, help_heading = "Load")]
    pub(super) sweep: bool,
    /// How the planned moments lie [default: poisson].
    #[arg(long, value_enum, requires = "open", help_heading = "Load")]
    pub(super) arrivals: Option<Arrivals>,
    /// What becomes of an append that finds the queue full [default: retry].
    #[arg(long, value_enum, requires = "open", help_heading = "Load")]
    pub(super) when_full: Option<WhenFull>,

    /// Payload of an event in bytes: `256`, `uniform:64..4096`, or `lognormal:MEDIAN:SIGMA[:MAX]`.
    #[arg(long, value_name = "B", default_value = "256", help_heading = "Appends")]
    pub(super) size: Sizes,
    /// Events in each append: `1` or `uniform:1..10`.
    #[arg(long, value_name = "N", default_value = "1", help_heading = "Appends")]
    pub(super) batch: Batches,
    /// Streams of each client.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one())]
    #[arg(help_heading = "Appends")]
    pub(super) streams: u32,
    /// Which stream is next: `turns`, `uniform`, or `zipf:1.0`.
    #[arg(long, value_name = "S", default_value = "turns", help_heading = "Appends")]
    pub(super) skew: Skew,
    /// Percent of the appends that have an expected version and an operation id.
    #[arg(long, value_name = "P", default_value = "0", value_parser = percent)]
    #[arg(help_heading = "Appends")]
    pub(super) conditions: f64,

    /// Threads that read 100 events from a random place, rest 1 ms, and read again.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Beside the appends")]
    pub(super) readers: u32,
    /// Threads that follow all events as they become visible.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Beside the appends")]
    pub(super) subscribers: u32,
    /// Idle subscriptions, each to a stream that gets no events.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Beside the appends")]
    pub(super) subscriptions: u32,

    /// Events in the log before the load begins.
    #[arg(long, value_name = "N", default_value = "0", value_parser = super::super::args::number)]
    #[arg(help_heading = "Phases")]
    pub(super) fill: u64,
    /// Rest after them, in which the log prepares space as it does whenever it is quiet: at most as
    /// much as it has grown, so without --fill next to nothing.
    #[arg(long, value_name = "S", default_value = "0", value_parser = seconds)]
    #[arg(help_heading = "Phases")]
    pub(super) rest: Duration,
    /// Length of the part before the measured one.
    #[arg(long, value_name = "S", default_value = "1", value_parser = seconds)]
    #[arg(help_heading = "Phases")]
    pub(super) warmup: Duration,
    /// Length of the measured part; with --sweep of each rate.
    #[arg(long, value_name = "S", default_value = "5", value_parser = some_seconds)]
    #[arg(help_heading = "Phases")]
    pub(super) seconds: Duration,
    /// Longest wait for the answers that are still missing at the end; then they count as never.
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds, requires = "open")]
    #[arg(help_heading = "Phases")]
    pub(super) cooldown: Duration,

    /// An empty or missing directory for the log, which is kept. Without it: a temporary one.
    #[arg(long, value_name = "DIR", help_heading = "Log")]
    pub(super) dir: Option<PathBuf>,
    /// Capacity of a chunk of the log in bytes.
    #[arg(long, value_name = "SIZE", value_parser = super::super::args::size, help_heading = "Log")]
    chunk_size: Option<u64>,
    /// Longest time that written appends wait for their flush, such as `2ms`.
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Log")]
    max_delay: Option<Duration>,
    /// Longest time that a waiting client spins before it sleeps, and the writer (up to 120us),
    /// such as `100us`.
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Log")]
    spin: Option<Duration>,
    /// When an append is acked.
    #[arg(long, value_enum, default_value_t = DurabilityMode::Sync, help_heading = "Log")]
    pub(super) durability: DurabilityMode,

    /// What the plan and the payloads are made from.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Result")]
    pub(super) seed: u64,
    /// Also measure the bare disk: 4 KiB pwrite and fdatasync for 2 s before and 2 s after.
    #[arg(long, help_heading = "Result")]
    pub(super) probe: bool,
    /// Print one JSON object.
    #[arg(long, help_heading = "Result")]
    pub(super) json: bool,
    /// Also write the latencies of each second to a file in the format of HdrHistogram logs.
    #[arg(long, value_name = "FILE", conflicts_with = "sweep", help_heading = "Result")]
    pub(super) hlog: Option<PathBuf>,
    #[command(flatten)]
    pub(super) saved: Saved,
}

impl Args {
    pub(super) fn mode(&self) -> Mode {
        match (self.sweep, self.rate) {
            (true, _) => Mode::Sweep,
            (false, Some(_)) => Mode::Open,
            (false, None) => Mode::Closed,
        }
    }

    /// Clients of a closed loop, senders of an open one.
    pub(super) fn clients(&self) -> u32 {
        self.clients.unwrap_or(if self.mode() == Mode::Closed { CLIENTS } else { 1 })
    }

    /// Appends in flight of each client of a closed loop.
    pub(super) fn pipeline(&self) -> u32 {
        self.pipeline.unwrap_or(if self.sweep { SWEEP_PIPELINE } else { 1 })
    }

    pub(super) fn mix(&self) -> Mix {
        Mix {
            sizes: self.size,
            batches: self.batch,
            streams: self.streams,
            skew: self.skew,
            conditions: self.conditions / 100.0,
        }
    }

    pub(super) fn log_options(&self) -> Options {
        let mut options = Options::new().durability(match self.durability {
            DurabilityMode::Sync => Durability::Sync,
            DurabilityMode::Os => Durability::Os,
        });
        if let Some(bytes) = self.chunk_size {
            options = options.chunk_size(bytes);
        }
        if let Some(delay) = self.max_delay {
            options = options.max_delay(delay);
        }
        if let Some(spin) = self.spin {
            options = options.spin(spin);
        }
        options
    }

    /// Refuses what could not be run.
    pub(super) fn check(&self, chunk_size: u64) -> Result<(), CliError> {
        let streams = u64::from(self.clients()) * u64::from(self.streams);
        if streams > STREAMS_MAX {
            return Err(CliError::usage(format_args!("{streams} streams are too many"))
                .next(format_args!("--clients times --streams may be {STREAMS_MAX}")));
        }
        if let Some(rate) = self.rate
            && rate * self.seconds.as_secs_f64() < 1.0
        {
            let what = format!("at {rate} a second nothing is due in the measured time");
            return Err(CliError::usage(what).next("a higher --rate, or more --seconds"));
        }
        self.check_fit(chunk_size)
    }

    /// Refuses appends that no chunk could take.
    fn check_fit(&self, chunk_size: u64) -> Result<(), CliError> {
        let largest = Pool::new(self.seed, Sizes::Fixed(self.size.max()), true);
        // The last client and stream have the longest name.
        let (client, stream) = (self.clients(), self.streams - 1);
        let event = largest.event(Identity { client, stream, sequence: 0 }, 0, &mut Vec::new());
        let name = StreamLedger::new(client, stream).name;
        let (mut bytes, salt) = (Vec::new(), LogSalt::new(Uuid::nil()));
        let operation = (self.conditions > 0.0).then(Uuid::nil);
        event::encode(&mut bytes, salt, &name, &event, event::Place::First(operation))
            .map_err(CliError::usage)?;
        let size = (bytes.len() as u64).saturating_mul(self.batch.max().into());
        let room = chunk_size.saturating_sub(CHUNK_HEADER_SIZE + GROUP_HEADER_SIZE);
        let max = room.min(APPEND_SIZE_MAX as u64);
        if size <= max {
            return Ok(());
        }
        let what = format!("an append of this run is up to {size} bytes; the limit is {max}");
        let larger = if room < APPEND_SIZE_MAX as u64 { ", or a larger --chunk-size" } else { "" };
        Err(CliError::usage(what).next(format_args!("a smaller --size or --batch{larger}")))
    }
}

fn at_least_one() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

fn rate(text: &str) -> Result<f64, String> {
    let digits = text.replace([',', '_'], "");
    let (digits, factor) = match digits.strip_suffix('k') {
        Some(thousands) => (thousands, 1e3),
        None => (digits.as_str(), 1.0),
    };
    let rate = digits.parse::<f64>().ok().map(|rate| rate * factor);
    rate.filter(|rate| *rate > 0.0 && *rate <= RATE_MAX)
        .ok_or_else(|| format!("{text:?} is no rate; write appends a second, such as 20000 or 20k"))
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').unwrap_or(text).parse().ok();
    percent
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or_else(|| format!("{text:?} is not a number from 0 to 100"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| *time <= TIME_MAX)
        .ok_or_else(|| "must be 0 to 86400 seconds".to_owned())
}

fn some_seconds(text: &str) -> Result<Duration, String> {
    let time = seconds(text)?;
    if time.is_zero() { Err("must be more than 0 seconds".to_owned()) } else { Ok(time) }
}

fn time(text: &str) -> Result<Duration, String> {
    let time: jiff::SignedDuration =
        text.parse().map_err(|_| "not a time; write it like 100us, 2ms or 1s".to_owned())?;
    Duration::try_from(time).map_err(|_| "must not be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Line::try_parse_from(["stress"].into_iter().chain(line.split_whitespace()))
            .map(|line| line.args)
    }

    #[test]
    fn options_reach_the_log() {
        let args = parse("--chunk-size 4MiB --max-delay 3ms --spin 0s --durability os").unwrap();
        let options = args.log_options();
        assert_eq!(options.chunk_size, 4 << 20);
        assert_eq!((options.max_delay, options.spin), (Duration::from_millis(3), Duration::ZERO));
        assert_eq!(options.durability, Durability::Os);
        assert_eq!(parse("").unwrap().log_options().max_delay, Options::new().max_delay);
        assert_eq!(parse("--seconds 0.5").unwrap().seconds, Duration::from_millis(500));
    }

    #[test]
    fn each_kind_of_load_has_its_defaults() {
        let shape = |line| {
            let args = parse(line).unwrap();
            (args.mode(), args.clients(), args.pipeline())
        };
        assert_eq!(shape(""), (Mode::Closed, 8, 1));
        assert_eq!(shape("--rate 20k"), (Mode::Open, 1, 1));
        assert_eq!(shape("--sweep --clients 2"), (Mode::Sweep, 2, 1024));
        assert_eq!(parse("--rate 1_500.5").unwrap().rate, Some(1_500.5));
        assert_eq!(parse("--conditions 20%").unwrap().mix().conditions, 0.2);
    }

    #[test]
    fn nonsense_is_refused() {
        let lines = [
            "--clients 0",
            "--seconds 0",
            "--seconds -1",
            "--seconds nan",
            "--spin 3",
            "--max-delay -1ms",
            "--pipeline 0",
            "--batch 0",
            "--streams 0",
            "--rate 0",
            "--rate nan",
            "--rate fast",
            "--rate 5 --sweep",
            "--rate 5 --pipeline 2",
            "--rate 5 --async",
            "--arrivals poisson",
            "--when-full shed",
            "--cooldown 3",
            "--sweep --hlog x",
            "--conditions 101",
            "--skew steep",
            "--size uniform:5",
        ];
        for line in lines {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn what_cannot_run_is_refused_with_the_reason() {
        let refused = |line| {
            let error = parse(line).unwrap().check(1 << 20).unwrap_err();
            error.what().to_owned()
        };
        assert!(refused("--size 1MiB").contains("the limit is"));
        assert!(refused("--size uniform:16..2000000").contains("up to 2000"));
        assert!(refused("--rate 0.1").contains("nothing is due"));
        assert!(refused("--clients 64 --streams 100000").contains("6400000 streams"));
        assert!(parse("--rate 0.1 --seconds 11").unwrap().check(1 << 20).is_ok());
    }
}
