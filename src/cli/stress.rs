//! Owns the load harness: what can be asked of it, and the order of a run: probe, load, close, open
//! again, check, probe, report.
//!
//! Promises: figures come with the verdict over every acked event, and a run whose log lost one
//! exits with 1. Says what the figures cannot carry. Never measures on another directory than it
//! names; removes only what it made.

use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use uuid::Uuid;

use super::{CliError, Outcome};
use crate::clock::SystemClock;
use crate::format::checksum::LogSalt;
use crate::format::{CHUNK_HEADER_SIZE, GROUP_HEADER_SIZE, event};
use crate::{APPEND_SIZE_MAX, AppendError, Durability, Options};

mod assemble;
mod check;
mod drive;
mod executor;
mod figures;
mod idle;
mod ledger;
mod load;
mod machine;
mod payload;
mod probe;
mod report;

use idle::Idle;
use ledger::StreamLedger;
use payload::{Identity, Pool};
use report::{DurabilityMode, Report};

/// Room for everything else that an event holds is left below the log's limit.
const PAYLOAD_SIZES: RangeInclusive<usize> = payload::HEAD_SIZE..=15 << 20;
const TIME_MAX: Duration = Duration::from_secs(86_400);

/// Load a log, measure it, and check afterwards that every acked event is there.
///
/// Closed loop: each client waits for an ack before it sends again, so a stalled log is asked less,
/// and latencies are times of service. Ctrl-C ends the load early; the events are checked all the
/// same.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paperchase stress
  paperchase stress --clients 64 --async --seconds 60 --warmup 5 --probe
  paperchase stress --dir /mnt/disk/try --batch 10 --json | jq '.loops[0].service.named'")]
pub(super) struct Args {
    /// Clients that append at the same time, one thread each.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one())]
    clients: u32,
    /// Length of the measured part of the run.
    #[arg(long, value_name = "S", default_value = "5", value_parser = some_seconds)]
    seconds: Duration,
    /// Length of the part before it, which is not measured.
    #[arg(long, value_name = "S", default_value = "1", value_parser = seconds)]
    warmup: Duration,
    /// Payload of an event in bytes, at least 16.
    #[arg(long, value_name = "B", default_value = "256", value_parser = super::args::size)]
    size: u64,
    /// Appends that each client has in flight.
    #[arg(long, value_name = "D", default_value_t = 1, value_parser = at_least_one())]
    pipeline: u32,
    /// Events in each append.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one())]
    batch: u32,
    /// Streams of each client, used in turn.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one())]
    streams: u32,
    /// All clients are futures on one thread, in place of a thread each.
    #[arg(long = "async")]
    asynchronous: bool,
    /// Idle subscriptions, each to a stream that gets no events.
    #[arg(long, value_name = "N", default_value_t = 0)]
    subscriptions: u32,
    /// An empty or missing directory for the log, which is kept. Without it: a temporary one.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Capacity of a chunk of the log in bytes.
    #[arg(long, value_name = "SIZE", value_parser = super::args::size)]
    chunk_size: Option<u64>,
    /// Longest time that written appends wait for their flush, such as `2ms`.
    #[arg(long, value_name = "TIME", value_parser = time)]
    max_delay: Option<Duration>,
    /// Longest time that a waiting client spins before it sleeps, such as `100us`.
    #[arg(long, value_name = "TIME", value_parser = time)]
    spin: Option<Duration>,
    /// When an append is acked.
    #[arg(long, value_enum, default_value_t = DurabilityMode::Sync)]
    durability: DurabilityMode,
    /// What the payloads are made from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Also measure the bare disk: 4 KiB pwrite and fdatasync for 2 s before and 2 s after.
    #[arg(long)]
    probe: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Args {
    fn log_options(&self) -> Options {
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
}

/// Runs the harness.
pub(super) fn run(args: &Args) -> Result<Outcome, CliError> {
    let size = usize::try_from(args.size).ok().filter(|size| PAYLOAD_SIZES.contains(size));
    let size = size.ok_or_else(|| CliError::usage("--size must be 16 bytes to 15 MiB"))?;
    let pool = Pool::new(args.seed, size);
    let options = args.log_options();
    options.check().map_err(|error| CliError::open("the log", &error))?;
    check_fit(args, &pool, options.chunk_size)?;
    let place = Place::take(args.dir.as_deref())?;
    let interrupted = watch_interrupts()?;
    let clock = SystemClock::default();
    let probe = || {
        let done = args.probe.then(|| probe::probe(&place.path, &clock)).transpose();
        done.map_err(|error| CliError::cannot(format_args!("probing the disk: {error}")))
    };
    let before = probe()?;
    let label = place.path.display().to_string();
    let log = options.clone().open(&place.path).map_err(|error| CliError::open(&label, &error))?;
    let idle = Idle::subscribe(&log, args.subscriptions)?;
    let driven = drive::drive(&log, args, &pool, &clock, &interrupted);
    let idle_wakes = idle.wakes();
    let closed = log.close();
    let checked = drive::check_again(&place.path, &pool, &driven, &clock);
    let after = probe()?;
    let mut report = assemble::begin(args, &options, &place.path);
    let mut driven_loop = assemble::closed(args, &driven, checked);
    driven_loop.counts.idle_wakes = idle_wakes;
    if let Err(error) = closed {
        driven_loop.failure.get_or_insert_with(|| error.to_string());
    }
    report.loops.push(driven_loop);
    report.interrupted = driven.interrupted;
    report.add_probes(before, after);
    report.annotate();
    print(&report, args.json).map_err(|error| CliError::output(&error))?;
    let found = &report.loops[0];
    match &found.failure {
        _ if !found.ledger.ok => Ok(Outcome::Damage),
        Some(failure) if matches!(driven.tally.failure, Some(AppendError::Full)) => {
            let next = "free some space, or name a directory on a larger disk with --dir";
            Err(CliError::cannot(failure).next(next))
        }
        Some(failure) => Err(CliError::cannot(failure)),
        None if driven.interrupted => Ok(Outcome::Interrupted),
        None => Ok(Outcome::Good),
    }
}

/// Prints a report to stdout.
fn print(report: &Report, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, report)?;
        writeln!(out)?;
    } else {
        out.write_all(report::text::render(report).as_bytes())?;
    }
    out.flush()
}

/// Refuses appends that no chunk could take.
fn check_fit(args: &Args, pool: &Pool, chunk_size: u64) -> Result<(), CliError> {
    // The last client and stream have the longest name.
    let (client, stream) = (args.clients - 1, args.streams - 1);
    let event = pool.event(Identity { client, stream, sequence: 0 }, &mut Vec::new());
    let name = StreamLedger::new(client, stream).name;
    let mut bytes = Vec::new();
    event::encode(&mut bytes, LogSalt::new(Uuid::nil()), &name, &event, event::Place::First(None))
        .map_err(CliError::usage)?;
    let size = (bytes.len() as u64).saturating_mul(args.batch.into());
    let room = chunk_size.saturating_sub(CHUNK_HEADER_SIZE + GROUP_HEADER_SIZE);
    let max = room.min(APPEND_SIZE_MAX as u64);
    if size <= max {
        return Ok(());
    }
    let what = format!("an append of this run is {size} bytes; the limit is {max}");
    let larger = if room < APPEND_SIZE_MAX as u64 { ", or a larger --chunk-size" } else { "" };
    Err(CliError::usage(what).next(format_args!("a smaller --size or --batch{larger}")))
}

/// Where the log of a run lies.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// Removes the directory at the end where the run made it for itself.
    _temporary: Option<tempfile::TempDir>,
}

impl Place {
    fn take(dir: Option<&Path>) -> Result<Self, CliError> {
        let Some(dir) = dir else {
            let made = tempfile::Builder::new().prefix("paperchase-stress-").tempdir();
            let made = made.map_err(|error| CliError::cannot(format_args!("{error}")))?;
            return Ok(Self { path: made.path().to_owned(), _temporary: Some(made) });
        };
        let refused = |error| CliError::cannot(format_args!("{}: {error}", dir.display()));
        std::fs::create_dir_all(dir).map_err(refused)?;
        if std::fs::read_dir(dir).map_err(refused)?.next().is_some() {
            return Err(CliError::usage(format_args!("{} is not empty", dir.display()))
                .next("name a directory that is empty or missing"));
        }
        Ok(Self { path: dir.to_owned(), _temporary: None })
    }
}

/// A flag that the first interrupt sets; a second one ends the process at once.
fn watch_interrupts() -> Result<Arc<AtomicBool>, CliError> {
    let flag = Arc::new(AtomicBool::new(false));
    let signal = signal_hook::consts::SIGINT;
    // In this order, so that the signal that sets the flag does not find it set.
    signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))
        .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
        .map_err(|error| CliError::cannot(format_args!("watching for Ctrl-C: {error}")))?;
    Ok(flag)
}

fn at_least_one() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
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
    fn nonsense_is_refused() {
        let lines = [
            "--clients 0",
            "--seconds 0",
            "--seconds -1",
            "--seconds nan",
            "--spin 3",
            "--max-delay -1ms",
        ];
        for line in lines.into_iter().chain(["--pipeline 0", "--batch 0", "--streams 0"]) {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_directory_with_files_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("a/b");
        assert_eq!(Place::take(Some(&missing)).unwrap().path, missing);
        assert!(missing.is_dir());
        assert!(Place::take(Some(dir.path())).is_err());
        let made = Place::take(None).unwrap();
        let path = made.path.clone();
        drop(made);
        assert!(!path.exists());
    }
}
