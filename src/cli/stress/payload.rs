//! Owns what a stressed event holds: everything about it follows from the seed and its identity
//! (client, stream, sequence number).
//!
//! Promises: so the check needs no copy of what was sent to tell an intact event from an altered
//! one. The bytes look random and do not compress. Never remembers what was sent.

use uuid::Uuid;

use crate::{NewEvent, RecordedEvent};

/// Bytes at the head of each payload that tell which event it is.
pub(super) const HEAD_SIZE: usize = 16;
/// How many different bodies there are.
const BODIES: u64 = 8192;
/// Bodies overlap where they would otherwise take more memory than this.
const POOL_SIZE_MAX: usize = 16 << 20;
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
    bodies: Vec<u8>,
    body_size: usize,
    stride: usize,
}

impl Pool {
    /// Payloads of `size` bytes, at least [`HEAD_SIZE`].
    pub(super) fn new(seed: u64, size: usize) -> Self {
        let body_size = size.saturating_sub(HEAD_SIZE);
        let count = usize::try_from(BODIES).unwrap_or(usize::MAX);
        let stride = body_size.clamp(1, POOL_SIZE_MAX / count);
        let words = (stride * count + body_size).div_ceil(8);
        let mut state = seed;
        let bodies = std::iter::repeat_with(|| splitmix(&mut state).to_le_bytes());
        Self { seed, bodies: bodies.take(words).flatten().collect(), body_size, stride }
    }

    /// The event with this identity; `buffer` is scratch space.
    pub(super) fn event(&self, identity: Identity, buffer: &mut Vec<u8>) -> NewEvent {
        let (id, body) = self.parts(identity);
        buffer.clear();
        buffer.extend_from_slice(&head(identity));
        buffer.extend_from_slice(body);
        NewEvent::with_id(id, EVENT_TYPE, &buffer)
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

    /// Whether an event is exactly the one with this identity, to the last byte.
    pub(super) fn is_intact(&self, identity: Identity, event: &RecordedEvent) -> bool {
        let (id, body) = self.parts(identity);
        event.id() == id
            && event.event_type() == EVENT_TYPE
            && event.metadata().is_empty()
            && event.tags().next().is_none()
            && event.data().split_at_checked(HEAD_SIZE) == Some((&head(identity), body))
    }

    fn parts(&self, identity: Identity) -> (Uuid, &[u8]) {
        let Identity { client, stream, sequence } = identity;
        let mut state = self.seed ^ (u64::from(client) << 32 | u64::from(stream));
        state = splitmix(&mut state) ^ sequence;
        let words = [splitmix(&mut state), splitmix(&mut state)];
        let id = (u128::from(words[0]) << 64 | u128::from(words[1])).to_le_bytes();
        let body = usize::try_from(splitmix(&mut state) % BODIES).unwrap_or(0) * self.stride;
        let id = uuid::Builder::from_random_bytes(id).into_uuid();
        (id, &self.bodies[body..body + self.body_size])
    }
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

/// The SplitMix64 generator: small, and the same on every machine.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_their_size_and_tell_their_identity() {
        for size in [16, 17, 256, 70_000] {
            let pool = Pool::new(7, size);
            let identity = Identity { client: 3, stream: 1, sequence: 1 << 40 };
            let event = pool.event(identity, &mut Vec::new());
            assert_eq!(event.data().len(), size);
            assert_eq!(Pool::claimed(event.data()), Some(identity));
            assert_eq!(event, pool.event(identity, &mut vec![9; 3]), "not the same twice");
        }
        assert_eq!(Pool::claimed(&[0; HEAD_SIZE - 1]), None);
    }

    #[test]
    fn neighbours_and_seeds_differ() {
        let at = |seed, client, stream, sequence| {
            let identity = Identity { client, stream, sequence };
            Pool::new(seed, 64).event(identity, &mut Vec::new())
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
}
