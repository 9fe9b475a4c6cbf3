//! Paperchase.

pub mod clock;
pub mod disk;
mod error;
mod event;
mod format;
mod index;
mod options;
mod position;
mod watermark;

pub use clock::Timestamp;
pub use error::{AppendError, Damage, Error, ErrorKind, OpenError, Result};
pub use event::{Appended, ContentKind, Expected, NewEvent, RecordedEvent, category};
pub use options::{Durability, Options};
pub use position::{ChunkNumber, Position, StreamVersion};
