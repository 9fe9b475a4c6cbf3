//! Commits of consumers: the instance that was opened last, and no other; a place that can be.

use super::*;
use paperchase::Log;

fn consumed(log: &Log) {
    log.append("cart-7", Expected::Any, [event(1), event(2)]).unwrap().wait().unwrap();
}

#[test]
fn c60_the_instance_that_was_opened_last_commits() {
    let log = new_log();
    consumed(&log);
    let consumer = log.consumer("worker").unwrap();
    let place = log.view().place();
    let done = to("results", [3]).commit(&consumer, place).submit(&log).unwrap().wait().unwrap();
    assert_eq!((done.events(), done.streams().len()), (2, 2));
    assert_eq!(log.view().place_of_consumer("worker").unwrap(), Some(place));
    consumer.commit(log.view().place()).unwrap().wait().unwrap();
    let last = log.view().place_of_consumer("worker").unwrap();
    assert_eq!(Some(log.consumer("worker").unwrap().place()), last);
}

#[test]
fn c61_an_instance_that_was_taken_over_is_told_so_whatever_else_it_expects() {
    let log = new_log();
    consumed(&log);
    let old = log.consumer("worker").unwrap();
    let new = log.consumer("worker").unwrap();
    let place = log.view().place();
    let before = log.view().end();
    let commit = |consumer| {
        let append = to("results", [3]).expect("results", Expected::Exists);
        append.commit(consumer, place).submit(&log).unwrap().wait()
    };
    let refused = commit(&old).unwrap_err();
    assert!(matches!(&refused, AppendError::Fenced { consumer } if consumer == "worker"));
    assert!(matches!(commit(&new).unwrap_err(), AppendError::WrongVersion { .. }));
    assert_eq!(log.view().end(), before);
}

#[test]
fn c62_a_place_ahead_of_the_log_is_refused() {
    let log = new_log();
    consumed(&log);
    let consumer = log.consumer("worker").unwrap();
    let view = log.view();
    let ahead = view.place_at(view.end().plus(1));
    let refused = consumer.commit(ahead).unwrap_err();
    let AppendError::PlaceAhead { consumer, place, end } = refused else { panic!("{refused}") };
    assert_eq!((consumer.as_str(), place, end), ("worker", ahead.position(), view.end()));
}

#[test]
fn c63_a_place_in_another_log_is_refused() {
    let (log, other) = (new_log(), new_log());
    consumed(&other);
    let consumer = log.consumer("worker").unwrap();
    let refused = consumer.commit(other.view().place()).unwrap_err();
    assert!(matches!(refused, AppendError::ForeignPlace { .. }), "{refused}");
    let of_other = log.consumer_of("copier", &other).unwrap();
    of_other.commit(other.view().place()).unwrap().wait().unwrap();
    let refused = log.consumer("copier").unwrap_err();
    assert!(matches!(refused, AppendError::ForeignPlace { .. }), "{refused}");
}

#[test]
fn c64_a_commit_to_a_log_that_does_not_keep_the_consumer_is_refused() {
    let (log, other) = (new_log(), new_log());
    let consumer = log.consumer("worker").unwrap();
    let append = to("results", [3]).commit(&consumer, log.view().place());
    let refused = append.submit(&other).unwrap_err();
    assert!(matches!(refused, AppendError::Invalid { .. }), "{refused}");
    assert_eq!(other.view().end(), Position::START);
}
