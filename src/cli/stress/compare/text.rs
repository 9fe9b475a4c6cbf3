//! Owns the comparison for people: aligned ASCII, warnings first, then each figure of both sides
//! with its ratio.
//!
//! Promises: of several runs the least and the most, never one alone. Decides nothing.

use super::super::super::show::count;
use super::{Comparison, Range, Row, Side, Unit, Verdict};

/// The comparison as lines of text.
pub(in super::super) fn render(comparison: &Comparison) -> String {
    let mut text = String::new();
    for (name, side) in [("A", &comparison.a), ("B", &comparison.b)] {
        text.push_str(&format!("{name}  {}\n", runs(side)));
    }
    for warning in &comparison.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    if !comparison.differences.is_empty() {
        text.push_str("\ndifferent:\n");
        for difference in &comparison.differences {
            let (what, a, b) = (&difference.what, &difference.a, &difference.b);
            text.push_str(&format!("  {what:<28} A {a}   B {b}\n"));
        }
    }
    for group in &comparison.groups {
        text.push_str(&format!("\n{}, times in us\n", group.name));
        let title = format!("{:<26} {:>25} {:>25} {:>14}", "", "A", "B", "B/A");
        text.push_str(&format!("{title}\n"));
        if let Some([a, b]) = &group.held_up_by {
            text.push_str(&format!("{:<26} {a:>25} {b:>25}\n", "held up by"));
        }
        for row in &group.rows {
            text.push_str(line(row).trim_end());
            text.push('\n');
        }
    }
    text
}

/// How many runs a side has, and which.
pub(in super::super) fn runs(side: &Side) -> String {
    let number = side.reports.len();
    let runs = if number == 1 { "run" } else { "runs" };
    let title = side.reports.first().map_or("", |run| run.title.as_str());
    format!("{number} {runs} ({}): {title}", side.files.join(", "))
}

fn line(row: &Row) -> String {
    let verdict = match row.verdict {
        Some(Verdict::Better) => "better",
        Some(Verdict::Worse) => "worse",
        Some(Verdict::Same) => "overlap",
        None => "",
    };
    format!(
        "{:<26} {:>25} {:>25} {:>14}  {verdict}",
        row.name,
        range(row.a, row.unit),
        range(row.b, row.unit),
        row.ratio.map_or("-".to_owned(), ratio),
    )
}

/// The least and the most; one number where they are the same.
pub(in super::super) fn range(range: Range, unit: Unit) -> String {
    ends(range, |value| number(value, unit))
}

/// A ratio, with two digits behind its point.
pub(in super::super) fn ratio(range: Range) -> String {
    ends(range, |value| format!("{value:.2}"))
}

fn ends(range: Range, name: impl Fn(f64) -> String) -> String {
    let (min, max) = (name(range.min), name(range.max));
    if min == max { min } else { format!("{min} .. {max}") }
}

fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Ns if value < 1e6 => format!("{:.1}", value / 1e3),
        Unit::Ns => count((value / 1e3).round() as u64),
        Unit::PerSecond | Unit::Ratio if value < 100.0 => format!("{value:.2}"),
        Unit::PerSecond | Unit::Ratio => count(value.round() as u64),
    }
}
