//! Owns subscribers of random kinds: what they subscribe to, how they ask, and the comparison of
//! what they were told with the log as it is at the end.
//!
//! Promises: an event that is missing, told twice, out of order or altered is never called right,
//! nor a wrong word on having caught up. Assumes the events of [`events`], appended to the streams
//! `writer-0` to `writer-3`.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use futures_core::Stream;
use paperchase::{
    NewEvent, Position, Query, Reader, RecordedEvent, StreamVersion, Subscription, Update,
};
use uuid::Uuid;

use super::Random;

/// The events of one append, of up to so many bytes each.
pub(crate) fn events(random: &mut Random, size_max: u64) -> Vec<NewEvent> {
    let count = 1 + random.below(3);
    let event = |_| {
        let kind = if random.below(4) == 0 { "Odd" } else { "Even" };
        let tag = if random.below(50) == 0 { "rare" } else { "common" };
        let id = Uuid::from_u64_pair(random.next(), random.next());
        NewEvent::with_id(id, kind, vec![7; random.below(size_max) as usize]).tag(tag)
    };
    (0..count).map(event).collect()
}

pub(crate) struct Unpark(pub(crate) Thread, pub(crate) AtomicUsize);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

/// What was told, and for others how many events that were.
struct Told(Vec<Update>, Arc<AtomicUsize>);

impl Told {
    fn push(&mut self, update: Update) {
        let is_event = matches!(update, Update::Event(_));
        self.0.push(update);
        self.1.fetch_add(usize::from(is_event), Ordering::SeqCst);
    }
}

/// Takes all updates as a task would, on this thread.
fn run_as_task(subscription: Subscription, mut told: Told) -> Vec<Update> {
    let wake = Arc::new(Unpark(thread::current(), AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&wake));
    let mut context = Context::from_waker(&waker);
    let mut updates = subscription.into_updates();
    loop {
        match Pin::new(&mut updates).poll_next(&mut context) {
            Poll::Ready(Some(update)) => told.push(update.unwrap()),
            Poll::Ready(None) => return told.0,
            Poll::Pending => {
                while wake.1.swap(0, Ordering::SeqCst) == 0 {
                    thread::park();
                }
            }
        }
    }
}

/// Takes all updates in a way that the number picks.
fn run(mut subscription: Subscription, way: u64, mut told: Told) -> Vec<Update> {
    if way == 0 {
        return run_as_task(subscription, told);
    }
    loop {
        let update = match way {
            1 => Poll::Ready(subscription.next()),
            2 => subscription.next_timeout(Duration::from_micros(200)),
            3 => subscription.try_next(),
            // Slow: what arrives meanwhile is read in larger pieces.
            _ => {
                thread::sleep(Duration::from_micros(50));
                Poll::Ready(subscription.next())
            }
        };
        match update {
            Poll::Ready(Some(update)) => told.push(update.unwrap()),
            Poll::Ready(None) => return told.0,
            Poll::Pending => thread::sleep(Duration::from_micros(50)),
        }
    }
}

type Meant = Box<dyn Fn(&RecordedEvent) -> bool + Send>;

/// Somebody who subscribes in a thread of its own, until the log ends.
pub(crate) struct Subscriber {
    thread: JoinHandle<Vec<Update>>,
    delivered: Arc<AtomicUsize>,
    from: u64,
    meant: Meant,
}

impl Subscriber {
    /// Begins with a random kind of subscription, which is asked in a random way. Positions are
    /// below `reach`.
    #[expect(clippy::disallowed_methods, reason = "it outlives the log")]
    pub(crate) fn begin(reader: &Reader, random: &mut Random, reach: u64) -> Self {
        let (subscription, from, meant) = subscribe(reader, random, reach);
        let way = random.below(5);
        let delivered = Arc::new(AtomicUsize::new(0));
        let told = Told(Vec::new(), Arc::clone(&delivered));
        let thread = thread::spawn(move || run(subscription, way, told));
        Self { thread, delivered, from, meant }
    }

    /// Whether it has been told all events of the log that it means, so that it sleeps through none
    /// until the end wakes it; also when it has failed.
    pub(crate) fn has_all(&self, log: &[RecordedEvent]) -> bool {
        let delivered = self.delivered.load(Ordering::SeqCst);
        delivered >= wanted(log, self.from, &self.meant).count() || self.thread.is_finished()
    }

    /// Compares what it was told with the log as it is at the end. Returns how many events that
    /// were.
    pub(crate) fn check(self, log: &[RecordedEvent]) -> usize {
        check(&self.thread.join().unwrap(), log, self.from, &self.meant)
    }
}

/// A subscription of a random kind, from where it is, and which events it means.
fn subscribe(reader: &Reader, random: &mut Random, reach: u64) -> (Subscription, u64, Meant) {
    let from = random.below(reach);
    let position = Position::new(from);
    let (subscription, from, meant): (_, u64, Meant) = match random.below(6) {
        0 => (reader.subscribe(Position::START), 0, Box::new(|_| true)),
        1 => (reader.subscribe(position), from, Box::new(|_| true)),
        2 => {
            let query = Query::tag("rare").or(Query::event_type("Odd").streams(["writer-1"]));
            let is_odd =
                |event: &RecordedEvent| event.event_type() == "Odd" && event.stream() == "writer-1";
            let meant =
                move |event: &RecordedEvent| event.tags().any(|t| t == "rare") || is_odd(event);
            (reader.subscribe_query(&query, position), from, Box::new(meant))
        }
        3 => {
            let query = Query::category("writer").types(["Odd", "None"]);
            let meant = |event: &RecordedEvent| event.event_type() == "Odd";
            (reader.subscribe_query(&query, Position::START), 0, Box::new(meant))
        }
        4 => {
            let version = StreamVersion::new(random.below(reach / 4));
            let meant = move |event: &RecordedEvent| {
                event.stream() == "writer-2" && event.version() >= version
            };
            (reader.subscribe_stream("writer-2", version), 0, Box::new(meant))
        }
        _ => {
            let stream = reader.subscribe_stream("nobody-1", StreamVersion::FIRST);
            (stream, 0, Box::new(|_| false))
        }
    };
    (subscription.unwrap(), from, meant)
}

/// The events of a log that a subscription means.
fn wanted<'a>(
    log: &'a [RecordedEvent],
    from: u64,
    meant: &Meant,
) -> impl Iterator<Item = &'a RecordedEvent> {
    let skipped = log.len().min(usize::try_from(from).unwrap());
    log[skipped..].iter().filter(move |event| meant(event))
}

/// Compares what a subscription told with the log as it is at the end.
fn check(told: &[Update], log: &[RecordedEvent], from: u64, meant: &Meant) -> usize {
    let wanted: Vec<_> = wanted(log, from, meant).collect();
    let (mut delivered, mut caught_up) = (0, false);
    for update in told {
        match update {
            Update::Event(event) => {
                assert_eq!(Some(event), wanted.get(delivered).copied());
                delivered += 1;
                caught_up = false;
            }
            Update::CaughtUp(position) => {
                assert!(!caught_up, "told twice without an event in between");
                caught_up = true;
                let below = wanted.partition_point(|event| event.position() < *position);
                assert_eq!(delivered, below, "caught up at {position}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(delivered, wanted.len(), "every event is delivered");
    assert!(caught_up, "it ends caught up");
    delivered
}
