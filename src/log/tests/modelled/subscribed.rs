//! Owns a subscription beside the model: what it has told so far, and what it must tell next.
//!
//! Promises: compares every update. An event must be the next one that is meant and visible, and
//! whoever is told that nothing is left has been told everything.

use std::task::Poll;

use crate::log::reader::Reader;
use crate::log::tests::compare::is_same;
use crate::log::tests::generate;
use crate::log::tests::model::{Kept, is_meant};
use crate::log::tests::random::Random;
use crate::position::{Position, StreamVersion};
use crate::query::Query;
use crate::subscribe::{Subscription, Update};

pub(super) struct Subscribed {
    subscription: Subscription,
    query: Query,
    /// Of a subscription to a stream: versions below are not meant.
    version: u64,
    /// All events below were told, or are not meant.
    position: usize,
    has_caught_up: bool,
}

impl Subscribed {
    pub(super) fn new(random: &mut Random, reader: &Reader, from: u64) -> Self {
        let query = generate::query(random);
        let (subscription, query, version, position) = match random.below(3) {
            0 => (reader.subscribe(Position::new(from)), Query::new(), 0, from),
            1 => (reader.subscribe_query(&query, Position::new(from)), query, 0, from),
            _ => {
                let (stream, version) = (generate::stream(random), random.below(6));
                let from = StreamVersion::new(version);
                (reader.subscribe_stream(stream, from), Query::stream(stream), version, 0)
            }
        };
        let (subscription, position) = (subscription.unwrap(), position as usize);
        Self { subscription, query, version, position, has_caught_up: false }
    }

    /// Takes some updates, as they come for a log of which this much is visible.
    pub(super) fn take(&mut self, random: &mut Random, log: &[Kept]) {
        for _ in 0..=random.below(20) {
            let rest = log.iter().enumerate().skip(self.position);
            let next = rest
                .clone()
                .find(|(_, kept)| is_meant(&self.query, kept) && kept.version >= self.version);
            match (self.subscription.try_next(), next) {
                (Poll::Ready(Some(Ok(Update::Event(event)))), Some((place, kept))) => {
                    assert!(is_same(&event, kept), "{event:?} instead of {kept:?}");
                    (self.position, self.has_caught_up) = (place + 1, false);
                }
                (Poll::Ready(Some(Ok(Update::CaughtUp(_)))), None) if !self.has_caught_up => {
                    self.has_caught_up = true;
                }
                (Poll::Pending, None) if self.has_caught_up => return,
                (update, next) => panic!("{} tells {update:?} before {next:?}", self.query),
            }
        }
    }
}
