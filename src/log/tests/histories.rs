//! Tests of concurrent histories: threads append to the same streams of a running log, and the
//! model explains every answer afterwards.
//!
//! Promises: whatever was stored is stored again by the model at the same place of the log; every
//! other answer is the model's at some moment between its submission and its arrival. How threads
//! meet does not follow from the seed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::compare::{check_all, events, is_same};
use super::generate::{self, CHUNK_SIZE, Known, Recent};
use super::model::{self, Answer, Bounds, Kept, Moment, Reading};
use super::random::Random;
use super::{open_with, small};
use crate::append::Append;
use crate::clock::Timestamp;
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::event::RecordedEvent;
use crate::log::Log;
use crate::position::StreamVersion;
use crate::stage::ack::Ack;

const CLIENTS: u64 = 8;
const APPENDS: usize = 40;
const IN_FLIGHT_MAX: u64 = 6;

/// What the clients of a round have seen.
#[derive(Default)]
struct History {
    appends: Vec<Answered>,
    reads: Vec<Seen>,
}

/// An append, with the end of the log as it was seen before its submission and after its answer.
struct Answered {
    append: Append,
    answer: Answer,
    from: u64,
    to: u64,
}

/// What was read of a log that ended there.
struct Seen {
    asked: (Reading, Bounds),
    end: u64,
    events: Vec<RecordedEvent>,
}

struct Client<'a> {
    log: &'a Log,
    random: Random,
    recent: &'a Mutex<Recent>,
    open: VecDeque<(Append, Ack, u64)>,
    history: History,
}

impl Client<'_> {
    fn run(mut self) -> History {
        for _ in 0..APPENDS {
            self.submit();
            let most = self.random.below(IN_FLIGHT_MAX) as usize;
            while self.open.len() > most {
                self.wait();
            }
            if self.random.percent(10) {
                self.read();
            }
        }
        while !self.open.is_empty() {
            self.wait();
        }
        self.history
    }

    fn submit(&mut self) {
        let view = self.log.view();
        let from = view.end().get();
        let head = |stream: &str| view.stream_version(stream).unwrap().map(StreamVersion::get);
        let known = Known { head: &head, end: from, visible: from, log: view.log_id() };
        let append = {
            let mut recent = self.recent.lock().unwrap();
            let append = generate::append(&mut self.random, &recent, &known);
            recent.push(&append);
            append
        };
        match append.clone().submit(self.log) {
            Ok(ack) => self.open.push_back((append, ack, from)),
            Err(error) => assert!(model::invalid(&append).is_some(), "{error}"),
        }
    }

    fn wait(&mut self) {
        let Some((append, ack, from)) = self.open.pop_front() else { return };
        let answer = ack.wait();
        let to = self.log.view().end().get();
        self.history.appends.push(Answered { append, answer, from, to });
    }

    fn read(&mut self) {
        let view = self.log.view();
        let end = view.end().get();
        let (what, bounds) = generate::reading(&mut self.random, end);
        let events = events(&view, (&what, bounds)).unwrap().map(Result::unwrap).collect();
        self.history.reads.push(Seen { asked: (what, bounds), end, events });
    }
}

/// Lets all clients run on a log.
fn run(log: &Log, seed: u64) -> History {
    let recent = Mutex::new(Recent::default());
    let mut all = History::default();
    std::thread::scope(|scope| {
        let client = |number| Client {
            log,
            random: Random::new(seed * CLIENTS + number),
            recent: &recent,
            open: VecDeque::new(),
            history: History::default(),
        };
        let clients = (0..CLIENTS).map(client).collect::<Vec<_>>();
        let running = clients.into_iter().map(|client| scope.spawn(|| client.run()));
        for client in running.collect::<Vec<_>>() {
            let history = client.join().unwrap();
            all.appends.extend(history.appends);
            all.reads.extend(history.reads);
        }
    });
    all
}

/// Stores again what was stored, in the order of the log. Returns the log that the model has then.
fn replay(history: &History) -> Vec<Kept> {
    let stored = history.appends.iter().filter_map(|told| {
        let done = told.answer.as_ref().ok().filter(|done| !done.repeated && done.events() > 0)?;
        Some((done, told))
    });
    let mut stored = stored.collect::<Vec<_>>();
    stored.sort_by_key(|(done, _)| done.first_position);
    let mut log: Vec<Kept> = Vec::new();
    for (done, told) in stored {
        let decided = decide(&log, told);
        let same = model::is_same(&told.answer, &decided.answer);
        assert!(same, "{:?} is answered {done:?}, by the model {decided:?}", told.append);
        assert!(told.from <= done.first_position.get(), "what was seen stands before");
        assert!(done.last_position.get() < told.to, "what is acked is seen");
        log.extend(decided.stored);
    }
    log
}

fn decide(log: &[Kept], told: &Answered) -> model::Decided {
    let now = told.answer.as_ref().map_or(Timestamp::default(), |done| done.time);
    model::decide(log, &told.append, &Moment { now, visible: told.to, horizon: None })
}

/// Whether the model gives an answer at some moment between submission and answer.
fn is_explained(log: &[Kept], told: &Answered) -> bool {
    let ends = told.from as usize..=told.to as usize;
    let whole = |end: &usize| log.get(*end).is_none_or(|kept| kept.append == *end as u64);
    let answers = ends.filter(whole).map(|end| decide(&log[..end], told).answer);
    answers.into_iter().any(|answer| model::is_same(&told.answer, &answer))
}

fn check(history: &History, log: &[Kept]) {
    for told in &history.appends {
        let stored = told.answer.as_ref().is_ok_and(|done| !done.repeated && done.events() > 0);
        let (from, to) = (told.from, told.to);
        assert!(
            stored || is_explained(log, told),
            "nothing from {from} to {to} explains {:?} to {:?}",
            told.answer,
            told.append,
        );
    }
    for Seen { asked, end, events } in &history.reads {
        let expected = model::read(&log[..*end as usize], &asked.0, asked.1);
        let same = events.iter().zip(&expected).all(|(event, kept)| is_same(event, kept));
        assert!(same && events.len() == expected.len(), "{asked:?} of {end} showed {events:?}");
    }
}

#[test]
fn the_model_explains_every_concurrent_history() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let first = number("PAPERCHASE_SEED");
    let rounds = first.map_or(number("PAPERCHASE_HISTORIES").unwrap_or(20), |_| 1);
    let first = first.unwrap_or(0);
    for seed in first..first + rounds {
        println!("PAPERCHASE_SEED={seed}");
        let mut random = Random::new(seed);
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let options = small()
            .chunk_size(CHUNK_SIZE * random.pick(&[1, 2, 8]))
            .prepare_ahead(64 << 10)
            .group_size(random.pick(&[4096, 1 << 20]))
            .spin(Duration::from_micros(random.pick(&[0, 200])));
        let log = open_with(&disk, options.clone()).unwrap();
        let history = run(&log, seed);
        let kept = replay(&history);
        check_all(&mut random, &log.view(), &kept);
        check(&history, &kept);
        log.close().unwrap();
        let log = open_with(&disk, options).unwrap();
        check_all(&mut random, &log.view(), &kept);
    }
}
