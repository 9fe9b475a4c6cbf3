//! Owns how runs are held against each other: which figures, in which ranges, and what makes the
//! comparison unfair.
//!
//! Promises: all runs count, from the least to the most, never the best. A percentile that fewer
//! than ten samples lie beyond in any run is left out. Ranges that overlap are no difference. What
//! differs in settings, machine, version or seed is told before any figure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::super::show::count;
use super::report::{Distribution, Loop, Mode, Report};

mod text;
pub(super) use text::{range, ratio, render as text};

#[cfg(test)]
mod tests;

/// The version of the layout of the JSON.
const VERSION: u32 = 1;
/// Samples that must lie beyond a percentile.
const BEYOND_MIN: u64 = 10;
/// Runs of a side from which on ranges say something.
const RUNS_MIN: usize = 3;
/// What differs from run to run without a meaning.
const IGNORED: [&str; 4] = ["command", "started", "machine.directory", "settings.hlog"];

/// The runs of one side.
#[derive(Debug, Default, Serialize)]
pub(super) struct Side {
    pub(super) files: Vec<String>,
    #[serde(skip)]
    pub(super) reports: Vec<Report>,
}

impl Side {
    pub(super) fn add(&mut self, file: &str, report: Report) {
        self.files.push(file.to_owned());
        self.reports.push(report);
    }
}

/// B held against A.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    version: u32,
    pub(super) a: Side,
    pub(super) b: Side,
    /// What makes the comparison unfair or weak.
    pub(super) warnings: Vec<String>,
    pub(super) differences: Vec<Difference>,
    pub(super) groups: Vec<Group>,
}

/// What the sides do not have in common; of several runs all values.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    pub(super) what: String,
    pub(super) a: String,
    pub(super) b: String,
}

/// The figures of one load.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    pub(super) name: String,
    /// What held up the log, of A and of B, where all runs tell it and not all tell the same.
    pub(super) held_up_by: Option<[String; 2]>,
    pub(super) rows: Vec<Row>,
}

/// One figure of both sides.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) unit: Unit,
    pub(super) a: Range,
    pub(super) b: Range,
    /// B over A, of all pairs of runs; absent where A has a 0.
    pub(super) ratio: Option<Range>,
    /// How B is, where both sides have runs enough to tell.
    pub(super) verdict: Option<Verdict>,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    /// More is better.
    PerSecond,
    /// Less is better.
    Ns,
    /// Less is better.
    Ratio,
}

/// The least and the most of several runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Range {
    pub(super) min: f64,
    pub(super) max: f64,
}

/// How B is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Better,
    Worse,
    /// The ranges overlap.
    Same,
}

impl Comparison {
    /// Compares two sides of at least one run each.
    pub(super) fn of(a: Side, b: Side) -> Self {
        let differences = differences(&a, &b);
        let warnings = warnings(&a, &b, &differences);
        let sides = [&a, &b];
        let loops = sides.map(|side| side.reports.iter().map(|run| run.loops.len()).min());
        let loops = loops.into_iter().flatten().min().unwrap_or(0);
        let mut groups: Vec<_> = (0..loops).map(|index| group(sides, index)).collect();
        groups.extend(knee(sides));
        Self { version: VERSION, a, b, warnings, differences, groups }
    }
}

/// The figures of one loop that all runs have.
fn group(sides: [&Side; 2], index: usize) -> Group {
    let mut rows = Vec::new();
    let mut add = |name: &str, unit, value: &dyn Fn(&Loop) -> Option<f64>| {
        rows.extend(row(sides, name, unit, &|run| value(run.loops.get(index)?)));
    };
    let per_second = Unit::PerSecond;
    add("planned appends/s", per_second, &|driven| Some(driven.planned?.appends));
    add("acked appends/s", per_second, &|driven| Some(driven.achieved.appends));
    add("acked events/s", per_second, &|driven| Some(driven.achieved.events));
    for (name, times) in TIMES {
        for percentile in super::report::NAMED {
            let title = match percentile {
                100.0 => format!("{name} max"),
                _ => format!("{name} p{percentile}"),
            };
            add(&title, Unit::Ns, &|driven| at(times(driven)?, percentile));
        }
    }
    add("processor time per event", Unit::Ns, &|driven| Some(driven.cpu?.process_ns_per_event));
    add("bytes per payload byte", Unit::Ratio, &|driven| Some(driven.disk.write_amplification));
    // What was planned is no merit.
    for row in rows.iter_mut().filter(|row| row.name.starts_with("planned")) {
        row.verdict = None;
    }
    let first = sides[0].reports.first().and_then(|run| run.loops.get(index));
    let name = match first {
        Some(driven) if driven.kind == Mode::Open => {
            let planned = driven.planned.map_or(0.0, |planned| planned.appends);
            format!("open loop, {} appends/s planned", count(planned.round() as u64))
        }
        _ => "closed loop".to_owned(),
    };
    let driven = sides.into_iter().flat_map(|side| &side.reports);
    let void = driven
        .filter_map(|run| run.loops.get(index))
        .filter(|driven| !driven.void.is_empty() || !driven.ledger.ok)
        .count();
    let name = match void {
        0 => name,
        _ => format!("{name} (VOID in {void} runs)"),
    };
    Group { name, held_up_by: causes(sides, index), rows }
}

/// What held up the log in one loop; of several runs all of it.
fn causes(sides: [&Side; 2], index: usize) -> Option<[String; 2]> {
    let [a, b] = sides.map(|side| {
        let causes = side.reports.iter().map(|run| run.loops.get(index).map_or("", Loop::cause));
        causes.collect::<BTreeSet<_>>()
    });
    let told = !a.contains("") && !b.contains("");
    let same = a == b && a.len() == 1;
    let all = |causes: BTreeSet<&str>| causes.into_iter().collect::<Vec<_>>().join(" | ");
    (told && !same).then(|| [all(a), all(b)])
}

type Times = fn(&Loop) -> Option<&Distribution>;

const TIMES: [(&str, Times); 6] = [
    ("response", |driven| driven.response.as_ref()),
    ("service", |driven| Some(&driven.service)),
    ("visible", |driven| driven.visible.as_ref()),
    ("read", |driven| driven.read.as_ref()),
    ("sync", |driven| driven.sync.as_ref()),
    ("hiccup", |driven| driven.hiccup.as_ref()),
];

/// The value at a percentile that enough samples lie beyond, and the largest.
fn at(times: &Distribution, percentile: f64) -> Option<f64> {
    let rung = times.named.iter().find(|rung| rung.percentile == percentile)?;
    let beyond = times.samples as f64 * (1.0 - percentile / 100.0);
    let told = percentile >= 100.0 || beyond.round() as u64 >= BEYOND_MIN;
    told.then_some(rung.value_ns as f64)
}

fn knee(sides: [&Side; 2]) -> Option<Group> {
    let knee = |run: &Report| run.sweep.as_ref()?.knee.clone();
    let rows: Vec<_> = [
        row(sides, "appends/s", Unit::PerSecond, &|run| Some(knee(run)?.planned_rate)),
        row(sides, "response p99", Unit::Ns, &|run| Some(knee(run)?.p99_ns as f64)),
        row(sides, "response p99.9", Unit::Ns, &|run| Some(knee(run)?.p999_ns as f64)),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!rows.is_empty()).then(|| Group {
        name: "knee of the sweep".to_owned(),
        held_up_by: None,
        rows,
    })
}

/// One figure, where every run has it.
fn row(
    sides: [&Side; 2],
    name: &str,
    unit: Unit,
    value: &dyn Fn(&Report) -> Option<f64>,
) -> Option<Row> {
    let range = |side: &Side| {
        let values: Option<Vec<_>> =
            side.reports.iter().map(|run| value(run).filter(|value| value.is_finite())).collect();
        let values = values?;
        let min = values.iter().copied().reduce(f64::min)?;
        let max = values.iter().copied().reduce(f64::max)?;
        Some(Range { min, max })
    };
    let (a, b) = (range(sides[0])?, range(sides[1])?);
    let ratio = (a.min > 0.0).then(|| Range { min: b.min / a.max, max: b.max / a.min });
    let enough = sides.iter().all(|side| side.reports.len() >= RUNS_MIN);
    let more_is_better = unit == Unit::PerSecond;
    let verdict = enough.then_some(match (b.min > a.max, b.max < a.min) {
        (false, false) => Verdict::Same,
        (more, _) if more == more_is_better => Verdict::Better,
        _ => Verdict::Worse,
    });
    Some(Row { name: name.to_owned(), unit, a, b, ratio, verdict })
}

/// What the runs hang on, by name.
fn hangs_on(run: &Report) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let identity = serde_json::to_value(&run.identity).unwrap_or_default();
    flatten("", &identity, &mut found);
    let settings = serde_json::to_value(&run.settings).unwrap_or_default();
    flatten("settings", &settings, &mut found);
    found.insert("loops".to_owned(), run.loops.len().to_string());
    found.retain(|name, _| !IGNORED.iter().any(|ignored| name.starts_with(ignored)));
    found
}

fn flatten(name: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let dot = if name.is_empty() { "" } else { "." };
                flatten(&format!("{name}{dot}{field}"), value, found);
            }
        }
        Value::Null => {}
        Value::String(text) => drop(found.insert(name.to_owned(), text.clone())),
        other => drop(found.insert(name.to_owned(), other.to_string())),
    }
}

fn differences(a: &Side, b: &Side) -> Vec<Difference> {
    let all = [a, b].map(|side| side.reports.iter().map(hangs_on).collect::<Vec<_>>());
    let mut names: Vec<_> = all.iter().flatten().flat_map(BTreeMap::keys).collect();
    names.sort();
    names.dedup();
    let values = |side: &[BTreeMap<String, String>], name: &str| {
        let mut values: Vec<_> =
            side.iter().map(|run| run.get(name).map_or("-", String::as_str)).collect();
        values.sort_unstable();
        values.dedup();
        values.join(" | ")
    };
    let of = |name: &&String| {
        let [a, b] = [&all[0], &all[1]].map(|side| values(side, name));
        let same = a == b && !a.contains(" | ");
        (!same).then(|| Difference { what: (*name).clone(), a, b })
    };
    names.iter().filter_map(of).collect()
}

fn warnings(a: &Side, b: &Side, differences: &[Difference]) -> Vec<String> {
    let differs = |start: &str| {
        let names = differences.iter().map(|difference| difference.what.as_str());
        let names: Vec<_> = names.filter(|name| name.starts_with(start)).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let runs = || a.reports.iter().chain(&b.reports);
    let few = [a, b].iter().any(|side| side.reports.len() < RUNS_MIN);
    let told = [
        differs("durability").map(|_| {
            "the durabilities differ: these figures must not stand beside each other".to_owned()
        }),
        runs().any(|run| !run.valid).then(|| "void runs are among them: do not quote".to_owned()),
        runs()
            .any(|run| run.valid && run.loops.iter().any(|driven| !driven.void.is_empty()))
            .then(|| "void loads are among them: do not quote those".to_owned()),
        differs("settings").map(|names| format!("the settings differ: {names}")),
        differs("loops").map(|_| "the numbers of loads differ: the first are compared".to_owned()),
        differs("machine").map(|names| format!("the machines differ: {names}")),
        differs("seed").map(|_| "the seeds differ: not the same plan".to_owned()),
        differs("paperchase")
            .or(differs("commit"))
            .map(|_| "the versions differ: right if they are what is compared".to_owned()),
        differs("optimised").map(|_| "some were built without optimisation".to_owned()),
        few.then(|| format!("fewer than {RUNS_MIN} runs of a side: what differs may be noise")),
        not_in_turns(a, b).then(|| "the runs were not taken in turns (A B A B)".to_owned()),
    ];
    told.into_iter().flatten().collect()
}

/// Whether all runs of one side were before all of the other.
fn not_in_turns(a: &Side, b: &Side) -> bool {
    let ends = [a, b].map(|side| {
        let started = || side.reports.iter().map(|run| &run.identity.started);
        started().min().zip(started().max())
    });
    let several = a.reports.len() > 1 && b.reports.len() > 1;
    match ends {
        [Some(a), Some(b)] if several => a.1 < b.0 || b.1 < a.0,
        _ => false,
    }
}
