//! Owns the report for people: aligned ASCII, the title first, then latency by percentile with the
//! number of samples beyond each, then what the log, the disk and the machine did.
//!
//! Promises: only what stands in the report; a void figure is said to be void above it, and no
//! mean of latencies is printed. What was not measured takes no line.

use super::super::super::show::{count, size};
use super::super::check::Verdict;
use super::{Distribution, Loop, Mode, Report, Rung, Sweep};

/// The report as lines of text.
pub(in super::super) fn render(report: &Report) -> String {
    let mut lines = Lines::default();
    lines.head(report);
    for driven in &report.loops {
        // A sweep tells its rates in one table, not each on a page of its own.
        if report.sweep.is_none() || driven.kind == Mode::Closed {
            lines.driven(driven);
        }
    }
    if let Some(sweep) = &report.sweep {
        lines.sweep(sweep, report);
    }
    lines.probes(report);
    for note in &report.notes {
        lines.say(format!("note: {note}"));
    }
    lines.0.push_str(match report.valid {
        true => "",
        false => "VOID: do not quote these figures; see above\n",
    });
    lines.0
}

/// A time in microseconds; `never` for an answer that did not come.
fn micros(nanos: u64) -> String {
    match nanos {
        super::distribution::TIME_NS_MAX.. => "never".to_owned(),
        100_000_000.. => count(nanos / 1_000),
        _ => format!("{}.{}", count(nanos / 1_000), nanos % 1_000 / 100),
    }
}

/// A rate or ratio, with as many digits as it can carry.
fn number(value: f64) -> String {
    match value {
        ..100.0 => format!("{value:.2}"),
        _ => count(value.round() as u64),
    }
}

fn name_of(percentile: f64) -> String {
    if percentile >= 100.0 { "max".to_owned() } else { format!("p{percentile}") }
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn say(&mut self, line: impl AsRef<str>) {
        self.0.push_str(line.as_ref().trim_end());
        self.0.push('\n');
    }

    fn head(&mut self, report: &Report) {
        self.say(&report.title);
        let (identity, machine) = (&report.identity, &report.identity.machine);
        let mut place = format!("log      {}", machine.directory);
        if let Some(mount) = &machine.mount {
            place += &format!(" on {} ({}, {})", mount.device, mount.filesystem, mount.options);
        }
        self.say(place);
        let memory = machine.memory_bytes.map(|bytes| format!(", {}", size(bytes)));
        self.say(format!(
            "machine  {}, {} cores{}, Linux {}",
            machine.cpu.as_deref().unwrap_or("unknown processor"),
            machine.cores,
            memory.unwrap_or_default(),
            machine.kernel.as_deref().unwrap_or("unknown"),
        ));
        let settings = &report.settings;
        self.say(format!(
            "run      {}, seed {}, chunk {}, max delay {} us, spin {} us{}",
            identity.started,
            identity.seed,
            size(settings.chunk_size_bytes),
            micros(settings.max_delay_ns),
            micros(settings.spin_ns),
            if report.interrupted { ", INTERRUPTED" } else { "" },
        ));
    }

    fn driven(&mut self, driven: &Loop) {
        self.say("");
        for why in &driven.void {
            self.say(format!("VOID: {why}"));
        }
        let (achieved, counts) = (&driven.achieved, &driven.counts);
        let measured = driven.phases.iter().find(|phase| phase.name == "measure");
        if let Some(planned) = &driven.planned {
            let planned = number(planned.appends);
            self.say(format!("{planned:>14} appends/s planned, independent of the answers"));
        }
        self.say(format!(
            "{:>14} appends/s acked   {} events/s   {} MB/s   for {:.1} s",
            number(achieved.appends),
            number(achieved.events),
            number(achieved.payload_bytes / 1e6),
            measured.map_or(0.0, |phase| phase.seconds),
        ));
        self.say(format!(
            "{:>14} appends   {} acked   {} shed   {} failed   {} unanswered   {} full queue met",
            count(counts.planned),
            count(counts.acked),
            count(counts.shed),
            count(counts.failed),
            count(counts.unanswered),
            count(counts.busy),
        ));
        self.more_counts(driven);
        self.say("");
        self.percentiles(driven);
        self.say("");
        self.disk(driven);
        self.stages(driven);
        self.held_up("held up", driven);
        self.verdict(driven);
    }

    fn more_counts(&mut self, driven: &Loop) {
        let counts = &driven.counts;
        let told = [
            (counts.conditional, "appends with expected version and operation id"),
            (counts.delivered, "events delivered to subscribers"),
            (counts.reads, "reads"),
            (counts.idle_wakes, "times an idle subscription was woken"),
        ];
        for (number, what) in told.into_iter().filter(|(number, _)| *number > 0) {
            self.say(format!("{:>14} {what}", count(number)));
        }
    }

    /// One row per percentile, one column per distribution; the first one's counts stand beside it.
    fn percentiles(&mut self, driven: &Loop) {
        let service = Some(&driven.service).filter(|service| service.samples > 0);
        let columns = [
            ("response", driven.response.as_ref()),
            ("service", service),
            ("visible", driven.visible.as_ref()),
            ("read", driven.read.as_ref()),
            ("sync", driven.sync.as_ref()),
            ("lateness", driven.lateness.as_ref()),
            ("hiccup", driven.hiccup.as_ref()),
        ];
        let told: Vec<_> =
            columns.into_iter().filter_map(|(name, found)| Some((name, found?))).collect();
        let Some((_, first)) =
            told.first().filter(|(name, _)| ["response", "service"].contains(name))
        else {
            return self.say("no latencies: nothing of the measured time was acked");
        };
        let mut title = format!("{:<8}", "us");
        for (index, (name, _)) in told.iter().enumerate() {
            title += &format!(" {name:>13}");
            title += if index == 0 { "    beyond it" } else { "" };
        }
        self.say(title);
        for rung in &first.named {
            self.row(rung, first, told.iter().map(|(_, found)| *found));
        }
        let mut samples = format!("{:<8}", "samples");
        for (index, (_, found)) in told.iter().enumerate() {
            samples += &format!(" {:>13}", count(found.samples));
            samples += if index == 0 { "             " } else { "" };
        }
        self.say(samples);
    }

    fn row<'a>(
        &mut self,
        rung: &Rung,
        first: &Distribution,
        columns: impl Iterator<Item = &'a Distribution>,
    ) {
        let mut line = format!("{:<8}", name_of(rung.percentile));
        for (index, found) in columns.enumerate() {
            line += &format!(" {:>13}", micros(found.at(rung.percentile)));
            if index == 0 {
                line += &format!(" {:>12}", count(first.samples.saturating_sub(rung.count)));
            }
        }
        self.say(line);
    }

    fn disk(&mut self, driven: &Loop) {
        let disk = &driven.disk;
        self.say(format!(
            "flushes  {}/s: {} idle, {} at deadline, {} by size; {} events each; sync max {} us",
            number(disk.flushes_per_second),
            count(disk.flushes_idle),
            count(disk.flushes_deadline),
            count(disk.flushes_size),
            number(disk.events_per_flush),
            micros(disk.sync_max_ns),
        ));
        self.say(format!(
            "groups   {} of {} events; {} log bytes per payload byte; {} waits for a chunk",
            count(disk.groups),
            number(disk.events_per_group),
            number(disk.write_amplification),
            count(disk.waits_for_chunk),
        ));
        self.say(format!(
            "zeros    {} written ahead; {} lay ready before, {} after",
            size(disk.zeros),
            size(disk.ready[0]),
            size(disk.ready[1]),
        ));
        if let Some(device) = &driven.device {
            self.say(format!(
                "device   {}: {} written in {} writes, {} bytes per payload byte (all processes)",
                device.name,
                size(device.written_bytes),
                count(device.writes),
                number(device.write_amplification),
            ));
        }
        if let Some(cpu) = &driven.cpu {
            let log = cpu.log_ns_per_event.map(|nanos| format!(", {} the log", micros_of(nanos)));
            self.say(format!(
                "CPU      {} us per event{}",
                micros_of(cpu.process_ns_per_event),
                log.unwrap_or_default()
            ));
        }
    }

    fn stages(&mut self, driven: &Loop) {
        self.say("");
        self.say(format!("{:<8} {:>8} {:>12} {:>8}", "stage", "busy %", "items", "errors"));
        for stage in &driven.stages {
            let (busy, items, errors) = (stage.busy_percent, count(stage.items), stage.errors);
            self.say(format!("{:<8} {busy:>8.1} {items:>12} {errors:>8}", stage.name));
        }
        self.say(format!(
            "{:<8} {:>12} {:>12} {:>8} {:>8} {:>8} {:>12} {:>12}",
            "queue", "pushed", "popped", "length", "peak", "rejected", "wait us each", "max us"
        ));
        for queue in &driven.queues {
            self.say(format!(
                "{:<8} {:>12} {:>12} {:>8} {:>8} {:>8} {:>12} {:>12}",
                queue.name,
                count(queue.pushed),
                count(queue.popped),
                count(queue.length),
                count(queue.peak),
                count(queue.rejected),
                micros_of(queue.wait_ns_per_item),
                micros(queue.wait_max_ns),
            ));
        }
    }

    /// What held up the log, in the words of `why`.
    fn held_up(&mut self, title: &str, driven: &Loop) {
        let Some(verdict) = &driven.verdict else { return };
        self.say("");
        for (index, finding) in verdict.findings.iter().enumerate() {
            let title = if index == 0 { title } else { "also" };
            let void = if driven.void.is_empty() { "" } else { " (by a load that is VOID)" };
            let mut lines = finding.lines();
            let first = lines.next().unwrap_or_default();
            self.say(format!("{title:<8} {first}{void}"));
            lines.for_each(|line| self.say(line));
        }
    }

    fn verdict(&mut self, driven: &Loop) {
        let (ledger, reopened) = (&driven.ledger, &driven.reopened);
        self.say("");
        self.say(format!(
            "ledger {}: {} acked, {} found (opened again in {:.1} ms, checked at {} events/s)",
            if ledger.ok { "ok" } else { "NOT OK" },
            count(ledger.acked),
            count(ledger.found),
            reopened.open_s * 1e3,
            number(reopened.checked_events_per_second),
        ));
        self.faults(ledger);
        if let Some(failure) = &driven.failure {
            self.say(format!("failed: {failure}"));
        }
    }

    fn faults(&mut self, ledger: &Verdict) {
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
        for (number, what) in counts.into_iter().filter(|(number, _)| *number > 0) {
            self.say(format!("  {} {what}", count(number)));
        }
        if let Some(why) = &ledger.unreadable {
            self.say(format!("  unreadable: {why}"));
        }
        for finding in &ledger.findings {
            self.say(format!("    {finding}"));
        }
        if ledger.unanswered > 0 {
            let (open, there) = (count(ledger.unanswered), count(ledger.unanswered_but_stored));
            self.say(format!("  {open} never answered, of which {there} are there"));
        }
    }

    fn sweep(&mut self, sweep: &Sweep, report: &Report) {
        self.say("");
        self.say(format!(
            "{:>6} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12}  response in us  held up by",
            "load %", "planned/s", "acked/s", "p50", "p99", "p99.9", "max"
        ));
        for (index, point) in sweep.points.iter().enumerate() {
            let knee = sweep.knee.as_ref().is_some_and(|knee| knee.point == index);
            let words = [(!point.valid, "VOID"), (knee, "<- knee")];
            let words = words.map(|(applies, word)| if applies { word } else { "" }).concat();
            self.say(format!(
                "{:>6.0} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12}  {words:<14}  {}",
                point.percent_of_maximum,
                number(point.planned_rate),
                number(point.achieved_rate),
                micros(point.p50_ns),
                micros(point.p99_ns),
                micros(point.p999_ns),
                micros(point.max_ns),
                report.loops.get(index + 1).map_or("", Loop::cause),
            ));
        }
        for driven in report.loops.iter().skip(1) {
            for why in &driven.void {
                let rate = driven.planned.map_or(0.0, |planned| planned.appends);
                self.say(format!("VOID at {}/s: {why}", number(rate)));
            }
            self.faults(&driven.ledger);
        }
        match &sweep.knee {
            Some(knee) => self.say(format!(
                "knee: {} appends/s at p99.9 <= {} us{}",
                number(knee.planned_rate),
                micros(knee.p999_ns),
                knee.beyond.as_ref().map_or(String::new(), |why| format!("; beyond: {why}")),
            )),
            None => self.say("no knee: no rate was measured that may be quoted"),
        }
        // What it takes to go faster is what held up the first rate that was too much.
        if let Some((point, driven)) = sweep.beyond(&report.loops) {
            self.held_up(&format!("held up at {:.0} %", point.percent_of_maximum), driven);
        }
    }

    fn probes(&mut self, report: &Report) {
        let Some(probe) = &report.probe else { return };
        let latency = &probe.before.latency;
        self.say(format!(
            "bare disk: {} of pwrite + fdatasync: {} ops/s (before {}, after {}); \
             p50 {} p99 {} max {} us",
            size(probe.before.write_size_bytes),
            number(probe.operations_per_second),
            number(probe.before.operations_per_second),
            number(probe.after.operations_per_second),
            micros(latency.at(50.0)),
            micros(latency.at(99.0)),
            micros(latency.max_ns),
        ));
        let ratio = number(probe.events_per_operation);
        self.say(format!("           {ratio} acked events/s for each op/s of the bare disk"));
    }
}

fn micros_of(nanos: f64) -> String {
    format!("{:.2}", nanos / 1e3)
}

#[cfg(test)]
mod tests {
    use super::super::super::super::top::report::{FindingReport, VerdictReport};
    use super::super::{Knee, Point, Rate};
    use super::*;

    fn verdict(cause: &str) -> VerdictReport {
        let finding = |cause: &str| FindingReport {
            cause: cause.to_owned(),
            line: format!("it was the {cause}"),
            evidence: vec![format!("a figure of the {cause}")],
            advice: format!("another {cause}"),
        };
        VerdictReport { cause: cause.to_owned(), findings: vec![finding(cause), finding("queue")] }
    }

    fn report() -> Report {
        let point =
            |valid| Point { planned_rate: 1_000.0, p999_ns: 250_000, valid, ..Point::default() };
        let knee = Knee {
            planned_rate: 1_000.0,
            p999_ns: 250_000,
            beyond: Some("at 2000/s only 80 % are acked in time".to_owned()),
            ..Knee::default()
        };
        let planned = Some(Rate { appends: 2_000.0, ..Rate::default() });
        let void = vec!["the sender itself was late".to_owned()];
        let verdict = Some(verdict("clients"));
        let rate = Loop { kind: Mode::Open, planned, verdict, ..Loop::default() };
        let closed = Loop { verdict: Some(self::verdict("sync")), ..Loop::default() };
        Report {
            loops: vec![closed, rate.clone(), Loop { void, ..rate }],
            sweep: Some(Sweep {
                closed_maximum: 2_500.0,
                points: vec![point(true), point(false)],
                knee: Some(knee),
            }),
            valid: true,
            ..Report::default()
        }
    }

    #[test]
    fn a_sweep_is_one_table_with_its_knee_and_what_is_void() {
        let text = render(&report());
        assert_eq!(text.matches("<- knee").count(), 1, "{text}");
        assert!(text.contains("VOID at 2,000/s: the sender itself was late"), "{text}");
        let knee = "knee: 1,000 appends/s at p99.9 <= 250.0 us; beyond: at 2000/s only 80 %";
        assert!(text.contains(knee), "{text}");
        assert_eq!(text.matches("ledger").count(), 1, "the rates have no page of their own");
        assert!(!text.contains("do not quote"), "{text}");
        assert!(render(&Report { valid: false, ..report() }).contains("do not quote"));
    }

    #[test]
    fn what_held_up_the_log_is_told_with_its_evidence_and_what_to_do() {
        let mut report = report();
        let text = render(&report);
        let told = "\nheld up  sync: it was the sync\n  - a figure of the sync\n  \
                    try: another sync\nalso     queue: it was the queue\n";
        assert!(text.contains(told), "{text}");
        let rates: Vec<_> = text.lines().filter(|line| line.ends_with("  clients")).collect();
        assert!(rates.len() == 2 && rates[1].contains("  VOID  "), "{text}");
        // Of the rates only the first beyond the knee has more to tell, and only if it is valid.
        assert!(!text.contains("held up at"), "{text}");
        let Some(sweep) = &mut report.sweep else { panic!("no sweep") };
        sweep.points[1] = Point { percent_of_maximum: 110.0, valid: true, ..sweep.points[1] };
        let text = render(&report);
        assert!(text.contains("\nheld up at 110 % clients: it was the clients"), "{text}");
        report.loops[0].void.push("late".to_owned());
        assert!(render(&report).contains("it was the sync (by a load that is VOID)\n"));
        report.loops.iter_mut().for_each(|driven| driven.verdict = None);
        let text = render(&report);
        assert!(!text.replace("held up by", "").contains("held up"), "{text}");
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let written = serde_json::to_string(&report()).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&written).unwrap(), report());
    }

    #[test]
    fn times_are_told_in_microseconds() {
        assert_eq!((micros(999).as_str(), micros(1_234_567).as_str()), ("0.9", "1,234.5"));
        assert_eq!(micros(250_000_000), "250,000");
        assert_eq!(micros(super::super::TIME_NS_MAX), "never");
    }
}
