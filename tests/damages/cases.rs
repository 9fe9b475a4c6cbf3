//! The damages of bytes and files, one by one.

use super::*;

/// A damage, and what is said and done about it.
struct Case {
    what: &'static str,
    damage: fn(&Copy),
    /// What `info` and `append` say; where it is nothing, they work.
    refused: &'static [&'static str],
    /// What `verify` says; where it is nothing, it finds nothing.
    verified: &'static [&'static str],
    /// What the plan of `repair` says.
    planned: &'static [&'static str],
    /// How many events there are when the next command has run.
    left: usize,
    next: Next,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Repair,
    AcceptLoss,
    NewLog,
}

const FIRST: &str = "chunk-0000000000";
const SECOND: &str = "chunk-0000000001";
const THIRD: &str = "chunk-0000000002";
const INTACT: &str = "events below it are intact";

fn flip(copy: &Copy, chunk: u64, at: usize) {
    copy.change(chunk, |bytes| bytes[at] ^= 4);
}

fn remove(copy: &Copy, chunk: u64) {
    std::fs::remove_file(copy.chunk(chunk)).unwrap();
}

/// A chunk of a log of its own.
fn foreign(copy: &Copy, chunk: u64) {
    let other = copy.dir.path().join("other");
    Options::new().chunk_size(1 << 20).open(&other).unwrap().close().unwrap();
    std::fs::copy(other.join(FIRST), copy.chunk(chunk)).unwrap();
}

fn check(case: &Case) {
    let copy = Copy::new();
    (case.damage)(&copy);
    let (before, place, what) = (copy.files(), copy.place(), case.what);
    if !case.refused.is_empty() {
        for (verb, args) in [("info", &[][..]), ("append", &["--stream", "s"])] {
            let refused = copy.run(verb, args);
            assert_eq!(refused.code, 1, "{what}: {verb}: {refused:?}");
            says(&refused, case.refused, what);
            let try_it = format!("`paperchase repair {place}`");
            says(&refused, &["nothing was changed", &try_it, "\n  try: "], what);
            assert!(copy.files() == before, "{what}: {verb} changes nothing");
        }
    }
    let verified = copy.run("verify", &[]);
    if case.verified.is_empty() {
        assert_eq!(verified.code, 0, "{what}: {verified:?}");
    } else {
        assert_eq!(verified.code, 1, "{what}: {verified:?}");
        says(&verified, case.verified, what);
        says(&verified, &["damage: ", &format!("`paperchase repair {place}`")], what);
    }
    let planned = copy.run("repair", &[]);
    assert_eq!(planned.code, 1, "{what}: {planned:?}");
    says(&planned, case.planned, what);
    says(&planned, &["nothing was changed"], what);
    assert!(copy.files() == before, "{what}: the plan changes nothing");
    let wanted = match case.next {
        Next::Repair => format!("paperchase repair {place} --apply"),
        Next::AcceptLoss => format!("paperchase repair {place} --apply --accept-loss"),
        Next::NewLog => format!("paperchase export {place} --salvage | paperchase import NEW"),
    };
    assert_eq!(next(&planned), wanted, "{what}");
    carry_out(&copy, case, &before);
}

fn carry_out(copy: &Copy, case: &Case, before: &BTreeMap<String, Vec<u8>>) {
    let (what, place) = (case.what, copy.place());
    let new = copy.dir.path().join("new").to_str().unwrap().to_owned();
    let command = next(&copy.run("repair", &[])).replace("NEW", &new);
    if case.next == Next::AcceptLoss {
        let not_accepted = copy.run("repair", &["--apply"]);
        assert_eq!(not_accepted.code, 1, "{what}: {not_accepted:?}");
        assert!(copy.files() == *before, "{what}: a loss must be accepted");
    }
    let done = shell(&command);
    assert_eq!(done.code, 0, "{what}: {command}: {done:?}");
    let log = if case.next == Next::NewLog { &new } else { &place };
    assert_eq!(exported(log), case.left, "{what}");
    let verified = run(&["verify", log]);
    assert_eq!(verified.code, 0, "{what}: {verified:?}");
    let again = run(&["repair", log]);
    assert_eq!((again.code, &again.stdout[..]), (0, "nothing to repair: the log is sound\n"));
    if case.next != Next::NewLog {
        let appended = copy.run("append", &["--stream", "s"]);
        assert_eq!(appended.code, 0, "{what}: {appended:?}");
        is_kept(copy, before, what);
    }
}

/// Each file that is not what it was has left what it lost beside the log.
fn is_kept(copy: &Copy, before: &BTreeMap<String, Vec<u8>>, what: &str) {
    let after = copy.files();
    let kept: Vec<_> = after.iter().filter(|(name, _)| name.starts_with("lost-")).collect();
    for (name, bytes) in before {
        let is_gone = after.get(name).is_none_or(|now| {
            let length = now.len().min(bytes.len());
            // What is set to zero and not written again was there before.
            now[..length].iter().zip(bytes).any(|(now, was)| *now == 0 && *was != 0)
        });
        let is_moved = after.values().any(|now| now == bytes);
        let is_aside = kept.iter().any(|(aside, _)| aside.contains(&name[..]));
        assert!(!is_gone || is_moved || is_aside || name == "hint", "{what}: {name} is not kept");
    }
}

macro_rules! case {
    ($test:ident, $damage:expr, $refused:expr, $verified:expr, $planned:expr, $left:expr,
     $next:ident) => {
        #[test]
        fn $test() {
            check(&Case {
                what: stringify!($test),
                damage: $damage,
                refused: $refused,
                verified: $verified,
                planned: $planned,
                left: $left,
                next: Next::$next,
            });
        }
    };
}

case!(
    a_bit_in_the_header_of_the_first_chunk,
    |copy| flip(copy, 0, 40),
    &["/chunk-0000000000 is damaged at offset 0: chunk header checksum"],
    &["chunk 0, offset 0: chunk header checksum"],
    &["(step 1)", "make the header of chunk-0000000000 again", "lost-chunk-0000000000@0000000000"],
    EVENTS,
    Repair
);
case!(
    a_bit_in_the_header_of_the_last_chunk,
    |copy| flip(copy, 2, 60),
    &["/chunk-0000000002 is damaged at offset 0"],
    &["chunk 2, offset 0"],
    &["make the header of chunk-0000000002 again"],
    EVENTS,
    Repair
);
case!(
    a_bit_in_a_group_header,
    |copy| flip(copy, 2, 4096 + GROUP + 10),
    &["/chunk-0000000002 is damaged at offset 24232: group header checksum"],
    &["chunk 2, offset 24232", "at position 103"],
    &["end the log in chunk-0000000002 at offset 24232", "at position 103", INTACT, "27 events"],
    103,
    AcceptLoss
);
case!(
    a_bit_in_an_event_of_an_old_chunk,
    |copy| flip(copy, 0, event(7) + 300),
    &[],
    &["chunk 0, offset 145112", "content checksum", "at position 7"],
    &[
        "the log opens, and serves all events but those that are gone",
        "gone: 1 event, position 7",
        "position 7: cart-2, version 1",
        "readable: 122 events, saved to salvaged-0000000007.ndjson",
        INTACT,
    ],
    EVENTS - 1,
    NewLog
);
case!(
    a_bit_in_the_last_group,
    |copy| flip(copy, 2, event(27) + 300),
    &["offset 547768: group body checksum"],
    &["at position 129"],
    &["the log will end at position 129", INTACT, "gone: 1 event, position 129"],
    129,
    AcceptLoss
);
case!(
    a_bit_in_a_footer,
    |copy| copy.change(0, |bytes| *bytes.last_mut().unwrap() ^= 1),
    &[],
    &["footer"],
    &["make the index of chunk-0000000000 again from its events"],
    EVENTS,
    Repair
);
case!(
    a_bit_in_an_index,
    |copy| copy.change(1, |bytes| {
        let at = bytes.len() - 4096 + 112;
        let at = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        bytes[usize::try_from(at).unwrap() + 1] ^= 1;
    }),
    &[],
    &["checksum of the section of offsets"],
    &["make the index of chunk-0000000001 again from its events"],
    EVENTS,
    Repair
);
case!(
    a_page_of_zeros,
    |copy| copy.change(2, |bytes| bytes[8192..12_288].fill(0)),
    &["offset 4096: group body checksum"],
    &["at position 102"],
    &["the log will end at position 102", "gone: 1 event, position 102", "readable: 27 events"],
    102,
    AcceptLoss
);
case!(
    zeros_for_the_header_of_the_last_chunk,
    |copy| {
        remove(copy, 3);
        copy.change(2, |bytes| bytes[..4096].fill(0));
    },
    &["/chunk-0000000002 is damaged at offset 0: chunk header magic"],
    &["chunk 2, offset 0: chunk header magic"],
    &["(step 1)", "make the header of chunk-0000000002 again"],
    EVENTS,
    Repair
);
case!(
    zeros_for_the_header_of_the_only_chunk,
    |copy| {
        std::fs::remove_dir_all(copy.log()).unwrap();
        let log = Options::new().chunk_size(1 << 20).open(copy.log()).unwrap();
        log.append("s", Expected::Any, [NewEvent::new("Added", "{}")]).unwrap().wait().unwrap();
        log.close().unwrap();
        copy.change(0, |bytes| bytes[..4096].fill(0));
    },
    &["/chunk-0000000000 is damaged at offset 0: chunk header magic"],
    &["chunk 0, offset 0: chunk header magic"],
    &["(step 1)", "make the header of chunk-0000000000 again"],
    1,
    Repair
);
case!(
    a_page_of_another_place,
    |copy| copy.change(1, |bytes| bytes.copy_within(81_920..86_016, 40_960)),
    &[],
    &["chunk 1, offset "],
    &["gone: "],
    EVENTS - 2,
    NewLog
);
case!(
    the_first_chunk_is_missing,
    |copy| remove(copy, 0),
    &["/chunk-0000000000 is missing"],
    &["chunk 0, offset 0: chunk file: expected present, found missing"],
    &["cannot be repaired in place", "(not repaired)"],
    EVENTS - 51,
    NewLog
);
case!(
    a_middle_chunk_is_missing,
    |copy| remove(copy, 1),
    &["/chunk-0000000001 is missing", "put the file back"],
    &["chunk 1, offset 0: chunk file"],
    &["begin chunk-0000000001 anew", "gone: 51 events, positions 51 to 101", "28 events", INTACT],
    51,
    AcceptLoss
);
case!(
    the_last_chunk_is_missing,
    |copy| remove(copy, 2),
    &["/chunk-0000000002 is missing"],
    &["from the hint"],
    &["gone: 28 events, positions 102 to 129", INTACT],
    102,
    AcceptLoss
);
case!(
    a_chunk_of_another_log,
    |copy| foreign(copy, 1),
    &["/chunk-0000000001 does not belong there"],
    &["chunk 1, offset 0: log id"],
    &["set chunk-0000000001 aside", "it is of another log", "look for a backup"],
    51,
    AcceptLoss
);
case!(
    a_chunk_of_another_log_behind_the_last,
    |copy| foreign(copy, 3),
    &["/chunk-0000000003 does not belong there"],
    &["chunk 3, offset 0: log id"],
    &["set chunk-0000000003 aside as lost-chunk-0000000003@0000000000"],
    EVENTS,
    Repair
);
case!(
    a_chunk_with_the_wrong_number,
    |copy| std::fs::rename(copy.chunk(1), copy.chunk(9)).unwrap(),
    &["/chunk-0000000001 is missing"],
    &["chunk 9, offset 0: chunk number"],
    &["rename chunk-0000000009 to chunk-0000000001"],
    EVENTS,
    Repair
);
case!(
    the_last_chunk_is_cut_short,
    |copy| copy.change(2, |bytes| bytes.truncate(event(20))),
    &["/chunk-0000000002 is damaged at offset "],
    &["size of the file"],
    &["the log will end at position 122", INTACT, "gone: 8 events, positions 122 to 129"],
    122,
    AcceptLoss
);
case!(
    a_sealed_chunk_is_cut_short,
    |copy| copy.change(0, |bytes| bytes.truncate(event(40))),
    &["/chunk-0000000000 is damaged at offset "],
    &["size of the file"],
    &["the log will end at position 40", "gone: 11 events, positions 40 to 50", "79 events"],
    40,
    AcceptLoss
);
case!(
    a_sealed_chunk_has_grown,
    |copy| copy.change(0, |bytes| bytes.resize(bytes.len() + 5000, 1)),
    &[],
    &["footer"],
    &["make the index of chunk-0000000000 again"],
    EVENTS,
    Repair
);
case!(
    a_chunk_file_is_empty,
    |copy| copy.change(1, Vec::clear),
    &["/chunk-0000000001 is damaged at offset 0"],
    &["chunk 1, offset 0"],
    &["begin chunk-0000000001 anew", "gone: 51 events"],
    51,
    AcceptLoss
);
case!(
    the_hint_is_ahead,
    |copy| copy.change(2, |bytes| bytes[event(25) - 64..].fill(0)),
    &["2"],
    &["durable events: expected events up to position 130 (from the hint)"],
    &["lower the hint to position 127", INTACT, "gone: 3 events, positions 127 to 129"],
    127,
    AcceptLoss
);
case!(
    the_hint_is_garbage,
    |copy| std::fs::write(copy.log().join("hint"), [0xA5; 600]).unwrap(),
    &[],
    &[],
    &["set hint aside as lost-hint@0000000000"],
    EVENTS,
    Repair
);

/// Without a header, a footer and a hint nothing names the log's id.
#[test]
fn an_only_chunk_without_header_and_hint_is_no_empty_log() {
    let copy = Copy::new();
    (1..4).for_each(|chunk| remove(&copy, chunk));
    std::fs::remove_file(copy.log().join("hint")).unwrap();
    copy.change(0, |bytes| {
        let footer = bytes.len() - 4096;
        bytes[..4096].fill(0);
        bytes[footer..].fill(0);
    });
    for (verb, args) in [("info", &[][..]), ("append", &["--stream", "s"]), ("verify", &[])] {
        let ran = copy.run(verb, args);
        assert_eq!(ran.code, 1, "{verb}: {ran:?}");
        says(&ran, &["chunk header magic", "paperchase repair"], verb);
    }
    let planned = copy.run("repair", &[]);
    assert_eq!((planned.code, &next(&planned)[..]), (1, "restore the log from a backup"));
}

/// Opening seals a chunk again whose footer is not at its end, and leaves no old one in it.
#[test]
fn a_chunk_that_has_grown_is_sealed_again_without_remains() {
    let copy = Copy::new();
    copy.change(0, |bytes| bytes.resize(bytes.len() + 50_000, 1));
    std::fs::remove_file(copy.log().join("hint")).unwrap();
    let opened = copy.run("info", &[]);
    assert_eq!(opened.code, 0);
    says(&opened, &["sealing took ", "out of chunk 0 at", "lost-chunk-0000000000@"], "it is told");
    let verified = copy.run("verify", &[]);
    assert_eq!(verified.code, 0, "{verified:?}");
    says(&verified, &["lost-chunk-0000000000@"], "what stood there is kept");
}

#[test]
fn a_sound_log_is_left_alone() {
    let copy = Copy::new();
    let before = copy.files();
    for args in [&[][..], &["--apply"], &["--apply", "--accept-loss"]] {
        let ran = copy.run("repair", args);
        assert_eq!((ran.code, &ran.stdout[..]), (0, "nothing to repair: the log is sound\n"));
        assert!(copy.files() == before, "{args:?}");
    }
    let json = copy.run("repair", &["--json"]).stdout;
    assert!(json.contains(r#""sound":true"#) && json.contains(r#""steps":[]"#), "{json}");
}

/// What was salvaged goes back into the log by `import`, and nothing readable is lost.
#[test]
fn what_was_salvaged_can_be_imported() {
    let copy = Copy::new();
    flip(&copy, 2, 4096 + GROUP + 10);
    assert_eq!(copy.run("repair", &["--apply", "--accept-loss"]).code, 0);
    let place = copy.place();
    let line = format!("paperchase import {place} < {place}/salvaged-0000000103.ndjson");
    let imported = shell(&line);
    assert_eq!(imported.code, 0, "{imported:?}");
    assert_eq!(exported(&place), EVENTS);
    let names = [FIRST, SECOND, THIRD];
    assert!(names.iter().all(|name| copy.files().contains_key(*name)));
    assert_eq!(copy.run("verify", &[]).code, 0);
}
