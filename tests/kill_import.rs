//! Kills `paperchase import` at random moments: every event whose ack it has told is there, in
//! order, once, and the next import goes on behind it.
//!
//! `PAPERCHASE_KILLS=200` makes it longer; a run of CI kills 15 times. A random test: it prints its
//! seed and takes one from `PAPERCHASE_SEED`.

#![cfg(feature = "cli")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use paperchase::{Log, Options, RecordedEvent};

const SAMPLE: &str = include_str!("data/flights-sample.ndjson");

/// The line that stands at `position` when the sample is imported again and again.
fn line(position: usize) -> &'static str {
    static LINES: LazyLock<Vec<&str>> = LazyLock::new(|| SAMPLE.lines().collect());
    LINES[position % LINES.len()]
}

fn environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Imports from where the log stands until it is killed. Returns the last position that was told.
fn import_until_killed(dir: &Path, start: usize, after: Duration) -> Option<u64> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_paperchase"))
        .args(["import", "--acks", "--chunk-size", "1MiB"])
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let stdout = child.stdout.take().expect("it is piped");
    let feeder = thread::Builder::new().spawn(move || {
        // The pipe breaks when the child is killed, which ends this.
        (start..).try_for_each(|position| writeln!(stdin, "{}", line(position)))
    });
    let mut told = BufReader::new(stdout).lines();
    let first = told.next();
    thread::sleep(after);
    child.kill().expect("the child runs until it is killed");
    child.wait().expect("it ends");
    // A last line may be cut short; it is a number all the same, but a smaller one.
    let last = first.into_iter().chain(told).map_while(Result::ok).last();
    let _ = feeder.expect("a thread starts").join();
    last.and_then(|number| number.parse().ok())
}

fn check(position: usize, event: &RecordedEvent) {
    let line = line(position);
    assert_eq!(event.position().get(), position as u64);
    assert!(line.contains(&format!("\"stream\":{:?}", event.stream())), "{position}: {line}");
    let data = String::from_utf8_lossy(event.data());
    assert!(line.contains(&format!("\"data\":{data}")), "{position}: {line}");
}

#[test]
fn f01_an_import_killed_at_random_goes_on_where_it_was_acked() {
    let seed = environment("PAPERCHASE_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("PAPERCHASE_SEED={seed}");
    let mut random = seed | 1;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut stored = 0;
    for round in 0..environment("PAPERCHASE_KILLS").unwrap_or(15) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round | 1);
        let after = Duration::from_micros((random >> 33) % 40_000);
        let told = import_until_killed(dir.path(), stored, after);
        let log: Log = Options::new().create(false).open(dir.path()).expect("it recovers");
        let end = log.view().end().get();
        assert!(told.is_none_or(|last| last < end), "round {round}: told {told:?}, ends at {end}");
        assert!(end >= stored as u64, "round {round}: what was there is there");
        for (position, event) in log.read_all(..).expect("it is open").enumerate() {
            check(position, &event.expect("it is sound"));
        }
        stored = usize::try_from(end).expect("it fits");
        log.close().expect("it closes");
    }
    assert!(stored > 0, "nothing was ever imported");
}
