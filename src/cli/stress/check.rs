//! Owns the verdict: the whole log, read after it was closed and opened again, held against the
//! ledgers.
//!
//! Promises: every acked event is either found exactly once, intact, in order and where its ack
//! said, or the verdict names it. Assumes that nobody else wrote to the log. A figure of a log
//! whose verdict is not clean is void.

use std::collections::HashMap;
use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::{Position, RecordedEvent};

use super::ledger::{Acked, AckedAppends, Ranges, StreamLedger};
use super::payload::Pool;

#[cfg(test)]
mod tests;

/// How many faults are described one by one; all are counted.
const FINDINGS_MAX: usize = 20;

/// What the check found. Counts are of events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Verdict {
    /// Nothing is wrong.
    pub(super) ok: bool,
    /// Acked, so they must be there.
    pub(super) acked: u64,
    /// In the log.
    pub(super) found: u64,
    /// Acked and not there.
    pub(super) lost: u64,
    /// There again.
    pub(super) doubled: u64,
    /// There, with other content.
    pub(super) altered: u64,
    /// There, behind a later event of their stream.
    pub(super) reordered: u64,
    /// There, at another position or version than their ack said, or behind a gap in the positions.
    pub(super) misplaced: u64,
    /// Refused, and there all the same.
    pub(super) refused_but_stored: u64,
    /// There, and nobody appended them.
    pub(super) foreign: u64,
    /// Appends whose ack named places for another number of events.
    pub(super) wrong_acks: u64,
    /// Never answered, which is right only when the log failed; whether they are there is open.
    pub(super) unanswered: u64,
    /// How many of those are there.
    pub(super) unanswered_but_stored: u64,
    /// Why the log could not be read to its end.
    pub(super) unreadable: Option<String>,
    /// The first faults, one by one.
    pub(super) findings: Vec<String>,
}

impl Verdict {
    fn is_clean(&self) -> bool {
        let faults = [
            self.lost,
            self.doubled,
            self.altered,
            self.reordered,
            self.misplaced,
            self.refused_but_stored,
            self.foreign,
            self.wrong_acks,
        ];
        faults.iter().all(|count| *count == 0) && self.unreadable.is_none()
    }

    fn find(&mut self, finding: impl FnOnce() -> String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding());
        }
    }
}

/// Holds the events of a log, in the order they are read, against the ledgers of all streams.
pub(super) fn check<E: Display>(
    ledgers: &[StreamLedger],
    pool: &Pool,
    events: impl IntoIterator<Item = Result<RecordedEvent, E>>,
) -> Verdict {
    let mut verdict = Verdict::default();
    let mut streams: HashMap<&str, Stream<'_>> =
        ledgers.iter().map(|ledger| (ledger.name.as_str(), Stream::new(ledger))).collect();
    let mut next = Position::START;
    for event in events {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                verdict.unreadable = Some(error.to_string());
                break;
            }
        };
        verdict.found += 1;
        if event.position() != next {
            verdict.misplaced += 1;
            verdict.find(|| format!("position {} follows where {next} should", event.position()));
        }
        next = event.position().plus(1);
        match streams.get_mut(event.stream()) {
            Some(stream) => stream.meet(pool, &event, &mut verdict),
            None => {
                verdict.foreign += 1;
                verdict.find(|| format!("foreign: {}", place(&event)));
            }
        }
    }
    for ledger in ledgers {
        if let Some(stream) = streams.remove(ledger.name.as_str()) {
            stream.close(&mut verdict);
        }
    }
    verdict.ok = verdict.is_clean();
    verdict
}

/// How far the check of one stream has come.
struct Stream<'a> {
    ledger: &'a StreamLedger,
    ahead: AckedAppends<'a>,
    /// The acked append that must come next in this stream, without the events of it that came.
    expected: Option<Acked>,
    /// Acked events that a later event of the stream overtook.
    missing: Ranges,
    refused: Ranges,
    unanswered: Ranges,
}

impl<'a> Stream<'a> {
    fn new(ledger: &'a StreamLedger) -> Self {
        let mut ahead = ledger.acked();
        let expected = ahead.next();
        let (refused, unanswered) = (ledger.refused.clone(), ledger.unanswered.clone());
        Self { ledger, ahead, expected, missing: Ranges::default(), refused, unanswered }
    }

    fn meet(&mut self, pool: &Pool, event: &RecordedEvent, verdict: &mut Verdict) {
        let claimed = Pool::claimed(event.data()).filter(|identity| {
            (identity.client, identity.stream) == self.ledger.owner
                && identity.sequence < self.ledger.sent
                && pool.is_intact(*identity, event)
        });
        let Some(identity) = claimed else {
            verdict.altered += 1;
            verdict.find(|| format!("altered: {}", place(event)));
            // Where the altered event stands tells which one it was: that one is not lost besides.
            if self.expected.is_some_and(|acked| is_at(acked, event)) {
                self.advance();
            }
            return;
        };
        let sequence = identity.sequence;
        while let Some(acked) = self.expected.filter(|acked| acked.sequence < sequence) {
            self.missing.add(acked.sequence, 1);
            self.advance();
        }
        match self.expected {
            Some(acked) if acked.sequence == sequence => {
                if !is_at(acked, event) {
                    verdict.misplaced += 1;
                    verdict.find(|| {
                        let (position, version) = (acked.position, acked.version);
                        let found = place(event);
                        format!("acked at position {position}, version {version}: {found}")
                    });
                }
                self.advance();
            }
            _ => self.meet_unexpected(sequence, event, verdict),
        }
    }

    fn meet_unexpected(&mut self, sequence: u64, event: &RecordedEvent, verdict: &mut Verdict) {
        let (count, what) = if self.unanswered.take(sequence) {
            verdict.unanswered_but_stored += 1;
            return;
        } else if self.missing.take(sequence) {
            (&mut verdict.reordered, "reordered")
        } else if self.refused.take(sequence) {
            (&mut verdict.refused_but_stored, "refused but stored")
        } else {
            (&mut verdict.doubled, "doubled")
        };
        *count += 1;
        verdict.find(|| format!("{what}: event {sequence} of its client, {}", place(event)));
    }

    fn advance(&mut self) {
        self.expected = self.expected.and_then(Acked::rest).or_else(|| self.ahead.next());
    }
    fn close(mut self, verdict: &mut Verdict) {
        while let Some(acked) = self.expected {
            self.missing.add(acked.sequence, 1);
            self.advance();
        }
        let name = &self.ledger.name;
        for (first, count) in self.missing.iter() {
            verdict.lost += count;
            verdict.find(|| format!("lost: {count} acked, from event {first} on of stream {name}"));
        }
        verdict.acked += self.ledger.acked().map(|acked| acked.count).sum::<u64>();
        verdict.unanswered += self.ledger.unanswered.count();
        if self.ledger.wrong_acks > 0 {
            verdict.wrong_acks += self.ledger.wrong_acks;
            verdict.find(|| format!("{} wrong acks in stream {name}", self.ledger.wrong_acks));
        }
    }
}

fn is_at(acked: Acked, event: &RecordedEvent) -> bool {
    (acked.position, acked.version) == (event.position(), event.version())
}

fn place(event: &RecordedEvent) -> String {
    let (position, version, stream) = (event.position(), event.version(), event.stream());
    format!("position {position}, version {version} of stream {stream}")
}
