//! Owns the verb `why`: what holds up a log that another process has open, and how that is known.

use std::path::PathBuf;
use std::time::Duration;

use super::look::{Look, Pair};
use super::show::Output;
use super::top::report::VerdictReport;
use super::{CliError, Outcome, args};

/// Tell what holds up a log that a process has open, with the evidence
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It looks at the process's figures twice, some time apart, and touches nothing.
Without a process that has the log open it ends with exit code 3.

Examples:
  paperchase why data
  paperchase why data --interval 10
  paperchase why data --json | jq .cause")]
pub(super) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// Seconds between the two looks
    #[arg(long, value_name = "S", default_value = "1", value_parser = args::interval)]
    interval: Duration,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome, CliError> {
    let pair = Look::at(&args.dir)?.again(&args.dir, args.interval)?;
    let verdict = VerdictReport::of(&pair.now.stats, &pair.earlier);
    let mut output = Output::new();
    if args.json {
        output.json(&verdict)?;
    } else {
        for line in lines(&pair, &verdict) {
            output.line(line)?;
        }
    }
    output.finish()?;
    Ok(Outcome::Good)
}

fn lines(pair: &Pair, verdict: &VerdictReport) -> Vec<String> {
    let between = pair.now.stats.since(&pair.earlier).uptime;
    let mut lines =
        vec![format!("process {}, {:.1} s of it:", pair.now.process, between.as_secs_f64())];
    for finding in &verdict.findings {
        lines.push(String::new());
        lines.extend(finding.lines());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::top::tests::pair;
    use super::*;

    #[test]
    fn the_bottleneck_comes_with_its_evidence_and_what_to_do() {
        let pair = pair();
        let lines = lines(&pair, &VerdictReport::of(&pair.now.stats, &pair.earlier));
        assert_eq!(lines[0], "process 4711, 1.0 s of it:");
        assert_eq!(lines[2], "sync: the disk: 80 % of the time is spent in syncs");
        assert!(lines[3].starts_with("  - syncs: 100 of them, median 8."), "{lines:#?}");
        assert!(lines.iter().any(|line| line.starts_with("  try: more appends in flight")));
    }
}
