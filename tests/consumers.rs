//! Owns the proof of consumers: their places, how they are taken over, what is refused, and how far
//! they are said to be behind.
//!
//! Promises: each result is looked for in the log itself, not in what a consumer says. Assumes the
//! simulated disk; consumers in processes that are killed are in `consumers_killed.rs`.

#![cfg(feature = "sim")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "what is wrong ends the test"
)]

#[path = "consumers/fencing.rs"]
mod fencing;
#[path = "consumers/lag.rs"]
mod lag;
#[path = "consumers/places.rs"]
mod places;
#[path = "consumers/stops.rs"]
mod stops;
mod support;

use std::task::Poll;

use paperchase::disk::sim::SimDisk;
use paperchase::{
    Append, AppendError, Appended, Consumer, Expected, Log, NewEvent, Place, Query, RecordedEvent,
    Subscription, Update,
};

use support::sim::open;

pub(crate) type Answer = Result<Appended, AppendError>;

pub(crate) const RESULTS: &str = "results";

pub(crate) fn new_log() -> Log {
    open(&SimDisk::new()).unwrap()
}

pub(crate) fn orders() -> Query {
    Query::category("order")
}

/// Appends the orders of these numbers, each alone, to some streams.
pub(crate) fn order(log: &Log, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let event = NewEvent::new("Ordered", number.to_le_bytes());
        let stream = format!("order-{}", number % 3);
        log.append(&stream, Expected::Any, [event]).unwrap().wait().unwrap();
    }
}

/// The number in the first bytes of an event's data.
pub(crate) fn number(event: &RecordedEvent) -> u64 {
    u64::from_le_bytes(event.data()[..8].try_into().unwrap())
}

/// An append of the results of some orders, with the place behind them.
pub(crate) fn results(consumer: &Consumer, orders: &[RecordedEvent]) -> Append {
    let results = orders.iter().map(|order| NewEvent::new("Done", number(order).to_le_bytes()));
    let append = Append::new().events(RESULTS, results.collect::<Vec<_>>());
    append.commit(consumer, consumer.behind(orders.last().unwrap()))
}

/// The numbers of the orders of which a log has results, in the order of the results.
pub(crate) fn done(log: &Log) -> Vec<u64> {
    log.read_stream(RESULTS, ..).unwrap().map(|event| number(&event.unwrap())).collect()
}

pub(crate) fn commit(consumer: &Consumer, place: Place) -> Answer {
    consumer.commit(place)?.wait()
}

/// The events that a subscription has to tell, and how often it says that it has caught up.
pub(crate) fn told(subscription: &mut Subscription) -> (Vec<RecordedEvent>, usize) {
    let (mut events, mut caught_up) = (Vec::new(), 0);
    while let Poll::Ready(Some(update)) = subscription.try_next() {
        match update.unwrap() {
            Update::Event(event) => events.push(event),
            _ => caught_up += 1,
        }
    }
    (events, caught_up)
}
