//! Tests of how far consumers are said to be behind.

use std::sync::Arc;
use std::time::Duration;

use paperchase::clock::{Clock, SimClock};
use paperchase::disk::sim::SimDisk;
use paperchase::{ConsumerInfo, Expected, Log, NewEvent, Position};

use super::support::sim::small;
use super::{commit, new_log, order};

fn info(log: &Log, name: &str) -> ConsumerInfo {
    let found = log.view().consumers().unwrap().into_iter().find(|info| info.name == name);
    found.unwrap()
}

/// Events, bytes and seconds behind.
fn lag(log: &Log, name: &str, clock: &SimClock) -> (u64, u64, f64) {
    let lag = info(log, name).lag.unwrap();
    (lag.events, lag.bytes, lag.seconds(clock.wall()))
}

#[test]
fn lag_counts_events_bytes_and_seconds() {
    let clock = Arc::new(SimClock::new());
    let log = small().open_on(Arc::new(SimDisk::new()), Arc::clone(&clock) as _).unwrap();
    let pass = |seconds| clock.advance(Duration::from_secs(seconds));
    pass(1_000);
    let (one, other) = (log.consumer("one").unwrap(), log.consumer("other").unwrap());
    assert_eq!(lag(&log, "one", &clock), (0, 0, 0.0), "claims are no events to consume");
    pass(10);
    order(&log, 0..2);
    pass(7);
    order(&log, 2..3);
    pass(3);
    let (events, all, seconds) = lag(&log, "one", &clock);
    assert_eq!((events, seconds), (3, 10.0));
    let data = |log: &Log| log.view().chunks().iter().map(|chunk| chunk.data_bytes).sum::<u64>();
    assert!(all >= 3 * 8 && all <= data(&log), "{all} bytes");

    // Positions 0 and 1 are the claims.
    commit(&one, log.view().place_at(Position::new(4))).unwrap();
    pass(5);
    let (events, rest, seconds) = lag(&log, "one", &clock);
    assert_eq!((events, seconds), (1, 8.0), "the commit behind it is not counted");
    assert!(rest >= 8 && rest < data(&log), "{rest} bytes");
    assert_eq!((lag(&log, "other", &clock).0, lag(&log, "other", &clock).2), (3, 15.0));

    commit(&one, log.view().place_at(Position::new(5))).unwrap();
    commit(&other, log.view().place()).unwrap();
    pass(50);
    for name in ["one", "other"] {
        assert_eq!(lag(&log, name, &clock), (0, 0, 0.0), "{name}");
    }
    order(&log, 3..4);
    assert_eq!(lag(&log, "other", &clock).2, 0.0, "it has just come");
    clock.set_wall(paperchase::Timestamp::from_nanos(1));
    assert_eq!(lag(&log, "other", &clock).2, 0.0, "a clock that went back");
}

#[test]
fn lag_is_that_of_the_log_in_which_the_place_is() {
    let (one, target) = (new_log(), new_log());
    order(&one, 0..30);
    order(&target, 0..5);
    let told = || {
        let info = info(&target, "copy");
        (info.place.map(|place| place.position().get()), info.lag.map(|lag| lag.events))
    };
    let consumer = target.consumer_of("copy", &one).unwrap();
    assert_eq!(told(), (None, None), "nothing is known here of another log");
    commit(&consumer, one.view().place_at(Position::new(2))).unwrap();
    assert_eq!(told(), (Some(2), None));
    // Claimed for the wrong log: the place decides, which is still in the other one.
    claim(&target, "copy", &target);
    assert_eq!(told(), (Some(2), None));

    let own = target.consumer("own").unwrap();
    commit(&own, target.view().place_at(Position::new(4))).unwrap();
    claim(&target, "own", &one);
    assert_eq!(info(&target, "own").lag.map(|lag| lag.events), Some(1));
    assert_eq!(info(&target, "own").instances, 2);
}

/// Claims a consumer for a log without looking at its place.
fn claim(keeper: &Log, name: &str, source: &Log) {
    let data = format!(r#"{{"log":"{}"}}"#, source.view().log_id());
    let event = NewEvent::json("$claimed", data);
    keeper.append(&format!("$claim-{name}"), Expected::Any, [event]).unwrap().wait().unwrap();
}
