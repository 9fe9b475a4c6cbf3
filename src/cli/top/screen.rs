//! Owns the terminal of `top`: draws what there is to show, again and again, until somebody ends
//! it.
//!
//! Promises: the terminal is given back as it was, also after an error or a panic. A terminal that
//! is too small shows less; the bottleneck is shown first.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::super::look::{Look, Pair};
use super::super::{CliError, Outcome, intake};
use super::rows::{PATH, STAGES, Screen};
use crate::clock::{Clock, SystemClock};

/// How soon a key or a signal is noticed.
const LOOK: Duration = Duration::from_millis(100);

/// Shows the log until somebody ends it, or its process does.
pub(super) fn run(dir: &Path, interval: Duration, first: Look) -> Result<Outcome, CliError> {
    let stop = intake::stop_flag()?;
    let refused = |error: io::Error| CliError::cannot(format_args!("drawing: {error}"));
    let clock = SystemClock::default();
    let mut terminal = ratatui::try_init().map_err(refused)?;
    let show = || {
        let mut last = first;
        let waiting = Line::from("the first figures come in a moment; q ends");
        terminal.draw(|frame| frame.render_widget(waiting, frame.area())).map_err(refused)?;
        loop {
            let due = clock.monotonic() + interval;
            while clock.monotonic() < due {
                let left = due.saturating_sub(clock.monotonic());
                let ends = is_asked_to_end(left.min(LOOK)).map_err(refused)?;
                if ends || stop.load(Ordering::Relaxed) {
                    return Ok(Outcome::Good);
                }
            }
            let now = Look::at(dir)?;
            if now.session == last.session {
                let pair = Pair { earlier: last.stats, now: now.clone() };
                let screen = Screen::of(&pair);
                terminal.draw(|frame| draw(frame, &screen)).map_err(refused)?;
            }
            last = now;
        }
    };
    let shown = show();
    ratatui::restore();
    shown
}

/// Waits for a key that ends the verb; a change of the terminal's size is seen at the next drawing.
fn is_asked_to_end(wait: Duration) -> io::Result<bool> {
    if !event::poll(wait)? {
        return Ok(false);
    }
    let Event::Key(key) = event::read()? else { return Ok(false) };
    let is_interrupt =
        key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    Ok(is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let height = |lines: usize| Constraint::Length(u16::try_from(lines).unwrap_or(u16::MAX));
    let areas = Layout::vertical([
        height(screen.verdict.len() + 1),
        height(screen.head.len() + 1),
        height(screen.stages.len() + 2),
        height(screen.path.len() + 2),
        Constraint::Min(0),
    ]);
    let [verdict, head, stages, path, foot] = areas.areas(frame.area());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut lines: Vec<_> = screen.verdict.iter().map(|line| Line::from(line.as_str())).collect();
    if let Some(line) = lines.first_mut() {
        *line = line.clone().style(bold);
    }
    frame.render_widget(Paragraph::new(lines), verdict);
    let lines: Vec<_> = screen.head.iter().map(|line| Line::from(line.as_str())).collect();
    frame.render_widget(Paragraph::new(lines), head);
    frame.render_widget(table(STAGES, &screen.stages, [18, 24]), stages);
    frame.render_widget(table(PATH, &screen.path, [9, 9]), path);
    frame.render_widget(Line::from("q ends"), foot);
}

/// A table whose third and fifth columns may be wider than the others.
fn table<'a>(titles: [&'a str; 8], rows: &'a [[String; 8]], wide: [u16; 2]) -> Table<'a> {
    let cell = |index: usize, text: &'a str| {
        let line = Line::from(text);
        Cell::from(if index == 0 { line } else { line.right_aligned() })
    };
    let line = |row: [&'a str; 8]| {
        let mut index = 0;
        Row::new(row.map(|text| {
            index += 1;
            cell(index - 1, text)
        }))
    };
    let header = line(titles.map(|title| title.trim_start_matches('>')));
    let rows = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    let widths = [16, 9, wide[0], 9, wide[1], 9, 9, 9].map(Constraint::Length);
    Table::new(rows, widths).header(header.style(Style::new().add_modifier(Modifier::BOLD)))
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::tests::pair;
    use super::*;

    fn drawn(width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let screen = Screen::of(&pair());
        terminal.draw(|frame| draw(frame, &screen)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn everything_is_on_one_screen() {
        let screen = drawn(120, 32);
        let parts = [
            "bottleneck: the disk",
            "because: syncs",
            "process 4711",
            "disk: sync",
            "wake",
            "q ends",
        ];
        for part in parts {
            assert!(screen.contains(part), "{part} is not in\n{screen}");
        }
    }

    #[test]
    fn a_small_terminal_shows_the_bottleneck() {
        assert!(drawn(60, 3).contains("bottleneck: the disk"));
        drawn(1, 1);
    }
}
