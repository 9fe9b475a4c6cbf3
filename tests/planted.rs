//! Owns the question whether the tests bite: bugs planted on purpose, each of which must turn the
//! test red that it names.
//!
//! The bugs stand in a table beside this file and not in the code: a copy of the tree gets all of
//! them at once, each behind a switch, and is built once. Promises: a bug whose place in the code
//! has changed, or whose test is gone, fails the ordinary run; the long run, which is ignored
//! unless asked for, first sees every test green without a bug, then red with its own.

#![allow(clippy::unwrap_used, reason = "what is wrong ends the test")]

#[path = "planted/bugs.rs"]
mod bugs;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bugs::{BUGS, Bug};
use paperchase::clock::{Clock, SystemClock};

/// A test that a bug keeps from ending is red too: one that takes so long, and much longer than
/// without the bug.
const PATIENCE: Duration = Duration::from_secs(20);
/// The environment variable that switches a bug on.
const SWITCH: &str = "PAPERCHASE_PLANTED";
/// What the copy of the tree gets, so that planted code can ask for its switch.
const SWITCHES: &str = r#"

/// Whether the bug of this name is switched on.
pub(crate) fn planted(name: &str) -> bool {
    static ON: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    ON.get_or_init(|| std::env::var("PAPERCHASE_PLANTED").unwrap_or_default()) == name
}
"#;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where code stands in a text, however its lines are broken: blanks fit any blanks.
fn places(text: &str, code: &str) -> Vec<Range<usize>> {
    let words: Vec<_> = code.split_whitespace().collect();
    let end_from = |start: usize| {
        let mut rest = &text[start..];
        for (index, word) in words.iter().enumerate() {
            rest = if index == 0 { rest } else { rest.trim_start() };
            rest = rest.strip_prefix(word)?;
            let more = index + 1 < words.len();
            if more && !rest.starts_with(char::is_whitespace) {
                return None;
            }
        }
        Some(text.len() - rest.len())
    };
    let starts = text.match_indices(words[0]).map(|(start, _)| start);
    starts.filter_map(|start| Some(start..end_from(start)?)).collect()
}

/// The code with a bug in it, behind its switch: an expression or a statement in place of another.
fn planted(bug: &Bug, text: &str) -> String {
    let places = places(text, bug.sound);
    let [place] = &places[..] else {
        panic!("{}: its place is found {} times in {}", bug.name, places.len(), bug.file);
    };
    let switch = format!("crate::planted(\"{}\")", bug.name);
    let broken = bug.broken.replace("PLANTED", &switch);
    [&text[..place.start], &broken, &text[place.end..]].concat()
}

/// All sources with bugs, by their path, with all bugs of each.
fn sources() -> BTreeMap<&'static str, String> {
    let mut sources = BTreeMap::new();
    for bug in BUGS {
        let read = || fs::read_to_string(root().join(bug.file)).unwrap();
        let text = sources.entry(bug.file).or_insert_with(read);
        *text = planted(bug, text);
    }
    sources
}

/// The file of the tests that a bug names: of the library, or one of `tests/`.
fn is_defined(bug: &Bug) -> bool {
    let head = format!("fn {}(", bug.test.rsplit("::").next().unwrap());
    match bug.target {
        "lib" => contains_below(&root().join("src"), &head),
        target => {
            let file = root().join(format!("tests/{target}.rs"));
            fs::read_to_string(&file).is_ok_and(|text| text.contains(&head))
                || contains_below(&root().join("tests").join(target), &head)
        }
    }
}

fn contains_below(folder: &Path, text: &str) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            contains_below(&path, text)
        } else {
            fs::read_to_string(&path).is_ok_and(|found| found.contains(text))
        }
    })
}

#[test]
fn every_bug_has_its_place_and_its_test() {
    let names: BTreeSet<_> = BUGS.iter().map(|bug| bug.name).collect();
    assert_eq!(names.len(), BUGS.len(), "each bug has a name of its own");
    assert!(BUGS.len() >= 30, "{} bugs are few", BUGS.len());
    assert!(sources().len() >= 10, "bugs are planted all over the code");
    for bug in BUGS {
        assert!(bug.broken.contains("PLANTED"), "{}: has no switch", bug.name);
        assert!(is_defined(bug), "{}: there is no test {}", bug.name, bug.test);
    }
}

/// Copies what a build needs.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        if entry.file_name() == "target" {
            // What packages beside the tree have built.
            continue;
        }
        if path.is_dir() {
            copy(&path, &copied);
        } else if fs::read(&path).ok() != fs::read(&copied).ok() {
            // Only what differs, so that a second build is a small one.
            fs::copy(&path, &copied).unwrap();
        }
    }
}

/// A copy of the tree with all bugs in it, switched off.
fn plant() -> PathBuf {
    let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted");
    for part in ["src", "tests", "benches", "examples", "docs"] {
        copy(&root().join(part), &tree.join(part));
    }
    for file in ["Cargo.toml", "Cargo.lock", "README.md"] {
        fs::copy(root().join(file), tree.join(file)).unwrap();
    }
    for (file, text) in sources() {
        fs::write(tree.join(file), text).unwrap();
    }
    let library = tree.join("src/lib.rs");
    let text = fs::read_to_string(&library).unwrap();
    fs::write(library, text + SWITCHES).unwrap();
    tree
}

/// Builds the tests of the copy, and tells where their programs are.
fn build(tree: &Path) -> BTreeMap<String, PathBuf> {
    let targets: BTreeSet<_> = BUGS.iter().map(|bug| bug.target).collect();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--release", "--all-features", "--no-run", "--message-format=json"]);
    for target in targets {
        match target {
            "lib" => cargo.arg("--lib"),
            target => cargo.args(["--test", target]),
        };
    }
    // A folder of its own: cargo would take what is built of the copy for the tree's.
    let built = cargo
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", tree.join("target"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(built.status.success(), "the bugs do not compile");
    let mut programs = BTreeMap::new();
    for line in String::from_utf8(built.stdout).unwrap().lines() {
        let text = |key: &str| {
            let rest = line.split_once(&format!("\"{key}\":\""))?.1;
            Some(rest.split('"').next().unwrap().to_owned())
        };
        if let Some(program) = text("executable") {
            let kind =
                if line.contains("\"kind\":[\"lib\"]") { Some("lib".to_owned()) } else { None };
            let name = kind.or_else(|| text("name"));
            programs.insert(name.unwrap(), PathBuf::from(program));
        }
    }
    programs
}

/// How a test ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colour {
    Green,
    Red,
    /// It did not end.
    Hung,
    /// There is no such test in the program.
    Absent,
}

fn run(tree: &Path, program: &Path, bug: &Bug, (switched, patience): (&str, Duration)) -> Colour {
    let (output, path) = tempfile::NamedTempFile::new().unwrap().into_parts();
    let mut child = Command::new(program)
        .args([bug.test, "--test-threads=1"])
        .current_dir(tree)
        .env(SWITCH, switched)
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let clock = SystemClock::default();
    let start = clock.monotonic();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if clock.monotonic() - start > patience {
            child.kill().unwrap();
            child.wait().unwrap();
            return Colour::Hung;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let told = fs::read_to_string(&path).unwrap_or_default();
    match (status.success(), told.contains("running 1 test")) {
        (_, false) => Colour::Absent,
        (true, true) => Colour::Green,
        (false, true) => Colour::Red,
    }
}

#[test]
#[ignore = "builds the whole tree once more: see docs/testing.md"]
fn every_planted_bug_turns_its_test_red() {
    let tree = plant();
    let programs = build(&tree);
    let chosen = std::env::var(SWITCH).ok();
    let clock = SystemClock::default();
    let mut wrong = Vec::new();
    let mut controls = BTreeMap::new();
    let mut tried = 0;
    for bug in BUGS.iter().filter(|bug| chosen.as_deref().is_none_or(|name| name == bug.name)) {
        let program = &programs[bug.target];
        let control = || {
            let start = clock.monotonic();
            let colour = run(&tree, program, bug, ("", Duration::from_secs(600)));
            (colour, clock.monotonic() - start)
        };
        let (control, took) = *controls.entry((bug.target, bug.test)).or_insert_with(control);
        let start = clock.monotonic();
        let colour = run(&tree, program, bug, (bug.name, PATIENCE.max(took * 5)));
        println!(
            "{:40} {colour:?} after {:.1?}: {}",
            bug.name,
            clock.monotonic() - start,
            bug.test
        );
        if control != Colour::Green {
            wrong.push(format!("{} without a bug: {control:?}", bug.test));
        } else if !matches!(colour, Colour::Red | Colour::Hung) {
            wrong.push(format!("{} goes past {}", bug.name, bug.test));
        }
        tried += 1;
    }
    println!("{tried} bugs, {} of them caught", tried - wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
