//! Owns the proof that a page is whole: every tag is closed, every coordinate is on its chart, no
//! input becomes markup, and each part comes and goes with what was measured.
//!
//! Promises: reports are made by hand; nothing is run.

use serde_json::Value;

use super::super::super::top::report::{FindingReport, VerdictReport};
use super::super::report::{
    Arrivals, Counts, Cpu, Device, Disk, DurabilityMode, Interval, Knee, Mount, Phase, Point,
    Probe, Probes, Queue, Rate, Reopened, Stage, Sweep, VERSION, WhenFull, histogram,
};
use super::*;

const EVIL: &str = "\"'><script>alert(1)</script>&\u{1b}[31m";

fn times(samples: u64, nanos: u64) -> Distribution {
    let mut found = histogram();
    (1..=samples).for_each(|index| found.saturating_record(nanos * index));
    Distribution::of(&found)
}

fn verdict(cause: &str) -> VerdictReport {
    let finding = |cause: &str| FindingReport {
        cause: cause.to_owned(),
        line: format!("it was the {cause}"),
        evidence: vec![format!("a figure of the {cause}"), "another".to_owned()],
        advice: format!("another {cause}"),
    };
    VerdictReport { cause: cause.to_owned(), findings: vec![finding(cause), finding("queue")] }
}

fn loop_of(kind: Mode, rate: f64) -> Loop {
    let per_second = Rate { appends: rate, events: rate, payload_bytes: rate * 256.0 };
    let open = kind == Mode::Open;
    let interval = |t: u32| Interval {
        t_s: f64::from(t),
        seconds: 1.0,
        acked_events: 900,
        samples: if t == 2 { 0 } else { 900 },
        p50_ns: 100_000,
        p99_ns: 900_000,
        p999_ns: 2_000_000,
        max_ns: 5_000_000,
        flushes: 50,
        events_per_group: 18.0,
        queued: u64::from(t),
    };
    let stage = |name: &str, busy_percent| Stage {
        name: name.to_owned(),
        busy_percent,
        items: 100,
        errors: u64::from(busy_percent > 90.0),
    };
    let queue = |name: &str| Queue { name: name.to_owned(), peak: 77, ..Queue::default() };
    Loop {
        kind,
        phases: vec![Phase { name: "measure".to_owned(), start_s: 1.0, seconds: 60.0 }],
        planned: open.then_some(per_second),
        achieved: per_second,
        counts: Counts { planned: 10, acked: 9, unanswered: 1, reads: 4, ..Counts::default() },
        response: open.then(|| times(2_000, 1_000)),
        service: times(2_000, 800),
        visible: Some(times(2_000, 1_100)),
        lateness: open.then(|| times(2_000, 10)),
        read: Some(times(20, 5_000)),
        sync: Some(times(100, 9_000)),
        hiccup: Some(times(500, 100)),
        intervals: (0..5).map(interval).collect(),
        stages: vec![stage("writer", 97.0), stage("chaser", 20.0), stage("keeper", 1.0)],
        queues: vec![queue("appends"), queue("groups")],
        verdict: Some(verdict(if open { "clients" } else { "sync" })),
        disk: Disk { flushes_idle: 7, flushes_deadline: 2, flushes_size: 1, ..Disk::default() },
        device: Some(Device { name: "vda".to_owned(), flushes: Some(3), ..Device::default() }),
        cpu: Some(Cpu { process_ns_per_event: 9_000.0, log_ns_per_event: Some(2_000.0) }),
        reopened: Reopened { open_s: 0.01, checked_events_per_second: 1e6 },
        ledger: super::super::check::Verdict { ok: true, acked: 9, found: 9, ..<_>::default() },
        ..Loop::default()
    }
}

fn sweep() -> Sweep {
    let point = |percent: f64, valid| Point {
        percent_of_maximum: percent,
        planned_rate: percent * 10.0,
        achieved_rate: percent * 9.0,
        p50_ns: 100_000,
        p99_ns: 300_000,
        p999_ns: 900_000,
        max_ns: 2_000_000,
        valid,
    };
    let knee = Knee {
        point: 1,
        planned_rate: 900.0,
        p99_ns: 300_000,
        p999_ns: 900_000,
        beyond: Some("it falls behind".to_owned()),
    };
    let points = vec![point(50.0, false), point(90.0, true), point(110.0, true)];
    Sweep { closed_maximum: 1_000.0, points, knee: Some(knee) }
}

/// A report in which every part is present.
pub(in super::super) fn full() -> Report {
    let mut report = Report {
        version: VERSION,
        title: "a title".to_owned(),
        valid: true,
        notes: vec!["a note".to_owned()],
        sweep: Some(sweep()),
        ..Report::default()
    };
    report.loops.push(loop_of(Mode::Closed, 1_000.0));
    report.loops.extend([500.0, 900.0, 1_100.0].map(|rate| loop_of(Mode::Open, rate)));
    let identity = &mut report.identity;
    identity.commit = Some("c0ffee".to_owned());
    identity.optimised = true;
    identity.command = vec!["paperchase".to_owned(), "a b".to_owned()];
    identity.started = "2026-01-02T03:04:05Z".to_owned();
    identity.machine.cpu = Some("a processor".to_owned());
    identity.machine.kernel = Some("6.1".to_owned());
    identity.machine.memory_bytes = Some(1 << 30);
    identity.machine.mount = Some(Mount::default());
    report.settings.rate = Some(900.0);
    report.settings.arrivals = Some(Arrivals::Poisson);
    report.settings.when_full = Some(WhenFull::Shed);
    let probe = Probe { operations_per_second: 100.0, latency: times(50, 1_000), ..<_>::default() };
    report.probe = Some(Probes { before: probe.clone(), after: probe, ..Probes::default() });
    report
}

/// A report of one loop whose log lost events.
pub(in super::super) fn void() -> Report {
    let mut report = Report { sweep: None, valid: false, ..full() };
    report.loops.truncate(1);
    let driven = &mut report.loops[0];
    driven.ledger.ok = false;
    driven.ledger.lost = 4;
    driven.ledger.findings = vec!["lost: event 4".to_owned()];
    driven.void = vec!["the sender was late".to_owned()];
    report
}

/// Every tag is closed in its order, every coordinate is within its square, and nothing is fetched.
pub(in super::super) fn check(html: &str) {
    let body = &html[html.find("<body").expect("a body")..];
    let mut open: Vec<&str> = Vec::new();
    for tag in body.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag ends");
        let name = tag.split([' ', '\n']).next().expect("a tag has a name");
        if let Some(closed) = tag.strip_prefix('/') {
            let top = open.pop();
            assert!(top == Some(closed) || closed == "html", "{closed} closes {top:?}");
        } else if !tag.ends_with('/') && name != "br" {
            open.push(name);
        }
        for places in tag.split(" d=\"").skip(1) {
            let places = places.split('"').next().expect("an attribute");
            for place in places.split(|letter: char| !"0123456789.-NaInf".contains(letter)) {
                let place: f64 = if place.is_empty() { 0.0 } else { place.parse().expect(places) };
                assert!((0.0..=1000.0).contains(&place), "{places}");
            }
        }
        assert!(!tag.contains("NaN") && !tag.contains("inf%"), "{tag}");
    }
    assert!(open.is_empty(), "{open:?}");
    for fetched in ["<script", "<link", "<img", " src=", "href=", "url(", "@import"] {
        assert!(!html.contains(fetched), "{fetched}");
    }
}

/// Changes every value of a kind in a report.
fn change(value: &mut Value, with: &mut dyn FnMut(&mut Value)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| change(item, with)),
        Value::Object(fields) => fields.values_mut().for_each(|field| change(field, with)),
        value => with(value),
    }
}

const PARTS: [&str; 15] = [
    ">VALID<",
    "ledger ok",
    "durability: sync",
    "flush: max delay",
    "Sweep of rates",
    "At the knee: open loop, 900",
    "Latency by percentile",
    "Over time",
    "What held up the log <span class=\"pill\">clients</span></h3>",
    "Stages",
    "Flushes",
    "The bare disk",
    "All other loads",
    "Command",
    "What these figures cannot carry",
];

#[test]
fn a_full_report_has_every_part() {
    let html = render(&full());
    check(&html);
    for part in
        PARTS.into_iter().chain(["900 appends/s at p99.9&nbsp;&#8804;&nbsp;900&nbsp;\u{b5}s"])
    {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("VOID, because"));
}

#[test]
fn what_held_up_the_log_stands_at_each_load_and_each_rate() {
    let mut report = full();
    report.loops[3].verdict = Some(verdict("chaser"));
    report.loops[2].void = vec!["late".to_owned()];
    let html = render(&report);
    check(&html);
    assert_eq!(html.matches("What held up the log").count(), 4);
    let told = "<p><b>chaser</b>: it was the chaser<br>Try: another chaser</p>\n\
                <ul class=\"evidence\"><li>a figure of the chaser</li><li>another</li></ul>";
    assert!(html.contains(told));
    let cells = ["clients", "chaser"].map(|cause| format!("<td class=\"\">{cause}</td>"));
    assert_eq!(cells.map(|cell| html.matches(&cell).count()), [2, 1]);
    assert_eq!(html.matches("by a load that is VOID").count(), 1);
    report.loops.iter_mut().for_each(|driven| driven.verdict = None);
    let html = render(&report);
    check(&html);
    assert!(!html.contains("What held up the log"));
}

#[test]
fn what_was_not_measured_takes_no_room() {
    let empty = Report { valid: true, ..Report::default() };
    let html = render(&empty);
    check(&html);
    assert!(html.contains("Nothing was measured"));
    for part in &PARTS[4..13] {
        assert!(!html.contains(part), "{part}");
    }
    let mut bare = full();
    bare.loops[2] = Loop { kind: Mode::Open, ..Loop::default() };
    let html = render(&bare);
    check(&html);
    assert!(html.contains("No latencies"));
    let mut report = full();
    report.sweep = Some(Sweep::default());
    report.probe = None;
    let html = render(&report);
    check(&html);
    assert!(html.contains("No knee") && !html.contains("The bare disk"));
}

#[test]
fn a_closed_loop_is_told_by_its_service() {
    let mut report = Report { sweep: None, ..full() };
    report.loops.truncate(1);
    let html = render(&report);
    assert!(html.contains("1,000 events/s at p99.9 of the service"));
    assert!(!html.contains("response p99") && !html.contains("All other loads"));
    report.interrupted = true;
    report.identity.durability = DurabilityMode::Os;
    let html = render(&report);
    assert!(html.contains(">interrupted<") && html.contains("NOT durable"));
}

#[test]
fn a_void_run_says_so_first() {
    let html = render(&void());
    check(&html);
    let place = |what: &str| html.find(what).unwrap_or_else(|| panic!("no {what}"));
    assert!(place("VOID: do not quote") < place("class=\"tiles\""));
    assert!(place("the sender was late") < place("class=\"tiles\""));
    for part in [">VOID<", "ledger NOT OK", "4 lost", "lost: event 4"] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains(">VALID<"));
}

#[test]
fn no_input_becomes_markup() {
    for report in [full(), void()] {
        let mut value = serde_json::to_value(&report).unwrap();
        let mut changed = 0;
        change(&mut value, &mut |leaf| {
            let kept = ["closed", "open", "sweep", "sync", "os", "poisson", "shed"];
            if leaf.as_str().is_some_and(|text| !kept.contains(&text)) {
                *leaf = Value::from(EVIL);
                changed += 1;
            }
        });
        assert!(changed > 20, "{changed}");
        let html = render(&serde_json::from_value(value).unwrap());
        check(&html);
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        assert!(!html.contains('\u{1b}'));
    }
}

#[test]
fn any_numbers_can_be_drawn() {
    for (whole, part) in [(u64::MAX, 1e308), (0, 0.0), (1, -1e308), (1 << 53, 1e-300)] {
        let mut value = serde_json::to_value(full()).unwrap();
        change(&mut value["loops"], &mut |leaf| {
            if leaf.is_u64() {
                *leaf = whole.into();
            } else if leaf.is_f64() {
                *leaf = part.into();
            }
        });
        for name in ["sweep", "probe"] {
            let numbers = |leaf: &mut Value| {
                if leaf.is_f64() {
                    *leaf = part.into();
                }
            };
            change(&mut value[name], &mut { numbers });
        }
        check(&render(&serde_json::from_value(value).unwrap()));
    }
    let mut report = full();
    report.loops[2].achieved.events = f64::NAN;
    report.loops[2].planned = Some(Rate { events: f64::INFINITY, ..Rate::default() });
    report.loops[2].intervals[0].seconds = f64::NAN;
    report.loops[2].stages[0].busy_percent = f64::NAN;
    check(&render(&report));
}

#[test]
fn few_samples_can_be_drawn() {
    for samples in 0..4 {
        let mut report = full();
        report.loops[2].response = Some(times(samples, 1_000));
        report.loops[2].service = times(samples, 1_000);
        report.loops[2].intervals.truncate(usize::try_from(samples).unwrap());
        let html = render(&report);
        check(&html);
        assert!(html.contains("samples") && html.contains("Latency by percentile"));
    }
}
