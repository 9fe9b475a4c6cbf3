//! What `read --follow` shows, and how it ends.

use super::*;

/// A child that follows, with the lines that it prints.
fn following(args: &[&str]) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = command(&[&["read", "--follow"], args].concat()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines.map(Result::unwrap))
}

/// Whether the child ends by itself, well and without a word.
fn ends_quietly(mut child: Child) {
    let status = child.wait().unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
}

#[test]
fn follow_prints_what_is_there_and_then_what_comes_until_ctrl_c() {
    let (_dir, log) = place();
    let (mut writer, mut stdin) = importer(&log);
    let (child, mut lines) = following(&[&log, "--json"]);
    let mut printed: Vec<_> = lines.by_ref().take(10).collect();
    let parts: Vec<_> = FLIGHTS.split_inclusive('\n').skip(10).collect();
    for part in parts.chunks(39) {
        stdin.write_all(part.concat().as_bytes()).unwrap();
        printed.extend(lines.by_ref().take(part.len()));
    }
    drop(stdin);
    assert_eq!(writer.wait().unwrap().code(), Some(0));
    // The next writer goes on where the one before has closed the log.
    let more = run_with(FLIGHTS, &["import", &log]);
    assert_eq!(more.code, 0, "{}", more.stderr);
    printed.extend(lines.by_ref().take(400));
    signal(&child, "-INT");
    assert_eq!(lines.next(), None);
    ends_quietly(child);
    assert!(printed.iter().map(String::as_str).eq(good(&["export", &log]).lines()));
}

#[test]
fn follow_filters_counts_and_lays_out_as_read_does() {
    let (_dir, log) = flights();
    for filter in [["--stream", "plane-N14228"], ["--category", "plane"], ["--limit", "5"]] {
        let args = [&[log.as_str(), "--json"][..], &filter].concat();
        let wanted = good(&[&["read"], &args[..]].concat());
        let (child, mut lines) = following(&args);
        assert!(lines.by_ref().take(wanted.lines().count()).eq(wanted.lines()), "{filter:?}");
        if filter[0] != "--limit" {
            let one = [r#"{"type":"Landed"}"#, "\n"].concat();
            let ran = run_with(&one, &["append", &log, "--stream", "plane-N14228"]);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            assert!(lines.next().unwrap().contains("plane-N14228"));
            signal(&child, "-INT");
        }
        assert_eq!(lines.next(), None);
        ends_quietly(child);
    }
    let (child, lines) = following(&[&log, "--limit", "7"]);
    assert!(lines.eq(good(&["read", &log, "--limit", "7"]).lines()));
    ends_quietly(child);
}

#[test]
fn follow_ends_when_its_reader_goes_away_also_while_nothing_comes() {
    let (_dir, log) = flights();
    let (child, mut lines) = following(&[&log, "--json", "--from", "399"]);
    assert!(lines.next().is_some());
    drop(lines);
    ends_quietly(child);
}

#[test]
fn follow_refuses_what_cannot_be_followed() {
    let (_dir, log) = place();
    assert_eq!(run(&["read", "--follow", &log]).code, 3);
    let (_dir, log) = flights();
    let ran = run(&["read", "--follow", "--backwards", &log]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
}
