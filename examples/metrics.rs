//! Prints what a log has counted, as Prometheus text. A server answers a scrape with it.
//!
//! Run it with `cargo run --example metrics`.

use std::error::Error;

use paperchase::{Expected, Log, NewEvent};

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let log = Log::open(folder.path())?;
    for number in 0..100 {
        let event = NewEvent::new("Counted", number.to_string());
        log.append("counter-1", Expected::Any, [event])?.wait()?;
    }
    let text = log.stats().prometheus("counters");
    assert!(text.contains("\npaperchase_disk_events_total{log=\"counters\"} 100\n"));
    print!("{text}");
    log.close()?;
    Ok(())
}
