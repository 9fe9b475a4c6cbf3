//! Measures whether cost grows with the log: opening after a kill, appends, the version of a
//! stream, and the reading of one, at several sizes of one log.
//!
//! Builds its logs in a temporary folder (set `TMPDIR` to the disk that you mean) and prints
//! tables. Times are of this machine; nothing here passes or fails but the answers themselves.
//!
//! `cargo bench --bench growth -- [--gib SIZES] [--open EVENTS]`, each a list with commas.

use std::collections::VecDeque;
use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use paperchase::{Durability, Expected, Log, NewEvent, Options};

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

const GIB: u64 = 1 << 30;
const STREAMS: u64 = 100_000;
/// Every hundredth append goes to one of these, so that each has about as many events in each GiB.
const BUSY_STREAMS: u64 = 100;
const BUSY_EVERY: u64 = 100;
/// About what an event takes in a chunk.
const STORED: u64 = 336;
/// Events of one question to a stream.
const NEWEST: usize = 100;
const BARE_PAGE: [u8; 4096] = [7; 4096];
/// Size of the file that is written beside the log for comparison.
const BARE_PAGES: u64 = 1_024;
/// How often each question is asked at each size, in turns with the others.
const TURNS: u64 = 2_000;
/// Streams that get an event at the very beginning, and never again.
const OLD_STREAMS: u64 = 10_000;
/// The arguments of the process that is killed, and of those that ask, each with memory of its own.
const FILL: &str = "--fill-until-killed";
const ASK: &str = "--ask";
/// What the process that is killed appends with syncs: every event behind them is in doubt.
const SYNCED: u64 = 100_000;

fn main() -> Result {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let (mut sizes, mut openings) = (vec![1, 4], vec![5_000_000]);
    while let Some(word) = words.next() {
        let value = words.next().ok_or("each option has a value")?;
        match word.as_str() {
            "--gib" => sizes = numbers(&value)?,
            "--open" => openings = numbers(&value)?,
            FILL | ASK => {
                let number = words.next().ok_or("a number is missing")?.parse()?;
                let log = Path::new(&value);
                return if word == FILL {
                    fill_until_killed(log, number)
                } else {
                    ask(log, number)
                };
            }
            other => return Err(format!("there is no option {other}").into()),
        }
    }
    let folder = tempfile::tempdir()?;
    for events in openings {
        let log = folder.path().join("killed");
        opening(&log, events)?;
        std::fs::remove_dir_all(&log)?;
    }
    growth(&folder.path().join("growing"), &sizes)
}

fn numbers(list: &str) -> Result<Vec<u64>> {
    list.split(',').map(|word| Ok(word.replace('_', "").parse()?)).collect()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures the time that passes")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = black_box(work());
    (result, start.elapsed())
}

/// A generator of pseudo-random numbers that needs no state (D. Lemire, wyhash mixing).
fn random(number: u64) -> u64 {
    let wide = u128::from(number.wrapping_add(0x9E37_79B9_7F4A_7C15)) * 0xA24B_AED4_963E_E407;
    (wide >> 64) as u64 ^ wide as u64
}

fn busy(number: u64) -> String {
    format!("busy-{}", number % BUSY_STREAMS)
}

fn stream_of(append: u64) -> String {
    match append {
        0..OLD_STREAMS => format!("old-{append}"),
        _ if append.is_multiple_of(BUSY_EVERY) => busy(append / BUSY_EVERY),
        _ => format!("stream-{}", random(append) % STREAMS),
    }
}

/// Events of 256 bytes that do not repeat.
fn event(number: u64) -> NewEvent {
    let words = (0..32).flat_map(|word| random(number * 32 + word).to_le_bytes());
    NewEvent::new("Grown", words.collect::<Vec<_>>())
}

/// Appends events from this number on, many in flight, until `is_done`; the number of the next one.
fn fill(log: &Log, first: u64, is_done: impl Fn(&Log) -> bool) -> Result<u64> {
    let (mut acks, mut append) = (VecDeque::new(), first);
    while !(append.is_multiple_of(1_024) && is_done(log)) {
        acks.push_back(log.append(&stream_of(append), Expected::Any, [event(append)])?);
        append += 1;
        if acks.len() > 8_192
            && let Some(ack) = acks.pop_front()
        {
            ack.wait()?;
        }
    }
    acks.into_iter().try_for_each(|ack| ack.wait().map(drop))?;
    Ok(append)
}

/// The process that is killed: fills a log, appends some more with syncs, tells its standard
/// output, and goes on, though not for ever.
fn fill_until_killed(folder: &Path, events: u64) -> Result {
    let open = |durability| Options::new().durability(durability).open(folder);
    let log = open(Durability::Os)?;
    let append = fill(&log, 0, |log| log.view().end().get() + SYNCED >= events)?;
    log.close()?;
    let log = open(Durability::Sync)?;
    let append = fill(&log, append, |log| log.view().end().get() >= events)?;
    println!("filled");
    std::io::stdout().flush()?;
    fill(&log, append, |log| log.view().end().get() >= events * 2)?;
    Ok(())
}

fn child(kind: &str, folder: &Path, number: u64) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([kind.as_ref(), folder.as_os_str(), number.to_string().as_ref()]);
    Ok(command)
}

/// How long opening takes after a kill in the middle of appends.
fn opening(folder: &Path, events: u64) -> Result {
    let mut child = child(FILL, folder, events)?.stdout(Stdio::piped()).spawn()?;
    let told = child.stdout.take().map(|output| BufReader::new(output).lines().next());
    child.kill()?;
    child.wait()?;
    told.flatten().ok_or("the process that fills the log has failed")??;
    for name in ["after a kill -9", "again, after a clean close"] {
        let (log, took) = timed(|| Log::open(folder));
        let log = log?;
        let report = log.report().clone();
        assert!(report.events >= events, "what was filled is there");
        println!(
            "opened {name}: {:.1} ms; {} events, {} chunks, of which {} scanned in {:.1} ms \
             ({:.0} MiB of groups), {:.1} MiB hardened",
            took.as_secs_f64() * 1e3,
            report.events,
            report.chunks,
            report.chunks_scanned,
            report.took_scanning.as_secs_f64() * 1e3,
            report.bytes_scanned as f64 / f64::from(1 << 20),
            report.bytes_hardened as f64 / f64::from(1 << 20),
        );
        log.close()?;
    }
    Ok(())
}

/// What the same things cost at several sizes of one log.
fn growth(folder: &Path, sizes: &[u64]) -> Result {
    println!("{TURNS} times each at each size, in turns; us, p50 and p99");
    println!(
        "| GiB | chunks | events | bare loop | append, synced | p50 over bare | to a new stream \
         | version of its stream | of an old one | of none | last {NEWEST} of a stream | MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut append = 0;
    for size in sizes {
        let log = Options::new().durability(Durability::Os).open(folder)?;
        append = fill(&log, append, |log| log.view().end().get() >= size * GIB / STORED)?;
        log.close()?;
        let asked = child(ASK, folder, append)?.status()?;
        append += TURNS;
        if !asked.success() {
            return Err("the process that asks has failed".into());
        }
    }
    Ok(())
}

/// Asks the log, whose next append is this one, and prints a row of the table.
fn ask(folder: &Path, first: u64) -> Result {
    let log = Log::open(folder)?;
    let bare = bare_file(&folder.with_extension("bare"))?;
    let mut times: [Vec<Duration>; 7] = Default::default();
    for (turn, append) in (first..first + TURNS).enumerate() {
        let at = turn as u64 % BARE_PAGES * BARE_PAGE.len() as u64;
        let write = || bare.write_all_at(&BARE_PAGE, at).and_then(|()| bare.sync_data());
        let (written, bare_took) = timed(write);
        written?;
        let store = |stream: &str| -> Result<_> {
            Ok(log.append(stream, Expected::Any, [event(append)])?.wait()?)
        };
        let stream = stream_of(append);
        let (stored, append_took) = timed(|| store(&stream));
        let (fresh, fresh_took) = timed(|| store(&format!("new-{append}")));
        assert_eq!(fresh?.version.get(), 0);
        let view = log.view();
        let (version, version_took) = timed(|| view.stream_version(&stream));
        assert_eq!(version?, Some(stored?.version), "the last append is seen");
        let old = format!("old-{}", random(append) % OLD_STREAMS);
        let (version, old_took) = timed(|| view.stream_version(&old));
        assert!(version?.is_some(), "the first appends are there");
        let none = format!("none-{append}");
        let (version, none_took) = timed(|| view.stream_version(&none));
        assert!(version?.is_none());
        let (read, read_took) = timed(|| newest(&log, &busy(random(append))));
        assert_eq!(read?, NEWEST);
        let took =
            [bare_took, append_took, fresh_took, version_took, old_took, none_took, read_took];
        times.iter_mut().zip(took).for_each(|(all, took)| all.push(took));
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    let view = log.view();
    let stored = view.chunks().iter().map(|chunk| chunk.data_bytes).sum::<u64>();
    let [bare, append, rest @ ..] = &times;
    let ratio = at(append, 50).as_secs_f64() / at(bare, 50).as_secs_f64();
    print!(
        "| {:.1} | {} | {} | {} | {} | {ratio:.2} |",
        stored as f64 / GIB as f64,
        view.chunks().len(),
        view.end().get(),
        both(bare),
        both(append)
    );
    rest.iter().for_each(|times| print!(" {} |", both(times)));
    println!(" {:.0} |", anonymous_memory() as f64 / f64::from(1 << 20));
    log.close()?;
    Ok(())
}

/// Reads the last events of a stream, newest first; how many they are.
fn newest(log: &Log, stream: &str) -> Result<usize> {
    let mut read = 0;
    for event in log.read_stream(stream, ..)?.rev().take(NEWEST) {
        black_box(event?.data());
        read += 1;
    }
    Ok(read)
}

/// A file of zeros that were written and synced.
fn bare_file(path: &Path) -> Result<File> {
    let file = File::create(path)?;
    (0..BARE_PAGES).try_for_each(|page| file.write_all_at(&[0; 4096], page * 4096))?;
    file.sync_all()?;
    Ok(file)
}

/// A percentile of sorted times.
fn at(times: &[Duration], percent: usize) -> Duration {
    times[times.len() * percent / 100]
}

fn both(times: &[Duration]) -> String {
    let us = |time: Duration| time.as_nanos() as f64 / 1e3;
    let (median, slow) = (us(at(times, 50)), us(at(times, 99)));
    format!("{median:.1}, {slow:.1}")
}

/// Resident memory that is of no file, in bytes.
fn anonymous_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
