//! Owns what one client knows for certain: which of its events were acked and where, which were
//! refused, and which were never answered.
//!
//! Promises: a few bytes per append, because acks of a stream come in order and mostly differ by a
//! small step from the one before; so tens of millions of events fit in memory. Never decides what
//! is right; see `check.rs`.

use crate::{Appended, Position, StreamVersion};

use super::payload::stream_name;

/// Smallest step that no longer fits the short form of an entry.
const STEP_LIMIT: u64 = 1 << 62;

/// One acked append to one stream, or what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acked {
    pub(super) sequence: u64,
    pub(super) position: Position,
    pub(super) version: StreamVersion,
    pub(super) count: u64,
}

impl Acked {
    /// The same append without its first event; `None` when that was the only one.
    pub(super) fn rest(self) -> Option<Self> {
        let count = self.count.checked_sub(1).filter(|count| *count > 0)?;
        Some(Self {
            sequence: self.sequence.wrapping_add(1),
            position: Position::new(self.position.get().wrapping_add(1)),
            version: StreamVersion::new(self.version.get().wrapping_add(1)),
            count,
        })
    }

    /// Where an append of the same size would be that directly follows this one in its stream and
    /// in the log.
    fn following(self) -> Self {
        Self {
            sequence: self.sequence.wrapping_add(self.count),
            position: Position::new(self.position.get().wrapping_add(self.count)),
            version: StreamVersion::new(self.version.get().wrapping_add(self.count)),
            count: self.count,
        }
    }

    const NONE: Self =
        Self { sequence: 0, position: Position::START, version: StreamVersion::FIRST, count: 0 };
}

/// What is known of one stream.
#[derive(Debug)]
pub(super) struct StreamLedger {
    pub(super) name: String,
    /// The client and its stream.
    pub(super) owner: (u32, u32),
    /// Sequence numbers below this were handed out.
    pub(super) sent: u64,
    /// Events that the log refused: they must not be there.
    pub(super) refused: Ranges,
    /// Events whose fate the log did not tell: they may be there, once.
    pub(super) unanswered: Ranges,
    /// Acks that named places for another number of events than was sent.
    pub(super) wrong_acks: u64,
    acked: Vec<u8>,
    last: Acked,
}

impl StreamLedger {
    pub(super) fn new(client: u32, stream: u32) -> Self {
        Self {
            name: stream_name(client, stream),
            owner: (client, stream),
            sent: 0,
            refused: Ranges::default(),
            unanswered: Ranges::default(),
            wrong_acks: 0,
            acked: Vec::new(),
            last: Acked::NONE,
        }
    }

    /// Hands out the sequence numbers of an append; returns the first.
    #[cfg(test)]
    pub(super) fn send(&mut self, count: u64) -> u64 {
        let first = self.sent;
        self.sent += count;
        first
    }

    /// Notes an ack of the append of `count` events, at least one, from `sequence` on.
    pub(super) fn ack(&mut self, sequence: u64, count: u64, appended: &Appended) {
        let version = appended.version.get().wrapping_sub(count.wrapping_sub(1));
        let position = appended.first_position;
        let entry = Acked { sequence, position, version: StreamVersion::new(version), count };
        let expected = Acked { position, ..self.last.following() };
        let step = position.get().wrapping_sub(self.last.following().position.get());
        if entry == expected && step < STEP_LIMIT - 1 {
            put_varint(&mut self.acked, step + 1);
        } else {
            put_varint(&mut self.acked, 0);
            for field in [sequence, position.get(), version, count] {
                put_varint(&mut self.acked, field);
            }
        }
        self.last = entry;
        let last = (position.get().checked_add(count - 1)).map(Position::new);
        if last != Some(appended.last_position) || appended.version.get() < count - 1 {
            self.wrong_acks += 1;
        }
    }

    /// The acked appends, in the order of their acks.
    pub(super) fn acked(&self) -> AckedAppends<'_> {
        AckedAppends { bytes: &self.acked, last: Acked::NONE }
    }
}

/// Iterator over the acked appends of a stream.
#[derive(Clone, Debug)]
pub(super) struct AckedAppends<'a> {
    bytes: &'a [u8],
    last: Acked,
}

impl Iterator for AckedAppends<'_> {
    type Item = Acked;

    fn next(&mut self) -> Option<Acked> {
        let entry = match take_varint(&mut self.bytes)? {
            0 => Acked {
                sequence: take_varint(&mut self.bytes)?,
                position: Position::new(take_varint(&mut self.bytes)?),
                version: StreamVersion::new(take_varint(&mut self.bytes)?),
                count: take_varint(&mut self.bytes)?,
            },
            step => {
                let next = self.last.following();
                let position = next.position.get().wrapping_add(step - 1);
                Acked { position: Position::new(position), ..next }
            }
        };
        self.last = entry;
        Some(entry)
    }
}

/// A set of numbers that mostly follow each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds `count` numbers from `first` on, which must not be in the set.
    pub(super) fn add(&mut self, first: u64, count: u64) {
        let index = self.0.partition_point(|(start, _)| *start < first);
        match index.checked_sub(1).and_then(|before| self.0.get_mut(before)) {
            Some((start, length)) if *start + *length == first => *length += count,
            _ => self.0.insert(index, (first, count)),
        }
    }

    /// Removes a number; returns whether it was there.
    pub(super) fn take(&mut self, number: u64) -> bool {
        let index = self.0.partition_point(|(start, _)| *start <= number);
        let Some(index) = index.checked_sub(1) else {
            return false;
        };
        let (start, length) = self.0[index];
        if number >= start + length {
            return false;
        }
        let parts = [(start, number - start), (number + 1, start + length - number - 1)];
        self.0.splice(index..=index, parts.into_iter().filter(|(_, length)| *length > 0));
        true
    }

    /// How many numbers are in the set.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|(_, length)| length).sum()
    }

    /// First and count of each run of numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().copied()
    }
}

fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    fn appended(first: u64, last: u64, version: u64) -> Appended {
        Appended {
            first_position: Position::new(first),
            last_position: Position::new(last),
            version: StreamVersion::new(version),
            time: Timestamp::default(),
            repeated: false,
            events: 1,
            streams: crate::append::Parts::Each(Vec::new()),
        }
    }

    fn acked(sequence: u64, position: u64, version: u64, count: u64) -> Acked {
        let (position, version) = (Position::new(position), StreamVersion::new(version));
        Acked { sequence, position, version, count }
    }

    #[test]
    fn acks_are_remembered_whatever_their_order() {
        let mut ledger = StreamLedger::new(0, 0);
        let given = [
            (0, 2, appended(0, 1, 1)),
            (2, 2, appended(300, 301, 3)),
            (4, 2, appended(10, 11, 5)),
            (8, 1, appended(u64::MAX, u64::MAX, 9)),
            (9, 1, appended(0, 0, 10)),
        ];
        for (sequence, count, place) in &given {
            ledger.ack(*sequence, *count, place);
        }
        let expected = [
            acked(0, 0, 0, 2),
            acked(2, 300, 2, 2),
            acked(4, 10, 4, 2),
            acked(8, u64::MAX, 9, 1),
            acked(9, 0, 10, 1),
        ];
        assert_eq!(ledger.acked().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_steady_stream_costs_few_bytes_an_append() {
        let mut ledger = StreamLedger::new(0, 0);
        for number in 0..10_000 {
            let sequence = ledger.send(1);
            ledger.ack(sequence, 1, &appended(number * 64, number * 64, number));
        }
        assert!(ledger.acked.len() <= 10_010, "{} bytes", ledger.acked.len());
        let last = ledger.acked().last();
        assert_eq!(last, Some(acked(9_999, 9_999 * 64, 9_999, 1)));
    }

    #[test]
    fn an_ack_for_another_number_of_events_is_noticed() {
        let wrong = |count, place| {
            let mut ledger = StreamLedger::new(0, 0);
            ledger.ack(0, count, &place);
            ledger.wrong_acks
        };
        assert_eq!(wrong(2, appended(0, 1, 1)), 0);
        assert_eq!(wrong(2, appended(0, 2, 1)), 1);
        assert_eq!(wrong(2, appended(0, 0, 1)), 1);
        assert_eq!(wrong(2, appended(0, 1, 0)), 1);
        assert_eq!(wrong(1, appended(5, 4, 0)), 1);
    }

    #[test]
    fn ranges_join_split_and_count() {
        let mut ranges = Ranges::default();
        ranges.add(10, 5);
        ranges.add(15, 5);
        ranges.add(0, 1);
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [(0, 1), (10, 10)]);
        assert!(ranges.take(12) && !ranges.take(12) && !ranges.take(9) && !ranges.take(20));
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [(0, 1), (10, 2), (13, 7)]);
        assert!(ranges.take(0) && ranges.take(19));
        assert_eq!(ranges.count(), 8);
    }
}
