//! Holds tables of documents to the tests, both ways: the faults of `docs/durability.md` and the
//! decisions of `docs/conditions.md`. A test belongs to the row whose number its name begins with.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// All words of `text` that name a test of a row: the table's letter, two digits, `_`, and more.
fn tests_named_in(text: &str, letter: char) -> BTreeSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    let is_name = |word: &&str| {
        let bytes = word.as_bytes();
        bytes.len() > 4
            && char::from(bytes[0]) == letter
            && bytes[1..3].iter().all(u8::is_ascii_digit)
            && bytes[3] == b'_'
    };
    words.filter(is_name).map(str::to_owned).collect()
}

/// All tests of a table's rows that a source defines: functions marked as tests.
fn tests_defined_in(text: &str, letter: char) -> BTreeSet<String> {
    let lines = || text.lines().map(str::trim_start);
    let tests = lines().zip(lines().skip(1)).filter(|(mark, _)| *mark == "#[test]");
    let names = tests.filter_map(|(_, head)| head.strip_prefix("fn ")?.split_once('('));
    names.flat_map(|(name, _)| tests_named_in(name, letter)).collect()
}

/// The same of all sources below `folder`.
fn tests_defined_below(folder: &Path, letter: char) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("sources can be listed") {
        let path = entry.expect("sources can be listed").path();
        if path.is_dir() {
            found.extend(tests_defined_below(&path, letter));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("a source can be read");
            found.extend(tests_defined_in(&text, letter));
        }
    }
    found
}

/// All tests of the rows of a table, wherever they are.
fn tests_defined(letter: char) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut defined = tests_defined_below(&root.join("src"), letter);
    defined.extend(tests_defined_below(&root.join("tests"), letter));
    defined
}

/// The rows of a document's tables whose number begins with this letter.
fn rows(document: &str, letter: char) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = fs::read_to_string(path).expect("a document can be read");
    let is_row = |line: &&str| {
        let number = line.strip_prefix("| ").and_then(|rest| rest.strip_prefix(letter));
        number.is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()))
    };
    let rows: Vec<_> = text.lines().filter(is_row).map(str::to_owned).collect();
    assert!(!rows.is_empty(), "{document} has no rows of {letter}");
    rows
}

/// The number of a row, as the names of its tests begin.
fn number(row: &str) -> String {
    row[2..5].to_lowercase()
}

#[test]
fn every_fault_in_the_table_has_its_tests_and_every_test_its_row() {
    let rows = rows("docs/durability.md", 'F');
    let named: BTreeSet<_> = rows.iter().flat_map(|row| tests_named_in(row, 'f')).collect();
    let defined = tests_defined('f');
    assert_eq!(named.difference(&defined).collect::<Vec<_>>(), [""; 0], "named, and not there");
    assert_eq!(defined.difference(&named).collect::<Vec<_>>(), [""; 0], "there, and not named");
    for row in rows {
        let own = tests_named_in(&row, 'f');
        let are_own = own.iter().all(|name| name.starts_with(&number(&row)));
        assert!(are_own, "a row names its own tests: {row}");
    }
}

#[test]
fn every_decision_in_the_table_has_a_test_and_every_test_its_row() {
    let rows = rows("docs/conditions.md", 'C');
    let numbers: BTreeSet<_> = rows.iter().map(|row| number(row)).collect();
    assert_eq!(numbers.len(), rows.len(), "each row has a number of its own");
    let tested: BTreeSet<_> = tests_defined('c').iter().map(|test| test[..3].to_owned()).collect();
    assert_eq!(numbers.difference(&tested).collect::<Vec<_>>(), [""; 0], "rows without a test");
    assert_eq!(tested.difference(&numbers).collect::<Vec<_>>(), [""; 0], "tests without a row");
}

#[test]
fn names_are_told_from_other_words() {
    let found = tests_named_in("`f10_torn`, f1_x, F20, f20_a_sync; xf30_y, c50_z, f40_", 'f');
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["f10_torn", "f20_a_sync"]);
    let source = "#[test]\nfn f10_a() {}\nfn f11_b() {}\n  #[test]\n  fn c12_c() {}\n// fn f13_d()";
    let found = tests_defined_in(source, 'f');
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["f10_a"]);
}
