//! What `top` and `why` show of a process that has a log open, and what they say where none has.

#[path = "../support/skip.rs"]
mod skip;

use super::*;

/// A process that has a log open and has stored the sample; it ends when its stdin does.
struct Living {
    child: Child,
    _dir: TempDir,
    log: String,
}

fn living() -> Option<Living> {
    let (dir, log) = place();
    let mut child = command(&["import", &log, "--acks", "--chunk-size", "1MiB"]).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(FLIGHTS.as_bytes()).unwrap();
    let mut acks = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(acks.any(|acked| acked == "399"), "the importer acks nothing");
    let is_shared = Path::new(&log).join("stats").exists();
    if !is_shared {
        skip::skip("no page can be shared here");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    is_shared.then_some(Living { child, _dir: dir, log })
}

const QUICK: [&str; 2] = ["--interval", "0.3"];

#[test]
fn a_living_log_is_watched_without_touching_it() {
    let Some(mut living) = living() else { return };
    let log = living.log.as_str();
    let files = || {
        let size = |entry: std::io::Result<std::fs::DirEntry>| {
            let entry = entry.unwrap();
            (entry.file_name(), entry.metadata().unwrap().len())
        };
        let mut files: Vec<_> = std::fs::read_dir(log).unwrap().map(size).collect();
        files.sort();
        files
    };
    let before = files();
    // Without a terminal it is shown once.
    let table = good(&[&["top", log][..], &QUICK].concat());
    for part in ["process ", "writer", "disk: sync", "chaser", "keeper", "way of an append", "wake"]
    {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    assert!(table.lines().any(|line| line.starts_with("bottleneck: ")), "{table}");
    let found = json(&good(&[&["top", log, "--json"][..], &QUICK].concat()));
    assert_eq!(found["process"], living.child.id());
    assert_eq!((&found["visible"], &found["has_failed"]), (&400.into(), &false.into()));
    let why = json(&good(&[&["why", log, "--json"][..], &QUICK].concat()));
    assert_eq!(why["cause"], "idle");
    let text = good(&[&["why", log][..], &QUICK].concat());
    assert!(text.contains("idle: nothing was appended") && text.contains("  try: "), "{text}");
    let text = good(&["top", log, "--prometheus"]);
    for sample in ["paperchase_position{log=\"", "\",mark=\"visible\"} 400\n"] {
        assert!(text.contains(sample), "{sample} is not in\n{text}");
    }
    assert!(text.lines().all(|line| line.starts_with("# ") || line.starts_with("paperchase_")));
    assert_eq!(files(), before);
    drop(living.child.stdin.take());
    assert_eq!(living.child.wait().unwrap().code(), Some(0));
    for verb in ["top", "why"] {
        let ran = run(&[verb, log]);
        assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{}", ran.stderr);
        assert!(ran.stderr.contains("has closed it") && ran.stderr.contains("try: "));
    }
}

#[test]
fn a_process_that_is_gone_is_told() {
    let Some(mut living) = living() else { return };
    living.child.kill().unwrap();
    living.child.wait().unwrap();
    // Its last figures are fresh for a while, and do not change.
    let ran = loop {
        let ran = run(&["why", &living.log, "--interval", "0.2"]);
        if ran.code != 0 {
            break ran;
        }
    };
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("is gone without closing"), "{}", ran.stderr);
}

#[test]
fn wrong_uses_of_top_and_why_say_what_to_do() {
    let (_dir, log) = flights();
    for verb in ["top", "why"] {
        assert_eq!(run(&[verb, &log]).code, 3);
        assert_eq!(run(&[verb, &log, "--interval", "0"]).code, 2);
        let ran = run(&[verb, "/nowhere/at/all"]);
        assert!(ran.code == 3 && ran.stderr.contains("there is no log"), "{}", ran.stderr);
    }
}
