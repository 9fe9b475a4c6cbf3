//! Owns the floor: how often a second the bare disk takes 4 KiB and makes them durable, with no log
//! between.
//!
//! Promises: the same directory, the same calls (pwrite and fdatasync, over blocks that were
//! written before) and one thread. Assumes that the log is closed meanwhile. Leaves no file behind.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::clock::SystemClock;

use super::load::now;
use super::report::{Distribution, Probe, histogram};

const FILE: &str = "probe";
const FILE_SIZE: u64 = 64 << 20;
const WRITE_SIZE: usize = 4 << 10;
const TIME: Duration = Duration::from_secs(2);

/// Measures the disk under a directory.
pub(super) fn probe(directory: &Path, clock: &SystemClock) -> io::Result<Probe> {
    let path = directory.join(FILE);
    let probe = probe_file(&path, clock, TIME);
    let removed = std::fs::remove_file(&path);
    let probe = probe?;
    removed?;
    Ok(probe)
}

fn probe_file(path: &Path, clock: &SystemClock, time: Duration) -> io::Result<Probe> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let zeros = vec![0; 1 << 20];
    for offset in (0..FILE_SIZE).step_by(zeros.len()) {
        file.write_all_at(&zeros, offset)?;
    }
    file.sync_all()?;
    let bytes = [0x5a; WRITE_SIZE];
    let mut latency = histogram();
    let start = now(clock);
    let end = start.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    let mut last = start;
    for offset in (0..FILE_SIZE).step_by(WRITE_SIZE).cycle() {
        file.write_all_at(&bytes, offset)?;
        file.sync_data()?;
        let time = now(clock);
        latency.saturating_record(time.saturating_sub(last));
        last = time;
        if time >= end {
            break;
        }
    }
    let seconds = Duration::from_nanos(last.saturating_sub(start)).as_secs_f64();
    Ok(Probe {
        write_size_bytes: WRITE_SIZE as u64,
        operations_per_second: latency.len() as f64 / seconds,
        latency: Distribution::of(&latency),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_counts_what_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let time = Duration::from_millis(50);
        let probe = probe_file(&path, &SystemClock::default(), time).unwrap();
        let counted = probe.latency.samples as f64;
        assert!(counted >= 1.0 && probe.operations_per_second <= counted / time.as_secs_f64());
        assert_eq!(path.metadata().unwrap().len(), FILE_SIZE);
    }
}
