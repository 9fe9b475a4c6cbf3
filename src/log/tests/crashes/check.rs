//! Owns the judgement of one image of a disk: what a log that is opened on it must be.
//!
//! Promises: looks at every part of every event, in order, by position and by stream, and that an
//! append is there whole or not at all. Panics with what is wrong. A log that passes has also taken
//! a further append and shown it.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::chunk::directory::newest_hint;
use crate::clock::{SimClock, Timestamp};
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::error::{ErrorKind, OpenError};
use crate::event::{Expected, NewEvent, RecordedEvent};
use crate::index::ChunkIndex;
use crate::log::engine::Engine;
use crate::log::recovery::OpenReport;
use crate::options::{Durability, Options};
use crate::position::{Position, StreamVersion};
use crate::read::View;

/// An event as it was appended.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) stream: String,
    pub(super) version: u64,
    pub(super) event: NewEvent,
    /// Of the first event of an append: its operation.
    pub(super) operation: Option<Uuid>,
    /// Position of the first event of its append.
    pub(super) append: u64,
}

impl Sent {
    fn is(&self, event: &RecordedEvent) -> bool {
        let new = &self.event;
        event.stream() == self.stream
            && event.version().get() == self.version
            && event.operation() == self.operation
            && event.id() == new.id
            && event.event_type() == new.event_type
            && event.tags().eq(new.tags.iter().map(String::as_str))
            && (event.data(), event.metadata()) == (&*new.data, &*new.metadata)
    }
}

/// What must be true of a log.
pub(super) struct Claim<'a> {
    pub(super) options: &'a Options,
    pub(super) now: Timestamp,
    /// All events in the order of the log, also those that nobody was told of.
    pub(super) sent: &'a [Sent],
    /// How many of them must be there.
    pub(super) floor: u64,
    /// What was cut before, of which a copy must be there (R7).
    pub(super) cut: Option<&'a [u8]>,
}

/// What a log was after a crash.
pub(super) struct Revived {
    /// Its events, with the one that it then took.
    pub(super) sent: Vec<Sent>,
    /// The disk before each call since the crash, where it was recorded, and at the end.
    pub(super) moments: Vec<SimDisk>,
    /// How many of them were before the log was open.
    opened: usize,
    /// What its recovery cut, or must have kept of an earlier cut.
    cut: Option<Vec<u8>>,
}

impl Revived {
    /// What must be true when the power fails at one of the moments. Recovery that begins again
    /// ends in the same state: at once where all that was found was durable, and otherwise as soon
    /// as the log was open, because what is in doubt is made sure (R4).
    pub(super) fn claim<'a>(
        &'a self,
        of: &Claim<'a>,
        moment: usize,
        was_durable: bool,
    ) -> Claim<'a> {
        let found = self.sent.len() as u64 - 1;
        let is_last = moment + 1 == self.moments.len();
        let floor = match of.options.durability {
            Durability::Sync if is_last => found + 1,
            _ if was_durable || moment >= self.opened => found,
            _ => of.floor,
        };
        let cut = self.cut.as_deref().filter(|_| was_durable || of.cut.is_some());
        Claim { sent: &self.sent, floor, cut, ..*of }
    }
}

/// What became of a log on a disk that lied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Loss {
    /// All that must be there is there.
    Nothing,
    /// An older state of the log, and no mark is left that knows of a later one.
    Untold,
    /// Opening is refused: events that were durable are gone.
    LostData,
    /// Opening is refused: bytes that were durable are damaged.
    Corrupt,
    /// Opening is refused: a chunk is gone.
    MissingChunk,
    /// A read tells of damage.
    ToldByRead,
}

/// Opens the log on the disk after a crash, looks at all of it and appends to it.
pub(super) fn revive(disk: &SimDisk, claim: &Claim<'_>, depth: usize) -> Revived {
    let clock = clock(claim);
    let (mut engine, report) = match open(disk, claim, &clock) {
        Ok(opened) => opened,
        Err(error) => panic!("an honest disk opens by itself: {error}"),
    };
    let mut moments = disk.take_recorded();
    let opened = moments.len();
    let view = engine.core.reader().view();
    let end = view.end().get();
    let known = claim.floor..=claim.sent.len() as u64;
    assert!(known.contains(&end), "the log ends at {end}, not in {known:?}");
    let sent = &claim.sent[..end as usize];
    check_whole(claim, end);
    let mut events = view.read_all(..);
    for (position, sent) in (0..).zip(sent) {
        let event = events.next().expect("the view reads to its end").expect("it reads");
        assert_eq!(event.position().get(), position);
        assert!(sent.is(&event), "{event:?} instead of {sent:?}");
    }
    assert!(events.next().is_none(), "nothing stands behind the end");
    check_streams(&view, sent);
    append_one(&mut engine, &clock, end, depth);
    check_indexes(&engine);
    let cut = report.cut.map(|cut| disk.read_file(&cut.kept_in).expect("a cut is kept aside"));
    if let Some(cut) = claim.cut {
        let names = disk.list().unwrap();
        let mut kept = names.iter().filter(|name| name.starts_with("lost-"));
        assert!(kept.any(|name| disk.read_file(name).unwrap() == cut), "{names:?} keep no cut");
    }
    let mut sent = sent.to_vec();
    sent.push(further(end, depth));
    moments.extend(disk.take_recorded());
    moments.push(disk.clone());
    Revived { sent, moments, opened, cut: claim.cut.map(<[u8]>::to_vec).or(cut) }
}

fn clock(claim: &Claim<'_>) -> Arc<SimClock> {
    let clock = Arc::new(SimClock::new());
    clock.set_wall(claim.now);
    clock
}

type Opened = Result<(Engine, OpenReport), OpenError>;

fn open(disk: &SimDisk, claim: &Claim<'_>, clock: &Arc<SimClock>) -> Opened {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Engine::open(disk, Arc::clone(clock) as _, claim.options.clone())
}

fn check_whole(claim: &Claim<'_>, end: u64) {
    let next = claim.sent.get(end as usize);
    assert!(next.is_none_or(|next| next.append == end), "an append is whole or absent");
}

/// The versions of the streams, and the last stream as a whole.
fn check_streams(view: &View, sent: &[Sent]) {
    let Some(last) = sent.last() else { return };
    let head = StreamVersion::new(last.version);
    assert_eq!(view.stream_version(&last.stream).unwrap(), Some(head));
    let of_stream = sent.iter().rev().filter(|sent| sent.stream == last.stream);
    let events = view.read_stream(&last.stream, ..).unwrap().rev();
    let mut count = 0;
    for (event, sent) in events.zip(of_stream) {
        assert!(sent.is(&event.unwrap()), "the stream shows {sent:?}");
        count += 1;
    }
    assert_eq!(count, last.version + 1, "a stream has no gap");
}

/// A footer says that the index before it is there (a damaged one would be made again, and hide
/// it).
fn check_indexes(engine: &Engine) {
    for segment in engine.core.segments.snapshot().iter() {
        if let ChunkIndex::Table(index) = &segment.index {
            let chunk = segment.chunk.number();
            index.check().unwrap_or_else(|flaw| panic!("{}", flaw.in_chunk(chunk)));
        }
    }
}

/// The event that is appended to a log that was recovered for the so manieth time.
fn further(end: u64, depth: usize) -> Sent {
    let id = Uuid::from_u64_pair(0xAF7E, depth as u64);
    let event = NewEvent::with_id(id, "After", vec![depth as u8; 40]);
    let stream = format!("after-{depth}");
    Sent { stream, version: 0, event, operation: None, append: end }
}

fn append_one(engine: &mut Engine, clock: &SimClock, end: u64, depth: usize) {
    let sent = further(end, depth);
    let events = [sent.event.clone()];
    let ack = engine.core.submit(&sent.stream, Expected::NoStream, events, Duration::ZERO).unwrap();
    for _ in 0..20 {
        if ack.is_ready() {
            break;
        }
        engine.writer.step();
        engine.chaser.step();
        engine.keeper.step();
        clock.advance(Duration::from_millis(1));
    }
    assert!(ack.is_ready(), "a recovered log takes a further append");
    assert_eq!(ack.wait().unwrap().first_position, Position::new(end));
    let view = engine.core.reader().view();
    let event = view.read_all(Position::new(end)..).next().unwrap().unwrap();
    assert!(sent.is(&event) && view.end().get() == end + 1, "{event:?}");
}

/// Judges an image of a disk that lied about syncs: there is an older state of the log, or a
/// report, and never anything else.
pub(super) fn judge(disk: &SimDisk, claim: &Claim<'_>) -> Loss {
    let engine = match open(disk, claim, &clock(claim)) {
        Ok((engine, _)) => engine,
        Err(OpenError::LostData { expected, found }) => {
            assert!(expected > found && expected.get() <= claim.sent.len() as u64);
            return Loss::LostData;
        }
        Err(OpenError::Corrupt(_)) => return Loss::Corrupt,
        Err(OpenError::MissingChunk(_)) => return Loss::MissingChunk,
        Err(other) => panic!("a loss is told as what it is: {other}"),
    };
    let view = engine.core.reader().view();
    let end = view.end().get();
    let hint = newest_hint(disk, view.log_id()).unwrap();
    let marked = hint.map_or(0, |hint| hint.durable_through.get());
    assert!(marked <= end, "the hint knows of {marked} events, and {end} are shown");
    assert!(end <= claim.sent.len() as u64, "{end} events are more than there ever were");
    check_whole(claim, end);
    for (sent, event) in claim.sent.iter().zip(view.read_all(..)) {
        match event {
            Ok(event) => assert!(sent.is(&event), "{event:?} instead of {sent:?}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Damage, "{error}");
                return Loss::ToldByRead;
            }
        }
    }
    if end < claim.floor { Loss::Untold } else { Loss::Nothing }
}
