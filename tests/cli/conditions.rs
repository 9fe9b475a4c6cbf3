//! Appends under conditions from the command line: all lines at once, or none, and why not.

use super::*;

const OPERATION: &str = "018f0000-0000-7000-8000-000000000001";

/// Runs what must be refused so, storing nothing.
fn refused(input: &str, log: &str, conditions: &[&str], code: i32, words: &[&str]) {
    let args = [&["append", log, "--stream", "cart-7"], conditions].concat();
    let before = good(&["export", log]);
    let ran = run_with(input, &args);
    assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{args:?}: {}", ran.stderr);
    for word in words.iter().chain(&["\n  try: "]) {
        assert!(ran.stderr.contains(word), "{args:?}: {word}: {}", ran.stderr);
    }
    assert_eq!(good(&["export", log]), before);
}

#[test]
fn all_lines_are_stored_under_their_conditions_or_none() {
    let (_dir, log) = place();
    let stream = ["append", &log, "--stream", "cart-7"];
    let append =
        |input: &str, conditions: &[&str]| run_with(input, &[&stream, conditions].concat());
    let ran = append("1\n2\n", &["--expect", "none", "--expect", "stock=1=none"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("2 events stored, at positions 0 to 1"), "{}", ran.stderr);
    assert!(ran.stderr.contains("cart-7: versions 0 to 1"), "{}", ran.stderr);
    let ran = append("", &["--expect", "1"]);
    assert!(ran.code == 0 && ran.stderr.contains("nothing to store"), "{}", ran.stderr);

    let shows = format!("`paperchase read {log} --stream cart-7`");
    refused("3", &log, &["--expect", "7"], 4, &["expected version 7, found version 1", &shows]);
    refused("3", &log, &["--expect", "1", "--expect", "x=exists"], 4, &["\"x\"", "no stream"]);
    refused("3", &log, &["--expect", "some"], 2, &["none of any, none, exists"]);
    refused("{", &log, &["--expect", "1"], 2, &["line 1", "nothing was stored"]);
    refused("", &log, &["--operation", OPERATION], 2, &["has no events"]);
}

#[test]
fn a_query_of_which_nothing_may_have_come() {
    let (_dir, log) = place();
    run_with("1\n2\n", &["append", &log, "--stream", "cart-7", "--type", "Added"]);
    let query = "type=Added or tag=x";
    let shows = format!("`paperchase read {log} --query 'type=Added or tag=x' --from 1`");
    let words = ["the event at position 1 matches", &shows];
    refused("3", &log, &["--no-events", query, "--after", "1"], 4, &words);
    refused("3", &log, &["--no-events", query, "--after", "9"], 2, &["ahead of the end"]);
    refused("3", &log, &["--no-events", query], 2, &["--after"]);
    let under = ["append", &log, "--stream", "cart-7", "--no-events", query, "--after", "2"];
    assert_eq!(run_with("3", &under).code, 0);
}

#[test]
fn a_name_is_taken_once() {
    let (_dir, log) = place();
    let tags = ["--tag", "name:red", "--tag", "a b"];
    let unless_taken = ["--no-events", "tag=name:red", "--after", "0"];
    let take = [&["append", &log, "--stream", "cart-7"], &tags[..], &unless_taken].concat();
    assert_eq!(run_with("1", &take).code, 0);
    refused("2", &log, &take[4..], 4, &["the event at position 0 matches"]);
    assert_eq!(run_with("3", &[&take[..4], &tags].concat()).code, 0, "without a condition");
    let tagged = good(&["read", &log, "--tag", "name:red", "--tag", "a b", "--json"]);
    assert_eq!(tagged.lines().count(), 2, "{tagged}");
}

#[test]
fn an_operation_is_stored_once() {
    let (_dir, log) = place();
    let append = ["append", &log, "--stream", "cart-7", "--operation", OPERATION, "--json"];
    let (first, again) = (run_with("1\n2\n", &append), run_with("1\n2\n", &append));
    assert!(first.stdout.contains(r#""repeated":false"#), "{}", first.stdout);
    assert_eq!(again.stdout, first.stdout.replace("false", "true"));
    assert_eq!(good(&["export", &log]).lines().count(), 2);
    let shows = format!("`paperchase read {log} --from 0 --limit 1`");
    refused("1\n3\n", &log, &["--operation", OPERATION], 4, &["with other content", &shows]);
}

#[test]
fn consumers_are_listed_with_their_lag() {
    use paperchase::{Expected, Log, NewEvent};
    let (_dir, log) = place();
    {
        let log = Log::open(&log).unwrap();
        let events = (0..5).map(|_| NewEvent::new("Added", "1"));
        log.append("cart-7", Expected::Any, events).unwrap().wait().unwrap();
        let consumer = log.consumer("invoices").unwrap();
        let place = log.view().place_at(paperchase::Position::new(2));
        consumer.commit(place).unwrap().wait().unwrap();
    }
    let line: Value = serde_json::from_str(&good(&["consumers", &log, "--json"])).unwrap();
    assert_eq!((&line["consumer"], &line["position"]), (&"invoices".into(), &2.into()));
    assert_eq!((&line["lag"]["events"], &line["instances"]), (&3.into(), &1.into()));
    assert!(line["lag"]["bytes"].as_u64().unwrap() > 3 * 64, "{line}");
    let table = good(&["consumers", &log]);
    assert!(table.contains("invoices") && table.contains("EVENTS BEHIND"), "{table}");
}
