//! What the command line says to what people get wrong: each answer names the thing and what to do.

use super::*;

/// Runs what must fail so.
fn refused(input: &str, args: &[&str], code: i32, words: &[&str]) {
    let ran = run_with(input, args);
    assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "{args:?}: {word}: {}", ran.stderr);
    }
    assert!(ran.stderr.contains("\n  try: "), "{args:?}: {}", ran.stderr);
}

#[test]
fn a_line_that_is_no_object_is_refused() {
    let (_dir, log) = place();
    let import = ["import", &log];
    refused(r#"["s","t"]"#, &import, 2, &[r#"not a JSON object, near `["s","t"]`"#]);
    refused("hello", &import, 2, &["not JSON", "`hello`"]);
    refused("{\"a", &["append", &log, "--stream", "s"], 2, &["not JSON"]);
    assert_eq!(run_with("\u{feff}{\"stream\":\"s\",\"type\":\"t\"}", &import).code, 0);
    assert_eq!(good(&["export", &log]).lines().count(), 1);
}

#[test]
fn a_negative_number_is_no_number() {
    let (_dir, log) = flights();
    for option in ["--from", "--limit"] {
        refused("", &["read", &log, option, "-1"], 2, &[option, r#""-1" is not a number from 0"#]);
        refused("", &["export", &log, option, "-1"], 2, &[option, r#""-1" is not a number"#]);
    }
    let append = ["append", &log, "--stream", "s"];
    refused("", &[&append[..], &["--expect", "-1"]].concat(), 2, &[r#""-1" is none of any"#]);
    let after = ["--no-events", "all", "--after", "-1"];
    refused("", &[&append[..], &after].concat(), 2, &[r#""-1" is not a number"#]);
}

#[test]
fn an_append_that_no_chunk_can_take_asks_for_larger_ones() {
    let (_dir, log) = place();
    let line = format!(r#"{{"stream":"s","type":"t","data":"{}"}}"#, "x".repeat(1 << 20));
    let import = ["import", &log, "--chunk-size", "1MiB"];
    refused(&line, &import, 2, &["line 1 ", "a larger --chunk-size"]);
}

#[test]
fn the_wrong_kind_of_file_is_named() {
    let (dir, log) = flights();
    let file = format!("{log}/chunk-0000000000");
    for verb in ["import", "info", "export"] {
        refused("", &[verb, &file], 3, &[&file, "is a file, not a directory"]);
    }
    refused("", &["inspect", &log], 3, &["is a directory", "/chunk-0000000000"]);
    let blank = dir.path().join("my log");
    std::fs::rename(&log, &blank).unwrap();
    let blank = blank.to_str().unwrap();
    refused("", &["inspect", blank], 3, &[&format!("paperchase inspect '{blank}'")[..20]]);
    let file = format!("{blank}/chunk-0000000000");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    refused("", &["export", blank], 3, &["chunk-0000000000: "]);
}

#[test]
fn numbers_are_taken_as_tables_print_them() {
    let (_dir, log) = flights();
    let first = |from: &str| good(&["export", &log, "--from", from, "--limit", "1"]);
    assert_eq!(first("0,3_99"), first("399"));
    let ran = run(&["read", &log, "--stream", "nosuch", "--json"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert!(ran.stderr.contains("stream \"nosuch\" has no events"), "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("`paperchase streams {log}`")), "{}", ran.stderr);
}
