//! A program between clients and a server that must see each request exactly once: it takes
//! requests, drops those it has seen, forwards the others to a server that breaks on a duplicate,
//! stores the results, and answers. It may be killed at any moment and started again;
//! `tests/forwarder.rs` does that.
//!
//! ```text
//! clients => receive => record => (the log) => forward => collect => store => clients
//!              IO        log         IO |         ^ IO      log
//!                                       +- server +
//! ```
//!
//! Five stages, each a thread with a bounded, measured queue before it, through which requests go
//! in bulks. The queue before `forward` is the log itself.
//!
//! **What makes it exactly once.** Clients ask again until they are answered, each request with the
//! same id. The id is the id of the append that records it, so a request is in the log once, and
//! its version in its stream is its number, for ever. The server takes numbers without a gap, and
//! in its greeting it tells how many it has taken: the line `took`, in server.rs. Only what is
//! behind that is sent. Answers that got lost are told again behind the greeting. Results are
//! stored in one append with the place of the consumer, so that there is one for each request.
//!
//! **What is impossible.** Take the line `took` away, and leave a server that tells nothing and
//! breaks on a duplicate. A program that is killed between sending a request and noting that it did
//! cannot know afterwards whether the server has it: whether it notes first or sends first, there
//! is a moment between the two, and no further message can be the last one that both sides are sure
//! of (the problem of the two generals). It must choose: send again (at least once; the server may
//! break), or not (at most once; the request may be lost). No log, transaction or consensus on this
//! side changes that. The server has to help: it tells what it took, as here, or it recognises a
//! duplicate by a key and answers it as the first time.
//!
//! Run it with `cargo run --example forwarder`.

mod desk;
mod queue;
mod server;
mod stages;

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, mpsc};
use std::thread;

use paperchase::{Log, Query};
use uuid::Uuid;

pub(crate) use desk::Answer;
pub(crate) use queue::{Pop, Push, queue};
pub(crate) use server::{Memory, greet, start};

use desk::Desk;
use queue::{Figures, Table, stage};
use stages::Requests;

/// The stream of requests; a request's version in it is its number.
pub(crate) const REQUESTS: &str = "requests";
/// The stream of results; a result has the same version as its request.
pub(crate) const RESULTS: &str = "results";
/// Most requests of a bulk.
const BULK: usize = 256;
/// Most bulks in a queue.
const ROOM: usize = 8;

const CLIENTS: usize = 4;
const REQUESTS_A_CLIENT: usize = 750;

/// What a client sends: lines `id amount`, and where it waits for the answers.
#[derive(Clone)]
pub(crate) struct Letter {
    pub(crate) text: String,
    pub(crate) mailbox: Sender<Answer>,
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let memory = Arc::new(Memory::default());
    let server = start(Arc::clone(&memory))?;
    let ids: Vec<Uuid> = (0..CLIENTS * REQUESTS_A_CLIENT).map(|_| Uuid::now_v7()).collect();

    for round in ["the first time", "the same again, after a restart"] {
        let log = Log::open(folder.path())?;
        let (door, letters) = queue(ROOM);
        let (answers, table) = thread::scope(|scope| {
            let start = |ids| {
                let door = door.clone();
                scope.spawn(move || client(ids, &door))
            };
            let clients: Vec<_> = ids.chunks(REQUESTS_A_CLIENT).map(start).collect();
            drop(door);
            let table = run(&log, server, letters);
            let answers = clients.into_iter().flat_map(|client| client.join().expect("no panic"));
            (answers.collect::<Vec<_>>(), table)
        });
        println!("{round}\n{}", table?);
        let (taken, stored, all) = (memory.count(), count(&log, RESULTS)?, ids.len());
        println!("{} answers, {stored} results, {taken} taken\n", answers.len());
        assert_eq!(answers.len(), 2 * all, "everything is answered, however often asked");
        assert_eq!((taken, stored), (all as u64, all as u64), "each exactly once");
        let results: HashMap<_, _> = memory.taken().into_iter().collect();
        for Answer { id, text } in answers {
            assert_eq!(results[&id], text, "the server's answer to this very request");
        }
        log.close()?;
    }
    Ok(())
}

/// A client that is impatient: it sends everything twice. Returns all answers.
fn client(ids: &[Uuid], door: &Push<Letter>) -> Vec<Answer> {
    let (mailbox, answers) = mpsc::channel();
    for ids in ids.chunks(100) {
        let text: String = ids.iter().map(|id| format!("{id} 5\n")).collect();
        let letter = Letter { text, mailbox: mailbox.clone() };
        for _ in 0..2 {
            let pushed = door.push(vec![letter.clone()]);
            pushed.expect("the forwarder lives as long as its clients");
        }
    }
    drop(mailbox);
    answers.iter().collect()
}

/// Forwards until there are no clients any more and everything is answered.
///
/// A stage that fails ends the process: starting again is the one way to recover, and so it is one
/// that is tested.
pub(crate) fn run(
    log: &Log,
    server: SocketAddr,
    letters: Pop<Letter>,
) -> Result<Table, Box<dyn Error>> {
    // From here on no other instance can store results: what is counted now stays true.
    let consumer = log.consumer("forwarder")?;
    let (recorded, stored) = (count(log, REQUESTS)?, count(log, RESULTS)?);
    let (to_server, taken, answers) = greet(server, stored)?;
    if !(stored..=recorded).contains(&taken) {
        let problem = format!("it took {taken} of {recorded} requests, {stored} are answered");
        return Err(format!("this server belongs to another log: {problem}").into());
    }
    let (received, recordable) = queue(ROOM);
    let (sent, awaited) = queue(ROOM);
    let (answered, storable) = queue(ROOM);
    let in_log = Arc::new(Figures::default());
    in_log.push((recorded - stored) as usize);
    let (letters_in, received_in) = (&letters.figures, &recordable.figures);
    let queues = [letters_in, received_in, &in_log, &awaited.figures, &storable.figures];
    let queues = queues.map(Arc::clone);
    let (desk, no_more, in_log) = (&Desk::new(stored), &AtomicBool::new(false), &*in_log);
    let subscription = consumer.subscribe_query(&Query::stream(REQUESTS))?;
    let (requests, consumer) = (Requests { subscription, in_log, no_more }, &consumer);
    let forward = move || stages::forward(requests, consumer, taken, to_server, sent);
    let record = move || {
        stages::record(log, recordable, desk, in_log)?;
        no_more.store(true, Ordering::Release);
        Ok(())
    };
    let times = thread::scope(|scope| {
        let threads = [
            scope.spawn(|| stage("receive", || stages::receive(letters, received))),
            scope.spawn(|| stage("record", record)),
            scope.spawn(|| stage("forward", forward)),
            scope.spawn(|| stage("collect", || stages::collect(answers, awaited, answered))),
            scope.spawn(|| stage("store", || stages::store(log, consumer, storable, desk))),
        ];
        threads.map(|thread| thread.join().expect("a stage that fails ends the process"))
    });
    Ok(Table { queues, times })
}

fn count(log: &Log, stream: &str) -> paperchase::Result<u64> {
    Ok(log.view().stream_version(stream)?.map_or(0, |last| last.get() + 1))
}
