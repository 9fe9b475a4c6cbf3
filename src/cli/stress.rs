//! Owns the load harness: the order of a run: probe, loads with their checks, probe, report.
//!
//! Promises: figures come with the verdict over every acked event, and a run whose log lost one
//! exits with 1. Says what the figures cannot carry. Never measures on another directory than it
//! names; removes only what it made.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{CliError, Outcome};
use crate::clock::SystemClock;

mod args;
mod assemble;
mod audience;
mod check;
mod compare;
mod drive;
mod executor;
mod figures;
mod html;
mod idle;
mod judge;
mod ledger;
mod load;
mod machine;
mod mix;
mod open;
mod payload;
mod plan;
mod probe;
mod pulse;
mod report;
mod saved;
mod target;

pub(super) use args::Args;
use drive::{Bench, Kind};
use payload::Pool;
use report::{Loop, Mode, Report};

/// The rates of a sweep, in percent of what the closed loop reached.
const SWEEP: [f64; 9] = [10.0, 25.0, 50.0, 70.0, 80.0, 90.0, 95.0, 100.0, 110.0];

/// Runs the harness.
pub(super) fn run(args: &Args) -> Result<Outcome, CliError> {
    if let Some(outcome) = args.saved.answer(args.json)? {
        return Ok(outcome);
    }
    let options = args.log_options();
    options.check().map_err(|error| CliError::open("the log", &error))?;
    args.check(options.chunk_size)?;
    let mix = args.mix();
    let pool = Pool::new(args.seed, mix.sizes, args.subscribers > 0);
    let place = Place::take(args.dir.as_deref())?;
    let interrupted = watch_interrupts()?;
    let clock = SystemClock::default();
    let mut report = assemble::begin(args, &options, &place.path);
    let probe = || {
        let done = args.probe.then(|| probe::probe(&place.path, &clock)).transpose();
        done.map_err(|error| CliError::cannot(format_args!("probing the disk: {error}")))
    };
    let before = probe()?;
    let mount = report.identity.machine.mount.clone();
    let bench = Bench {
        args,
        options: &options,
        mix: &mix,
        pool: &pool,
        clock: &clock,
        interrupted: &interrupted,
        mount: mount.as_ref(),
    };
    let full = match (args.mode(), args.rate) {
        (Mode::Sweep, _) => sweep(bench, &mut report, &place)?,
        (_, Some(rate)) => load(bench, Kind::Open(rate), &place.path, &mut report)?,
        (_, None) => load(bench, Kind::Closed, &place.path, &mut report)?,
    };
    let after = probe()?;
    report.interrupted = interrupted.load(Ordering::Relaxed);
    report.add_probes(before, after);
    report.annotate();
    let page = args.saved.page(&report);
    print(&report, args.json).map_err(|error| CliError::output(&error))?;
    page?;
    outcome(&report, full)
}

/// Runs one load and adds what it found to the report; returns whether the disk was full.
fn load(bench: Bench<'_>, kind: Kind, place: &Path, report: &mut Report) -> Result<bool, CliError> {
    let (driven, checked) = drive::run(bench, kind, place)?;
    report.loops.push(assemble::found(bench, kind, &driven, checked));
    if let Some(path) = &bench.args.hlog {
        let heading = (report.title.as_str(), driven.started);
        pulse::write_hlog(path, heading, &driven.recorded, &driven.hiccups)
            .map_err(|error| CliError::cannot(format_args!("{}: {error}", path.display())))?;
    }
    Ok(driven.was_full())
}

/// Runs the closed loop and then each rate, each on a fresh log, until one fails.
fn sweep(bench: Bench<'_>, report: &mut Report, place: &Place) -> Result<bool, CliError> {
    let mut full = load(bench, Kind::Closed, &place.part("closed")?, report)?;
    place.clear("closed")?;
    let maximum = report.loops[0].achieved.appends;
    let mut points = Vec::new();
    for percent in SWEEP {
        let rate = maximum * percent / 100.0;
        let failed = report.loops.iter().any(|found| found.failure.is_some() || !found.ledger.ok);
        if failed || bench.interrupted.load(Ordering::Relaxed) || rate <= 0.0 {
            break;
        }
        let name = format!("rate-{percent:03}");
        super::failure::say(format_args!("{percent} %: {rate:.0} appends/s"));
        full |= load(bench, Kind::Open(rate), &place.part(&name)?, report)?;
        place.clear(&name)?;
        points.extend(report.loops.last().map(|found| assemble::point(percent, found)));
    }
    report.add_sweep(points);
    Ok(full)
}

/// How a run ends whose report is printed.
fn outcome(report: &Report, full: bool) -> Result<Outcome, CliError> {
    let failure = report.loops.iter().find_map(|found| found.failure.as_ref());
    let broken = |found: &Loop| !found.ledger.ok;
    match failure {
        _ if report.loops.iter().any(broken) => Ok(Outcome::Damage),
        Some(failure) if full => {
            let next = "free some space, or name a directory on a larger disk with --dir";
            Err(CliError::cannot(failure).next(next))
        }
        Some(failure) => Err(CliError::cannot(failure)),
        None if report.interrupted => Ok(Outcome::Interrupted),
        None if report.valid => Ok(Outcome::Good),
        None => Err(CliError::cannot("the latencies are void: the sender itself was late")
            .next("a lower --rate, more --clients to share it, or a machine with a core to spare")),
    }
}

/// Prints a report to stdout.
fn print(report: &Report, json: bool) -> io::Result<()> {
    if json {
        let mut text = serde_json::to_vec_pretty(report)?;
        text.push(b'\n');
        put(&text)
    } else {
        put(report::text::render(report).as_bytes())
    }
}

/// Hands all of it to stdout.
fn put(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()
}

/// Where the log of a run lies.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// Removes the directory at the end where the run made it for itself.
    temporary: Option<tempfile::TempDir>,
}

impl Place {
    fn take(dir: Option<&Path>) -> Result<Self, CliError> {
        let Some(dir) = dir else {
            let made = tempfile::Builder::new().prefix("paperchase-stress-").tempdir();
            let made = made.map_err(|error| CliError::cannot(format_args!("{error}")))?;
            return Ok(Self { path: made.path().to_owned(), temporary: Some(made) });
        };
        let refused = |error| CliError::cannot(format_args!("{}: {error}", dir.display()));
        std::fs::create_dir_all(dir).map_err(refused)?;
        if std::fs::read_dir(dir).map_err(refused)?.next().is_some() {
            return Err(CliError::usage(format_args!("{} is not empty", dir.display()))
                .next("name a directory that is empty or missing"));
        }
        Ok(Self { path: dir.to_owned(), temporary: None })
    }

    /// A directory within, for one of several logs.
    fn part(&self, name: &str) -> Result<PathBuf, CliError> {
        let path = self.path.join(name);
        std::fs::create_dir(&path)
            .map_err(|error| CliError::cannot(format_args!("{}: {error}", path.display())))?;
        Ok(path)
    }

    /// Removes what was measured, unless it is to be kept.
    fn clear(&self, name: &str) -> Result<(), CliError> {
        let path = self.path.join(name);
        let removed = self.temporary.as_ref().map_or(Ok(()), |_| std::fs::remove_dir_all(&path));
        removed.map_err(|error| CliError::cannot(format_args!("{}: {error}", path.display())))
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

#[cfg(test)]
mod tests {
    use super::*;

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
