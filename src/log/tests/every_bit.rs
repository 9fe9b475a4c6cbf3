//! The proof of F40 for a whole store: each bit of a log of a sealed and an open chunk is flipped
//! alone, the log is opened without its threads and read in every way.
//!
//! Promises: every answer is the right one or a named error; a flipped bit of an event's bytes is
//! always found. A short run tries every bit of small structures and one bit in some hundreds of
//! the rest, beginning at a printed offset; `PAPERCHASE_BITS=all` tries them all.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::random::Random;
use super::small;
use crate::clock::SimClock;
use crate::disk::sim::SimDisk;
use crate::disk::{Access, Disk};
use crate::error::{ErrorKind, OpenError, Result};
use crate::event::{Expected, NewEvent, RecordedEvent};
use crate::log::Log;
use crate::log::engine::Engine;
use crate::options::Options;
use crate::position::Position;
use crate::read::View;

const SEALED: &str = "chunk-0000000000";
const OPEN: &str = "chunk-0000000001";
const HINT: &str = "hint";
/// So much of the open chunk is tried: its groups, and zeros behind them.
const OPEN_TRIED: usize = 64 << 10;
/// The short run tries one bit of so many, a prime, so that all places in bytes and words come up.
const SHORT_STEP: usize = 1009;

fn options() -> Options {
    small().prepare_ahead(64 << 10).spin(Duration::ZERO)
}

/// What stands at a place of the store, as far as the expected answers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Region {
    ChunkHeader,
    /// A header of a group, or the padding behind an event: of a sealed chunk neither is read.
    Frame,
    /// The bytes of the event at this position.
    Event(u64),
    Index,
    Footer,
    /// Groups of the open chunk.
    Tail,
    Zeros,
    Hint,
}

/// What a changed store answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Equal,
    /// Opened; so many of the reads of single events were named errors.
    Found,
    Refused,
}

/// How often what came of a flipped bit of which region.
type Tally = BTreeMap<(String, Outcome), u64>;

struct Store {
    disk: SimDisk,
    events: Vec<RecordedEvent>,
    sealed: Vec<(Range<usize>, Region)>,
    tail: usize,
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(*bytes[at..].first_chunk().unwrap()) as usize
}

/// The places of the groups of a chunk's file: each begins where the one before ends.
fn groups(chunk: &[u8]) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut at = 4096;
    while chunk[at..].starts_with(b"PGRP") {
        let end = at + 64 + u32_at(chunk, at + 40);
        groups.push(at..end);
        at = end;
    }
    groups
}

impl Store {
    /// A log with one group an event: large events and small ones of several streams, types and
    /// tags, nearly a MiB of them in the sealed chunk.
    fn make() -> Self {
        let disk = SimDisk::new();
        let opened = || Arc::new(disk.clone()) as Arc<dyn Disk>;
        let log = Log::open_on(opened(), Arc::new(SimClock::new()), options()).unwrap();
        for number in 0_u8..120 {
            let length = if number % 4 == 0 { 36 << 10 } else { 40 + usize::from(number) };
            let event = NewEvent::new(format!("Type{}", number % 3), vec![number; length])
                .tag(format!("tag:{}", number % 7));
            let ack = log.append(&format!("kind-{}", number % 5), Expected::Any, [event]);
            ack.unwrap().wait().unwrap();
            if log.view().chunks().len() == 2 && number % 4 == 3 {
                break;
            }
        }
        let events = log.read_all(..).unwrap().collect::<Result<Vec<_>>>().unwrap();
        log.close().unwrap();
        disk.remove("LOCK");
        let chunk = disk.read_file(SEALED).unwrap();
        let mut sealed = vec![(0..4096, Region::ChunkHeader)];
        for (position, group) in (0..).zip(groups(&chunk)) {
            sealed.push((group.start..group.start + 64, Region::Frame));
            sealed.push((group.start + 64..group.end - 7, Region::Event(position)));
            sealed.push((group.end - 7..group.end, Region::Frame));
        }
        let data_end = sealed.last().unwrap().0.end;
        sealed.push((data_end..chunk.len() - 4096, Region::Index));
        sealed.push((chunk.len() - 4096..chunk.len(), Region::Footer));
        let tail = groups(&disk.read_file(OPEN).unwrap()).last().unwrap().end;
        Self { disk, events, sealed, tail }
    }

    /// All bits that are tried, as file, bit and region; of long regions one in `step`.
    fn bits(&self, step: usize, offset: usize) -> Vec<(&'static str, usize, Region)> {
        let mut all = Vec::new();
        let mut add = |file, bytes: Range<usize>, region, dense: bool| {
            let bits = bytes.start * 8..bytes.end * 8;
            let chosen = bits.filter(|bit| dense || bit % step == offset % step);
            all.extend(chosen.map(|bit| (file, bit, region)));
        };
        for (place, region) in &self.sealed {
            let small = matches!(region, Region::Event(_)) && place.len() < 100;
            add(SEALED, place.clone(), *region, small && step < 1500);
        }
        add(OPEN, 0..4096, Region::ChunkHeader, false);
        add(OPEN, 4096..self.tail, Region::Tail, false);
        add(OPEN, self.tail..OPEN_TRIED, Region::Zeros, false);
        add(HINT, 0..self.disk.read_file(HINT).unwrap().len(), Region::Hint, true);
        all
    }

    /// Opens the store with one bit flipped and reads all of it.
    fn ask(&self, file: &str, bit: usize) -> Result<Outcome, String> {
        let disk = self.disk.snapshot();
        let (opened, at) = (disk.open(file, Access::Write).unwrap(), bit as u64 / 8);
        let mut byte = [0];
        opened.read_at(&mut byte, at).unwrap();
        byte[0] ^= 1 << (bit % 8);
        opened.write_at(&byte, at).unwrap();
        opened.sync_data().unwrap();
        let clock = Arc::new(SimClock::new());
        let engine = match Engine::open(Arc::new(disk), clock, options()) {
            Ok((engine, _)) => engine,
            Err(OpenError::Failed(error)) if error.kind() != ErrorKind::Damage => {
                return Err(format!("no reason: {error}"));
            }
            Err(_) => return Ok(Outcome::Refused),
        };
        self.read(&engine.core.reader().view())
    }

    fn read(&self, view: &View) -> Result<Outcome, String> {
        if view.end() != Position::new(self.events.len() as u64) {
            return Err(format!("the log ends at {}", view.end()));
        }
        let mut found = self.same(view.read_all(..), self.events.iter())?;
        for stream in 0..5 {
            let name = format!("kind-{stream}");
            let wanted = self.events.iter().rev().filter(|event| event.stream() == name);
            found += match view.read_stream(&name, ..) {
                Ok(events) => self.same(events.rev(), wanted)?,
                Err(error) => named(&error)?,
            };
        }
        Ok(if found == 0 { Outcome::Equal } else { Outcome::Found })
    }

    /// How many answers are named errors; each other one must be the event that is meant.
    fn same<'a>(
        &self,
        read: impl Iterator<Item = Result<RecordedEvent>>,
        wanted: impl Iterator<Item = &'a RecordedEvent>,
    ) -> Result<u64, String> {
        let (mut read, mut found) = (read, 0);
        for wanted in wanted {
            match read.next() {
                Some(Ok(event)) if event == *wanted => {}
                Some(Ok(event)) => return Err(format!("{event:.0?} at {}", wanted.position())),
                Some(Err(error)) => found += named(&error)?,
                None if found > 0 => return Ok(found),
                None => return Err(format!("nothing at {}", wanted.position())),
            }
        }
        read.next().map_or(Ok(found), |_| Err("more than there is".to_owned()))
    }
}

fn named(error: &crate::error::Error) -> Result<u64, String> {
    match error.kind() {
        ErrorKind::Damage => Ok(1),
        _ => Err(format!("no damage: {error}")),
    }
}

/// What may come of a flipped bit in a region.
fn is_expected(region: Region, outcome: Outcome) -> bool {
    match region {
        Region::ChunkHeader | Region::Tail => outcome == Outcome::Refused,
        Region::Event(_) => outcome == Outcome::Found,
        Region::Frame => outcome != Outcome::Refused,
        Region::Index | Region::Footer | Region::Hint | Region::Zeros => outcome == Outcome::Equal,
    }
}

#[test]
fn f40_every_bit_of_a_store() {
    let all = std::env::var("PAPERCHASE_BITS").is_ok_and(|bits| bits == "all");
    let seed = super::modelled::variable("PAPERCHASE_SEED")
        .unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0 % SHORT_STEP as u64);
    println!("PAPERCHASE_SEED={seed}");
    let store = Store::make();
    let step = if all { 1 } else { SHORT_STEP };
    let bits = store.bits(step, Random::new(seed).below(SHORT_STEP as u64) as usize);
    let (next, tally) = (AtomicUsize::new(0), Mutex::new(Tally::new()));
    let told = AtomicU64::new(0);
    let work = || {
        let mut own = Tally::new();
        while let Some((file, bit, region)) = bits.get(next.fetch_add(1, Ordering::Relaxed)) {
            let asked = catch_unwind(AssertUnwindSafe(|| store.ask(file, *bit)));
            let outcome = asked.unwrap_or_else(|panic| {
                println!("{file}, bit {bit}, in {region:?}");
                resume_unwind(panic)
            });
            match outcome {
                Ok(outcome) if is_expected(*region, outcome) => {
                    let kind = format!("{region:?}");
                    let kind = kind.split('(').next().unwrap_or_default().to_owned();
                    *own.entry((kind, outcome)).or_default() += 1;
                }
                other => {
                    next.store(bits.len(), Ordering::Relaxed);
                    panic!("{file}, bit {bit}, in {region:?}: {other:?}");
                }
            }
            if all && told.fetch_add(1, Ordering::Relaxed).is_multiple_of(1_000_000) {
                println!("{} of {} bits", told.load(Ordering::Relaxed), bits.len());
            }
        }
        let mut tally = tally.lock().unwrap();
        own.into_iter().for_each(|(what, n)| *tally.entry(what).or_default() += n);
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    println!("{} bits: {:?}", bits.len(), tally.into_inner().unwrap());
}
