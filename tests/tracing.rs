//! Which thread tells of what, with real threads: opening is told by who opens, all else by the
//! keeper, and a subscriber that panics does the log no harm.
//!
//! The only test of its binary, because the subscriber is that of the whole process.

#![cfg(feature = "tracing")]
#![allow(clippy::unwrap_used, reason = "what is wrong ends the test")]

use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use paperchase::{Expected, Log, NewEvent, Options};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Messages, each with the name of the thread that told it.
static TOLD: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());
/// Whether the subscriber panics when the keeper tells something.
static PANICS: AtomicBool = AtomicBool::new(false);

struct Keeper;

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("paperchase")
    }

    fn event(&self, event: &Event<'_>) {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        assert!(thread != "paperchase-keeper" || !PANICS.load(Ordering::SeqCst), "injected");
        let mut message = Message(String::new());
        event.record(&mut message);
        TOLD.lock().unwrap().push((message.0, thread));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        unreachable!("the log has no spans")
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Opens a log, fills three chunks and closes it.
fn live() {
    let dir = tempfile::tempdir().unwrap();
    let log: Log = Options::new().chunk_size(1 << 20).open(dir.path()).unwrap();
    for number in 0..30_u64 {
        let event = NewEvent::new("Big", vec![7; 100 << 10]);
        let done = log.append("s", Expected::Any, [event]).unwrap().wait().unwrap();
        assert_eq!(done.first_position.get(), number);
    }
    log.close().unwrap();
}

#[test]
fn the_keeper_tells_and_survives_who_listens() {
    tracing::subscriber::set_global_default(Keeper).unwrap();
    live();
    let told = std::mem::take(&mut *TOLD.lock().unwrap());
    let here = std::thread::current().name().unwrap_or_default().to_owned();
    assert_eq!(told[0], ("opened".to_owned(), here));
    assert!(told[1..].iter().all(|(_, thread)| thread == "paperchase-keeper"), "{told:?}");
    let count = |wanted: &str| told.iter().filter(|(message, _)| message == wanted).count();
    assert!(count("rolled") >= 2 && count("rolled") == count("sealed"), "{told:?}");
    assert_eq!(told.last().unwrap().0, "closed");

    PANICS.store(true, Ordering::SeqCst);
    live();
    let told = std::mem::take(&mut *TOLD.lock().unwrap());
    assert_eq!(told.len(), 1, "only what the opener told: {told:?}");
}
