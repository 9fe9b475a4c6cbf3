//! Owns the comparison as a page: warnings, curves of both sides in one chart, and each figure with
//! its ratio.
//!
//! Promises: every run has its curve; nothing is picked. Decides nothing: see `compare.rs`.

use super::super::compare::{Comparison, Group, Side, Verdict};
use super::super::report::{Distribution, Report};
use super::curves::{self, Curve};
use super::markup::{NONE, Row, text};
use super::{main_times, page, shown};

use super::super::compare::{range, ratio};

/// The comparison as one HTML file.
pub(in super::super) fn render(comparison: &Comparison) -> String {
    let mut body = "<h1>B against A</h1>\n".to_owned();
    body.push_str(&sides(comparison));
    body.push_str(&warnings(&comparison.warnings));
    body.push_str(&overlay(comparison));
    body.push_str(&differences(comparison));
    for group in &comparison.groups {
        body.push_str(&figures(group));
    }
    page("paperchase stress: comparison", "", &body)
}

fn sides(comparison: &Comparison) -> String {
    let side = |name: &str, class: &str, side: &Side| {
        let files: Vec<_> = side.files.iter().map(text).collect();
        let title = side.reports.first().map_or("", |run| run.title.as_str());
        format!(
            "<div class=\"tile\"><div class=\"value {class}\" style=\"color:var(--c)\">{name} \
             <small>{} run{}</small></div><p class=\"small\">{}</p><div class=\"more\" \
             style=\"overflow-wrap:anywhere\">{}</div></div>\n",
            side.reports.len(),
            if side.reports.len() == 1 { "" } else { "s" },
            text(title),
            files.join(", "),
        )
    };
    let (a, b) = (side("A", "blue", &comparison.a), side("B", "orange", &comparison.b));
    format!("<div class=\"pair\" style=\"gap:12px\">\n{a}{b}</div>\n")
}

fn warnings(warnings: &[String]) -> String {
    let items: String = warnings.iter().map(|it| format!("<li>{}</li>", text(it))).collect();
    match items.as_str() {
        "" => items,
        items => format!("<div class=\"box care\"><b>Mind</b><ul>{items}</ul></div>\n"),
    }
}

/// The times of the load that stands in front of a report.
fn times(report: &Report) -> Option<&Distribution> {
    let times = main_times(&report.loops[shown(report)?]).1;
    (times.samples > 0).then_some(times)
}

/// The curves of all runs, A's in one colour and B's in another.
fn overlay(comparison: &Comparison) -> String {
    let sides = [("A", "blue", &comparison.a), ("B", "orange dash", &comparison.b)];
    let mut drawn = Vec::new();
    for (name, class, side) in sides {
        for times in side.reports.iter().filter_map(times) {
            let named = drawn.iter().any(|curve: &Curve<'_>| curve.name == name);
            let name = if named { String::new() } else { name.to_owned() };
            drawn.push(Curve { name, class, times });
        }
    }
    curves::chart(&drawn, "of every run")
}

fn differences(comparison: &Comparison) -> String {
    if comparison.differences.is_empty() {
        return "<p class=\"soft\">Settings, machine, versions and seeds are the same.</p>\n"
            .to_owned();
    }
    let rows: Vec<_> = comparison
        .differences
        .iter()
        .map(|it| Row::new(text(&it.what), [text(&it.a), text(&it.b)]))
        .collect();
    let titles = ["", "A", "B"].map(str::to_owned);
    let table = super::markup::table(&titles, &rows);
    format!("<h2>What differs besides the figures</h2>\n<div class=\"said\">{table}</div>\n")
}

fn figures(group: &Group) -> String {
    let row = |row: &super::super::compare::Row| {
        let (class, verdict) = match row.verdict {
            Some(Verdict::Better) => ("better", "better"),
            Some(Verdict::Worse) => ("worse", "worse"),
            Some(Verdict::Same) => ("faint", "overlap"),
            None => ("faint", ""),
        };
        let mut cells = Row::new(
            text(&row.name),
            [
                range(row.a, row.unit),
                range(row.b, row.unit),
                row.ratio.map_or(NONE.to_owned(), ratio),
                verdict.to_owned(),
            ],
        );
        cells.cells[2].0 = "first";
        cells.cells[3].0 = class;
        cells
    };
    let causes = group
        .held_up_by
        .as_ref()
        .map(|[a, b]| Row::new("held up by", [text(a), text(b), NONE.to_owned(), String::new()]));
    let rows: Vec<_> = causes.into_iter().chain(group.rows.iter().map(row)).collect();
    let titles = ["times in \u{b5}s", "A", "B", "B/A", "B is"].map(str::to_owned);
    let table = super::markup::table(&titles, &rows);
    format!("<h2>{}</h2>\n{table}", super::capital(&text(&group.name)))
}
