//! Owns a log that is stepped on one thread over a disk that records each call, and the list of
//! what it was sent.
//!
//! Promises: every moment before a call that changes the disk is explored, with what was promised
//! by then. Answers come in order and are what they must be. Every append that is made is stored,
//! or its refusal is foreseen, so that the list is the log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::check::{Claim, Sent};
use super::explore::Explorer;
use crate::append::Append;
use crate::clock::{Clock, SimClock, Timestamp};
use crate::disk::Disk;
use crate::disk::sim::{Landed, SimDisk};
use crate::error::AppendError;
use crate::event::{Expected, NewEvent};
use crate::log::engine::Engine;
use crate::log::tests::random::Random;
use crate::options::{Durability, Options};
use crate::position::StreamVersion;
use crate::stage::Step;
use crate::stage::ack::Ack;

const STREAMS: [&str; 4] = ["a-1", "a-2", "b-1", "c"];

/// Who is stepped.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    Writer,
    Chaser,
    Keeper,
}

/// What an append must be answered.
#[derive(Clone, Copy, Debug)]
enum Foreseen {
    Stored(u64),
    Refused,
}

/// The log of a run.
pub(super) struct Run {
    pub(super) random: Random,
    pub(super) explorer: Explorer,
    pub(super) disk: SimDisk,
    clock: Arc<SimClock>,
    options: Options,
    engine: Option<Engine>,
    sent: Vec<Sent>,
    asked: VecDeque<(Ack, Foreseen)>,
    /// Appends with operations and their first positions, to be sent again.
    operations: Vec<(Append, u64)>,
    /// How many events must survive.
    floor: u64,
    /// The disk holds nothing that is not durable.
    is_durable: bool,
    /// The log was closed.
    is_closed: bool,
    ids: u64,
}

/// The smallest chunks that there are, so that many begin and end.
pub(super) fn options() -> Options {
    Options::new().chunk_size(16 << 10).prepare_ahead(4 << 10).spin(Duration::ZERO)
}

impl Run {
    pub(super) fn new(seed: u64, options: Options, explorer: Explorer) -> Self {
        let clock = Arc::new(SimClock::new());
        clock.set_wall(Timestamp::from_nanos(1_800_000_000_000_000_000));
        Self {
            random: Random::new(seed),
            explorer,
            disk: SimDisk::new(),
            clock,
            options,
            engine: None,
            sent: Vec::new(),
            asked: VecDeque::new(),
            operations: Vec::new(),
            floor: 0,
            is_durable: true,
            is_closed: false,
            ids: 0,
        }
    }

    /// Opens the log; it must hold what it must.
    pub(super) fn open(&mut self) {
        self.explorer.begin_session();
        self.disk.record();
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let clock = Arc::clone(&self.clock) as _;
        let (engine, report) = Engine::open(disk, clock, self.options.clone()).expect("it opens");
        assert!(report.clean || !self.is_closed, "what was closed needs no power: {report:?}");
        let end = engine.core.marks.visible().get();
        assert!(end >= self.floor && end <= self.sent.len() as u64, "{end} events are there");
        if self.is_durable {
            self.floor = end;
        }
        self.sent.truncate(end as usize);
        self.operations.retain(|(_, first)| *first < end);
        self.asked.clear();
        self.engine = Some(engine);
        (self.is_durable, self.is_closed) = (false, false);
        self.explore();
        self.note_floor();
    }

    /// Tries the crashes of all moments since the last call.
    fn explore(&mut self) {
        for disk in self.disk.take_recorded() {
            self.meet(&disk);
        }
    }

    fn meet(&mut self, disk: &SimDisk) {
        let (options, now) = (&self.options, self.clock.wall());
        let claim = Claim { options, now, sent: &self.sent, floor: self.floor, cut: None };
        self.explorer.meet(disk, &claim);
    }

    /// Tries the crashes of this moment.
    pub(super) fn meet_now(&mut self) {
        self.note_floor();
        let disk = self.disk.clone();
        self.meet(&disk);
    }

    fn engine(&mut self) -> &mut Engine {
        self.engine.as_mut().expect("the log is open")
    }

    fn note_floor(&mut self) {
        let Some(engine) = &self.engine else { return };
        let durable = match self.options.durability {
            Durability::Sync => engine.core.marks.durable(),
            Durability::Os => engine.core.supply.orders().place.position,
        };
        self.floor = self.floor.max(durable.get());
    }

    pub(super) fn step(&mut self, stage: Stage) -> Step {
        let engine = self.engine();
        let step = match stage {
            Stage::Writer => engine.writer.step(),
            Stage::Chaser => engine.chaser.step(),
            Stage::Keeper => engine.keeper.step(),
        };
        // The moments of this step were before what it made durable.
        self.explore();
        self.note_floor();
        self.collect();
        step
    }

    fn collect(&mut self) {
        let failure = self.engine().core.failure.get().cloned();
        assert!(failure.is_none(), "the log failed: {failure:?}");
        let visible = self.engine().core.marks.visible().get();
        while self.asked.front().is_some_and(|(ack, _)| ack.is_ready()) {
            let Some((ack, foreseen)) = self.asked.pop_front() else { break };
            match (ack.wait(), foreseen) {
                (Ok(done), Foreseen::Stored(first)) => {
                    assert_eq!(done.first_position.get(), first);
                    assert!(done.last_position.get() < visible, "acked means visible");
                }
                (Err(AppendError::WrongVersion { .. }), Foreseen::Refused) => {}
                (other, foreseen) => panic!("{other:?} instead of {foreseen:?}"),
            }
        }
        assert!(!self.asked.iter().any(|(ack, _)| ack.is_ready()), "answers come in order");
    }

    fn event(&mut self, size: usize) -> NewEvent {
        self.ids += 1;
        let id = Uuid::from_u64_pair(0x5E27, self.ids);
        let data: Vec<u8> = (0..size).map(|_| self.random.below(256) as u8).collect();
        let event = NewEvent::with_id(id, self.random.pick(&["Opened", "Moved"]), data);
        if self.random.percent(30) { event.tag("red") } else { event }
    }

    fn next_version(&self, stream: &str) -> u64 {
        self.sent.iter().filter(|sent| sent.stream == stream).count() as u64
    }

    fn ask(&mut self, append: Append, foreseen: Foreseen) {
        let ack = self.engine().core.submit_full(append, Duration::ZERO).unwrap();
        self.asked.push_back((ack, foreseen));
    }

    /// Appends events of these sizes, each to a stream.
    pub(super) fn append(&mut self, sizes: &[usize]) {
        let first = self.sent.len() as u64;
        let stream = self.random.pick(&STREAMS);
        let mut append = Append::new();
        if self.random.percent(40) {
            let next = self.next_version(stream);
            append = append.expect(
                stream,
                match next.checked_sub(1) {
                    None => Expected::NoStream,
                    Some(last) => Expected::Exact(StreamVersion::new(last)),
                },
            );
        }
        let many = self.random.percent(30);
        let operation = self.random.percent(30).then(|| Uuid::from_u64_pair(7, self.ids));
        for (place, size) in sizes.iter().enumerate() {
            let stream = if many { self.random.pick(&STREAMS) } else { stream };
            let (event, version) = (self.event(*size), self.next_version(stream));
            append = append.event(stream, event.clone());
            let operation = operation.filter(|_| place == 0);
            let stream = stream.to_owned();
            self.sent.push(Sent { stream, version, event, operation, append: first });
        }
        if let Some(id) = operation {
            append = append.operation(id);
            self.operations.push((append.clone(), first));
        }
        self.ask(append, Foreseen::Stored(first));
    }

    /// Appends what is refused, or what is stored already.
    fn append_again(&mut self) {
        if !self.operations.is_empty() && self.random.percent(50) {
            let (append, first) = self.random.pick(&self.operations);
            return self.ask(append, Foreseen::Stored(first));
        }
        let (stream, event) = (self.random.pick(&STREAMS), self.event(3));
        let wrong = Expected::Exact(StreamVersion::new(self.next_version(stream) + 1000));
        self.ask(Append::new().expect(stream, wrong).event(stream, event), Foreseen::Refused);
    }

    /// Lets something happen while a client is about to append, so that the writer holds back its
    /// flush.
    pub(super) fn held(&mut self, happen: impl FnOnce(&mut Self)) {
        let appends = Arc::clone(&self.engine().core.appends);
        let held = appends.about_to_push();
        happen(self);
        drop(held);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
    }

    /// Steps all stages until every append is answered.
    pub(super) fn settle(&mut self) {
        for _ in 0..1_000 {
            if self.asked.is_empty() {
                return;
            }
            for stage in [Stage::Writer, Stage::Chaser, Stage::Keeper] {
                self.step(stage);
            }
            self.pass(Duration::from_millis(1));
        }
        panic!("{} appends were never answered", self.asked.len());
    }

    /// Lets the keeper do all that is due.
    pub(super) fn keep(&mut self) {
        for _ in 0..100 {
            if self.step(Stage::Keeper) != Step::Worked {
                return;
            }
        }
    }

    /// One operation by chance.
    pub(super) fn operate(&mut self) {
        match self.random.below(100) {
            0..=13 => self.append_some(30),
            14..=19 => self.append_some(1_200),
            20..=23 => self.append_some(7_000),
            24..=28 => self.append_again(),
            29..=55 => _ = self.step(Stage::Writer),
            56..=72 => _ = self.step(Stage::Chaser),
            73..=86 => _ = self.step(Stage::Keeper),
            87..=92 => {
                let micros = self.random.pick(&[10, 500, 3_000, 60_000]);
                self.pass(Duration::from_micros(micros));
            }
            93..=95 => self.held(|run| {
                for _ in 0..4 + run.random.below(8) {
                    run.append_some(2_500);
                    run.step(Stage::Writer);
                }
            }),
            _ => self.settle(),
        }
    }

    fn append_some(&mut self, size: u64) {
        let events = if size > 5_000 { 1 } else { 1 + self.random.below(3) };
        let sizes: Vec<_> = (0..events).map(|_| 1 + self.random.below(size) as usize).collect();
        self.append(&sizes);
    }

    /// Closes the log as its threads do; all of it must survive.
    pub(super) fn close(&mut self) {
        self.settle();
        self.keep();
        let engine = self.engine();
        engine.core.appends.close();
        engine.writer.finish();
        engine.core.groups.close();
        engine.chaser.step();
        self.explore();
        self.note_floor();
        self.engine().keeper.finish().unwrap();
        self.explore();
        self.meet_now();
        assert_eq!(self.floor, self.sent.len() as u64, "all is durable");
        self.is_closed = true;
    }

    /// Ends the process, and the power too where `landed` says what is left.
    pub(super) fn crash(&mut self, power: bool) {
        self.meet_now();
        self.engine = None;
        if power {
            let landed = Landed::sample(self.disk.units().len(), || self.random.number());
            self.disk = self.disk.crash(&landed);
            self.is_durable = true;
        }
    }
}
