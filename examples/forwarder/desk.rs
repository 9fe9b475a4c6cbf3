//! Where requests wait for their results, so that clients are answered when these are stored.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex};

use paperchase::{Log, StreamVersion};
use uuid::Uuid;

use super::RESULTS;
use super::queue::Figures;

/// Most requests that wait. Beyond it no more are recorded: a slow server is felt by the clients,
/// and not by the memory.
const SEATS: usize = 4_096;

/// The answer to a request.
pub(crate) struct Answer {
    pub(crate) id: Uuid,
    pub(crate) text: String,
}

/// A request that waits for its result, and where its client waits. The same request may wait more
/// than once.
pub(crate) struct Waiting {
    pub(crate) id: Uuid,
    pub(crate) mailbox: Sender<Answer>,
}

impl Waiting {
    pub(crate) fn answer(self, text: &str) {
        // A client that is gone asks again, or has lost interest.
        let _ = self.mailbox.send(Answer { id: self.id, text: text.to_owned() });
    }
}

pub(crate) struct Desk {
    state: Mutex<State>,
    room: Condvar,
}

struct State {
    /// Requests with lower numbers have their results stored.
    stored: StreamVersion,
    waiting: BTreeMap<StreamVersion, Vec<Waiting>>,
    seats: usize,
}

impl Desk {
    pub(crate) fn new(stored: u64) -> Self {
        let stored = StreamVersion::new(stored);
        let state = State { stored, waiting: BTreeMap::new(), seats: SEATS };
        Self { state: Mutex::new(state), room: Condvar::new() }
    }

    /// Answers a request from the log if its result is stored; otherwise it waits until it is.
    pub(crate) fn admit(
        &self,
        log: &Log,
        number: StreamVersion,
        request: Waiting,
        in_log: &Figures,
    ) -> paperchase::Result<()> {
        let state = self.state.lock().expect("no stage panics");
        let full = |state: &mut State| state.seats == 0 && number >= state.stored;
        let state = in_log.wait_for_room(|| self.room.wait_while(state, full));
        let mut state = state.expect("no stage panics");
        if number >= state.stored {
            state.seats -= 1;
            state.waiting.entry(number).or_default().push(request);
            return Ok(());
        }
        drop(state);
        if let Some(result) = log.read_stream(RESULTS, number..)?.next() {
            request.answer(&String::from_utf8_lossy(result?.data()));
        }
        Ok(())
    }

    /// Answers who waits for these results, which are stored: those of the next numbers.
    pub(crate) fn serve<'a>(&self, results: impl Iterator<Item = &'a str>) {
        let mut state = self.state.lock().expect("no stage panics");
        for result in results {
            let number = state.stored;
            let waiting = state.waiting.remove(&number).unwrap_or_default();
            state.stored = StreamVersion::new(number.get() + 1);
            state.seats += waiting.len();
            waiting.into_iter().for_each(|request| request.answer(result));
        }
        self.room.notify_all();
    }
}
