//! Owns the promise of `paperchase stress`: figures with a verdict, in one JSON object, and a log
//! that is left behind only where one was asked for.
#![cfg(feature = "cli")]

use std::process::{Command, Output};

use serde_json::Value;

fn stress(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_paperchase"))
        .arg("stress")
        .args(arguments.split_whitespace())
        .output()
        .expect("the program can be started")
}

fn report(arguments: &str) -> Value {
    let output = stress(&format!("--json {arguments}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// The figures of one loop are whole and agree with each other.
fn check(report: &Value) {
    assert_eq!(report["version"], 1);
    assert!(report["identity"]["machine"]["cores"].as_u64() > Some(0));
    for driven in report["loops"].as_array().expect("a list of loops") {
        check_loop(driven);
    }
}

fn check_loop(driven: &Value) {
    assert_eq!(driven["ledger"]["ok"], true, "{}", driven["ledger"]);
    let number = |pointer: &str| {
        let value = driven.pointer(pointer).and_then(Value::as_f64);
        value.unwrap_or_else(|| panic!("no number at {pointer}"))
    };
    let acked = number("/ledger/acked");
    assert!(acked > 0.0 && acked == number("/ledger/found"));
    assert!(number("/counts/acked_events") > 0.0 && number("/counts/acked_events") <= acked);
    assert!(number("/achieved/events") >= number("/achieved/appends"));
    let ladder = driven["service"]["ladder"].as_array().expect("a ladder");
    let values: Vec<_> = ladder.iter().map(|rung| rung["value_ns"].as_u64()).collect();
    assert!(values.len() > 1 && values.is_sorted() && values[0] > Some(0), "{values:?}");
    let last = ladder.last().expect("a rung");
    assert_eq!(last["count"], driven["service"]["samples"]);
    assert_eq!(last["percentile"], 100.0);
    let reasons = ["idle", "deadline", "size"].map(|why| number(&format!("/disk/flushes_{why}")));
    assert_eq!(number("/disk/flushes"), reasons.iter().sum::<f64>());
    for queue in driven["queues"].as_array().expect("a list of queues") {
        assert!(queue["popped"].as_u64() > Some(0), "{queue}");
    }
    assert_eq!(driven["stages"].as_array().map(Vec::len), Some(3));
    for stage in driven["stages"].as_array().expect("a list of stages") {
        let busy = stage["busy_percent"].as_f64().expect("a number");
        assert!((0.0..=100.0).contains(&busy), "{stage}");
    }
}

#[test]
fn threads_are_measured_and_nothing_is_lost() {
    let report = report("--seconds 1 --warmup 0.2 --clients 4 --chunk-size 1MiB");
    check(&report);
    assert_eq!(report["settings"]["mode"], "closed");
    assert_eq!(report["identity"]["durability"], "sync");
    assert_eq!(report["settings"]["clients"], 4);
    assert_eq!(report["probe"], Value::Null);
}

#[test]
fn futures_pipelines_batches_and_streams_are_measured_and_nothing_is_lost() {
    let line = "--seconds 1 --warmup 0.2 --clients 16 --async --pipeline 4 --batch 3 --streams 2";
    let report = report(&format!("{line} --durability os --size 16 --subscriptions 100"));
    check(&report);
    assert_eq!(report["settings"]["subscriptions"], 100);
    assert_eq!(report["identity"]["durability"], "os");
    let counts = &report["loops"][0]["counts"];
    assert_eq!(counts["idle_wakes"], 0);
    assert_eq!(counts["acked_events"].as_u64(), counts["acked"].as_u64().map(|count| 3 * count));
}

#[test]
fn a_named_directory_is_kept_and_never_shared() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().join("log");
    let arguments = format!("--seconds 0.2 --warmup 0 --clients 1 --dir {}", place.display());
    let first = report(&arguments);
    assert_eq!(first["loops"][0]["ledger"]["ok"], true);
    assert!(place.join("chunk-0000000000").is_file());
    let second = stress(&arguments);
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("not empty"));
}

#[test]
fn a_run_that_cannot_be_is_refused_before_it_begins() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().join("log");
    let cases = [
        ("--size 1048576 --chunk-size 1MiB", "a larger --chunk-size"),
        ("--size 15MiB --batch 5", "a smaller --size or --batch"),
        ("--chunk-size 1k", "chunk-size"),
        ("--seconds 0", "more than 0 seconds"),
    ];
    for (arguments, why) in cases {
        let output = stress(&format!("{arguments} --dir {}", place.display()));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {errors}");
        assert!(errors.contains(why), "{arguments}: {errors}");
        assert_eq!(output.stdout, b"");
        assert!(!place.exists(), "{arguments}");
    }
}
