//! Owns the checks of the tree itself: layers, sizes, bans, documents.
//!
//! Promises: each check lists all offenders at once, and is itself tested on a snippet that it must
//! refuse. Reads sources as text with comments and literals blanked; it is no parser, and what
//! hides behind a macro escapes it.

use std::fs;
use std::path::{Path, PathBuf};

/// A module uses only modules of lines above its own. Words know each other; other neighbours do
/// not.
const LAYERS: [&[&str]; 12] = [
    &["error", "position", "event", "query", "append", "options", "clock", "sync", "watermark"],
    &["disk"],
    &["format"],
    &["chunk"],
    &["stage"],
    &["index"],
    &["writer", "chaser", "keeper"],
    &["read"],
    &["subscribe", "consumer"],
    &["log"],
    &["cli"],
    &["fuzzing", "measuring"],
];
/// The layers from this one on stand above the whole public face.
const FACE: usize = LAYERS.len() - 2;

/// What only the files whose path begins so may name.
const BANS: [(&str, &[&str]); 9] = [
    ("std::fs", &["src/disk/os.rs", "src/cli", "src/bin/"]),
    ("libc::", &[]),
    ("rand::", &[]),
    ("Instant::now", &["src/clock.rs"]),
    ("SystemTime::now", &["src/clock.rs"]),
    (
        "thread::spawn",
        &[
            "src/stage/worker.rs",
            "src/stage/interleavings",
            "src/log/tests/interleavings",
            "src/cli/stress",
        ],
    ),
    ("thread::Builder", &["src/stage/worker.rs", "src/cli/stress"]),
    ("tracing::", &["src/log/trace.rs", "src/log/tests/stepped/traced.rs"]),
    ("unsafe", &["src/disk/map.rs"]),
];

/// Marks of unfinished work, spelled so that this file does not contain them.
const UNFINISHED: [&str; 6] = [
    concat!("to", "do!"),
    concat!("db", "g!"),
    concat!("unimplement", "ed!"),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const CODE_COLUMNS_MAX: usize = 100;
const TEXT_COLUMNS_MAX: usize = 100;
const DOCUMENT_LINES_MIN: usize = 10;

type Check = fn(&str, &str) -> Vec<String>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files of the tree with this ending, as path from the root and content, sorted.
fn files(ending: &str) -> Vec<(String, String)> {
    let (mut folders, mut found) = (vec![root().to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the tree is readable") {
            let path: PathBuf = entry.expect("a folder of the tree is readable").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(ending) {
                let content = fs::read(&path).expect("a file of the tree is readable");
                let inside = path.strip_prefix(root()).expect("the walk starts at the root");
                let inside = inside.to_string_lossy().into_owned();
                found.push((inside, String::from_utf8_lossy(&content).into_owned()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no file ends with {ending}: the walk is broken");
    found
}

fn refuse(rule: &str, ending: &str, under: &str, check: Check) {
    let files = files(ending);
    let files = files.iter().filter(|(path, _)| path.starts_with(under));
    let offences: Vec<_> = files.flat_map(|(path, content)| check(path, content)).collect();
    assert!(offences.is_empty(), "{rule}:\n  {}\n", offences.join("\n  "));
}

/// The source with comments and literals blanked. Lines and columns stay what they are.
fn code_of(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    while code.len() < bytes.len() {
        let rest = &bytes[code.len()..];
        let blank = blank_length(rest, code.last().copied().unwrap_or(b' '));
        let kept = |&byte: &u8| if byte == b'\n' || blank == 0 { byte } else { b' ' };
        code.extend(rest[..blank.max(1)].iter().map(kept));
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// Length of the comment or literal that begins here; 0 when none does.
fn blank_length(rest: &[u8], before: u8) -> usize {
    let find = |end: &[u8], from: usize| {
        let tail = rest.get(from..).unwrap_or_default();
        tail.windows(end.len()).position(|part| part == end).map(|found| from + found + end.len())
    };
    if rest.starts_with(b"//") {
        return find(b"\n", 0).map_or(rest.len(), |end| end - 1);
    }
    if rest.starts_with(b"/*") {
        return find(b"*/", 2).unwrap_or(rest.len());
    }
    let prefix = rest.iter().take_while(|byte| b"bcr".contains(byte)).count();
    let hashes = rest[prefix..].iter().take_while(|&&byte| byte == b'#').count();
    let quote = prefix + hashes;
    if rest[..prefix].ends_with(b"r") && rest.get(quote) == Some(&b'"') && !is_word(before) {
        let end = [&b"\""[..], &vec![b'#'; hashes]].concat();
        return find(&end, quote + 1).unwrap_or(rest.len());
    }
    match rest[0] {
        b'"' => string_length(rest),
        b'\'' if rest.get(1) == Some(&b'\\') => find(b"'", 3).unwrap_or(rest.len()),
        // A quote that is not closed after one character begins a lifetime.
        b'\'' => find(b"'", 2).filter(|&end| end == 3).unwrap_or(0),
        _ => 0,
    }
}

fn string_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    rest.len().min(at + 1)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Offsets at which `word` stands alone, not as a part of a longer name.
fn places(text: &str, word: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let ends = |at: usize| !is_word(word.as_bytes()[word.len() - 1]) || !is_word(bytes[at]);
    let stands_alone = |&at: &usize| {
        let (before, after) = (at.checked_sub(1), at + word.len());
        before.is_none_or(|before| !is_word(bytes[before])) && (after == bytes.len() || ends(after))
    };
    text.match_indices(word).map(|(at, _)| at).filter(stands_alone).collect()
}

fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// The modules that a path behind `crate::` names: one, or those of a group in braces.
fn named(path: &str) -> Vec<&str> {
    let first = |item: &str| item.bytes().take_while(|&byte| is_word(byte)).count();
    let Some(group) = path.strip_prefix('{') else {
        return vec![&path[..first(path)]];
    };
    let (mut depth, mut start, mut names) = (0_usize, 0, Vec::new());
    for (at, byte) in group.bytes().enumerate() {
        if depth == 0 && matches!(byte, b',' | b'}') {
            let item = group[start..at].trim_start();
            names.push(&item[..first(item)]);
            start = at + 1;
        }
        match byte {
            b'}' if depth == 0 => break,
            b'}' => depth -= 1,
            b'{' => depth += 1,
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn upward_uses(path: &str, source: &str) -> Vec<String> {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    let module = inside.split(['/', '.']).next().unwrap_or_default();
    if matches!(module, "lib" | "bin") {
        return Vec::new();
    }
    let Some(layer) = layer_of(module) else {
        return vec![format!("{path}: module {module} stands in no layer")];
    };
    let code = code_of(source);
    let mut offences = Vec::new();
    for at in places(&code, "crate::") {
        for name in named(&code[at + "crate::".len()..]) {
            // Who stands above the public face may use names of the crate's root.
            let face = layer >= FACE && layer_of(name).is_none();
            let below = layer_of(name).is_some_and(|used| used < layer || used == 0);
            if !face && !below && name != module {
                let line = line_of(&code, at);
                offences.push(format!("{path}:{line}: {module} must not use crate::{name}"));
            }
        }
    }
    offences
}

fn banned_names(path: &str, source: &str) -> Vec<String> {
    let code = code_of(source);
    let banned = BANS.iter().filter(|(_, homes)| !homes.iter().any(|home| path.starts_with(home)));
    let offence = |(word, homes): &(&str, &[&str])| {
        let lines = places(&code, word).into_iter().map(|at| line_of(&code, at));
        let text = |line| format!("{path}:{line}: {word} is for {homes:?} alone");
        lines.map(text).collect::<Vec<_>>()
    };
    banned.flat_map(offence).collect()
}

fn unfinished_work(path: &str, source: &str) -> Vec<String> {
    let found = |mark: &&str| {
        let lines = places(source, mark).into_iter().map(|at| line_of(source, at));
        lines.map(|line| format!("{path}:{line}: {mark}")).collect::<Vec<_>>()
    };
    UNFINISHED.iter().flat_map(found).collect()
}

fn long_file(path: &str, source: &str) -> Vec<String> {
    let lines = source.lines().count();
    let long = lines > FILE_LINES_MAX;
    long.then(|| format!("{path}: {lines} lines")).into_iter().collect()
}

/// Length of a function's text from `fn` to the end of its body; `None` when it has no body.
fn function_length(text: &str) -> Option<usize> {
    let (mut brackets, mut braces) = (0_i32, 0_i32);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets -= 1,
            b';' if brackets == 0 && braces == 0 => return None,
            b'{' => braces += 1,
            b'}' if braces == 1 => return Some(at + 1),
            b'}' => braces -= 1,
            _ => {}
        }
    }
    None
}

fn long_functions(path: &str, source: &str) -> Vec<String> {
    let code = code_of(source);
    let offence = |at: usize| {
        let name = code[at..].split(|c: char| !c.is_alphanumeric() && c != '_').nth(1)?;
        let length = function_length(&code[at..]).filter(|_| !name.is_empty())?;
        let lines = line_of(&code[at..], length);
        let text = || format!("{path}:{}: fn {name}: {lines} lines", line_of(&code, at));
        (lines > FUNCTION_LINES_MAX).then(text)
    };
    places(&code, "fn").into_iter().filter_map(offence).collect()
}

/// Code is narrow; comments and texts within literals may be wider.
fn wide_lines(path: &str, source: &str) -> Vec<String> {
    let code = code_of(source);
    let lines = source.lines().zip(code.lines()).enumerate();
    let wide = lines.filter(|(_, (line, code))| {
        line.len() > TEXT_COLUMNS_MAX || code.trim_end().len() > CODE_COLUMNS_MAX
    });
    wide.map(|(index, (line, _))| format!("{path}:{}: {} columns", index + 1, line.len())).collect()
}

fn missing_head(path: &str, source: &str) -> Vec<String> {
    let missing = !source.starts_with("//! ");
    missing.then(|| format!("{path}: does not begin with //!")).into_iter().collect()
}

fn foreign_letters(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_ascii());
    lines.map(|(index, line)| format!("{path}:{}: {line}", index + 1)).collect()
}

fn stub(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    let short = lines < DOCUMENT_LINES_MIN;
    short.then(|| format!("{path}: {lines} lines of text")).into_iter().collect()
}

/// The document without its fenced blocks; lines stay where they are.
fn prose_of(text: &str) -> String {
    let mut fenced = false;
    let line = |line: &str| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        if fenced || fence { String::new() } else { line.to_owned() }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn broken_links(path: &str, text: &str) -> Vec<String> {
    let prose = prose_of(text);
    let folder = root().join(path).parent().map(Path::to_owned).unwrap_or_default();
    let broken = |at: usize| {
        let target = prose[at + 2..].split([')', ' ', '\n']).next()?;
        let file = target.split('#').next().filter(|file| !file.is_empty())?;
        let missing = !file.contains("://") && !folder.join(file).exists();
        missing.then(|| format!("{path}:{}: {target}", line_of(&prose, at)))
    };
    prose.match_indices("](").filter_map(|(at, _)| broken(at)).collect()
}

/// Whether the example of the README runs as a test of documentation.
fn untested_example(readme: &str, library: &str) -> Vec<String> {
    let mut offences = Vec::new();
    if !library.contains(r#"include_str!("../README.md")"#) {
        offences.push("src/lib.rs does not include the README".to_owned());
    }
    let fences: Vec<_> = readme.lines().filter(|line| line.starts_with("```rust")).collect();
    if fences.is_empty() || fences.iter().any(|fence| *fence != "```rust") {
        offences.push(format!("README.md has none, or other than plain Rust blocks: {fences:?}"));
    }
    offences
}

/// Dependencies in the manifest without their line in the decision.
fn unexplained(manifest: &str, decision: &str) -> Vec<String> {
    let mut listed = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            listed = line.ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| listed) {
            names.push(name);
        }
    }
    assert!(!names.is_empty(), "the manifest names dependencies");
    names.retain(|name| !decision.contains(&format!("| `{name}` |")));
    names.into_iter().map(str::to_owned).collect()
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn modules_use_only_layers_below_them() {
    refuse("a module uses only layers above it in the list", ".rs", "src/", upward_uses);
}

#[test]
fn each_power_has_its_file() {
    refuse("a name is used outside its file", ".rs", "src/", banned_names);
}

#[test]
fn nothing_is_left_unfinished() {
    refuse("unfinished work", ".rs", "", unfinished_work);
}

#[test]
fn files_functions_and_lines_are_short() {
    refuse("a file has at most 500 lines", ".rs", "", long_file);
    refuse("a function has at most 70 lines", ".rs", "", long_functions);
    refuse("a line has at most 100 columns, text too", ".rs", "", wide_lines);
}

#[test]
fn every_source_has_a_head() {
    refuse("a source says first what it owns", ".rs", "src/", missing_head);
}

#[test]
fn sources_and_documents_are_ascii() {
    for ending in [".rs", ".toml", ".md"] {
        refuse("only ASCII", ending, "", foreign_letters);
    }
}

#[test]
fn documents_say_something_and_link_to_what_exists() {
    refuse("a stub is worse than no document", ".md", "", stub);
    refuse("a link leads nowhere", ".md", "", broken_links);
}

#[test]
fn the_example_of_the_readme_is_tested() {
    let offences = untested_example(&text("README.md"), &text("src/lib.rs"));
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn every_dependency_has_its_reason() {
    let decision = text("docs/decisions/0001-dependencies.md");
    let missing = unexplained(&text("Cargo.toml"), &decision);
    assert!(missing.is_empty(), "without a line in docs/decisions/0001: {missing:?}");
}

/// Each check must refuse what it is for. A check that refuses nothing looks like a tidy tree.
mod the_checks {
    use super::*;

    #[test]
    fn see_code_without_comments_and_literals() {
        let source = "a /* b */ 'c' '\\n' \"d\\\"e\" r#\"f\"g\"# br\"h\" &'i j // k\nl";
        let words: Vec<_> = code_of(source).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words, ["a", "&'i", "j", "l"]);
        assert_eq!(code_of(source).len(), source.len());
    }

    #[test]
    fn refuse_upward_uses() {
        let source = "use crate::{disk::{Disk, Map},\n log};\nfn f(_: crate::chaser::Acks) {}";
        let found = upward_uses("src/writer/gather.rs", source);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].ends_with("crate::log"), "{found:?}");
        assert!(found[1].starts_with("src/writer/gather.rs:3:"), "{found:?}");
        assert_eq!(upward_uses("src/options.rs", "use crate::format::VERSION;").len(), 1);
        assert_eq!(upward_uses("src/misc.rs", "").len(), 1, "a module in no layer");
        assert_eq!(upward_uses("src/read.rs", "use crate::Log;").len(), 1);
        assert!(upward_uses("src/cli.rs", "use crate::{Log, Options};").is_empty());
        assert!(upward_uses("src/disk/os.rs", "use crate::{disk::Map, error::Error};").is_empty());
    }

    #[test]
    fn refuse_banned_names() {
        for (word, homes) in BANS {
            let source = format!("use x;\nlet y = {word} ();");
            assert_eq!(banned_names("src/read.rs", &source).len(), 1, "{word}");
            for home in homes {
                assert!(banned_names(home, &source).is_empty(), "{word} in {home}");
            }
        }
        let harmless = "// unsafe\n#![deny(unsafe_code)] strand::x; \"libc::\"";
        assert!(banned_names("src/read.rs", harmless).is_empty());
    }

    #[test]
    fn refuse_unfinished_work() {
        for mark in UNFINISHED {
            assert_eq!(unfinished_work("a.rs", &format!("// {mark} later")).len(), 1, "{mark}");
        }
        assert!(unfinished_work("a.rs", &format!("my_{}", UNFINISHED[0])).is_empty());
    }

    #[test]
    fn refuse_long_and_wide() {
        assert_eq!(long_file("a.rs", &"\n".repeat(FILE_LINES_MAX + 1)).len(), 1);
        assert!(long_file("a.rs", &"\n".repeat(FILE_LINES_MAX)).is_empty());
        let function = |lines: usize| format!("fn f(a: [u8; 3]) {{{}}}", "\n".repeat(lines - 1));
        assert_eq!(long_functions("a.rs", &function(FUNCTION_LINES_MAX + 1)).len(), 1);
        let short = function(FUNCTION_LINES_MAX);
        assert!(long_functions("a.rs", &format!("fn g(a: [u8; 3]);\n{short}{short}")).is_empty());
        for (line, refused) in [
            ("x".repeat(CODE_COLUMNS_MAX + 1), true),
            ("x".repeat(CODE_COLUMNS_MAX), false),
            (format!("//{}", "x".repeat(TEXT_COLUMNS_MAX - 1)), true),
            (format!("//{}", "x".repeat(TEXT_COLUMNS_MAX - 2)), false),
        ] {
            assert_eq!(wide_lines("a.rs", &line).len(), usize::from(refused), "{line}");
        }
    }

    #[test]
    fn refuse_bad_documents() {
        assert_eq!(missing_head("a.rs", "use x;").len(), 1);
        assert_eq!(foreign_letters("a.rs", "a\n\u{fc}").len(), 1);
        assert_eq!(stub("a.md", &"text\n\n".repeat(DOCUMENT_LINES_MIN - 1)).len(), 1);
        assert!(stub("a.md", &"text\n".repeat(DOCUMENT_LINES_MIN)).is_empty());
        let links = "[a](no.md)\n[b](Cargo.toml#x) [c](#y) [d](https://e.f)\n```\n[g](no.md)\n```";
        assert_eq!(broken_links("README.md", links), ["README.md:1: no.md"]);
    }

    #[test]
    fn refuse_untested_examples_and_unexplained_dependencies() {
        let library = r#"#[doc = include_str!("../README.md")]"#;
        assert!(untested_example("```rust\n```", library).is_empty());
        assert_eq!(untested_example("```rust,ignore\n```", library).len(), 1);
        assert_eq!(untested_example("```rust\n```", "").len(), 1);
        let manifest = "[features]\nx = []\n[dependencies]\na = \"1\"\nb = \"2\"\n[lints]\nc = 1";
        assert_eq!(unexplained(manifest, "| `a` | why |"), ["b"]);
    }
}
