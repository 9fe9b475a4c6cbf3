//! Owns the groups that pass through the stages one after another, each stage timed by itself.
//!
//! Promises: what each step says that it did is asserted, and every append is acked at its place.

use std::time::{Duration, Instant};

use paperchase::measuring::Stages;
use paperchase::{NewEvent, Options};

/// Events after which the log is made anew: what the disk in memory adds to a group grows with its
/// files.
const LOG_EVENTS: u64 = 2_000;

/// How long the stages took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(crate) writer: Duration,
    pub(crate) chaser: Duration,
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures the time that passes")]
fn timed<T>(took: &mut Duration, step: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = step();
    *took += start.elapsed();
    result
}

/// A log that one group has passed through: the first of a chunk writes its header, too.
fn open(appends: u64) -> (Stages, u64) {
    let stages = Stages::open(Options::new().chunk_size(1 << 20));
    let mut stages = stages.expect("memory is a sound disk");
    let mut end = 0;
    group(&mut stages, &mut end, appends);
    (stages, end)
}

/// Lets a group pass that begins at `end`, and moves that behind it.
fn group(stages: &mut Stages, end: &mut u64, appends: u64) -> Times {
    stages.step_keeper();
    let submit = |number: u64| {
        let event = NewEvent::new("Stepped", [7; 256]);
        stages.submit(&format!("stream-{number}"), event).expect("the queue has room")
    };
    let acks: Vec<_> = (0..appends).map(submit).collect();
    let mut took = Times::default();
    let durable = timed(&mut took.writer, || stages.step_writer());
    let visible = timed(&mut took.chaser, || stages.step_chaser());
    let first = *end;
    *end += appends;
    assert_eq!((durable.get(), visible.get()), (*end, *end), "a step each makes it visible");
    for (position, ack) in (first..).zip(acks) {
        assert_eq!(ack.wait().expect("it is stored").first_position.get(), position);
    }
    took
}

/// Lets so many groups pass, each of so many appends of one event of 256 bytes.
pub(crate) fn groups(appends: u64, times: u64) -> Times {
    let (mut took, (mut stages, mut end)) = (Times::default(), open(appends));
    for _ in 0..times {
        if end >= LOG_EVENTS {
            (stages, end) = open(appends);
        }
        let Times { writer, chaser } = group(&mut stages, &mut end, appends);
        took.writer += writer;
        took.chaser += chaser;
    }
    took
}
