//! Tests of the metrics: every number of a snapshot is one, each text is valid, and the list of
//! docs/insight.md is the table.

#[cfg(feature = "metrics")]
mod published;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Kind;
use super::table::METRICS;
use crate::stage::fields;
use crate::stage::histogram::{CountHistogram, Recorder};
use crate::stage::stats::{DiskWork, Stats};

/// A second of a log whose syncs take 8 ms.
pub(super) fn stats() -> Stats {
    let recorder = |record: &dyn Fn(&Recorder)| {
        let recorder = Recorder::default();
        record(&recorder);
        recorder.snapshot()
    };
    let mut stats = Stats { uptime: Duration::from_millis(1500), ..Stats::default() };
    stats.disk.syncs = recorder(&|times| times.record_many(Duration::from_millis(8), 100));
    stats.disk.events_per_flush = CountHistogram(recorder(&|counts| {
        [1, 2, 3, 30_000].into_iter().for_each(|count| counts.record_count(count));
    }));
    (stats.disk.events, stats.disk.flushes, stats.disk.flushes_idle) = (30_006, 4, 4);
    stats.disk.ongoing = Some((DiskWork::Sync, Duration::from_millis(250)));
    stats.keeper.busy = Duration::from_millis(125);
    stats
}

/// A snapshot in which every number is something.
fn full() -> Stats {
    let (count, _) = fields::layout_id();
    fields::decode(&(0..count as u64).map(|number| 1 + number % 97).collect::<Vec<_>>())
}

/// A line of samples: its name, its labels and its value.
type Sample = (String, BTreeMap<String, String>, f64);

/// Reads a line by the grammar of the format.
fn sample(line: &str) -> Option<Sample> {
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    let mut is_open = rest.starts_with('{');
    while is_open {
        let (label, value) = rest[1..].split_once("=\"")?;
        let mut text = String::new();
        let mut letters = value.char_indices();
        let end = loop {
            match letters.next()? {
                (at, '"') => break at,
                (_, '\\') => text.push(match letters.next()?.1 {
                    'n' => '\n',
                    kept @ ('\\' | '"') => kept,
                    _ => return None,
                }),
                (_, letter) => text.push(letter),
            }
        };
        let is_new = labels.insert(label.to_owned(), text).is_none();
        rest = &value[end + 1..];
        is_open = rest.starts_with(',');
        if !is_name(label) || !is_new || !(is_open || rest.starts_with("} ")) {
            return None;
        }
    }
    let value = rest.trim_start_matches('}').strip_prefix(' ')?;
    let number = value.parse().ok().filter(|number: &f64| number.is_finite())?;
    is_name(name).then(|| (name.to_owned(), labels, number))
}

/// The samples of a text, once all of it is valid: families behind their heads, each once, no
/// sample twice.
fn samples(text: &str) -> Vec<Sample> {
    let (mut families, mut seen, mut found) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    let (mut family, mut kind) = ("", "");
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split_once(' ').expect("a help says something").0;
            assert!(families.insert(family), "{family} twice");
            let head = format!("# TYPE {family} ");
            kind = lines.next().and_then(|line| line.strip_prefix(&head)).expect("a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{kind}");
            continue;
        }
        let (name, labels, value) = sample(line).unwrap_or_else(|| panic!("not valid: {line}"));
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{name} in {family}"));
        let suffixes = if kind == "histogram" { &["_bucket", "_sum", "_count"][..] } else { &[""] };
        assert!(suffixes.contains(&suffix), "{line}");
        assert_eq!(labels.contains_key("le"), suffix == "_bucket", "{line}");
        assert!(seen.insert(format!("{name}{labels:?}")), "twice: {line}");
        found.push((name, labels, value));
    }
    assert!(text.ends_with('\n') && families.len() == METRICS.len());
    found
}

/// The buckets, the sum and the count of each histogram, by its name and labels.
fn check_histograms(samples: &[Sample]) {
    let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for (name, labels, value) in samples {
        if let Some(name) = name.strip_suffix("_bucket") {
            let mut labels = labels.clone();
            let bound = labels.remove("le").unwrap().parse().unwrap();
            buckets.entry(format!("{name}{labels:?}")).or_default().push((bound, *value));
        }
    }
    for (key, buckets) in &buckets {
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{key}: {buckets:?}");
        let (bound, all) = buckets[buckets.len() - 1];
        let told = samples.iter().find(|(name, labels, _)| {
            name.strip_suffix("_count").is_some_and(|name| format!("{name}{labels:?}") == *key)
        });
        assert_eq!((bound, all), (f64::INFINITY, told.expect("a count").2), "{key}");
    }
    let sums = samples.iter().filter(|(name, ..)| name.ends_with("_sum")).count();
    assert!(!buckets.is_empty() && buckets.len() == sums);
}

#[test]
fn a_text_is_valid_whatever_the_log_is_called() {
    let name = "a \"b\" \\c\nd,e}= ";
    for logs in [vec![("", &stats())], vec![(name, &full()), ("other", &stats())]] {
        let text = Stats::prometheus_of(logs.iter().copied());
        let samples = samples(&text);
        check_histograms(&samples);
        for (log, _) in logs {
            let named = samples.iter().filter(|(_, labels, _)| match labels.get("log") {
                Some(found) => found == log,
                None => log.is_empty(),
            });
            assert!(named.count() > METRICS.len(), "{log}");
        }
    }
}

#[test]
fn values_are_in_base_units() {
    let text = stats().prometheus("shop");
    for line in [
        "paperchase_uptime_seconds{log=\"shop\"} 1.5",
        "paperchase_failed{log=\"shop\"} 0",
        "paperchase_disk_events_total{log=\"shop\"} 30006",
        "paperchase_disk_flushes_total{log=\"shop\",reason=\"idle\"} 4",
        "paperchase_disk_ongoing_seconds{log=\"shop\",work=\"sync\"} 0.25",
        "paperchase_disk_ongoing_seconds{log=\"shop\",work=\"write\"} 0",
        "paperchase_stage_busy_seconds_total{log=\"shop\",stage=\"keeper\"} 0.125",
        "paperchase_disk_sync_seconds_bucket{log=\"shop\",le=\"0.000005\"} 0",
        "paperchase_disk_sync_seconds_bucket{log=\"shop\",le=\"0.005\"} 0",
        "paperchase_disk_sync_seconds_bucket{log=\"shop\",le=\"0.01\"} 100",
        "paperchase_disk_sync_seconds_sum{log=\"shop\"} 0.8",
        "paperchase_disk_flush_events_bucket{log=\"shop\",le=\"1\"} 1",
        "paperchase_disk_flush_events_bucket{log=\"shop\",le=\"2\"} 2",
        "paperchase_disk_flush_events_bucket{log=\"shop\",le=\"10000\"} 3",
        "paperchase_disk_flush_events_bucket{log=\"shop\",le=\"+Inf\"} 4",
        "paperchase_disk_flush_events_sum{log=\"shop\"} 30006",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

/// What is for people, or follows from other numbers: the place of the last damage, which
/// `paperchase verify` tells, and the sum of the flushes by reason.
const NOT_TOLD: [&str; 3] = ["scrub.damaged_chunk", "scrub.damaged_offset", "disk.flushes"];

#[test]
fn every_number_of_a_snapshot_is_told() {
    let text = |words: &[u64]| fields::decode(words).prometheus("");
    // The writer waits for a sync, and has for some time.
    let number = |name: &str| match name {
        "disk.ongoing_work" => 2,
        name => u64::from(name == "disk.ongoing_time"),
    };
    let list = fields::layout();
    let mut words = Vec::new();
    for (name, length) in &list {
        words.extend(std::iter::repeat_n(number(name), *length));
    }
    let (before, mut at, mut silent) = (text(&words), 0, Vec::new());
    for (name, length) in &list {
        let mut words = words.clone();
        words[at] = if name == "disk.ongoing_work" { 3 } else { 1 << 40 };
        if text(&words) == before {
            silent.push(name.as_str());
        }
        at += length;
    }
    assert_eq!(silent, NOT_TOLD);
}

#[test]
fn names_are_by_convention() {
    let mut names = BTreeSet::new();
    for metric in METRICS {
        let (name, help) = (metric.name, metric.help);
        assert!(names.insert(name), "{name} twice");
        assert!(name.starts_with("paperchase_"), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
        assert!(!["_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end)), "{name}");
        let is_plain = !help.is_empty() && !help.ends_with('.') && !help.contains(['\\', '\n']);
        assert!(is_plain, "{help}");
        let samples = (metric.read)(&Stats::default()).len();
        assert_eq!(samples == 1, metric.label.is_empty(), "{name}");
    }
}

/// The table of docs/insight.md is the list; `docs/insight.md` is to be changed with it.
#[test]
fn the_document_has_the_list() {
    let document = include_str!("../../../docs/insight.md");
    let rows = METRICS.iter().map(|metric| {
        let stats = Stats::default();
        let values = (metric.read)(&stats).into_iter().map(|(value, _)| format!("`{value}`"));
        let label = match metric.label {
            "" => String::new(),
            label => format!("`{label}`: {}", values.collect::<Vec<_>>().join(", ")),
        };
        format!("| `{}` | {} | {label} | {} |", metric.name, metric.kind.name(), metric.help)
    });
    let rows: Vec<_> = rows.collect();
    let found: Vec<_> =
        document.lines().filter(|line| line.starts_with("| `paperchase_")).collect();
    assert_eq!(found, rows, "docs/insight.md should have\n{}", rows.join("\n"));
}
