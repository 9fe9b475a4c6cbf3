//! Owns what a stressed event holds: everything about it follows from the seed and its identity
//! (client, stream, sequence number), but for the moment it was due, which it can carry.
//!
//! Promises: so the check needs no copy of what was sent to tell an intact event from an altered
//! one. The bytes look random and do not compress. Making an event of some hundred bytes takes
//! little of the processor that the log under test needs: what it is made from stays in the first
//! cache of a core. Never remembers what was sent.

use uuid::Uuid;

use crate::{ContentKind, NewEvent, RecordedEvent};

use super::mix::{Random, Sizes};

/// Bytes at the head of each payload that tell which event it is.
pub(super) const HEAD_SIZE: usize = 16;
/// Metadata of an event that carries its moment: that, and what shows that it is unaltered.
const STAMP_SIZE: usize = 16;
/// Bytes of noise in which bodies begin, each at one of these words.
const NOISE_SIZE: usize = 16 << 10;
const EVENT_TYPE: &str = "Stressed";

/// Which event of a run one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) client: u32,
    pub(super) stream: u32,
    pub(super) sequence: u64,
}

/// The payloads of a run.
#[derive(Debug)]
pub(super) struct Pool {
    seed: u64,
    sizes: Sizes,
    /// Whether events carry the moment they were due.
    stamped: bool,
    noise: Vec<u8>,
}

/// All of an event's payload but its head: a part of the noise, each word of it masked by one that
/// is drawn for the event.
#[derive(Clone, Copy, Debug)]
struct Body<'a> {
    noise: &'a [u8],
    mask: u64,
}

impl Pool {
    /// Payloads of these sizes, at least [`HEAD_SIZE`].
    pub(super) fn new(seed: u64, sizes: Sizes, stamped: bool) -> Self {
        let body_size = size_of(sizes.max()).saturating_sub(HEAD_SIZE);
        let words = (NOISE_SIZE + body_size).div_ceil(8);
        let mut random = Random::new(seed, 0);
        let noise = std::iter::repeat_with(|| random.word().to_le_bytes());
        let noise = noise.take(words).flatten().collect();
        Self { seed, sizes, stamped, noise }
    }

    /// The event with this identity that is due at a moment; `buffer` is scratch space.
    pub(super) fn event(&self, identity: Identity, due: u64, buffer: &mut Vec<u8>) -> NewEvent {
        let (id, body) = self.parts(identity);
        buffer.clear();
        buffer.extend_from_slice(&head(identity));
        body.write(buffer);
        let event = NewEvent::with_id(id, EVENT_TYPE, &buffer);
        if !self.stamped {
            return event;
        }
        event.metadata(self.stamp(id, due), ContentKind::Bytes)
    }

    /// Bytes of the payload of the event with this identity.
    pub(super) fn size(&self, identity: Identity) -> u64 {
        match self.sizes {
            Sizes::Fixed(size) => size,
            sizes => {
                let mut random = self.random(identity);
                sizes.draw([random.word(), random.word()])
            }
        }
    }

    /// The moment at which an event was due; `None` where it does not carry one.
    pub(super) fn due(event: &RecordedEvent) -> Option<u64> {
        event.metadata().first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// The identity that an event's payload claims; `None` where it is too short to claim one.
    pub(super) fn claimed(data: &[u8]) -> Option<Identity> {
        let (client, rest) = data.split_first_chunk()?;
        let (stream, rest) = rest.split_first_chunk()?;
        let (sequence, _) = rest.split_first_chunk()?;
        Some(Identity {
            client: u32::from_le_bytes(*client),
            stream: u32::from_le_bytes(*stream),
            sequence: u64::from_le_bytes(*sequence),
        })
    }

    /// Whether an event has the id, type, tags, metadata and data of the one with this identity, to
    /// the last byte.
    pub(super) fn is_intact(&self, identity: Identity, event: &RecordedEvent) -> bool {
        let (id, body) = self.parts(identity);
        let stamp = Self::due(event).filter(|_| self.stamped).map(|due| self.stamp(id, due));
        event.id() == id
            && event.event_type() == EVENT_TYPE
            && event.metadata() == stamp.as_ref().map_or(&[][..], |stamp| &stamp[..])
            && self.stamped == stamp.is_some()
            && event.tags().next().is_none()
            && event
                .data()
                .split_at_checked(HEAD_SIZE)
                .is_some_and(|(claim, bytes)| claim == head(identity) && body.is(bytes))
    }

    fn stamp(&self, id: Uuid, due: u64) -> [u8; STAMP_SIZE] {
        let mut bytes = [0; STAMP_SIZE];
        let mark = Random::new(self.seed ^ due, id.as_u64_pair().0).word();
        bytes[..8].copy_from_slice(&due.to_le_bytes());
        bytes[8..].copy_from_slice(&mark.to_le_bytes());
        bytes
    }

    fn random(&self, identity: Identity) -> Random {
        let Identity { client, stream, sequence } = identity;
        let owner = Random::new(self.seed, u64::from(client) << 32 | u64::from(stream)).word();
        Random::new(owner, sequence)
    }

    fn parts(&self, identity: Identity) -> (Uuid, Body<'_>) {
        let mut random = self.random(identity);
        let size = size_of(self.size(identity)).saturating_sub(HEAD_SIZE);
        let words = [random.word(), random.word()];
        let id = (u128::from(words[0]) << 64 | u128::from(words[1])).to_le_bytes();
        let start = size_of(random.word()) % (NOISE_SIZE / 8) * 8;
        let body = Body { noise: &self.noise[start..start + size], mask: random.word() };
        let id = uuid::Builder::from_random_bytes(id).into_uuid();
        (id, body)
    }
}

impl Body<'_> {
    fn write(self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(self.noise);
        let (words, rest) = out[start..].as_chunks_mut();
        for word in words {
            *word = self.masked(*word);
        }
        for (byte, mask) in rest.iter_mut().zip(self.mask.to_le_bytes()) {
            *byte ^= mask;
        }
    }

    fn is(self, bytes: &[u8]) -> bool {
        let ((words, rest), (noise, end)) = (bytes.as_chunks(), self.noise.as_chunks());
        let end = end.iter().zip(self.mask.to_le_bytes()).map(|(byte, mask)| byte ^ mask);
        words.len() == noise.len()
            && words.iter().zip(noise).all(|(word, noise)| *word == self.masked(*noise))
            && rest.iter().copied().eq(end)
    }

    fn masked(self, word: [u8; 8]) -> [u8; 8] {
        (u64::from_le_bytes(word) ^ self.mask).to_le_bytes()
    }
}

fn size_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The name of a client's stream.
pub(super) fn stream_name(client: u32, stream: u32) -> String {
    format!("stress-{client}-{stream}")
}

fn head(identity: Identity) -> [u8; HEAD_SIZE] {
    let mut bytes = [0; HEAD_SIZE];
    bytes[..4].copy_from_slice(&identity.client.to_le_bytes());
    bytes[4..8].copy_from_slice(&identity.stream.to_le_bytes());
    bytes[8..].copy_from_slice(&identity.sequence.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(seed: u64, sizes: &str) -> Pool {
        Pool::new(seed, sizes.parse().unwrap(), false)
    }

    #[test]
    fn payloads_have_their_size_and_tell_their_identity() {
        for size in [16, 17, 256, 70_000] {
            let pool = pool(7, &size.to_string());
            let identity = Identity { client: 3, stream: 1, sequence: 1 << 40 };
            let event = pool.event(identity, 0, &mut Vec::new());
            assert_eq!((event.data().len() as u64, pool.size(identity)), (size, size));
            assert_eq!(Pool::claimed(event.data()), Some(identity));
            assert_eq!(event, pool.event(identity, 5, &mut vec![9; 3]), "not the same twice");
        }
        assert_eq!(Pool::claimed(&[0; HEAD_SIZE - 1]), None);
    }

    #[test]
    fn sizes_differ_from_event_to_event_and_follow_from_the_identity() {
        let pool = pool(7, "uniform:16..4096");
        let mut sizes: Vec<_> = (0..1_000)
            .map(|sequence| {
                let identity = Identity { client: 0, stream: 0, sequence };
                let event = pool.event(identity, 0, &mut Vec::new());
                assert_eq!(event.data().len() as u64, pool.size(identity));
                event.data().len()
            })
            .collect();
        sizes.sort_unstable();
        assert!(sizes[0] < 200 && sizes[999] > 3_900, "{} {}", sizes[0], sizes[999]);
        sizes.dedup();
        assert!(sizes.len() > 800, "{} different sizes", sizes.len());
    }

    #[test]
    fn neighbours_and_seeds_differ() {
        let at = |seed, client, stream, sequence| {
            let identity = Identity { client, stream, sequence };
            pool(seed, "64").event(identity, 0, &mut Vec::new())
        };
        let events =
            [at(1, 0, 0, 0), at(2, 0, 0, 0), at(1, 1, 0, 0), at(1, 0, 1, 0), at(1, 0, 0, 1)];
        for (index, event) in events.iter().enumerate() {
            for other in &events[index + 1..] {
                assert_ne!(event.event_id(), other.event_id());
                assert_ne!(event.data()[HEAD_SIZE..], other.data()[HEAD_SIZE..]);
            }
        }
    }

    #[test]
    fn a_body_is_told_from_one_with_another_byte_or_length() {
        for size in [16, 17, 23, 24, 25, 64] {
            let pool = pool(7, &size.to_string());
            let (_, body) = pool.parts(Identity { client: 3, stream: 1, sequence: 9 });
            let mut bytes = Vec::new();
            body.write(&mut bytes);
            assert!(body.is(&bytes));
            for place in 0..bytes.len() {
                bytes[place] ^= 1;
                assert!(!body.is(&bytes), "byte {place} of {size}");
                bytes[place] ^= 1;
            }
            bytes.push(0);
            assert!(!body.is(&bytes), "longer than {size}");
            assert!(bytes.len() < 2 || !body.is(&bytes[..bytes.len() - 2]), "shorter than {size}");
        }
    }

    #[test]
    fn no_sixteen_bytes_of_a_stream_s_payloads_are_found_twice() {
        let pool = pool(7, "256");
        let mut seen = std::collections::HashSet::new();
        for sequence in 0..20_000 {
            let identity = Identity { client: 0, stream: 0, sequence };
            let event = pool.event(identity, 0, &mut Vec::new());
            for part in event.data()[HEAD_SIZE..].chunks_exact(16) {
                assert!(seen.insert(part.to_owned()), "event {sequence}");
            }
        }
    }
}
