//! The command line as people and programs see it: what goes in, what comes out, and the exit code.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

#[path = "cli/beside.rs"]
mod beside;
#[path = "cli/conditions.rs"]
mod conditions;
#[path = "cli/insight.rs"]
mod insight;
#[path = "cli/inspect.rs"]
mod inspect;
#[path = "cli/mistakes.rs"]
mod mistakes;
#[path = "cli/queries.rs"]
mod queries;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

const FLIGHTS: &str = include_str!("data/flights-sample.ndjson");
const VERBS: [&str; 15] = [
    "consumers",
    "append",
    "import",
    "export",
    "read",
    "streams",
    "categories",
    "types",
    "tags",
    "info",
    "chunks",
    "inspect",
    "verify",
    "repair",
    "stress",
];

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paperchase"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end with `input` on stdin.
fn run_with(input: &str, args: &[&str]) -> Ran {
    let mut child = command(args).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writing = std::thread::Builder::new().spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    // A verb that refuses its input closes the pipe.
    let _ = writing.unwrap().join().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

fn run(args: &[&str]) -> Ran {
    run_with("", args)
}

/// Runs what must succeed.
fn good(args: &[&str]) -> String {
    let ran = run(args);
    assert_eq!(ran.code, 0, "{args:?}: {}{}", ran.stdout, ran.stderr);
    ran.stdout
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// A directory with room for logs, and the path of one that is not made.
fn place() -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log").to_str().unwrap().to_owned();
    (dir, log)
}

/// A closed log of the sample, in chunks of 1 MiB.
fn flights() -> (TempDir, String) {
    let (dir, log) = place();
    let ran = run_with(FLIGHTS, &["import", &log, "--chunk-size", "1MiB"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    (dir, log)
}

/// An exported line from its field `stream` on: without what a log gives an event itself.
fn own_fields(export: &str) -> Vec<&str> {
    export.lines().map(|line| &line[line.find("\"stream\"").unwrap()..]).collect()
}

/// An importer that has acked the first flights and waits for more, with its stdin.
fn importer(log: &str) -> (Child, std::process::ChildStdin) {
    let mut child = command(&["import", log, "--chunk-size", "1MiB"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let some: String = FLIGHTS.split_inclusive('\n').take(10).collect();
    stdin.write_all(some.as_bytes()).unwrap();
    let is_acked = || run(&["export", log]).stdout.lines().count() == 10;
    let acked = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        is_acked()
    });
    assert!(acked, "the importer acks nothing");
    (child, stdin)
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn an_export_of_an_import_of_an_export_is_the_same() {
    let (_dir, log) = flights();
    let first = good(&["export", &log]);
    assert_eq!(first.lines().count(), 400);
    let (_other, copy) = place();
    let ran = run_with(&first, &["import", &copy]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("400 events acked"), "{}", ran.stderr);
    assert!(ran.stderr.contains("last acked position 399"), "{}", ran.stderr);
    assert_eq!(own_fields(&good(&["export", &copy])), own_fields(&first));
    for (exported, source) in first.lines().zip(FLIGHTS.lines()) {
        let data = &source[source.find("\"data\":").unwrap()..];
        assert!(exported.ends_with(data), "{exported}");
    }
}

#[test]
fn bytes_of_every_kind_survive() {
    let (_dir, log) = place();
    let input = concat!(
        r#"{"stream":"s","type":"t","data": { "a" : 1.50e+3 } ,"metadata":null}"#,
        "\r\n\n",
        r#"{"stream":"s","type":"t","data_base64":"/wAK","metadata_base64":"AA=="}"#,
        "\n",
        r#"{"stream":"s","type":"t","data_base64":"ewp9","kind":"json"}"#,
        "\n",
        r#"{"stream":"s","type":"t","tags":["b","a","b"]}"#,
        "\n",
        r#"{"stream":"s \u00e9\n","type":"t","data":"\ud83d\ude00"}"#,
    );
    assert_eq!(run_with(input, &["import", &log]).code, 0);
    let export = good(&["export", &log]);
    let lines: Vec<_> = export.lines().collect();
    assert!(lines[0].ends_with(r#""data":{ "a" : 1.50e+3 },"metadata":null}"#), "{}", lines[0]);
    assert!(lines[1].ends_with(r#""data_base64":"/wAK","metadata_base64":"AA=="}"#));
    assert!(lines[2].ends_with(r#""data_base64":"ewp9","kind":"json"}"#));
    assert!(lines[3].ends_with(r#""data_base64":"","tags":["b","a","b"]}"#));
    assert!(lines[4].ends_with(r#""data":"\ud83d\ude00"}"#));
    assert_eq!(json(lines[4])["stream"], "s \u{e9}\n");
    let (_other, copy) = place();
    assert_eq!(run_with(&export, &["import", &copy]).code, 0);
    assert_eq!(own_fields(&good(&["export", &copy])), own_fields(&export));
}

#[test]
fn a_bad_line_is_named_and_all_before_it_are_stored() {
    let (_dir, log) = place();
    let mut lines: Vec<&str> = FLIGHTS.lines().take(20).collect();
    lines[16] = r#"{"stream":"s","type":"t","dada":1}"#;
    let ran = run_with(&lines.join("\n"), &["import", &log, "--json"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.starts_with("paperchase: line 17 "), "{}", ran.stderr);
    assert!(ran.stderr.contains("unknown field `dada`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("\n  try: "), "{}", ran.stderr);
    let report = json(&ran.stdout);
    assert_eq!(report["events"], 16);
    assert_eq!(report["last_position"], 15);
    assert_eq!(report["ended"], "refused");
    assert_eq!(report["line"], 17);
    assert_eq!(good(&["export", &log]).lines().count(), 16);
    let long = format!(r#"{{"stream":"{}","type":"t"}}"#, "x".repeat(1025));
    let ran = run_with(&long, &["import", &log]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("line 1 cannot be stored"), "{}", ran.stderr);
    assert!(ran.stderr.contains("limit is 1024"), "{}", ran.stderr);
}

#[test]
fn append_takes_lines_as_data() {
    let (_dir, log) = place();
    let args = ["append", &log, "--stream", "cart-7", "--type", "ItemAdded"];
    let ran = run_with("  {\"sku\": 1}  \n[2]\n", &args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("2 events acked"), "{}", ran.stderr);
    let args = ["append", &log, "--stream-from", "user", "--type-from", "n"];
    assert_eq!(run_with("{\"user\":\"u-1\",\"n\":5}", &args).code, 0);
    let export = good(&["export", &log]);
    let lines: Vec<_> = export.lines().collect();
    assert!(lines[0].ends_with(r#""data":{"sku": 1}}"#), "{}", lines[0]);
    assert_eq!(json(lines[1])["version"], 1);
    assert_eq!((&json(lines[2])["stream"], &json(lines[2])["type"]), (&"u-1".into(), &"5".into()));
    let ran = run_with("{\"n\":5}", &args);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("line 1 ") && ran.stderr.contains("no field \"user\""));
    let ran = run_with("{\"sku\"", &["append", &log, "--stream", "s"]);
    assert_eq!(ran.code, 2);
    assert_eq!(run(&["append", &log]).code, 2, "some stream must be named");
}

#[test]
fn a_writer_keeps_others_from_writing_and_none_from_reading() {
    let (_dir, log) = place();
    let (child, stdin) = importer(&log);
    let pid = child.id().to_string();
    let ran = run_with("{}", &["append", &log, "--stream", "s"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains(&format!("in process {pid}")), "{}", ran.stderr);
    assert!(good(&["info", &log]).contains(&format!("open for writing in process {pid}")));
    assert_eq!(json(&good(&["info", &log, "--json"]))["writer_pid"], child.id());
    assert_eq!(good(&["read", &log, "--json"]).lines().count(), 10);
    let checked = json(&good(&["verify", &log, "--json"]));
    assert_eq!((&checked["events"], &checked["checked_below"]), (&10.into(), &10.into()));
    for verb in ["streams", "chunks", "read"] {
        good(&[verb, &log]);
    }
    good(&["inspect", &format!("{log}/chunk-0000000000")]);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn an_interrupt_ends_with_what_is_acked() {
    for name in ["-INT", "-TERM"] {
        let (_dir, log) = place();
        let (child, stdin) = importer(&log);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{stderr}");
        assert!(stderr.contains("interrupted; 10 events acked"), "{stderr}");
        assert!(stderr.ends_with("  try: send the rest again from line 11\n"), "{stderr}");
        assert!(good(&["info", &log]).contains("closed cleanly"));
    }
}

#[test]
fn a_killed_writer_loses_nothing_that_was_seen() {
    let (_dir, log) = place();
    let (mut child, _stdin) = importer(&log);
    child.kill().unwrap();
    child.wait().unwrap();
    let checked = run(&["verify", &log]);
    assert_eq!(checked.code, 0, "{}", checked.stdout);
    assert_eq!(json(&good(&["info", &log, "--json"]))["state"], "recovered");
    assert_eq!(json(&good(&["info", &log, "--json"]))["state"], "closed");
    assert_eq!(good(&["export", &log]).lines().count(), 10);
}

#[test]
fn a_missing_log_is_not_made() {
    let (dir, log) = place();
    let reading = ["export", "read", "streams", "tags", "info", "chunks", "verify"];
    for verb in reading {
        for place in [log.as_str(), dir.path().to_str().unwrap()] {
            let ran = run(&[verb, place]);
            assert_eq!(ran.code, 3, "{verb}");
            assert!(ran.stderr.starts_with("paperchase: there is no log in "), "{}", ran.stderr);
            assert!(ran.stderr.contains("\n  try: "), "{}", ran.stderr);
            assert_eq!(ran.stdout, "");
        }
    }
    for bytes in [vec![], vec![0; 1 << 20]] {
        let blank = tempfile::tempdir().unwrap();
        std::fs::write(blank.path().join("chunk-0000000000"), bytes).unwrap();
        let ran = run(&["verify", blank.path().to_str().unwrap()]);
        assert_eq!(ran.code, 3, "{}", ran.stdout);
        assert!(ran.stderr.starts_with("paperchase: there is no log in "), "{}", ran.stderr);
    }
    assert!(!Path::new(&log).exists());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(run(&["inspect", &format!("{log}/chunk-0000000000")]).code, 3);
}

#[test]
fn wrong_usage_is_told_apart() {
    let (_dir, log) = flights();
    let wrong: [&[&str]; 9] = [
        &["fly"],
        &["read"],
        &["read", &log, "--query", "tag=a", "--type", "b"],
        &["read", &log, "--limit", "x"],
        &["import", &log, "--chunk-size", "1x"],
        &["import", &log, "--chunk-size", "1k"],
        &["append", &log, "--stream", "a", "--stream-from", "b"],
        &["inspect", &log, "--hex"],
        &["verify", &log, "--apply"],
    ];
    for args in wrong {
        let ran = run(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("paperchase: "), "{args:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
}

#[test]
fn help_shows_examples() {
    for verb in VERBS {
        for flag in ["-h", "--help"] {
            let help = good(&[verb, flag]);
            let examples = help.split("Examples:").nth(1).unwrap_or_default();
            assert!(examples.contains(&format!("paperchase {verb} ")), "{verb}: {help}");
            assert!(help.lines().all(|line| line.len() <= 100), "{verb}");
        }
    }
    let help = good(&["--help"]);
    assert!(VERBS.iter().all(|verb| help.contains(&format!("  {verb} "))), "{help}");
    assert!(help.contains("Exit codes:"));
    assert_eq!(good(&["--version"]), format!("paperchase {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_flipped_bit_is_found() {
    let (_dir, log) = flights();
    assert!(good(&["verify", &log]).contains("the log is sound"));
    let report = json(&good(&["verify", &log, "--json"]));
    assert_eq!((&report["sound"], &report["events"]), (&true.into(), &400.into()));
    // Later events prove that these were durable, so that one file alone tells damage from a torn
    // end.
    assert_eq!(run_with(FLIGHTS, &["import", &log]).code, 0);
    let path = format!("{log}/chunk-0000000000");
    let event = json(&good(&["inspect", &path, "--event", "60", "--json"]));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[usize::try_from(event["start"].as_u64().unwrap()).unwrap() + 8] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    let ran = run(&["verify", &log]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.starts_with("damage: chunk 0, offset "), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("the log is DAMAGED: 1 place\n"), "{}", ran.stdout);
    let ran = run(&["verify", &log, "--json"]);
    assert_eq!(ran.code, 1);
    let report = json(&ran.stdout);
    assert_eq!(report["sound"], false);
    assert_eq!(report["damage"][0]["chunk"], 0);
    for field in ["offset", "what", "expected", "found"] {
        assert!(!report["damage"][0][field].is_null(), "{field}");
    }
    let ran = run(&["inspect", &path]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("damage: chunk 0"), "{}", ran.stdout);
}

#[test]
fn a_reader_may_leave_early() {
    let (_dir, log) = flights();
    for verb in ["export", "read"] {
        let mut child = command(&[verb, &log]).spawn().unwrap();
        let mut line = String::new();
        BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{verb}");
        assert_eq!(output.stderr, b"", "{verb}");
    }
}

#[test]
fn tables_are_for_people() {
    let (_dir, log) = flights();
    let table = good(&["read", &log, "--limit", "3"]);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    for title in ["POSITION", "STREAM", "VERSION", "TYPE", "TIME", "DATA"] {
        assert!(lines[0].contains(title), "{table}");
    }
    assert!(lines.iter().all(|line| line.chars().count() <= 120), "{table}");
    assert!(lines[1].contains("plane-N14228") && lines[1].contains("{\"flight\""), "{table}");
    assert!(good(&["streams", &log, "--prefix", "plane-N14228"]).lines().count() == 2);
    assert!(good(&["chunks", &log]).contains("STATE"));
    assert!(!table.contains('\u{1b}'));
}

#[test]
fn json_has_the_promised_fields() {
    let (_dir, log) = flights();
    let has = |value: &Value, fields: &[&str]| {
        let found: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let mut fields = fields.to_vec();
        fields.sort_unstable();
        assert_eq!(found, fields);
    };
    let info = json(&good(&["info", &log, "--json"]));
    has(
        &info,
        &[
            "log_id",
            "format_version",
            "events",
            "end_position",
            "streams",
            "chunks",
            "data_bytes",
            "file_bytes",
            "disk_bytes",
            "first_time",
            "last_time",
            "state",
            "writer_pid",
        ],
    );
    assert_eq!((&info["events"], &info["state"]), (&400.into(), &"closed".into()));
    let streams = good(&["streams", &log, "--json"]);
    let streams: Vec<Value> = streams.lines().map(json).collect();
    has(&streams[0], &["stream", "events", "version", "last_position"]);
    assert_eq!(streams.iter().map(|it| it["events"].as_u64().unwrap()).sum::<u64>(), 400);
    assert_eq!(info["streams"], streams.len());
    let chunks = good(&["chunks", &log, "--json"]);
    let chunks: Vec<Value> = chunks.lines().map(json).collect();
    has(
        &chunks[0],
        &[
            "chunk",
            "state",
            "first_position",
            "events",
            "data_bytes",
            "capacity",
            "first_time",
            "last_time",
            "file_bytes",
        ],
    );
    assert_eq!(chunks.iter().map(|it| it["events"].as_u64().unwrap()).sum::<u64>(), 400);
    assert_eq!(chunks[0]["capacity"], 1 << 20);
}
