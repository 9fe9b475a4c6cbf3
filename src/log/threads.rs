//! Owns the threads of a log: who steps which stage, who wakes whom, and in which order they end.
//!
//! Promises: a stage that has nothing to do sleeps; a small hand-over is finished by the thread
//! that made it, because waking another costs more than the work; after a failure or a panic every
//! waiter is answered.

use std::sync::{Arc, PoisonError, TryLockError};
use std::time::Duration;

use super::engine::{Core, Engine};
use super::trace::Tracer;
use crate::chaser::Chaser;
use crate::error::{AppendError, Error, OpenError, Result};
use crate::keeper::Keeper;
use crate::stage::queue::Taken;
use crate::stage::spin::Spinner;
use crate::stage::worker::{Timesheet, Worker};
use crate::stage::{Step, bell};
use crate::sync::{Mutex, MutexGuard};
use crate::writer::Writer;

/// Up to so many answers the writer gives itself, by stepping the chaser, and so many subscriptions
/// it wakes; more are left to the chaser's thread.
const INLINE_MAX: usize = 8;
/// The longest that the writer spins: as long as a client takes to make some dozens of events.
const WRITER_SPIN_MAX: Duration = Duration::from_micros(120);
/// The longest that the writer sleeps while it waits for room, should a wake be missed.
const ROOM_WAIT_MAX: Duration = Duration::from_millis(50);
/// How old the figures may become that other processes see.
const FIGURES_AGE_MAX: Duration = Duration::from_millis(200);

/// The running threads.
#[derive(Debug)]
pub(super) struct Threads {
    core: Arc<Core>,
    writer: Worker,
    chaser: Worker,
    keeper: Worker,
    closing: Arc<Mutex<Result<()>>>,
}

type SharedChaser = Arc<Mutex<Chaser>>;

impl Threads {
    /// Starts a thread for each stage. The keeper's tells `tracer` what has happened.
    pub(super) fn start(engine: Engine, mut tracer: Tracer) -> Result<Self, OpenError> {
        let Engine { core, mut writer, chaser, mut keeper } = engine;
        let chaser = Arc::new(Mutex::new(chaser));
        let closing = Arc::new(Mutex::new(Ok(())));
        let collapse = || {
            let (core, chaser) = (Arc::clone(&core), Arc::clone(&chaser));
            move |error: Error| collapse(&core, &chaser, &error)
        };
        let (shared, outcome) = (Arc::clone(&core), Arc::clone(&closing));
        let keep = move || {
            let closed = run_keeper(&shared, &mut keeper, &mut tracer);
            *outcome.lock().unwrap_or_else(PoisonError::into_inner) = closed;
        };
        let (shared, followed) = (Arc::clone(&core), Arc::clone(&chaser));
        let follow = move || run_chaser(&shared, &followed);
        let (shared, stepped) = (Arc::clone(&core), Arc::clone(&chaser));
        let write = move || run_writer(&shared, &mut writer, &stepped);

        let keeper = Worker::spawn("paperchase-keeper", keep, collapse())?;
        let chaser = Worker::spawn("paperchase-chaser", follow, collapse());
        let writer = Worker::spawn("paperchase-writer", write, collapse());
        match (writer, chaser) {
            (Ok(writer), Ok(chaser)) => Ok(Self { core, writer, chaser, keeper, closing }),
            (Err(error), other) | (other, Err(error)) => {
                core.appends.close();
                core.groups.close();
                core.supply.stop();
                other.into_iter().chain([keeper]).for_each(Worker::join);
                Err(error.into())
            }
        }
    }

    /// Stops the stages in the order of the data's way, each when all before it are finished.
    pub(super) fn stop(self) -> Result<()> {
        if let Err(forked) = self.core.failure.check_home() {
            // There are no threads here to wait for, and their locks may be held for ever (F62).
            std::mem::forget(self);
            return Err(forked);
        }
        self.core.appends.close();
        self.writer.join();
        self.core.groups.close();
        self.chaser.join();
        self.core.bell.close();
        self.core.supply.stop();
        self.keeper.join();
        if let Some(error) = self.core.failure.get() {
            return Err(error.clone());
        }
        let closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        closing.clone()
    }
}

fn run_writer(core: &Core, writer: &mut Writer, chaser: &SharedChaser) {
    let sheet = Timesheet::new(Arc::clone(&core.meters.writer), Arc::clone(&core.clock));
    let mut spinner = Spinner::new();
    loop {
        let step = writer.step();
        hand_over(core, writer.take_due(), chaser);
        match step {
            Step::Worked => {}
            Step::Idle if core.appends.is_finished() => break,
            Step::Idle => sheet.wait(|| {
                await_append(core, &mut spinner);
                core.appends.wait(1, None);
            }),
            Step::Until(moment) => {
                let left = moment.saturating_sub(core.clock.monotonic());
                sheet.wait(|| core.appends.wait(1, Some(left)));
            }
            Step::Gather { until, appends } => {
                let left = until.saturating_sub(core.clock.monotonic());
                sheet.wait(|| core.appends.wait(appends, Some(left)));
            }
            Step::Blocked => sheet.wait(|| core.supply.wait_for_room(ROOM_WAIT_MAX)),
        }
    }
    writer.finish();
}

/// Spins for the next append before the writer sleeps: a client that has just got its ack and
/// appends again then finds it awake, and neither pays for a sleep and a wake.
fn await_append(core: &Core, spinner: &mut Spinner) {
    let most = core.options.spin.min(WRITER_SPIN_MAX);
    spinner.spin(most, &*core.clock, || !core.appends.is_handled());
}

/// Passes due answers on: a few are given at once, many by the chaser's thread.
fn hand_over(core: &Core, due: usize, chaser: &SharedChaser) {
    if core.failure.get().is_some() {
        lock(chaser).step();
        // What was durable has been followed, and the writer makes nothing durable any more.
        core.bell.close();
        return;
    }
    match due {
        0 => {}
        1..=INLINE_MAX => {
            let mut chaser = match chaser.try_lock() {
                Ok(chaser) => chaser,
                Err(TryLockError::WouldBlock) => return core.groups.nudge(),
                Err(TryLockError::Poisoned(chaser)) => chaser.into_inner(),
            };
            chaser.advance();
            let called = chaser.take_called(INLINE_MAX);
            let more = chaser.is_anybody_called();
            drop(chaser);
            if more {
                core.groups.nudge();
            }
            bell::wake(called);
        }
        _ => core.groups.nudge(),
    }
}

fn run_chaser(core: &Core, chaser: &SharedChaser) {
    let sheet = Timesheet::new(Arc::clone(&core.meters.chaser), Arc::clone(&core.clock));
    let mut told = false;
    loop {
        // Asked before the step: once it is closed, no mark changes any more, and the step shows
        // all that was left.
        let is_last = core.groups.is_closed();
        let (step, called) = {
            let mut chaser = lock(chaser);
            (chaser.advance(), chaser.take_called(usize::MAX))
        };
        // Before those who are called, the step checks nothing that is not durable.
        let has_called = !called.is_empty();
        // Without the lock, so that the writer can answer meanwhile.
        bell::wake(called);
        tell_writer(core, &mut told);
        match step {
            Step::Worked => {}
            _ if has_called => {}
            _ if is_last => break,
            _ => sheet.wait(|| core.groups.wait_for_nudge()),
        }
    }
}

/// Tells the writer once of a failure that it may sleep through: it answers and ends for all.
fn tell_writer(core: &Core, told: &mut bool) {
    if !*told && core.failure.get().is_some() {
        *told = true;
        core.appends.nudge();
    }
}

fn run_keeper(core: &Core, keeper: &mut Keeper, tracer: &mut Tracer) -> Result<()> {
    let sheet = Timesheet::new(Arc::clone(&core.meters.keeper), Arc::clone(&core.clock));
    let (mut told, mut figures_due) = (false, Duration::ZERO);
    loop {
        let stopped = core.supply.is_stopped();
        let step = keeper.step();
        tell_writer(core, &mut told);
        let now = core.clock.monotonic();
        if now >= figures_due || stopped {
            figures_due = now + FIGURES_AGE_MAX;
            let stats = core.stats();
            tracer.look(core, &stats);
            core.page.count(stats);
        }
        match step {
            Step::Worked => {}
            _ if stopped => break,
            Step::Until(moment) => {
                let left = moment.saturating_sub(core.clock.monotonic());
                sheet.wait(|| core.supply.wait_for_kick(left));
            }
            Step::Idle | Step::Blocked | Step::Gather { .. } => {
                sheet.wait(|| core.supply.wait_for_kick(ROOM_WAIT_MAX));
            }
        }
    }
    if core.failure.get().is_some() {
        return Ok(());
    }
    let closed = keeper.finish();
    tracer.closed(core, &closed);
    closed
}

/// After a panic: nothing is taken any more, and everybody who waits is told.
fn collapse(core: &Core, chaser: &SharedChaser, error: &Error) {
    core.failure.record(error.clone());
    core.appends.close();
    core.supply.stop();
    let mut taken = Taken::default();
    while core.appends.take(&mut taken) {
        while let Some(submission) = taken.pop() {
            submission.promise.answer(Err(AppendError::Failed(error.clone())));
        }
    }
    let called = {
        let mut chaser = lock(chaser);
        chaser.abandon(error);
        chaser.take_called(usize::MAX)
    };
    bell::wake(called);
    core.bell.close();
    core.groups.nudge();
}

fn lock(chaser: &SharedChaser) -> MutexGuard<'_, Chaser> {
    chaser.lock().unwrap_or_else(PoisonError::into_inner)
}
