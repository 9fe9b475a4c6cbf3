//! Tests of the whole log: what is appended is acked, read back, and there again after every way of
//! stopping. Each runs on a real directory and on the simulated disk.

#![allow(clippy::unwrap_used, reason = "what is wrong ends the test")]
#![cfg_attr(not(test), allow(dead_code, unused_imports, reason = "fuzzers use a part"))]

#[cfg(test)]
mod closing;
mod compare;
#[cfg(test)]
mod crashes;
pub(crate) mod damaged;
#[cfg(test)]
mod every_bit;
#[cfg(test)]
mod failing;
#[cfg(test)]
mod faulty;
#[cfg(test)]
mod followed;
#[cfg(test)]
mod found;
mod generate;
#[cfg(test)]
mod histories;
#[cfg(all(test, shuttle))]
mod interleavings;
#[cfg(test)]
mod matrix;
mod model;
pub(crate) mod modelled;
#[cfg(test)]
mod network;
#[cfg(test)]
mod queries;
mod random;
#[cfg(test)]
mod scrubbing;
#[cfg(test)]
mod space;
#[cfg(test)]
mod stepped;
#[cfg(test)]
mod subscribing;
#[cfg(test)]
mod undecided;

use std::sync::Arc;
use std::time::Duration;

use super::Log;
use crate::append::Append;
use crate::clock::SystemClock;
use crate::disk::sim::SimDisk;
use crate::disk::{Disk, OsDisk};
use crate::error::{AppendError, OpenError};
use crate::event::{Expected, NewEvent, RecordedEvent};
use crate::options::{Durability, Options};
use crate::position::{Position, StreamVersion};
use crate::read::{ChunkState, View};

const MIB: u64 = 1 << 20;

#[cfg(test)]
fn on_both(test: impl Fn(Arc<dyn Disk>)) {
    test(Arc::new(SimDisk::new()));
    let dir = tempfile::tempdir().unwrap();
    test(Arc::new(OsDisk::open(dir.path()).unwrap()));
    // Short and interrupted calls are not noticed (F25).
    let dir = tempfile::tempdir().unwrap();
    test(Arc::new(OsDisk::open_with_short_calls(dir.path(), 9_000, true).unwrap()));
}

fn open(disk: &Arc<dyn Disk>) -> Log {
    open_with(disk, small()).unwrap()
}

fn open_with(disk: &Arc<dyn Disk>, options: Options) -> Result<Log, OpenError> {
    options.open_on(Arc::clone(disk), Arc::new(SystemClock::default()))
}

fn small() -> Options {
    Options::new().chunk_size(MIB).prepare_ahead(256 << 10)
}

fn event(number: u64) -> NewEvent {
    NewEvent::new("Counted", number.to_le_bytes()).tag(format!("parity:{}", number % 2))
}

fn stream(number: u64) -> String {
    format!("counter-{}", number % 7)
}

/// Appends the numbers of `range`, each to its stream, many in flight, and waits for all acks.
fn count(log: &Log, range: std::ops::Range<u64>) {
    let acks: Vec<_> = range
        .clone()
        .map(|number| log.append(&stream(number), Expected::Any, [event(number)]).unwrap())
        .collect();
    for (number, ack) in range.zip(acks) {
        assert_eq!(ack.wait().unwrap().first_position, Position::new(number));
    }
}

fn number(event: &RecordedEvent) -> u64 {
    u64::from_le_bytes(*event.data().first_chunk().unwrap())
}

fn check(view: &View, count: u64) {
    assert_eq!(view.end(), Position::new(count));
    for (expected, event) in (0..).zip(view.read_all(..)) {
        let event = event.unwrap();
        assert_eq!((event.position().get(), number(&event)), (expected, expected));
        assert_eq!(event.stream(), stream(expected));
        assert_eq!(event.version().get(), expected / 7);
    }
    let backwards: Vec<_> = view.read_all(..).rev().map(|event| number(&event.unwrap())).collect();
    assert!(backwards.into_iter().eq((0..count).rev()));
    for parity in 0..2 {
        let numbers = || (0..count).filter(|number| number % 2 == parity);
        let tag = format!("parity:{parity}");
        let events = view.read_tag(&tag, ..).unwrap();
        assert!(events.map(|event| number(&event.unwrap())).eq(numbers()));
        let events = view.read_tag(&tag, Position::new(5)..Position::new(50)).unwrap().rev();
        let some = numbers().filter(|number| (5..50).contains(number)).collect::<Vec<_>>();
        assert!(events.map(|event| number(&event.unwrap())).eq(some.into_iter().rev()));
    }
    assert_eq!(view.read_category("counter", ..).unwrap().count() as u64, count);
    assert_eq!(view.read_type("Counted", ..).unwrap().count() as u64, count);
    assert_eq!(view.read_type("counter", ..).unwrap().count(), 0);
    for first in 0..7 {
        let numbers = (first as usize..count as usize).step_by(7).map(|number| number as u64);
        let events = view.read_stream(&stream(first), ..).unwrap();
        assert!(events.map(|event| number(&event.unwrap())).eq(numbers.clone()));
        let events = view.read_stream(&stream(first), ..).unwrap().rev();
        assert!(events.map(|event| number(&event.unwrap())).eq(numbers.rev()));
    }
}

#[test]
fn what_is_acked_is_read_back() {
    on_both(|disk| {
        let log = open(&disk);
        assert!(log.report().created);
        count(&log, 0..500);
        check(&log.view(), 500);
        log.close().unwrap();
    });
}

#[test]
fn a_closed_log_opens_with_nothing_to_do() {
    on_both(|disk| {
        let log = open(&disk);
        count(&log, 0..100);
        log.close().unwrap();
        let log = open(&disk);
        let report = log.report();
        assert!(report.clean && !report.created, "{report:?}");
        assert_eq!((report.events, report.bytes_hardened, &report.cut), (100, 0, &None));
        count(&log, 100..200);
        drop(log);
        let log = open(&disk);
        assert!(log.report().clean, "a dropped log is closed too");
        check(&log.view(), 200);
    });
}

#[test]
fn chunks_roll_and_are_sealed_and_read_the_same() {
    on_both(|disk| {
        let log = open(&disk);
        let total = 40_000;
        for start in (0..total).step_by(2_000) {
            count(&log, start..start + 2_000);
        }
        check(&log.view(), total);
        log.close().unwrap();
        let log = open(&disk);
        let report = log.report().clone();
        assert!(report.clean && report.chunks >= 4 && report.chunks_scanned == 1, "{report:?}");
        let chunks = log.view().chunks();
        let (active, sealed) = chunks.split_last().unwrap();
        assert_eq!(active.state, ChunkState::Active);
        assert!(sealed.iter().all(|chunk| chunk.state == ChunkState::Sealed), "{sealed:?}");
        check(&log.view(), total);
        let streams = log.view().streams("").unwrap();
        assert_eq!(streams.len(), 7);
        assert_eq!(streams.iter().map(|stream| stream.events).sum::<u64>(), total);
        count(&log, total..total + 100);
        check(&log.view(), total + 100);
    });
}

#[test]
fn ranges_begin_and_end_where_they_say() {
    on_both(|disk| {
        let log = open(&disk);
        count(&log, 0..70);
        let at = Position::new;
        let numbers = |range: std::ops::Range<Position>| {
            log.read_all(range).unwrap().map(|event| number(&event.unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(numbers(at(3)..at(6)), [3, 4, 5]);
        assert_eq!(numbers(at(68)..at(99)), [68, 69]);
        assert_eq!(numbers(at(99)..at(3)), [0; 0]);
        let version = StreamVersion::new;
        let of = |range: std::ops::RangeInclusive<StreamVersion>| {
            let events = log.read_stream("counter-2", range).unwrap();
            events.map(|event| number(&event.unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(of(version(1)..=version(2)), [9, 16]);
        assert_eq!(of(version(9)..=version(12)), [65]);
        assert_eq!(log.read_stream("counter-9", ..).unwrap().count(), 0);
        assert_eq!(log.view().stream_version("counter-2").unwrap(), Some(version(9)));
        assert_eq!(log.view().stream_version("counter-9").unwrap(), None);
        let mut both = log.read_all(at(0)..at(3)).unwrap();
        let next = |event: Option<_>| {
            event.map(|event: crate::error::Result<RecordedEvent>| number(&event.unwrap()))
        };
        assert_eq!(next(both.next()), Some(0));
        assert_eq!(next(both.next_back()), Some(2));
        assert_eq!(next(both.next()), Some(1));
        assert_eq!((next(both.next()), next(both.next_back())), (None, None));
    });
}

#[test]
fn expectations_are_decided_in_order() {
    on_both(|disk| {
        let log = open(&disk);
        let append = |expected| log.append("cart-1", expected, [event(1), event(2)]).unwrap();
        let exact = |version| Expected::Exact(StreamVersion::new(version));
        let acks = [
            append(Expected::Exists),
            append(exact(0)),
            append(Expected::NoStream),
            append(Expected::NoStream),
            append(exact(0)),
            append(exact(1)),
            append(Expected::Exists),
            append(Expected::Any),
        ];
        let outcomes = acks.map(|ack| match ack.wait() {
            Ok(appended) => Ok(appended.version.get()),
            Err(AppendError::WrongVersion { actual, .. }) => Err(actual.map(StreamVersion::get)),
            Err(other) => panic!("{other}"),
        });
        let expected =
            [Err(None), Err(None), Ok(1), Err(Some(1)), Err(Some(1)), Ok(3), Ok(5), Ok(7)];
        assert_eq!(outcomes, expected);
        assert_eq!(log.view().end(), Position::new(8));
        log.close().unwrap();
        let log = open(&disk);
        let wrong = log.append("cart-1", exact(6), [event(1)]).unwrap().wait().unwrap_err();
        assert_eq!(wrong.to_string(), "stream \"cart-1\": expected version 6, found version 7");
        log.append("cart-1", exact(7), [event(1)]).unwrap().wait().unwrap();
    });
}

#[test]
fn an_append_that_no_log_ever_took_is_not_partly_stored() {
    on_both(|disk| {
        let log = open(&disk);
        let stored = event(1);
        log.append("b", Expected::NoStream, [stored.clone()]).unwrap().wait().unwrap();
        // Stream a has no event 3, so the append was never stored, although its part of b stands.
        let append = Append::new().event("a", event(2)).event("b", stored);
        let ahead = Expected::Exact(StreamVersion::new(3));
        let append = append.expect("a", ahead).expect("b", Expected::NoStream);
        let refused = append.submit(&log).unwrap().wait().unwrap_err();
        match refused {
            AppendError::WrongVersion { stream, expected, actual: None } => {
                assert_eq!((&*stream, expected), ("a", ahead));
            }
            other => panic!("{other}"),
        }
    });
}

#[test]
fn expectations_see_sealed_chunks() {
    on_both(|disk| {
        let log = open(&disk);
        log.append("first-1", Expected::NoStream, [event(0)]).unwrap().wait().unwrap();
        let big = NewEvent::new("Big", vec![7; 200 << 10]);
        for _ in 0..12 {
            log.append("big-1", Expected::Any, [big.clone()]).unwrap().wait().unwrap();
        }
        log.close().unwrap();
        let log = open(&disk);
        assert!(log.report().chunks > 2);
        let again = log.append("first-1", Expected::NoStream, [event(0)]).unwrap().wait();
        assert!(matches!(again, Err(AppendError::WrongVersion { .. })));
        let exact = Expected::Exact(StreamVersion::FIRST);
        let done = log.append("first-1", exact, [event(1)]).unwrap().wait().unwrap();
        assert_eq!(done.version.get(), 1);
    });
}

#[test]
fn limits_are_checked_before_anything_is_stored() {
    on_both(|disk| {
        let log = open(&disk);
        let refuse = |stream: &str, event: NewEvent| {
            log.append(stream, Expected::Any, [event]).map(drop).unwrap_err().to_string()
        };
        assert_eq!(refuse("", event(0)), "the stream's name is empty");
        assert_eq!(
            refuse(&"s".repeat(1025), event(0)),
            "the stream's name is 1025 bytes; the limit is 1024"
        );
        assert_eq!(refuse("s", NewEvent::new("", "")), "the event's type is empty");
        assert!(refuse("s", NewEvent::new("t".repeat(257), "")).contains("the limit is 256"));
        assert!(refuse("s", event(0).tag("")).contains("a tag is empty"));
        assert!(refuse("s", event(0).tag("t".repeat(257))).contains("the limit is 256"));
        let tags = (0..64).fold(event(0), |event, number| event.tag(number.to_string()));
        assert_eq!(refuse("s", tags), "an event has more than 64 tags");
        assert!(refuse("s", NewEvent::new("t", vec![0; 16 << 20])).contains("the event is"));
        assert!(refuse("s", NewEvent::new("t", vec![0; 1 << 20])).contains("the append is"));
        let none = log.append("s", Expected::Any, []).map(drop).unwrap_err();
        assert_eq!(none.to_string(), "an append has neither events nor anything to check");
        assert_eq!(log.view().end(), Position::START);
        let largest = NewEvent::new("t", vec![9; MIB as usize - 4096 - 64 - 64]);
        for _ in 0..3 {
            log.append("s", Expected::Any, [largest.clone()]).unwrap().wait().unwrap();
        }
        assert_eq!(log.view().chunks().len(), 3);
    });
}

#[test]
fn every_field_of_an_event_comes_back() {
    use crate::event::ContentKind;
    on_both(|disk| {
        let log = open(&disk);
        let id = uuid::Uuid::from_u128(77);
        let given = NewEvent::json("Ty\u{e9}", "{\"a\": 1}")
            .id(id)
            .metadata([0, 255], ContentKind::Bytes)
            .tag("x")
            .tag("y:\u{2713}");
        log.append("s\u{1f600}", Expected::Any, [given, NewEvent::new("empty", "")])
            .unwrap()
            .wait()
            .unwrap();
        let events: Vec<_> = log.read_all(..).unwrap().map(Result::unwrap).collect();
        let event = &events[0];
        assert_eq!((event.stream(), event.event_type()), ("s\u{1f600}", "Ty\u{e9}"));
        assert_eq!((event.id(), event.operation()), (id, None));
        assert_eq!((event.data(), event.metadata()), (&b"{\"a\": 1}"[..], &[0, 255][..]));
        assert_eq!(event.data_bytes(), event.data());
        assert_eq!(event.data_kind(), ContentKind::Json);
        assert_eq!(event.metadata_kind(), ContentKind::Bytes);
        assert_eq!(event.tags().collect::<Vec<_>>(), ["x", "y:\u{2713}"]);
        assert!(event.time().as_nanos() > 0);
        assert_eq!(events[1].tags().count() + events[1].data().len(), 0);
        assert_eq!(events[1].time(), event.time());
    });
}

#[test]
fn only_one_handle_writes() {
    on_both(|disk| {
        let log = open(&disk);
        count(&log, 0..5);
        match open_with(&disk, small()) {
            Err(error @ OpenError::Locked { pid }) => {
                assert_eq!(pid, Some(std::process::id()));
                assert!(error.to_string().contains("open for writing in this very process"));
            }
            other => panic!("{other:?}"),
        }
        drop(log);
        check(&open(&disk).view(), 5);
    });
}

#[test]
fn a_log_is_not_made_against_the_callers_will() {
    on_both(|disk| {
        let missing = open_with(&disk, small().create(false));
        assert!(matches!(missing, Err(OpenError::Missing(_))), "{missing:?}");
        assert_eq!(disk.list().unwrap(), [""; 0]);
    });
    let dir = tempfile::tempdir().unwrap();
    let missing = Options::new().create(false).open(dir.path().join("none"));
    assert!(matches!(missing, Err(OpenError::Missing(_))), "{missing:?}");
}

#[test]
fn many_threads_append_and_every_stream_is_in_order() {
    on_both(|disk| {
        let log = open(&disk);
        std::thread::scope(|scope| {
            for client in 0..8_u64 {
                let log = &log;
                scope.spawn(move || {
                    let stream = format!("client-{client}");
                    for number in 0..200 {
                        let expected = match number {
                            0 => Expected::NoStream,
                            _ => Expected::Exact(StreamVersion::new(number - 1)),
                        };
                        let ack = log.append(&stream, expected, [event(number)]).unwrap();
                        let done = ack.wait().unwrap();
                        let read = log.read_stream(&stream, done.version..).unwrap().next();
                        assert_eq!(number, super::tests::number(&read.unwrap().unwrap()));
                    }
                });
            }
        });
        let view = log.view();
        assert_eq!(view.end(), Position::new(1600));
        for client in 0..8 {
            let events = view.read_stream(&format!("client-{client}"), ..).unwrap();
            assert!(events.map(|event| number(&event.unwrap())).eq(0..200));
        }
        let stats = log.stats();
        assert_eq!((stats.visible, stats.durable), (stats.written, stats.written));
        assert_eq!(
            (stats.disk.events, stats.appends.pushed, stats.writer.items),
            (1600, 1600, 1600)
        );
        assert_eq!(stats.appends.pushed, stats.appends.popped);
    });
}

#[test]
fn acks_can_be_awaited_without_a_runtime() {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let log = open(&disk);
    let ack = log.append("s", Expected::Any, [event(3)]).unwrap();
    let mut ack = std::pin::pin!(ack);
    let mut context = Context::from_waker(Waker::noop());
    let done = loop {
        if let Poll::Ready(done) = ack.as_mut().poll(&mut context) {
            break done;
        }
        std::thread::yield_now();
    };
    assert_eq!(done.unwrap().first_position, Position::START);
}

#[test]
fn a_weaker_mode_keeps_what_it_acked_across_a_close() {
    on_both(|disk| {
        let log = open_with(&disk, small().durability(Durability::Os)).unwrap();
        count(&log, 0..20_000);
        log.close().unwrap();
        let log = open(&disk);
        assert!(log.report().clean);
        check(&log.view(), 20_000);
    });
}

#[test]
fn a_full_queue_turns_away_or_waits() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let options = small().queue_appends(1).admission_wait(Duration::from_secs(60));
    let log = open_with(&disk, options).unwrap();
    let mut acks = Vec::new();
    let mut busy = 0;
    for number in 0..20_000 {
        match log.try_append("s", Expected::Any, [event(number)]) {
            Ok(ack) => acks.push(ack),
            Err(AppendError::Busy) => busy += 1,
            Err(other) => panic!("{other}"),
        }
    }
    let stored = acks.len() as u64;
    acks.into_iter().for_each(|ack| _ = ack.wait().unwrap());
    assert!(busy > 0, "a queue of one was never full");
    assert_eq!(log.stats().appends.rejected, busy);
    for number in 0..100 {
        log.append("s", Expected::Any, [event(number)]).unwrap().wait().unwrap();
    }
    assert_eq!(log.view().end(), Position::new(stored + 100));
}

#[test]
fn a_view_beside_the_writer_sees_what_is_noted_as_durable() {
    on_both(|disk| {
        let log = open(&disk);
        count(&log, 0..20_000);
        let end = log.view().end();
        let mut beside = View::open_on(&*disk).unwrap();
        while beside.end() < end {
            std::thread::sleep(Duration::from_millis(20));
            beside = View::open_on(&*disk).unwrap();
        }
        check(&beside, 20_000);
        count(&log, 20_000..20_100);
        check(&beside, 20_000);
        log.close().unwrap();
        check(&View::open_on(&*disk).unwrap(), 20_100);
    });
}
