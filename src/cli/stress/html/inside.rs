//! Owns what happened inside of the log during one loop: what held it up, how busy its threads
//! were, what its queues held, why it flushed, what the disk got, and whether every acked event is
//! there.
//!
//! Promises: a loop without figures of its own shows the verdict of the ledger all the same.

use std::fmt::Write;

use super::super::super::show::{count, size};
use super::super::check::Verdict;
use super::super::report::{Disk, Loop};
use super::markup::{Row, digits, facts, text, time};

/// The inside of the log.
pub(super) fn render(driven: &Loop) -> String {
    [
        held_up(driven),
        stages(driven),
        queues(driven),
        flushes(&driven.disk),
        disk(driven),
        ledger(driven),
    ]
    .concat()
}

/// What held up the log, in the words of `why`.
fn held_up(driven: &Loop) -> String {
    let Some(verdict) = &driven.verdict else { return String::new() };
    let void = match driven.void.is_empty() {
        true => "",
        false => " <span class=\"pill bad\">by a load that is VOID</span>",
    };
    let cause = text(&verdict.cause);
    let mut html =
        format!("<h3>What held up the log <span class=\"pill\">{cause}</span>{void}</h3>\n");
    for finding in &verdict.findings {
        let evidence: String =
            finding.evidence.iter().map(|line| format!("<li>{}</li>", text(line))).collect();
        let _ = writeln!(
            html,
            "<p><b>{}</b>: {}<br>Try: {}</p>\n<ul class=\"evidence\">{evidence}</ul>",
            text(&finding.cause),
            text(&finding.line),
            text(&finding.advice),
        );
    }
    html
}

fn stages(driven: &Loop) -> String {
    if driven.stages.is_empty() {
        return String::new();
    }
    let mut html =
        "<h3>Stages <span class=\"soft small\">part of the time in which each thread of \
                    the log worked</span></h3>\n<div class=\"bars\">\n"
            .to_owned();
    for stage in &driven.stages {
        let busy = part(stage.busy_percent);
        let class = match busy {
            90.0.. => "orange",
            _ => "blue",
        };
        let errors = match stage.errors {
            0 => String::new(),
            errors => format!(", <span class=\"worse\">{} errors</span>", count(errors)),
        };
        let _ = writeln!(
            html,
            "<span>{}</span><div class=\"bar {class}\"><i style=\"width:{busy:.1}%\"></i></div>\
             <span>{busy:.1}&nbsp;% <span class=\"soft small\">{} items{errors}</span></span>",
            text(&stage.name),
            count(stage.items),
        );
    }
    html + "</div>\n"
}

fn part(percent: f64) -> f64 {
    if percent.is_nan() { 0.0 } else { percent.clamp(0.0, 100.0) }
}

fn queues(driven: &Loop) -> String {
    if driven.queues.is_empty() {
        return String::new();
    }
    let titles =
        ["queue", "pushed", "popped", "length", "peak", "rejected", "wait each", "longest wait"];
    let row = |queue: &super::super::report::Queue| {
        let each = queue.wait_ns_per_item.clamp(0.0, 1e18);
        Row::new(
            text(&queue.name),
            [
                count(queue.pushed),
                count(queue.popped),
                count(queue.length),
                count(queue.peak),
                count(queue.rejected),
                time(each as u64),
                time(queue.wait_max_ns),
            ],
        )
    };
    let rows: Vec<_> = driven.queues.iter().map(row).collect();
    super::markup::table(&titles.map(str::to_owned), &rows)
}

fn flushes(disk: &Disk) -> String {
    let reasons = [
        ("green", "idle: nothing else waited", disk.flushes_idle),
        ("blue", "deadline: the longest delay had passed", disk.flushes_deadline),
        ("yellow", "size: a chunk was full", disk.flushes_size),
    ];
    let all = reasons.iter().map(|(_, _, number)| *number as f64).sum::<f64>();
    if all == 0.0 {
        return String::new();
    }
    let mut html = format!(
        "<h3>Flushes <span class=\"soft small\">{} a second of {} events each, and why they were \
         made</span></h3>\n<div class=\"bar\">",
        digits(disk.flushes_per_second),
        digits(disk.events_per_flush),
    );
    let told = || reasons.iter().filter(|(_, _, number)| *number > 0);
    for (class, _, number) in told() {
        let width = part(*number as f64 * 100.0 / all);
        let _ = write!(html, "<i class=\"{class}\" style=\"width:{width:.2}%\"></i>");
    }
    html.push_str("</div>\n<p class=\"key\" style=\"margin-top:6px\">");
    for (class, what, number) in told() {
        let _ =
            write!(html, "<span><i class=\"{class}\"></i>{what} <b>{}</b></span> ", count(*number));
    }
    html + "</p>\n"
}

fn disk(driven: &Loop) -> String {
    let disk = &driven.disk;
    let mut told = vec![
        ("groups", format!("{} of {} events", count(disk.groups), digits(disk.events_per_group))),
        (
            "log bytes",
            format!(
                "{}, {} for each byte of payload",
                size(disk.bytes),
                digits(disk.write_amplification)
            ),
        ),
        ("longest sync", format!("{} since the log was opened", time(disk.sync_max_ns))),
        ("waits for a chunk", count(disk.waits_for_chunk)),
        (
            "zeros",
            format!(
                "{} written ahead; {} lay ready before, {} after",
                size(disk.zeros),
                size(disk.ready[0]),
                size(disk.ready[1])
            ),
        ),
    ];
    if let Some(device) = &driven.device {
        let flushes = device.flushes.map(|number| format!(", {} flushes", count(number)));
        told.push((
            "device",
            format!(
                "{}: {} in {} writes{}; {} bytes for each byte of payload, by all processes",
                text(&device.name),
                size(device.written_bytes),
                count(device.writes),
                flushes.unwrap_or_default(),
                digits(device.write_amplification),
            ),
        ));
    }
    if let Some(cpu) = &driven.cpu {
        let log = cpu
            .log_ns_per_event
            .map(|nanos| format!(", {} \u{b5}s of it the log", digits(nanos / 1e3)));
        let process = digits(cpu.process_ns_per_event / 1e3);
        let log = log.unwrap_or_default();
        told.push(("processor", format!("{process} \u{b5}s per event{log}")));
    }
    told.extend(appends(driven));
    format!("<h3>Disk and processor</h3>\n{}", facts(&told))
}

/// What became of the appends, and what else went on.
fn appends(driven: &Loop) -> Vec<(&'static str, String)> {
    let counts = &driven.counts;
    let all = [
        (counts.planned, "to be answered"),
        (counts.acked, "acked"),
        (counts.shed, "shed"),
        (counts.failed, "failed"),
        (counts.unanswered, "unanswered"),
        (counts.busy, "times a full queue was met"),
    ];
    let told = all.into_iter().enumerate().filter(|(index, (number, _))| *index < 2 || *number > 0);
    let told: Vec<_> =
        told.map(|(_, (number, what))| format!("{} {what}", count(number))).collect();
    let mut facts = vec![("appends", told.join(", "))];
    let more = [
        ("conditional", counts.conditional, "appends with expected version and operation id"),
        ("delivered", counts.delivered, "events to subscribers"),
        ("reads", counts.reads, "in the measured time"),
        ("idle wakes", counts.idle_wakes, "of subscriptions that had nothing to get"),
    ];
    for (name, number, what) in more.into_iter().filter(|(_, number, _)| *number > 0) {
        facts.push((name, format!("{} {what}", count(number))));
    }
    facts
}

fn ledger(driven: &Loop) -> String {
    let (ledger, reopened) = (&driven.ledger, &driven.reopened);
    let (class, verdict) = if ledger.ok { ("good", "ok") } else { ("bad", "NOT OK") };
    let mut html = format!(
        "<h3>Ledger <span class=\"pill {class}\">{verdict}</span></h3>\n\
         <p>{} events acked, {} found after the log was closed, opened again in {} ms and read \
         as a whole at {} events/s.</p>\n",
        count(ledger.acked),
        count(ledger.found),
        digits(reopened.open_s * 1e3),
        digits(reopened.checked_events_per_second),
    );
    let faults = faults(ledger);
    if !faults.is_empty() {
        let _ = writeln!(html, "<div class=\"box bad\"><ul>{faults}</ul></div>");
    }
    if ledger.unanswered > 0 {
        let (open, there) = (count(ledger.unanswered), count(ledger.unanswered_but_stored));
        let _ = writeln!(html, "<p>{open} never answered, of which {there} are there.</p>");
    }
    html
}

fn faults(ledger: &Verdict) -> String {
    let counts = [
        (ledger.lost, "lost"),
        (ledger.doubled, "doubled"),
        (ledger.altered, "altered"),
        (ledger.reordered, "reordered"),
        (ledger.misplaced, "misplaced"),
        (ledger.refused_but_stored, "refused but stored"),
        (ledger.foreign, "foreign"),
        (ledger.wrong_acks, "wrong acks"),
    ];
    let mut html = String::new();
    for (number, what) in counts.into_iter().filter(|(number, _)| *number > 0) {
        let _ = write!(html, "<li><b>{} {what}</b></li>", count(number));
    }
    if let Some(why) = &ledger.unreadable {
        let _ = write!(html, "<li>unreadable: {}</li>", text(why));
    }
    for finding in &ledger.findings {
        let _ = write!(html, "<li>{}</li>", text(finding));
    }
    html
}
