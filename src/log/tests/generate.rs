//! Owns the random appends and reads of the model tests: few names, so that appends meet, and every
//! kind of retry.
//!
//! Promises: whatever it makes is within the limits of a log with chunks of `CHUNK_SIZE`. Never
//! touches a log; what is known of one is told by the caller.

use std::collections::VecDeque;
use std::ops::Bound;

use uuid::Uuid;

use super::model::{Bounds, Reading};
use super::random::Random;
use crate::append::{Append, Fence};
use crate::consumer::{claim, claims_of, kept, places_of};
use crate::event::{ContentKind, Expected, NewEvent};
use crate::position::{Place, Position, StreamVersion};
use crate::query::Query;

const STREAMS: [&str; 6] = ["a-1", "a-2", "b-1", "b", "c-1", "c-2"];
const CATEGORIES: [&str; 4] = ["a", "b", "c", "d"];
const TYPES: [&str; 3] = ["Opened", "Moved", "Closed"];
const TAGS: [&str; 4] = ["red", "green", "blue", "white"];
const CONSUMER: &str = "worker";
/// Appends that are remembered, to be submitted again.
const RECENT_MAX: usize = 12;
/// Size of the chunks that the appends are made for.
pub(super) const CHUNK_SIZE: u64 = 64 << 10;
/// Most bytes of data in an append.
const DATA_MAX: usize = 48 << 10;

/// What a caller knows of the log when it makes up an append.
pub(super) struct Known<'a> {
    /// The version of a stream's last event.
    pub(super) head: &'a dyn Fn(&str) -> Option<u64>,
    /// The end of the log.
    pub(super) end: u64,
    pub(super) visible: u64,
    /// The id of the log.
    pub(super) log: Uuid,
}

/// Appends made so far.
#[derive(Default)]
pub(super) struct Recent(VecDeque<Append>);

impl Recent {
    pub(super) fn push(&mut self, append: &Append) {
        self.0.push_back(append.clone());
        if self.0.len() > RECENT_MAX {
            self.0.pop_front();
        }
    }

    fn pick(&self, random: &mut Random) -> Append {
        // Mostly a late one: the answer to an early one rarely differs any more.
        let range = self.0.len() as u64;
        let back = random.below(range).min(random.below(range));
        self.0[self.0.len() - 1 - back as usize].clone()
    }
}

/// A new append, or one of before, unchanged or changed.
pub(super) fn append(random: &mut Random, recent: &Recent, known: &Known<'_>) -> Append {
    if recent.0.is_empty() || random.percent(65) {
        return fresh(random, known);
    }
    let mut append = recent.pick(random);
    if random.percent(55) {
        return append;
    }
    for _ in 0..=random.below(2) {
        let other = recent.pick(random);
        append = changed(random, append, other, known);
    }
    append
}

fn fresh(random: &mut Random, known: &Known<'_>) -> Append {
    let mut append = Append::new();
    match random.below(20) {
        0 => return append.event(claims_of(CONSUMER), claim(known.log).id(id(random))),
        1 | 2 => append = commit(random, append, known),
        _ => {}
    }
    let streams: Vec<_> = (0..=random.below(3)).map(|_| random.pick(&STREAMS)).collect();
    if random.percent(90) {
        for _ in 0..=random.below(4) {
            append = append.event(random.pick(&streams), event(random));
        }
    }
    let mut named: Vec<&str> = streams;
    if random.percent(20) {
        named.push(random.pick(&STREAMS));
    }
    named.sort_unstable();
    named.dedup();
    for stream in named {
        if random.percent(60) {
            append = append.expect(stream, expected(random, stream, known));
        }
    }
    if random.percent(25) {
        append = append.operation(operation(random));
    }
    while random.percent(20) {
        append = append.no_events(query(random), after(random, known));
    }
    append
}

/// A commit by the instance that claimed last, or by one before.
fn commit(random: &mut Random, append: Append, known: &Known<'_>) -> Append {
    let claims = claims_of(CONSUMER);
    let last = (known.head)(&claims).unwrap_or(0);
    let claim = StreamVersion::new(last.saturating_sub(u64::from(random.percent(30))));
    let position = Position::new(random.below(known.visible + 1));
    let place = Place { log: known.log, position };
    let mut append = append.event(places_of(CONSUMER), kept(place).id(id(random)));
    append.fences.push(Fence { consumer: CONSUMER.to_owned(), log: known.log, claims, claim });
    append
}

fn changed(random: &mut Random, mut append: Append, other: Append, known: &Known<'_>) -> Append {
    let any = |random: &mut Random, length: usize| random.below(length.max(1) as u64) as usize;
    let at = any(random, append.events.len());
    match random.below(12) {
        0 => drop(append.events.pop()),
        1 => append.events.truncate(at),
        2 => append = append.event(random.pick(&STREAMS), event(random)),
        3 if !append.events.is_empty() => append.events[at].1.data.push(7),
        4 if !append.events.is_empty() => append.events[at].1.id = id(random),
        5 => append.events.iter_mut().for_each(|(_, event)| event.id = id(random)),
        6 => append.operation = random.percent(50).then(|| operation(random)),
        7 => append.conditions.clear(),
        8 if !append.expectations.is_empty() => {
            let place = any(random, append.expectations.len());
            let stream = append.expectations[place].0.clone();
            append.expectations[place].1 = expected(random, &stream, known);
        }
        9 => {
            // One stream alone, so that the whole append later finds a part of itself.
            let stream = append.events.first().map(|(stream, _)| stream.clone());
            append.events.retain(|(of, _)| Some(of) == stream.as_ref());
            append.expectations.retain(|(of, _)| Some(of) == stream.as_ref());
        }
        10 => {
            let named =
                |(of, _): &(String, Expected)| append.expectations.iter().all(|e| e.0 != *of);
            let more: Vec<_> = other.expectations.into_iter().filter(named).collect();
            append.expectations.extend(more);
            append.events.extend(other.events);
        }
        _ => append.operation = other.operation,
    }
    let size = |append: &Append| append.events.iter().map(|e| e.1.data.len()).sum::<usize>();
    while size(&append) > DATA_MAX {
        append.events.pop();
    }
    append
}

fn event(random: &mut Random) -> NewEvent {
    let size = if random.percent(25) { 4_000 + random.below(10_000) } else { random.below(30) };
    let data = vec![random.below(256) as u8; size as usize];
    let mut event = NewEvent::with_id(id(random), random.pick(&TYPES), data);
    for tag in TAGS {
        if random.percent(30) {
            event = event.tag(tag);
        }
    }
    if random.percent(20) {
        event = event.metadata(b"{}", ContentKind::Json);
    }
    if random.percent(20) { event.data_kind(ContentKind::Json) } else { event }
}

fn id(random: &mut Random) -> Uuid {
    Uuid::from_u64_pair(random.number(), random.number())
}

fn operation(random: &mut Random) -> Uuid {
    Uuid::from_u64_pair(7, random.below(5))
}

fn expected(random: &mut Random, stream: &str, known: &Known<'_>) -> Expected {
    let exact = |version: u64| Expected::Exact(StreamVersion::new(version));
    match random.below(20) {
        0..=10 => (known.head)(stream).map_or(Expected::NoStream, exact),
        11..=12 => Expected::Any,
        13..=14 => Expected::Exists,
        15 => Expected::NoStream,
        16..=17 => (known.head)(stream).map_or(exact(0), |head| exact(head.saturating_sub(1))),
        _ => exact(random.below(8)),
    }
}

fn after(random: &mut Random, known: &Known<'_>) -> Position {
    Position::new(match random.below(20) {
        0..=9 => known.end,
        10..=13 => known.visible,
        14..=17 => random.below(known.end + 1),
        18 => 0,
        _ => known.end + random.below(3),
    })
}

pub(super) fn stream(random: &mut Random) -> &'static str {
    random.pick(&STREAMS)
}

pub(super) fn query(random: &mut Random) -> Query {
    let mut query = alternative(random);
    while random.percent(25) {
        query = query.or(alternative(random));
    }
    query
}

fn alternative(random: &mut Random) -> Query {
    fn some<'a>(random: &mut Random, percent: u64, from: &[&'a str]) -> Vec<&'a str> {
        from.iter().filter(|_| random.percent(percent)).copied().collect()
    }
    let query = Query::new().types(some(random, 25, &TYPES)).tags(some(random, 20, &TAGS));
    query.streams(some(random, 12, &STREAMS)).categories(some(random, 8, &CATEGORIES))
}

/// Something to read, and a range of a log of so many events.
pub(super) fn reading(random: &mut Random, events: u64) -> (Reading, Bounds) {
    let reading = match random.below(7) {
        5 | 6 => Reading::Query(query(random)),
        0 => Reading::All,
        1 => Reading::Stream(random.pick(&STREAMS).to_owned()),
        2 => Reading::Category(random.pick(&CATEGORIES).to_owned()),
        3 => Reading::Type(random.pick(&TYPES).to_owned()),
        _ => Reading::Tag(random.pick(&TAGS).to_owned()),
    };
    let end = if matches!(reading, Reading::Stream(_)) { events / 4 } else { events };
    let mut bound = || match random.below(4) {
        0 => Bound::Included(random.below(end + 3)),
        1 => Bound::Excluded(random.below(end + 3)),
        _ => Bound::Unbounded,
    };
    let bounds = (bound(), bound());
    (reading, bounds)
}

/// Everything that can be read, in full.
pub(super) fn readings() -> Vec<Reading> {
    let named = |names: &[&str], reading: fn(String) -> Reading| {
        names.iter().map(|name| reading((*name).to_owned())).collect::<Vec<_>>()
    };
    let mut all = vec![Reading::All];
    all.extend(named(&STREAMS, Reading::Stream));
    all.extend(named(&CATEGORIES, Reading::Category));
    all.extend(named(&TYPES, Reading::Type));
    all.extend(named(&TAGS, Reading::Tag));
    all
}
