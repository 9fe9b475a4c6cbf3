//! Owns what a reader sees first: the verdict, one sentence that can be quoted, what it hangs on,
//! and the figures that matter.
//!
//! Promises: a throughput stands with its latency; what is void is red, and says why before any
//! figure.

use std::fmt::Write;

use super::super::super::show::count;
use super::super::report::{DurabilityMode, Loop, Mode, Report};
use super::main_times;
use super::markup::{digits, plain_time, text, tile, time};

/// The head of a page.
pub(super) fn render(report: &Report, shown: Option<&Loop>) -> String {
    let mut html = format!("{}<h1>{}</h1>\n", pills(report), headline(report, shown));
    let _ = writeln!(html, "<p class=\"soft\">{}</p>", text(&report.title));
    html.push_str(&reasons(report));
    if let Some(driven) = shown {
        html.push_str(&tiles(driven, report));
    }
    if !report.notes.is_empty() {
        html.push_str("<div class=\"box care\"><b>What these figures cannot carry</b><ul>");
        for note in &report.notes {
            let _ = write!(html, "<li>{}</li>", text(note));
        }
        html.push_str("</ul></div>\n");
    }
    html
}

fn pills(report: &Report) -> String {
    let (identity, settings) = (&report.identity, &report.settings);
    let broken = report.loops.iter().any(|driven| !driven.ledger.ok);
    let acked = report.loops.iter().map(|driven| driven.ledger.acked);
    let acked = acked.fold(0, u64::saturating_add);
    let durability = match identity.durability {
        DurabilityMode::Sync => ("good", "durability: sync".to_owned()),
        DurabilityMode::Os => {
            ("care", "durability: OS, NOT durable against power failure".to_owned())
        }
    };
    let delay = plain_time(settings.max_delay_ns as f64);
    let spin = plain_time(settings.spin_ns as f64);
    let flush = format!("flush: max delay {delay}, spin {spin}");
    let mode = match settings.mode {
        Mode::Closed => "closed loop",
        Mode::Open => "open loop",
        Mode::Sweep => "sweep of rates",
    };
    let void = report.loops.iter().filter(|driven| !driven.void.is_empty()).count();
    let part = match report.valid && void > 0 {
        true => format!("{void} of {} loads void", report.loops.len()),
        false => String::new(),
    };
    let told = [
        if report.valid { ("good", "VALID".to_owned()) } else { ("bad", "VOID".to_owned()) },
        match broken {
            false => ("good", format!("ledger ok: all {} acked events found", count(acked))),
            true => ("bad", "ledger NOT OK".to_owned()),
        },
        durability,
        ("", flush),
        ("", mode.to_owned()),
        ("care", part),
        ("care", if report.interrupted { "interrupted".to_owned() } else { String::new() }),
        ("care", if identity.optimised { String::new() } else { "not optimised".to_owned() }),
    ];
    let mut html = "<div>".to_owned();
    for (class, what) in told.into_iter().filter(|(_, what)| !what.is_empty()) {
        let _ = write!(html, "<span class=\"pill {class}\">{what}</span>");
    }
    html + "</div>\n"
}

/// One sentence: how much, at which latency.
fn headline(report: &Report, shown: Option<&Loop>) -> String {
    if !report.valid {
        return "VOID: do not quote these figures".to_owned();
    }
    let knee = report.sweep.as_ref().and_then(|sweep| sweep.knee.as_ref());
    if let Some(knee) = knee {
        let (rate, tail) = (digits(knee.planned_rate), time(knee.p999_ns));
        return format!("{rate} appends/s at p99.9&nbsp;&#8804;&nbsp;{tail}");
    }
    let Some(driven) = shown.filter(|driven| main_times(driven).1.samples > 0) else {
        return "Nothing was measured".to_owned();
    };
    let (name, times) = main_times(driven);
    let (rate, tail) = (digits(driven.achieved.events), time(times.at(99.9)));
    format!("{rate} events/s at p99.9 of the {name}&nbsp;&#8804;&nbsp;{tail}")
}

/// Why the figures of the report are void, in one box.
fn reasons(report: &Report) -> String {
    let mut items = String::new();
    for driven in &report.loops {
        for why in why_void(driven) {
            let _ = write!(items, "<li>{}: {why}</li>", super::name(driven));
        }
    }
    if report.valid {
        return String::new();
    }
    if items.is_empty() {
        items.push_str("<li>the report says so</li>");
    }
    format!("<div class=\"box bad\"><b>VOID, because</b><ul>{items}</ul></div>\n")
}

/// Why the figures of a loop are void, above them.
pub(super) fn void(driven: &Loop) -> String {
    let items = why_void(driven).into_iter().map(|why| format!("<li>{why}</li>"));
    let items: String = items.collect();
    match items.as_str() {
        "" => items,
        items => format!("<div class=\"box bad\"><b>VOID</b><ul>{items}</ul></div>\n"),
    }
}

fn why_void(driven: &Loop) -> Vec<String> {
    let mut reasons: Vec<_> = driven.void.iter().map(text).collect();
    if let Some(failure) = &driven.failure {
        reasons.push(format!("failed: {}", text(failure)));
    }
    if !driven.ledger.ok && reasons.is_empty() {
        reasons.push(
            "the ledger is broken: acked events are not as they were acked (see Ledger)".to_owned(),
        );
    }
    reasons
}

fn tiles(driven: &Loop, report: &Report) -> String {
    let (name, times) = main_times(driven);
    let achieved = &driven.achieved;
    let beside = match &driven.planned {
        Some(planned) if planned.events > 0.0 => {
            let part = achieved.events * 100.0 / planned.events;
            format!("{part:.2}&nbsp;% of {} planned", digits(planned.events))
        }
        _ => format!("{} appends/s, as fast as acks came", digits(achieved.appends)),
    };
    let acked = format!("{}<small>/s</small>", digits(achieved.events));
    let mut html = "<div class=\"tiles\">\n".to_owned();
    html.push_str(&tile("events acked", &acked, &beside));
    let rungs = times.named.iter().filter(|_| times.samples > 0);
    for rung in rungs.filter(|rung| [50.0, 99.0, 99.9, 100.0].contains(&rung.percentile)) {
        let beyond = times.samples.saturating_sub(rung.count);
        let more = match rung.percentile {
            100.0 => format!("of {} samples", count(times.samples)),
            _ => format!("{} samples beyond", count(beyond)),
        };
        let called = format!("{name} {}", super::markup::percentile(rung.percentile));
        html.push_str(&tile(&called, &time(rung.value_ns), &more));
    }
    if let Some(probe) = &report.probe {
        let ratio = format!("{}<small>&#215;</small>", digits(probe.events_per_operation));
        let floor = format!("events; the bare disk: {}/s", digits(probe.operations_per_second));
        // The ratio is that of the first load, which in a sweep is not the one beside it.
        let name =
            if report.sweep.is_some() { "closed loop, per bare sync" } else { "per bare sync" };
        html.push_str(&tile(name, &ratio, &floor));
    }
    html + "</div>\n"
}
