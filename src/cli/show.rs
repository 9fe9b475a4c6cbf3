//! Owns how results look: numbers, sizes, times, tables and text that came from somebody else.
//!
//! Promises: bytes of an event never reach a terminal as control characters. Output is buffered,
//! and a failed write is reported, or ends the verb quietly when the reader went away. Never
//! colours, so a pipe gets the same bytes.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::fmt::temporal::DateTimePrinter;

use super::CliError;
use crate::Timestamp;

/// Width that a table may take where stdout is not a terminal.
const WIDTH: u16 = 120;
/// Bytes of an event's data that a preview looks at: more than any terminal shows in a line.
const PREVIEW: usize = 1024;

/// Buffered stdout.
pub(super) struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    pub(super) fn new() -> Self {
        Self(BufWriter::with_capacity(64 << 10, io::stdout().lock()))
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.0.write_all(bytes).map_err(|error| CliError::output(&error))
    }

    pub(super) fn line(&mut self, line: impl Display) -> Result<(), CliError> {
        writeln!(self.0, "{line}").map_err(|error| CliError::output(&error))
    }

    /// One value as JSON on a line of its own.
    pub(super) fn json(&mut self, value: &impl serde::Serialize) -> Result<(), CliError> {
        serde_json::to_writer(&mut self.0, value)
            .map_err(|error| CliError::output(&error.into()))?;
        self.line("")
    }

    /// The table, without the blanks that would fill its lines.
    pub(super) fn table(&mut self, table: &Table) -> Result<(), CliError> {
        table.lines().try_for_each(|line| self.line(line.trim_end()))
    }

    /// Hands what there is to the reader.
    pub(super) fn flush(&mut self) -> Result<(), CliError> {
        self.0.flush().map_err(|error| CliError::output(&error))
    }

    /// Hands everything to the reader.
    pub(super) fn finish(mut self) -> Result<(), CliError> {
        self.0.flush().map_err(|error| CliError::output(&error))
    }
}

/// An empty table under these titles. A title that begins with `>` is of numbers, which stand on
/// the right.
pub(super) fn table<const N: usize>(titles: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(titles.map(|title| Cell::new(title.trim_start_matches('>'))));
    for (column, title) in table.column_iter_mut().zip(titles) {
        column.set_padding((0, 2));
        if title.starts_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Pairs of a name and a value, one a line.
pub(super) fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, value) in facts {
        table.add_row([name.to_owned(), value]);
    }
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table
}

/// Whether somebody looks at stdout.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// How wide a line on stdout may be.
pub(super) fn width() -> u16 {
    let stdout = io::stdout();
    let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten();
    size.map(|size| size.ws_col).filter(|columns| *columns > 0).unwrap_or(WIDTH)
}

/// A number with a comma between thousands.
pub(super) fn count(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things with their name, in the singular for one.
pub(super) fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A size for people.
pub(super) fn size(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(unit);
            format!(
                "{}.{} {name}",
                count(u64::try_from(tenths / 10).unwrap_or(u64::MAX)),
                tenths % 10
            )
        }
        None => format!("{bytes} B"),
    }
}

/// A part of a whole in percent.
pub(super) fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        _ => format!("{} %", u128::from(part) * 100 / u128::from(whole)),
    }
}

/// Seconds, with as many digits as matter.
pub(super) fn seconds(time: Duration) -> String {
    match time.as_secs_f64() {
        long if long >= 100.0 => format!("{long:.0} s"),
        short => format!("{short:.2} s"),
    }
}

/// Events a second.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rate for people; casts of floats saturate"
)]
pub(super) fn rate(events: u64, time: Duration) -> u64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 { (events as f64 / seconds).round() as u64 } else { 0 }
}

/// A time for people: milliseconds, UTC.
pub(super) fn time(time: Timestamp) -> String {
    rfc3339(time, 3)
}

/// A time for programs: nanoseconds, UTC.
pub(super) fn exact_time(time: Timestamp) -> String {
    rfc3339(time, 9)
}

fn rfc3339(time: Timestamp, digits: u8) -> String {
    let mut text = String::with_capacity(30);
    let printer = DateTimePrinter::new().precision(Some(digits));
    jiff::Timestamp::from_nanosecond(time.as_nanos().into())
        .ok()
        .and_then(|time| printer.print_timestamp(&time, &mut text).ok())
        .map_or_else(|| format!("{} ns", time.as_nanos()), |()| text)
}

/// Text that came from an event, safe for a terminal: control characters are written as escapes.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(hostile) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if hostile(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// Control characters, and those that turn the direction of a line.
fn hostile(character: char) -> bool {
    let turns = ['\u{200e}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2066}'..='\u{2069}'];
    character.is_control() || turns.iter().any(|range| range.contains(&character))
}

/// The beginning of an event's data on one line: as text where it is text, otherwise in
/// hexadecimal.
pub(super) fn preview(data: &[u8]) -> String {
    let head = &data[..data.len().min(PREVIEW)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => Some(text),
        // The cut may lie within a character; that is no sign of other bytes.
        Err(error) if head.len() < data.len() && head.len() - error.valid_up_to() < 4 => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    match text {
        Some(text) => plain(text).into_owned(),
        None => {
            let mut line = "0x".to_owned();
            for byte in head {
                let _ = write!(line, "{byte:02x}");
            }
            line
        }
    }
}

/// A progress bar on stderr, over bytes where their number is known. Invisible where stderr is not
/// a terminal.
pub(super) fn progress(bytes: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match bytes {
        Some(bytes) => (
            ProgressBar::new(bytes),
            "{bar:30} {percent:>3} %  {bytes} of {total_bytes}  {msg}  {eta} left",
        ),
        None => (ProgressBar::no_length(), "{spinner} {bytes}  {msg}  {elapsed}"),
    };
    let style = ProgressStyle::with_template(template);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([count(0_u64), count(999_u64), count(1_000_u64)], ["0", "999", "1,000"]);
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!([size(0), size(1023), size(1536)], ["0 B", "1023 B", "1.5 KiB"]);
        assert_eq!([size(256 << 20), size(u64::MAX)], ["256.0 MiB", "17,179,869,183.9 GiB"]);
        assert_eq!([counted(1, "event"), counted(0, "event")], ["1 event", "0 events"]);
        assert_eq!([percent(1, 0), percent(1, 3), percent(3, 3)], ["-", "33 %", "100 %"]);
    }

    #[test]
    fn times_are_utc_with_fixed_digits() {
        let one = Timestamp::from_nanos(1_500_000_000);
        assert_eq!(exact_time(one), "1970-01-01T00:00:01.500000000Z");
        assert_eq!(time(one), "1970-01-01T00:00:01.500Z");
        assert_eq!(exact_time(Timestamp::from_nanos(u64::MAX)), "2554-07-21T23:34:33.709551615Z");
    }

    #[test]
    fn nothing_steers_a_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\n\u{202e}"), "a\\u{1b}[31mb\\n\\u{202e}");
        assert_eq!(preview(b"{\"a\":\n1}"), "{\"a\":\\n1}");
        assert_eq!(preview(&[0xff, 0]), "0xff00");
        let cut = "\u{e9}".repeat(PREVIEW);
        assert!(preview(cut.as_bytes()).starts_with('\u{e9}'));
        assert!(preview(&[&cut.as_bytes()[..PREVIEW], &[0xff; 9]].concat()[1..]).starts_with("0x"));
    }
}
