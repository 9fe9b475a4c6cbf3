//! Owns the proof that the check sees each fault: a right log is broken in one way at a time, and
//! the verdict must name that way and no other.

use bytes::Bytes;

use super::*;
use crate::format::checksum::LogSalt;
use crate::format::event::{self, Place};
use crate::{Appended, ChunkNumber, NewEvent, StreamVersion, Timestamp};

use super::super::payload::Identity;

const STREAMS: u32 = 2;
/// Where an event has its version and its id.
const VERSION: usize = 8;
const ID: usize = 40;

/// The event as a log would give it back.
fn record(event: &NewEvent, stream: &str, position: u64, version: u64) -> RecordedEvent {
    let salt = LogSalt::new(uuid::Uuid::from_u128(5));
    let (chunk, position) = (salt.chunk(ChunkNumber::FIRST), Position::new(position));
    let (version, time) = (StreamVersion::new(version), Timestamp::default());
    let mut encoded = Vec::new();
    event::encode(&mut encoded, salt, stream, event, Place::First(None)).unwrap();
    event::stamp(&mut encoded, chunk, position, version, time);
    event::decode(&Bytes::from(encoded), chunk, position).unwrap()
}

/// Changes bytes of a decoded event.
fn change(event: &mut RecordedEvent, at: usize, bytes: &[u8]) {
    let mut record = event.record.to_vec();
    record[at..at + bytes.len()].copy_from_slice(bytes);
    event.record = Bytes::from(record);
}

/// Ledgers and log of a run in which all went well: two streams in turn, appends of two events.
struct Run {
    pool: Pool,
    ledgers: Vec<StreamLedger>,
    events: Vec<RecordedEvent>,
}

impl Run {
    fn new(appends: u64) -> Self {
        let ledgers = (0..STREAMS).map(|stream| StreamLedger::new(0, stream)).collect();
        let mut run =
            Self { pool: Pool::new(11, "40".parse().unwrap(), true), ledgers, events: Vec::new() };
        for append in 0..appends {
            let stream = u32::try_from(append % u64::from(STREAMS)).unwrap();
            let (sequence, appended) = run.store(stream, 2);
            run.ledgers[stream as usize].ack(sequence, 2, &appended);
        }
        run
    }

    fn store(&mut self, stream: u32, count: u64) -> (u64, Appended) {
        let ledger = &mut self.ledgers[stream as usize];
        let sequence = ledger.send(count);
        let first = self.events.len() as u64;
        let at_stream = |event: &&RecordedEvent| event.stream() == ledger.name;
        let version = self.events.iter().filter(at_stream).count() as u64;
        for index in 0..count {
            let identity = Identity { client: 0, stream, sequence: sequence + index };
            let event = self.pool.event(identity, 77, &mut Vec::new());
            self.events.push(record(&event, &ledger.name, first + index, version + index));
        }
        let appended = Appended {
            first_position: Position::new(first),
            last_position: Position::new(first + count - 1),
            version: StreamVersion::new(version + count - 1),
            time: Timestamp::default(),
            repeated: false,
            events: 1,
            streams: crate::append::Parts::Each(Vec::new()),
        };
        (sequence, appended)
    }

    /// Gives the events the positions of their places, as a log that lost or doubled some would.
    fn renumber(&mut self) {
        for (position, event) in self.events.iter_mut().enumerate() {
            event.position = Position::new(position as u64);
        }
    }

    fn check(&self) -> Verdict {
        check(&self.ledgers, &self.pool, self.events.iter().cloned().map(Ok::<_, String>))
    }
}

#[test]
fn a_right_log_is_clean() {
    let verdict = Run::new(10).check();
    let expected = Verdict { ok: true, acked: 20, found: 20, ..Verdict::default() };
    assert_eq!(verdict, expected);
}

#[test]
fn a_lost_event_is_found() {
    for index in 0..20 {
        let mut run = Run::new(10);
        run.events.remove(index);
        let verdict = run.check();
        assert!(!verdict.ok);
        assert_eq!((verdict.lost, verdict.doubled, verdict.altered), (1, 0, 0), "event {index}");
        let named = verdict.findings.iter().any(|finding| finding.starts_with("lost: 1 acked"));
        assert!(named, "{:?}", verdict.findings);
    }
}

#[test]
fn a_lost_tail_and_an_empty_log_are_found() {
    let mut run = Run::new(10);
    run.events.truncate(13);
    assert_eq!((run.check().lost, run.check().found), (7, 13));
    run.events.clear();
    assert_eq!((run.check().lost, run.check().ok), (20, false));
}

#[test]
fn a_doubled_event_is_found() {
    for index in 0..20 {
        let mut run = Run::new(10);
        let again = run.events[index].clone();
        run.events.push(again);
        run.renumber();
        let verdict = run.check();
        assert!(!verdict.ok);
        assert_eq!((verdict.lost, verdict.doubled, verdict.misplaced), (0, 1, 0), "event {index}");
    }
}

#[test]
fn an_altered_event_is_found() {
    let run = Run::new(10);
    let data = run.events[5].parts.data.clone();
    for offset in data {
        let mut run = Run::new(10);
        let flipped = run.events[5].record[offset as usize] ^ 1;
        change(&mut run.events[5], offset as usize, &[flipped]);
        let verdict = run.check();
        assert!(!verdict.ok);
        assert_eq!((verdict.lost, verdict.doubled, verdict.altered), (0, 0, 1), "byte {offset}");
    }
    let metadata = run.events[5].parts.metadata.clone();
    assert_eq!(metadata.len(), 16, "the moment it was due, and its mark");
    for offset in metadata {
        let mut run = Run::new(10);
        let flipped = run.events[5].record[offset as usize] ^ 1;
        change(&mut run.events[5], offset as usize, &[flipped]);
        assert_eq!((run.check().altered, run.check().ok), (1, false), "byte {offset}");
    }
    let mut run = Run::new(10);
    let other = run.events[6].id();
    change(&mut run.events[5], ID, other.as_bytes());
    assert_eq!((run.check().altered, run.check().ok), (1, false));
}

#[test]
fn a_reordered_event_is_found() {
    let mut run = Run::new(10);
    // Both of stream 0.
    run.events.swap(1, 4);
    run.renumber();
    let verdict = run.check();
    assert!(!verdict.ok);
    assert_eq!((verdict.lost, verdict.doubled, verdict.altered), (0, 0, 0));
    assert_eq!((verdict.reordered, verdict.misplaced), (1, 1));
}

#[test]
fn another_place_than_acked_is_found() {
    let mut run = Run::new(10);
    change(&mut run.events[7], VERSION, &9_u64.to_le_bytes());
    assert_eq!((run.check().misplaced, run.check().ok), (1, false));
    let mut run = Run::new(10);
    run.events[19].position = Position::new(20);
    // Once for the gap, once for the ack.
    assert_eq!((run.check().misplaced, run.check().ok), (2, false));
}

#[test]
fn a_foreign_event_is_found() {
    let mut run = Run::new(10);
    let event = NewEvent::new("Other", "other");
    run.events.push(record(&event, "other", 20, 0));
    assert_eq!((run.check().foreign, run.check().ok), (1, false));
}

#[test]
fn refused_events_must_not_be_there() {
    let mut run = Run::new(10);
    let sequence = run.ledgers[0].send(2);
    run.ledgers[0].refused.add(sequence, 2);
    assert!(run.check().ok);
    let (sequence, _) = run.store(0, 2);
    run.ledgers[0].refused.add(sequence, 2);
    assert_eq!((run.check().refused_but_stored, run.check().ok), (2, false));
}

#[test]
fn unanswered_events_may_be_there_once() {
    let mut run = Run::new(10);
    let (sequence, _) = run.store(0, 2);
    run.ledgers[0].unanswered.add(sequence, 2);
    let verdict = run.check();
    assert_eq!((verdict.ok, verdict.unanswered, verdict.unanswered_but_stored), (true, 2, 2));
    let again = run.events[21].clone();
    run.events.push(again);
    run.renumber();
    assert_eq!((run.check().doubled, run.check().ok), (1, false));
    run.events.truncate(20);
    assert_eq!((run.check().ok, run.check().unanswered_but_stored), (true, 0));
}

#[test]
fn an_unreadable_log_is_not_clean() {
    let run = Run::new(10);
    let failed = Err("broken");
    let events = run.events.iter().cloned().map(Ok).chain([failed]);
    let verdict = check(&run.ledgers, &run.pool, events);
    assert_eq!((verdict.lost, verdict.ok), (0, false));
    assert_eq!(verdict.unreadable.as_deref(), Some("broken"));
}

#[test]
fn many_faults_are_counted_and_some_described() {
    let mut run = Run::new(100);
    for event in &mut run.events {
        change(event, ID, &[0; 16]);
    }
    let verdict = run.check();
    assert_eq!((verdict.altered, verdict.findings.len()), (200, FINDINGS_MAX));
}
