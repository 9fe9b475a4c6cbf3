//! Owns the latencies of one loop: as curves by percentile, as a table, and second by second.
//!
//! Promises: the curve by percentile gives each further nine the same width, so the tail is not
//! squeezed into the last pixel. A second without an answer interrupts its line.

use std::fmt::Write;

use super::super::super::show::count;
use super::super::report::{Distribution, Interval, Loop};
use super::chart::{Chart, Line};
use super::markup::{NONE, Row, digits, micros, percentile, short, time};
use super::scale::{Axis, nines};
use super::{all_times, main_times};

/// Seconds that are told one by one under the pointer.
const HOVER_MAX: usize = 600;

/// One distribution as a line of a chart.
pub(super) struct Curve<'a> {
    pub(super) name: String,
    pub(super) class: &'static str,
    pub(super) times: &'a Distribution,
}

/// The curves of latency by percentile; nothing when nothing was measured.
pub(super) fn percentiles(driven: &Loop, bare: Option<&Distribution>) -> String {
    let all = all_times(driven).into_iter();
    let mut curves: Vec<_> =
        all.map(|(name, class, times)| Curve { name: name.to_owned(), class, times }).collect();
    if let Some(times) = bare.filter(|times| times.samples > 0) {
        curves.push(Curve { name: "bare disk".to_owned(), class: "ink thin dash", times });
    }
    let mut html = chart(&curves, "each step to the right is one more nine");
    if !html.is_empty() {
        html.push_str(&legend(&curves));
    }
    html
}

/// Curves of distributions in one chart.
pub(super) fn chart(curves: &[Curve<'_>], about: &str) -> String {
    let ends = curves.iter().map(|curve| nines(100.0, curve.times.samples));
    let x = Axis::nines(ends.fold(0.0, f64::max));
    let rungs = curves.iter().flat_map(|curve| &curve.times.ladder);
    let y = Axis::times(rungs.map(|rung| rung.value_ns));
    let line = |curve: &Curve<'_>| {
        let times = curve.times;
        let point =
            |at: f64, nanos: u64| (x.place(nines(at, times.samples)), y.place(nanos.max(1) as f64));
        let points = times.ladder.iter().map(|rung| point(rung.percentile, rung.value_ns));
        Line {
            name: curve.name.clone(),
            class: curve.class,
            points: points.collect(),
            ..Line::default()
        }
    };
    // The first is drawn last, and so on top.
    let lines = curves.iter().rev().map(line).collect();
    let hover = curves.first().map(|first| hover(curves, first.times, &x)).unwrap_or_default();
    Chart {
        title: "Latency by percentile".to_owned(),
        about: about.to_owned(),
        height: 340.0,
        x,
        y,
        lines,
        hover,
        ..Chart::default()
    }
    .render()
}

fn hover(curves: &[Curve<'_>], first: &Distribution, x: &Axis) -> Vec<(f64, String)> {
    let told = first.named.iter().map(|rung| {
        let mut told = percentile(rung.percentile);
        for curve in curves {
            let value = time(curve.times.at(rung.percentile));
            let _ = write!(told, "\n{}: {value}", curve.name);
        }
        (x.place(nines(rung.percentile, first.samples)), told)
    });
    told.collect()
}

/// What the names of the curves mean.
fn legend(curves: &[Curve<'_>]) -> String {
    let meanings = [
        ("response", "from the planned moment to the ack: what a user feels"),
        ("service", "from the actual send to the ack"),
        ("visible", "until the first subscriber has it"),
        ("read", "one read of up to a hundred events"),
        ("sync", "one fdatasync of the log"),
        ("lateness", "how late the harness itself sent"),
        ("hiccup", "how much longer a sleep of 1 ms took: noise of the machine"),
        ("bare disk", "pwrite and fdatasync without a log: the floor"),
    ];
    let mut html = "<p class=\"key columns\">".to_owned();
    for curve in curves {
        let meaning = meanings.iter().find(|(name, _)| *name == curve.name);
        let meaning = meaning.map_or("", |(_, meaning)| meaning);
        let (class, name) = (curve.class, &curve.name);
        let _ = write!(html, "<span><i class=\"{class}\"></i><em>{name}</em> {meaning}</span>");
    }
    html + "</p>\n"
}

/// One row per percentile, one column per distribution; the first one's counts stand beside it.
pub(super) fn table(driven: &Loop) -> String {
    let all = all_times(driven);
    let Some((_, _, first)) = all.first() else {
        return "<p class=\"soft\">No latencies: nothing of the measured time was acked.</p>\n"
            .to_owned();
    };
    let mut titles = vec!["\u{b5}s".to_owned()];
    for (index, (name, _, _)) in all.iter().enumerate() {
        titles.push((*name).to_owned());
        if index == 0 {
            titles.push("samples beyond".to_owned());
        }
    }
    let row = |at: f64, beyond: u64| {
        let mut row = Row::new(
            percentile(at),
            all.iter().map(|(_, _, times)| {
                let rung = times.named.iter().find(|rung| rung.percentile >= at);
                rung.map_or(NONE.to_owned(), |rung| micros(rung.value_ns))
            }),
        );
        row.cells[0].0 = "first";
        row.cells.insert(1, ("faint", count(beyond)));
        row
    };
    let rungs = first.named.iter();
    let mut rows: Vec<_> =
        rungs.map(|rung| row(rung.percentile, first.samples.saturating_sub(rung.count))).collect();
    let mut samples = Row::new("samples", all.iter().map(|(_, _, times)| count(times.samples)));
    samples.cells.insert(1, ("", String::new()));
    rows.push(samples);
    super::markup::table(&titles, &rows)
}

/// Throughput, latency and what waited, second by second, over one time axis.
pub(super) fn over_time(driven: &Loop) -> String {
    let intervals = &driven.intervals;
    let end = intervals.iter().map(|interval| interval.t_s + interval.seconds);
    let x = Axis::seconds(end.fold(0.0, f64::max));
    let charts = [throughput(driven, &x), queued(intervals, &x), latency(driven, &x)].concat();
    match charts.as_str() {
        "" => charts,
        charts => format!("<h3>Over time</h3>\n{charts}"),
    }
}

fn middle(interval: &Interval, x: &Axis) -> f64 {
    x.place(interval.t_s + interval.seconds / 2.0)
}

fn throughput(driven: &Loop, x: &Axis) -> String {
    let rate = |interval: &Interval| {
        let rate = interval.acked_events as f64 / interval.seconds;
        if rate.is_finite() { rate } else { 0.0 }
    };
    let planned = driven.planned.map(|planned| planned.events).filter(|rate| rate.is_finite());
    let highest = driven.intervals.iter().map(rate).chain(planned).fold(0.0, f64::max);
    let y = Axis::rates("", highest);
    let points = driven.intervals.iter().map(|it| (middle(it, x), y.place(rate(it))));
    let mut lines = vec![Line {
        name: "acked".to_owned(),
        class: "blue",
        points: points.collect(),
        area: true,
        ..Line::default()
    }];
    if let Some(planned) = planned.filter(|_| !driven.intervals.is_empty()) {
        let at = y.place(planned);
        lines.insert(
            0,
            Line {
                name: "planned".to_owned(),
                class: "grey dash",
                points: vec![(0.0, at), (1.0, at)],
                ..Line::default()
            },
        );
    }
    let told = |interval: &Interval| {
        let Interval { t_s, flushes, events_per_group, queued, .. } = interval;
        let told = format!(
            "second {t_s:.0}\n{} events/s\n{} flushes, {} events a group\n{} appends waiting",
            digits(rate(interval)),
            count(*flushes),
            digits(*events_per_group),
            count(*queued),
        );
        (middle(interval, x), told)
    };
    let few = driven.intervals.len() <= HOVER_MAX;
    let hover = driven.intervals.iter().filter(|_| few).map(told).collect();
    Chart {
        title: "Throughput".to_owned(),
        about: "events acked per second".to_owned(),
        height: 150.0,
        x: x.clone(),
        y,
        lines,
        hover,
        slim: true,
        ..Chart::default()
    }
    .render()
}

fn queued(intervals: &[Interval], x: &Axis) -> String {
    let highest = intervals.iter().map(|interval| interval.queued).max().unwrap_or(0);
    if highest == 0 {
        return String::new();
    }
    let mut y = Axis::linear("", highest as f64, short);
    // Low as it is, it has room for the names of its ends alone.
    let last = y.ticks.len() - 1;
    y.ticks.iter_mut().take(last).skip(1).for_each(|tick| tick.name.clear());
    y.ticks[last].fine = false;
    let points = intervals.iter().map(|it| (middle(it, x), y.place(it.queued as f64)));
    let line = Line {
        name: "queued".to_owned(),
        class: "pink",
        points: points.collect(),
        area: true,
        ..Line::default()
    };
    Chart {
        title: "Waiting".to_owned(),
        about: "appends in the queue of the log at the end of each second".to_owned(),
        height: 54.0,
        x: x.clone(),
        y,
        lines: vec![line],
        slim: true,
        ..Chart::default()
    }
    .render()
}

fn latency(driven: &Loop, x: &Axis) -> String {
    let answered = || driven.intervals.iter().filter(|interval| interval.samples > 0);
    let y = Axis::times(answered().flat_map(|it| [it.p50_ns, it.max_ns]));
    let line = |name: &str, class, value: fn(&Interval) -> u64| {
        let point = |interval: &Interval| match interval.samples {
            0 => (f64::NAN, f64::NAN),
            _ => (middle(interval, x), y.place(value(interval).max(1) as f64)),
        };
        let points = driven.intervals.iter().map(point).collect();
        Line { name: name.to_owned(), class, points, ..Line::default() }
    };
    let lines = vec![
        line("p50", "green", |interval| interval.p50_ns),
        line("p99", "blue", |interval| interval.p99_ns),
        line("p99.9", "orange", |interval| interval.p999_ns),
        line("max", "grey thin dot", |interval| interval.max_ns),
    ];
    let told = |interval: &Interval| {
        let Interval { t_s, samples, p50_ns, p99_ns, p999_ns, max_ns, .. } = interval;
        let [p50, p99, p999, max] = [p50_ns, p99_ns, p999_ns, max_ns].map(|nanos| time(*nanos));
        let told = format!(
            "second {t_s:.0}, {} samples\np50 {p50}\np99 {p99}\np99.9 {p999}\nmax {max}",
            count(*samples)
        );
        (middle(interval, x), told)
    };
    let few = driven.intervals.len() <= HOVER_MAX;
    Chart {
        title: "Latency".to_owned(),
        about: format!("{} of the appends acked in each second", main_times(driven).0),
        height: 260.0,
        x: x.clone(),
        hover: answered().filter(|_| few).map(told).collect(),
        y,
        lines,
        ..Chart::default()
    }
    .render()
}
