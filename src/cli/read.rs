//! Owns the verb `read`: events for people, as a table that fits the terminal, or for programs, as
//! `export` writes them.
//!
//! Promises: output begins before all is read, and memory does not grow with the log.

use std::ops::Bound;
use std::path::PathBuf;

use comfy_table::{Cell, ColumnConstraint, ContentArrangement, Row, Table, Width};

use super::follow::Following;
use super::show::{self, Output};
use super::{CliError, Outcome, args, failure, line, open};
use crate::{Error, Position, Query, RecordedEvent, StreamVersion, View};

/// Columns of names, and the width that they keep at least.
const STREAM: usize = 1;
const TYPE: usize = 3;
const NAME_MIN: u16 = 10;
/// Rows that are laid out together.
const PAGE: usize = 500;
const TITLES: [&str; 6] = [">POSITION", "STREAM", ">VERSION", "TYPE", "TIME", "DATA"];
/// Least width that is left to the data, however wide the names are.
const DATA_MIN: u16 = 20;

/// Read events as a table, or as JSON lines
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
An event is shown when it has any of the types and all of the tags, and is in any of the streams
and categories; what is not named is not asked for.

Examples:
  paperchase read data --limit 20
  paperchase read data --stream cart-7 --from 3
  paperchase read data --type OrderPlaced --type OrderPaid --backwards --limit 5 --json
  paperchase read data --category cart --tag sku:7 --tag gift
  paperchase read data --query 'type=OrderPaid tag=sku:7 or stream=\"cart 7\"'
  paperchase read data --category cart --follow")]
#[command(group = clap::ArgGroup::new("filter").multiple(true).conflicts_with("query"))]
pub(super) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// Only events of this stream; repeat it for any of several
    #[arg(long, value_name = "NAME", group = "filter")]
    stream: Vec<String>,
    /// Only events of streams of this category: the part of their name before the first `-`
    #[arg(long, value_name = "NAME", group = "filter")]
    category: Vec<String>,
    /// Only events of this type; repeat it for any of several
    #[arg(long = "type", value_name = "NAME", group = "filter")]
    event_type: Vec<String>,
    /// Only events with this tag; repeat it for those with all of several
    #[arg(long, value_name = "TAG", group = "filter")]
    tag: Vec<String>,
    /// Only events that this means: KIND=NAME words, of the kinds stream, category, type and tag,
    /// with `or` between alternatives
    #[arg(long, value_name = "TEXT")]
    query: Option<Query>,
    /// Begin here: a version with one --stream alone, otherwise a position
    #[arg(long, value_name = "NUMBER", value_parser = args::number, allow_negative_numbers = true)]
    from: Option<u64>,
    /// At most this many events
    #[arg(long, value_name = "COUNT", value_parser = args::number, allow_negative_numbers = true)]
    #[arg(default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
    /// Downwards, from the end or from --from
    #[arg(long)]
    backwards: bool,
    /// Go on as events come, until Ctrl-C
    #[arg(long, short, conflicts_with = "backwards")]
    follow: bool,
    /// One JSON object a line, as `export` writes it
    #[arg(long)]
    json: bool,
}

type Events = Box<dyn Iterator<Item = Result<RecordedEvent, Error>>>;

pub(super) fn run(args: &Args) -> Result<Outcome, CliError> {
    let mut output = Output::new();
    if args.follow {
        follow(args, &mut output)?;
    } else {
        let reading = open::for_reading(&args.dir)?;
        let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
        let events = select(args, &reading.view)?.take(limit);
        print(args, events, &mut Vec::new(), &mut output)?;
    }
    output.finish()?;
    Ok(Outcome::Good)
}

/// Prints what there is and goes on, from view to view.
fn follow(args: &Args, output: &mut Output) -> Result<(), CliError> {
    let mut following = Following::start(&args.dir)?;
    let mut rest = args.clone();
    let mut widths = Vec::new();
    loop {
        let view = following.view();
        let limit = usize::try_from(rest.limit).unwrap_or(usize::MAX);
        let events = select(&rest, &view)?.take(limit).take_while(|_| !following.is_stopped());
        let events = events.inspect(|event| {
            let Ok(event) = event else { return };
            let by_version = lone_stream(args).is_some();
            let last = if by_version { event.version().get() } else { event.position().get() };
            rest.from = Some(last + 1);
            rest.limit -= 1;
        });
        print(args, events, &mut widths, output)?;
        output.flush()?;
        if lone_stream(args).is_none() {
            rest.from = rest.from.max(Some(view.end().get()));
        }
        if rest.limit == 0 || !following.wait_beyond(view.end())? {
            return Ok(());
        }
    }
}

fn print(
    args: &Args,
    events: impl Iterator<Item = Result<RecordedEvent, Error>>,
    widths: &mut Vec<u16>,
    output: &mut Output,
) -> Result<(), CliError> {
    if !args.json {
        return print_table(events, widths, output);
    }
    let mut text = Vec::new();
    for event in events {
        text.clear();
        line::write(&mut text, &event?);
        output.bytes(&text)?;
    }
    Ok(())
}

fn select(args: &Args, view: &View) -> Result<Events, CliError> {
    for stream in &args.stream {
        if !args.follow && view.stream_version(stream)?.is_none() {
            failure::say(format_args!("stream {stream:?} has no events"));
            let place = args.dir.display().to_string();
            let place = failure::quoted(&place);
            failure::hint(format_args!("`paperchase streams {place}` lists all names"));
        }
    }
    if let Some(stream) = lone_stream(args) {
        let versions = range(args, StreamVersion::new);
        return Ok(directed(args, view.read_stream(stream, versions)?));
    }
    Ok(directed(args, view.read(&query(args), range(args, Position::new))?))
}

/// The stream that is asked for alone, and so read by its versions.
fn lone_stream(args: &Args) -> Option<&str> {
    match &args.stream[..] {
        [stream] if query(args) == Query::stream(stream) => Some(stream),
        _ => None,
    }
}

fn query(args: &Args) -> Query {
    args.query.clone().unwrap_or_else(|| {
        Query::new()
            .types(&args.event_type)
            .tags(&args.tag)
            .streams(&args.stream)
            .categories(&args.category)
    })
}

/// From `--from` on, or down from it.
fn range<T>(args: &Args, number: impl Fn(u64) -> T) -> (Bound<T>, Bound<T>) {
    let from = args.from.map_or(Bound::Unbounded, |from| Bound::Included(number(from)));
    if args.backwards { (Bound::Unbounded, from) } else { (from, Bound::Unbounded) }
}

fn directed(
    args: &Args,
    events: impl DoubleEndedIterator<Item = Result<RecordedEvent, Error>> + 'static,
) -> Events {
    if args.backwards { Box::new(events.rev()) } else { Box::new(events) }
}

/// Later pages keep at least the widths of the first, so that columns stay in line.
fn print_table(
    events: impl Iterator<Item = Result<RecordedEvent, Error>>,
    widths: &mut Vec<u16>,
    output: &mut Output,
) -> Result<(), CliError> {
    let mut page = Vec::with_capacity(PAGE);
    for event in events {
        page.push(event?);
        if page.len() == PAGE {
            print_page(&page, widths, output)?;
            page.clear();
        }
    }
    if !page.is_empty() || widths.is_empty() {
        print_page(&page, widths, output)?;
    }
    Ok(())
}

fn print_page(
    events: &[RecordedEvent],
    widths: &mut Vec<u16>,
    output: &mut Output,
) -> Result<(), CliError> {
    let mut table = show::table(TITLES);
    let is_first = widths.is_empty();
    for event in events {
        let mut row = Row::from([
            Cell::new(show::count(event.position().get())),
            Cell::new(show::plain(event.stream())),
            Cell::new(show::count(event.version().get())),
            Cell::new(show::plain(event.event_type())),
            Cell::new(show::time(event.time())),
            Cell::new(show::preview(event.data())),
        ]);
        table.add_row(row.max_height(1).clone());
    }
    fit(&mut table, widths);
    let lines = table.lines().skip(usize::from(!is_first));
    lines.into_iter().try_for_each(|line| output.line(line.trim_end()))
}

/// Gives the data what the other columns leave of the terminal.
fn fit(table: &mut Table, widths: &mut Vec<u16>) {
    let content = table.column_max_content_widths();
    let fixed = content.iter().take(TITLES.len() - 1);
    *widths = fixed
        .enumerate()
        .map(|(index, width)| (*width).max(widths.get(index).copied().unwrap_or(0)))
        .collect();
    let padding = 2;
    if show::is_terminal() {
        // The widest name gives way first, so that a row stays on its line.
        let all = |widths: &[u16]| widths.iter().map(|width| u32::from(width + padding)).sum();
        let room = u32::from(show::width().saturating_sub(DATA_MIN));
        let mut over = u32::saturating_sub(all(widths), room);
        while over > 0 {
            let name = if widths[STREAM] >= widths[TYPE] { STREAM } else { TYPE };
            if widths[name] <= NAME_MIN {
                break;
            }
            widths[name] -= 1;
            over -= 1;
        }
    }
    let taken = widths.iter().fold(0_u16, |sum, width| sum.saturating_add(width + padding));
    let data = show::width().saturating_sub(taken).max(DATA_MIN);
    let constraints = widths.iter().map(|width| width + padding).chain([data]);
    table
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_constraints(constraints.map(|width| ColumnConstraint::Absolute(Width::Fixed(width))));
    // Data is one word: it is cut where the line ends, not where a blank happens to be.
    table.column_iter_mut().for_each(|column| {
        column.set_delimiter('\0');
    });
    if let Some(data) = table.column_mut(TITLES.len() - 1) {
        data.set_padding((0, 0));
    }
}
