//! Owns the proof of F62: in a process that was forked off that of a log, the log's handles answer
//! `Forked`; they never wait, never write, and end without a word.
//!
//! The fork is that of `Command`, which runs a closure between fork and exec. It is made while the
//! writer's thread is held within a sync, so that an append is under way and a subscription waits.

#![cfg(unix)]
#![allow(unsafe_code, reason = "only an unsafe call forks")]
#![allow(clippy::unwrap_used, reason = "what is wrong ends the test")]

use std::fmt;
use std::future::Future;
use std::io;
use std::os::unix::process::CommandExt;
use std::pin::pin;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use paperchase::clock::SystemClock;
use paperchase::disk::{Access, Disk, DiskFile, LockError, Map, OsDisk, SharedPage};
use paperchase::{
    Ack, Append, AppendError, Consumer, Error, ErrorKind, Expected, Follower, Log, NewEvent,
    OpenError, Options, Position, Query, Subscription, View,
};

/// Holds up all syncs while it is shut.
#[derive(Debug, Default)]
struct Gate {
    /// Whether it is shut, and how many syncs wait.
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Gate {
    fn set(&self, is_shut: bool) {
        self.state.lock().unwrap().0 = is_shut;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        self.changed.notify_all();
        state = self.changed.wait_while(state, |state| state.0).unwrap();
        state.1 -= 1;
    }

    fn wait_for_a_sync(&self) {
        drop(self.changed.wait_while(self.state.lock().unwrap(), |state| state.1 == 0).unwrap());
    }
}

#[derive(Debug)]
struct GatedDisk(OsDisk, Arc<Gate>);

impl GatedDisk {
    fn gated(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(GatedFile(file, Arc::clone(&self.1)))
    }
}

impl Disk for GatedDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.gated(self.0.create(name)?))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.gated(self.0.open(name, access)?))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }

    fn lock(&self) -> Result<Box<dyn fmt::Debug + Send + Sync>, LockError> {
        self.0.lock()
    }

    fn page(&self, name: &str, access: Access) -> io::Result<SharedPage> {
        self.0.page(name, access)
    }

    fn label(&self) -> String {
        self.0.label()
    }
}

#[derive(Debug)]
struct GatedFile(Arc<dyn DiskFile>, Arc<Gate>);

impl DiskFile for GatedFile {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn grow(&self, size: u64) -> io::Result<()> {
        self.0.grow(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.1.pass();
        self.0.sync_data()
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        self.0.next_data(offset)
    }

    fn next_hole(&self, offset: u64) -> io::Result<u64> {
        self.0.next_hole(offset)
    }

    fn map(&self, length: u64) -> io::Result<Map> {
        self.0.map(length)
    }
}

/// Runs `body` in a forked process, which then becomes another program; tells the number that it
/// returned, if that was an error.
fn in_a_fork(body: impl FnMut() -> Result<(), i32> + Send + Sync + 'static) -> Result<(), i32> {
    let mut body = body;
    let mut command = Command::new("true");
    // SAFETY: the closure runs in the forked process before it becomes another program, where it
    // may do nothing that needs the threads or the locks of the process it was forked off. That is
    // what is tested of the log's handles. Besides them it uses memory, which the C library keeps
    // usable behind a fork.
    unsafe {
        command.pre_exec(move || body().map_err(io::Error::from_raw_os_error));
    }
    let spawned = command.spawn().map_err(|error| error.raw_os_error().unwrap_or(0));
    let status = spawned?.wait().unwrap();
    assert!(status.success(), "{status}");
    Ok(())
}

fn event() -> NewEvent {
    NewEvent::new("Forked", "1")
}

/// What a process has of an open log.
struct Handles {
    log: Option<Log>,
    acks: [Option<Ack>; 2],
    subscription: Option<Subscription>,
    follower: Option<Follower>,
    consumer: Consumer,
    view: View,
}

fn is_forked<T>(result: Result<T, Error>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::Forked)
}

fn is_append_forked<T>(result: Result<T, AppendError>) -> bool {
    matches!(result, Err(AppendError::Forked))
}

/// Tries everything that could wait or write. Returns the number of the first thing that answers
/// otherwise than it should.
fn use_in_a_fork(handles: &mut Handles, closes: bool) -> Result<(), i32> {
    let log = handles.log.take().ok_or(1)?;
    let check = |number, holds: bool| if holds { Ok(()) } else { Err(number) };
    check(2, is_append_forked(log.append("forked", Expected::Any, [event()])))?;
    check(3, is_append_forked(log.try_append("forked", Expected::Any, [event()])))?;
    check(4, is_append_forked(Append::new().event("forked", event()).submit(&log)))?;
    check(5, is_append_forked(log.consumer("reader")))?;
    check(6, is_append_forked(handles.consumer.commit(handles.consumer.place())))?;

    let [waited, polled] = handles.acks.each_mut().map(Option::take);
    check(7, is_append_forked(waited.ok_or(7)?.wait()))?;
    let mut polled = pin!(polled.ok_or(8)?);
    check(8, polled.is_ready())?;
    let outcome = polled.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    check(9, matches!(outcome, Poll::Ready(Err(AppendError::Forked))))?;

    let mut subscription = handles.subscription.take().ok_or(10)?;
    check(10, subscription.next().is_some_and(is_forked))?;
    check(11, subscription.next().is_none())?;
    drop(subscription);
    check(12, is_forked(log.subscribe(Position::START)))?;
    check(13, is_forked(handles.consumer.subscribe()))?;
    check(14, is_forked(log.read_all(..)))?;
    check(15, is_forked(log.read(&Query::new(), ..)))?;
    check(16, log.stats().written == Position::START)?;
    check(17, handles.view.read_all(..).all(|event| event.is_ok()))?;
    drop(handles.follower.take());
    if closes {
        return check(18, is_forked(log.close()));
    }
    drop(log);
    Ok(())
}

#[test]
fn f62_a_forked_process_is_refused_and_does_nothing() {
    for closes in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let gate = Arc::new(Gate::default());
        let disk = GatedDisk(OsDisk::open(directory.path()).unwrap(), Arc::clone(&gate));
        let options = Options::new().chunk_size(1 << 20).spin(Duration::ZERO);
        let log = options.open_on(Arc::new(disk), Arc::new(SystemClock::default())).unwrap();
        log.append("forked", Expected::Any, [event()]).unwrap().wait().unwrap();
        let consumer = log.consumer("reader").unwrap();
        let before = log.view().end();
        let mut subscription = log.subscribe(before).unwrap();
        while subscription.try_next().is_ready() {}

        gate.set(true);
        let append = || Some(log.append("forked", Expected::Any, [event()]).unwrap());
        let acks = [append(), append()];
        gate.wait_for_a_sync();
        let view = log.view();
        let follower = Log::follow(directory.path()).unwrap();
        // Everything is moved into the closure, and so is shared with the fork; here it is used by
        // what stays in the cell.
        let handles = Handles {
            log: Some(log),
            acks,
            subscription: Some(subscription),
            follower: Some(follower),
            consumer,
            view,
        };
        let cell = Arc::new(Mutex::new(handles));
        let shared = Arc::clone(&cell);
        let answered = in_a_fork(move || use_in_a_fork(&mut shared.lock().unwrap(), closes));
        assert_eq!(answered, Ok(()), "the number is that of the check in `use_in_a_fork`");
        assert!(matches!(Log::open(directory.path()), Err(OpenError::Locked { .. })));

        gate.set(false);
        let mut handles = cell.lock().unwrap();
        for ack in &mut handles.acks {
            ack.take().unwrap().wait().unwrap();
        }
        let log = handles.log.take().unwrap();
        log.append("forked", Expected::Any, [event()]).unwrap().wait().unwrap();
        let mut subscription = handles.subscription.take().unwrap();
        let told: Vec<_> = subscription.events().take(3).map(Result::unwrap).collect();
        assert_eq!(told[0].position(), before);
        log.close().unwrap();
        let log = Log::open(directory.path()).unwrap();
        assert!(log.report().clean, "{:?}", log.report());
        assert_eq!(log.view().end().get(), told[2].position().get() + 1);
    }
}

/// A process that was forked off may open the log for itself when the first has closed it, and its
/// handle is then its own.
#[test]
fn f62_a_forked_process_has_handles_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::open(directory.path()).unwrap();
    log.append("forked", Expected::Any, [event()]).unwrap().wait().unwrap();
    log.close().unwrap();
    let path = directory.path().to_owned();
    let answered = in_a_fork(move || {
        let log = Log::open(&path).map_err(|_| 1)?;
        log.append("forked", Expected::Any, [event()]).map_err(|_| 2)?.wait().map_err(|_| 3)?;
        log.close().map_err(|_| 4)
    });
    assert_eq!(answered, Ok(()));
    assert_eq!(View::open(directory.path()).unwrap().end(), Position::new(2));
}
