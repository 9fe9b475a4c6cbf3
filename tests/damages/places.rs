//! What is no damage of bytes: the wrong place, the wrong program, and company.

use super::*;

#[test]
fn a_newer_format_is_left_alone() {
    let copy = Copy::new();
    copy.change(1, |bytes| {
        bytes[8] = 2;
        let mut sum = crc32fast::Hasher::new();
        sum.update(&bytes[..12]);
        sum.update(&bytes[16..4096]);
        bytes[12..16].copy_from_slice(&sum.finalize().to_le_bytes());
    });
    let before = copy.files();
    for (verb, args) in [
        ("info", &[][..]),
        ("append", &["--stream", "s"]),
        ("verify", &[]),
        ("repair", &["--apply", "--accept-loss"]),
        ("export", &["--salvage"]),
    ] {
        let refused = copy.run(verb, args);
        assert_eq!(refused.code, 3, "{verb}: {refused:?}");
        let words = ["/chunk-0000000001 is of format version 2", "reads version 1", "newer"];
        says(&refused, &words, verb);
        says(&refused, &["nothing was changed", "\n  try: "], verb);
    }
    assert!(copy.files() == before);
}

#[test]
fn what_is_no_log_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("nothing").to_str().unwrap().to_owned();
    for verb in ["info", "verify", "repair", "export"] {
        let missing = run(&[verb, &place]);
        assert_eq!(missing.code, 3, "{verb}: {missing:?}");
        says(&missing, &[&format!("there is no log in {place}"), "\n  try: "], verb);
    }
    std::fs::write(&place, "text").unwrap();
    for verb in ["info", "verify", "repair", "append"] {
        let args: &[&str] = if verb == "append" { &["--stream", "s"] } else { &[] };
        let file = run(&[&[verb, &place], args].concat());
        assert_eq!(file.code, 3, "{verb}: {file:?}");
        // One chunk file can be verified alone.
        let is_not = if verb == "verify" { "is not a chunk file" } else { "is a file, not a" };
        says(&file, &[is_not, "\n  try: "], verb);
    }
    assert_eq!(std::fs::read(&place).unwrap(), b"text");
}

#[test]
fn nothing_that_names_the_log_is_left() {
    let copy = Copy::new();
    for chunk in 0..3 {
        copy.change(chunk, |bytes| {
            bytes[40] ^= 1;
            *bytes.last_mut().unwrap() ^= 1;
        });
    }
    std::fs::remove_file(copy.log().join("hint")).unwrap();
    let planned = copy.run("repair", &[]);
    assert_eq!(planned.code, 1, "{planned:?}");
    says(&planned, &["nothing names the log's id", "restore the log from a backup"], "unknown");
    let salvaged = copy.run("export", &["--salvage"]);
    assert_eq!((salvaged.code, &salvaged.stdout[..]), (1, ""));
    says(&salvaged, &["restore the log from a backup"], "unknown");
}

/// A writer that has the log open: the plan works beside it, and carrying it out does not.
#[test]
fn a_log_that_is_open_elsewhere_is_not_repaired() {
    let copy = Copy::new();
    copy.change(0, |bytes| bytes[event(7) + 300] ^= 1);
    let log = Options::new().open(copy.log()).unwrap();
    let before = copy.files();
    let planned = copy.run("repair", &[]);
    assert_eq!(planned.code, 1, "{planned:?}");
    let pid = std::process::id();
    says(&planned, &[&format!("the log is open in process {pid}"), "step 1: "], "the plan");
    for args in [&["--apply"][..], &["--apply", "--accept-loss"]] {
        let refused = copy.run("repair", args);
        assert_eq!(refused.code, 3, "{refused:?}");
        says(&refused, &[&format!("open for writing in process {pid}"), "\n  try: "], "open");
    }
    assert_eq!(copy.files().keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    log.close().unwrap();
    let repaired = copy.run("repair", &["--apply", "--accept-loss"]);
    assert_eq!(repaired.code, 0, "{repaired:?}");
}

/// A program that embeds the library sees the same without the command line.
#[test]
fn the_library_says_what_happened_and_what_to_do() {
    let error = |damage: &dyn Fn(&Copy)| {
        let copy = Copy::new();
        damage(&copy);
        Options::new().open(copy.log()).unwrap_err().to_string()
    };
    let damaged = error(&|copy| copy.change(2, |bytes| bytes[40] ^= 1));
    let missing = error(&|copy| std::fs::remove_file(copy.chunk(1)).unwrap());
    let foreign = error(&|copy| {
        std::fs::copy(copy.chunk(0), copy.chunk(1)).unwrap();
    });
    for (message, what) in [
        (damaged, "damaged: chunk 2, offset 0"),
        (missing, "chunk 1 is missing"),
        (foreign, "chunk-0000000001 does not belong here"),
    ] {
        assert!(message.starts_with(what), "{message}");
        assert!(message.contains("nothing was changed; "), "{message}");
        assert!(message.contains("`paperchase repair`"), "{message}");
    }
}
