//! Owns how text and numbers come into a page: escaped, and in the units that people read.
//!
//! Promises: what comes from input passes through [`text`], so no command line, path or error
//! message can become markup. A number that is none (infinite, not a number) is a dash. Knows
//! nothing of reports.

use std::fmt::{Display, Write};

use super::super::super::show::count;
use super::super::report::TIME_NS_MAX;

/// What a cell says that has nothing to say.
pub(super) const NONE: &str = "\u{2013}";

/// The text with all that could be markup in HTML, also within an attribute, made harmless.
pub(super) fn text(input: impl Display) -> String {
    let input = input.to_string();
    let mut safe = String::with_capacity(input.len());
    for letter in input.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // Controls have no place in HTML; what a terminal would obey is shown as a mark.
            control if control.is_control() && control != '\n' => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}

/// A time with three significant digits and its unit; `never` for an answer that did not come.
pub(super) fn time(nanos: u64) -> String {
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "\u{b5}s"), (1, "ns")];
    if nanos >= TIME_NS_MAX {
        return "never".to_owned();
    }
    let (unit, name) = units.into_iter().find(|(unit, _)| nanos >= *unit).unwrap_or((1, "ns"));
    format!("{}&nbsp;{name}", digits(nanos as f64 / unit as f64))
}

/// A time without zeros at its end, for ticks and settings: `2 ms`.
pub(super) fn plain_time(nanos: f64) -> String {
    let name = time(nanos.round() as u64);
    match name.split_once("&nbsp;") {
        Some((number, unit)) if number.contains('.') => {
            format!("{}&nbsp;{unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => name,
    }
}

/// A time in microseconds, for a column in which all have the same unit.
pub(super) fn micros(nanos: u64) -> String {
    match nanos {
        TIME_NS_MAX.. => "never".to_owned(),
        100_000_000.. => count(nanos / 1_000),
        _ => format!("{}.{}", count(nanos / 1_000), nanos % 1_000 / 100),
    }
}

/// A number with three digits or more, as many as it has before its point.
pub(super) fn digits(value: f64) -> String {
    match value {
        _ if !value.is_finite() || value < 0.0 => NONE.to_owned(),
        99.95.. => count(value.round() as u64),
        9.995.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A rate of a tick: `250`, `20k`, `1.5M`.
pub(super) fn short(value: f64) -> String {
    let units = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (unit, name) = units.into_iter().find(|(unit, _)| value >= *unit).unwrap_or((1.0, ""));
    let scaled = format!("{:.2}", value / unit);
    format!("{}{name}", scaled.trim_end_matches('0').trim_end_matches('.'))
}

/// How a percentile is called.
pub(super) fn percentile(value: f64) -> String {
    if value >= 100.0 { "max".to_owned() } else { format!("p{value}") }
}

/// A table: its titles and rows are HTML already. A row begins with its name.
pub(super) fn table(titles: &[String], rows: &[Row]) -> String {
    let mut html = "<div class=\"scroll\"><table>\n<thead><tr>".to_owned();
    for title in titles {
        let _ = write!(html, "<th scope=\"col\">{title}</th>");
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        let _ = write!(html, "<tr class=\"{}\"><th scope=\"row\">{}</th>", row.class, row.name);
        for (class, cell) in &row.cells {
            let _ = write!(html, "<td class=\"{class}\">{cell}</td>");
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>\n");
    html
}

/// One row of a table; all in it is HTML already.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) class: &'static str,
    pub(super) cells: Vec<(&'static str, String)>,
}

impl Row {
    pub(super) fn new(name: impl Into<String>, cells: impl IntoIterator<Item = String>) -> Self {
        let cells = cells.into_iter().map(|cell| ("", cell)).collect();
        Self { name: name.into(), class: "", cells }
    }
}

/// Names and what they are, in two columns; the values are HTML already.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let mut html = "<div class=\"scroll\"><table class=\"facts\"><tbody>\n".to_owned();
    for (name, value) in facts {
        let _ = writeln!(html, "<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>");
    }
    html.push_str("</tbody></table></div>\n");
    html
}

/// One figure that stands out: name, value, and what belongs to it; all HTML already.
pub(super) fn tile(name: &str, value: &str, more: &str) -> String {
    format!(
        "<div class=\"tile\"><div class=\"name\">{name}</div><div class=\"value\">{value}</div>\
         <div class=\"more\">{more}</div></div>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_input_is_markup() {
        assert_eq!(text("<script>\"'&"), "&lt;script&gt;&quot;&#39;&amp;");
        assert_eq!(text("a\u{1b}[31m\nb\0"), "a\u{fffd}[31m\nb\u{fffd}");
    }

    #[test]
    fn numbers_have_the_digits_that_they_can_carry() {
        let found = [0.0, 0.994, 9.99, 9.996, 99.94, 99.96, 1_234.5].map(digits);
        assert_eq!(found, ["0.00", "0.99", "9.99", "10.0", "99.9", "100", "1,235"]);
        assert_eq!([f64::NAN, f64::INFINITY, -1.0].map(digits), [NONE, NONE, NONE]);
        assert_eq!([0.0, 250.0, 20_000.0, 1.5e6].map(short), ["0", "250", "20k", "1.5M"]);
    }

    #[test]
    fn times_have_their_unit() {
        let found = [0, 999, 41_600, 8_421_000, 1_500_000_000, TIME_NS_MAX].map(time);
        let expected = [
            "0.00&nbsp;ns",
            "999&nbsp;ns",
            "41.6&nbsp;\u{b5}s",
            "8.42&nbsp;ms",
            "1.50&nbsp;s",
            "never",
        ];
        assert_eq!(found, expected);
        assert_eq!([999, 8_421_300, u64::MAX].map(micros), ["0.9", "8,421.3", "never"]);
    }
}
