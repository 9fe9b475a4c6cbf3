//! A program that follows the log of another one and measures how soon it sees an event. Here both
//! are threads; two processes work the same.
//!
//! Run it with `cargo run --release --example follow -- 20000`: the number of events to wait for.

use std::error::Error;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use paperchase::clock::{Clock, SystemClock};
use paperchase::{Expected, Log, NewEvent, WriterState};

/// Rest between two events: some are seen while the follower looks often, some after a rest.
const RESTS: [Duration; 4] =
    [Duration::ZERO, Duration::ZERO, Duration::from_micros(300), Duration::from_millis(3)];

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(200_usize);
    let folder = tempfile::tempdir()?;
    let log = Log::open(folder.path())?;
    let follower = Log::follow(folder.path())?;
    assert_eq!(follower.writer(), WriterState::Live);

    let clock = SystemClock::default();
    let (tell, told) = mpsc::channel();
    let mut latencies = thread::scope(|scope| {
        let write = || {
            for number in 0..count {
                let event = NewEvent::new("Measured", number.to_string());
                log.append("bench-1", Expected::Any, [event])?.wait()?;
                tell.send(clock.monotonic())?;
                thread::sleep(RESTS[number * RESTS.len() / count]);
            }
            Ok::<(), Box<dyn Error + Send + Sync>>(())
        };
        let writer = scope.spawn(write);
        let mut latencies = Vec::with_capacity(count);
        while latencies.len() < count && follower.failure().is_none() {
            let seen = follower.view().end().get() as usize;
            let now = clock.monotonic();
            // An event may be seen before its ack has come round.
            let acked = told.try_iter().take(seen - latencies.len());
            latencies.extend(acked.map(|acked| now.saturating_sub(acked)));
            thread::yield_now();
        }
        writer.join().expect("no thread panics").map(|()| latencies)
    })
    .map_err(|error| error.to_string())?;
    assert_eq!(follower.read_stream("bench-1", ..)?.count(), count);
    log.close()?;

    for (part, rest) in latencies.chunks_mut(count / RESTS.len()).zip(RESTS) {
        part.sort_unstable();
        let (median, late) = (part[part.len() / 2], part[part.len() * 99 / 100]);
        println!("rest {rest:?}: seen {median:?} after the ack, 99 % within {late:?}");
    }
    Ok(())
}
