//! The five stages. Each runs until the one before it has ended and everything is handed on.

use std::error::Error;
use std::io::{BufRead, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use paperchase::{
    Append, AppendError, Consumer, Log, NewEvent, Place, RecordedEvent, Subscription, Update,
};
use uuid::Uuid;

use super::desk::{Desk, Waiting};
use super::queue::{Figures, Pop, Push, since};
use super::server::{Answers, holds_a_line};
use super::{BULK, Letter, REQUESTS, RESULTS};

/// How long `forward` may not notice that nothing more will be recorded.
const TICK: Duration = Duration::from_millis(10);

type Ended = Result<(), Box<dyn Error>>;

/// A request as it was received.
pub(crate) struct Received {
    amount: u32,
    waiting: Waiting,
}

/// A request that was sent: its number, and the place behind it.
pub(crate) struct Sent {
    number: u64,
    place: Place,
}

/// A request that the server has answered.
pub(crate) struct Answered {
    place: Place,
    result: String,
}

/// Opens the letters that are there.
pub(crate) fn receive(letters: Pop<Letter>, received: Push<Received>) -> Ended {
    while let Some(letters) = letters.pop(1) {
        let mut requests = Vec::new();
        for Letter { text, mailbox } in letters {
            for line in text.lines() {
                let parsed = line.split_once(' ').and_then(|(id, amount)| {
                    Some((id.parse::<Uuid>().ok()?, amount.parse().ok()?))
                });
                let id = parsed.map_or(Uuid::nil(), |(id, _)| id);
                let waiting = Waiting { id, mailbox: mailbox.clone() };
                match parsed {
                    Some((_, amount)) => requests.push(Received { amount, waiting }),
                    None => waiting.answer("a request is `id amount`"),
                }
            }
        }
        received.push(requests)?;
    }
    Ok(())
}

/// Records each request once. The appends of a bulk are on their way together, so that they share
/// writes and syncs.
pub(crate) fn record(log: &Log, received: Pop<Received>, desk: &Desk, in_log: &Figures) -> Ended {
    while let Some(bulk) = received.pop(BULK) {
        let submit = |request: &Received| {
            let event = NewEvent::new("Requested", request.amount.to_string());
            Append::new().event(REQUESTS, event).operation(request.waiting.id).submit(log)
        };
        let acks: Vec<_> = bulk.iter().map(submit).collect::<Result<_, _>>()?;
        for (request, ack) in bulk.into_iter().zip(acks) {
            match ack.wait() {
                Ok(stored) => {
                    in_log.push(usize::from(!stored.repeated));
                    desk.admit(log, stored.version, request.waiting, in_log)?;
                }
                Err(AppendError::OperationConflict { .. }) => {
                    request.waiting.answer("this id was given to another request");
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// The recorded requests that have no result, in the order of the log.
pub(crate) struct Requests<'a> {
    pub(crate) subscription: Subscription,
    pub(crate) in_log: &'a Figures,
    /// Whether `record` has ended.
    pub(crate) no_more: &'a AtomicBool,
}

impl Requests<'_> {
    /// Those that are there, but for too large a bulk, or else the first that comes. None when none
    /// will come.
    fn next_bulk(&mut self) -> paperchase::Result<Vec<RecordedEvent>> {
        let (mut bulk, mut waited) = (Vec::new(), Duration::ZERO);
        while bulk.len() < BULK {
            // Asked first: what was recorded before is then found by the look that follows.
            let no_more = self.no_more.load(Ordering::Acquire);
            match self.in_log.wait_for_items(|| self.subscription.next_timeout(TICK)) {
                Poll::Ready(Some(update)) => match update? {
                    Update::Event(event) => {
                        waited += since(event.time());
                        bulk.push(event);
                    }
                    _ if bulk.is_empty() => {}
                    _ => break,
                },
                Poll::Pending if !no_more => {}
                _ => return Ok(bulk),
            }
        }
        self.in_log.pop(bulk.len(), waited);
        Ok(bulk)
    }
}

/// Sends what the server has not taken, and tells `collect` of all that is to be answered.
pub(crate) fn forward(
    mut requests: Requests<'_>,
    consumer: &Consumer,
    taken: u64,
    mut server: TcpStream,
    sent: Push<Sent>,
) -> Ended {
    loop {
        let (mut bulk, mut lines) = (Vec::new(), String::new());
        for request in requests.next_bulk()? {
            let number = request.version().get();
            bulk.push(Sent { number, place: consumer.behind(&request) });
            if number >= taken {
                let id = request.operation().ok_or("a request without an id")?;
                let amount = std::str::from_utf8(request.data())?;
                lines += &format!("{number} {id} {amount}\n");
            }
        }
        if bulk.is_empty() {
            break;
        }
        // Before it is sent: so `collect` reads the answers, and the server never waits for a
        // forwarder that waits for the server.
        sent.push(bulk)?;
        server.write_all(lines.as_bytes())?;
    }
    Ok(server.shutdown(Shutdown::Write)?)
}

/// Reads the server's answers, which come in the order of the requests.
pub(crate) fn collect(mut answers: Answers, sent: Pop<Sent>, answered: Push<Answered>) -> Ended {
    while let Some(sent) = sent.pop(1) {
        let mut bulk = Vec::new();
        for Sent { number, place } in sent {
            let mut line = String::new();
            answers.read_line(&mut line)?;
            let answer = line.strip_suffix('\n').and_then(|line| line.split_once(' '));
            let Some((_, result)) = answer.filter(|(of, _)| *of == number.to_string()) else {
                return Err(format!("no answer to request {number}, but {line:?}").into());
            };
            bulk.push(Answered { place, result: result.to_owned() });
            if !holds_a_line(&answers) {
                // What is there does not wait for what is not.
                answered.push(std::mem::take(&mut bulk))?;
            }
        }
        if !bulk.is_empty() {
            answered.push(bulk)?;
        }
    }
    Ok(())
}

/// Stores results, and in the same append how far they go.
pub(crate) fn store(log: &Log, consumer: &Consumer, answered: Pop<Answered>, desk: &Desk) -> Ended {
    while let Some(bulk) = answered.pop(BULK) {
        let results = bulk.iter().map(|answer| NewEvent::new("Answered", &answer.result));
        let append = Append::new().events(RESULTS, results);
        let place = bulk.last().ok_or("an empty bulk")?.place;
        append.commit(consumer, place).submit(log)?.wait()?;
        desk.serve(bulk.iter().map(|answer| answer.result.as_str()));
    }
    Ok(())
}
