//! Owns appends on their way: the ack of each, what the model has answered, and in which order and
//! at which state of the log the answers came.
//!
//! Promises: notices an answer in the moment in which it is given, as a waiting task would.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use crate::append::Append;
use crate::log::tests::model::{self, Answer};
use crate::stage::ack::Ack;
use crate::watermark::Watermarks;

/// An append on its way.
pub(super) struct Asked {
    pub(super) append: Append,
    /// The model's answer, and how many events it rests on.
    pub(super) decided: Option<(Answer, usize)>,
    number: u64,
    ack: Ack,
}

/// The numbers of the appends that were answered, with what was visible in that moment.
#[derive(Default)]
pub(super) struct Order {
    asked: u64,
    answered: Arc<Mutex<Vec<(u64, u64)>>>,
}

/// Somebody who waits for an answer.
struct Waiting {
    number: u64,
    marks: Arc<Watermarks>,
    answered: Arc<Mutex<Vec<(u64, u64)>>>,
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        let visible = self.marks.visible().get();
        self.answered.lock().unwrap().push((self.number, visible));
    }
}

impl Order {
    /// Waits for the answer to an append.
    pub(super) fn ask(&mut self, append: Append, mut ack: Ack, marks: &Arc<Watermarks>) -> Asked {
        let number = self.asked;
        self.asked += 1;
        let (marks, answered) = (Arc::clone(marks), Arc::clone(&self.answered));
        let waker = Waker::from(Arc::new(Waiting { number, marks, answered }));
        let answer = Pin::new(&mut ack).poll(&mut Context::from_waker(&waker));
        assert!(answer.is_pending(), "nobody answers before a stage is stepped");
        Asked { append, decided: None, number, ack }
    }

    /// The appends that were answered since the last call, with what was visible then.
    pub(super) fn take(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.answered.lock().unwrap())
    }
}

impl Asked {
    /// Compares the answer, which came when so many events were visible.
    pub(super) fn check(self, (number, visible): (u64, u64)) {
        assert_eq!(number, self.number, "answers come in the order of the appends");
        let (expected, rests_on) = self.decided.expect("an answer follows a decision");
        let mut ack = self.ack;
        let Poll::Ready(told) = Pin::new(&mut ack).poll(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("an answer is there when its waker is called");
        };
        let same = model::is_same(&told, &expected);
        assert!(same, "{} is answered {told:?}, by the model {expected:?}", brief(&self.append));
        assert!(rests_on as u64 <= visible, "an answer waits for the facts it rests on");
    }
}

/// An append as text, with as much of its data as tells it from others.
pub(super) fn brief(append: &Append) -> String {
    let mut append = append.clone();
    for (_, event) in &mut append.events {
        let Some((first, last)) = event.data.first().zip(event.data.last()) else { continue };
        event.data = format!("{} of {first}..{last}", event.data.len()).into_bytes();
    }
    format!("{append:?}")
}
