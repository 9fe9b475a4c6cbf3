//! Owns the model of a log: a list of events, and plain functions that decide an append as
//! `docs/conditions.md` says and answer reads by looking at every event.
//!
//! Promises: written from the documents, so that it shares no thought with the code that it judges.
//! Assumes that it is told when a decision was made and what was visible then. Knows no files,
//! chunks, indexes or threads.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::time::Duration;

use uuid::Uuid;

use crate::append::{Append, Appended, Fence, Parts, StreamAppended};
use crate::clock::Timestamp;
use crate::error::AppendError;
use crate::event::{Expected, NewEvent};
use crate::position::{Position, StreamVersion};
use crate::query::Query;

/// An event as the model keeps it.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) position: u64,
    pub(super) stream: String,
    pub(super) version: u64,
    pub(super) time: Timestamp,
    pub(super) event: NewEvent,
    /// Of the first event of an append: its operation.
    pub(super) operation: Option<Uuid>,
    /// Position of the first event of its append.
    pub(super) append: u64,
}

/// When an append is decided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Timestamp,
    /// How many events were acked.
    pub(super) visible: u64,
    pub(super) horizon: Option<Duration>,
}

pub(super) type Answer = Result<Appended, AppendError>;

/// What becomes of an append.
#[derive(Debug)]
pub(super) struct Decided {
    /// The row of `docs/conditions.md` that decided.
    pub(super) row: &'static str,
    pub(super) answer: Answer,
    /// The events that join the log.
    pub(super) stored: Vec<Kept>,
}

/// Decides an append behind the events of `log`.
pub(super) fn decide(log: &[Kept], append: &Append, at: &Moment) -> Decided {
    let refuse = |row, error| Decided { row, answer: Err(error), stored: Vec::new() };
    let again = |row, events: &[&Kept]| {
        let answer = Ok(answer_of(events, true));
        Decided { row, answer, stored: Vec::new() }
    };
    if let Some(id) = append.operation
        && let Some(original) = of_operation(log, id, at)
    {
        if has_same_content(append, &original) {
            let acked = original[0].position < at.visible;
            return again(if acked { "C02" } else { "C04" }, &original);
        }
        let position = Position::new(original[0].position);
        return refuse("C03", AppendError::OperationConflict { operation: id, position });
    }
    let is_taken_over = |fence: &&Fence| head(log, &fence.claims) != Some(fence.claim.get());
    if let Some(fence) = append.fences.iter().find(is_taken_over) {
        return refuse("C61", AppendError::Fenced { consumer: fence.consumer.clone() });
    }
    let mut expectations = append.expectations.iter();
    let broken = expectations.find(|(stream, expected)| !holds(*expected, head(log, stream)));
    if let Some((stream, expected)) = broken {
        let actual = head(log, stream).map(StreamVersion::new);
        let (stream, expected) = (stream.clone(), *expected);
        let wrong = AppendError::WrongVersion { stream, expected, actual };
        return match standing(log, append) {
            Err(row) => refuse(row, wrong),
            Ok((row, Standing::All(events))) => again(row, &events),
            Ok((row, Standing::Some(error))) => refuse(row, error),
        };
    }
    for condition in &append.conditions {
        let (after, query) = (condition.after, condition.query.clone());
        if after.get() > log.len() as u64 {
            return refuse("C44", AppendError::Invalid { what: "", problem: "" });
        }
        let behind = &log[after.get() as usize..];
        if let Some(found) = behind.iter().find(|kept| is_meant(&query, kept)) {
            let position = Position::new(found.position);
            return refuse("C41", AppendError::ConditionFailed { query, after, position });
        }
    }
    if append.events.is_empty() {
        let answer = Ok(checked(log, append, at.now));
        return Decided { row: "C50", answer, stored: Vec::new() };
    }
    let stored = numbered(log, append, at.now);
    let answer = Ok(answer_of(&stored.iter().collect::<Vec<_>>(), false));
    let forgotten = append.operation.is_some_and(|id| is_known(log, id));
    let row = match append.conditions.is_empty() {
        _ if forgotten => "C06",
        _ if !append.fences.is_empty() => "C60",
        true => "C30",
        false => "C40",
    };
    Decided { row, answer, stored }
}

fn is_known(log: &[Kept], operation: Uuid) -> bool {
    log.iter().any(|kept| kept.operation == Some(operation))
}

/// The row by which an append is refused before it is decided at all.
pub(super) fn invalid(append: &Append) -> Option<&'static str> {
    if !append.events.is_empty() {
        return None;
    }
    let any = |(_, expected): &(String, Expected)| *expected == Expected::Any;
    if append.expectations.iter().all(any) && append.conditions.is_empty() {
        return Some("C52");
    }
    append.operation.map(|_| "C53")
}

/// Whether two answers are the same. What a text says of an invalid append is free.
pub(super) fn is_same(told: &Answer, expected: &Answer) -> bool {
    match (told, expected) {
        (Ok(told), Ok(expected)) => told == expected,
        (Err(AppendError::Invalid { .. }), Err(AppendError::Invalid { .. })) => true,
        (Err(told), Err(expected)) => format!("{told:?}") == format!("{expected:?}"),
        _ => false,
    }
}

/// The version of a stream's last event.
pub(super) fn head(log: &[Kept], stream: &str) -> Option<u64> {
    log.iter().rev().find(|kept| kept.stream == stream).map(|kept| kept.version)
}

fn holds(expected: Expected, head: Option<u64>) -> bool {
    match expected {
        Expected::Any => true,
        Expected::Exists => head.is_some(),
        Expected::NoStream => head.is_none(),
        Expected::Exact(version) => head == Some(version.get()),
    }
}

/// The append that is remembered for an operation (C01, C04 to C06).
fn of_operation<'a>(log: &'a [Kept], id: Uuid, at: &Moment) -> Option<Vec<&'a Kept>> {
    let first = log.iter().rev().find(|kept| kept.operation == Some(id))?;
    let age = at.now.as_nanos().saturating_sub(first.time.as_nanos());
    if at.horizon.is_some_and(|horizon| u128::from(age) > horizon.as_nanos()) {
        return None;
    }
    Some(log.iter().filter(|kept| kept.append == first.position).collect())
}

fn has_same_content(append: &Append, original: &[&Kept]) -> bool {
    let same = |((stream, event), kept): (&(String, NewEvent), &&Kept)| {
        *stream == kept.stream
            && event.clone().id(Uuid::nil()) == kept.event.clone().id(Uuid::nil())
    };
    append.events.len() == original.len() && append.events.iter().zip(original).all(same)
}

enum Standing<'a> {
    /// All events of the append stand where they would have gone.
    All(Vec<&'a Kept>),
    /// Some do; so it is refused.
    Some(AppendError),
}

/// What stands where the events of an append would have gone (C20 to C34); an error is the row by
/// which it does not matter.
fn standing<'a>(
    log: &'a [Kept],
    append: &Append,
) -> Result<(&'static str, Standing<'a>), &'static str> {
    let mut next: BTreeMap<&str, u64> = BTreeMap::new();
    for (stream, _) in &append.events {
        let expected = append.expectations.iter().find(|(of, _)| of == stream);
        let place = match expected {
            Some((_, Expected::NoStream)) => 0,
            Some((_, Expected::Exact(version))) if head(log, stream) < Some(version.get()) => {
                return Err("C16");
            }
            Some((_, Expected::Exact(version))) => version.get() + 1,
            _ => return Err("C34"),
        };
        next.insert(stream, place);
    }
    let places = next.clone();
    let at = |stream: &str, version| {
        log.iter().find(|kept| kept.stream == stream && kept.version == version)
    };
    let mut found = Vec::new();
    for (stream, event) in &append.events {
        let version = next.get_mut(&**stream).expect("every stream has a place");
        found.push(at(stream, *version).filter(|kept| kept.event == *event));
        *version += 1;
    }
    let streams = streams_of(append);
    let of = |stream: &str| {
        let events = append.events.iter().zip(&found).filter(|((of, _), _)| of == stream);
        let found: Vec<bool> = events.map(|(_, found)| found.is_some()).collect();
        let stored = found.iter().take_while(|found| **found).count();
        (stored as u64, found.len() as u64)
    };
    if streams.iter().all(|stream| of(stream).0 == 0) {
        return Err(if append.events.is_empty() { "C31" } else { "C23" });
    }
    let Some(stream) = streams.iter().find(|stream| of(stream).0 < of(stream).1) else {
        let row = if streams.len() == 1 { "C20" } else { "C32" };
        return Ok((row, Standing::All(found.into_iter().flatten().collect())));
    };
    let ((stored, of), stream) = (of(stream), stream.to_string());
    let version = places[&*stream] + stored;
    Ok(match at(&stream, version) {
        Some(_) => {
            let version = StreamVersion::new(version);
            ("C22", Standing::Some(AppendError::Diverged { stream, stored, of, version }))
        }
        None => {
            let actual = head(log, &stream).map(StreamVersion::new);
            ("C21", Standing::Some(AppendError::PartlyStored { stream, stored, of, actual }))
        }
    })
}

/// The streams that an append writes, in the order of their first events.
fn streams_of(append: &Append) -> Vec<&str> {
    let mut streams: Vec<&str> = Vec::new();
    for (stream, _) in &append.events {
        if !streams.contains(&&**stream) {
            streams.push(stream);
        }
    }
    streams
}

fn numbered(log: &[Kept], append: &Append, time: Timestamp) -> Vec<Kept> {
    let first = log.len() as u64;
    let mut stored: Vec<Kept> = Vec::new();
    for (position, (stream, event)) in (first..).zip(&append.events) {
        let last = head(&stored, stream).or_else(|| head(log, stream));
        stored.push(Kept {
            position,
            stream: stream.clone(),
            version: last.map_or(0, |last| last + 1),
            time,
            event: event.clone(),
            operation: append.operation.filter(|_| position == first),
            append: first,
        });
    }
    stored
}

/// The answer that tells of these events, which are in the order of their append.
fn answer_of(events: &[&Kept], repeated: bool) -> Appended {
    let mut streams: Vec<StreamAppended> = Vec::new();
    for kept in events {
        let version = StreamVersion::new(kept.version);
        match streams.iter_mut().find(|part| *part.stream == *kept.stream) {
            Some(part) => part.last_version = version,
            None => streams.push(StreamAppended {
                stream: kept.stream.as_str().into(),
                first_version: version,
                last_version: version,
            }),
        }
    }
    let positions = || events.iter().map(|kept| Position::new(kept.position));
    Appended {
        first_position: positions().min().unwrap_or_default(),
        last_position: positions().max().unwrap_or_default(),
        version: StreamVersion::new(events.last().map_or(0, |kept| kept.version)),
        time: events.iter().map(|kept| kept.time).max().unwrap_or_default(),
        repeated,
        events: events.len() as u32,
        streams: Parts::Each(streams),
    }
}

/// The answer to an append without events, all of whose conditions hold.
fn checked(log: &[Kept], append: &Append, now: Timestamp) -> Appended {
    let end = Position::new(log.len() as u64);
    let first = append.expectations.first().and_then(|(stream, _)| head(log, stream));
    Appended {
        first_position: end,
        last_position: end,
        version: StreamVersion::new(first.unwrap_or(0)),
        time: now,
        ..answer_of(&[], false)
    }
}

fn category_of(stream: &str) -> &str {
    &stream[..stream.find('-').unwrap_or(stream.len())]
}

/// Whether a query means an event: any of several alternatives, each met by types (any of them),
/// tags (all of them), and streams and categories (any of them).
pub(super) fn is_meant(query: &Query, kept: &Kept) -> bool {
    query.items.iter().any(|item| {
        let typed = item.types.iter().any(|name| *name == kept.event.event_type);
        let tagged = item.tags.iter().all(|tag| kept.event.tags.contains(tag));
        let streamed = item.streams.contains(&kept.stream)
            || item.categories.iter().any(|name| name == category_of(&kept.stream));
        let anywhere = item.streams.is_empty() && item.categories.is_empty();
        (typed || item.types.is_empty()) && tagged && (streamed || anywhere)
    })
}

/// What can be read of a log.
#[derive(Clone, Debug)]
pub(super) enum Reading {
    All,
    Stream(String),
    Category(String),
    Type(String),
    Tag(String),
    Query(Query),
}

/// A range of positions or, of a stream, versions.
pub(super) type Bounds = (Bound<u64>, Bound<u64>);

/// The events that a read shows, in order.
pub(super) fn read<'a>(log: &'a [Kept], what: &Reading, bounds: Bounds) -> Vec<&'a Kept> {
    let meant = |kept: &&Kept| match what {
        Reading::All => true,
        Reading::Stream(name) => kept.stream == *name,
        Reading::Category(name) => category_of(&kept.stream) == name,
        Reading::Type(name) => kept.event.event_type == *name,
        Reading::Tag(name) => kept.event.tags.contains(name),
        Reading::Query(query) => is_meant(query, kept),
    };
    let number = |kept: &Kept| match what {
        Reading::Stream(_) => kept.version,
        _ => kept.position,
    };
    log.iter().filter(meant).filter(|kept| bounds.contains(&number(kept))).collect()
}

/// All streams: name, number of events, version and position of the last event.
pub(super) fn streams(log: &[Kept]) -> Vec<(String, u64, u64, u64)> {
    let mut streams: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for kept in log {
        let events = streams.get(&*kept.stream).map_or(0, |part| part.0);
        streams.insert(&kept.stream, (events + 1, kept.version, kept.position));
    }
    streams.into_iter().map(|(name, (events, v, p))| (name.to_owned(), events, v, p)).collect()
}

/// All names that events have by `names_of`, which begin with a prefix: name, number of events and
/// position of the last one.
pub(super) fn names<'a>(
    log: &'a [Kept],
    prefix: &str,
    names_of: impl Fn(&'a Kept) -> Vec<&'a str>,
) -> Vec<(String, u64, u64)> {
    let mut names: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for kept in log {
        let mut own = names_of(kept);
        own.sort_unstable();
        own.dedup();
        for name in own.into_iter().filter(|name| name.starts_with(prefix)) {
            let entry = names.entry(name).or_default();
            *entry = (entry.0 + 1, kept.position);
        }
    }
    names.into_iter().map(|(name, (events, last))| (name.to_owned(), events, last)).collect()
}

pub(super) fn category_names(kept: &Kept) -> Vec<&str> {
    vec![category_of(&kept.stream)]
}

pub(super) fn type_names(kept: &Kept) -> Vec<&str> {
    vec![&kept.event.event_type]
}

pub(super) fn tag_names(kept: &Kept) -> Vec<&str> {
    kept.event.tags.iter().map(String::as_str).collect()
}
