//! Owns how a chart is drawn: lines in an SVG that stretches with the page, and their names as text
//! beside it, which keeps its size.
//!
//! Promises: no coordinate is outside of 0 to 1000 and none is no number; names at the ends of
//! lines do not cover each other; a line with one point is a dot. The picture needs no script and
//! no network. Every name that comes here is HTML already.

use std::fmt::Write;

use super::scale::Axis;

/// The side of the square in which lines are drawn, before it is stretched.
const SIDE: f64 = 1000.0;
/// Room that a name at the end of a line takes: its height in pixels, its width as a part of the
/// chart.
const NAME_HEIGHT: f64 = 15.0;
const NAME_WIDTH: f64 = 0.22;

/// A chart of lines over two axes.
#[derive(Debug, Default)]
pub(super) struct Chart {
    pub(super) title: String,
    /// What stands behind the title, less loud.
    pub(super) about: String,
    /// Height in pixels.
    pub(super) height: f64,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    /// A place on the x axis that is pointed out, 0 to 1, and its name.
    pub(super) flag: Option<(f64, String)>,
    /// Places on the x axis, 0 to 1, and what is told of them under the pointer.
    pub(super) hover: Vec<(f64, String)>,
    /// Without names on the x axis: it shares that of the chart below.
    pub(super) slim: bool,
}

/// One line of a chart.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Stands at its end.
    pub(super) name: String,
    /// Its colour, and how it is drawn: classes of the style sheet.
    pub(super) class: &'static str,
    /// Of the axes, 0 to 1, from left to right; one that is no number interrupts the line.
    pub(super) points: Vec<(f64, f64)>,
    pub(super) dots: bool,
    pub(super) area: bool,
}

impl Chart {
    /// The chart as a figure; nothing when no line has a point.
    pub(super) fn render(&self) -> String {
        if self.lines.iter().all(|line| line.drawn().next().is_none()) {
            return String::new();
        }
        let mut html = format!(
            "<figure class=\"{}\"><figcaption>{} <span>{}</span></figcaption>\n\
             <div class=\"plot\" style=\"height:{:.0}px\">\n\
             <svg viewBox=\"0 0 {SIDE} {SIDE}\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-label=\"{}\">\n",
            if self.slim { "slim" } else { "" },
            self.title,
            self.about,
            self.height,
            self.title,
        );
        self.grid(&mut html);
        for line in &self.lines {
            line.draw(&mut html);
        }
        self.hover(&mut html);
        html.push_str("</svg>\n");
        self.names(&mut html);
        html.push_str("</div></figure>\n");
        html
    }

    fn grid(&self, html: &mut String) {
        let mut path = String::new();
        for tick in &self.y.ticks {
            let _ = write!(path, "M0 {}H{SIDE}", down(tick.at));
        }
        for tick in &self.x.ticks {
            let _ = write!(path, "M{} 0V{SIDE}", right(tick.at));
        }
        let _ = writeln!(html, "<path class=\"grid\" d=\"{path}\"/>");
        let _ = writeln!(html, "<path class=\"base\" d=\"M0 {SIDE}H{SIDE}\"/>");
        if let Some((at, _)) = &self.flag {
            let _ = writeln!(html, "<path class=\"flagline\" d=\"M{} 0V{SIDE}\"/>", right(*at));
        }
    }

    fn hover(&self, html: &mut String) {
        if self.hover.is_empty() {
            return;
        }
        html.push_str("<g class=\"hover\">");
        for (at, told) in &self.hover {
            let at = right(*at);
            let _ = write!(html, "<path d=\"M{at} 0V{SIDE}\"><title>{told}</title></path>");
        }
        html.push_str("</g>\n");
    }

    fn names(&self, html: &mut String) {
        for tick in self.y.ticks.iter().filter(|tick| !tick.name.is_empty()) {
            let fine = if tick.fine { " fine" } else { "" };
            let (at, name) = (percent(tick.at), &tick.name);
            let _ = writeln!(html, "<span class=\"y{fine}\" style=\"bottom:{at}%\">{name}</span>");
        }
        for tick in self.x.ticks.iter().filter(|tick| !tick.name.is_empty()) {
            let fine = if tick.fine { " fine" } else { "" };
            let (at, name) = (percent(tick.at), &tick.name);
            let _ = writeln!(html, "<span class=\"x{fine}\" style=\"left:{at}%\">{name}</span>");
        }
        let _ = writeln!(html, "<span class=\"x-title\">{}</span>", self.x.title);
        if let Some((at, name)) = &self.flag {
            let at = percent(*at);
            let _ = writeln!(html, "<span class=\"flag\" style=\"left:{at}%\">{name}</span>");
        }
        for (line, (x, y)) in self.lines.iter().zip(self.ends()) {
            if line.drawn().next().is_some() && !line.name.is_empty() {
                let (x, y, class, name) = (percent(x), percent(y), line.class, &line.name);
                let _ = writeln!(
                    html,
                    "<span class=\"end {class}\" style=\"left:{x}%;bottom:{y}%\">{name}</span>"
                );
            }
        }
    }

    /// Where the name of each line stands: at its end, and clear of the others.
    fn ends(&self) -> Vec<(f64, f64)> {
        let last =
            |line: &Line| line.drawn().last().map_or((0.0, 0.0), |(x, y)| (unit(*x), unit(*y)));
        let mut ends: Vec<_> = self.lines.iter().map(last).collect();
        let named = |index: &usize| {
            self.lines[*index].drawn().next().is_some() && !self.lines[*index].name.is_empty()
        };
        let mut order: Vec<_> = (0..ends.len()).filter(named).collect();
        order.sort_by(|a, b| ends[*a].1.total_cmp(&ends[*b].1));
        let gap = NAME_HEIGHT / self.height.max(NAME_HEIGHT);
        // From the lowest up, each stands above those below it; what would leave the chart at its
        // top pushes the others down again.
        for from in 1..order.len() {
            for below in 0..from {
                let (under, (x, y)) = (ends[order[below]], ends[order[from]]);
                if (under.0 - x).abs() < NAME_WIDTH {
                    ends[order[from]].1 = y.max(under.1 + gap);
                }
            }
        }
        let mut ceiling = 1.0 + gap / 2.0;
        for index in order.into_iter().rev() {
            if ends[index].1 > ceiling {
                ends[index].1 = ceiling;
            }
            if ends[index].1 > ceiling - gap {
                ceiling = ends[index].1 - gap;
            }
        }
        ends
    }
}

impl Line {
    fn drawn(&self) -> impl Iterator<Item = &(f64, f64)> {
        self.points.iter().filter(|(x, y)| !x.is_nan() && !y.is_nan())
    }

    fn draw(&self, html: &mut String) {
        let (mut path, mut letter) = (String::new(), 'M');
        for (x, y) in &self.points {
            if x.is_nan() || y.is_nan() {
                letter = 'M';
                continue;
            }
            let _ = write!(path, "{letter}{} {}", right(*x), down(*y));
            letter = 'L';
        }
        let class = self.class;
        let ends = self.drawn().next().zip(self.drawn().last());
        if let Some(((first, _), (last, _))) = ends.filter(|_| self.area) {
            let (first, last) = (right(*first), right(*last));
            let _ = writeln!(
                html,
                "<path class=\"area {class}\" d=\"{path}L{last} {SIDE}L{first} {SIDE}Z\"/>"
            );
        }
        if self.points.len() > 1 {
            let _ = writeln!(html, "<path class=\"line {class}\" d=\"{path}\"/>");
        }
        if self.dots || self.points.len() == 1 {
            let mut dots = String::new();
            for (x, y) in self.drawn() {
                let _ = write!(dots, "M{} {}h0", right(*x), down(*y));
            }
            // A line of no length with round ends stays round however the square is stretched.
            let colour = class.split(' ').next().unwrap_or_default();
            let _ = writeln!(html, "<path class=\"dots {colour}\" d=\"{dots}\"/>");
        }
    }
}

fn unit(at: f64) -> f64 {
    if at.is_nan() { 0.0 } else { at.clamp(0.0, 1.0) }
}

fn right(at: f64) -> f64 {
    (unit(at) * SIDE * 10.0).round() / 10.0
}

fn down(at: f64) -> f64 {
    right(1.0 - unit(at))
}

fn percent(at: f64) -> f64 {
    (at * 1000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, points: &[(f64, f64)]) -> Line {
        Line { name: name.to_owned(), points: points.to_vec(), ..Line::default() }
    }

    #[test]
    fn names_at_the_ends_do_not_cover_each_other() {
        let tops = ["a", "b", "c"].map(|name| line(name, &[(0.0, 0.0), (1.0, 0.99)]));
        let low = ["d", "e"].map(|name| line(name, &[(1.0, 0.5)]));
        let apart = line("f", &[(0.4, 0.5)]);
        let lines = tops.into_iter().chain(low).chain([apart]).collect();
        let chart = Chart { height: 300.0, lines, ..Chart::default() };
        let ends = chart.ends();
        let mut heights: Vec<_> = ends[..5].iter().map(|(_, y)| *y).collect();
        heights.sort_by(f64::total_cmp);
        for pair in heights.windows(2) {
            assert!(pair[1] - pair[0] > 0.049, "{ends:?}");
        }
        assert!(heights[4] < 1.03, "{ends:?}");
        assert_eq!(ends[5], (0.4, 0.5));
    }

    #[test]
    fn a_drawing_has_only_finite_places() {
        let wild = [(f64::NAN, 0.5), (-3.0, f64::INFINITY), (1e300, f64::NEG_INFINITY)];
        let mut chart = Chart { height: 0.0, ..Chart::default() };
        assert_eq!(chart.render(), "");
        let all = Line { dots: true, area: true, ..line("wild", &wild) };
        chart.lines = vec![all, line("one", &[(0.5, 0.5)]), line("none", &[])];
        chart.hover = vec![(f64::NAN, "x".to_owned())];
        let html = chart.render();
        assert!(!html.contains("NaN") && !html.contains("inf"), "{html}");
        assert!(html.contains("M500 500h0") && !html.contains(">none<"), "{html}");
    }
}
