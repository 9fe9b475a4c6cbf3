//! Owns what the integration tests share: seeded randomness, and the comparison of a log with what
//! it should hold.
//!
//! Promises: a random test prints its seed and takes one from `PAPERCHASE_SEED`, so that it can be
//! seen again. A comparison never calls lost, doubled, reordered or altered events equal. Decides
//! nothing by time.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::cast_possible_truncation, reason = "tests run where a usize has 64 bits")]

pub(crate) mod child;
pub(crate) mod image;
pub(crate) mod ledger;
#[cfg(feature = "sim")]
pub(crate) mod rot;
#[cfg(feature = "sim")]
pub(crate) mod sim;
pub(crate) mod skip;
pub(crate) mod subscribed;

use std::collections::BTreeMap;

use paperchase::{ErrorKind, Query, RecordedEvent, Result, StreamVersion, View, category};

/// Seeded randomness (SplitMix64): small, and the same on every machine.
pub(crate) struct Random(u64);

impl Random {
    /// With the seed that the environment names, or a fresh one. Cargo shows what is printed when
    /// the test fails.
    pub(crate) fn new() -> Self {
        let named = std::env::var("PAPERCHASE_SEED").ok();
        let seed = named.map_or_else(
            || uuid::Uuid::new_v4().as_u64_pair().0,
            |seed| seed.parse().expect("PAPERCHASE_SEED is a number"),
        );
        println!("PAPERCHASE_SEED={seed}");
        Self(seed)
    }

    /// With a seed of the caller's.
    pub(crate) fn with(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not zero.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Everything that a log holds, by every way of reading it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Content {
    pub(crate) events: Vec<RecordedEvent>,
    streams: BTreeMap<String, Vec<RecordedEvent>>,
}

impl Content {
    /// Reads a log that is sound.
    pub(crate) fn of(view: &View) -> Self {
        let events: Vec<_> = view.read_all(..).collect::<Result<_>>().expect("a sound log");
        let content = Self::from_events(events);
        content.compare(view).expect("all ways of reading agree");
        content
    }

    fn from_events(events: Vec<RecordedEvent>) -> Self {
        let mut streams: BTreeMap<String, Vec<RecordedEvent>> = BTreeMap::new();
        for (position, event) in (0..).zip(&events) {
            assert_eq!(event.position().get(), position);
            let stream = streams.entry(event.stream().to_owned()).or_default();
            assert_eq!(event.version(), StreamVersion::new(stream.len() as u64));
            stream.push(event.clone());
        }
        Self { events, streams }
    }

    /// The same log, ended before `position`.
    pub(crate) fn until(&self, position: u64) -> Self {
        Self::from_events(self.events[..position as usize].to_vec())
    }

    /// Reads a log in every way and tells how many answers were named errors. An answer that is
    /// neither the right one nor an error is the `Err` of this call.
    pub(crate) fn compare(&self, view: &View) -> Result<usize, String> {
        if view.end().get() != self.events.len() as u64 {
            return Err(format!("{} events instead of {}", view.end(), self.events.len()));
        }
        let mut damages = 0;
        damages += same("all", view.read_all(..), self.events.iter())?;
        damages += same("all backwards", view.read_all(..).rev(), self.events.iter().rev())?;
        for (name, events) in &self.streams {
            let forwards = view.read_stream(name, ..);
            let backwards = view.read_stream(name, ..);
            damages += match forwards {
                Ok(read) => same(name, read, events.iter())?,
                Err(error) => named(&error)?,
            };
            damages += match backwards {
                Ok(read) => same(name, read.rev(), events.iter().rev())?,
                Err(error) => named(&error)?,
            };
            let last = events.last().map(RecordedEvent::version);
            match view.stream_version(name) {
                Ok(version) if version == last => {}
                Ok(version) => return Err(format!("{name} is at {version:?}, not {last:?}")),
                Err(error) => damages += named(&error)?,
            }
        }
        self.compare_queries(view)?;
        Ok(damages + self.compare_streams(view)?)
    }

    /// Reads some queries both ways. Their errors are those that other ways of reading have, and
    /// are not told again.
    fn compare_queries(&self, view: &View) -> Result<(), String> {
        let some = self.events.iter().step_by(self.events.len() / 3 + 1);
        let queries = some.map(|event| {
            let tags = Query::new().types([event.event_type()]).tags(event.tags());
            tags.or(Query::category(category(event.stream())).types(["Other"]))
        });
        for query in queries.chain([Query::new()]) {
            let read = || view.read(&query, ..).map_err(|error| error.to_string());
            let meant = self.events.iter().filter(|event| query.matches(event));
            same(&query.to_string(), read()?, meant.clone())?;
            same(&query.to_string(), read()?.rev(), meant.rev())?;
        }
        Ok(())
    }

    fn compare_streams(&self, view: &View) -> Result<usize, String> {
        let listed = match view.streams("") {
            Ok(listed) => listed,
            Err(error) => return named(&error),
        };
        let listed = listed.into_iter().map(|it| (it.name, it.events, it.last_position));
        let wanted = self.streams.iter().map(|(name, events)| {
            let last = events.last().expect("a stream has an event").position();
            (name.clone(), events.len() as u64, last)
        });
        let (listed, wanted): (Vec<_>, Vec<_>) = (listed.collect(), wanted.collect());
        if listed == wanted { Ok(0) } else { Err(format!("streams {listed:?}, not {wanted:?}")) }
    }
}

/// Compares a read with what it should give; an error stands for one event.
fn same<'a>(
    what: &str,
    mut read: impl Iterator<Item = Result<RecordedEvent>>,
    wanted: impl Iterator<Item = &'a RecordedEvent>,
) -> Result<usize, String> {
    let mut damages = 0;
    for wanted in wanted {
        match read.next() {
            Some(Ok(event)) if event == *wanted => {}
            Some(Err(error)) => damages += named(&error)?,
            other => return Err(format!("reading {what}: {other:?} instead of {wanted:?}")),
        }
    }
    match read.next() {
        None => Ok(damages),
        Some(event) => Err(format!("reading {what}: {event:?} instead of the end")),
    }
}

/// An error that says what is damaged and where.
fn named(error: &paperchase::Error) -> Result<usize, String> {
    let text = error.to_string();
    if error.kind() == ErrorKind::Damage && text.starts_with("chunk ") && text.contains("offset ") {
        return Ok(1);
    }
    Err(format!("an error without a place: {text}"))
}
