//! Measures questions to large logs: what they cost, and whether that grows with the log.
//!
//! Builds its logs in a temporary folder (10 million events take some 3 GB there) and prints a
//! table. Times are of this machine; nothing here passes or fails.
//!
//! `cargo bench --bench large -- [--events N] [--streams N] [--chunks N]`

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use paperchase::{
    Append, Durability, Expected, Log, NewEvent, Options, Position, Query, StreamVersion,
};
use uuid::Uuid;

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

const MIB: u64 = 1 << 20;
/// Streams that get 1,000 events each; the others share the rest.
const LONG: u64 = 100;
const LONG_EVENTS: u64 = 1_000;

struct Settings {
    events: u64,
    streams: u64,
    chunks: u64,
}

fn settings() -> Result<Settings> {
    let mut settings = Settings { events: 10_000_000, streams: 100_000, chunks: 1_000 };
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let value = words.next().ok_or("each option has a value")?.replace('_', "").parse()?;
        match word.as_str() {
            "--events" => settings.events = value,
            "--streams" => settings.streams = value,
            "--chunks" => settings.chunks = value,
            other => return Err(format!("there is no option {other}").into()),
        }
    }
    Ok(settings)
}

fn main() -> Result {
    let settings = settings()?;
    let folder = tempfile::tempdir()?;
    println!("{} events, {} streams", settings.events, settings.streams);
    many_events(&folder.path().join("events"), &settings)?;
    std::fs::remove_dir_all(folder.path().join("events"))?;
    many_chunks(&folder.path().join("chunks"), settings.chunks)?;
    for events in [10_000, 100_000, 1_000_000] {
        conditions(&folder.path().join(format!("conditions-{events}")), events)?;
    }
    Ok(())
}

/// Prints the median and the 99th percentile of some times.
fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    let us = |time: Duration| time.as_nanos() as f64 / 1e3;
    println!("{what:<76} {:>10.2} us p50 {:>10.2} us p99", us(at(50)), us(at(99)));
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures the time that passes")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = black_box(work());
    (result, start.elapsed())
}

/// Resident memory that is of no file, in bytes.
fn anonymous_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn open(folder: &Path, chunk_size: u64) -> Result<Log> {
    Ok(Options::new().chunk_size(chunk_size).durability(Durability::Os).open(folder)?)
}

/// Appends events, many in flight.
fn fill(log: &Log, events: impl Iterator<Item = (String, NewEvent)>) -> Result {
    let mut acks = std::collections::VecDeque::new();
    for (stream, event) in events {
        acks.push_back(log.append(&stream, Expected::Any, [event])?);
        if acks.len() > 8192
            && let Some(ack) = acks.pop_front()
        {
            ack.wait()?;
        }
    }
    Ok(acks.into_iter().try_for_each(|ack| ack.wait().map(drop))?)
}

/// A generator of pseudo-random numbers that needs no state (D. Lemire, wyhash mixing).
fn random(number: u64) -> u64 {
    let wide = u128::from(number.wrapping_add(0x9E37_79B9_7F4A_7C15)) * 0xA24B_AED4_963E_E407;
    (wide >> 64) as u64 ^ wide as u64
}

fn event(number: u64) -> NewEvent {
    let types = ["Departed", "Arrived", "Cancelled"];
    NewEvent::new(types[(random(number) % 3) as usize], [7; 48])
        .tag(format!("destination:{}", random(number ^ 1) % 100))
}

fn many_events(folder: &Path, settings: &Settings) -> Result {
    let before = anonymous_memory();
    let every = settings.events / (LONG * LONG_EVENTS).min(settings.events);
    let stream_of = |number: u64| {
        if number.is_multiple_of(every) {
            format!("long-{}", number / every % LONG)
        } else {
            format!("short-{}", random(number) % (settings.streams - LONG))
        }
    };
    let log = open(folder, 256 * MIB)?;
    let all = (0..settings.events).map(|number| (stream_of(number), event(number)));
    let (built, took) = timed(|| fill(&log, all));
    built?;
    println!("built in {:.1} s", took.as_secs_f64());
    log.close()?;

    let (log, took) = timed(|| open(folder, 256 * MIB));
    let log = log?;
    println!("opened in {:.1} ms, {} chunks", took.as_secs_f64() * 1e3, log.report().chunks);
    let view = log.view();
    let long = |number: u64| format!("long-{}", number % LONG);
    let read = |name: String| -> Result<u64> {
        let mut events = 0;
        for event in view.read_stream(&name, ..)? {
            black_box(event?.data());
            events += 1;
        }
        Ok(events)
    };
    println!(
        "the first stream after opening: {:.2} ms",
        timed(|| read(long(0))).1.as_secs_f64() * 1e3
    );
    let mut times = Vec::new();
    for number in 0..1_000 {
        let (events, took) = timed(|| read(long(number)));
        assert_eq!(events?, LONG_EVENTS.min(settings.events / LONG / every.max(1)).max(1));
        times.push(took);
    }
    tell("1,000 events of one stream, warm", times);
    let times = (0..10_000).map(|n| timed(|| view.stream_version(&long(n))).1).collect();
    tell("version of a stream", times);
    let times = (0..10_000).map(|n| timed(|| view.stream_version(&format!("no-{n}"))).1).collect();
    tell("version of a stream that does not exist", times);
    let tag = Query::tag("destination:7");
    let (count, took) = timed(|| view.read(&tag, ..).map(Iterator::count));
    let count = count?;
    println!("a tag: {count} events, {:.0} ns each", took.as_nanos() as f64 / count as f64);
    let both = Query::event_type("Arrived").tags(["destination:7"]);
    let (count, took) = timed(|| view.read(&both, ..).map(Iterator::count));
    let count = count?;
    println!(
        "a tag and a type: {count} events, {:.0} ns each",
        took.as_nanos() as f64 / count as f64
    );
    let first = |n: u64| view.read(&both, Position::new(random(n) % settings.events)..);
    let times = (0..2_000).map(|n| timed(|| first(n).map(|mut events| events.next())).1).collect();
    tell("the first event of a tag and a type behind a position", times);
    println!(
        "memory at rest beyond mapped files: {:.1} MiB (before opening {:.1} MiB)",
        anonymous_memory() as f64 / MIB as f64,
        before as f64 / MIB as f64
    );
    log.close()?;
    Ok(())
}

fn many_chunks(folder: &Path, chunks: u64) -> Result {
    let log = open(folder, MIB)?;
    let large = |number: u64| (format!("s-{}", number % 1000), NewEvent::new("Large", [1; 4000]));
    fill(&log, (0..chunks * MIB / 4110).map(large))?;
    log.close()?;
    let (log, took) = timed(|| open(folder, MIB));
    let log = log?;
    println!("{} chunks opened in {:.1} ms", log.report().chunks, took.as_secs_f64() * 1e3);
    let view = log.view();
    let (_, took) = timed(|| view.stream_version("never"));
    println!("the first question after opening: {:.2} ms", took.as_secs_f64() * 1e3);
    let times = (0..5_000).map(|n| timed(|| view.stream_version(&format!("no-{n}"))).1).collect();
    tell("version of a stream that was never written", times);
    let append = |id| Append::new().event("s-1", NewEvent::new("Done", "")).operation(id);
    let mut times = Vec::new();
    for _ in 0..2_000 {
        let (done, took) =
            timed(|| -> Result<_> { Ok(append(Uuid::now_v7()).submit(&log)?.wait()?) });
        assert!(!done?.repeated);
        times.push(took);
    }
    tell("an append with a fresh operation id of version 7, not synced", times);
    let mut times = Vec::new();
    for _ in 0..2_000 {
        let (done, took) =
            timed(|| -> Result<_> { Ok(append(Uuid::new_v4()).submit(&log)?.wait()?) });
        assert!(!done?.repeated);
        times.push(took);
    }
    tell("an append with a fresh operation id of version 4, not synced", times);
    log.close()?;
    Ok(())
}

/// What a condition adds to an append, on logs of several sizes.
fn conditions(folder: &Path, events: u64) -> Result {
    let log = open(folder, 16 * MIB)?;
    fill(&log, (0..events).map(|number| (format!("s-{}", number % 1000), event(number))))?;
    let decided = |tag| Query::event_type("Decided").tags([tag]);
    let query = decided("destination:7").or(decided("destination:8"));
    let plain = || Append::new().event("decisions", NewEvent::new("Decided", ""));
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..2_000 {
        let append = plain().expect("decisions", Expected::Any);
        let (done, took) = timed(|| -> Result<_> { Ok(append.submit(&log)?.wait()?) });
        done?;
        without.push(took);
        // 1,000 events happened since the decision, none of them of the query.
        let after = Position::new(log.view().end().get() - 1_000);
        let append = plain().no_events(query.clone(), after);
        let (done, took) = timed(|| -> Result<_> { Ok(append.submit(&log)?.wait()?) });
        assert!(done?.last_position >= after);
        with.push(took);
    }
    tell(&format!("an append to {events} events, not synced"), without);
    tell(&format!("the same under a condition of two alternatives, {events} events"), with);
    let version = log.view().stream_version("decisions")?;
    assert!(version >= Some(StreamVersion::new(3_999)));
    log.close()?;
    Ok(())
}
