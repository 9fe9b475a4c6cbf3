//! Owns the verb `top`: the stages of a log that another process has open, as they work.
//!
//! Promises: attaches by the shared page alone, so it costs the process nothing. Without a terminal
//! it shows one table and ends, as with `--once`. Ends with exit code 3 and what to do where no
//! process has the log open, or when it closes it.

pub(super) mod report;
mod rows;
mod screen;

use std::path::PathBuf;
use std::time::Duration;

use super::look::Look;
use super::show::{self, Output};
use super::{CliError, Outcome, args};

/// Watch the stages of a log that a process has open
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Stages and the disk as rows: utilisation, saturation, errors, throughput and times; the way of an
append in parts; the watermarks; and one line that names the bottleneck. Keys: q ends.
It reads a page that the process shares, and touches nothing.

Examples:
  paperchase top data
  paperchase top data --once --interval 10
  paperchase top data --json | jq .verdict.cause
  paperchase top data --prometheus > data.prom")]
pub(super) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// Show one table as text, and end
    #[arg(long)]
    once: bool,
    /// One JSON object, and end
    #[arg(long)]
    json: bool,
    /// All that was counted since the log was opened, as text for Prometheus, and end
    #[arg(long, conflicts_with_all = ["json", "once"])]
    prometheus: bool,
    /// Seconds between two looks
    #[arg(long, value_name = "S", default_value = "1", value_parser = args::interval)]
    interval: Duration,
}

pub(super) fn run(args: &Args) -> Result<Outcome, CliError> {
    let first = Look::at(&args.dir)?;
    if args.prometheus {
        let mut output = Output::new();
        output.bytes(first.stats.prometheus(&args.dir.to_string_lossy()).as_bytes())?;
        output.finish()?;
        return Ok(Outcome::Good);
    }
    if !args.once && !args.json && show::is_terminal() {
        return screen::run(&args.dir, args.interval, first);
    }
    let pair = first.again(&args.dir, args.interval)?;
    let mut output = Output::new();
    if args.json {
        output.json(&report::Report::of(&pair))?;
    } else {
        let screen = rows::Screen::of(&pair);
        for line in &screen.head {
            output.line(line)?;
        }
        output.line("")?;
        for (titles, rows) in [(rows::STAGES, &screen.stages), (rows::PATH, &screen.path)] {
            let mut table = show::table(titles);
            rows.iter().for_each(|row| _ = table.add_row(row));
            output.table(&table)?;
            output.line("")?;
        }
        for line in &screen.verdict {
            output.line(line)?;
        }
    }
    output.finish()?;
    Ok(Outcome::Good)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::look::Pair;
    use super::*;
    use crate::Stats;
    use crate::position::Position;
    use crate::stage::histogram::Recorder;

    /// A second in which a log spent most of its time in syncs.
    pub(in super::super) fn pair() -> Pair {
        let earlier = Stats { uptime: Duration::from_secs(7), ..Stats::default() };
        let times = |millis, count| {
            let recorder = Recorder::default();
            recorder.record_many(Duration::from_millis(millis), count);
            recorder.snapshot()
        };
        let mut stats = Stats { uptime: Duration::from_secs(8), ..Stats::default() };
        (stats.written, stats.durable) = (Position::new(1500), Position::new(1400));
        stats.visible = Position::new(1390);
        stats.disk.syncs = times(8, 100);
        stats.disk.events = 1400;
        stats.disk.bytes = 5_000_000;
        stats.appends.pushed = 1000;
        stats.appends.popped = 1000;
        stats.appends.capacity = 16_384;
        stats.appends.rejected = 3;
        stats.path.total = times(9, 990);
        stats.path.sync = times(8, 990);
        stats.writer.busy = Duration::from_millis(900);
        stats.writer.idle = Duration::from_millis(100);
        stats.subscribers.count = 2;
        Pair { earlier, now: Look { process: 4711, session: 3, hangs: false, stats } }
    }

    #[test]
    fn programs_get_what_people_see() {
        let json = serde_json::to_value(report::Report::of(&pair())).unwrap();
        assert_eq!((&json["process"], &json["interval_seconds"]), (&4711.into(), &1.0.into()));
        assert_eq!((&json["verdict"]["cause"], &json["visible"]), (&"sync".into(), &1390.into()));
        assert_eq!(json["disk"]["syncs"]["count"], 100);
        assert_eq!(json["disk"]["syncs"]["p99_us"], 8000.0);
        assert_eq!(json["writer"]["utilisation"], 0.9);
        assert_eq!(json["path"]["total"]["mean_us"], 9000.0);
        assert_eq!((&json["appends"]["rejected"], &json["in_flight"]), (&3.into(), &10.into()));
        let evidence = json["verdict"]["findings"][0]["evidence"].as_array().unwrap();
        assert!(!evidence.is_empty());
    }

    #[test]
    fn people_get_a_row_for_each_stage() {
        let screen = rows::Screen::of(&pair());
        let names: Vec<_> = screen.stages.iter().map(|row| row[0].as_str()).collect();
        let expected = [
            "append queue",
            "writer",
            "disk: write",
            "disk: sync",
            "disk: zeros",
            "group queue",
            "chaser",
            "wakes",
            "keeper",
            "subscribers",
        ];
        assert_eq!(names, expected);
        assert_eq!(&screen.stages[1][1..4], ["90 %", "0 waiting", "0"]);
        assert_eq!(&screen.stages[3][5..], ["8.00 ms", "8.00 ms", "8.00 ms"]);
        assert!(screen.head[0].contains("process 4711"), "{:?}", screen.head);
        assert_eq!(screen.verdict[0], "bottleneck: the disk: 80 % of the time is spent in syncs");
    }
}
