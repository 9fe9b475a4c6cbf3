//! Holds the table of faults in `docs/durability.md` to the tests, both ways.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// All words of `text` that name a test of a fault: `f`, two digits, `_`, and more.
fn tests_named_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    let is_name = |word: &&str| {
        let bytes = word.as_bytes();
        bytes.len() > 4
            && bytes[0] == b'f'
            && bytes[1..3].iter().all(u8::is_ascii_digit)
            && bytes[3] == b'_'
    };
    words.filter(is_name).map(str::to_owned).collect()
}

/// All functions of faults that the sources below `folder` define.
fn tests_defined_below(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("sources can be listed") {
        let path = entry.expect("sources can be listed").path();
        if path.is_dir() {
            found.extend(tests_defined_below(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("a source can be read");
            let heads = text.lines().filter_map(|line| line.trim_start().strip_prefix("fn f"));
            let names = heads.filter_map(|rest| rest.split_once('(')).map(|(name, _)| name);
            found.extend(names.flat_map(|name| tests_named_in(&format!("f{name}"))));
        }
    }
    found
}

#[test]
fn every_fault_in_the_table_has_its_tests_and_every_test_its_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("docs/durability.md")).unwrap();
    let named = tests_named_in(&table);
    let mut defined = tests_defined_below(&root.join("src"));
    defined.extend(tests_defined_below(&root.join("tests")));
    assert!(!named.is_empty());
    assert_eq!(named.difference(&defined).collect::<Vec<_>>(), [""; 0], "named, and not there");
    assert_eq!(defined.difference(&named).collect::<Vec<_>>(), [""; 0], "there, and not named");
    for row in table.lines().filter(|line| line.starts_with("| F")) {
        let id = row[2..5].to_lowercase();
        let own = tests_named_in(row);
        assert!(own.iter().all(|name| name.starts_with(&id)), "a row names its own tests: {row}");
    }
}

#[test]
fn names_are_told_from_other_words() {
    let found = tests_named_in("`f10_torn`, f1_x, F20, f20_a_sync; xf30_y, f40_");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["f10_torn", "f20_a_sync"]);
}
