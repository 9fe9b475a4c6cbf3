//! Owns the versions of all streams of a log while it is verified: within a chunk, and from chunk
//! to chunk.
//!
//! Promises: a version that is not the one behind the last is found, and where damage has hidden
//! events, no stream is blamed for the gap. Memory grows with the number of streams and with
//! nothing else: a hash, a version and a count for each (24 bytes, 30 to 60 with the room that a
//! hash table keeps). Never keeps names.

use std::collections::HashMap;

use crate::index::key::Key;
use crate::index::table::says::StreamRun;
use crate::position::StreamVersion;

/// The last version of every stream, over all chunks so far.
#[derive(Debug, Default)]
pub(super) struct Versions {
    last: HashMap<u64, Last>,
    /// How often damage has hidden events.
    losses: u32,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    version: StreamVersion,
    losses: u32,
}

/// The versions of the streams of one chunk, and how often damage has hidden events in it.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: HashMap<u64, Run>,
    losses: u32,
}

/// The events of one stream in one chunk.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: Last,
    last: Last,
    /// Where the first event lies in the file.
    offset: u64,
}

/// A version that does not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Unfit {
    /// Where the event lies in its file.
    pub(super) offset: u64,
    pub(super) expected: StreamVersion,
    pub(super) found: StreamVersion,
}

impl Runs {
    /// What the index of a chunk says, which was proved to say what its events do.
    pub(super) fn proved(runs: impl IntoIterator<Item = StreamRun>) -> Self {
        let last = |version| Last { version, losses: 0 };
        let run = |run: StreamRun| {
            let (first, last) = (last(run.first_version), last(run.last_version));
            (run.hash, Run { first, last, offset: run.offset })
        };
        Self { runs: runs.into_iter().map(run).collect(), losses: 0 }
    }

    /// Damage has hidden events of unknown streams.
    pub(super) fn lose(&mut self) {
        self.losses += 1;
    }

    /// Takes the next event, at `offset` of the file; the error is the version that it should have.
    /// Of the first event of a stream, only the chunks before can tell.
    pub(super) fn next(
        &mut self,
        stream: &[u8],
        version: StreamVersion,
        offset: u64,
    ) -> Result<(), StreamVersion> {
        let now = Last { version, losses: self.losses };
        let fresh = Run { first: now, last: now, offset };
        let mut is_new = false;
        let run = self.runs.entry(Key::stream(stream).hash()).or_insert_with(|| {
            is_new = true;
            fresh
        });
        if is_new {
            return Ok(());
        }
        let before = std::mem::replace(&mut run.last, now);
        before.judge(&now)
    }

    /// The number of streams, and how many of them begin in an earlier chunk.
    pub(super) fn counts(&self) -> (u64, u64) {
        let earlier = self.runs.values().filter(|run| run.first.version != StreamVersion::FIRST);
        (self.runs.len() as u64, earlier.count() as u64)
    }
}

impl Last {
    fn judge(&self, next: &Self) -> Result<(), StreamVersion> {
        let (expected, is_sure) = (self.version.next(), self.losses == next.losses);
        is_good(expected, next.version, is_sure)
    }
}

fn is_good(
    expected: StreamVersion,
    found: StreamVersion,
    is_sure: bool,
) -> Result<(), StreamVersion> {
    let is_good = if is_sure { found == expected } else { found >= expected };
    is_good.then_some(()).ok_or(expected)
}

impl Versions {
    /// Damage has hidden events of unknown streams.
    pub(super) fn lose(&mut self) {
        self.losses += 1;
    }

    /// Takes the streams of the next chunk: those whose first version here does not follow, in the
    /// order of the file.
    pub(super) fn link(&mut self, runs: Runs) -> Vec<Unfit> {
        let mut unfit = Vec::new();
        for (hash, run) in runs.runs {
            let at = |it: Last| Last { losses: self.losses + it.losses, ..it };
            let (first, last) = (at(run.first), at(run.last));
            let judged = match self.last.insert(hash, last) {
                Some(before) => before.judge(&first),
                None => is_good(StreamVersion::FIRST, first.version, first.losses == 0),
            };
            if let Err(expected) = judged {
                unfit.push(Unfit { offset: run.offset, expected, found: first.version });
            }
        }
        self.losses += runs.losses;
        unfit.sort_unstable();
        unfit
    }

    pub(super) fn count(&self) -> usize {
        self.last.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(events: &[(&str, u64)]) -> (Runs, Vec<bool>) {
        let mut runs = Runs::default();
        let mut take = |at: usize, stream: &str, version| match stream {
            "lost" => {
                runs.lose();
                true
            }
            _ => runs.next(stream.as_bytes(), StreamVersion::new(version), at as u64).is_ok(),
        };
        let good =
            events.iter().enumerate().map(|(at, (stream, version))| take(at, stream, *version));
        let good = good.collect();
        (runs, good)
    }

    fn link(versions: &mut Versions, events: &[(&str, u64)]) -> Vec<(u64, u64)> {
        let unfit = versions.link(chunk(events).0);
        unfit.iter().map(|it| (it.offset, it.expected.get())).collect()
    }

    #[test]
    fn gaps_and_repeats_are_found() {
        let (runs, good) = chunk(&[("a", 0), ("b", 1), ("a", 2), ("a", 3), ("a", 3)]);
        assert_eq!(good, [true, true, false, true, false], "what came before `b` is not known");
        assert_eq!(runs.counts(), (2, 1));
        let mut versions = Versions::default();
        let (offset, expected) = (1, StreamVersion::FIRST);
        let unfit = Unfit { offset, expected, found: StreamVersion::new(1) };
        assert_eq!(versions.link(runs), [unfit]);
        assert_eq!(versions.count(), 2);
        assert_eq!(link(&mut versions, &[("a", 4), ("b", 1)]), [(1, 2)]);
    }

    #[test]
    fn a_loss_excuses_each_stream_once() {
        let (_, good) = chunk(&[("a", 0), ("lost", 0), ("a", 5), ("a", 7), ("new", 3)]);
        assert_eq!(good, [true, true, true, false, true]);
        let mut versions = Versions::default();
        assert_eq!(link(&mut versions, &[("a", 0), ("b", 0)]), []);
        versions.lose();
        assert_eq!(link(&mut versions, &[("a", 5), ("lost", 0), ("new", 3), ("a", 6)]), []);
        assert_eq!(link(&mut versions, &[("a", 8), ("b", 7)]), [(0, 7)], "`b` was excused");
        versions.lose();
        assert_eq!(link(&mut versions, &[("a", 8)]), [(0, 9)], "no loss lets versions run back");
    }

    #[test]
    fn what_an_index_says_links_as_what_events_say() {
        let run = |first, last| StreamRun {
            hash: Key::stream("a").hash(),
            first_version: StreamVersion::new(first),
            last_version: StreamVersion::new(last),
            offset: 4160,
        };
        let mut versions = Versions::default();
        assert_eq!(versions.link(Runs::proved([run(0, 4)])), []);
        assert_eq!(link(&mut versions, &[("a", 5)]), []);
        assert_eq!(versions.link(Runs::proved([run(7, 7)])).len(), 1);
    }
}
