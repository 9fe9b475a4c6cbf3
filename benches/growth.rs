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
/// The file that is written beside the log for comparison.
const BARE_PAGE: [u8; 4096] = [7; 4096];
const BARE_PAGES: u64 = 1_024;
/// How often each question is asked at each size, in turns with the others.
const TURNS: u64 = 2_000;
/// The argument of the process that is killed.
const FILL: &str = "--fill-until-killed";

fn main() -> Result {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let (mut sizes, mut openings) = (vec![1, 4], vec![5_000_000]);
    while let Some(word) = words.next() {
        let value = words.next().ok_or("each option has a value")?;
        match word.as_str() {
            "--gib" => sizes = numbers(&value)?,
            "--open" => openings = numbers(&value)?,
            FILL => {
                let events = words.next().ok_or("how many events?")?.parse()?;
                return fill_until_killed(Path::new(&value), events);
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
    if append.is_multiple_of(BUSY_EVERY) {
        busy(append / BUSY_EVERY)
    } else {
        format!("stream-{}", random(append) % STREAMS)
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

/// The process that is killed: tells its standard output when it has so many events, and goes on.
fn fill_until_killed(folder: &Path, events: u64) -> Result {
    let log = Options::new().durability(Durability::Os).open(folder)?;
    let append = fill(&log, 0, |log| log.view().end().get() >= events)?;
    println!("filled");
    std::io::stdout().flush()?;
    fill(&log, append, |_| false)?;
    Ok(())
}

/// How long opening takes after a kill in the middle of appends.
fn opening(folder: &Path, events: u64) -> Result {
    let mut child = Command::new(std::env::current_exe()?)
        .args([FILL.as_ref(), folder.as_os_str(), events.to_string().as_ref()])
        .stdout(Stdio::piped())
        .spawn()?;
    let told = child.stdout.take().map(|output| BufReader::new(output).lines().next());
    child.kill()?;
    child.wait()?;
    told.flatten().ok_or("the process that fills the log has failed")??;
    for name in ["after a kill -9", "again, after a clean close"] {
        let (log, took) = timed(|| Log::open(folder));
        let log = log?;
        let report = log.report().clone();
        assert!(report.events >= events, "nothing acked is lost");
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
    let (mut append, mut rows) = (0, Vec::new());
    for size in sizes {
        let log = Options::new().durability(Durability::Os).open(folder)?;
        append = fill(&log, append, |log| log.view().end().get() >= size * GIB / STORED)?;
        log.close()?;
        rows.push(ask(folder, &mut append)?);
    }
    println!("each in turn with the others, {TURNS} times at each size; us, p50 and p99");
    println!(
        "| GiB | chunks | events | bare loop | append, synced | over bare | version of a stream \
         | its last {NEWEST} events | memory MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    rows.iter().for_each(|row| println!("{row}"));
    Ok(())
}

/// Asks the log of one size, and gives a row of the table.
fn ask(folder: &Path, append: &mut u64) -> Result<String> {
    let log = Log::open(folder)?;
    let bare = bare_file(&folder.with_extension("bare"))?;
    let (mut bares, mut appends) = (Vec::new(), Vec::new());
    let (mut versions, mut reads) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let at = turn % BARE_PAGES * BARE_PAGE.len() as u64;
        let (written, took) =
            timed(|| bare.write_all_at(&BARE_PAGE, at).and_then(|()| bare.sync_data()));
        written?;
        bares.push(took);
        let stream = stream_of(*append);
        let (done, took) = timed(|| -> Result<_> {
            Ok(log.append(&stream, Expected::Any, [event(*append)])?.wait()?)
        });
        *append += 1;
        appends.push(took);
        let (version, took) = timed(|| log.view().stream_version(&stream));
        assert_eq!(version?, Some(done?.version), "the last append is seen");
        versions.push(took);
        let (read, took) = timed(|| newest(&log, &busy(random(turn))));
        assert_eq!(read?, NEWEST);
        reads.push(took);
    }
    let (view, chunks) = (log.view(), log.report().chunks);
    let stored = view.chunks().iter().map(|chunk| chunk.data_bytes).sum::<u64>();
    let ratio = at(&mut appends, 50).as_secs_f64() / at(&mut bares, 50).as_secs_f64();
    let row = format!(
        "| {:.1} | {chunks} | {} | {} | {} | {ratio:.2} | {} | {} | {:.1} |",
        stored as f64 / GIB as f64,
        view.end().get(),
        both(&mut bares),
        both(&mut appends),
        both(&mut versions),
        both(&mut reads),
        anonymous_memory() as f64 / f64::from(1 << 20),
    );
    log.close()?;
    Ok(row)
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

fn at(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[times.len() * percent / 100]
}

fn both(times: &mut [Duration]) -> String {
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
