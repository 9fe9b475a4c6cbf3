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

fn check(report: &Value) {
    assert_eq!(report["mode"], "closed loop");
    assert_eq!(report["ledger"]["ok"], true, "{}", report["ledger"]);
    let number = |pointer: &str| {
        let value = report.pointer(pointer).and_then(Value::as_f64);
        value.unwrap_or_else(|| panic!("no number at {pointer}"))
    };
    let acked = number("/ledger/acked");
    assert!(acked > 0.0 && acked == number("/ledger/found"));
    assert!(number("/events") > 0.0 && number("/events") <= acked);
    let (rate, counted) = (number("/events_per_second"), number("/events") / number("/seconds"));
    assert!((rate - counted).abs() <= counted * 0.001, "{rate} {counted}");
    let percentiles = ["p50", "p90", "p99", "p999", "max"];
    let latency = percentiles.map(|name| number(&format!("/latency_us/{name}")));
    assert!(latency[0] > 0.0 && latency.is_sorted(), "{latency:?}");
    assert!(number("/latency_us/samples") > 0.0);
    let reasons = ["idle", "deadline", "size"].map(|why| number(&format!("/disk/flushes_{why}")));
    assert_eq!(number("/disk/flushes"), reasons.iter().sum::<f64>());
    for queue in ["appends", "groups"] {
        assert!(number(&format!("/queues/{queue}/popped")) > 0.0, "{queue}");
    }
    for stage in ["writer", "chaser", "keeper"] {
        let busy = number(&format!("/stages/{stage}/busy_percent"));
        assert!((0.0..=100.0).contains(&busy), "{stage} {busy}");
    }
    assert!(number("/stages/writer/busy_percent") > 0.0);
}

#[test]
fn threads_are_measured_and_nothing_is_lost() {
    let report = report("--seconds 1 --warmup 0.2 --clients 4 --chunk-size 1MiB");
    check(&report);
    assert_eq!(report["durability"], "sync");
    assert_eq!(report["settings"]["clients"], 4);
    assert_eq!(report["probe"], Value::Null);
}

#[test]
fn futures_pipelines_batches_and_streams_are_measured_and_nothing_is_lost() {
    let line = "--seconds 1 --warmup 0.2 --clients 16 --async --pipeline 4 --batch 3 --streams 2";
    let report = report(&format!("{line} --durability os --size 16 --subscriptions 100"));
    check(&report);
    assert_eq!(
        (&report["settings"]["subscriptions"], &report["idle_wakes"]),
        (&100.into(), &0.into())
    );
    assert_eq!(report["durability"], "os");
    assert_eq!(report["events"].as_u64(), report["appends"].as_u64().map(|count| 3 * count));
}

#[test]
fn a_named_directory_is_kept_and_never_shared() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().join("log");
    let arguments = format!("--seconds 0.2 --warmup 0 --clients 1 --dir {}", place.display());
    let first = report(&arguments);
    assert_eq!(first["ledger"]["ok"], true);
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
