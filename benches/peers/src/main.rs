//! Owns the comparison: the same work on Paperchase, on the stores that a user would pick instead,
//! and on the bare disk, in turns, and the tables of it.
//!
//! Promises: every store has flushed to the device before it acks, by its own calls or by ours
//! (`--check-durable` shows it); each measurement is a process of its own on a directory of its
//! own; every round runs all stores once, every second round in reverse order; all ratios are of
//! one round.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml -- --help`

#![expect(clippy::disallowed_methods, reason = "a benchmark measures the time that passes")]

mod drive;
mod durable;
mod events;
#[cfg(any(feature = "commitlog", feature = "fjall", feature = "redb", feature = "rusqlite"))]
mod grouped;
mod machine;
mod report;
mod rounds;
mod store;
mod stores;
mod task;

use std::path::PathBuf;

use clap::Parser;

use store::Result;

/// The same work on Paperchase and on the stores that a user would pick instead, in turns.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub struct Settings {
    /// Directory on the disk that is meant; the temporary one by default.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Rounds of each work; each runs every store once.
    #[arg(long, default_value_t = 3, default_value_if("quick", "true", "2"))]
    rounds: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 1.0, default_value_if("quick", "true", "0.3"))]
    seconds: f64,
    /// Seconds before each measurement.
    #[arg(long, default_value_t = 0.3, default_value_if("quick", "true", "0.1"))]
    warmup: f64,
    /// Events that stores are loaded with for reading and opening.
    #[arg(long, default_value_t = 1_000_000, default_value_if("quick", "true", "100000"))]
    events: u64,
    /// Streams that the loaded events are in.
    #[arg(long, default_value_t = 100_000)]
    streams: u64,
    /// Only these stores, besides Paperchase and the bare loop.
    #[arg(long, value_delimiter = ',', value_name = "STORE")]
    only: Vec<String>,
    /// Only this work: see --list.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    work: Vec<String>,
    /// Other defaults: two short rounds, small stores. Shows whether it works, not how fast.
    #[arg(long)]
    quick: bool,
    /// Writes all samples of all rounds to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Instead of measuring, shows by strace that each ack comes after a sync.
    #[arg(long)]
    check_durable: bool,
    /// Instead of measuring, lists the stores and the kinds of work.
    #[arg(long)]
    list: bool,
}

fn main() -> Result {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(rounds::CHILD) {
        let task = words.next().unwrap_or_default();
        return task::run(&serde_json::from_str(&task)?);
    }
    let settings = Settings::parse();
    if settings.list {
        report::list();
        return Ok(());
    }
    if settings.check_durable {
        return durable::check(&settings);
    }
    let measured = rounds::run(&settings)?;
    report::print(&settings, &measured);
    if let Some(path) = &settings.json {
        std::fs::write(path, serde_json::to_vec_pretty(&measured)?)?;
    }
    Ok(())
}
