//! Owns what the writer hands to the chaser: a written group, and the answers that wait for it.
//!
//! Promises: answers are in the order of the log. An answer that rests on earlier events alone,
//! such as a rejection, travels in the same order and so never comes before the facts it rests on.

use std::sync::Arc;
use std::time::Duration;

use crate::chunk::ChunkFile;
use crate::error::AppendError;
use crate::error::Error;
use crate::format::header::ChunkHeader;
use crate::position::Position;
use crate::stage::ack::{Outcome, Promise};
use crate::stage::path::Stamps;

/// An answer that waits for its facts to be durable.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) promise: Promise,
    /// When the append came.
    pub(crate) since: Duration,
    pub(crate) outcome: Outcome,
}

/// A group on its way from the writer to the chaser.
#[derive(Debug)]
pub(crate) struct PendingGroup {
    /// Its bytes; `None` when it holds answers alone.
    pub(crate) bytes: Option<GroupPlace>,
    /// When all events below this position are durable, the answers may go out.
    pub(crate) rests_on: Position,
    pub(crate) answers: Vec<Answer>,
    pub(crate) stamps: Stamps,
}

/// Where a group stands.
#[derive(Debug)]
pub(crate) struct GroupPlace {
    /// The chunk that begins with this group.
    pub(crate) begins: Option<(ChunkHeader, Arc<ChunkFile>)>,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl PendingGroup {
    /// Answers everybody that the log has failed.
    pub(crate) fn fail(self, error: &Error) {
        for answer in self.answers {
            answer.promise.answer(Err(AppendError::Failed(error.clone())));
        }
    }
}
