//! Owns what calls of a disk in memory cost: time of a simulated clock.
//!
//! Promises: a call moves the clock on by its price, before it does its work; without a toll no
//! clock moves. So a slow disk is the same in every run.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::SimClock;

/// The price of each call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prices {
    /// Of a write to a file.
    pub write: Duration,
    /// Of a sync of a file.
    pub sync: Duration,
    /// Of a look at mapped bytes, as when they must come from the medium.
    pub view: Duration,
}

impl Prices {
    /// Calls that cost nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with another price of a write.
    #[must_use]
    pub fn write(self, write: Duration) -> Self {
        Self { write, ..self }
    }

    /// The same, with another price of a sync.
    #[must_use]
    pub fn sync(self, sync: Duration) -> Self {
        Self { sync, ..self }
    }

    /// The same, with another price of a look at mapped bytes.
    #[must_use]
    pub fn view(self, view: Duration) -> Self {
        Self { view, ..self }
    }
}

/// Where calls pay.
#[derive(Debug, Default)]
pub(super) struct Toll(Mutex<Option<(Arc<SimClock>, Prices)>>);

impl Toll {
    pub(super) fn set(&self, clock: Arc<SimClock>, prices: Prices) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((clock, prices));
    }

    pub(super) fn pay(&self, price: impl FnOnce(&Prices) -> Duration) {
        let toll = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((clock, prices)) = &*toll {
            clock.advance(price(prices));
        }
    }
}
