//! Owns the small logs that are damaged: one that was closed, and one that was killed before a full
//! chunk had its footer.
//!
//! Promises: the same bytes in each process and on each machine, so that an input means the same
//! everywhere. Knows every mark in them that says how far they were durable.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use uuid::Uuid;

use crate::clock::{SimClock, Timestamp};
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::event::{Expected, NewEvent, RecordedEvent};
use crate::format::CHUNK_HEADER_SIZE;
use crate::format::checksum::LogSalt;
use crate::format::group::GroupHeader;
use crate::format::header::ChunkHeader;
use crate::format::hint::Hint;
use crate::format::mend::{self, Extent};
use crate::log::engine::Engine;
use crate::options::Options;
use crate::position::Position;
use crate::query::Query;

const LOG: Uuid = Uuid::from_u128(0x5EED);
pub(super) const STREAMS: [&str; 4] = ["a-1", "a-2", "b-1", "c"];
const TYPES: [&str; 2] = ["Opened", "Closed"];
const APPENDS: u64 = 46;
/// So that a chunk holds some twenty appends.
const LARGE: usize = 9 << 10;

pub(super) type Files = BTreeMap<String, Vec<u8>>;

#[derive(Debug)]
pub(super) struct Small {
    pub(super) files: Files,
    pub(super) events: Vec<RecordedEvent>,
    marks: Vec<Mark>,
}

/// Bytes that say: all events below a position were durable.
#[derive(Debug)]
struct Mark {
    file: String,
    range: Range<usize>,
    position: u64,
}

pub(super) fn options() -> Options {
    Options::new().chunk_size(64 << 10).prepare_ahead(64 << 10).group_size(4096)
}

/// A moment after the epoch of the small logs.
pub(super) fn time(seconds: u64) -> Timestamp {
    Timestamp::from_nanos((1_800_000_000 + seconds) * 1_000_000_000)
}

/// Queries of which some mean few events, and some none.
pub(super) fn queries() -> [Query; 5] {
    [
        Query::category("a").types(["Opened"]),
        Query::tag("red").tags(["n:3"]),
        Query::new().types(["Closed"]).or(Query::stream("c")),
        Query::tag("n:7"),
        Query::event_type("Never"),
    ]
}

/// The small log that was closed, and the one that was killed.
pub(super) fn both() -> &'static [Small; 2] {
    static BOTH: OnceLock<[Small; 2]> = OnceLock::new();
    BOTH.get_or_init(|| [Small::make(true), Small::make(false)])
}

impl Small {
    fn make(is_closed: bool) -> Self {
        let disk = SimDisk::new();
        let clock = Arc::new(SimClock::new());
        let mut engine = engine(&disk, &clock);
        for number in 0..APPENDS {
            clock.set_wall(time(number));
            append(&mut engine, number);
        }
        while engine.keeper.step() == crate::stage::Step::Worked {}
        if is_closed {
            engine.writer.finish();
            engine.keeper.finish().expect("memory does not fail");
        }
        drop(engine);
        let mut files = files_of(&disk);
        rename(&mut files);
        if !is_closed {
            let sealed = files.get_mut("chunk-0000000001").expect("a second chunk");
            let footer = sealed.len() - CHUNK_HEADER_SIZE as usize;
            sealed[footer..].fill(0);
        }
        let events = events(&files);
        let marks = marks(&files);
        Self { files, events, marks }
    }

    /// The least end that a log may have whose files are these: that of all marks that are left.
    pub(super) fn least_end(&self, files: &Files) -> u64 {
        let is_left = |mark: &&Mark| {
            let before = self.files[&mark.file].get(mark.range.clone());
            files.get(&mark.file).and_then(|file| file.get(mark.range.clone())) == before
        };
        let left = self.marks.iter().filter(is_left);
        left.map(|mark| mark.position).max().unwrap_or_default()
    }

    /// The end of all marks.
    #[cfg(test)]
    pub(super) fn marked_end(&self) -> u64 {
        let end = self.marks.iter().map(|mark| mark.position).max().unwrap();
        assert!(end > 0 && end + 2 >= self.events.len() as u64, "{end} of {}", self.events.len());
        end
    }

    /// The version of a stream's last event below `end`.
    pub(super) fn head(&self, stream: &str, end: Position) -> Option<u64> {
        let below = self.events.iter().filter(|event| event.position() < end);
        let last = below.filter(|event| event.stream() == stream).last();
        last.map(|event| event.version().get())
    }
}

fn engine(disk: &SimDisk, clock: &Arc<SimClock>) -> Engine {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    clock.set_wall(time(0));
    Engine::open(disk, Arc::clone(clock) as _, options()).expect("memory does not fail").0
}

fn append(engine: &mut Engine, number: u64) {
    let stream = STREAMS[number as usize % STREAMS.len()];
    let events = (0..=number % 2).map(|place| {
        let size = if number.is_multiple_of(4) { LARGE } else { number as usize * 3 };
        let event = NewEvent::new(TYPES[(number + place) as usize % 2], vec![number as u8; size])
            .id(Uuid::from_u128(u128::from(2 * number + place)))
            .tag(format!("n:{number}"));
        if number.is_multiple_of(3) { event.tag("red") } else { event }
    });
    let ack = engine.core.submit(stream, Expected::Any, events, Duration::ZERO);
    let ack = ack.expect("the queue has room");
    for _ in 0..100 {
        engine.writer.step();
        engine.chaser.step();
        engine.keeper.step();
        if ack.is_ready() {
            ack.wait().expect("memory does not fail");
            return;
        }
    }
    unreachable!("a log that is stepped answers");
}

fn files_of(disk: &SimDisk) -> Files {
    let names = disk.list().expect("memory can be listed").into_iter();
    let files = names.filter(|name| name != "LOCK");
    files.map(|name| (name.clone(), disk.read_file(&name).unwrap_or_default())).collect()
}

/// Gives a log the id of all small logs, in place of its random one.
fn rename(files: &mut Files) {
    let end = mend(files, LOG, Extent::Checksums);
    assert!(end.is_some(), "a log has a chunk");
}

/// Mends all files of a log.
pub(super) fn mend(files: &mut Files, log: Uuid, extent: Extent) -> Option<mend::At> {
    let mut chunks: Vec<_> =
        files.iter_mut().filter(|(name, _)| name.starts_with("chunk-")).map(|it| it.1).collect();
    let end = mend::chunks(&mut chunks, log, extent);
    if let Some(hint) = files.get_mut("hint") {
        mend::hint(hint, log, end);
    }
    end
}

/// Mends all files of a small log.
pub(super) fn mend_all(files: &mut Files, extent: Extent) {
    mend(files, LOG, extent);
}

fn events(files: &Files) -> Vec<RecordedEvent> {
    let disk = SimDisk::new();
    files.iter().for_each(|(name, bytes)| disk.write_file(name, bytes.clone()));
    let engine = engine(&disk, &Arc::new(SimClock::new()));
    let events = engine.core.reader().view().read_all(..).collect::<crate::error::Result<Vec<_>>>();
    events.expect("a small log is sound")
}

fn marks(files: &Files) -> Vec<Mark> {
    let mut marks = Vec::new();
    for (name, bytes) in files {
        let mut note = |range, position: Position| {
            marks.push(Mark { file: name.clone(), range, position: position.get() });
        };
        if name == "hint" {
            for slot in [0, 512] {
                let there = slot..bytes.len().min(slot + 88);
                if let Some(hint) = bytes.get(there.clone()).and_then(Hint::newest_of_any) {
                    note(there, hint.durable_through);
                }
            }
        }
        let Ok(header) = ChunkHeader::decode(bytes) else { continue };
        note(0..CHUNK_HEADER_SIZE as usize, header.first_position);
        let salt = LogSalt::new(LOG).chunk(header.number);
        for offset in (CHUNK_HEADER_SIZE as usize..bytes.len()).step_by(8) {
            if let Ok(group) = GroupHeader::decode(&bytes[offset..], salt, offset as u64) {
                note(offset..offset + 64, group.header.durable_through);
            }
        }
    }
    marks
}
