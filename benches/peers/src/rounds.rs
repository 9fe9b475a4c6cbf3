//! Owns the order of measurements: rounds, turns, a process and a directory for each.
//!
//! Promises: a store that fails or hangs costs its own row alone, and its row says so. Directories
//! are removed.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;
use tempfile::TempDir;

use crate::Settings;
use crate::machine::describe;
use crate::store::{Peer, Result, peers};
use crate::stores::bare;
use crate::task::{APPEND, LOAD, OPEN, POINT, SCAN, STREAM, Samples, Task, Work};

/// The word by which a process knows that it is to do one task.
pub const CHILD: &str = "child";
/// The most that a measurement takes beyond its seconds, and that loading takes.
const PATIENCE: Duration = Duration::from_secs(180);
const LIMIT: Duration = Duration::from_millis(10);

/// A kind of appending: its name, its title, how it is done.
pub struct Kind {
    pub name: &'static str,
    pub title: &'static str,
    pub work: Work,
}

const fn threads(name: &'static str, title: &'static str, clients: usize, batch: usize) -> Kind {
    Kind { name, title, work: Work::Threads { clients, batch } }
}

const fn tasks(name: &'static str, title: &'static str, clients: usize) -> Kind {
    Kind { name, title, work: Work::Tasks { clients } }
}

pub const KINDS: [Kind; 9] = [
    threads("n1", "1 thread, one event a call", 1, 1),
    threads("n8", "8 threads, one event a call", 8, 1),
    threads("n64", "64 threads, one event a call", 64, 1),
    threads("n256", "256 threads, one event a call", 256, 1),
    Kind {
        name: "pipelined",
        title: "1 thread, 1,024 calls of one event in flight",
        work: Work::Pipeline { window: 1024 },
    },
    tasks("async64", "64 tasks on one thread, one event a call", 64),
    tasks("async256", "256 tasks on one thread, one event a call", 256),
    threads("batch1", "1 thread, 100 events a call", 1, 100),
    threads("batch8", "8 threads, 100 events a call", 8, 100),
];

/// Work on a loaded store: its name and title.
pub const READS: [(&str, &str); 5] = [
    (LOAD, "loading: 1 thread, 1,000 events a call, one after another"),
    (OPEN, "opening after a kill, until the last event is read; rate is of openings"),
    (STREAM, "1,000 events of one stream, spread over all; rate is of such streams"),
    (POINT, "one event by its number, at random"),
    (SCAN, "all events in order"),
];

/// One measurement of one store.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub work: String,
    pub round: usize,
    pub store: String,
    /// Events that the store was loaded with; 0 where it was new.
    pub events: u64,
    pub samples: Samples,
    pub failed: Option<String>,
}

impl Settings {
    pub fn wants(&self, work: &str) -> bool {
        self.work.is_empty() || self.work.iter().any(|name| name == work)
    }

    pub fn peers(&self) -> Vec<Peer> {
        let (paperchase, bare) = (crate::stores::paperchase::PEER.name, bare::NAME);
        let wanted = |peer: &Peer| {
            [paperchase, bare].contains(&peer.name)
                || self.only.is_empty()
                || self.only.iter().any(|name| name == peer.name)
        };
        peers().into_iter().filter(wanted).collect()
    }

    fn check(&self) -> Result {
        let kinds: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        let reads: Vec<_> = READS.iter().map(|(name, _)| *name).collect();
        for name in &self.work {
            if ![kinds.as_slice(), &reads].concat().contains(&name.as_str()) {
                bail!("there is no work {name}; there are {kinds:?} and {reads:?}");
            }
        }
        for name in &self.only {
            crate::store::peer(name)?;
        }
        Ok(())
    }

    pub fn folder(&self) -> Result<TempDir> {
        let inside = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        std::fs::create_dir_all(&inside)?;
        Ok(tempfile::Builder::new().prefix("peers-").tempdir_in(inside)?)
    }

    pub fn task(&self, peer: &Peer, work: Work, folder: &Path) -> Task {
        Task {
            store: peer.name.to_owned(),
            work,
            directory: folder.join(peer.name),
            result: folder.join("result"),
            seconds: self.seconds,
            warmup: self.warmup,
            events: self.events.min(peer.events_max),
            streams: self.streams,
        }
    }
}

/// Runs all that is wanted.
pub fn run(settings: &Settings) -> Result<Vec<Measured>> {
    settings.check()?;
    let folder = settings.folder()?;
    println!("{}\n", describe(folder.path()));
    let start = Instant::now();
    let mut measured = Vec::new();
    for kind in KINDS.iter().filter(|kind| settings.wants(kind.name)) {
        for round in 0..settings.rounds {
            eprintln!(
                "{:>5.0} s  {} round {}",
                start.elapsed().as_secs_f64(),
                kind.name,
                round + 1
            );
            for peer in turns(settings, round) {
                if let Some(work) = work_of(kind.work, &peer) {
                    let task = settings.task(&peer, work, folder.path());
                    measured.push(one(kind.name, round, &task, Directory::New));
                    std::fs::remove_dir_all(&task.directory)?;
                }
            }
        }
    }
    if READS.iter().any(|(name, _)| settings.wants(name)) {
        measured.extend(reads(settings, folder.path(), start)?);
    }
    eprintln!("{:>5.0} s  done", start.elapsed().as_secs_f64());
    Ok(measured)
}

/// The stores in the order of this round.
fn turns(settings: &Settings, round: usize) -> Vec<Peer> {
    let mut peers = settings.peers();
    if round % 2 == 1 {
        peers.reverse();
    }
    peers
}

/// The bare loop is always the same; a store without starts does no work that needs them.
fn work_of(work: Work, peer: &Peer) -> Option<Work> {
    match work {
        _ if peer.name == bare::NAME => Some(Work::Threads { clients: 1, batch: 1 }),
        Work::Pipeline { .. } | Work::Tasks { .. } if !peer.starts => None,
        work => Some(work),
    }
}

fn reads(settings: &Settings, folder: &Path, start: Instant) -> Result<Vec<Measured>> {
    let mut measured = Vec::new();
    for peer in turns(settings, 0) {
        eprintln!("{:>5.0} s  load {}", start.elapsed().as_secs_f64(), peer.name);
        let task = settings.task(&peer, Work::Load, folder);
        measured.push(one(LOAD, 0, &task, Directory::New));
    }
    let loaded =
        |peer: &Peer| measured.iter().any(|one| one.store == peer.name && one.failed.is_none());
    let mut found = Vec::new();
    for round in 0..settings.rounds {
        eprintln!("{:>5.0} s  read round {}", start.elapsed().as_secs_f64(), round + 1);
        for peer in turns(settings, round).iter().filter(|peer| loaded(peer)) {
            let task = settings.task(peer, Work::Read, folder);
            found.push(one("read", round, &task, Directory::Old));
        }
    }
    measured.extend(found);
    Ok(measured)
}

enum Directory {
    New,
    Old,
}

fn one(work: &str, round: usize, task: &Task, directory: Directory) -> Measured {
    let made = match directory {
        Directory::New => std::fs::create_dir(&task.directory),
        Directory::Old => Ok(()),
    };
    let done = made.map_err(Into::into).and_then(|()| {
        // What the store before has left unwritten is not this one's.
        rustix::fs::syncfs(File::open(&task.directory)?)?;
        process(task, Command::new(std::env::current_exe()?))
    });
    let loads = matches!(task.work, Work::Load | Work::Read);
    let (samples, failed) = match done {
        Ok(samples) => (samples, None),
        Err(error) => {
            eprintln!("         {}: {error:#}", task.store);
            (Samples::new(), Some(format!("{error:#}")))
        }
    };
    Measured {
        work: work.to_owned(),
        round,
        store: task.store.clone(),
        events: if loads { task.events } else { 0 },
        samples,
        failed,
    }
}

/// Runs a task as a process of its own, by this command.
pub fn process(task: &Task, mut command: Command) -> Result<Samples> {
    let _ = std::fs::remove_file(&task.result);
    let log = task.result.with_extension("stderr");
    let mut child = command
        .arg(CHILD)
        .arg(serde_json::to_string(task)?)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log)?)
        .spawn()
        .context("start a process")?;
    let start = Instant::now();
    let limit = PATIENCE + Duration::from_secs_f64(task.seconds + task.warmup);
    while child.try_wait()?.is_none() {
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("took longer than {} s", limit.as_secs());
        }
        std::thread::sleep(LIMIT);
    }
    let Ok(result) = std::fs::read(&task.result) else {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        bail!("{}", text.lines().next().unwrap_or("ended without a result"));
    };
    Ok(serde_json::from_slice(&result)?)
}

impl Measured {
    /// What was seen of this work.
    pub fn sample(&self, work: &str) -> Option<&crate::task::Sample> {
        let reads = READS.iter().any(|(name, _)| *name == work);
        if reads { self.samples.get(work) } else { self.samples.get(APPEND) }
    }

    /// Whether this is a measurement of this work, seen or failed.
    pub fn is_of(&self, work: &str) -> bool {
        let read = self.work == "read" && READS.iter().any(|(name, _)| *name == work);
        self.work == work || read && work != LOAD
    }
}
