//! Owns the way of lines from stdin into a log: many appends in flight, acks in order, an honest
//! end.
//!
//! Promises: each line is an append of its own, in the order of the lines. Whatever ends the work
//! early - a bad line, a failing log, a signal - every append in flight is waited for first, and
//! the report counts exactly what is acked.

use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::ProgressBar;
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::args::Writing;
use super::lines::{Lines, Next, Stdin};
use super::show::{self, Output};
use super::{CliError, Outcome, failure, files, open};
use crate::clock::{Clock, SystemClock};
use crate::{APPEND_SIZE_MAX, Ack, AppendError, Expected, Log, NewEvent, Position};

/// Appends in flight: enough to keep the writer busy through a sync, few enough to name the failing
/// line soon.
const WINDOW: usize = 8192;

/// What to do about a line that no log could take.
const CORRECT: &str = "correct that line, then send it and all after it again";

/// How lines become events.
pub(super) struct Intake<'a> {
    pub(super) dir: &'a Path,
    pub(super) writing: Writing,
    pub(super) json: bool,
    /// Tell on stdout how far events are acked, while the work goes on.
    pub(super) acks: bool,
}

/// Why the work ended.
enum End {
    Input,
    Signal,
    /// A line that no log could take.
    Refused {
        line: u64,
        reason: String,
        next: &'static str,
    },
    /// A line that this log could not take.
    Failed {
        line: u64,
        error: AppendError,
    },
    Unreadable(std::io::Error),
}

/// What is acked.
#[derive(Default)]
struct Tally {
    events: u64,
    bytes: u64,
    first: Option<Position>,
    last: Option<Position>,
    /// The line of the last one.
    line: u64,
    /// Events that were acked before the first one that was not.
    before_failure: Option<u64>,
}

struct Flight {
    line: u64,
    bytes: u64,
    ack: Ack,
}

#[derive(Serialize)]
struct Report {
    events: u64,
    data_bytes: u64,
    seconds: f64,
    events_per_second: u64,
    first_position: Option<u64>,
    last_position: Option<u64>,
    /// The last line of the input that is acked; 0 for none.
    last_line: u64,
    ended: &'static str,
    line: Option<u64>,
    reason: Option<String>,
}

impl Intake<'_> {
    /// Appends what `parse` makes of each line of stdin, until the input ends.
    pub(super) fn run(
        &self,
        mut parse: impl FnMut(&[u8]) -> Result<(String, NewEvent), String>,
    ) -> Result<Outcome, CliError> {
        let log = open::for_writing(self.dir, self.writing)?;
        let stop = stop_flag()?;
        let clock = SystemClock::default();
        let started = clock.monotonic();
        let bar = show::progress(files::stdin_size());
        let mut pipeline = Pipeline {
            log: &log,
            window: VecDeque::new(),
            tally: Tally::default(),
            bar,
            acks: self.acks,
        };
        let end = pipeline.work(&stop, &mut parse);
        // Whatever is still in flight was sent before the end, so its failure is the earlier one.
        let end = match (pipeline.settle(0), end) {
            (Ok(()), end) | (Err(_), end @ End::Failed { .. }) => end,
            (Err(failed), _) => failed,
        };
        pipeline.bar.finish_and_clear();
        let (tally, took) = (pipeline.tally, clock.monotonic().saturating_sub(started));
        // A log that has failed reports it through the appends; its close only repeats that.
        let closed = open::close(log);
        self.report(&tally, took, &end)?;
        let place = self.dir.display().to_string();
        match end {
            End::Input => closed.map(|()| Outcome::Good).map_err(CliError::from),
            End::Signal => {
                // Without a comma, as `tail -n +N` takes it.
                let next = tally.line + 1;
                failure::hint(format_args!("send the rest again from line {next}"));
                Ok(Outcome::Interrupted)
            }
            End::Refused { line, reason, next } => {
                Err(CliError::usage(format_args!("line {line} cannot be stored: {reason}"))
                    .next(next))
            }
            End::Failed { line, error } => {
                // Appends behind it were in flight, and the reason may have passed meanwhile.
                let late = tally.events - tally.before_failure.unwrap_or(tally.events);
                let late = match late {
                    0 => String::new(),
                    late => format!(", {} behind it were", show::counted(late, "line")),
                };
                failure::say(format_args!("line {line} was not acked{late}"));
                Err(failure::append(&place, &error))
            }
            End::Unreadable(error) => {
                Err(CliError::cannot(format_args!("reading from stdin: {error}")))
            }
        }
    }

    fn report(&self, tally: &Tally, took: Duration, end: &End) -> Result<(), CliError> {
        let rate = show::rate(tally.events, took);
        if self.json {
            let (ended, line, reason) = end.describe();
            let mut output = Output::new();
            output.json(&Report {
                events: tally.events,
                data_bytes: tally.bytes,
                seconds: took.as_secs_f64(),
                events_per_second: rate,
                first_position: tally.first.map(Position::get),
                last_position: tally.last.map(Position::get),
                last_line: tally.line,
                ended,
                line,
                reason,
            })?;
            return output.finish();
        }
        let events = show::counted(tally.events, "event");
        let last = tally.last.map_or_else(String::new, |position| {
            let [position, line] = [position.get(), tally.line].map(show::count);
            format!(", last acked position {position}, of line {line}")
        });
        let took = show::seconds(took);
        let stopped = if matches!(end, End::Signal) { "interrupted; " } else { "" };
        failure::say(format_args!(
            "{stopped}{events} acked in {took} ({} events/s){last}",
            show::count(rate)
        ));
        Ok(())
    }
}

impl End {
    fn describe(&self) -> (&'static str, Option<u64>, Option<String>) {
        match self {
            Self::Input => ("input", None, None),
            Self::Signal => ("interrupted", None, None),
            Self::Refused { line, reason, .. } => ("refused", Some(*line), Some(reason.clone())),
            Self::Failed { line, error } => ("failed", Some(*line), Some(error.to_string())),
            Self::Unreadable(error) => ("failed", None, Some(error.to_string())),
        }
    }

    fn of(line: u64, error: AppendError) -> Self {
        let reason = error.to_string();
        match error {
            AppendError::TooLarge { what: "the append", max, .. }
                if max < APPEND_SIZE_MAX as u64 =>
            {
                let next = "send it and all after it again with a larger --chunk-size";
                Self::Refused { line, reason, next }
            }
            AppendError::TooLarge { .. } | AppendError::Invalid { .. } => {
                Self::Refused { line, reason, next: CORRECT }
            }
            error => Self::Failed { line, error },
        }
    }
}

struct Pipeline<'a> {
    log: &'a Log,
    window: VecDeque<Flight>,
    tally: Tally,
    bar: ProgressBar,
    acks: bool,
}

impl Pipeline<'_> {
    fn work(
        &mut self,
        stop: &AtomicBool,
        parse: &mut impl FnMut(&[u8]) -> Result<(String, NewEvent), String>,
    ) -> End {
        let mut lines = Lines::new(Stdin);
        loop {
            if stop.load(Ordering::Relaxed) {
                return End::Signal;
            }
            let line = match lines.next() {
                Ok(Next::Line([])) => continue,
                Ok(Next::Line(line)) => parse(line),
                Ok(Next::TooLong) => Err("the line is longer than 48 MiB".to_owned()),
                Ok(Next::Idle) => match self.settle_ready() {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
                Ok(Next::End) => return End::Input,
                Err(error) => return End::Unreadable(error),
            };
            let number = lines.number();
            let sent = match line {
                Ok((stream, event)) => self.send(number, &stream, event),
                Err(reason) => Err(End::Refused { line: number, reason, next: CORRECT }),
            };
            if let Err(end) = sent {
                return end;
            }
            self.bar.set_position(lines.consumed());
        }
    }

    fn send(&mut self, line: u64, stream: &str, event: NewEvent) -> Result<(), End> {
        let bytes = event.data().len() as u64;
        let ack = self
            .log
            .append(stream, Expected::Any, [event])
            .map_err(|error| End::of(line, error))?;
        self.window.push_back(Flight { line, bytes, ack });
        self.settle(WINDOW)
    }

    /// Waits for the oldest acks until at most `left` are in flight.
    fn settle(&mut self, left: usize) -> Result<(), End> {
        let before = self.tally.last;
        let mut result = Ok(());
        while self.window.len() > left {
            // The first failure is the one to tell; the acks behind it are still counted.
            let settled = self.settle_one();
            result = result.and(settled);
        }
        if self.acks && self.tally.last != before {
            self.tell_acked();
        }
        result.and_then(|()| self.settle_ready())
    }

    fn settle_ready(&mut self) -> Result<(), End> {
        let before = self.tally.last;
        let mut result = Ok(());
        while result.is_ok() && self.window.front().is_some_and(|flight| flight.ack.is_ready()) {
            result = self.settle_one();
        }
        if self.acks && self.tally.last != before {
            self.tell_acked();
        }
        result
    }

    fn tell_acked(&self) {
        if let Some(last) = self.tally.last {
            let mut stdout = std::io::stdout().lock();
            // Whoever has closed the pipe does not want to know any longer.
            let _ = writeln!(stdout, "{last}").and_then(|()| stdout.flush());
        }
    }

    fn settle_one(&mut self) -> Result<(), End> {
        let Some(flight) = self.window.pop_front() else {
            return Ok(());
        };
        let done = flight.ack.wait().map_err(|error| {
            self.tally.before_failure.get_or_insert(self.tally.events);
            End::of(flight.line, error)
        })?;
        self.tally.events += 1;
        self.tally.bytes += flight.bytes;
        self.tally.first.get_or_insert(done.first_position);
        self.tally.last = Some(done.last_position);
        self.tally.line = flight.line;
        if self.tally.events.is_multiple_of(1024) && !self.bar.is_hidden() {
            self.bar.set_message(show::counted(self.tally.events, "event"));
        }
        Ok(())
    }
}

/// A flag that the first SIGINT or SIGTERM sets. The second ends the process at once.
pub(super) fn stop_flag() -> Result<Arc<AtomicBool>, CliError> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let second = Arc::clone(&flag);
        signal_hook::flag::register_conditional_shutdown(signal, 130, second)
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .map_err(|error| CliError::cannot(format_args!("listening for signals: {error}")))?;
    }
    Ok(flag)
}
