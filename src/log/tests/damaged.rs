//! Owns whole directories that were damaged: a small log, changed as its input says, is opened and
//! read in every way.
//!
//! Promises: panics unless the answer is a part of the log up to a place behind all marks that are
//! left, or an error with a name. Where files are changed by accident, every event and every list
//! must be the right one; where an enemy mends the checksums (F49), nothing may panic, hang or take
//! much memory, and every event must be what it was asked for as.

mod changes;
mod small;

use std::sync::Arc;
use std::time::Duration;

#[cfg(test)]
use bytes::Bytes;

use crate::chunk::directory;
use crate::clock::SimClock;
use crate::disk::sim::SimDisk;
use crate::disk::{Access, Disk};
use crate::error::Result;
use crate::event::{Expected, NewEvent, RecordedEvent, category};
#[cfg(test)]
use crate::format::{
    footer::{FOOTER_SIZE, Footer, section},
    mend::{self, Extent},
};
#[cfg(test)]
use crate::index::{key::Key, table::Table};
use crate::log::engine::Engine;
use crate::position::Position;
use crate::query::Query;
use crate::read::View;

use changes::Input;
use small::{Small, options};

/// Most events of a read that are looked at.
const READ_MAX: usize = 2000;

/// Opens the log that the input describes: a byte that chooses, then changes.
pub(crate) fn open(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let small = &small::both()[usize::from(choice & 1)];
    let is_enemy = choice & 2 != 0;
    let files = changes::changed(&mut input, small, is_enemy);
    let disk = SimDisk::new();
    for (name, bytes) in &files {
        disk.write_file(name, bytes.clone());
    }
    let look = Look { small, is_enemy, more: None };
    let least = if is_enemy { 0 } else { small.least_end(&files) };
    // Who reads beside a writer waits for chunks that are missing, which takes time.
    if choice & 4 != 0
        && directory::read(&disk, Access::Read).is_ok()
        && let Ok(view) = View::open_on(&disk.snapshot())
    {
        look.check(&view);
    }
    let Some((mut engine, view)) = opened(&disk) else { return };
    assert!(view.end().get() >= least, "the log ends at {} before {least}", view.end());
    look.check(&view);
    let Some(more) = append(&mut engine, &look, view.end()) else { return };
    drop(engine);
    let (_, view) = opened(&disk).expect("a log that took an append opens again");
    assert_eq!(view.end(), more.position().plus(1));
    let last = view.read_all(more.position()..).next();
    let last = last.expect("what was acked is there").expect("what was acked is sound");
    assert_eq!(last.record, more.record);
    Look { more: Some(more), ..look }.check(&view);
}

/// Opens for writing and takes a view; `None` where the log is refused.
fn opened(disk: &SimDisk) -> Option<(Engine, View)> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let clock = Arc::new(SimClock::new());
    clock.set_wall(small::time(1 << 20));
    match Engine::open(disk, clock, options()) {
        Ok((engine, _)) => {
            let view = engine.core.reader().view();
            Some((engine, view))
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

/// Appends an event, as far as the log takes it.
fn append(engine: &mut Engine, look: &Look<'_>, end: Position) -> Option<RecordedEvent> {
    let event = NewEvent::new("More", "more").tag("red");
    let stream = small::STREAMS[0];
    let mut ack = Some(engine.core.submit(stream, Expected::Any, [event], Duration::ZERO).ok()?);
    for _ in 0..200 {
        engine.writer.step();
        engine.chaser.step();
        engine.keeper.step();
        if let Some(ready) = ack.take_if(|ack| ack.is_ready()) {
            let done = ready.wait().ok()?;
            assert_eq!(done.first_position, end);
            if !look.is_enemy {
                let head = look.small.head(stream, end).map_or(0, |head| head + 1);
                assert_eq!(done.version.get(), head, "the version behind that of {stream}");
            }
            let view = engine.core.reader().view();
            let event = view.read_all(end..).next().expect("what is acked is visible");
            return Some(event.expect("what is acked is sound"));
        }
    }
    panic!("an append was never answered")
}

/// What a view must show.
#[derive(Clone)]
struct Look<'a> {
    small: &'a Small,
    is_enemy: bool,
    /// The event that was appended since.
    more: Option<RecordedEvent>,
}

impl Look<'_> {
    fn check(&self, view: &View) {
        let end = view.end();
        let known = self.small.events.len() as u64 + u64::from(self.more.is_some());
        assert!(self.is_enemy || end.get() <= known, "{end} of {known}");
        let all: Vec<_> = view.read_all(..).take(READ_MAX).collect();
        self.compare(&all, end, |_| true);
        let mut backwards: Vec<_> = view.read_all(..).rev().take(READ_MAX).collect();
        if end.get() < READ_MAX as u64 {
            backwards.reverse();
            self.compare(&backwards, end, |_| true);
        }
        for stream in small::STREAMS {
            self.check_stream(view, stream);
        }
        for query in small::queries() {
            let Ok(read) = view.read(&query, ..) else { panic!("{query} is within its limits") };
            self.compare(&read.take(READ_MAX).collect::<Vec<_>>(), end, |it| query.matches(it));
            let read = view.read(&query, ..).map(|read| read.rev().take(READ_MAX).collect());
            let mut read: Vec<_> = read.unwrap_or_default();
            read.reverse();
            self.compare(&read, end, |it| query.matches(it));
        }
        self.check_lists(view);
        let _ = view.chunks();
    }

    /// Compares what was read with the events that it should have been.
    fn compare(
        &self,
        read: &[Result<RecordedEvent>],
        end: Position,
        is_meant: impl Fn(&RecordedEvent) -> bool,
    ) {
        let mut next = None;
        for event in read.iter().flatten() {
            assert!(event.position() < end && is_meant(event), "{event:?} was not asked for");
            assert!(next.is_none_or(|next| event.position() >= next), "{event:?} in no order");
            next = Some(event.position().plus(1));
            let known = self.known(event.position());
            let is_right = known.is_none_or(|known| known.record == event.record);
            assert!(self.is_enemy || is_right, "{event:?} instead of {known:?}");
        }
        // What is hidden is told.
        if !self.is_enemy && read.iter().all(Result::is_ok) {
            let meant = self.all(end).filter(|event| is_meant(event));
            assert_eq!(read.len(), meant.count(), "events are missing, and nothing is told");
        }
    }

    fn known(&self, position: Position) -> Option<&RecordedEvent> {
        self.more.iter().chain(&self.small.events).find(|event| event.position() == position)
    }

    /// The events that are there when the log ends so.
    fn all(&self, end: Position) -> impl Iterator<Item = &RecordedEvent> {
        let before = self.more.as_ref().map_or(end, RecordedEvent::position);
        let events = self.small.events.iter().filter(move |event| event.position() < before);
        events.chain(&self.more)
    }

    fn check_stream(&self, view: &View, stream: &str) {
        let read: Vec<_> = match view.read_stream(stream, ..) {
            Ok(read) => read.take(READ_MAX).collect(),
            Err(error) => vec![Err(error)],
        };
        self.compare(&read, view.end(), |event| event.stream() == stream);
        let mut read: Vec<_> = match view.read_stream(stream, ..) {
            Ok(read) => read.rev().take(READ_MAX).collect(),
            Err(error) => vec![Err(error)],
        };
        read.reverse();
        self.compare(&read, view.end(), |event| event.stream() == stream);
        if let Ok(version) = view.stream_version(stream)
            && !self.is_enemy
        {
            let events = self.all(view.end()).filter(|event| event.stream() == stream);
            assert_eq!(version, events.last().map(RecordedEvent::version), "head of {stream}");
        }
    }

    fn check_lists(&self, view: &View) {
        let count = |name: &str, has: &dyn Fn(&RecordedEvent, &str) -> bool| {
            self.all(view.end()).filter(|event| has(event, name)).count() as u64
        };
        let check = |listed: Result<Vec<(String, u64)>>,
                     has: &dyn Fn(&RecordedEvent, &str) -> bool| {
            let Ok(listed) = listed else { return };
            if !self.is_enemy {
                let wrong = listed.iter().find(|(name, events)| *events != count(name, has));
                assert_eq!(wrong, None, "a count of {listed:?}");
            }
        };
        let streams = view.streams("").map(|all| all.into_iter().map(|it| (it.name, it.events)));
        check(streams.map(Iterator::collect), &|event, name| event.stream() == name);
        let names = |listed: Result<Vec<crate::read::NameInfo>>| -> Result<Vec<(String, u64)>> {
            Ok(listed?.into_iter().map(|it| (it.name, it.events)).collect())
        };
        check(names(view.categories("")), &|event, name| category(event.stream()) == name);
        check(names(view.types("")), &|event, name| event.event_type() == name);
        check(names(view.tags("")), &|event, name| event.tags().any(|tag| tag == name));
    }
}

/// The marks of small logs are there, and nothing is wrong with logs that nobody changed.
#[cfg(test)]
#[test]
fn a_small_log_is_whole() {
    for (choice, small) in small::both().iter().enumerate() {
        let files = small.files.clone();
        assert_eq!(small.least_end(&files), small.marked_end(), "{:?}", small.files.keys());
        for of_enemy in [0, 2, 4, 6] {
            open(&[choice as u8 | of_enemy]);
        }
        let disk = SimDisk::new();
        files.iter().for_each(|(name, bytes)| disk.write_file(name, bytes.clone()));
        let (_, view) = opened(&disk).unwrap();
        assert_eq!(view.end().get(), small.events.len() as u64);
        assert!(view.read(&Query::new(), ..).unwrap().all(|event| event.is_ok()));
    }
}

/// A chunk 0 that begins elsewhere would have its first events at several positions.
#[cfg(test)]
#[test]
fn a_log_that_begins_behind_the_first_position_is_refused_beside_its_writer_too() {
    for small in small::both() {
        let mut files = small.files.clone();
        let add = |file: &mut Vec<u8>, at: usize| {
            let number = u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) + (1 << 29);
            file[at..at + 8].copy_from_slice(&number.to_le_bytes());
        };
        for (name, file) in files.iter_mut().filter(|(name, _)| *name != "stats") {
            let footer = file.len() - 4096.min(file.len());
            let places: Vec<usize> = match name.as_str() {
                "hint" => vec![40, 512 + 40],
                "chunk-0000000000" => vec![40, footer + 40],
                _ if file[footer..].starts_with(b"PCHFOOTR") => vec![footer + 40],
                _ => Vec::new(),
            };
            places.into_iter().for_each(|at| add(file, at));
        }
        small::mend_all(&mut files, Extent::Checksums);
        let disk = SimDisk::new();
        files.iter().for_each(|(name, bytes)| disk.write_file(name, bytes.clone()));
        let refused = View::open_on(&disk).map(|view| view.end()).unwrap_err().to_string();
        assert!(refused.contains("first position of the chunk"), "{refused}");
        assert!(opened(&disk).is_none());
    }
}

/// Opening makes a short file as long as its chunk again, and zeros may be all that its footer
/// lacked.
#[cfg(test)]
#[test]
fn a_footer_that_a_longer_file_has_again_is_looked_at_before() {
    let small = &small::both()[0];
    let name = "chunk-0000000001";
    let opens = |is_mended: bool, is_last: bool| {
        let mut files = small.files.clone();
        let file = files.get_mut(name).unwrap();
        let footer = file.len() - 4096;
        assert!(file[footer..].starts_with(b"PCHFOOTR"));
        if is_mended {
            file[footer + 64] ^= 1;
            mend::page(&mut file[footer..], 4096, *b"PCHFOOTR");
        }
        file.truncate(footer + 255);
        if is_last {
            files.retain(|other, _| *other == name || *other == "chunk-0000000000");
        }
        let disk = SimDisk::new();
        files.iter().for_each(|(name, bytes)| disk.write_file(name, bytes.clone()));
        let is_open = opened(&disk).is_some();
        assert_eq!(opened(&disk).is_some(), is_open);
        is_open
    };
    assert!(opens(false, false), "it is sealed again");
    assert!(!opens(true, false), "the footer names another end");
    assert!(!opens(false, true), "a sealed chunk is not the last");
}

/// A sealed index whose checksums fit may still tell a stream's events in any order.
#[cfg(test)]
#[test]
fn a_stream_out_of_order_is_damage() {
    let mut files = small::both()[0].files.clone();
    let file = files.get_mut("chunk-0000000000").unwrap();
    let footer = Footer::decode(&file[file.len() - FOOTER_SIZE as usize..]).unwrap();
    let table = Table::open(&Bytes::from(file.clone()), &footer).unwrap();
    let stream = small::STREAMS[0];
    let found = table.find(&Key::stream(stream)).unwrap().unwrap().postings;
    let stored: &[u8] = &found;
    let turned: Vec<u8> = stored.rchunks(4).flatten().copied().collect();
    let section = footer.section(section::POSTINGS).unwrap();
    let range = section.offset as usize..section.end() as usize;
    let at = (range.start..range.end).step_by(4).find(|at| file[*at..].starts_with(stored));
    file[at.unwrap()..][..turned.len()].copy_from_slice(&turned);
    small::mend_all(&mut files, Extent::Checksums);
    let disk = SimDisk::new();
    files.iter().for_each(|(name, bytes)| disk.write_file(name, bytes.clone()));
    let view = View::open_on(&disk).unwrap();
    let wrong = stored.len() / 4 - 1;
    assert!(wrong > 1);
    let check = |read: Vec<Result<RecordedEvent>>| {
        let told: Vec<_> = read.iter().filter_map(|event| event.as_ref().err()).collect();
        assert_eq!(told.len(), wrong, "{read:?}");
        assert!(told.iter().all(|error| error.to_string().contains("order of a stream")));
    };
    let read = || view.read_stream(stream, ..).unwrap();
    check(read().collect());
    check(read().rev().collect());
    // What was read from one end is a bound for the other.
    let mut both = read();
    let first = both.next().unwrap();
    check(both.rev().chain([first]).collect());
}
