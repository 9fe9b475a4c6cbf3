//! Owns reading beside a writing process: one look at the log's files, without a lock and without a
//! change.
//!
//! Promises: shows what is proven to be durable and nothing else (R3): what a follower would show
//! at this moment. Never waits for the writer, never disturbs it.

use std::path::Path;
use std::time::Duration;

use super::follow::open_disk;
use super::follow::trail::Trail;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::read::View;

impl View {
    /// Opens a view of the log in a directory, beside a process that may be writing it.
    ///
    /// It shows all that was acked before the call. Where the two processes cannot share a page
    /// (see `docs/format.md`), it shows what the other one has noted as durable: all but what was
    /// acked within the last tenth of a second, or some more while that process seals a chunk. Of a
    /// log that is written with [`Durability::Os`](crate::Durability::Os) it shows what was synced:
    /// up to the last roll to a new chunk. After the machine was stopped the newest events may be
    /// missing from it until the log has been opened for writing once.
    ///
    /// To see the log grow, use [`Log::follow`](crate::Log::follow).
    ///
    /// # Errors
    /// [`OpenError`] names each case, such as damage or a missing chunk. Nothing is changed.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_on(&open_disk(directory.as_ref())?)
    }

    pub(crate) fn open_on(disk: &dyn Disk) -> Result<Self, OpenError> {
        Ok(Trail::open(disk, Duration::ZERO)?.view())
    }

    /// A view beside a writing process, and the id of the process of which it surely shows all that
    /// was acked before.
    #[cfg(feature = "cli")]
    pub(crate) fn open_telling(directory: &Path) -> Result<(Self, Option<u64>), OpenError> {
        let trail = Trail::open(&open_disk(directory)?, Duration::ZERO)?;
        Ok((trail.view(), trail.teller_of_acks()))
    }
}
