//! Owns the versions of all streams of a log while it is verified.
//!
//! Promises: a version that is not the one behind the last is found, and where damage has hidden
//! events, no stream is blamed for the gap. Memory grows with the number of streams, not of events.

use std::collections::HashMap;

use crate::position::StreamVersion;

/// The last version of every stream.
#[derive(Debug, Default)]
pub(super) struct Versions {
    last: HashMap<Box<str>, Last>,
    /// How often damage has hidden events.
    losses: u32,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    version: StreamVersion,
    losses: u32,
}

impl Versions {
    /// Damage has hidden events of unknown streams.
    pub(super) fn lose(&mut self) {
        self.losses += 1;
    }

    /// Takes the next event; the error is the version that it should have.
    pub(super) fn next(
        &mut self,
        stream: &str,
        version: StreamVersion,
    ) -> Result<(), StreamVersion> {
        let losses = self.losses;
        let now = Last { version, losses };
        let (expected, is_sure) = match self.last.get_mut(stream) {
            Some(last) => {
                let before = std::mem::replace(last, now);
                (before.version.next(), before.losses == losses)
            }
            None => {
                self.last.insert(stream.into(), now);
                (StreamVersion::FIRST, losses == 0)
            }
        };
        let is_good = if is_sure { version == expected } else { version >= expected };
        is_good.then_some(()).ok_or(expected)
    }

    pub(super) fn count(&self) -> usize {
        self.last.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_repeats_are_found() {
        let mut versions = Versions::default();
        let mut next = |stream, version| versions.next(stream, StreamVersion::new(version));
        assert_eq!(next("a", 0), Ok(()));
        assert_eq!(next("b", 1), Err(StreamVersion::FIRST));
        assert_eq!(next("a", 2), Err(StreamVersion::new(1)));
        assert_eq!(next("a", 3), Ok(()));
        assert_eq!(next("a", 3), Err(StreamVersion::new(4)));
        assert_eq!(versions.count(), 2);
    }

    #[test]
    fn a_loss_excuses_each_stream_once() {
        let mut versions = Versions::default();
        let next = |versions: &mut Versions, stream, version| {
            versions.next(stream, StreamVersion::new(version)).is_ok()
        };
        assert!(next(&mut versions, "a", 0));
        versions.lose();
        assert!(next(&mut versions, "a", 5));
        assert!(!next(&mut versions, "a", 7));
        assert!(next(&mut versions, "new", 3));
        versions.lose();
        assert!(!next(&mut versions, "a", 4), "no loss lets versions run backwards");
    }
}
