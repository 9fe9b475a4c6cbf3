//! Owns the sweep: latency and achieved rate over the planned rate, and where latency runs away.
//!
//! Promises: a void point is told as such, and stays out of the lines. Finds no knee: the report
//! names it.

use super::super::report::{Loop, Point, Report, Sweep};
use super::chart::{Chart, Line};
use super::curves::{self, Curve};
use super::markup::{Row, digits, micros, text, time};
use super::scale::Axis;

/// The section of a sweep.
pub(super) fn render(sweep: &Sweep, report: &Report) -> String {
    let knee = match &sweep.knee {
        Some(knee) => format!(
            "Knee: <b>{} appends/s at p99.9&nbsp;&#8804;&nbsp;{}</b>{}.",
            digits(knee.planned_rate),
            time(knee.p999_ns),
            knee.beyond.as_ref().map_or(String::new(), |why| format!("; beyond: {}", text(why))),
        ),
        None => "No knee: no rate was measured that may be quoted.".to_owned(),
    };
    let maximum = digits(sweep.closed_maximum);
    format!(
        "<h2>Sweep of rates</h2>\n<p>{knee} <span class=\"soft\">Rates are parts of the {maximum} \
         appends/s of the closed loop; the times are of the response, from the planned \
         moment.</span></p>\n<div class=\"pair\">\n{}{}</div>\n{}{}",
        latency(sweep),
        rates(sweep),
        by_rate(sweep, report),
        table(sweep, report),
    )
}

fn axis(sweep: &Sweep) -> Axis {
    let highest = sweep.points.iter().map(|point| point.planned_rate).fold(0.0, f64::max);
    Axis::rates("planned appends/s", highest)
}

fn flag(sweep: &Sweep, x: &Axis) -> Option<(f64, String)> {
    let knee = sweep.knee.as_ref()?;
    Some((x.place(knee.planned_rate), "knee".to_owned()))
}

fn valid(sweep: &Sweep) -> impl Iterator<Item = &Point> {
    sweep.points.iter().filter(|point| point.valid)
}

fn latency(sweep: &Sweep) -> String {
    let x = axis(sweep);
    let y = Axis::times(valid(sweep).flat_map(|point| [point.p50_ns, point.p999_ns]));
    let line = |name: &str, class, value: fn(&Point) -> u64| {
        let place =
            |point: &Point| (x.place(point.planned_rate), y.place(value(point).max(1) as f64));
        let points = valid(sweep).map(place).collect();
        Line { name: name.to_owned(), class, points, dots: true, ..Line::default() }
    };
    let lines = vec![
        line("p50", "green", |point| point.p50_ns),
        line("p99", "blue", |point| point.p99_ns),
        line("p99.9", "orange", |point| point.p999_ns),
    ];
    Chart {
        title: "Response".to_owned(),
        about: "by planned rate".to_owned(),
        height: 260.0,
        flag: flag(sweep, &x),
        hover: valid(sweep).map(|point| (x.place(point.planned_rate), told(point))).collect(),
        x,
        y,
        lines,
        ..Chart::default()
    }
    .render()
}

fn told(point: &Point) -> String {
    format!(
        "{:.0} %: {} planned, {} acked\np50 {}\np99 {}\np99.9 {}\nmax {}",
        point.percent_of_maximum,
        digits(point.planned_rate),
        digits(point.achieved_rate),
        time(point.p50_ns),
        time(point.p99_ns),
        time(point.p999_ns),
        time(point.max_ns),
    )
}

fn rates(sweep: &Sweep) -> String {
    let x = axis(sweep);
    let highest = valid(sweep).map(|point| point.achieved_rate).fold(0.0, f64::max);
    let planned = valid(sweep).map(|point| point.planned_rate).fold(highest, f64::max);
    let y = Axis::rates("", planned);
    let places = |value: fn(&Point) -> f64| {
        valid(sweep).map(|it| (x.place(it.planned_rate), y.place(value(it)))).collect()
    };
    let lines = vec![
        Line {
            name: "planned".to_owned(),
            class: "grey dash",
            points: places(|point| point.planned_rate),
            ..Line::default()
        },
        Line {
            name: "acked".to_owned(),
            class: "blue",
            points: places(|point| point.achieved_rate),
            dots: true,
            ..Line::default()
        },
    ];
    Chart {
        title: "Acked appends/s".to_owned(),
        about: "by planned rate".to_owned(),
        height: 260.0,
        flag: flag(sweep, &x),
        hover: valid(sweep).map(|point| (x.place(point.planned_rate), told(point))).collect(),
        x,
        y,
        lines,
        ..Chart::default()
    }
    .render()
}

/// The curve by percentile of each rate, the knee's in colour.
fn by_rate(sweep: &Sweep, report: &Report) -> String {
    let loops = sweep.points.iter().enumerate().zip(report.loops.iter().skip(1));
    let curve = |((index, point), driven): ((usize, &Point), &'_ Loop)| {
        let at = sweep.knee.as_ref().map(|knee| index.cmp(&knee.point));
        let class = match at {
            Some(std::cmp::Ordering::Equal) => "orange",
            Some(std::cmp::Ordering::Greater) => "pink dash",
            _ => "blue thin",
        };
        (format!("{:.0}&nbsp;%", point.percent_of_maximum), class, driven.response.clone())
    };
    let found: Vec<_> = loops
        .filter(|((_, point), _)| point.valid)
        .map(curve)
        .filter_map(|(name, class, times)| Some((name, class, times?)))
        .filter(|(_, _, times)| times.samples > 0)
        .collect();
    let curves: Vec<_> = found
        .iter()
        .map(|(name, class, times)| Curve { name: name.clone(), class, times })
        .collect();
    curves::chart(&curves, "of the response, one curve for each rate, in % of the closed loop")
}

fn table(sweep: &Sweep, report: &Report) -> String {
    let titles =
        ["load %", "planned/s", "acked/s", "p50 \u{b5}s", "p99", "p99.9", "max", "held up by", ""];
    let rows = sweep.points.iter().enumerate().map(|(index, point)| {
        let knee = sweep.knee.as_ref().is_some_and(|knee| knee.point == index);
        let word = match (point.valid, knee) {
            (false, _) => "VOID",
            (true, true) => "&#8592; knee",
            (true, false) => "",
        };
        let mut row = Row::new(
            format!("{:.0}", point.percent_of_maximum),
            [
                digits(point.planned_rate),
                digits(point.achieved_rate),
                micros(point.p50_ns),
                micros(point.p99_ns),
                micros(point.p999_ns),
                micros(point.max_ns),
                text(report.loops.get(index + 1).map_or("", Loop::cause)),
                word.to_owned(),
            ],
        );
        row.class = match (point.valid, knee) {
            (false, _) => "bad",
            (true, true) => "mark",
            (true, false) => "",
        };
        row
    });
    super::markup::table(&titles.map(str::to_owned), &rows.collect::<Vec<_>>())
}
