//! Repairs that are cut short at each call that changes something. What they leave is refused, or
//! holds what the damaged log or the repaired one holds; and a second repair finishes.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::super::apply;
use super::super::losses::Losses;
use super::super::plan::{Plan, Step, plan};
use super::super::report::Report;
use super::super::survey::Survey;
use crate::chunk::file_name;
use crate::cli::files::{Files, Writer};
use crate::clock::SystemClock;
use crate::disk::sim::SimDisk;
use crate::disk::{Access, Disk, DiskFile, LockError, Map};
use crate::format::CHUNK_HEADER_SIZE;
use crate::format::header::ChunkHeader;
use crate::position::ChunkNumber;
use crate::{Expected, Log, NewEvent, OpenError, Options, Position};

pub(super) const EVENTS: u64 = 60;

/// A disk that stops for good after so many calls that change something. The last of them, if it is
/// a write, is done by half.
#[derive(Debug)]
struct Stopping {
    inner: SimDisk,
    left: Arc<AtomicU64>,
}

#[derive(Debug)]
struct StoppingFile {
    inner: Arc<dyn DiskFile>,
    left: Arc<AtomicU64>,
}

fn spend(left: &AtomicU64) -> io::Result<u64> {
    let spent = left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
    spent.map_err(|_| io::Error::other("the disk has stopped"))
}

impl Disk for Stopping {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        spend(&self.left)?;
        let inner = self.inner.create(name)?;
        Ok(Arc::new(StoppingFile { inner, left: Arc::clone(&self.left) }))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let inner = self.inner.open(name, access)?;
        Ok(Arc::new(StoppingFile { inner, left: Arc::clone(&self.left) }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn sync_directory(&self) -> io::Result<()> {
        spend(&self.left)?;
        self.inner.sync_directory()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        // A rename that finds its new name taken changes nothing.
        self.inner.read_file(to).map_or_else(|| spend(&self.left), |_| Ok(0))?;
        self.inner.rename(from, to)
    }

    fn lock(&self) -> Result<Box<dyn fmt::Debug + Send + Sync>, LockError> {
        self.inner.lock()
    }

    fn label(&self) -> String {
        self.inner.label()
    }
}

impl DiskFile for StoppingFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if spend(&self.left)? == 1 {
            self.inner.write_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::Error::other("the disk has stopped"));
        }
        self.inner.write_at(bytes, offset)
    }

    fn grow(&self, size: u64) -> io::Result<()> {
        spend(&self.left)?;
        self.inner.grow(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        spend(&self.left)?;
        self.inner.sync_data()
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        self.inner.next_data(offset)
    }

    fn next_hole(&self, offset: u64) -> io::Result<u64> {
        self.inner.next_hole(offset)
    }

    fn map(&self, length: u64) -> io::Result<Map> {
        self.inner.map(length)
    }
}

pub(super) fn open(disk: &SimDisk) -> Result<Log, OpenError> {
    let options = Options::new().chunk_size(64 << 10).prepare_ahead(64 << 10).spin(Duration::ZERO);
    options.open_on(Arc::new(disk.clone()), Arc::new(SystemClock::default()))
}

/// A closed log of four chunks, a group for each event.
pub(super) fn sound() -> SimDisk {
    let disk = SimDisk::new();
    let log = open(&disk).unwrap();
    for number in 0..EVENTS {
        let event = NewEvent::new("Counted", vec![number.to_le_bytes()[0]; 3500]);
        log.append(&format!("s-{}", number % 3), Expected::Any, [event]).unwrap().wait().unwrap();
    }
    assert_eq!(log.view().chunks().len(), 4);
    log.close().unwrap();
    disk.snapshot()
}

/// What a log holds: of each position the event's data, or `None` where it cannot be read.
pub(super) fn content(disk: &SimDisk) -> Result<Vec<Option<u8>>, OpenError> {
    let log = open(&disk.snapshot())?;
    let view = log.view();
    let all: Vec<_> =
        view.read_all(Position::START..).map(|event| event.ok().map(|it| it.data()[0])).collect();
    Ok(all)
}

pub(super) fn look(disk: &SimDisk) -> (Survey, Plan) {
    let survey = Survey::of(disk, None).unwrap();
    let plan = plan(&survey);
    (survey, plan)
}

pub(super) fn repair(disk: &SimDisk, calls: u64) -> (bool, u64) {
    let (survey, plan) = look(disk);
    let left = Arc::new(AtomicU64::new(calls));
    let stopping = Stopping { inner: disk.clone(), left: Arc::clone(&left) };
    let done = match survey.log {
        Some(log) => apply::apply(&stopping, log, &plan, &mut Vec::new()).is_ok(),
        None => false,
    };
    (done, calls - left.load(Ordering::Acquire))
}

/// The positions of all events in files of salvaged events that are whole.
pub(super) fn salvaged(disk: &SimDisk) -> BTreeSet<u64> {
    let names = disk.list().unwrap().into_iter();
    let names = names.filter(|name| name.starts_with("salvaged-") && !name.contains(".part"));
    let text: String =
        names.map(|name| String::from_utf8(disk.read_file(&name).unwrap()).unwrap()).collect();
    let position = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["position"].as_u64().unwrap()
    };
    text.lines().map(position).collect()
}

fn change(disk: &SimDisk, chunk: u64, change: impl FnOnce(&mut Vec<u8>)) {
    let name = file_name(ChunkNumber::new(chunk));
    // Another damage may have taken the file.
    if let Some(mut bytes) = disk.read_file(&name) {
        change(&mut bytes);
        disk.write_file(&name, bytes);
    }
}

fn flip(bytes: &mut [u8], at: usize) {
    bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1);
}

fn remove(disk: &SimDisk, chunk: u64) {
    disk.remove(&file_name(ChunkNumber::new(chunk)));
}

fn rename(disk: &SimDisk, from: u64, to: u64) {
    let [from, to] = [from, to].map(|number| file_name(ChunkNumber::new(number)));
    let _ = disk.rename(&from, &to);
}

pub(super) type Damage = (&'static str, fn(&SimDisk), usize);

/// Each with the number of events that stay in the log.
pub(super) const DAMAGES: [Damage; 16] = [
    ("header of the first", |disk| change(disk, 0, |bytes| flip(bytes, 40)), 60),
    ("header of a middle one", |disk| change(disk, 1, |bytes| flip(bytes, 60)), 60),
    ("header of the last", |disk| change(disk, 3, |bytes| flip(bytes, 16)), 60),
    (
        "footer",
        |disk| change(disk, 1, |bytes| bytes.last_mut().into_iter().for_each(|byte| *byte ^= 1)),
        60,
    ),
    ("index", |disk| change(disk, 0, |bytes| flip(bytes, 0x10005)), 60),
    ("event of the first", |disk| change(disk, 0, |bytes| flip(bytes, 20_000)), 4),
    ("event of a middle one", |disk| change(disk, 1, |bytes| flip(bytes, 20_000)), 20),
    ("event of the last", |disk| change(disk, 3, |bytes| flip(bytes, 20_000)), 52),
    ("a middle one missing", |disk| remove(disk, 1), 16),
    ("the last one missing", |disk| remove(disk, 3), 48),
    ("the last one empty", |disk| change(disk, 3, Vec::clear), 48),
    ("renamed", |disk| rename(disk, 2, 8), 60),
    (
        "two swapped",
        |disk| {
            rename(disk, 0, 8);
            rename(disk, 1, 0);
            rename(disk, 8, 1);
        },
        60,
    ),
    ("cut short", |disk| change(disk, 2, |bytes| bytes.truncate(30_000)), 39),
    (
        "header of the last, and cut just behind its groups",
        |disk| {
            change(disk, 3, |bytes| {
                let last = bytes.iter().rposition(|byte| *byte != 0);
                bytes.truncate(last.map_or(0, |last| last + 1).next_multiple_of(8));
                flip(bytes, 16);
            });
        },
        60,
    ),
    (
        "bytes behind the capacity of the last",
        |disk| change(disk, 3, |bytes| bytes.resize(bytes.len() + 100, 7)),
        60,
    ),
];

#[test]
fn a_repair_that_is_cut_short_anywhere_is_finished_by_the_next() {
    let sound = sound();
    let whole = content(&sound).unwrap();
    for (what, damage, stay) in DAMAGES {
        for has_hint in [true, false] {
            let damaged = sound.snapshot();
            damage(&damaged);
            if !has_hint {
                damaged.remove("hint");
            }
            let before = content(&damaged).ok();
            let after: Vec<_> = whole[..stay].to_vec();
            let (survey, plan) = look(&damaged);
            let readable = Losses::of(&damaged, &survey, &plan).unwrap().salvaged;
            let all = repair(&damaged.snapshot(), u64::MAX).1;
            assert!(all > 1, "{what}: no call");
            for calls in 0..=all {
                let at = format!("{what}, hint {has_hint}, call {calls} of {all}");
                let disk = damaged.snapshot();
                let (done, _) = repair(&disk, calls);
                assert_eq!(done, calls == all, "{at}");
                let found = content(&disk).ok();
                let is_fine = found.is_none() || found == before || found.as_ref() == Some(&after);
                assert!(is_fine, "{at}: {found:?}");
                let (finished, _) = repair(&disk, u64::MAX);
                assert!(finished, "{at}");
                assert_eq!(content(&disk).unwrap(), after, "{at}");
                assert_eq!(salvaged(&disk).len() as u64, readable, "{at}");
                let log = open(&disk).unwrap();
                log.close().unwrap();
                let (_, plan) = look(&disk);
                assert_eq!(plan, Plan::default(), "{at}: nothing is left to do");
            }
        }
    }
}

/// Two damages at once: the log ends before the first event that either takes, and one repair does
/// it.
#[test]
fn two_damages_are_repaired_at_once() {
    let sound = sound();
    let whole = content(&sound).unwrap();
    for (one, damage, stay) in DAMAGES {
        for (two, further, also) in DAMAGES {
            let disk = sound.snapshot();
            damage(&disk);
            further(&disk);
            let at = format!("{one}, then {two}");
            let (_, plan) = look(&disk);
            if plan.impossible.is_some() {
                continue;
            }
            assert!(repair(&disk, u64::MAX).0, "{at}");
            let found = content(&disk).unwrap_or_else(|error| panic!("{at}: {error}"));
            // The same damage twice may undo itself, and one may meet another chunk than alone.
            assert_eq!(found, whole[..found.len()], "{at}");
            let is_expected = found.len() >= stay.min(also) || one.contains("swapped");
            assert!(is_expected || one.contains("renamed"), "{at}: {}", found.len());
            open(&disk).unwrap().close().unwrap();
            assert_eq!(look(&disk).1, Plan::default(), "{at}: nothing is left to do");
        }
    }
}

/// What recovery does not look at is no part of the log, however sound it looks.
#[test]
fn groups_behind_the_capacity_do_not_count() {
    let disk = sound();
    disk.remove("hint");
    let mut capacity = 0;
    change(&disk, 3, |bytes| {
        let mut header = ChunkHeader::decode(&bytes[..CHUNK_HEADER_SIZE as usize]).unwrap();
        header.capacity = 4 * CHUNK_HEADER_SIZE;
        capacity = header.capacity;
        let mut block = Vec::new();
        header.encode(&mut block);
        bytes[..block.len()].copy_from_slice(&block);
    });
    let found = content(&disk).unwrap();
    assert!(found.len() < EVENTS as usize, "the header hides nothing");
    let (survey, plan) = look(&disk);
    let facts = &survey.files[&ChunkNumber::new(3)];
    let groups = facts.groups.as_ref().unwrap();
    assert_eq!(groups.end.position, Position::new(found.len() as u64));
    assert!(groups.end.offset <= capacity);
    assert_eq!(plan.steps, [Step::Behind { chunk: ChunkNumber::new(3), from: capacity }]);
}

/// A disk that stops at the last call has all that was kept by then, and the repair names it.
#[test]
fn what_is_kept_is_named_when_the_repair_fails() {
    let damaged = sound();
    change(&damaged, 1, |bytes| flip(bytes, 20_000));
    let calls = repair(&damaged.snapshot(), u64::MAX).1;
    let [all, some] = [0, 1].map(|missing| {
        let inner = damaged.snapshot();
        let (survey, plan) = look(&inner);
        let left = Arc::new(AtomicU64::new(calls - missing));
        let mut kept = Vec::new();
        let done = apply::apply(&Stopping { inner, left }, survey.log.unwrap(), &plan, &mut kept);
        assert_eq!(done.is_ok(), missing == 0);
        kept
    });
    assert!(all.len() > 2, "{all:?}");
    assert_eq!(all, some);
}

/// A file may be longer than memory; its holes are not read.
#[cfg(target_os = "linux")]
#[test]
fn a_hint_of_any_length_is_kept() {
    use crate::disk::OsDisk;
    use crate::format::hint::Hint;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hint");
    std::fs::write(&path, [7; 100]).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(1 << 43).unwrap();
    let log = uuid::Uuid::from_u128(7);
    let (durable_through, chunk) = (Position::new(3), ChunkNumber::FIRST);
    let end = Default::default();
    let hint = Hint { log, sequence: 1, durable_through, chunk, end, clean: false };
    let plan = Plan { steps: vec![Step::Lower { hint }], ..Plan::default() };
    let mut kept = Vec::new();
    apply::apply(&OsDisk::open(dir.path()).unwrap(), log, &plan, &mut kept).unwrap();
    let aside = std::fs::read(dir.path().join(&kept[0].name)).unwrap();
    assert_eq!(aside[..100], [7; 100]);
}

/// The verb believes the chunks in which the verification has found nothing, and that changes no
/// plan. Each damage is answered by a step.
#[test]
fn the_verb_plans_the_same_from_what_verification_finds() {
    let sound = sound();
    for (what, damage, _) in DAMAGES {
        let disk = sound.snapshot();
        damage(&disk);
        let dir = tempfile::tempdir().unwrap();
        for name in disk.list().unwrap() {
            std::fs::write(dir.path().join(&name), disk.read_file(&name).unwrap()).unwrap();
        }
        let files = Files::of(dir.path()).unwrap();
        let looked = super::super::look(dir.path(), &files, Writer::Nobody).unwrap();
        assert_eq!(looked.plan, look(&disk).1, "{what}");
        let report = Report::of(&files.place, &looked, Writer::Nobody);
        assert!(report.can_be_applied(), "{what}: {:?}", looked.findings);
    }
}

#[test]
fn a_sound_log_stays_as_it_is() {
    let disk = sound();
    let before = disk.snapshot();
    assert_eq!(repair(&disk, 0), (true, 0));
    assert_eq!(disk.list().unwrap(), before.list().unwrap());
    for name in disk.list().unwrap() {
        assert_eq!(disk.read_file(&name), before.read_file(&name), "{name}");
    }
}

/// What leaves the log is in the file of salvaged events, or named as gone.
#[test]
fn each_event_that_leaves_is_salvaged_or_named() {
    let sound = sound();
    for (what, damage, stay) in DAMAGES {
        let disk = sound.snapshot();
        damage(&disk);
        let (survey, plan) = look(&disk);
        let losses = Losses::of(&disk, &survey, &plan).unwrap();
        let leave = EVENTS - stay as u64;
        assert_eq!(losses.salvaged + losses.gone_count(), leave, "{what}: {losses:?}");
        assert!(repair(&disk, u64::MAX).0, "{what}");
        let name = format!("salvaged-{stay:010}.ndjson");
        let lines = disk.read_file(&name).unwrap_or_default();
        let lines = String::from_utf8(lines).unwrap();
        assert_eq!(lines.lines().count() as u64, losses.salvaged, "{what}");
        for line in lines.lines() {
            assert!(super::super::line::parse(line.as_bytes()).is_ok(), "{what}: {line}");
        }
        if what == "event of a middle one" {
            let named: Vec<_> = losses.named.into_iter().collect();
            assert_eq!(named, [(Position::new(20), ("s-2".to_owned(), 6))]);
        }
    }
}
