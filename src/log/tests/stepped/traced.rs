//! Tests of the events of the crate `tracing`: each kind is told when it happens, once, and as
//! docs/insight.md says. The log runs on one thread, over a simulated disk and clock.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Event, Metadata, Subscriber};

use super::super::faulty::{FaultyDisk, Kind, Part, Plan, Spell};
use crate::append::{Append, Appended};
use crate::clock::{Clock, SimClock};
use crate::disk::sim::{Prices, SimDisk};
use crate::disk::{Access, Disk};
use crate::error::AppendError;
use crate::event::NewEvent;
use crate::log::engine::Engine;
use crate::log::trace::Tracer;
use crate::options::Options;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// An event: its message and the other fields.
type Told = (String, BTreeMap<&'static str, String>);

/// A subscriber that keeps events.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Told>>>);

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Kept {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        assert_eq!(metadata.target(), "paperchase::log");
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.0.remove("message").unwrap();
        let level = metadata.level().as_str().to_lowercase();
        let mut lines = include_str!("../../../../docs/insight.md").lines();
        let row = lines.find(|line| line.starts_with(&format!("| `{message}` | {level} |")));
        let row = row.unwrap_or_else(|| panic!("`{message}` | {level} is not in docs/insight.md"));
        for field in metadata.fields().iter().filter(|field| field.name() != "message") {
            assert!(row.contains(&format!("`{field}`")), "{field} is not in {row}");
        }
        self.0.lock().unwrap().push((message, fields.0));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        unreachable!("the log has no spans")
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct World<D = FaultyDisk> {
    disk: D,
    clock: Arc<SimClock>,
    engine: Engine,
    tracer: Tracer,
    kept: Kept,
    _guard: DefaultGuard,
}

impl<D: Disk + Clone> World<D> {
    fn on(disk: D) -> Self {
        let kept = Kept::default();
        let guard = set_default(kept.clone());
        let clock = Arc::new(SimClock::new());
        let options = Options::new().chunk_size(64 << 10).prepare_ahead(64 << 10).group_size(4096);
        let mut tracer = Tracer::new(&disk);
        let opened = Engine::open(Arc::new(disk.clone()), Arc::clone(&clock) as _, options);
        let (engine, report) = opened.unwrap();
        tracer.opened(&engine.core, &report);
        Self { disk, clock, engine, tracer, kept, _guard: guard }
    }

    fn step(&mut self) {
        self.engine.writer.step();
        self.engine.chaser.step();
        self.engine.keeper.step();
        self.clock.advance(Duration::from_millis(20));
    }

    fn append(&mut self) -> Result<Appended, AppendError> {
        let event = NewEvent::new("Sized", vec![7; 3000]);
        let append = Append::new().event("s", event);
        let ack = self.engine.core.submit_full(append, Duration::ZERO).unwrap();
        for _ in 0..100 {
            self.step();
            if ack.is_ready() {
                return ack.wait();
            }
        }
        panic!("never answered");
    }

    /// What is told by a look, which is all that was told since the last one.
    fn look(&mut self) -> Vec<Told> {
        self.tracer.look(&self.engine.core, &self.engine.core.stats());
        let told = std::mem::take(&mut *self.kept.0.lock().unwrap());
        for (message, fields) in &told {
            assert_eq!(fields["dir"], self.disk.label(), "{message}");
        }
        told
    }

    fn messages(&mut self) -> Vec<String> {
        self.look().into_iter().map(|(message, _)| message).collect()
    }
}

impl World {
    fn fail(&self, of: Kind, errno: i32, spell: Spell) {
        let of = Some(of);
        self.disk.fail(Some(Plan { call: 0, of, errno, spell, part: Part::Half, lies: false }));
    }
}

#[test]
fn chunks_are_told_of_when_they_begin_and_when_they_are_sealed() {
    let mut world = World::on(FaultyDisk::default());
    let told = world.look();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].0.as_str(), told[0].1["created"].as_str()), ("opened", "true"));
    for _ in 0..50 {
        world.append().unwrap();
    }
    (0..20).for_each(|_| world.step());
    let told = world.look();
    let places = |wanted: &str| {
        let all = told.iter().filter(|(message, _)| message == wanted);
        all.map(|(_, fields)| (fields["chunk"].clone(), fields["position"].clone())).collect()
    };
    let (rolled, sealed): (Vec<_>, Vec<_>) = (places("rolled"), places("sealed"));
    assert_eq!(told.len(), rolled.len() + sealed.len(), "{told:?}");
    let segments = world.engine.core.segments.snapshot();
    assert!(segments.len() > 2);
    let begun = |segment: usize| segments[segment].first_position().get().to_string();
    let chunks = 1..segments.len();
    let expected = chunks.clone().map(|chunk| (chunk.to_string(), begun(chunk)));
    assert!(rolled.into_iter().eq(expected), "{told:?}");
    let expected = chunks.map(|chunk| ((chunk - 1).to_string(), begun(chunk)));
    assert!(sealed.into_iter().eq(expected), "{told:?}");
    assert_eq!(world.messages(), [""; 0], "each once");
    world.tracer.closed(&world.engine.core, &Ok(()));
    assert_eq!(world.messages(), ["closed"]);
}

#[test]
fn what_recovery_did_is_told() {
    let mut world = World::on(FaultyDisk::default());
    world.append().unwrap();
    let end = world.engine.core.supply.orders().active.written();
    let left = world.disk.seen();
    drop(world);
    left.open("chunk-0000000000", Access::Write).unwrap().write_at(&[1; 700], end).unwrap();
    let told = World::on(FaultyDisk::on(left)).look();
    let messages: Vec<_> = told.iter().map(|(message, _)| message.as_str()).collect();
    assert_eq!(messages, ["recovered", "opened"]);
    let [(_, recovered), (_, opened)] = &told[..] else { unreachable!("there are two") };
    assert!(recovered["bytes_cut"].parse::<u64>().unwrap() >= 700, "{recovered:?}");
    assert_eq!((&*recovered["chunk"], &*recovered["offset"]), ("0", &*end.to_string()));
    assert!(recovered["kept_in"].starts_with("lost-"), "{recovered:?}");
    assert_eq!((&*opened["clean"], &*opened["position"]), ("false", "1"));
}

#[test]
fn slow_syncs_are_told_of_together() {
    let disk = SimDisk::new();
    let mut world = World::on(disk.clone());
    world.append().unwrap();
    assert_eq!(world.messages(), ["opened"], "a sync that takes no time");
    let slow = Prices::new().sync(Duration::from_millis(150));
    disk.charge(Arc::clone(&world.clock), slow);
    let mut told = Vec::new();
    for _ in 0..4 {
        world.append().unwrap();
        told.push(world.look());
        world.clock.advance(Duration::from_secs(6));
    }
    let told = told.into_iter().map(|told| {
        let slow = |(message, fields): &Told| {
            assert_eq!(message, "slow sync");
            let millis: u64 = fields["elapsed_ms"].parse().unwrap();
            assert!((150..160).contains(&millis), "{millis}");
            fields["slow"].parse().unwrap()
        };
        told.iter().map(slow).collect::<Vec<u64>>()
    });
    assert_eq!(told.collect::<Vec<_>>(), [vec![1], vec![], vec![2], vec![]]);
}

#[test]
fn a_full_disk_is_told_once_and_so_is_room() {
    // Where the writer finds no space in the midst of a write.
    let mut world = World::on(FaultyDisk::default());
    world.append().unwrap();
    world.fail(Kind::WriteAt, ENOSPC, Spell::Once);
    assert!(matches!(world.append(), Err(AppendError::Full)));
    assert_eq!(world.messages(), ["opened", "disk full"]);
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(world.messages(), [""; 0], "nobody knows whether there is room");
    world.append().unwrap();
    assert_eq!(world.messages(), ["room again"]);

    // Where the keeper finds none for the next chunk.
    let mut world = World::on(FaultyDisk::default());
    world.fail(Kind::Create, ENOSPC, Spell::Always);
    while world.append().is_ok() {}
    assert_eq!(world.messages(), ["opened", "disk full"]);
    world.clock.advance(Duration::from_secs(5));
    world.step();
    assert_eq!(world.messages(), [""; 0], "it is full still");
    world.disk.fail(None);
    (0..30).for_each(|_| world.step());
    assert_eq!(world.messages(), [""; 0], "perhaps not for long");
    (0..30).for_each(|_| world.step());
    assert_eq!(world.messages(), ["room again"], "without an append");
    world.append().unwrap();
}

#[test]
fn the_first_failure_is_told() {
    let mut world = World::on(FaultyDisk::default());
    world.append().unwrap();
    world.look();
    world.fail(Kind::SyncData, EIO, Spell::Always);
    assert!(matches!(world.append(), Err(AppendError::Failed(_))));
    let told = world.look();
    assert_eq!((told.len(), told[0].0.as_str()), (1, "failed"), "{told:?}");
    let failure = world.engine.core.failure.get().unwrap().to_string();
    assert_eq!((&told[0].1["error"], told[0].1["position"].as_str()), (&failure, "1"));
    assert!(world.clock.monotonic() > Duration::ZERO && world.messages().is_empty());
}
