//! Paperchase is an append-only event log store: durable acks, gapless streams, one index, measured
//! stages.
//!
//! A client's append goes to a *writer* thread that gathers what waits into one group, writes it
//! and syncs; a *chaser* thread follows what is written, checks it, indexes it, and once it is
//! durable releases the acks. So an ack means: durable, read back, checked, indexed, visible.
//!
//! ```
//! use paperchase::{Expected, Log, NewEvent, Position};
//!
//! let dir = tempfile::tempdir()?;
//! let log = Log::open(dir.path())?;
//! let added = NewEvent::json("ItemAdded", br#"{"sku":1}"#).tag("warehouse:7");
//! let done = log.append("cart-7", Expected::NoStream, [added])?.wait()?;
//! assert_eq!(done.first_position, Position::START);
//!
//! for event in log.read_stream("cart-7", ..)? {
//!     let event = event?;
//!     println!("{} {} {}", event.position(), event.event_type(), event.version());
//! }
//! for event in log.read_all(Position::START..)?.rev() {
//!     println!("backwards: {}", event?.id());
//! }
//! log.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it promises
//!
//! An acked event is never lost, reordered, doubled or altered, and a damaged one is never served.
//! A failed sync is final: the log stops with [`AppendError::Failed`], reads go on, and opening it
//! again recovers. `docs/durability.md` has the promises fault by fault, with the test that holds
//! each.
//!
//! # When not to use it
//!
//! One process writes a log at a time, on one machine; there is no server, no replication, and
//! events are never changed or removed.
//!
//! # Features
//!
//! - `cli`: the binary `paperchase`. Without it the library has few dependencies.
//! - `sim`: a disk and clocks in memory, the modules' `SimDisk` and `SimClock`, for tests. Without
//!   it they are not compiled.
//! - `metrics`: `MetricsPublisher`, which hands figures to the recorder of the crate `metrics`.
//!   [`Stats::prometheus`] is there without it.
//! - `tracing`: events of the crate `tracing` for what is rare. Without it the log is silent.
//! - `bench`: doors for the benchmarks of this package. Nothing behind it is promised.

#[cfg(not(all(unix, target_pointer_width = "64")))]
compile_error!("paperchase needs a 64-bit Unix, because it maps whole files");

mod append;
pub mod clock;
mod error;
mod event;
mod options;
mod position;
mod query;
mod sync;
mod watermark;

pub mod disk;

mod format;

mod chunk;

mod stage;

mod index;

mod chaser;
mod keeper;
mod writer;

mod read;

mod consumer;
mod subscribe;

mod log;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod measuring;

pub use append::{Append, Appended, StreamAppended};
pub use chunk::recover::Cut;
pub use clock::Timestamp;
pub use consumer::{ConsumerInfo, Lag};
pub use error::{AppendError, Damage, Error, ErrorKind, OpenError, Result};
pub use event::{ContentKind, Expected, NewEvent, RecordedEvent, category};
pub use log::{Consumer, Figures, Follower, Log, OpenReport, Reader, Watched, WriterState};
pub use options::{
    APPEND_SIZE_MAX, APPEND_TERMS_MAX, Durability, EVENT_SIZE_MAX, Options, STREAM_NAME_MAX,
    TAG_MAX, TAGS_MAX, TYPE_MAX,
};
pub use position::{ChunkNumber, Place, Position, StreamVersion};
pub use query::{ParseQueryError, QUERY_ITEMS_MAX, QUERY_NAMES_MAX, Query};
pub use read::{ChunkInfo, ChunkState, NameInfo, ReadAll, ReadQuery, ReadStream, StreamInfo, View};
pub use stage::ack::Ack;
pub use stage::histogram::{CountHistogram, Histogram};
#[cfg(feature = "metrics")]
pub use stage::metrics::publish::MetricsPublisher;
pub use stage::stats::{
    DiskStats, DiskWork, PathStats, QueueStats, ScrubDamage, ScrubStats, StageStats, Stats,
    SubscriberStats,
};
pub use stage::verdict::{Cause, Finding, Verdict};
pub use subscribe::{Subscription, Update, Updates};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
