//! Owns the tables: what each store is, one table for each kind of work, and one of all.
//!
//! Promises: every ratio is of two measurements of one round; of several rounds stand the smallest,
//! the median and the largest. What Paperchase loses is marked, and counted at the end.

use crate::Settings;
use crate::rounds::{KINDS, Measured, READS};
use crate::store::{Peer, peers};
use crate::stores::{bare, paperchase};
use crate::task::{LOAD, OPEN, POINT, SCAN, Sample};

/// Prints the stores and the kinds of work that there are.
pub fn list() {
    println!("stores:");
    peers().iter().for_each(|peer| println!("  {:<18} {}", peer.name, peer.version()));
    println!("work:");
    KINDS.iter().for_each(|kind| println!("  {:<18} {}", kind.name, kind.title));
    READS.iter().for_each(|(name, title)| println!("  {name:<18} {title}"));
}

/// Smallest, median and largest.
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

fn spread(values: impl Iterator<Item = f64>) -> Option<Spread> {
    let mut values: Vec<_> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let (&min, &max) = (values.first()?, values.last()?);
    let upper = values[values.len() / 2];
    let median = f64::midpoint(values[(values.len() - 1) / 2], upper);
    Some(Spread { min, median, max })
}

/// A number with three significant digits, large ones in groups of three.
fn number(value: f64) -> String {
    if value >= 1_000.0 {
        let digits = format!("{value:.0}");
        let mut text = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        return text;
    }
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}")
}

fn or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

impl Spread {
    fn text(&self) -> String {
        let Self { min, median, max } = self;
        format!("{}, {}, {}", number(*min), number(*median), number(*max))
    }
}

/// All rounds of one kind of work.
struct Table<'a> {
    work: &'a str,
    measured: Vec<&'a Measured>,
}

impl<'a> Table<'a> {
    fn of(work: &'a str, measured: &'a [Measured]) -> Self {
        Self { work, measured: measured.iter().filter(|one| one.is_of(work)).collect() }
    }

    fn samples(&self, store: &str) -> impl Iterator<Item = (usize, &Sample)> {
        let ours = self.measured.iter().filter(move |one| one.store == store);
        ours.filter_map(|one| Some((one.round, one.sample(self.work)?)))
    }

    fn rate(&self, store: &str) -> Option<Spread> {
        spread(self.samples(store).map(|(_, sample)| sample.per_second))
    }

    /// How much faster a store is than another, in the same rounds.
    fn ratio(&self, store: &str, to: &str) -> Option<Spread> {
        // An empty file opens at once, which says nothing.
        if self.work == OPEN && to == bare::NAME {
            return None;
        }
        let ratio = |(round, sample): (usize, &Sample)| {
            let other = self.samples(to).find(|(other, _)| *other == round)?.1;
            Some(sample.per_second / other.per_second)
        };
        spread(self.samples(store).filter_map(ratio))
    }

    fn median(&self, store: &str, field: fn(&Sample) -> Option<f64>) -> Option<f64> {
        spread(self.samples(store).filter_map(|(_, sample)| field(sample))).map(|all| all.median)
    }

    /// Peers by their rate, the fastest first. The bare loop is none.
    fn ranked(&self, peers: &'a [Peer]) -> Vec<&'a Peer> {
        let rate = |peer: &Peer| self.rate(peer.name).map_or(-1.0, |rate| rate.median);
        let mut ranked: Vec<_> = peers.iter().filter(|peer| peer.name != bare::NAME).collect();
        ranked.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
        ranked
    }

    /// Stores with a better median ratio than Paperchase's own.
    fn ahead(&self, peers: &'a [Peer]) -> Vec<&'a str> {
        let ahead = |peer: &&Peer| {
            let ratio = self.ratio(peer.name, paperchase::PEER.name);
            peer.name != paperchase::PEER.name && ratio.is_some_and(|ratio| ratio.median > 1.0)
        };
        self.ranked(peers).into_iter().filter(ahead).map(|peer| peer.name).collect()
    }

    fn note(&self, peer: &Peer, peers: &[Peer], events: u64) -> String {
        let mut notes = Vec::new();
        let ahead = self.ahead(peers);
        if peer.name == paperchase::PEER.name && !ahead.is_empty() {
            notes.push(format!("**behind {}**", ahead.join(", ")));
        }
        if ahead.contains(&peer.name) {
            notes.push("**ahead of Paperchase**".to_owned());
        }
        let mine = || self.measured.iter().filter(|one| one.store == peer.name);
        if let Some(failed) = mine().find_map(|one| one.failed.as_deref()) {
            notes.push(format!("failed: {failed}"));
        } else if self.samples(peer.name).next().is_none() {
            notes.push("not offered".to_owned());
        }
        if let Some(one) = mine().find(|one| one.events > 0 && one.events < events) {
            notes.push(format!("holds {} events", number(one.events as f64)));
        }
        notes.join("; ")
    }

    fn print(&self, title: &str, settings: &Settings, peers: &[Peer]) {
        println!("\n### `{}`: {title}\n", self.work);
        println!(
            "| store | a second: min, median, max | over bare | over Paperchase | p50 us | p99 us \
             | CPU us each | device bytes each | events a flush | |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
        let bare = peers.iter().filter(|peer| peer.name == bare::NAME);
        for peer in bare.chain(self.ranked(peers)) {
            let rate = self.rate(peer.name).map_or("-".to_owned(), |rate| rate.text());
            let ratio = |to| {
                let ratio = self.ratio(peer.name, to).filter(|_| peer.name != to);
                ratio.map_or("-".to_owned(), |ratio| ratio.text())
            };
            println!(
                "| {} | {rate} | {} | {} | {} | {} | {} | {} | {} | {} |",
                peer.name,
                ratio(bare::NAME),
                ratio(paperchase::PEER.name),
                or_dash(self.median(peer.name, |sample| sample.p50_us)),
                or_dash(self.median(peer.name, |sample| sample.p99_us)),
                or_dash(self.median(peer.name, |sample| sample.cpu_us)),
                or_dash(self.median(peer.name, |sample| sample.device_bytes)),
                or_dash(self.median(peer.name, |sample| sample.per_flush)),
                self.note(peer, peers, settings.events),
            );
        }
    }

    /// One line of the table of all work.
    fn line(&self, peers: &[Peer]) -> String {
        let ours = paperchase::PEER.name;
        let rate = self.rate(ours).map_or("-".to_owned(), |rate| number(rate.median));
        let bare = self.ratio(ours, bare::NAME).map_or("-".to_owned(), |ratio| ratio.text());
        let best = self.ranked(peers).into_iter().find(|peer| peer.name != ours);
        let best = best.filter(|peer| self.rate(peer.name).is_some());
        let ratio = best.and_then(|peer| self.ratio(ours, peer.name));
        let verdict = match &ratio {
            None => "no peer offers it",
            Some(ratio) if ratio.min > 1.0 => "ahead in every round",
            Some(ratio) if ratio.max < 1.0 => "**behind in every round**",
            Some(ratio) if ratio.median < 1.0 => "**behind**, not in every round",
            Some(_) => "ahead, not in every round",
        };
        let ratio = ratio.map_or("-".to_owned(), |ratio| ratio.text());
        let best = best.map_or("-", |peer| peer.name);
        format!("| `{}` | {rate} | {bare} | {best} | {ratio} | {verdict} |", self.work)
    }
}

fn print_stores(peers: &[Peer]) {
    println!("### Stores\n");
    println!(
        "| store | version | durable before the ack by | groups | reads are checked | keeps |"
    );
    println!("|---|---|---|---|---|---|");
    for peer in peers {
        let Peer { name, durable, groups, checked, keeps, .. } = peer;
        let version = if peer.package.is_empty() { "-" } else { peer.version() };
        println!("| {name} | {version} | {durable} | {groups} | {checked} | {keeps} |");
    }
}

/// Prints all tables as Markdown.
pub fn print(settings: &Settings, measured: &[Measured]) {
    let peers = settings.peers();
    print_stores(&peers);
    let kinds = KINDS.iter().map(|kind| (kind.name, kind.title)).chain(READS);
    let wanted: Vec<_> = kinds.filter(|(name, _)| settings.wants(name)).collect();
    for (work, title) in &wanted {
        Table::of(work, measured).print(title, settings, &peers);
    }
    let behind =
        wanted.iter().filter(|(work, _)| !Table::of(work, measured).ahead(&peers).is_empty());
    println!("\n### All work: Paperchase against the best peer of each\n");
    println!("| work | a second | over bare | best peer | over the best peer | |");
    println!("|---|---|---|---|---|---|");
    for (work, _) in &wanted {
        println!("{}", Table::of(work, measured).line(&peers));
    }
    println!("\nPaperchase is behind a peer in {} of {} rows.", behind.count(), wanted.len());
    println!(
        "{} rounds of {} s; ratios are min, median, max of rounds. `bare` is one thread of 4 KiB \
         write and fdatasync in appending, one write and fdatasync for each call in `{LOAD}`, \
         pread of a flat file in `{POINT}` and `{SCAN}`.",
        settings.rounds, settings.seconds
    );
}
