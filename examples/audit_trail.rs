//! An audit trail embedded in a program: several threads record what happened, one report reads it
//! back, and the log is opened again as after a restart.
//!
//! Run it with `cargo run --example audit_trail`.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::thread;

use paperchase::{AppendError, Expected, Log, NewEvent, Position};

const DOORS: [&str; 3] = ["door-1", "door-2", "door-3"];

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    record(folder.path())?;
    report(folder.path())
}

/// Three threads append to one log; each keeps several appends in flight and waits for all acks.
fn record(folder: &Path) -> Result<(), Box<dyn Error>> {
    let log = Log::open(folder)?;
    thread::scope(|scope| {
        let threads: Vec<_> =
            DOORS.map(|door| scope.spawn(|| open_and_close(&log, door))).into_iter().collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
    })?;
    // An expectation that does not hold is an answer, not a failure: nothing was stored.
    match log.append("door-1", Expected::NoStream, [NewEvent::new("Installed", "")])?.wait() {
        Err(AppendError::WrongVersion { actual, .. }) => {
            println!("door-1 is there already, at version {}", actual.expect("it has events"));
        }
        other => println!("unexpected: {other:?}"),
    }
    log.close()?;
    Ok(())
}

fn open_and_close(log: &Log, door: &str) -> Result<(), AppendError> {
    let acks: Vec<_> = (0..10)
        .map(|minute| {
            let data = format!(r#"{{"minute":{minute}}}"#);
            let opened = NewEvent::json("Opened", &data).tag("building:main");
            let closed = NewEvent::json("Closed", &data).tag("building:main");
            // Both or neither.
            log.append(door, Expected::Any, [opened, closed])
        })
        .collect::<Result<_, _>>()?;
    acks.into_iter().try_for_each(|ack| ack.wait().map(drop))
}

fn report(folder: &Path) -> Result<(), Box<dyn Error>> {
    let log = Log::open(folder)?;
    println!("opened again with {} events, clean: {}", log.report().events, log.report().clean);
    let mut counts = BTreeMap::new();
    for event in log.read_all(Position::START..)? {
        let event = event?;
        *counts.entry((event.stream().to_owned(), event.event_type().to_owned())).or_insert(0) += 1;
    }
    for ((stream, event_type), count) in &counts {
        println!("{stream} {event_type} {count}");
    }
    assert_eq!(counts.len(), 2 * DOORS.len());
    assert!(counts.values().all(|count| *count == 10));
    if let Some(last) = log.read_stream(DOORS[0], ..)?.next_back() {
        println!("the last of {}: {}", DOORS[0], String::from_utf8_lossy(last?.data()));
    }
    log.close()?;
    Ok(())
}
