//! Owns the log that the benchmarks of reading ask: 100,000 events of 256 bytes in 1,000 streams,
//! in chunks of 8 MiB, on the disk under the temporary directory.

use std::collections::VecDeque;
use std::error::Error;
use std::path::Path;

use paperchase::{Durability, Expected, Log, NewEvent, Options};

pub(crate) type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

pub(crate) const EVENTS: u64 = 100_000;
pub(crate) const STREAMS: u64 = 1_000;

const CHUNK: u64 = 8 << 20;
const IN_FLIGHT: usize = 4096;

pub(crate) fn open(folder: &Path) -> Result<Log> {
    Ok(Options::new().chunk_size(CHUNK).durability(Durability::Os).open(folder)?)
}

pub(crate) fn stream(number: u64) -> String {
    format!("stream-{}", number % STREAMS)
}

/// Makes the log, closes it and opens it again, so that all but the last chunk are sealed.
pub(crate) fn filled(folder: &Path) -> Result<Log> {
    let log = open(folder)?;
    let mut acks = VecDeque::new();
    for number in 0..EVENTS {
        let mut data = [7; 256];
        data[..8].copy_from_slice(&number.to_le_bytes());
        acks.push_back(log.append(
            &stream(number),
            Expected::Any,
            [NewEvent::new("Read", data)],
        )?);
        if acks.len() == IN_FLIGHT
            && let Some(ack) = acks.pop_front()
        {
            ack.wait()?;
        }
    }
    acks.into_iter().try_for_each(|ack| ack.wait().map(drop))?;
    log.close()?;
    open(folder)
}
