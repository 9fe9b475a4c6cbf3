//! Owns what is stored: payloads, and which event belongs to which stream.
//!
//! Promises: all of it follows from numbers alone, so that every store gets the same events and a
//! reader can check what it reads. A batch of 1,000 holds events of every fourth stream only, which
//! is what a store with four partitions can take as one.

/// Bytes of one event's payload.
pub const PAYLOAD: usize = 256;
/// Events of one call while a store is loaded.
pub const BATCH: u64 = 1_000;
/// Events of each long stream.
pub const LONG_EVENTS: u64 = 1_000;
/// Classes of streams, and of batches, that go together.
pub const CLASSES: u64 = 4;

const POOL: u64 = 8192;
const LONG_STREAMS_MAX: u64 = 100;

/// A generator of pseudo-random numbers that needs no state (D. Lemire, wyhash mixing).
pub fn random(number: u64) -> u64 {
    let wide = u128::from(number.wrapping_add(0x9E37_79B9_7F4A_7C15)) * 0xA24B_AED4_963E_E407;
    (wide >> 64) as u64 ^ wide as u64
}

/// Payloads that do not compress.
pub struct Pool(Vec<[u8; PAYLOAD]>);

impl Pool {
    pub fn new() -> Self {
        let payload = |index: u64| {
            let mut bytes = [0; PAYLOAD];
            for (part, word) in bytes.chunks_exact_mut(8).zip(0_u64..) {
                part.copy_from_slice(&random(index << 8 | word).to_le_bytes());
            }
            bytes
        };
        Self((0..POOL).map(payload).collect())
    }

    pub fn any(&self, number: u64) -> &[u8] {
        &self.0[(number % POOL) as usize]
    }

    /// The payload of a loaded event, which begins with the event's number.
    pub fn of(&self, number: u64) -> [u8; PAYLOAD] {
        let mut bytes = self.0[(number % POOL) as usize];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes
    }

    /// The number of the event whose payload this is, if it is one.
    pub fn number(&self, payload: &[u8]) -> Option<u64> {
        let number = u64::from_le_bytes(payload.get(..8)?.try_into().ok()?);
        let last = self.any(number).last();
        (payload.len() == PAYLOAD && payload.last() == last).then_some(number)
    }
}

/// The events that a store is loaded with.
#[derive(Clone, Copy, Debug)]
pub struct Events {
    pub count: u64,
    streams: u64,
    long: u64,
}

impl Events {
    /// At least `count` events, rounded up so that the classes are of one size.
    pub fn new(count: u64, streams: u64) -> Self {
        let count = count.max(40 * LONG_EVENTS).next_multiple_of(BATCH * CLASSES);
        let long = (count / 10 / LONG_EVENTS).min(LONG_STREAMS_MAX) / CLASSES * CLASSES;
        Self { count, streams: streams.max(2 * LONG_STREAMS_MAX) / CLASSES * CLASSES, long }
    }

    pub fn batches(self) -> u64 {
        self.count / BATCH
    }

    /// Streams with [`LONG_EVENTS`] events each: those with the lowest numbers.
    pub fn long_streams(self) -> u64 {
        self.long
    }

    /// The stream of each event of a batch. The long streams get the same share of every batch.
    pub fn streams_of(self, batch: u64) -> impl Iterator<Item = u64> {
        let class = batch % CLASSES;
        let (long, per_class) = (self.long / CLASSES, self.batches() / CLASSES);
        let first = |nth: u64| long * LONG_EVENTS * nth / per_class;
        let (from, until) = (first(batch / CLASSES), first(batch / CLASSES + 1));
        let short = (self.streams - self.long) / CLASSES;
        (0..BATCH).map(move |index| {
            let group = match from + index {
                nth if nth < until => nth % long,
                _ => long + random(batch * BATCH + index) % short,
            };
            group * CLASSES + class
        })
    }

    /// The class of an event's stream, and the event's number among the events of that class.
    #[cfg(any(test, feature = "sierradb"))]
    pub fn place(number: u64) -> (u64, u64) {
        let (batch, index) = (number / BATCH, number % BATCH);
        (batch % CLASSES, batch / CLASSES * BATCH + index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_streams_are_of_one_length_and_in_many_batches() {
        for count in [1, 200_000, 1_000_000, 5_000_000] {
            let events = Events::new(count, 100_000);
            let mut lengths = vec![0; events.long as usize];
            for batch in 0..events.batches() {
                for stream in events.streams_of(batch) {
                    assert_eq!(stream % CLASSES, batch % CLASSES);
                    assert!(stream < events.streams);
                    if let Some(length) = lengths.get_mut(stream as usize) {
                        *length += 1;
                    }
                }
            }
            assert!(!lengths.is_empty(), "{events:?}");
            assert!(lengths.iter().all(|&length| length == LONG_EVENTS), "{events:?} {lengths:?}");
        }
    }

    #[test]
    fn a_payload_tells_its_number() {
        let pool = Pool::new();
        assert_eq!(pool.number(&pool.of(70_001)), Some(70_001));
        assert_eq!(pool.number(pool.any(3)), None);
        assert_eq!(pool.number(&[]), None);
        assert_eq!(Events::place(5_003), (1, 1_003));
    }
}
