//! Owns the verb `append`: each line of stdin is the data of one event.
//!
//! Promises: the data is the line byte for byte, without the blanks around it, and is JSON. Stream
//! and type are the same for all lines, or come from a field of each; tags are the same for all.

use std::path::PathBuf;

use serde_json::Value;

use super::args::Writing;
use super::atomic::Conditions;
use super::intake::Intake;
use super::{CliError, Outcome, line};
use crate::NewEvent;

/// Append the lines of stdin: each line is one event's data, a JSON value
///
/// Every line is an append of its own, stored in the order of the lines. At the end, stderr tells
/// how many are acked: these survive a loss of power. With a condition (--expect, --no-events,
/// --operation) all lines are one append instead, which is stored as a whole or not at all.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  echo '{\"sku\":1}' | paperchase append data --stream cart-7 --type ItemAdded
  paperchase append data --stream-from user --type-from event < clicks.ndjson
  echo '{}' | paperchase append data --stream cart-7 --type Paid --expect 4 --expect stock-1=none
  echo '{}' | paperchase append data --stream names --tag name:red \\
      --no-events tag=name:red --after 120
  paperchase append data --stream orders --operation $ID < order.ndjson")]
#[command(group = clap::ArgGroup::new("streams").required(true))]
pub(super) struct Args {
    /// Directory of the log; it is made where there is none
    dir: PathBuf,
    /// Append to this stream
    #[arg(long, value_name = "NAME", group = "streams")]
    stream: Option<String>,
    /// Append each line to the stream that this field of it names
    #[arg(long, value_name = "FIELD", group = "streams")]
    stream_from: Option<String>,
    /// Type of the events
    #[arg(long = "type", value_name = "NAME", default_value = "Event")]
    event_type: String,
    /// Take each event's type from this field of its line
    #[arg(long, value_name = "FIELD", conflicts_with = "event_type")]
    type_from: Option<String>,
    /// Tag of the events; repeat it for several
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    #[command(flatten)]
    writing: Writing,
    /// Report as one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    conditions: Conditions,
}

pub(super) fn run(args: &Args) -> Result<Outcome, CliError> {
    if args.conditions.any() {
        let (place, stream) = ((args.dir.as_path(), args.writing), args.stream.as_deref());
        return args.conditions.run(place, stream, args.json, |line| event(args, line));
    }
    Intake { dir: &args.dir, writing: args.writing, json: args.json, acks: false }
        .run(|line| event(args, line))
}

fn event(args: &Args, line: &[u8]) -> Result<(String, NewEvent), String> {
    let stream = args.stream.as_deref().unwrap_or_default();
    let (stream, event_type) = match (&args.stream_from, &args.type_from) {
        (None, None) => {
            line::json(line)?;
            (stream.to_owned(), args.event_type.clone())
        }
        (stream_field, type_field) => {
            let value: Value =
                serde_json::from_slice(line).map_err(|error| line::reason(line, &error))?;
            let named = |field: &Option<String>, fixed: &str| {
                field.as_ref().map_or_else(|| Ok(fixed.to_owned()), |field| text(&value, field))
            };
            (named(stream_field, stream)?, named(type_field, &args.event_type)?)
        }
    };
    Ok((stream, args.tags.iter().fold(NewEvent::json(event_type, line), NewEvent::tag)))
}

/// The field as a name: a string, or a number or a truth value as it is written.
fn text(value: &Value, field: &str) -> Result<String, String> {
    match value.get(field) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
        Some(_) => Err(format!("field {field:?} is neither a string nor a number")),
        None => Err(format!("there is no field {field:?}")),
    }
}
