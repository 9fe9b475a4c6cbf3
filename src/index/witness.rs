//! Owns the proof that an index tells the truth about the events of its chunk: two sums, one taken
//! over the events and one over the index, that are equal only when both say the same.
//!
//! Promises: memory for two numbers, whatever the chunk; a posting more, less, or of another event,
//! a gap in the versions of a stream, and an offset elsewhere change the sum. Finds accidents, as
//! checksums do (F49): it is no signature. Says that something differs, never what.

use super::key::{Key, made_at};
use crate::chunk::scan::ScannedEvent;
use crate::event::{category_of, tags};
use crate::position::StreamVersion;

/// What was said of the events of a chunk, in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Witness {
    sum: u64,
    /// When the time-ordered operation ids were made: earliest and latest, where that is said.
    operations: Option<(u64, u64)>,
}

impl Witness {
    /// Takes what the event with this ordinal says of itself.
    pub(crate) fn event(&mut self, ordinal: u32, event: &ScannedEvent<'_>) {
        self.place(ordinal, u32::try_from(event.offset).unwrap_or(u32::MAX));
        let stream = event.stream();
        self.post(Key::stream(stream).hash(), ordinal);
        self.version(ordinal, event.version());
        self.post(Key::category(category_of(stream)).hash(), ordinal);
        self.post(Key::event_type(event.event_type()).hash(), ordinal);
        for (index, tag) in tags(event.tags()).enumerate() {
            // A tag that an event has twice is one posting.
            if !tags(event.tags()).take(index).any(|earlier| earlier == tag) {
                self.post(Key::tag(tag).hash(), ordinal);
            }
        }
        if let Some(operation) = event.operation() {
            let key = Key::operation(&operation);
            self.post(key.hash(), ordinal);
            if let Some(made) = made_at(key.name) {
                let (earliest, latest) = self.operations.unwrap_or((u64::MAX, 0));
                self.operations = Some((earliest.min(made), latest.max(made)));
            }
        }
    }

    /// An event lies at this offset.
    pub(crate) fn place(&mut self, ordinal: u32, offset: u32) {
        self.add(mix(mix(1, ordinal.into()), offset.into()));
    }

    /// An event has a key.
    pub(crate) fn post(&mut self, key: u64, ordinal: u32) {
        self.add(mix(key, ordinal.into()));
    }

    /// An event has this version in its stream.
    pub(crate) fn version(&mut self, ordinal: u32, version: StreamVersion) {
        self.add(mix(mix(2, ordinal.into()), version.get()));
    }

    /// The operation ids were made within this time.
    pub(crate) fn operations_made(&mut self, earliest: u64, latest: u64) {
        self.operations = Some((earliest, latest));
    }

    fn add(&mut self, number: u64) {
        self.sum = self.sum.wrapping_add(number);
    }

    /// Whether an index that says this is one of the events that say the other. Indexes of an
    /// earlier version do not tell of the times of operations, and a wider range costs time alone.
    pub(crate) fn is_of(&self, events: &Self) -> bool {
        let is_covered = match (self.operations, events.operations) {
            (Some((earliest, latest)), Some((first, last))) => earliest <= first && last <= latest,
            _ => true,
        };
        self.sum == events.sum && is_covered
    }
}

/// Two numbers as one that depends on every bit of both.
fn mix(one: u64, other: u64) -> u64 {
    let one = one ^ 0x9E37_79B9_7F4A_7C15;
    let other = other ^ 0xD1B5_4A32_D192_ED03;
    let wide = u128::from(one) * u128::from(other);
    (wide as u64 ^ (wide >> 64) as u64).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_in_another_order_is_the_same() {
        let mut one = Witness::default();
        let mut other = Witness::default();
        for ordinal in 0..1000 {
            one.post(u64::from(ordinal % 7), ordinal);
            one.place(ordinal, 4160 + 64 * ordinal);
            other.place(999 - ordinal, 4160 + 64 * (999 - ordinal));
            other.post(u64::from((999 - ordinal) % 7), 999 - ordinal);
        }
        assert!(one.is_of(&other));
    }

    #[test]
    fn a_word_more_or_less_or_other_is_noticed() {
        let said = |key, ordinal, version, offset| {
            let mut witness = Witness::default();
            witness.post(key, ordinal);
            witness.version(ordinal, StreamVersion::new(version));
            witness.place(ordinal, offset);
            witness
        };
        let truth = said(5, 0, 0, 4160);
        for bit in 0..32 {
            let flip = 1_u64 << bit;
            assert!(!said(5 ^ flip, 0, 0, 4160).is_of(&truth), "key, bit {bit}");
            assert!(!said(5, flip as u32, 0, 4160).is_of(&truth), "ordinal, bit {bit}");
            assert!(!said(5, 0, flip, 4160).is_of(&truth), "version, bit {bit}");
            assert!(!said(5, 0, 0, 4160 ^ flip as u32).is_of(&truth), "offset, bit {bit}");
        }
        let mut more = truth;
        more.post(5, 0);
        assert!(!more.is_of(&truth), "a posting twice");
    }

    #[test]
    fn the_times_of_operations_must_hold_those_of_the_events() {
        let made = |earliest, latest| Witness { operations: Some((earliest, latest)), sum: 0 };
        assert!(made(1, 9).is_of(&made(2, 9)) && Witness::default().is_of(&made(2, 9)));
        assert!(!made(3, 9).is_of(&made(2, 9)) && !made(2, 8).is_of(&made(2, 9)));
    }
}
