//! Owns the verb `repair`: what can be done about damage, and doing it.
//!
//! Promises: without `--apply` it changes nothing, and no event leaves the log without
//! `--accept-loss`. Sound data before the damage is never touched. What is removed or overwritten
//! is kept aside (R7), and the result is verified. Says of every event that goes where it stood.

mod apply;
mod losses;
mod plan;
mod report;
mod salvage;
mod survey;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use super::args::Writing;
use super::files::{Files, Writer};
use super::show::Output;
use super::walk::Finding;
use super::{CliError, Outcome, failure, line, open, verify};
use crate::disk::{Disk, LockError};
use crate::error::Error;
use crate::{OpenError, Position};

use losses::Losses;
use plan::{Impossible, Plan};
use report::Report;
use survey::{Survey, Suspects};

/// Show what can be done about damage, and do it with --apply
///
/// Verifies the log and prints a plan: what is made again from the events, what is cut, which
/// events are lost by it, and what is kept aside under which name. Nothing changes without --apply.
/// Steps that take events out of the log need --accept-loss too.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes:
  0  nothing to repair, or repaired, and the log is sound now
  1  damage that was not repaired: only planned, or not without loss, or not at all
  3  cannot: another process writes the log, no such log, no permission, disk full

Examples:
  paperchase repair data
  paperchase repair data --apply
  paperchase repair data --apply --accept-loss
  paperchase repair data --json | jq '.steps[]'")]
pub(super) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// Carry the plan out; the log must not be open in another process
    #[arg(long)]
    apply: bool,
    /// With --apply: also take events out of the log, as the plan says
    #[arg(long, requires = "apply")]
    accept_loss: bool,
    /// With --apply: on a file system of the network too; its lock may keep out no second writer
    #[arg(long, requires = "apply")]
    allow_network_file_system: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// A log that was looked at for repair.
struct Looked {
    findings: Vec<Finding>,
    finding_count: u64,
    survey: Survey,
    plan: Plan,
    losses: Losses,
    /// Whether the log opens for reading as it is.
    opens: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome, CliError> {
    let files = Files::of(&args.dir)?;
    let is_refused = args.apply && !args.allow_network_file_system;
    if let Some(file_system) = files.disk.network_file_system().filter(|_| is_refused) {
        let directory = files.place.clone();
        let error = OpenError::NetworkFileSystem { directory, file_system };
        return Err(CliError::open(&files.place, &error));
    }
    let lock = if args.apply { Some(lock(&files)?) } else { None };
    let writer = if args.apply { Writer::Nobody } else { open::writer(&files) };
    let looked = look(&args.dir, &files, writer)?;
    let mut report = Report::of(&files.place, &looked, writer);
    let Some(log) = looked.survey.log.filter(|_| args.apply && report.can_be_applied()) else {
        return report.end(args);
    };
    if looked.plan.loss.is_some() && !args.accept_loss {
        return report.end(args);
    }
    let done = apply::apply(&files.disk, log, &looked.plan, &mut report.kept);
    // Opening takes the lock itself. What it finds is sound, or refused.
    drop(lock);
    match done.and_then(|()| reopened(args)) {
        Ok(left) => {
            report.left = Some(left);
            report.end(args)
        }
        Err(error) => {
            report.failure = Some(error.what().to_owned());
            // What stopped the repair says more than an output that nobody takes.
            let _ = report.end(args);
            Err(error)
        }
    }
}

fn lock(files: &Files) -> Result<Box<dyn std::fmt::Debug + Send + Sync>, CliError> {
    files.disk.lock().map_err(|error| match error {
        LockError::Held { pid } => {
            let error = OpenError::Locked { pid };
            CliError::open(&files.place, &error)
        }
        LockError::Io(error) => {
            CliError::from(Error::from_io(&format!("lock {}", files.place), error))
        }
    })
}

fn look(dir: &Path, files: &Files, writer: Writer) -> Result<Looked, CliError> {
    let reading =
        |error: io::Error| CliError::from(Error::from_io(&format!("read {}", files.place), error));
    let (findings, finding_count) = verify::damage(dir, files, writer)?;
    if finding_count == 0 && writer != Writer::Nobody {
        // A writer changes the files while they are looked at; what it was asked about is sound.
        let (survey, plan, losses) = Default::default();
        return Ok(Looked { findings, finding_count, survey, plan, losses, opens: true });
    }
    let mut suspects = Suspects::new();
    for finding in &findings {
        suspects.entry(finding.damage.chunk).or_default().push(finding.damage.offset);
    }
    // A list that is not whole accuses nobody else, so then everything is looked at.
    let is_whole = findings.len() as u64 == finding_count;
    let suspects = is_whole.then_some(&suspects);
    let survey = Survey::of(&files.disk, suspects).map_err(reading)?;
    let plan = plan::plan(&survey);
    let losses = Losses::of(&files.disk, &survey, &plan).map_err(reading)?;
    let opens = crate::View::open(dir).is_ok();
    Ok(Looked { findings, finding_count, survey, plan, losses, opens })
}

/// Lets the engine recover, harden and seal what repair has left; what is damaged then.
fn reopened(args: &Args) -> Result<(Vec<Finding>, u64), CliError> {
    let allow_network_file_system = args.allow_network_file_system;
    let log =
        open::for_writing(&args.dir, Writing { chunk_size: None, allow_network_file_system })?;
    open::close(log)?;
    let files = Files::of(&args.dir)?;
    verify::damage(&args.dir, &files, open::writer(&files))
}

/// Writes every sound event of a log that may not open, for `export --salvage`.
pub(super) fn export(
    dir: &Path,
    range: std::ops::Range<Position>,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let files = Files::of(dir)?;
    if let Some((file, version)) = files.newer() {
        return Err(failure::newer(&files.place, &file, version));
    }
    let reading = |error| CliError::from(Error::from_io(&format!("read {}", files.place), error));
    let survey = Survey::of(&files.disk, None).map_err(reading)?;
    let Some(log) = survey.log else {
        return Err(failure::unknown(&files.place));
    };
    let sources = plan::everything(&survey);
    let (mut text, mut next, mut gone) = (Vec::new(), Position::START, Vec::new());
    salvage::events::<CliError>(&files.disk, log, &sources, &mut |event| {
        if event.position() > next {
            gone.push(next..event.position());
        }
        next = event.position().plus(1);
        if !range.contains(&event.position()) {
            return Ok(());
        }
        text.clear();
        line::write(&mut text, event);
        output.bytes(&text)
    })?;
    output.flush()?;
    let known = survey.hint.map(|hint| hint.durable_through).unwrap_or_default();
    if known > next {
        gone.push(next..known);
    }
    if gone.is_empty() {
        return Ok(Outcome::Good);
    }
    let gone = losses::ranges(&gone);
    failure::say(format_args!("not all of the log could be read; missing: {gone}"));
    Ok(Outcome::Damage)
}

/// Why a plan is none.
fn reason(impossible: Impossible) -> &'static str {
    match impossible {
        Impossible::Unknown => {
            "nothing names the log's id: no chunk has a sound header or footer, and there is no \
             hint; without the id no event can be told from garbage"
        }
        Impossible::NothingToKeep => {
            "the damage stands before the first event, so nothing of the log could be kept in its \
             place"
        }
    }
}
