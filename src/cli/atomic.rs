//! Owns the append of all lines of stdin at once, under conditions: all are stored, or none.
//!
//! Promises: says where they are stored, that they had been stored before, or why they are not.
//! Reads all lines before anything is sent.

use std::path::Path;

use serde::Serialize;
use uuid::Uuid;

use super::args::Writing;
use super::lines::{Lines, Next, Stdin};
use super::show::{self, Output};
use super::{CliError, Outcome, args, failure, open};
use crate::{
    Ack, Append, Appended, Expected, NewEvent, Position, Query, StreamAppended, StreamVersion,
};

/// The conditions of an append.
#[derive(Debug, clap::Args)]
pub(super) struct Conditions {
    /// Store all lines at once, if a stream is as expected: `any`, `none`, `exists`, or the version
    /// of its last event. Without STREAM= it is the one of --stream; may be given several times
    #[arg(long, value_name = "[STREAM=]EXPECTED", value_parser = expectation)]
    #[arg(allow_negative_numbers = true)]
    expect: Vec<Expectation>,
    /// Store all lines at once, if no event of this query came at or after position --after
    #[arg(long, value_name = "QUERY", requires = "after")]
    no_events: Option<Query>,
    /// Position for --no-events: the end of what the decision was made on
    #[arg(long, value_name = "POSITION", requires = "no_events", value_parser = args::number)]
    #[arg(allow_negative_numbers = true)]
    after: Option<u64>,
    /// Store all lines at once, unless this operation was stored before
    #[arg(long, value_name = "UUID")]
    operation: Option<Uuid>,
}

/// What is expected, and of which stream if it was said.
#[derive(Clone, Debug)]
struct Expectation {
    stream: Option<String>,
    expected: Expected,
}

#[derive(Serialize)]
struct Report<'a> {
    events: u32,
    repeated: bool,
    first_position: u64,
    last_position: u64,
    streams: Vec<Part<'a>>,
}

#[derive(Serialize)]
struct Part<'a> {
    stream: &'a str,
    first_version: u64,
    last_version: u64,
}

impl<'a> Part<'a> {
    fn of(part: &'a StreamAppended) -> Self {
        let (first, last) = (part.first_version.get(), part.last_version.get());
        Self { stream: &part.stream, first_version: first, last_version: last }
    }
}

/// `none`, `cart-7=4`: the text behind the last `=` is what is expected.
fn expectation(text: &str) -> Result<Expectation, String> {
    let (stream, what) = match text.rsplit_once('=') {
        Some((stream, what)) => (Some(stream.to_owned()), what),
        None => (None, text),
    };
    let expected = match what {
        "any" => Expected::Any,
        "none" => Expected::NoStream,
        "exists" => Expected::Exists,
        version => {
            let version = args::number(version)
                .map_err(|_| format!("{version:?} is none of any, none, exists, and no version"))?;
            Expected::Exact(StreamVersion::new(version))
        }
    };
    Ok(Expectation { stream, expected })
}

impl Conditions {
    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        !self.expect.is_empty() || self.no_events.is_some() || self.operation.is_some()
    }

    /// Appends what `parse` makes of the lines of stdin, all at once. `stream` is the stream that
    /// an expectation without a name is of.
    pub(super) fn run(
        &self,
        (dir, writing): (&Path, Writing),
        stream: Option<&str>,
        json: bool,
        parse: impl FnMut(&[u8]) -> Result<(String, NewEvent), String>,
    ) -> Result<Outcome, CliError> {
        let append = self.append(stream, parse)?;
        let log = open::for_writing(dir, writing)?;
        let place = dir.display().to_string();
        let done = append.submit(&log).and_then(Ack::wait);
        let done = done.map_err(|error| failure::append(&place, &error))?;
        open::close(log)?;
        report(&done, json)?;
        Ok(Outcome::Good)
    }

    fn append(
        &self,
        stream: Option<&str>,
        mut parse: impl FnMut(&[u8]) -> Result<(String, NewEvent), String>,
    ) -> Result<Append, CliError> {
        let mut append = Append::new();
        for Expectation { stream: named, expected } in &self.expect {
            let stream = named.as_deref().or(stream).ok_or_else(|| {
                CliError::usage("--expect does not say of which stream")
                    .next("write it as STREAM=EXPECTED, or name the stream with --stream")
            })?;
            append = append.expect(stream, *expected);
        }
        if let (Some(query), Some(after)) = (&self.no_events, self.after) {
            append = append.no_events(query.clone(), Position::new(after));
        }
        if let Some(operation) = self.operation {
            append = append.operation(operation);
        }
        let mut lines = Lines::new(Stdin);
        loop {
            let event = match lines.next() {
                Ok(Next::Line([]) | Next::Idle) => continue,
                Ok(Next::Line(line)) => parse(line),
                Ok(Next::TooLong) => Err("the line is longer than 48 MiB".to_owned()),
                Ok(Next::End) => return Ok(append),
                Err(error) => {
                    let what = format_args!("reading from stdin: {error}");
                    return Err(CliError::cannot(what).next("nothing was stored"));
                }
            };
            let (stream, event) = event.map_err(|reason| {
                let line = lines.number();
                CliError::usage(format_args!("line {line} cannot be stored: {reason}"))
                    .next("nothing was stored; correct that line and send all of them again")
            })?;
            append = append.event(stream, event);
        }
    }
}

fn report(done: &Appended, json: bool) -> Result<(), CliError> {
    let (first, last) = (done.first_position.get(), done.last_position.get());
    if json {
        let streams = done.streams().iter().map(Part::of).collect();
        let (events, repeated) = (done.events(), done.repeated);
        let mut output = Output::new();
        output.json(&Report {
            events,
            repeated,
            first_position: first,
            last_position: last,
            streams,
        })?;
        return output.finish();
    }
    if done.events() == 0 {
        failure::say("all conditions hold; there was nothing to store");
        return Ok(());
    }
    let before = if done.repeated { "had been stored before" } else { "stored" };
    let events = show::counted(done.events().into(), "event");
    failure::say(format_args!("{events} {before}, at {}", range("position", first, last)));
    for part in done.streams() {
        let versions = range("version", part.first_version.get(), part.last_version.get());
        failure::say(format_args!("  {}: {versions}", show::plain(&part.stream)));
    }
    Ok(())
}

fn range(what: &str, first: u64, last: u64) -> String {
    match last {
        last if last == first => format!("{what} {}", show::count(first)),
        last => format!("{what}s {} to {}", show::count(first), show::count(last)),
    }
}
