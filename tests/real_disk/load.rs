//! Owns what these tests write into logs, and the comparison of a log with what was acked.
//!
//! Promises: what an append holds follows from its number alone, so a log must be the appends from
//! the first to some last one, each whole; at least those that are known to be durable. Readers are
//! asked too, because nobody may see what can vanish.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use paperchase::{AppendError, Expected, Log, NewEvent, OpenReport, Options, Position, View};

use super::disk::FailingDisk;
use crate::support::Random;

const SESSIONS: u64 = 3;
const STREAMS: u64 = 3;

pub(crate) fn options() -> Options {
    Options::new().chunk_size(1 << 20).prepare_ahead(256 << 10)
}

/// The events of an append: mostly small, now and then of several pages.
pub(crate) fn append(number: u64) -> Vec<Vec<u8>> {
    let mut random = Random::with(number);
    let count = 1 + random.below(3);
    let event = |part: u64| {
        let is_long = random.below(8) == 0;
        let length = random.below(if is_long { 40_000 } else { 1_500 });
        let mut data = [number.to_le_bytes(), part.to_le_bytes(), count.to_le_bytes()].concat();
        data.extend((0..length).map(|_| random.next() as u8));
        data
    };
    (0..count).map(event).collect()
}

/// Appends as the numbers say, one after the other, and waits for each.
pub(crate) fn fill(log: &Log, numbers: std::ops::Range<u64>) {
    for number in numbers {
        submit(log, number).wait().unwrap();
    }
}

pub(crate) fn submit(log: &Log, number: u64) -> paperchase::Ack {
    let events = append(number).into_iter().map(|data| NewEvent::new("Numbered", data));
    log.append(&stream(number), Expected::Any, events).unwrap()
}

fn stream(number: u64) -> String {
    format!("numbered-{}", number % STREAMS)
}

/// Appends one event of a test's own.
pub(crate) fn append_one(log: &Log, data: impl Into<Vec<u8>>) -> Result<u64, AppendError> {
    let event = NewEvent::new("Own", data.into());
    let ack = log.append("own", Expected::Any, [event])?;
    ack.wait().map(|appended| appended.first_position.get())
}

/// What is known to be durable: so many appends, when the disk had answered so many writes and
/// flushes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) appends: u64,
    pub(crate) entries: usize,
}

/// How a load went.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) marks: Vec<Mark>,
    /// Where the log was opened, closed, or had begun another chunk.
    pub(crate) turns: Vec<usize>,
    pub(crate) chunks: usize,
}

impl Run {
    fn note(&mut self, appends: u64, disk: &FailingDisk) {
        let entries = disk.entries();
        self.marks.push(Mark { appends, entries });
    }

    fn turn(&mut self, disk: &FailingDisk) {
        self.turns.push(disk.entries());
    }
}

/// Opens a log, appends with few and with many in flight, closes it, and begins again.
pub(crate) fn run(disk: &FailingDisk, appends: u64) -> Run {
    let mut run = Run::default();
    let directory = disk.fs().log();
    for session in 0..SESSIONS {
        run.turn(disk);
        let log = options().open(&directory).unwrap();
        run.turn(disk);
        let first = session * appends / SESSIONS;
        run.note(first, disk);
        let mut flight = VecDeque::new();
        for number in first..(session + 1) * appends / SESSIONS {
            flight.push_back((number, submit(&log, number)));
            while flight.len() as u64 > number / 16 % 3 * 8 {
                acked_next(&mut run, flight.pop_front(), disk);
            }
            let chunks = log.view().chunks().len();
            if chunks != run.chunks {
                run.chunks = chunks;
                run.turn(disk);
            }
        }
        while let Some(oldest) = flight.pop_front() {
            acked_next(&mut run, Some(oldest), disk);
        }
        log.close().unwrap();
        run.turn(disk);
    }
    run
}

fn acked_next(run: &mut Run, oldest: Option<(u64, paperchase::Ack)>, disk: &FailingDisk) {
    if let Some((number, ack)) = oldest {
        ack.wait().unwrap();
        run.note(number + 1, disk);
    }
}

/// Opens the log of a run as the power left it, appends a little and closes it. So many appends
/// were acked when the power was lost; what is shown behind them must stay too.
pub(crate) fn recover(disk: &FailingDisk, acked: u64) -> Run {
    let mut run = Run::default();
    run.marks.push(Mark { appends: acked, entries: 0 });
    let log = options().open(disk.fs().log()).unwrap();
    let shown = count(&log.view());
    assert!(shown >= acked, "{shown} appends are there, and {acked} were acked");
    run.note(shown, disk);
    run.turn(disk);
    for number in shown..shown + 5 {
        acked_next(&mut run, Some((number, submit(&log, number))), disk);
    }
    run.chunks = log.view().chunks().len();
    log.close().unwrap();
    run.turn(disk);
    run
}

/// What a log was found to hold.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) appends: u64,
    pub(crate) report: OpenReport,
}

/// Opens the log of a run as the power left it. All of the first `acked` appends must be there, and
/// nothing but whole appends in their order; and it must go on.
pub(crate) fn check(directory: &Path, acked: u64) -> Found {
    let log = options().open(directory).unwrap();
    let report = log.report().clone();
    let appends = count(&log.view());
    assert!(appends >= acked, "{appends} appends are there, and {acked} were acked: {report:?}");
    let end = log.view().end();
    let position = append_one(&log, b"behind the loss of power").unwrap();
    assert_eq!(position, end.get());
    log.close().unwrap();
    let view = View::open(directory).unwrap();
    assert_eq!(view.end(), Position::new(position + 1));
    assert_eq!(view.read_all(end..).next().unwrap().unwrap().data(), b"behind the loss of power");
    Found { appends, report }
}

/// How many appends a view shows, which must be the first ones, whole and in order.
pub(crate) fn count(view: &View) -> u64 {
    let mut events = view.read_all(..);
    let mut versions: BTreeMap<String, u64> = BTreeMap::new();
    for number in 0.. {
        for (part, data) in append(number).into_iter().enumerate() {
            let event = match events.next() {
                Some(event) => event.unwrap(),
                None if part == 0 => return number,
                None => panic!("append {number} is not whole"),
            };
            let version = versions.entry(stream(number)).or_default();
            assert!(event.data() == data, "append {number}, part {part}: other bytes");
            assert_eq!((event.stream(), event.version().get()), (&*stream(number), *version));
            *version += 1;
        }
    }
    unreachable!("a log has an end");
}
