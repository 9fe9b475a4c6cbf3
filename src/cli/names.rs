//! Owns the verbs that list names: `streams`, `categories`, `types` and `tags`.
//!
//! Promises: one row a name, sorted, with the number of its events and the position of the last;
//! streams with their versions too. Reads indexes, and no events.

use std::path::PathBuf;

use serde::Serialize;

use super::show::{self, Output};
use super::{CliError, Outcome, open};
use crate::NameInfo;

/// What these verbs take. Their help stands with the verbs.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// Only names that begin so
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// The names that a verb lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Categories,
    Types,
    Tags,
}

/// A name as JSON, under the field of its kind.
#[derive(Default, Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    events: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    last_position: u64,
}

pub(super) fn streams(args: &Args) -> Result<Outcome, CliError> {
    let streams = open::for_reading(&args.dir)?.view.streams(&args.prefix)?;
    let mut output = Output::new();
    if args.json {
        for stream in &streams {
            output.json(&Line {
                stream: Some(&stream.name),
                events: stream.events,
                version: Some(stream.version.get()),
                last_position: stream.last_position.get(),
                ..Line::default()
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

pub(super) fn run(args: &Args, kind: Kind) -> Result<Outcome, CliError> {
    let view = open::for_reading(&args.dir)?.view;
    let (title, names) = match kind {
        Kind::Categories => ("CATEGORY", view.categories(&args.prefix)?),
        Kind::Types => ("TYPE", view.types(&args.prefix)?),
        Kind::Tags => ("TAG", view.tags(&args.prefix)?),
    };
    let mut output = Output::new();
    if args.json {
        names.iter().try_for_each(|name| output.json(&line(name, kind)))?;
    } else {
        let mut table = show::table([title, ">EVENTS", ">LAST POSITION"]);
        for name in &names {
            table.add_row([
                show::plain(&name.name).into_owned(),
                show::count(name.events),
                show::count(name.last_position.get()),
            ]);
        }
        output.table(&table)?;
    }
    output.finish()?;
    Ok(Outcome::Good)
}

fn line(name: &NameInfo, kind: Kind) -> Line<'_> {
    let of = |other| (kind == other).then_some(name.name.as_str());
    Line {
        category: of(Kind::Categories),
        event_type: of(Kind::Types),
        tag: of(Kind::Tags),
        events: name.events,
        last_position: name.last_position.get(),
        ..Line::default()
    }
}
