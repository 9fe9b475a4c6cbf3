//! Owns the proof that a comparison decides rightly: what is better, what is no difference, what is
//! left out, and what makes it unfair.
//!
//! Promises: reports are made by hand; nothing is run.

use super::super::super::top::report::VerdictReport;
use super::super::html::render_comparison;
use super::super::html::tests::{check, full, void};
use super::super::report::{DurabilityMode, histogram};
use super::*;

fn side(reports: impl IntoIterator<Item = Report>) -> Side {
    let mut side = Side::default();
    for (index, report) in reports.into_iter().enumerate() {
        side.add(&format!("{index}.json"), report);
    }
    side
}

/// A run with this throughput and all services of this time.
fn run(events: f64, nanos: u64) -> Report {
    let mut report = Report { sweep: None, ..full() };
    report.loops.truncate(1);
    let mut times = histogram();
    times.record_n(nanos, 2_000).unwrap();
    report.loops[0].achieved.events = events;
    report.loops[0].service = Distribution::of(&times);
    report
}

fn find<'a>(comparison: &'a Comparison, name: &str) -> Option<&'a Row> {
    comparison.groups.iter().flat_map(|group| &group.rows).find(|row| row.name == name)
}

fn verdict(comparison: &Comparison, name: &str) -> Option<Verdict> {
    find(comparison, name).unwrap_or_else(|| panic!("no {name}")).verdict
}

#[test]
fn a_run_is_like_itself() {
    let found = Comparison::of(side([full()]), side([full()]));
    assert_eq!(found.differences, []);
    assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
    assert!(found.warnings[0].contains("fewer than 3 runs"));
    assert_eq!(found.groups.len(), 5, "four loads and the knee");
    for row in found.groups.iter().flat_map(|group| &group.rows) {
        assert!(row.verdict.is_none(), "{row:?}");
        assert!(row.ratio.is_none_or(|ratio| (ratio.min, ratio.max) == (1.0, 1.0)), "{row:?}");
    }
}

#[test]
fn ranges_that_are_apart_are_better_or_worse() {
    let a = || side([(100.0, 50_000), (110.0, 60_000), (120.0, 70_000)].map(|(e, t)| run(e, t)));
    let b = side([(121.0, 10_000), (190.0, 20_000), (240.0, 49_000)].map(|(e, t)| run(e, t)));
    let found = Comparison::of(a(), b);
    assert_eq!(verdict(&found, "acked events/s"), Some(Verdict::Better));
    assert_eq!(verdict(&found, "service p99"), Some(Verdict::Better));
    let row = find(&found, "acked events/s").unwrap();
    assert_eq!((row.a, row.b.max), (Range { min: 100.0, max: 120.0 }, 240.0));
    let ratio = row.ratio.unwrap();
    assert!((ratio.min - 121.0 / 120.0).abs() < 1e-9 && (ratio.max - 2.4).abs() < 1e-9);
    let worse = side([(10.0, 80_000), (20.0, 90_000), (90.0, 99_000)].map(|(e, t)| run(e, t)));
    let found = Comparison::of(a(), worse);
    assert_eq!(verdict(&found, "acked events/s"), Some(Verdict::Worse));
    assert_eq!(verdict(&found, "service p99"), Some(Verdict::Worse));
    let overlap = side([(90.0, 1_000), (100.0, 50_000), (130.0, 2_000)].map(|(e, t)| run(e, t)));
    let found = Comparison::of(a(), overlap);
    assert_eq!(verdict(&found, "acked events/s"), Some(Verdict::Same));
    assert_eq!(verdict(&found, "service p99"), Some(Verdict::Same));
}

#[test]
fn what_not_every_run_can_carry_is_left_out() {
    let found = Comparison::of(side([run(1.0, 1_000)]), side([run(1.0, 1_000)]));
    let names = ["service p99", "service p99.9", "service p99.999", "service max", "read p99"];
    let told = names.map(|name| find(&found, name).is_some());
    assert_eq!(told, [true, false, false, true, false], "of 2,000 samples, and of 20");
    let mut without = run(1.0, 1_000);
    without.loops[0].sync = None;
    without.loops[0].achieved.events = f64::NAN;
    let found = Comparison::of(side([run(0.0, 1_000)]), side([run(1.0, 1_000), without]));
    assert!(find(&found, "sync p50").is_none() && find(&found, "acked events/s").is_none());
    let found = Comparison::of(side([run(0.0, 1_000)]), side([run(1.0, 1_000)]));
    assert_eq!(find(&found, "acked events/s").unwrap().ratio, None, "nothing over 0");
}

#[test]
fn causes_that_differ_are_told() {
    let with = |cause: Option<&str>| {
        let mut report = run(1.0, 1_000);
        let verdict = report.loops[0].verdict.take().unwrap();
        report.loops[0].verdict =
            cause.map(|cause| VerdictReport { cause: cause.to_owned(), ..verdict });
        report
    };
    let found = |a: &[Option<&str>], b: &[Option<&str>]| {
        let [a, b] = [a, b].map(|causes| side(causes.iter().map(|cause| with(*cause))));
        Comparison::of(a, b)
    };
    let told = |a: &[_], b: &[_]| found(a, b).groups.remove(0).held_up_by;
    let (sync, idle) = (Some("sync"), Some("idle"));
    assert_eq!(told(&[sync], &[idle]), Some(["sync", "idle"].map(str::to_owned)));
    let several = Some(["sync", "idle | sync"].map(str::to_owned));
    assert_eq!(told(&[sync, sync], &[sync, idle]), several);
    assert!(told(&[sync, idle], &[idle, sync]).is_some());
    assert_eq!(told(&[sync, sync], &[sync]), None);
    assert_eq!(told(&[sync], &[None]), None, "a run of an earlier version tells none");
    let page = found(&[sync], &[Some("<b>")]);
    assert!(text(&page).contains("\nheld up by                                      sync "));
    let page = render_comparison(&page);
    check(&page);
    assert!(page.contains("<th scope=\"row\">held up by</th><td class=\"\">sync</td>"));
}

type Change = fn(&mut Report);

#[test]
fn what_makes_it_unfair_is_told() {
    let changes: [(&str, Change); 9] = [
        ("the durabilities differ", |run| run.identity.durability = DurabilityMode::Os),
        ("the settings differ: settings.clients", |run| run.settings.clients = 77),
        ("the machines differ: machine.kernel", |run| run.identity.machine.kernel = None),
        ("the seeds differ", |run| run.identity.seed = 77),
        ("the versions differ", |run| run.identity.commit = None),
        ("without optimisation", |run| run.identity.optimised = false),
        ("void runs", |run| run.valid = false),
        ("void loads", |run| run.loops[1].void.push("late".to_owned())),
        ("the numbers of loads differ", |run| run.loops.clear()),
    ];
    for (told, change) in changes {
        let mut other = full();
        change(&mut other);
        for (a, b) in [(full(), other.clone()), (other, full())] {
            let found = Comparison::of(side([a]), side([b]));
            assert!(found.warnings.iter().any(|it| it.contains(told)), "{told}: {found:?}");
        }
    }
    let mut other = full();
    other.identity.machine.directory = "elsewhere".to_owned();
    other.identity.started = "later".to_owned();
    other.identity.command.clear();
    assert_eq!(Comparison::of(side([full()]), side([other])).differences, []);
}

#[test]
fn runs_of_one_side_that_differ_are_told_too() {
    let mut other = full();
    other.identity.seed = 2;
    let runs = || side([full(), other.clone()]);
    let found = Comparison::of(runs(), runs());
    let seed = Difference { what: "seed".to_owned(), a: "0 | 2".to_owned(), b: "0 | 2".to_owned() };
    assert_eq!(found.differences, [seed]);
}

#[test]
fn turns_are_asked_for() {
    let at = |started: &str| {
        let mut report = full();
        report.identity.started = started.to_owned();
        report
    };
    let warned = |a: [&str; 2], b: [&str; 2]| {
        let found = Comparison::of(side(a.map(at)), side(b.map(at)));
        found.warnings.iter().any(|it| it.contains("in turns"))
    };
    assert!(warned(["1", "2"], ["3", "4"]) && warned(["3", "4"], ["1", "2"]));
    assert!(!warned(["1", "3"], ["2", "4"]) && !warned(["1", "4"], ["2", "3"]));
}

#[test]
fn it_is_told_to_people_and_programs() {
    let evil = "<script>";
    let mut named = side([void()]);
    named.files[0] = evil.to_owned();
    named.reports[0].identity.commit = Some(evil.to_owned());
    let found = Comparison::of(side([full()]), named);
    let page = render_comparison(&found);
    check(&page);
    assert!(page.contains("&lt;script&gt;"));
    let told = text(&found);
    assert!(told.contains("warning: the versions differ") && told.contains("service p99"));
    assert!(told.lines().all(|line| !line.ends_with(' ')), "{told}");
    let value = serde_json::to_value(&found).unwrap();
    assert_eq!(value["groups"][0]["rows"][0]["name"], "acked appends/s");
    assert_eq!(value["b"]["files"][0], evil);
    check(&render_comparison(&Comparison::of(side([]), side([]))));
}
