//! Tests that a query reads what a look at every event finds, from both ends, in sealed chunks and
//! in others, and that no wrong posting makes it read anything else.

mod passed_over;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::found::{append, open};
use super::stepped::Random;
use super::{Log, small};
use crate::disk::sim::SimDisk;
use crate::error::{ErrorKind, Result};
use crate::event::{Expected, NewEvent, RecordedEvent, category};
use crate::format::checksum::LogSalt;
use crate::format::footer::{FOOTER_SIZE, Footer, section};
use crate::index::segments::first_match;
use crate::position::{Position, StreamVersion};
use crate::query::{QUERY_ITEMS_MAX, Query};
use crate::read::{ChunkState, NameInfo, ReadStream, View};

const FIRST: &str = "chunk-0000000000";
const SECOND: &str = "chunk-0000000001";
const STREAMS: [&str; 6] = ["cart-1", "cart-2", "order-1", "order", "-", "absent-1"];
const CATEGORIES: [&str; 4] = ["cart", "order", "", "absent"];
const TYPES: [&str; 4] = ["Added", "Removed", "Paid", "Absent"];
const TAGS: [&str; 5] = ["red", "green", "blue", "rare", "absent"];

fn random() -> Random {
    let seed = std::env::var("PAPERCHASE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0 | 1);
    println!("PAPERCHASE_SEED={seed}");
    Random(seed)
}

impl Random {
    fn pick<'a>(&mut self, names: &[&'a str]) -> &'a str {
        names[self.below(names.len() as u64) as usize]
    }

    fn some<'a>(&mut self, names: &[&'a str], most: u64) -> Vec<&'a str> {
        (0..self.below(most + 1)).map(|_| self.pick(names)).collect()
    }

    fn event(&mut self) -> NewEvent {
        let size = self.below(5_000) as usize;
        let mut event = NewEvent::new(self.pick(&TYPES[..3]), vec![1; size]);
        for tag in self.some(&TAGS[..3], 2) {
            event = event.tag(tag);
        }
        if self.below(200) == 0 { event.tag("rare") } else { event }
    }

    fn query(&mut self) -> Query {
        let item = |random: &mut Self| {
            Query::new()
                .types(random.some(&TYPES, 2))
                .tags(random.some(&TAGS, 2))
                .streams(random.some(&STREAMS, 1))
                .categories(random.some(&CATEGORIES, 1))
        };
        let first = item(self);
        (0..self.below(3)).fold(first, |query, _| query.or(item(self)))
    }

    fn range(&mut self, end: u64) -> Range<Position> {
        let mut position = || Position::new(self.below(end + 20));
        position()..position()
    }
}

fn filled(random: &mut Random) -> SimDisk {
    let disk = SimDisk::new();
    let log = open(&disk, small()).unwrap();
    for _ in 0..300 {
        let events: Vec<_> = (0..=random.below(8)).map(|_| random.event()).collect();
        log.append(random.pick(&STREAMS[..5]), Expected::Any, events).unwrap().wait().unwrap();
    }
    log.close().unwrap();
    disk
}

/// The same log with no chunk sealed.
fn unsealed(disk: &SimDisk) -> SimDisk {
    let disk = disk.snapshot();
    for chunk in 0.. {
        let name = format!("chunk-{chunk:010}");
        let Some(mut bytes) = disk.read_file(&name) else { break };
        let footer = bytes.len() - FOOTER_SIZE as usize;
        bytes[footer..].fill(0);
        disk.write_file(&name, bytes);
    }
    disk
}

fn check(view: &View, random: &mut Random, queries: usize) {
    let all: Vec<_> = view.read_all(..).collect::<Result<_>>().unwrap();
    for _ in 0..queries {
        let query = random.query();
        let range = random.range(all.len() as u64);
        let is_meant =
            |event: &&RecordedEvent| range.contains(&event.position()) && query.matches(event);
        let meant: Vec<_> = all.iter().filter(is_meant).cloned().collect();
        let read = || view.read(&query, range.clone()).unwrap().map(Result::unwrap);
        assert!(read().eq(meant.iter().cloned()), "{query} in {range:?}");
        assert!(read().rev().eq(meant.iter().rev().cloned()), "{query} in {range:?}");
        let (mut read, mut left) = (read(), meant.into_iter());
        for _ in 0..left.len() + 2 {
            let (found, wanted) = match random.below(2) {
                0 => (read.next(), left.next()),
                _ => (read.next_back(), left.next_back()),
            };
            assert_eq!(found, wanted, "{query} in {range:?}");
        }
    }
}

#[test]
fn a_query_reads_what_a_look_at_every_event_finds() {
    let mut random = random();
    let disk = filled(&mut random);
    let states = |view: &View| view.chunks().iter().map(|chunk| chunk.state).collect::<Vec<_>>();
    let sealed = View::open_on(&disk).unwrap();
    assert!(states(&sealed).iter().filter(|state| **state == ChunkState::Sealed).count() >= 2);
    check(&sealed, &mut random, 150);
    let unsealed = View::open_on(&unsealed(&disk)).unwrap();
    assert!(states(&unsealed).iter().all(|state| *state != ChunkState::Sealed));
    check(&unsealed, &mut random, 150);
}

#[test]
fn a_query_reads_a_log_that_is_written() {
    let mut random = random();
    let disk = SimDisk::new();
    let log = open(&disk, small()).unwrap();
    for size in [1, 700 << 10, 5, 700 << 10, 700 << 10, 9] {
        let (event, large) = (random.event(), NewEvent::new("Large", vec![1; size]));
        log.append("cart-1", Expected::Any, [event, large]).unwrap().wait().unwrap();
        check(&log.view(), &mut random, 20);
        let newest = log.read(&Query::event_type("Large"), ..).unwrap().next_back();
        assert_eq!(newest.unwrap().unwrap().data().len(), size);
    }
}

#[test]
fn a_query_for_everything_reads_all() {
    let disk = filled(&mut random());
    for disk in [unsealed(&disk), disk] {
        let view = View::open_on(&disk).unwrap();
        for query in [Query::new(), Query::tag("absent").or(Query::new())] {
            let all = || view.read_all(..).map(Result::unwrap);
            assert!(view.read(&query, ..).unwrap().map(Result::unwrap).eq(all()));
            assert!(view.read(&query, ..).unwrap().rev().map(Result::unwrap).eq(all().rev()));
        }
    }
}

#[test]
fn a_query_beyond_its_limits_is_refused() {
    let log = open(&SimDisk::new(), small()).unwrap();
    let most = (1..QUERY_ITEMS_MAX).fold(Query::tag("a"), |query, _| query.or(Query::tag("a")));
    assert_eq!(log.read(&most, ..).unwrap().count(), 0);
    let error = log.read(&most.or(Query::tag("b")), ..).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.to_string(), "the query has more than 64 alternatives");
}

/// A chunk whose index has been signed with a change of one posting.
fn with_posting(disk: &SimDisk, place: usize, change: impl Fn(u32) -> u32) -> SimDisk {
    let disk = disk.snapshot();
    let mut bytes = disk.read_file(FIRST).unwrap();
    let mut footer = Footer::decode(&bytes[bytes.len() - FOOTER_SIZE as usize..]).unwrap();
    let salt = LogSalt::new(footer.log).chunk(footer.number);
    let part = footer.sections.iter_mut().find(|part| part.kind == section::POSTINGS).unwrap();
    let start = part.offset as usize;
    let posting = bytes[start + 4 * place..].first_chunk_mut().unwrap();
    *posting = change(u32::from_le_bytes(*posting)).to_le_bytes();
    part.checksum = salt.at_place(part.offset, &bytes[start..start + part.length as usize]);
    let at = bytes.len() - FOOTER_SIZE as usize;
    bytes[at..].copy_from_slice(&footer.encode());
    disk.write_file(FIRST, bytes);
    disk
}

fn postings(disk: &SimDisk) -> usize {
    let bytes = disk.read_file(FIRST).unwrap();
    let footer = Footer::decode(&bytes[bytes.len() - FOOTER_SIZE as usize..]).unwrap();
    footer.section(section::POSTINGS).unwrap().length as usize / 4
}

fn large_log() -> (SimDisk, Log) {
    let disk = SimDisk::new();
    let log = open(&disk, small()).unwrap();
    for number in 0..40_usize {
        let event = NewEvent::new(TYPES[number % 3], vec![1; 60 << 10]).tag(TAGS[number % 2]);
        log.append(STREAMS[number % 5], Expected::Any, [event]).unwrap().wait().unwrap();
    }
    (disk, log)
}

#[test]
fn f54_a_wrong_posting_is_never_read_as_an_event_that_is_meant() {
    let (disk, log) = large_log();
    log.close().unwrap();
    let view = View::open_on(&disk).unwrap();
    assert_eq!(view.chunks()[0].state, ChunkState::Sealed);
    let (mut damages, mut random) = (0, random());
    let changes = [|ordinal| ordinal ^ 1, |ordinal| ordinal + 3, |_| 0, |_| u32::MAX];
    for place in 0..postings(&disk) {
        for change in changes {
            let view = View::open_on(&with_posting(&disk, place, change)).unwrap();
            for query in [random.query(), Query::tag("red").types(["Added"]), Query::tag("green")] {
                for event in view.read(&query, ..).unwrap() {
                    match event {
                        Ok(event) => assert!(query.matches(&event), "{query}: {event:?}"),
                        Err(error) => {
                            damages += 1;
                            assert_eq!(error.kind(), ErrorKind::Damage, "{error}");
                            assert!(error.to_string().starts_with("chunk 0, offset "), "{error}");
                        }
                    }
                }
            }
        }
    }
    assert!(damages > 0, "no posting has led astray");
}

#[test]
fn f54_damage_that_hides_a_chunk_is_told_once_and_read_past() {
    let (disk, log) = large_log();
    let hidden = log.view().chunks()[1].first_position..log.view().chunks()[2].first_position;
    let query = Query::event_type("Added");
    let sound: Vec<_> = log.read(&query, ..).unwrap().map(Result::unwrap).collect();
    log.close().unwrap();
    let mut bytes = disk.read_file(SECOND).unwrap();
    let footer = Footer::decode(&bytes[bytes.len() - FOOTER_SIZE as usize..]).unwrap();
    for part in &footer.sections {
        bytes[part.offset as usize] ^= 1;
    }
    bytes[5_000] ^= 1;
    disk.write_file(SECOND, bytes);
    let view = View::open_on(&disk).unwrap();
    let before = sound.iter().filter(|event| event.position() < hidden.start).map(Some);
    let behind = sound.iter().filter(|event| event.position() >= hidden.end).map(Some);
    let wanted: Vec<_> = before.chain([None]).chain(behind).map(Option::<&_>::cloned).collect();
    let read = || view.read(&query, ..).unwrap().map(Result::ok);
    assert!(wanted.len() < sound.len());
    assert!(read().eq(wanted.iter().cloned()));
    assert!(read().rev().eq(wanted.iter().rev().cloned()));
}

#[test]
fn names_are_listed_with_what_the_view_shows_of_them() {
    let disk = filled(&mut random());
    let all: Vec<_> = View::open_on(&disk).unwrap().read_all(..).map(Result::unwrap).collect();
    for (disk, end) in [(unsealed(&disk), all.len()), (disk.clone(), all.len()), (disk, 700)] {
        let view = View::open_on(&disk).unwrap().until(Position::new(end as u64));
        let shown = &all[..end];
        let wanted = |prefix: &str, names: &dyn Fn(&RecordedEvent) -> Vec<String>| {
            let mut wanted = BTreeMap::<String, (u64, Position)>::new();
            for event in shown {
                for name in names(event).into_iter().collect::<BTreeSet<_>>() {
                    let (events, last) = wanted.entry(name).or_default();
                    (*events, *last) = (*events + 1, event.position());
                }
            }
            wanted.retain(|name, _| name.starts_with(prefix));
            wanted.into_iter().map(|(name, (events, last))| (name, events, last)).collect()
        };
        let listed = |names: Result<Vec<NameInfo>>| -> Vec<_> {
            let names = names.unwrap().into_iter();
            names.map(|name| (name.name, name.events, name.last_position)).collect()
        };
        for prefix in ["", "cart", "order", "Ad", "r", "red", "zzz"] {
            let of: Vec<_> = wanted(prefix, &|event| vec![category(event.stream()).to_owned()]);
            assert_eq!(listed(view.categories(prefix)), of);
            let of: Vec<_> = wanted(prefix, &|event| vec![event.event_type().to_owned()]);
            assert_eq!(listed(view.types(prefix)), of);
            let of: Vec<_> = wanted(prefix, &|event| event.tags().map(str::to_owned).collect());
            assert_eq!(listed(view.tags(prefix)), of);
            let of: Vec<_> = wanted(prefix, &|event| vec![event.stream().to_owned()]);
            let streams = view.streams(prefix).unwrap().into_iter().map(|stream| {
                assert_eq!(stream.version.get() + 1, stream.events);
                (stream.name, stream.events, stream.last_position)
            });
            assert_eq!(streams.collect::<Vec<_>>(), of);
        }
    }
}

#[test]
fn the_first_event_of_a_query_behind_a_position_is_found() {
    let mut random = random();
    let log = open(&filled(&mut random), small()).unwrap();
    let all: Vec<_> = log.view().read_all(..).map(Result::unwrap).collect();
    let segments = log.core.segments.snapshot();
    assert!(segments.len() >= 3);
    for _ in 0..500 {
        let (query, from) = (random.query(), random.range(all.len() as u64).start);
        let meant = |event: &&RecordedEvent| event.position() >= from && query.matches(event);
        let first = all.iter().find(meant).map(RecordedEvent::position);
        assert_eq!(first_match(&segments, &query, from).unwrap(), first, "{query} from {from}");
    }
}

#[test]
fn a_stream_is_looked_for_only_where_its_read_comes() {
    let disk = SimDisk::new();
    let log = open(&disk, small()).unwrap();
    (0..40).for_each(|_| _ = append(&log, 100 << 10).unwrap());
    log.close().unwrap();
    // Neither the index nor the events of the first chunk can be read.
    let mut bytes = disk.read_file("chunk-0000000000").unwrap();
    let footer = bytes.len() - 4096;
    bytes[4096..footer].fill(7);
    disk.write_file("chunk-0000000000", bytes);
    let log = open(&disk, small()).unwrap();
    let versions = |read: ReadStream| read.map(|event| event.ok().map(|event| event.version()));
    let version = |number| Some(StreamVersion::new(number));
    let first = log.view().chunks()[1].first_position.get();
    let mut newest = log.read_stream("big", ..).unwrap().rev();
    assert_eq!(newest.next().unwrap().unwrap().version(), StreamVersion::new(39));
    let forwards: Vec<_> = versions(log.read_stream("big", ..).unwrap()).collect();
    assert_eq!(forwards[0], None, "the damage is told, and reading goes on behind it");
    assert_eq!(forwards[1..], (first..40).map(version).collect::<Vec<_>>());
    // Both ends meet, wherever the chunks end.
    let mut read = log.read_stream("big", StreamVersion::new(first)..).unwrap();
    assert!(read.next().unwrap().is_err(), "the first chunk was asked");
    let mut met = Vec::new();
    while let Some(event) = read.next_back() {
        met.push(event.unwrap().version().get());
        met.extend(read.next().map(|event| event.unwrap().version().get()));
    }
    met.sort_unstable();
    assert_eq!(met, (first..40).collect::<Vec<_>>());
    // A range that ends within the stream asks no chunk beyond it.
    let range = StreamVersion::new(first)..StreamVersion::new(40);
    let backwards: Vec<_> = log.read_stream("big", range).unwrap().rev().collect();
    assert!(backwards.iter().all(Result::is_ok) && backwards.len() as u64 == 40 - first);
}
