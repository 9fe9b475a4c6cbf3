//! Owns the order in which a snapshot stands as numbers in the shared page: one list, by which it
//! is written, read and described.
//!
//! Promises: writer and reader go through the same list, so they cannot disagree; a list with any
//! other name, length or order has another id. Times are nanoseconds. Decoding never fails: which
//! numbers belong together is decided before.

use std::sync::OnceLock;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::format::checksum::crc;
use crate::position::{ChunkNumber, Position};
use crate::stage::histogram::{BUCKETS, Histogram, nanos};
use crate::stage::meter::{code_of, work_of};
use crate::stage::stats::{QueueStats, ScrubDamage, StageStats, Stats};

/// Whoever goes through the list: numbers of a name, which may be read and changed.
type Visit<'a> = dyn FnMut(&'static str, &'static str, &mut [u64]) + 'a;

/// The list.
fn visit(stats: &mut Stats, to: &mut Visit<'_>) {
    let mut time = stats.time.as_nanos();
    number(to, ("log", "time"), &mut time);
    stats.time = Timestamp::from_nanos(time);
    duration(to, ("log", "uptime"), &mut stats.uptime);
    let mut has_failed = u64::from(stats.has_failed);
    number(to, ("log", "has_failed"), &mut has_failed);
    stats.has_failed = has_failed != 0;
    for (name, mark) in [
        ("written", &mut stats.written),
        ("durable", &mut stats.durable),
        ("visible", &mut stats.visible),
    ] {
        let mut position = mark.get();
        number(to, ("log", name), &mut position);
        *mark = Position::new(position);
    }
    number(to, ("subscribers", "count"), &mut stats.subscribers.count);
    number(to, ("subscribers", "behind"), &mut stats.subscribers.behind);
    number(to, ("subscribers", "lag_max"), &mut stats.subscribers.lag_max);
    visit_scrub(stats, to);
    visit_disk(stats, to);
    queue(to, "appends", &mut stats.appends);
    queue(to, "groups", &mut stats.groups);
    stage(to, "writer", &mut stats.writer);
    stage(to, "chaser", &mut stats.chaser);
    stage(to, "keeper", &mut stats.keeper);
    histogram(to, ("chaser", "releases"), &mut stats.releases);
    let path = &mut stats.path;
    histogram(to, ("path", "gather"), &mut path.gather);
    histogram(to, ("path", "write"), &mut path.write);
    histogram(to, ("path", "sync"), &mut path.sync);
    histogram(to, ("path", "chase"), &mut path.chase);
    histogram(to, ("path", "wake"), &mut path.wake);
    histogram(to, ("path", "total"), &mut path.total);
}

fn visit_scrub(stats: &mut Stats, to: &mut Visit<'_>) {
    let scrub = &mut stats.scrub;
    number(to, ("scrub", "bytes"), &mut scrub.bytes);
    number(to, ("scrub", "chunks"), &mut scrub.chunks);
    number(to, ("scrub", "rounds"), &mut scrub.rounds);
    number(to, ("scrub", "damages"), &mut scrub.damages);
    let damage = scrub.last_damage;
    let mut chunk = damage.map_or(0, |damage| damage.chunk.get());
    let mut offset = damage.map_or(0, |damage| damage.offset);
    number(to, ("scrub", "damaged_chunk"), &mut chunk);
    number(to, ("scrub", "damaged_offset"), &mut offset);
    let what = damage.map_or("damage; `paperchase verify` says what", |damage| damage.what);
    let damage = ScrubDamage { chunk: ChunkNumber::new(chunk), offset, what };
    scrub.last_damage = (scrub.damages > 0).then_some(damage);
}

fn visit_disk(stats: &mut Stats, to: &mut Visit<'_>) {
    let disk = &mut stats.disk;
    for (name, count) in [
        ("groups", &mut disk.groups),
        ("events", &mut disk.events),
        ("bytes", &mut disk.bytes),
        ("flushes", &mut disk.flushes),
        ("flushes_idle", &mut disk.flushes_idle),
        ("flushes_deadline", &mut disk.flushes_deadline),
        ("flushes_size", &mut disk.flushes_size),
        ("waits_for_chunk", &mut disk.waits_for_chunk),
        ("zeros", &mut disk.zeros),
        ("ready", &mut disk.ready),
        ("refused", &mut disk.refused),
    ] {
        number(to, ("disk", name), count);
    }
    let mut work = disk.ongoing.map_or(0, |(work, _)| code_of(work));
    let mut age = disk.ongoing.map_or(Duration::ZERO, |(_, age)| age);
    number(to, ("disk", "ongoing_work"), &mut work);
    duration(to, ("disk", "ongoing_time"), &mut age);
    disk.ongoing = work_of(work).map(|work| (work, age));
    histogram(to, ("disk", "room_waits"), &mut disk.room_waits);
    histogram(to, ("disk", "writes"), &mut disk.writes);
    histogram(to, ("disk", "syncs"), &mut disk.syncs);
    histogram(to, ("disk", "events_per_flush"), &mut disk.events_per_flush.0);
}

fn queue(to: &mut Visit<'_>, name: &'static str, queue: &mut QueueStats) {
    number(to, (name, "pushed"), &mut queue.pushed);
    number(to, (name, "popped"), &mut queue.popped);
    number(to, (name, "length"), &mut queue.length);
    number(to, (name, "capacity"), &mut queue.capacity);
    number(to, (name, "high_water"), &mut queue.high_water);
    number(to, (name, "full"), &mut queue.full);
    number(to, (name, "rejected"), &mut queue.rejected);
    histogram(to, (name, "waits"), &mut queue.waits);
}

fn stage(to: &mut Visit<'_>, name: &'static str, stage: &mut StageStats) {
    duration(to, (name, "busy"), &mut stage.busy);
    duration(to, (name, "idle"), &mut stage.idle);
    number(to, (name, "items"), &mut stage.items);
    number(to, (name, "errors"), &mut stage.errors);
    histogram(to, (name, "service"), &mut stage.service);
}

fn number(to: &mut Visit<'_>, (group, name): (&'static str, &'static str), number: &mut u64) {
    to(group, name, std::slice::from_mut(number));
}

fn duration(to: &mut Visit<'_>, name: (&'static str, &'static str), duration: &mut Duration) {
    let mut time = nanos(*duration);
    number(to, name, &mut time);
    *duration = Duration::from_nanos(time);
}

/// A sum, the greatest, and the buckets.
fn histogram(
    to: &mut Visit<'_>,
    (group, name): (&'static str, &'static str),
    histogram: &mut Histogram,
) {
    let mut words = std::mem::take(&mut histogram.buckets);
    words.resize(BUCKETS, 0);
    words.extend([histogram.total, histogram.max]);
    to(group, name, &mut words);
    let (max, total) = (words.pop().unwrap_or(0), words.pop().unwrap_or(0));
    *histogram = Histogram::new(words, total, max);
}

/// A snapshot as numbers.
pub(crate) fn encode(mut stats: Stats) -> Vec<u64> {
    let mut words = Vec::new();
    visit(&mut stats, &mut |_, _, part| words.extend_from_slice(part));
    words
}

/// The snapshot that numbers tell of; missing ones are 0.
pub(crate) fn decode(words: &[u64]) -> Stats {
    let (mut stats, mut words) = (Stats::default(), words.iter());
    visit(&mut stats, &mut |_, _, part| {
        part.iter_mut().for_each(|word| *word = words.next().copied().unwrap_or(0));
    });
    stats
}

/// What stands in a page: names with how many numbers each has, in their order.
pub(super) fn layout() -> Vec<(String, usize)> {
    let mut list = Vec::new();
    visit(&mut Stats::default(), &mut |group, name, part| {
        list.push((format!("{group}.{name}"), part.len()));
    });
    list
}

/// How many numbers there are, and their id: the count above a checksum of the list.
pub(crate) fn layout_id() -> (usize, u64) {
    static KNOWN: OnceLock<(usize, u64)> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        let (mut count, mut sum) = (0, 0);
        for (name, length) in layout() {
            sum = crc(sum, format!("{name}:{length};").as_bytes());
            count += length;
        }
        (count, (count as u64) << 32 | u64::from(sum))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::map::PAGE_WORDS;
    use crate::format::stats::COUNTERS;
    use crate::stage::stats::DiskWork;

    /// A snapshot in which no two numbers are the same, but for what is a part of one number.
    fn stats() -> Stats {
        let mut next = 0;
        let mut stats = Stats::default();
        visit(&mut stats, &mut |_, _, part| {
            part.iter_mut().for_each(|word| {
                next += 1;
                *word = next;
            });
        });
        stats.has_failed = true;
        stats.disk.ongoing = Some((DiskWork::Sync, Duration::from_nanos(77)));
        stats
    }

    #[test]
    fn a_snapshot_comes_back_and_fits_the_page() {
        let (count, id) = layout_id();
        for stats in [Stats::default(), stats()] {
            let words = encode(stats.clone());
            assert_eq!(words.len(), count);
            assert_eq!(decode(&words), stats);
        }
        assert_eq!(decode(&[]), Stats::default());
        assert!(COUNTERS + count <= PAGE_WORDS, "{count} numbers");
        assert_eq!(id >> 32, count as u64);
    }

    /// The table of docs/format.md is this list; `docs/format.md` is to be changed with it.
    #[test]
    fn the_list_is_laid_out_as_drawn() {
        let (document, mut at) = (include_str!("../../docs/format.md"), COUNTERS);
        let rows = layout().into_iter().map(|(name, count)| {
            let row = format!("| {} | {count} | `{name}` |", at * 8);
            at += count;
            row
        });
        let missing: Vec<_> = rows.filter(|row| !document.contains(row)).collect();
        assert!(missing.is_empty(), "not in docs/format.md:\n{}", missing.join("\n"));
        let id = format!("{:#018x}", layout_id().1);
        assert!(document.contains(&id), "the id of this list is {id}");
    }
}
