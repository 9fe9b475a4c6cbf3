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
    // A window that the machine slept through has no verdict.
    if let Some(cause) = driven.pointer("/verdict/cause") {
        let first = &driven["verdict"]["findings"][0];
        assert_eq!(&first["cause"], cause);
        let told = ["/line", "/advice", "/evidence/0"].map(|part| first.pointer(part));
        assert!(told.iter().all(|part| part.and_then(Value::as_str).is_some()), "{first}");
        assert_ne!(cause, "idle", "appends were acked");
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
    assert!(report["loops"][0]["verdict"]["cause"].is_string(), "{}", report["loops"][0]);
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

/// A run whose sender was late on a busy machine ends with 3, but tells everything all the same.
fn report_even_void(arguments: &str) -> (Option<i32>, Value) {
    let output = stress(&format!("--json {arguments}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 3)), "{code:?}: {errors}");
    (code, serde_json::from_slice(&output.stdout).expect("one JSON object"))
}

#[test]
fn an_open_loop_follows_its_plan_and_loses_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let hlog = dir.path().join("run.hlog");
    let line = "--rate 500 --arrivals constant --seconds 1 --warmup 0.2 --cooldown 60";
    let (code, report) = report_even_void(&format!("{line} --hlog {}", hlog.display()));
    check(&report);
    let driven = &report["loops"][0];
    assert_eq!((&report["settings"]["mode"], &driven["kind"]), (&"open".into(), &"open".into()));
    // The plan is the same however slow the machine is.
    assert_eq!(driven["counts"]["planned"], 500);
    assert_eq!(driven["counts"]["acked"], 500);
    assert_eq!(driven["planned"]["appends"], 500.0);
    for times in ["response", "service", "lateness"] {
        assert_eq!(driven[times]["samples"], 500, "{times}");
    }
    let max = |times: &str| driven[times]["max_ns"].as_u64();
    assert!(max("response") >= max("service"), "response runs from the planned moment");
    assert_eq!(report["valid"], code == Some(0));
    assert_eq!(driven["void"].as_array().map(Vec::is_empty), Some(code == Some(0)));
    let hlog = std::fs::read_to_string(hlog).expect("the log of intervals");
    assert!(hlog.contains("Tag=hiccup,") && hlog.contains("#[BaseTime: "), "{hlog}");
    assert!(!driven["intervals"].as_array().expect("a list of intervals").is_empty());
}

#[test]
fn mixes_readers_and_subscribers_are_measured_and_nothing_is_lost() {
    let line = "--rate 300 --clients 2 --size lognormal:100:1 --batch uniform:1..3 --streams 20 \
        --skew zipf:1 --conditions 50 --readers 1 --subscribers 2 --fill 2000 --rest 0.1 \
        --seconds 1 \
        --warmup 0.1 --cooldown 60 --when-full retry --durability os";
    let (_, report) = report_even_void(line);
    check(&report);
    let driven = &report["loops"][0];
    let counts = &driven["counts"];
    assert_eq!(counts["acked"], counts["planned"]);
    let (acked, conditional) = (counts["acked"].as_u64(), counts["conditional"].as_u64());
    assert!(conditional > Some(0) && conditional < acked, "{counts}");
    assert!(driven["ledger"]["found"].as_u64() >= Some(2_000));
    // Both subscribers have every event behind the fill; the first to have one counts.
    let behind = driven["ledger"]["found"].as_u64().expect("a number") - 2_000;
    let filled = driven["counts"]["delivered"].as_u64().expect("a number");
    assert!(filled <= 2 * behind && filled >= 2 * behind - 6, "{filled} {behind}");
    assert_eq!(driven["visible"]["samples"], counts["acked_events"]);
    assert_eq!(driven["read"]["samples"], counts["reads"]);
    let phases = driven["phases"].as_array().expect("a list of phases");
    let names: Vec<_> = phases.iter().filter_map(|phase| phase["name"].as_str()).collect();
    assert_eq!(names, ["fill", "rest", "warm-up", "measure", "cool-down"]);
}

#[test]
fn a_sweep_measures_each_rate_on_a_log_of_its_own() {
    let line = "--sweep --pipeline 1 --seconds 0.2 --warmup 0 --cooldown 60 --durability os";
    let (code, report) = report_even_void(line);
    check(&report);
    let points = report["sweep"]["points"].as_array().expect("a list of points");
    let percents: Vec<_> = points.iter().map(|it| it["percent_of_maximum"].as_f64()).collect();
    let expected = [10.0, 25.0, 50.0, 70.0, 80.0, 90.0, 95.0, 100.0, 110.0];
    assert_eq!(percents, expected.map(Some));
    assert_eq!(report["loops"].as_array().map(Vec::len), Some(10));
    assert_eq!(report["sweep"]["knee"].is_null(), code == Some(3));
}

#[test]
fn text_for_people_has_percentiles_with_counts_and_no_mean() {
    let output = stress("--seconds 0.3 --warmup 0 --clients 2 --durability os");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.is_ascii(), "{text}");
    for line in ["p50 ", "p99.9 ", "max ", "samples ", "ledger ok", "note: a closed loop hides"] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    assert!(text.contains("beyond it") && text.split_whitespace().all(|word| word != "mean"));
    assert!(text.lines().skip(1).all(|line| line.len() <= 130), "{text}");
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
fn a_run_is_shown_as_a_page_and_compared() {
    let dir = tempfile::tempdir().expect("a directory");
    let [saved, page, compared] = ["run.json", "run.html", "compared.html"]
        .map(|name| dir.path().join(name).display().to_string());
    let run = stress(&format!("--json --seconds 0.5 --warmup 0 --clients 2 --html {page}"));
    assert!(run.status.success(), "{run:?}");
    std::fs::write(&saved, &run.stdout).expect("a saved run");
    let html = std::fs::read_to_string(&page).expect("a page");
    assert!(html.starts_with("<!doctype html>") && html.contains("ledger ok"), "{html}");
    assert!(!html.contains("<script") && !html.contains("NaN"), "{html}");
    let again = stress(&format!("--from {saved}"));
    assert!(String::from_utf8_lossy(&again.stdout).contains("ledger ok"), "{again:?}");
    let found = report(&format!("--compare {saved} {saved},{saved} --html {compared}"));
    assert_eq!(found["differences"], Value::Array(Vec::new()));
    assert_eq!(found["groups"][0]["rows"][0]["ratio"]["max"], 1.0);
    assert!(std::fs::read_to_string(&compared).expect("a page").contains("B against A"));
    let cases = [
        (format!("--compare {saved} {saved}x"), 3, "there is no file"),
        (format!("--from {page}"), 2, "is not JSON"),
        (format!("--html {page}/page.html"), 2, "no such place"),
        ("--accept-void".to_owned(), 2, "--compare"),
    ];
    for (arguments, code, why) in cases {
        let output = stress(&arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {errors}");
        assert!(errors.contains(why), "{arguments}: {errors}");
    }
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
        ("--size normal:3", "lognormal:256:1"),
        ("--rate 0.1 --seconds 5", "nothing is due"),
        ("--arrivals poisson", "--rate"),
        ("--streams 1000000 --clients 9", "too many"),
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
