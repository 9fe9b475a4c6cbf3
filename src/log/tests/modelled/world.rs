//! Owns the world of a sequence: a log whose stages are stepped by chance, the model beside it, and
//! the operations that both go through.
//!
//! Promises: the model decides each append at the moment when the writer does. To add an operation,
//! give it a share in [`World::operation`]; to add a kind of read, see `model::Reading`.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::Tally;
use super::answers::{Asked, Order, brief};
use super::subscribed::Subscribed;
use crate::append::Append;
use crate::clock::{Clock, SimClock, Timestamp};
use crate::disk::Disk;
use crate::disk::sim::{Landed, SimDisk};
use crate::error::AppendError;
use crate::event::Expected;
use crate::log::engine::Engine;
use crate::log::tests::compare::{check_all, check_read};
use crate::log::tests::generate::{self, CHUNK_SIZE, Known, Recent};
use crate::log::tests::model::{self, Kept, Moment};
use crate::log::tests::random::Random;
use crate::options::{Durability, Options};
use crate::read::View;
use crate::stage::Step;

const MINUTE: Duration = Duration::from_secs(60);

pub(super) struct World {
    random: Random,
    disk: SimDisk,
    clock: Arc<SimClock>,
    options: Options,
    /// Every append that was decided, as the model decided it.
    log: Vec<Kept>,
    /// Appends without an answer, in their order.
    asked: VecDeque<Asked>,
    order: Order,
    recent: Recent,
    /// When the group was begun that is not written yet.
    group: Option<Moment>,
    /// What the writer of the present engine has handled and handed over.
    handled: u64,
    handed_over: u64,
    /// Views that were taken at some time, with the number of their events.
    views: Vec<(View, usize)>,
    subscribed: Vec<Subscribed>,
    tally: Tally,
    told: bool,
}

impl World {
    pub(super) fn new(seed: u64, told: bool) -> Self {
        Self::of(Random::new(seed), told)
    }

    pub(super) fn of(mut random: Random, told: bool) -> Self {
        let clock = Arc::new(SimClock::new());
        clock.set_wall(Timestamp::from_nanos(1_800_000_000_000_000_000));
        let chunks: u64 = random.pick(&[1, 1, 1, 2]);
        let mut options = Options::new()
            .chunk_size(chunks * CHUNK_SIZE)
            .prepare_ahead(64 << 10)
            .group_size(random.pick(&[4096, 4096, 16 << 10, 1 << 20]))
            .queue_appends(if random.percent(8) { 3 } else { 1000 })
            .durability(random.pick(&[Durability::Sync, Durability::Sync, Durability::Os]));
        if random.percent(40) {
            options = options.operation_horizon(60 * MINUTE);
        }
        Self {
            random,
            disk: SimDisk::new(),
            clock,
            options,
            log: Vec::new(),
            asked: VecDeque::new(),
            order: Order::default(),
            recent: Recent::default(),
            group: None,
            handled: 0,
            handed_over: 0,
            views: Vec::new(),
            subscribed: Vec::new(),
            tally: Tally::new(),
            told,
        }
    }

    fn note(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.told {
            println!("{}", what());
        }
    }

    /// Lets so many operations happen, and ends with a log that was closed.
    pub(super) fn play(mut self, operations: u64) -> Tally {
        let mut engine = self.open().0;
        for _ in 0..operations {
            if self.random.is_spent() {
                break;
            }
            engine = self.operation(engine);
        }
        self.settle(&mut engine);
        let view = engine.core.reader().view();
        check_all(&mut self.random, &view, &self.log);
        self.close(engine);
        self.tally
    }

    fn open(&mut self) -> (Engine, bool) {
        (self.handled, self.handed_over, self.group) = (0, 0, None);
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let opened = Engine::open(disk, Arc::clone(&self.clock) as _, self.options.clone());
        let (engine, report) = opened.expect("a log that was not damaged opens");
        self.tell(|| format!("{report:?}"));
        if report.cut.is_some() {
            self.note("cut");
        }
        if report.resealed > 0 {
            self.note("resealed");
        }
        (engine, report.clean)
    }

    fn operation(&mut self, mut engine: Engine) -> Engine {
        match self.random.below(100) {
            0..=34 => (0..=self.random.below(4)).for_each(|_| self.submit(&engine)),
            35..=69 => (0..=self.random.below(8)).for_each(|_| self.step(&mut engine)),
            70..=74 => self.hold(&mut engine),
            75..=80 => self.read(&engine),
            81..=84 => self.subscribe(&engine),
            85..=90 => self.pass_time(),
            91..=92 => self.settle(&mut engine),
            93 => return self.close(engine),
            94..=96 => return self.kill(engine),
            _ => return self.lose_power(engine),
        }
        engine
    }

    fn submit(&mut self, engine: &Engine) {
        let visible = engine.core.marks.visible().get();
        let Self { random, recent, log, asked, .. } = self;
        // What a caller that has many appends in flight takes for granted, or one that does not.
        let foresees = random.percent(30);
        let undecided = || asked.iter().filter(|asked| foresees && asked.decided.is_none());
        let head = |stream: &str| {
            let events = undecided().flat_map(|asked| &asked.append.events);
            let more = events.filter(|(of, _)| of == stream).count() as u64;
            let next = model::head(log, stream).map_or(0, |head| head + 1) + more;
            next.checked_sub(1)
        };
        let id = engine.core.log();
        let known = Known { head: &head, end: log.len() as u64, visible, log: id };
        let append = generate::append(random, recent, &known);
        recent.push(&append);
        self.tell(|| format!("submit {}", brief(&append)));
        let submitted = match plain(&append).filter(|_| self.random.percent(50)) {
            Some((stream, expected)) => {
                let events = append.events.iter().map(|(_, event)| event.clone());
                engine.core.submit(&stream, expected, events, Duration::ZERO)
            }
            None => engine.core.submit_full(append.clone(), Duration::ZERO),
        };
        match (submitted, model::invalid(&append)) {
            (Ok(ack), None) => {
                let asked = self.order.ask(append, ack, &engine.core.marks);
                self.asked.push_back(asked);
            }
            (Err(AppendError::Invalid { .. }), Some(row)) => self.note(row),
            (Err(AppendError::Busy), None) => {
                let waiting = engine.core.appends.stats().length as usize;
                assert!(
                    waiting >= self.options.queue_appends,
                    "{waiting} appends are no full queue"
                );
                self.note("busy");
            }
            (other, row) => panic!("{:?} instead of {row:?}", other.err()),
        }
    }

    fn step(&mut self, engine: &mut Engine) {
        match self.random.below(9) {
            0..=3 => _ = self.step_writer(engine),
            4..=6 => self.step_chaser(engine),
            _ => self.step_keeper(engine),
        }
    }

    fn step_writer(&mut self, engine: &mut Engine) -> Step {
        let (now, visible) = (self.clock.wall(), engine.core.marks.visible().get());
        let step = engine.writer.step();
        let last = self.log.last().map_or(Timestamp::default(), |kept| kept.time);
        let horizon = self.options.operation_horizon;
        let moment = Moment { now: now.max(last), visible, horizon };
        let handled = engine.core.meters.writer.items.get();
        let mut undecided = self.asked.iter_mut().filter(|asked| asked.decided.is_none());
        for _ in self.handled..handled {
            let asked = undecided.next().expect("the writer handles what was submitted");
            let moment = self.group.get_or_insert(moment);
            let decided = model::decide(&self.log, &asked.append, moment);
            asked.decided = Some((decided.answer, self.log.len() + decided.stored.len()));
            self.log.extend(decided.stored);
            *self.tally.entry(decided.row).or_default() += 1;
        }
        self.handled = handled;
        let handed_over = engine.core.groups.stats().pushed;
        if handed_over > self.handed_over {
            (self.handed_over, self.group) = (handed_over, None);
        }
        self.tell(|| format!("writer {step:?}: {handled} handled, {} events", self.log.len()));
        self.collect(engine);
        step
    }

    fn step_chaser(&mut self, engine: &mut Engine) {
        let chunks = engine.core.segments.last().chunk.number();
        engine.chaser.step();
        if engine.core.segments.last().chunk.number() > chunks {
            self.note("roll");
        }
        self.tell(|| format!("chaser: {} visible", engine.core.marks.visible()));
        self.collect(engine);
    }

    fn step_keeper(&mut self, engine: &mut Engine) {
        let step = engine.keeper.step();
        self.tell(|| format!("keeper {step:?}"));
        self.collect(engine);
    }

    /// Compares the answers that are there; they come in the order of the appends.
    fn collect(&mut self, engine: &Engine) {
        if let Some(error) = engine.core.failure.get() {
            panic!("the log failed: {error}");
        }
        for answered in self.order.take() {
            let asked = self.asked.pop_front().expect("an append is answered once");
            asked.check(answered);
        }
    }

    /// Steps while a client is about to submit, so that the writer holds back what it has gathered.
    fn hold(&mut self, engine: &mut Engine) {
        let appends = Arc::clone(&engine.core.appends);
        let held = appends.about_to_push();
        for _ in 0..3 + self.random.below(12) {
            match self.random.below(8) {
                0..=3 => self.submit(engine),
                4 => self.pass_time(),
                _ => self.step(engine),
            }
        }
        drop(held);
    }

    fn pass_time(&mut self) {
        let now = self.clock.wall().to_system_time();
        match self.random.below(10) {
            0..=6 => self.clock.advance(Duration::from_micros(self.random.below(4_000))),
            7..=8 => self.clock.set_wall((now + MINUTE * self.random.below(90) as u32).into()),
            _ => self.clock.set_wall((now - MINUTE * self.random.below(30) as u32).into()),
        }
    }

    /// Compares a read of the log as it is now, or as it was some time ago.
    fn read(&mut self, engine: &Engine) {
        let now = engine.core.reader().view();
        let events = now.end().get() as usize;
        self.views.push((now, events));
        let (view, events) = self.random.pick(&self.views);
        let (what, bounds) = generate::reading(&mut self.random, events as u64);
        check_read(&mut self.random, &view, &self.log[..events], (&what, bounds));
        if self.views.len() > 3 {
            self.views.remove(self.random.below(4) as usize);
        }
    }

    /// Begins a subscription, and takes what is there of all.
    fn subscribe(&mut self, engine: &Engine) {
        let reader = engine.core.reader();
        let visible = reader.view().end().get() as usize;
        if self.subscribed.len() < 3 {
            let from = self.random.below(self.log.len() as u64 + 3);
            self.subscribed.push(Subscribed::new(&mut self.random, &reader, from));
        }
        for subscribed in &mut self.subscribed {
            subscribed.take(&mut self.random, &self.log[..visible]);
        }
        if self.random.percent(20) {
            self.subscribed.clear();
        }
    }

    /// Steps all stages until every append is answered.
    fn settle(&mut self, engine: &mut Engine) {
        for _ in 0..1_000 {
            if self.asked.is_empty() {
                return;
            }
            self.step_writer(engine);
            self.step_chaser(engine);
            self.step_keeper(engine);
            self.clock.advance(Duration::from_millis(1));
        }
        panic!("{} appends were never answered", self.asked.len());
    }

    /// Closes as the threads do: the stages end in the order of the data's way.
    fn close(&mut self, mut engine: Engine) -> Engine {
        self.note("close");
        engine.core.appends.close();
        while self.step_writer(&mut engine) != Step::Idle || !engine.core.appends.is_finished() {
            self.step_chaser(&mut engine);
            self.step_keeper(&mut engine);
            self.clock.advance(Duration::from_millis(1));
        }
        engine.writer.finish();
        engine.core.groups.close();
        self.step_chaser(&mut engine);
        while engine.keeper.step() == Step::Worked {}
        engine.keeper.finish().unwrap();
        assert!(self.asked.is_empty(), "closing answers everybody");
        let end = self.log.len() as u64;
        drop(engine);
        // What was closed needs no power.
        self.crash();
        let (engine, clean) = self.reopen(end..=end);
        assert!(clean, "a closed log opens with nothing to do");
        engine
    }

    /// Ends the process: all that was written is there.
    fn kill(&mut self, engine: Engine) -> Engine {
        self.note("kill");
        let written = engine.core.marks.written().get();
        drop(engine);
        self.reopen(written..=written).0
    }

    fn lose_power(&mut self, engine: Engine) -> Engine {
        self.note("power");
        let written = engine.core.marks.written().get();
        let durable = match self.options.durability {
            Durability::Sync => engine.core.marks.durable().get(),
            Durability::Os => engine.core.supply.orders().place.position.get(),
        };
        drop(engine);
        self.crash();
        self.reopen(durable..=written).0
    }

    /// Leaves of the disk what was synced, and of the rest what chance says.
    fn crash(&mut self) {
        let landed = Landed::sample(self.disk.units().len(), || self.random.number());
        self.disk = self.disk.crash(&landed);
    }

    /// Opens the log, which must end somewhere in `ends`; the model then ends there too.
    fn reopen(&mut self, ends: RangeInclusive<u64>) -> (Engine, bool) {
        // Those who still wait are told nothing that counts.
        (self.asked, self.order) = (VecDeque::new(), Order::default());
        self.subscribed.clear();
        let (engine, clean) = self.open();
        let view = engine.core.reader().view();
        let end = view.end().get();
        self.tell(|| format!("opened at {end}, of {ends:?}"));
        assert!(ends.contains(&end), "the log ends at {end}, not in {ends:?}");
        let end = end as usize;
        let whole = self.log.get(end).is_none_or(|kept| kept.append == end as u64);
        assert!(whole, "an append is there whole or not at all");
        self.log.truncate(end);
        // Of a weaker mode more can be seen than survives.
        self.views.retain(|(_, seen)| *seen <= end);
        check_all(&mut self.random, &view, &self.log);
        (engine, clean)
    }
}

/// The stream and expectation of an append that [`Log::append`](crate::Log::append) can make.
fn plain(append: &Append) -> Option<(String, Expected)> {
    let (stream, expected) = match (&*append.expectations, append.events.first()) {
        ([], Some((stream, _))) => (stream, Expected::Any),
        ([(stream, expected)], _) => (stream, *expected),
        _ => return None,
    };
    let alone = append.events.iter().all(|(of, _)| of == stream);
    let fenced = !append.fences.is_empty();
    let more = append.operation.is_some() || !append.conditions.is_empty() || fenced;
    (alone && !more).then(|| (stream.clone(), expected))
}
