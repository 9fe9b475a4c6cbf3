//! Owns the decision how long an idle writer holds a group back, so that more appends share its
//! flush.
//!
//! Promises: holds only for appends of clients that were answered last and are about to return, and
//! only while that raises the number of appends per time; never beyond the time in which they
//! usually return. One slow sync or slow client changes little. Assumes that times never run
//! backwards. Knows no clock.
//!
//! A flush that begins while the clients answered last are still on their way leaves them to the
//! next one, and two halves then take turns, each waiting for the syncs of both. Waiting pays as
//! long as appends arrive faster than the flush by itself would serve those that are there: the
//! marginal value theorem (E. Charnov, 1976). The smallest such delay is what the batching
//! controller of SEDA looks for (M. Welsh and others, 2001); here it follows from two smoothed
//! times instead of a search.

use std::time::Duration;

/// What a sleep of the writer's thread and its wake take beyond the time slept.
const WAKE: Duration = Duration::from_micros(50);

/// What the writer knows of its flushes and of those who wait for them.
#[derive(Debug, Default)]
pub(super) struct Batching {
    /// Of a sync, smoothed.
    sync: Duration,
    /// From an answer to the next append of who got it, smoothed, and how far samples are from it.
    turnaround: Duration,
    spread: Duration,
    before: Release,
    last: Release,
    is_holding: bool,
}

/// Appends that were answered at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Release {
    at: Duration,
    answers: usize,
    /// Appends that have arrived since.
    returned: usize,
    is_learned: bool,
}

/// Why a flush is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    /// The longest.
    pub(super) until: Duration,
    /// Appends that are waited for.
    pub(super) appends: usize,
}

impl Batching {
    /// A flush ended at `now` and made so many answers due; its sync, if any, took `sync`.
    pub(super) fn flushed(&mut self, now: Duration, sync: Option<Duration>, answers: usize) {
        if let Some(sync) = sync {
            smooth(&mut self.sync, sync);
        }
        self.is_holding = false;
        if !self.before.is_learned && self.before.answers > 0 {
            // They have taken longer than this.
            let least = self.last.at.saturating_sub(self.before.at);
            let longer = self.turnaround.max(least);
            self.learn(longer);
        }
        self.before = self.last;
        self.last = Release { at: now, answers, ..Release::default() };
    }

    /// An append has arrived at `since`.
    pub(super) fn arrived(&mut self, since: Duration) {
        let release = if since < self.last.at { &mut self.before } else { &mut self.last };
        release.returned += 1;
        // The last few tell of the slowest clients, not of the others.
        let is_known = release.answers > 0 && !release.is_learned;
        if is_known && release.returned >= release.answers - release.answers / 32 {
            release.is_learned = true;
            let took = since.saturating_sub(release.at);
            self.learn(took);
        }
    }

    /// Whether a flush of `gathered` appends is to be held back at `now`.
    pub(super) fn hold(&mut self, now: Duration, gathered: usize) -> Option<Hold> {
        let appends = self.last.answers.saturating_sub(self.last.returned);
        // As long as nearly all take: the bound of a retransmission timer (V. Jacobson, 1988).
        let spread = self.spread.max(self.turnaround / 16);
        let until = self.last.at + self.turnaround + spread * 4;
        let left = until.checked_sub(now).filter(|left| !left.is_zero())?;
        // Where more are on their way than are here, the next flush would serve those.
        let more = nanos(self.sync).saturating_mul(appends.min(gathered) as u128);
        let fewer = nanos(left + WAKE).saturating_mul(gathered as u128);
        // Once they are waited for, the last of them count as much as the first.
        self.is_holding = appends > 0 && (self.is_holding || more > fewer + fewer / 4);
        self.is_holding.then_some(Hold { until, appends })
    }

    fn learn(&mut self, turnaround: Duration) {
        let distance = turnaround.abs_diff(self.turnaround);
        smooth(&mut self.spread, distance);
        smooth(&mut self.turnaround, turnaround);
    }
}

/// Moves `old` an eighth of the way to `sample`, which counts as twice the old at most.
fn smooth(old: &mut Duration, sample: Duration) {
    if old.is_zero() {
        *old = sample;
    } else {
        *old = (*old * 7 + sample.min(*old * 2)) / 8;
    }
}

fn nanos(time: Duration) -> u128 {
    time.as_nanos()
}

#[cfg(test)]
mod tests;
