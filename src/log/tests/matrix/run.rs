//! Owns one run of the error matrix: a log on a faulty disk whose stages are stepped on one thread,
//! what was appended to it, and what must be true of it afterwards.
//!
//! Promises: the same script makes the same calls. What an append was told is held against every
//! disk that can come of the run: acked means there, refused means not there, failed means whole or
//! not there.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::append::{Append, Appended};
use crate::clock::{SimClock, SystemClock, Timestamp};
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::error::{AppendError, OpenError};
use crate::event::{Expected, NewEvent};
use crate::log::engine::Engine;
use crate::log::recovery::OpenReport;
use crate::log::tests::faulty::{FaultyDisk, Kind};
use crate::options::Options;
use crate::read::View;
use crate::stage::Step;
use crate::stage::ack::Ack;

/// Rounds in which every append must have been answered.
const ROUNDS_MAX: u32 = 60;
/// What nobody waits for who is answered at all.
const PATIENCE: Duration = Duration::from_secs(60);
const ROUND: Duration = Duration::from_millis(30);

/// An append and what became of it.
#[derive(Debug)]
pub(super) struct Sent {
    numbers: Range<u64>,
    ack: Option<Ack>,
    answer: Option<Result<Appended, AppendError>>,
    /// It was told that nothing of it is in the log.
    is_refused: bool,
}

#[derive(Debug)]
pub(super) struct Run {
    pub(super) disk: FaultyDisk,
    pub(super) clock: Arc<SimClock>,
    pub(super) sent: Vec<Sent>,
    numbers: u64,
    /// Appends of earlier sessions.
    before: usize,
}

fn options() -> Options {
    Options::new().chunk_size(64 << 10).prepare_ahead(64 << 10)
}

fn stream(number: u64) -> String {
    format!("s-{}", number % 3)
}

/// An event of about so many bytes; those of even numbers end with zeros.
fn event(number: u64, size: usize) -> NewEvent {
    let mut data = number.to_le_bytes().to_vec();
    data.resize(size.max(8), if number.is_multiple_of(2) { 0 } else { 7 });
    NewEvent::new("Numbered", data)
}

impl Run {
    pub(super) fn new() -> Self {
        let clock = Arc::new(SimClock::new());
        clock.set_wall(Timestamp::from_nanos(1_800_000_000_000_000_000));
        Self { disk: FaultyDisk::default(), clock, sent: Vec::new(), numbers: 0, before: 0 }
    }

    /// The same on another disk, on which all is durable.
    pub(super) fn on(self, disk: SimDisk) -> Self {
        Self { disk: FaultyDisk::on(disk), ..self }
    }

    fn engine(&self, disk: Arc<dyn Disk>) -> Result<(Engine, OpenReport), OpenError> {
        Engine::open(disk, Arc::clone(&self.clock) as _, options())
    }

    pub(super) fn open(&self) -> Result<Engine, OpenError> {
        self.disk.enter("open", String::new());
        let opened = self.engine(Arc::new(self.disk.clone())).map(|opened| opened.0);
        let calls = self.disk.calls();
        let mut synced = calls.iter().filter(|call| is_sync(call.kind) && call.path == "open");
        if synced.clone().any(|call| call.has_failed) {
            assert!(opened.is_err(), "opening never hides a failed sync");
            assert!(synced.next_back().unwrap().has_failed, "and never tries again");
        }
        opened
    }

    /// Opens the log, appends events of these sizes, one at a time and some together, and leaves
    /// it open.
    pub(super) fn append(&mut self, sizes: &[usize]) -> Option<Engine> {
        self.before = self.sent.len();
        let mut engine = self.open().ok()?;
        for (index, size) in sizes.iter().enumerate() {
            match index % 4 {
                3 => {
                    self.submit_one(&engine, 20);
                    self.submit_full(&engine, *size);
                }
                _ => self.submit_one(&engine, *size),
            }
            self.round(&mut engine);
        }
        self.settle(&mut engine);
        self.check_reads(&engine);
        self.check_syncs(&engine);
        Some(engine)
    }

    fn submit_one(&mut self, engine: &Engine, size: usize) {
        let number = self.numbers;
        let events = [event(number, size)];
        let sent = engine.core.submit(&stream(number), Expected::Any, events, Duration::ZERO);
        self.note(1, sent);
    }

    /// Three events in two streams, with a check of a stream that is not there.
    fn submit_full(&mut self, engine: &Engine, size: usize) {
        let first = self.numbers;
        let append = Append::new()
            .event(stream(first), event(first, size))
            .event(stream(first + 1), event(first + 1, 30))
            .event(stream(first), event(first + 2, 40))
            .expect("nothing", Expected::NoStream);
        let sent = engine.core.submit_full(append, Duration::ZERO);
        self.note(3, sent);
        let refused = Append::new().expect("nothing", Expected::Exists);
        let sent = engine.core.submit_full(refused, Duration::ZERO);
        self.note(0, sent);
    }

    fn note(&mut self, events: u64, submitted: Result<Ack, AppendError>) {
        let numbers = self.numbers..self.numbers + events;
        self.numbers = numbers.end;
        let is_refused = submitted.is_err();
        let (ack, answer) = match submitted {
            Ok(ack) => (Some(ack), None),
            Err(error) => (None, Some(Err(error))),
        };
        self.sent.push(Sent { numbers, ack, answer, is_refused });
    }

    /// Steps each stage once.
    fn round(&mut self, engine: &mut Engine) {
        self.step(engine, "writer", |engine| engine.writer.step());
        self.step(engine, "chaser", |engine| engine.chaser.step());
        self.step(engine, "keeper", |engine| engine.keeper.step());
        self.clock.advance(ROUND);
        self.collect(engine);
    }

    fn step(
        &self,
        engine: &mut Engine,
        stage: &'static str,
        step: fn(&mut Engine) -> Step,
    ) -> Step {
        let active = engine.core.supply.orders().active.number;
        self.disk.enter(stage, crate::chunk::file_name(active));
        step(engine)
    }

    fn collect(&mut self, engine: &Engine) {
        for sent in self.sent.iter_mut().filter(|sent| sent.ack.as_ref().is_some_and(Ack::is_ready))
        {
            let answer = sent.ack.take().unwrap().wait();
            match &answer {
                Ok(done) if done.events > 0 => {
                    assert!(done.last_position < engine.core.marks.visible(), "acked is visible");
                }
                Ok(_) | Err(AppendError::Full | AppendError::WrongVersion { .. }) => {
                    sent.is_refused = true;
                }
                Err(AppendError::Failed(_)) => {}
                other => panic!("{other:?}"),
            }
            sent.answer = Some(answer);
        }
    }

    /// Steps all stages until everybody is answered.
    fn settle(&mut self, engine: &mut Engine) {
        for _ in 0..ROUNDS_MAX {
            self.round(engine);
            if self.sent.iter().all(|sent| sent.answer.is_some()) {
                return;
            }
        }
        panic!("somebody was never answered");
    }

    /// Closes the log as its threads do. Says whether it was closed well.
    pub(super) fn close(&mut self, mut engine: Engine) -> bool {
        engine.core.appends.close();
        for _ in 0..ROUNDS_MAX {
            self.round(&mut engine);
        }
        assert!(engine.core.appends.is_finished(), "closing answers everybody");
        let active = crate::chunk::file_name(engine.core.supply.orders().active.number);
        self.disk.enter("close", active);
        engine.writer.finish();
        engine.core.groups.close();
        engine.chaser.step();
        self.collect(&engine);
        let failed = engine.core.failure.get().is_some();
        self.check_syncs(&engine);
        !failed && engine.keeper.finish().is_ok()
    }

    /// Whatever has failed, what is visible is read.
    fn check_reads(&self, engine: &Engine) {
        let view = View::new(engine.core.segments.snapshot(), engine.core.marks.visible());
        self.check(&view, false);
    }

    /// R1: a failed sync is not tried again, and is final unless it was the seal's or the hint's.
    fn check_syncs(&self, engine: &Engine) {
        let calls = self.disk.calls();
        let is_final = |path: &str| path != "seal" && path != "close";
        let mut failed: Vec<&str> = Vec::new();
        let mut has_ended = false;
        for call in calls.iter().filter(|call| is_sync(call.kind)) {
            if call.kind == Kind::SyncData && call.file != "hint" {
                assert!(!failed.contains(&&*call.file), "{call:?} after one that failed");
                assert!(!has_ended || call.path == "seal", "{call:?} after the end");
            }
            if call.has_failed {
                failed.push(&call.file);
                has_ended |= is_final(call.path);
            }
        }
        assert!(!has_ended || engine.core.failure.get().is_some(), "a failed sync is final");
    }

    /// Holds a disk, as the run has left it, against what was told.
    pub(super) fn check_left(&self, left: SimDisk) {
        let disk: Arc<dyn Disk> = Arc::new(left);
        let (engine, _) = self.engine(Arc::clone(&disk)).expect("a healed disk opens");
        let view = View::new(engine.core.segments.snapshot(), engine.core.marks.visible());
        self.check(&view, true);
    }

    /// The same; says whether the log is opened, and not refused as damaged.
    pub(super) fn is_left_or_refused(&self, left: SimDisk) -> bool {
        match self.engine(Arc::new(left.snapshot())) {
            Ok(_) => {
                self.check_left(left);
                true
            }
            Err(
                OpenError::Corrupt(_) | OpenError::LostData { .. } | OpenError::MissingChunk(_),
            ) => false,
            Err(other) => panic!("{other}"),
        }
    }

    /// Appends events of these sizes to a log with threads, all in flight, and closes it.
    pub(super) fn with_threads(&mut self, sizes: &[usize]) {
        let disk = Arc::new(self.disk.clone());
        self.before = self.sent.len();
        let Ok(log) = options().open_on(disk, Arc::new(SystemClock::default())) else { return };
        for size in sizes {
            let number = self.numbers;
            let sent = log.append(&stream(number), Expected::Any, [event(number, *size)]);
            self.note(1, sent);
        }
        for sent in &mut self.sent[self.before..] {
            let Some(mut ack) = sent.ack.take() else { continue };
            let answer = ack.wait_timeout(PATIENCE).expect("everybody is answered");
            sent.is_refused = matches!(answer, Err(AppendError::Full));
            sent.answer = Some(answer);
        }
        let events = log.read_all(..).unwrap().map(Result::unwrap).count();
        assert_eq!(events as u64, log.view().end().get(), "reads go on");
        // A failed log tells so; either way it leaves nothing behind.
        drop(log.close());
    }

    /// The same, and goes on: nothing is in the way of appends, rolls and a clean close.
    pub(super) fn check_goes_on(&self, left: &SimDisk) {
        let mut run = Self::new();
        run.clock = Arc::clone(&self.clock);
        run.numbers = self.numbers;
        run.disk = FaultyDisk::on(left.clone());
        let before = run.open().expect("a healed disk opens").core.marks.visible();
        run.healthy(&[9_000, 30_000, 30_000, 10]);
        let first = run.sent[0].answer.as_ref().unwrap().as_ref().unwrap().first_position;
        assert_eq!(first, before, "gapless");
        let (_, report) = run.engine(Arc::new(run.disk.seen())).unwrap();
        assert!(report.clean, "{report:?}");
    }

    /// A session in which nothing fails.
    pub(super) fn healthy(&mut self, sizes: &[usize]) {
        let (before, engine) = (self.sent.len(), self.append(sizes));
        let engine = engine.expect("a sound disk opens");
        for sent in &self.sent[before..] {
            let is_well =
                matches!(sent.answer, Some(Ok(_) | Err(AppendError::WrongVersion { .. })));
            assert!(is_well, "{sent:?}");
        }
        assert!(self.close(engine), "a healed disk lets the log be closed");
    }

    /// Whole appends, each once, with what they were told; all that were acked, when the log was
    /// opened anew.
    fn check(&self, view: &View, is_anew: bool) {
        let events: Vec<_> = view.read_all(..).map(Result::unwrap).collect();
        let number = |at: usize| -> Option<u64> {
            Some(u64::from_le_bytes(*events.get(at)?.data().first_chunk()?))
        };
        let mut versions = BTreeMap::new();
        let mut found = BTreeMap::new();
        for (at, event) in events.iter().enumerate() {
            assert_eq!(event.position().get(), at as u64);
            let next: &mut u64 = versions.entry(event.stream().to_owned()).or_default();
            assert_eq!(event.version().get(), *next, "versions are gapless");
            *next += 1;
            let number = number(at).unwrap();
            assert_eq!(event.stream().split_once('-').unwrap().0, "s");
            assert!(found.insert(number, at).is_none(), "{number} is there twice");
        }
        for (stream, count) in versions {
            assert_eq!(view.read_stream(&stream, ..).unwrap().count() as u64, count);
        }
        let is_old = |index: usize| is_anew || index < self.before;
        let sent = self.sent.iter().enumerate();
        for (index, sent) in sent.filter(|(_, sent)| !sent.numbers.is_empty()) {
            let (first, count) = (sent.numbers.start, sent.numbers.end - sent.numbers.start);
            let there = found.get(&first);
            let whole = sent.numbers.clone().filter(|number| found.contains_key(number)).count();
            assert!(whole == 0 || whole as u64 == count, "a part is there of {sent:?}");
            if let Some(at) = there {
                assert!((0..count).all(|more| number(at + more as usize) == Some(first + more)));
            }
            match &sent.answer {
                Some(Ok(done)) => {
                    let place = there.map(|at| *at as u64);
                    assert_eq!(place, Some(done.first_position.get()), "{sent:?}");
                }
                _ if sent.is_refused => assert_eq!(there, None, "it was refused: {sent:?}"),
                _ => assert!(is_old(index) || there.is_none(), "seen, and not acked: {sent:?}"),
            }
        }
    }
}

fn is_sync(kind: Kind) -> bool {
    matches!(kind, Kind::SyncData | Kind::SyncDirectory)
}
