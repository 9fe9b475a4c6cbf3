//! Tests of the overlay against a list of all events: whatever was trimmed and asked in between, an
//! event that may not be indexed yet is found, and no other is made up.

use super::*;
use crate::clock::Timestamp;
use crate::event::NewEvent;
use crate::format::checksum::LogSalt;
use crate::format::event::Place;
use crate::position::ChunkNumber;

/// A small generator of pseudo-random numbers (xorshift64*, S. Vigna).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) % end
    }
}

/// The overlay beside all events that were ever pushed.
struct Model {
    overlay: Overlay,
    log: LogSalt,
    events: Vec<RecordedEvent>,
    /// The first positions of the appends.
    appends: Vec<usize>,
    /// What was visible when the overlay was last trimmed.
    visible: usize,
    random: Random,
}

fn streams() -> [&'static str; 4] {
    ["a-1", "a-2", "b-1", "c"]
}

impl Model {
    fn new(seed: u64) -> Self {
        Self {
            overlay: Overlay::default(),
            log: LogSalt::new(Uuid::from_u128(3)),
            events: Vec::new(),
            appends: Vec::new(),
            visible: 0,
            random: Random(seed),
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.below(end as u64) as usize
    }

    /// Pushes one to four events to any streams.
    fn push(&mut self) {
        let first = self.events.len();
        // Now and then the log rolls, and the salt is another from there on.
        let salt = self.log.chunk(ChunkNumber::new(first as u64 / 50));
        let operation = (self.below(2) == 0).then(|| Uuid::from_u128(self.random.below(6).into()));
        let mut bytes = Vec::new();
        for number in 0..=self.below(4) {
            let stream = streams()[self.below(4)];
            let place = if number == 0 { Place::First(operation) } else { Place::Later };
            let event_type = ["Added", "Removed"][self.below(2)];
            let mut event = NewEvent::new(event_type, vec![7; self.below(40)]);
            for _ in 0..self.below(3) {
                event = event.tag(["red", "blue", "green"][self.below(3)]);
            }
            let start = bytes.len();
            event::encode(&mut bytes, self.log, stream, &event, place).unwrap();
            let version = self.events.iter().filter(|event| event.stream() == stream).count();
            let version = StreamVersion::new(version as u64);
            let position = Position::new(self.events.len() as u64);
            event::stamp(&mut bytes[start..], salt, position, version, Timestamp::default());
            let stored = Bytes::copy_from_slice(&bytes[start..]);
            self.events.push(event::decode(&stored, salt, position).unwrap());
        }
        let count = (self.events.len() - first) as u32;
        self.overlay.push(Position::new(first as u64), count, salt, bytes);
        self.appends.push(first);
    }

    /// Trims at the start of an append that is not behind what is visible.
    fn trim(&mut self) {
        let ahead = self.appends.iter().filter(|first| **first > self.visible);
        let ends: Vec<_> = ahead.copied().chain([self.events.len()]).collect();
        self.visible = ends[self.below(ends.len())];
        self.overlay.trim(Position::new(self.visible as u64));
        if self.visible == self.events.len() {
            let kept = self.overlay.generations.iter().map(|kept| kept.index.event_count());
            assert_eq!((kept.sum::<u32>(), self.overlay.recent.len()), (0, 0), "all is forgotten");
        }
    }

    fn ask(&mut self) {
        match self.below(4) {
            0 => self.ask_match(),
            1 => self.ask_operation(),
            2 => self.ask_place(),
            _ => self.ask_append(),
        }
        let [older, newer] = &self.overlay.generations;
        let apart = newer.index.event_count() == 0 || older.end() <= newer.first;
        assert!(apart, "no event is indexed twice");
    }

    fn ask_match(&mut self) {
        let query = match self.below(5) {
            0 => Query::new(),
            1 => Query::tag("red").tags(["blue"]),
            2 => Query::event_type("Added").streams([streams()[self.below(4)]]),
            3 => Query::category("a").tags(["green"]),
            _ => Query::stream("c").or(Query::event_type("Removed").tags(["red"])),
        };
        let from = self.below(self.events.len() + 2);
        let meant = |event: &&RecordedEvent| query.matches(event);
        let first_from = |from: usize| self.events.iter().skip(from).find(meant);
        let unindexed = first_from(from.max(self.visible)).map(RecordedEvent::position);
        let found = self.overlay.first_match(&query, Position::new(from as u64));
        if let Some(found) = found {
            assert!(found.get() as usize >= from && meant(&&self.events[found.get() as usize]));
        }
        // Something older may still be known, which is right, and is in the index too.
        let exact =
            unindexed == found || found.is_some_and(|found| (found.get() as usize) < self.visible);
        assert!(exact, "{query} from {from}: {found:?}, not {unindexed:?}");
    }

    fn ask_operation(&mut self) {
        let id = Uuid::from_u128(self.random.below(6).into());
        let last = self.events.iter().rfind(|event| event.operation() == Some(id));
        let last = last.map(RecordedEvent::position);
        let found = self.overlay.operation(&id);
        let must = last.is_some_and(|last| last.get() as usize >= self.visible);
        assert!(found == last || (!must && found.is_none()), "{found:?}, not {last:?}");
    }

    fn ask_place(&mut self) {
        let stream = streams()[self.below(4)];
        let versions = self.events.iter().filter(|event| event.stream() == stream);
        let mut versions = versions.map(RecordedEvent::position);
        let version = self.random.below(versions.clone().count() as u64 + 2);
        let wanted = versions.nth(version as usize);
        let found = self.overlay.place(stream, StreamVersion::new(version));
        let must = wanted.is_some_and(|wanted| wanted.get() as usize >= self.visible);
        assert!(found == wanted || (!must && found.is_none()), "{found:?}, not {wanted:?}");
        assert_eq!(self.overlay.place(stream, StreamVersion::new(u64::MAX)), None);
    }

    fn ask_append(&mut self) {
        let position = self.below(self.events.len() + 2);
        let found = self.overlay.append_at(Position::new(position as u64));
        if position < self.visible || position >= self.events.len() {
            assert!(found.is_none(), "{position} is indexed or not there");
            return;
        }
        let first = *self.appends.iter().rfind(|first| **first <= position).unwrap();
        let next = self.appends.iter().find(|first| **first > position);
        let end = next.copied().unwrap_or(self.events.len());
        assert_eq!(found.unwrap().unwrap(), self.events[first..end]);
    }
}

#[test]
fn what_is_not_indexed_yet_is_found() {
    let seed = std::env::var("PAPERCHASE_SEED").ok().and_then(|seed| seed.parse().ok());
    let first: u64 = seed.unwrap_or(1);
    for seed in first..first + if seed.is_some() { 1 } else { 200 } {
        println!("PAPERCHASE_SEED={seed}");
        let mut model = Model::new(seed);
        // Of some seeds most steps ask, of others hardly any, so that much is indexed at once.
        let asking = 1 + seed % 9;
        for _ in 0..400 {
            match model.random.below(10) {
                step if step < asking => model.ask(),
                9 => model.trim(),
                _ => model.push(),
            }
        }
        (0..50).for_each(|_| model.ask());
    }
}

#[test]
fn an_append_that_is_half_visible_is_kept_whole() {
    let mut model = Model::new(7);
    while model.events.len() < 2 {
        model = Model::new(model.random.0);
        model.push();
    }
    let end = model.events.len() as u64;
    model.overlay.trim(Position::new(end - 1));
    assert_eq!(model.overlay.append_at(Position::START).unwrap().unwrap(), model.events);
    assert_eq!(model.overlay.first_match(&Query::new(), Position::START), Some(Position::START));
    model.overlay.trim(Position::new(end));
    assert!(model.overlay.append_at(Position::START).is_none());
    assert_eq!(model.overlay.first_match(&Query::new(), Position::START), None);
}

/// What is indexed is in proportion to what is under way, however long a load lasts.
#[test]
fn the_index_of_a_long_load_stays_small() {
    const UNDER_WAY: usize = 20;
    let mut model = Model::new(3);
    for _ in 0..500 {
        model.push();
        let visible = model.events.len().saturating_sub(UNDER_WAY) as u64;
        model.overlay.trim(Position::new(visible));
        model.overlay.first_match(&Query::new(), Position::START);
        let indexed = model.overlay.generations.iter().map(|it| it.index.event_count());
        let indexed = indexed.sum::<u32>() as usize;
        assert!(indexed <= 3 * UNDER_WAY, "{indexed} events are indexed");
    }
}
