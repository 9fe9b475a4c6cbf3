//! Owns the commonest damages of a log on real files, and what the command line says of each: what
//! happened and where, what is safe, and a next command that works when it is run.
//!
//! Promises: each damage is asked of `info`, `append`, `verify` and `repair`; what only looks
//! changes no byte; the command that `repair` names is run as it stands, in a shell.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

#[path = "damages/cases.rs"]
mod cases;
#[path = "damages/places.rs"]
mod places;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use paperchase::{Expected, NewEvent, Options};
use tempfile::TempDir;

/// Bytes of one group, which holds one event.
const GROUP: usize = 20_136;
/// Events of the log: 51 in each of two sealed chunks, the rest in the last.
const EVENTS: usize = 130;

/// A sound, closed log of three chunks, and the file that lies ready for the fourth.
static SOUND: LazyLock<TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let log = Options::new().chunk_size(1 << 20).open(dir.path().join("log")).unwrap();
    for number in 0..EVENTS {
        let event = NewEvent::new("Added", vec![b'x'; 20_000]);
        let stream = format!("cart-{}", number % 5);
        log.append(&stream, Expected::Any, [event]).unwrap().wait().unwrap();
    }
    assert_eq!(log.view().chunks().len(), 3);
    log.close().unwrap();
    dir
});

/// A copy of the sound log that may be damaged.
struct Copy {
    dir: TempDir,
}

impl Copy {
    fn new() -> Self {
        let copy = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(copy.log()).unwrap();
        for entry in std::fs::read_dir(SOUND.path().join("log")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.log().join(entry.file_name())).unwrap();
        }
        copy
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn place(&self) -> String {
        self.log().to_str().unwrap().to_owned()
    }

    fn chunk(&self, number: u64) -> PathBuf {
        self.log().join(format!("chunk-{number:010}"))
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(self.chunk(number)).unwrap();
        change(&mut bytes);
        std::fs::write(self.chunk(number), bytes).unwrap();
    }

    /// All files but those of the living.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.log()).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.filter(|path| path.is_file()).map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        });
        files.filter(|(name, _)| name != "LOCK" && name != "stats").collect()
    }

    fn run(&self, verb: &str, args: &[&str]) -> Ran {
        let place = self.place();
        run(&[&[verb, &place], args].concat())
    }
}

/// Where the event with this number in its chunk begins.
fn event(number: usize) -> usize {
    4096 + GROUP * number + 64
}

#[derive(Debug)]
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

fn ran(command: &mut Command, input: &str) -> Ran {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A verb that refuses closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

fn run(args: &[&str]) -> Ran {
    ran(Command::new(env!("CARGO_BIN_EXE_paperchase")).args(args), "{}\n")
}

/// Runs a line as a person would, with the program in the path.
fn shell(line: &str) -> Ran {
    let program = Path::new(env!("CARGO_BIN_EXE_paperchase")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    ran(Command::new("sh").args(["-c", line]).env("PATH", path), "")
}

fn says(ran: &Ran, words: &[&str], what: &str) {
    for word in words {
        let found = ran.stdout.contains(word) || ran.stderr.contains(word);
        assert!(found, "{what}: {word:?} is not in\n{}{}", ran.stdout, ran.stderr);
    }
}

/// The command behind `next: ` in what a repair says.
fn next(ran: &Ran) -> String {
    let line = ran.stdout.lines().find_map(|line| line.strip_prefix("next: "));
    line.unwrap_or_else(|| panic!("no next command:\n{}{}", ran.stdout, ran.stderr)).to_owned()
}

fn exported(place: &str) -> usize {
    let ran = run(&["export", place]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.stdout.lines().count()
}
