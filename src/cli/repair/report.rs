//! Owns what a repair says: each damage with the step that answers it, the steps, what is lost,
//! what is kept aside, and the command that comes next; to people and to programs.

use serde::Serialize;

use super::super::failure::quoted;
use super::super::files::Writer;
use super::super::show::{self, Output};
use super::super::walk::Finding;
use super::apply::{Kept, aside_name};
use super::losses::{Losses, ranges};
use super::plan::{Loss, Plan, Step};
use super::{Args, CliError, Looked, Outcome, reason};
use crate::chunk::directory::HINT;
use crate::chunk::file_name;

/// Most lines of a kind for people.
const LINES_MAX: usize = 20;

/// A repair, planned or done.
pub(super) struct Report<'a> {
    place: &'a str,
    looked: &'a Looked,
    writer: Writer,
    /// What was left beside the log by carrying the plan out.
    pub(super) kept: Vec<Kept>,
    /// Why it was not carried out to its end.
    pub(super) failure: Option<String>,
    /// What the verification has found after that.
    pub(super) left: Option<(Vec<Finding>, u64)>,
}

#[derive(Serialize)]
struct Json<'a> {
    sound: bool,
    damage_count: u64,
    damage: Vec<JsonDamage<'a>>,
    steps: Vec<String>,
    impossible: Option<&'static str>,
    lost: Option<JsonLoss<'a>>,
    applied: bool,
    kept: Vec<[&'a str; 2]>,
    /// What stopped it, after what was kept.
    error: Option<&'a str>,
    next: Option<String>,
}

#[derive(Serialize)]
struct JsonDamage<'a> {
    chunk: u64,
    offset: u64,
    what: &'a str,
    expected: &'a str,
    found: &'a str,
    position: Option<u64>,
    /// Number of the step that answers it, from 1.
    step: Option<usize>,
}

#[derive(Serialize)]
struct JsonLoss<'a> {
    /// The log ends here.
    end: u64,
    salvaged_events: u64,
    /// First and last position, as far as they are known.
    unreadable: Vec<[u64; 2]>,
    unreadable_events: Vec<JsonGone<'a>>,
    salvaged_streams: Vec<JsonStream<'a>>,
}

#[derive(Serialize)]
struct JsonGone<'a> {
    position: u64,
    stream: &'a str,
    version: u64,
}

#[derive(Serialize)]
struct JsonStream<'a> {
    stream: &'a str,
    events: u64,
    first_version: u64,
    last_version: u64,
}

impl<'a> Report<'a> {
    pub(super) fn of(place: &'a str, looked: &'a Looked, writer: Writer) -> Self {
        Self { place, looked, writer, kept: Vec::new(), failure: None, left: None }
    }

    /// Whether there are steps, and no damage that they leave.
    pub(super) fn can_be_applied(&self) -> bool {
        let Looked { findings, plan, .. } = self.looked;
        let all = findings.iter().all(|finding| answer(&plan.steps, finding).is_some());
        plan.impossible.is_none() && !plan.steps.is_empty() && all
    }

    /// Prints it; how the verb ends.
    pub(super) fn end(&self, args: &Args) -> Result<Outcome, CliError> {
        let mut output = Output::new();
        if args.json {
            output.json(&self.json())?;
        } else {
            self.lines(&mut output)?;
        }
        output.finish()?;
        Ok(if self.is_sound() { Outcome::Good } else { Outcome::Damage })
    }

    fn is_sound(&self) -> bool {
        match &self.left {
            Some((_, count)) => *count == 0,
            None => self.is_nothing(),
        }
    }

    fn is_nothing(&self) -> bool {
        self.looked.finding_count == 0 && self.looked.plan == Plan::default()
    }

    /// The command that comes next.
    fn next(&self) -> Option<String> {
        let place = quoted(self.place);
        let salvage = format!("paperchase export {place} --salvage | paperchase import NEW");
        if self.left.is_some() || self.is_nothing() {
            return (!self.is_sound()).then(|| format!("paperchase repair {place}"));
        }
        let Looked { plan, losses, survey, .. } = self.looked;
        if survey.log.is_none() || plan.impossible.is_some() && losses.salvaged == 0 {
            return None;
        }
        Some(match plan.loss {
            _ if !self.can_be_applied() => salvage,
            Some(_) if self.looked.opens && self.failure.is_none() => salvage,
            Some(_) => format!("paperchase repair {place} --apply --accept-loss"),
            None => format!("paperchase repair {place} --apply"),
        })
    }

    fn lines(&self, output: &mut Output) -> Result<(), CliError> {
        if self.is_nothing() {
            return output.line("nothing to repair: the log is sound");
        }
        let Looked { findings, finding_count, plan, losses, .. } = self.looked;
        for finding in findings.iter().take(LINES_MAX) {
            let step = answer(&plan.steps, finding)
                .map_or("not repaired".to_owned(), |step| format!("step {step}"));
            output.line(format_args!("damage: {finding} ({step})"))?;
        }
        if *finding_count > LINES_MAX as u64 {
            let more = show::count(finding_count - LINES_MAX as u64);
            output.line(format_args!("damage: {more} more places; --json lists up to 10,000"))?;
        }
        if let Some(impossible) = plan.impossible {
            output.line(format_args!("cannot be repaired in place: {}", reason(impossible)))?;
        }
        for (number, step) in (1..).zip(&plan.steps) {
            output.line(format_args!("step {number}: {}", describe(step)))?;
        }
        if let Some(loss) = plan.loss.filter(|_| plan.impossible.is_none()) {
            lost(output, &loss, losses)?;
        }
        self.outcome(output)
    }

    fn outcome(&self, output: &mut Output) -> Result<(), CliError> {
        for kept in &self.kept {
            output.line(format_args!("kept: {}: {}", kept.name, kept.what))?;
        }
        if self.failure.is_some() {
            return output.line("not finished: the same command goes on from here");
        }
        match &self.left {
            Some((_, 0)) => return output.line("repaired: the log was verified and is sound"),
            Some((left, _)) => {
                for finding in left.iter().take(LINES_MAX) {
                    output.line(format_args!("left: {finding}"))?;
                }
                output.line("carried out, but the log is still DAMAGED")?;
            }
            None => output.line("nothing was changed")?,
        }
        let has_loss = self.looked.plan.loss.is_some() && self.left.is_none();
        if has_loss {
            output.line(
                "first: look for a backup: a sealed chunk from any copy of this log, put in its \
                 place, loses nothing",
            )?;
            if self.looked.opens {
                output.line(
                    "as it is, the log opens, and serves all events but those that are gone",
                )?;
            }
        }
        if let Writer::Process(pid) = self.writer {
            let who = pid.map_or("another process".to_owned(), |pid| format!("process {pid}"));
            output.line(format_args!("the log is open in {who}: stop it before --apply"))?;
        }
        match self.next() {
            Some(next) => output.line(format_args!("next: {next}"))?,
            None => output.line("next: restore the log from a backup")?,
        }
        if !has_loss || !self.can_be_applied() {
            return Ok(());
        }
        let place = quoted(self.place);
        let cut = format!("paperchase repair {place} --apply --accept-loss");
        let salvage = format!("paperchase export {place} --salvage | paperchase import NEW");
        output.line(format_args!("  or: {}", if self.looked.opens { cut } else { salvage }))?;
        output.line(
            "  (repair cuts the log as planned; the export puts all that is readable into a new \
             log with positions of its own, and leaves this one as it is)",
        )
    }

    fn json(&self) -> Json<'_> {
        let Looked { findings, finding_count, plan, losses, .. } = self.looked;
        let place = |finding: &'a Finding| JsonDamage {
            chunk: finding.damage.chunk.get(),
            offset: finding.damage.offset,
            what: finding.damage.what,
            expected: &finding.damage.expected,
            found: &finding.damage.found,
            position: finding.position.map(crate::Position::get),
            step: answer(&plan.steps, finding),
        };
        Json {
            sound: self.is_sound(),
            damage_count: *finding_count,
            damage: findings.iter().map(place).collect(),
            steps: plan.steps.iter().map(describe).collect(),
            impossible: plan.impossible.map(reason),
            lost: plan.loss.map(|loss| JsonLoss::of(&loss, losses)),
            applied: self.left.is_some(),
            kept: self.kept.iter().map(|kept| [&kept.name[..], &kept.what]).collect(),
            error: self.failure.as_deref(),
            next: self.next(),
        }
    }
}

impl<'a> JsonLoss<'a> {
    fn of(loss: &Loss, losses: &'a Losses) -> Self {
        let range = |range: &std::ops::Range<crate::Position>| {
            [range.start.get(), range.end.get().saturating_sub(1)]
        };
        let gone = losses.named.iter().map(|(position, (stream, version))| JsonGone {
            position: position.get(),
            stream,
            version: *version,
        });
        let streams = losses.streams.iter().map(|(stream, (events, first, last))| JsonStream {
            stream,
            events: *events,
            first_version: *first,
            last_version: *last,
        });
        Self {
            end: loss.from.get(),
            salvaged_events: losses.salvaged,
            unreadable: losses.gone.iter().map(range).collect(),
            unreadable_events: gone.collect(),
            salvaged_streams: streams.collect(),
        }
    }
}

/// Which step answers a damage, from 1.
pub(super) fn answer(steps: &[Step], finding: &Finding) -> Option<usize> {
    let damage = &finding.damage;
    let (chunk, offset, name) = (damage.chunk, damage.offset, file_name(damage.chunk));
    let answers = |step: &Step| match step {
        Step::Aside { name: aside, .. } => *aside == name,
        Step::Move { from, to } => *from == chunk || *to == chunk,
        Step::Header { header } => header.number == chunk && offset == 0,
        Step::Resize { chunk: it, .. } => *it == chunk && damage.what == "size of the file",
        Step::Index { chunk: it, from } | Step::Behind { chunk: it, from } => {
            *it == chunk && offset >= *from
        }
        Step::Cut { chunk: it, from } => chunk > *it || chunk == *it && offset >= *from,
        Step::Begin { header } => chunk >= header.number,
        Step::Lower { hint } => {
            chunk >= hint.chunk && damage.what == "durable events" || chunk > hint.chunk
        }
    };
    // A file that stands at a number behind the last makes all before it look as if they were
    // missing.
    let seems_missing = ["chunk file", "chunk header magic"].contains(&damage.what);
    let explains = |step: &Step| match step {
        Step::Aside { name: aside, .. } => seems_missing && *aside > name,
        Step::Move { from, .. } => seems_missing && *from > chunk,
        // Behind a header that is lost, all events seem to be missing.
        Step::Header { header } => header.number == chunk && damage.what == "durable events",
        _ => false,
    };
    let found = steps.iter().position(answers).or_else(|| steps.iter().position(explains));
    found.map(|index| index + 1)
}

fn lost(output: &mut Output, loss: &Loss, losses: &Losses) -> Result<(), CliError> {
    let from = loss.from;
    output.line(format_args!(
        "lost: the log will end at position {from}: events below it are intact, and all from it on \
         leave the log"
    ))?;
    if losses.salvaged > 0 {
        output.line(format_args!(
            "  readable: {}, saved to salvaged-{:010}.ndjson in the form of `import`",
            show::counted(losses.salvaged, "event"),
            from.get()
        ))?;
        for (stream, (events, first, last)) in losses.streams.iter().take(LINES_MAX) {
            let stream = show::plain(stream);
            let events = show::counted(*events, "event");
            output.line(format_args!("    {stream}: {events}, versions {first} to {last}"))?;
        }
        if losses.streams.len() > LINES_MAX {
            let more = losses.streams.len() - LINES_MAX;
            output.line(format_args!("    {more} more streams; --json lists all"))?;
        }
    }
    if losses.gone.is_empty() && losses.salvaged == 0 {
        return output.line("  gone: nothing tells how many events there were");
    }
    if !losses.gone.is_empty() {
        let events = show::counted(losses.gone_count(), "event");
        output.line(format_args!("  gone: {events}, {}", ranges(&losses.gone)))?;
    }
    for (position, (stream, version)) in losses.named.iter().take(LINES_MAX) {
        let stream = show::plain(stream);
        output.line(format_args!("    position {position}: {stream}, version {version}"))?;
    }
    Ok(())
}

fn describe(step: &Step) -> String {
    match step {
        Step::Aside { name, why } => {
            format!("set {name} aside as {}: {why}", aside_name(name, 0))
        }
        Step::Move { from, to } => {
            let [from, to] = [from, to].map(|number| file_name(*number));
            format!("rename {from} to {to}, where its header says that it belongs")
        }
        Step::Header { header } => {
            let name = file_name(header.number);
            let aside = aside_name(&name, 0);
            format!(
                "make the header of {name} again, from the chunk before and its own first group; \
                 the damaged one is kept in {aside}"
            )
        }
        Step::Resize { chunk, size } => {
            format!("make {} {size} bytes long again, with zeros", file_name(*chunk))
        }
        Step::Index { chunk, from } => {
            let name = file_name(*chunk);
            let aside = aside_name(&name, *from);
            format!("make the index of {name} again from its events; the old is kept in {aside}")
        }
        Step::Cut { chunk, from } => {
            let name = file_name(*chunk);
            let aside = aside_name(&name, *from);
            format!("end the log in {name} at offset {from}; what stands there is kept in {aside}")
        }
        Step::Behind { chunk, from } => {
            let name = file_name(*chunk);
            let aside = aside_name(&name, *from);
            format!("clear what stands behind the capacity of {name}; it is kept in {aside}")
        }
        Step::Begin { header } => {
            let (name, position) = (file_name(header.number), header.first_position);
            format!("begin {name} anew, without events, at position {position}")
        }
        Step::Lower { hint } => format!(
            "lower the hint to position {}; the old is kept in {}",
            hint.durable_through,
            aside_name(HINT, 0)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was set aside before the disk was full is named, to programs too.
    #[test]
    fn a_repair_that_fails_names_what_it_has_kept() {
        let step = Step::Aside { name: "hint".to_owned(), why: "odd" };
        let looked = Looked {
            findings: Vec::new(),
            finding_count: 1,
            survey: Default::default(),
            plan: Plan { steps: vec![step], ..Plan::default() },
            losses: Losses::default(),
            opens: true,
        };
        let mut report = Report::of("data", &looked, Writer::Nobody);
        report.kept.push(Kept { name: "lost-hint".to_owned(), what: "the hint".to_owned() });
        report.failure = Some("disk full".to_owned());
        let json = serde_json::to_value(report.json()).unwrap();
        assert_eq!(json["kept"][0][0], "lost-hint");
        assert_eq!(json["error"], "disk full");
        assert_eq!((&json["applied"], &json["sound"]), (&false.into(), &false.into()));
    }
}
