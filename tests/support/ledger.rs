//! Owns the ledger of a test that kills: what each append holds, what was acked and observed of
//! them, and the comparison of a log with that.
//!
//! Promises: an append that is missing, doubled, torn, altered or out of its place is never called
//! right; nor is one that was lost and stored again by a later process, because an append tells in
//! which *life* it was made. Assumes one appending thread, so that appends stand in the order of
//! their numbers.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use paperchase::{Position, RecordedEvent, View};

use super::Random;

const STREAMS: u64 = 5;
const HEAD: usize = 32;

/// The data of the events of append `number`, as the process of this life makes it, with data of up
/// to so many bytes each.
pub(crate) fn append(number: u64, life: u64, size_max: u64) -> Vec<Vec<u8>> {
    let mut random = Random::with(number ^ (life << 40));
    let count = 1 + random.below(4);
    (0..count).map(|part| event(&mut random, [number, life, part, count], size_max)).collect()
}

fn event(random: &mut Random, head: [u64; 4], size_max: u64) -> Vec<u8> {
    let long = random.below(50) == 0;
    let words = random.below(if long { 8 * size_max } else { size_max } / 8 + 1);
    let mut data = head.map(u64::to_le_bytes).concat();
    (0..words).for_each(|_| data.extend(random.next().to_le_bytes()));
    data
}

/// The stream of append `number`.
pub(crate) fn stream(number: u64) -> String {
    format!("killed-{}", number % STREAMS)
}

/// Which append an event is a part of, and whether it is the last part.
pub(crate) fn of_event(event: &RecordedEvent) -> (Told, bool) {
    let [number, life, part, count] = head(event.data());
    (Told { number, life, position: event.position().get() - part }, part + 1 == count)
}

fn head(data: &[u8]) -> [u64; 4] {
    assert!(data.len() >= HEAD, "no append is that short");
    let word =
        |at: usize| u64::from_le_bytes(data[8 * at..8 * at + 8].try_into().expect("8 bytes"));
    [word(0), word(1), word(2), word(3)]
}

/// An append as it was told: by an ack, or by a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) number: u64,
    pub(crate) life: u64,
    /// The position of its first event.
    pub(crate) position: u64,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.number, self.life, self.position)
    }
}

impl FromStr for Told {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not told of an append");
        let mut words = text.split(':').map(|word| word.parse().map_err(|_| wrong()));
        let mut word = || words.next().unwrap_or_else(|| Err(wrong()));
        Ok(Self { number: word()?, life: word()?, position: word()? })
    }
}

/// What a log must hold: as found so far, and as told.
#[derive(Default)]
pub(crate) struct Ledger {
    size_max: u64,
    /// Life and first position of each append that was found.
    found: Vec<(u64, u64)>,
    /// The position behind the last event that was found.
    end: u64,
    versions: BTreeMap<String, u64>,
    told: Vec<Told>,
}

impl Ledger {
    /// Of a log with data of up to so many bytes.
    pub(crate) fn new(size_max: u64) -> Self {
        Self { size_max, ..Self::default() }
    }

    /// Notes that an append was acked or observed: it must be there from now on.
    pub(crate) fn note(&mut self, told: Told) {
        self.told.push(told);
    }

    /// The number of the next append.
    pub(crate) fn next_number(&self) -> u64 {
        self.found.len() as u64
    }

    /// The position behind the last event that was found.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Reads on from where the last check ended. Appends must follow each other without a gap, each
    /// whole, and everything that was told must be among them.
    pub(crate) fn check(&mut self, view: &View) {
        let mut events = view.read_all(Position::new(self.end)..);
        let mut next = || events.next().map(|event| event.expect("no event is damaged"));
        while let Some(mut event) = next() {
            let number = self.next_number();
            let (told, _) = of_event(&event);
            assert_eq!((told.number, told.position), (number, self.end), "the next append");
            self.found.push((told.life, self.end));
            let parts = append(number, told.life, self.size_max);
            let last = parts.len() - 1;
            for (part, data) in parts.into_iter().enumerate() {
                let version = self.versions.entry(stream(number)).or_default();
                assert_eq!(event.position().get(), self.end);
                assert!(event.data() == data, "append {number}, part {part}: other bytes");
                assert_eq!(event.stream(), stream(number));
                assert_eq!(event.version().get(), *version, "append {number}");
                (self.end, *version) = (self.end + 1, *version + 1);
                if part < last {
                    event = next().unwrap_or_else(|| panic!("append {number} is not whole"));
                }
            }
        }
        assert_eq!(view.end().get(), self.end);
        for told in self.told.drain(..) {
            let found = self.found.get(told.number as usize);
            assert_eq!(found, Some(&(told.life, told.position)), "{told} was told, and is gone");
        }
    }

    /// Reads everything once more, by stream too.
    pub(crate) fn check_all(&self, view: &View) {
        let mut again = Self::new(self.size_max);
        again.check(view);
        assert_eq!((&again.found, &again.versions), (&self.found, &self.versions));
        for (stream, count) in &self.versions {
            let events = view.read_stream(stream, ..).expect("a sound index");
            let versions = events.map(|event| event.expect("a sound event").version().get());
            assert!(versions.eq(0..*count), "{stream}");
        }
    }
}
