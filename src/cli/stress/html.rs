//! Owns the report as one page: a file that a browser shows without network, script or font of its
//! own, in light and dark, on wide and narrow screens and on paper.
//!
//! Promises: the verdict stands first, and a void figure says so above it; throughput stands beside
//! its latency, and no mean of latencies is shown. Only what stands in the report; what was not
//! measured takes no room. All that comes from input is escaped.

use super::report::{Distribution, Loop, Mode, Report};

mod chart;
mod comparison;
mod curves;
mod environment;
mod head;
mod inside;
mod markup;
mod scale;
mod sweep;
#[cfg(test)]
pub(super) mod tests;

pub(super) use comparison::render as render_comparison;

const STYLE: &str = include_str!("html/page.css");

/// The report as one HTML file.
pub(super) fn render(report: &Report) -> String {
    let shown = shown(report);
    let mut body = head::render(report, shown.map(|index| &report.loops[index]));
    if let Some(sweep) = &report.sweep {
        body.push_str(&sweep::render(sweep, report));
    }
    if let Some(index) = shown {
        let driven = &report.loops[index];
        let knee = report.sweep.as_ref().and_then(|sweep| sweep.knee.as_ref());
        let at = if knee.is_some() { "At the knee: " } else { "" };
        body.push_str(&format!("<h2>{}</h2>\n", capital(&format!("{at}{}", name(driven)))));
        body.push_str(&driven_loop(driven, report));
    }
    body.push_str(&environment::probes(report));
    body.push_str(&others(report, shown));
    body.push_str(&environment::render(report));
    let class = if report.valid { "" } else { "void" };
    page("paperchase stress", class, &body)
}

/// A whole file around a body.
fn page(title: &str, class: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style></head>\n\
         <body class=\"{class}\">\n{body}\
         <footer>Made by paperchase {}. Percentiles are of all samples; no mean of latencies is \
         shown, no sample was dropped, no outlier trimmed.</footer>\n</body></html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// The loop whose figures stand in front: that of the knee, or the first.
fn shown(report: &Report) -> Option<usize> {
    let knee = report.sweep.as_ref().and_then(|sweep| sweep.knee.as_ref());
    let at_knee = knee.map(|knee| knee.point.saturating_add(1));
    at_knee.filter(|index| *index < report.loops.len()).or((!report.loops.is_empty()).then_some(0))
}

/// What a loop is called in a heading.
fn name(driven: &Loop) -> String {
    match (driven.kind, &driven.planned) {
        (Mode::Open, Some(planned)) => {
            format!("open loop, {} appends/s planned", markup::digits(planned.appends))
        }
        (Mode::Open, None) => "open loop".to_owned(),
        _ => "closed loop".to_owned(),
    }
}

/// The text with a capital at its beginning.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_ascii_uppercase().to_string())
        + letters.as_str()
}

/// The times that say how long an append took, and their name: the response, and in a closed loop
/// the service.
fn main_times(driven: &Loop) -> (&'static str, &Distribution) {
    match &driven.response {
        Some(response) => ("response", response),
        None => ("service", &driven.service),
    }
}

/// All times of a loop that were measured, with their names and colours.
fn all_times(driven: &Loop) -> Vec<(&'static str, &'static str, &Distribution)> {
    let all = [
        ("response", "blue", driven.response.as_ref()),
        ("service", "orange", Some(&driven.service)),
        ("visible", "green", driven.visible.as_ref()),
        ("read", "sky dash", driven.read.as_ref()),
        ("sync", "pink", driven.sync.as_ref()),
        ("lateness", "yellow dash", driven.lateness.as_ref()),
        ("hiccup", "grey dot", driven.hiccup.as_ref()),
    ];
    let measured = all.into_iter().filter_map(|(name, class, times)| Some((name, class, times?)));
    measured.filter(|(_, _, times)| times.samples > 0).collect()
}

/// All about one loop, below its heading.
fn driven_loop(driven: &Loop, report: &Report) -> String {
    let bare = report.probe.as_ref().map(|probe| &probe.before.latency);
    [
        if report.loops.len() > 1 { head::void(driven) } else { String::new() },
        curves::percentiles(driven, bare),
        curves::table(driven),
        curves::over_time(driven),
        inside::render(driven),
    ]
    .concat()
}

/// The loops that do not stand in front, to unfold.
fn others(report: &Report, shown: Option<usize>) -> String {
    let others = report.loops.iter().enumerate().filter(|(index, _)| Some(*index) != shown);
    let mut html = String::new();
    for (_, driven) in others {
        let void = if driven.void.is_empty() && driven.ledger.ok { "" } else { " - VOID" };
        // What a log lost is not folded away.
        let open = if driven.ledger.ok { "" } else { " open" };
        html.push_str(&format!(
            "<details{open}><summary>{}{void}</summary>\n",
            capital(&name(driven))
        ));
        html.push_str(&driven_loop(driven, report));
        html.push_str("</details>\n");
    }
    if html.is_empty() { html } else { format!("<h2>All other loads</h2>\n{html}") }
}
