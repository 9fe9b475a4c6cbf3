//! Repeats of appends in all their forms, each as a short script of what is appended to one stream
//! and what is answered. After the test family of EventStore (`appending_to_*_idempotent`).
//!
//! Promises: each script is played acked step by step, with all steps in flight, with all that an
//! append can ask for, behind earlier events, over a close before each step, and with each step in
//! a chunk of its own; the answers are the same, and so is the log. Letters stand for events; an
//! upper-case letter has the id of the lower-case one and other content.

use std::sync::Arc;
use std::time::Duration;

use paperchase::clock::SimClock;
use paperchase::disk::sim::SimDisk;
use paperchase::{Ack, Append, AppendError, Expected, Log, NewEvent, Position, StreamVersion};
use uuid::Uuid;

use crate::Answer;
use crate::support::sim::small;

/// What a step expects of the stream.
#[derive(Clone, Copy, Debug)]
enum When {
    /// That it holds so many events of the script.
    At(u64),
    Any,
    Exists,
    /// Some version that no stream has.
    Version(u64),
}

/// How a step is answered.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// Stored behind so many events of the script.
    Stored(u64),
    /// Not stored again: it stands behind so many events of the script.
    Again(u64),
    /// Refused where the stream holds so many events of the script.
    Wrong(u64),
    /// So many of its events stand there, and no more.
    Partly(u64),
    /// So many of its events stand there, then another one.
    Diverged(u64),
    /// Nothing was to be stored, and the stream is as expected.
    Checked,
}

use Then::{Again, Checked, Diverged, Partly, Stored, Wrong};
use When::{Any, At, Exists, Version};

type Step = (When, &'static str, Then);

/// How a script is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Acked,
    InFlight,
    Full,
    Behind,
    Reopened,
    Sealed,
}

struct Player {
    form: Form,
    disk: SimDisk,
    clock: Arc<SimClock>,
    log: Option<Log>,
    /// Events of the stream before the script.
    base: u64,
    /// The events of the script as they are stored, with their positions where those are known.
    stream: Vec<(char, Option<Position>)>,
}

fn event(letter: char) -> NewEvent {
    let id = Uuid::from_u128(u128::from(u32::from(letter.to_ascii_lowercase())));
    NewEvent::with_id(id, "Lettered", [letter as u8]).tag(format!("letter:{letter}"))
}

impl Player {
    fn new(form: Form) -> Self {
        let base = if form == Form::Behind { 3 } else { 0 };
        let clock = Arc::new(SimClock::new());
        let mut player =
            Self { form, disk: SimDisk::new(), clock, log: None, base, stream: Vec::new() };
        player.open();
        for number in 0..base {
            let event = NewEvent::new("Before", [number as u8]);
            player.log().append("played", Any.expected(0), [event]).unwrap().wait().unwrap();
        }
        player
    }

    fn open(&mut self) {
        let disk = Arc::new(self.disk.clone());
        self.log = Some(small().open_on(disk, Arc::clone(&self.clock) as _).unwrap());
    }

    fn log(&self) -> &Log {
        self.log.as_ref().expect("the log is open")
    }

    /// What comes between two steps.
    fn pause(&mut self) {
        if self.form == Form::InFlight {
            return;
        }
        self.clock.advance(Duration::from_secs(1));
        if self.form == Form::Sealed {
            let chunks = self.log().view().chunks().len();
            while self.log().view().chunks().len() == chunks {
                let filler = NewEvent::new("Filler", vec![7; 400 << 10]);
                self.log().append("filler", Expected::Any, [filler]).unwrap().wait().unwrap();
            }
        }
        if matches!(self.form, Form::Reopened | Form::Sealed) {
            self.log.take().expect("the log is open").close().unwrap();
            self.open();
        }
    }

    fn submit(&self, when: When, letters: &str) -> Ack {
        let expected = when.expected(self.base);
        let events = letters.chars().map(event);
        match self.form {
            Form::Full => {
                let append = Append::new().expect("played", expected);
                append.events("played", events).submit(self.log()).unwrap()
            }
            _ => self.log().append("played", expected, events).unwrap(),
        }
    }

    /// Compares an answer with the one that is due.
    fn check(&mut self, (when, letters, then): Step, answer: Answer) {
        let of = letters.len() as u64;
        let ahead = |count: u64| (self.base + count).checked_sub(1).map(StreamVersion::new);
        match (then, answer) {
            (Stored(_) | Again(_) | Checked, Ok(_)) => unreachable!("checked apart"),
            (Wrong(count), Err(AppendError::WrongVersion { stream, expected, actual })) => {
                assert_eq!((stream.as_str(), expected), ("played", when.expected(self.base)));
                assert_eq!(actual, ahead(count));
            }
            (Partly(count), Err(AppendError::PartlyStored { stream, stored, of: all, actual })) => {
                assert_eq!((stream.as_str(), stored, all), ("played", count, of));
                assert_eq!(actual, ahead(self.stream.len() as u64));
            }
            (Diverged(count), Err(AppendError::Diverged { stream, stored, of: all, version })) => {
                assert_eq!((stream.as_str(), stored, all), ("played", count, of));
                let At(first) = when else { panic!("{when:?} has no place") };
                assert_eq!(version.get(), self.base + first + count);
            }
            (then, answer) => panic!("{when:?} {letters}: {answer:?}, not {then:?}"),
        }
    }

    /// Compares the answer to a step that is not refused with the one that is due.
    fn check_answered(&mut self, (_, letters, then): Step, done: &paperchase::Appended) {
        let count = letters.len() as u64;
        assert_eq!(u64::from(done.events()), count);
        let first = match then {
            Checked => {
                assert_eq!((done.repeated, done.streams().len()), (false, 0));
                assert_eq!(done.first_position, done.last_position);
                return;
            }
            Stored(first) => {
                assert_eq!(first as usize, self.stream.len());
                let position = |number| done.first_position.plus(number);
                let new = letters
                    .chars()
                    .zip(0..)
                    .map(|(letter, number)| (letter, Some(position(number))));
                self.stream.extend(new);
                first
            }
            Again(first) => first,
            other => panic!("stored, not {other:?}"),
        };
        assert_eq!(done.repeated, matches!(then, Again(_)));
        let stands = &self.stream[first as usize..(first + count) as usize];
        assert_eq!(Some(done.first_position), stands[0].1);
        assert_eq!(Some(done.last_position), stands[stands.len() - 1].1);
        assert_eq!(done.version.get(), self.base + first + count - 1);
        let part = done.stream("played").unwrap();
        assert_eq!(
            (part.first_version.get(), part.last_version),
            (self.base + first, done.version)
        );
        assert_eq!(done.streams().len(), 1);
        let last = self.log().read_all(done.last_position..).unwrap().next().unwrap().unwrap();
        assert_eq!((last.time(), last.version()), (done.time, done.version));
    }

    fn answer(&mut self, step: Step, answer: Answer) {
        match answer {
            Ok(done) => self.check_answered(step, &done),
            refused => self.check(step, refused),
        }
    }

    /// The log holds what was answered to be stored, and nothing else.
    fn check_log(&self) {
        let from = StreamVersion::new(self.base);
        let events = self.log().read_stream("played", from..).unwrap();
        let events: Vec<_> = events.map(Result::unwrap).collect();
        assert_eq!(events.len(), self.stream.len());
        for (event, (letter, position)) in events.iter().zip(&self.stream) {
            assert_eq!((event.data(), Some(event.position())), (&[*letter as u8][..], *position));
        }
        let filler = self.log().read_stream("filler", ..).unwrap().count() as u64;
        assert_eq!(self.log().view().end().get(), self.base + filler + events.len() as u64);
    }
}

impl When {
    fn expected(self, base: u64) -> Expected {
        match self {
            At(count) => (base + count).checked_sub(1).map_or(Expected::NoStream, crate::exact),
            Any => Expected::Any,
            Exists => Expected::Exists,
            Version(version) => crate::exact(version),
        }
    }
}

fn play(form: Form, script: &[Step]) {
    let mut player = Player::new(form);
    if form == Form::InFlight {
        let acks: Vec<_> = script.iter().map(|(when, it, _)| player.submit(*when, it)).collect();
        for (step, ack) in script.iter().zip(acks) {
            player.answer(*step, ack.wait());
        }
    } else {
        for step in script {
            let answer = player.submit(step.0, step.1).wait();
            player.answer(*step, answer);
            player.pause();
        }
    }
    player.check_log();
}

macro_rules! scripts {
    ($($name:ident: $($step:expr),+;)+) => { $(
        mod $name {
            use super::*;

            const SCRIPT: &[Step] = &[$($step),+];

            #[test]
            fn acked() {
                play(Form::Acked, SCRIPT);
            }

            #[test]
            fn in_flight() {
                play(Form::InFlight, SCRIPT);
            }

            #[test]
            fn with_all_terms() {
                play(Form::Full, SCRIPT);
            }

            #[test]
            fn behind_earlier_events() {
                play(Form::Behind, SCRIPT);
            }

            #[test]
            fn over_openings() {
                play(Form::Reopened, SCRIPT);
            }

            #[test]
            fn over_sealed_chunks() {
                play(Form::Sealed, SCRIPT);
            }
        }
    )+ };
}

scripts! {
    fresh_events_at_the_end: (At(0), "ab", Stored(0)), (At(2), "c", Stored(2));
    fresh_events_whatever_there_is: (Any, "a", Stored(0)), (Any, "b", Stored(1));
    fresh_events_of_a_stream_that_exists: (Any, "a", Stored(0)), (Exists, "b", Stored(1));
    all_again_of_the_first_append: (At(0), "abc", Stored(0)), (At(0), "abc", Again(0));
    one_event_again: (At(0), "a", Stored(0)), (At(0), "a", Again(0)), (At(0), "a", Again(0));
    all_again_of_a_later_append:
        (At(0), "a", Stored(0)), (At(1), "bc", Stored(1)), (At(1), "bc", Again(1));
    all_again_after_more_was_stored:
        (At(0), "a", Stored(0)), (At(1), "b", Stored(1)), (At(0), "a", Again(0));
    a_prefix_again: (At(0), "abc", Stored(0)), (At(0), "ab", Again(0)), (At(0), "a", Again(0));
    a_part_from_the_middle_again:
        (At(0), "abcd", Stored(0)), (At(1), "bc", Again(1)), (At(2), "cd", Again(2));
    the_last_event_again: (At(0), "abc", Stored(0)), (At(2), "c", Again(2));
    several_appends_again_as_one:
        (At(0), "a", Stored(0)), (At(1), "bc", Stored(1)), (At(3), "d", Stored(3)),
        (At(0), "abcd", Again(0)), (At(1), "bcd", Again(1));
    a_prefix_and_then_more: (At(0), "ab", Stored(0)), (At(0), "abc", Partly(2));
    the_last_event_and_then_more: (At(0), "ab", Stored(0)), (At(1), "bcd", Partly(1));
    several_appends_and_then_more:
        (At(0), "a", Stored(0)), (At(1), "b", Stored(1)), (At(0), "abcd", Partly(2));
    what_is_missing_completes_a_part:
        (At(0), "ab", Stored(0)), (At(0), "abcd", Partly(2)), (At(2), "cd", Stored(2)),
        (At(0), "abcd", Again(0));
    other_events_at_once: (At(0), "abc", Stored(0)), (At(0), "xbc", Wrong(3));
    other_events_in_the_middle: (At(0), "abc", Stored(0)), (At(0), "axc", Diverged(1));
    other_events_at_the_end: (At(0), "abc", Stored(0)), (At(0), "abx", Diverged(2));
    other_events_behind_an_earlier_place:
        (At(0), "abcd", Stored(0)), (At(1), "bxd", Diverged(1)), (At(1), "xcd", Wrong(4));
    a_gap_in_what_is_repeated: (At(0), "abcd", Stored(0)), (At(0), "acd", Diverged(1));
    an_event_too_many_in_between: (At(0), "abc", Stored(0)), (At(0), "abxc", Diverged(2));
    events_in_another_order: (At(0), "ab", Stored(0)), (At(0), "ba", Wrong(2));
    fresh_events_at_an_old_place: (At(0), "ab", Stored(0)), (At(1), "x", Wrong(2));
    a_repeat_at_a_wrong_place:
        (At(0), "abc", Stored(0)), (At(1), "a", Wrong(3)), (At(0), "b", Wrong(3));
    a_refusal_leaves_the_place_free:
        (At(0), "ab", Stored(0)), (At(0), "ax", Diverged(1)), (At(2), "x", Stored(2));
    fresh_events_past_the_end:
        (At(0), "a", Stored(0)), (At(5), "b", Wrong(1)), (Version(1 << 60), "b", Wrong(1));
    a_repeat_past_the_end:
        (At(0), "ab", Stored(0)), (At(3), "ab", Wrong(2)), (At(9), "b", Wrong(2));
    past_the_end_of_all_versions:
        (At(0), "a", Stored(0)), (Version(u64::MAX), "ab", Wrong(1)),
        (Version(u64::MAX - 1), "ab", Wrong(1));
    one_id_twice_in_an_append: (At(0), "aa", Stored(0)), (At(2), "aba", Stored(2));
    one_id_twice_again:
        (At(0), "aa", Stored(0)), (At(0), "aa", Again(0)), (At(0), "a", Again(0)),
        (At(1), "a", Again(1));
    one_id_once_more_than_stored: (At(0), "aa", Stored(0)), (At(0), "aaa", Partly(2));
    one_id_twice_where_it_stands_once: (At(0), "ab", Stored(0)), (At(0), "aa", Diverged(1));
    one_id_in_two_appends:
        (At(0), "a", Stored(0)), (At(1), "a", Stored(1)), (At(1), "a", Again(1)),
        (At(0), "a", Again(0)), (At(0), "aa", Again(0)), (At(2), "a", Stored(2));
    other_content_at_once: (At(0), "ab", Stored(0)), (At(0), "Ab", Wrong(2));
    other_content_in_the_middle: (At(0), "abc", Stored(0)), (At(0), "aBc", Diverged(1));
    other_content_at_a_fresh_place: (At(0), "a", Stored(0)), (At(1), "A", Stored(1));
    any_and_exists_repeat_nothing:
        (Any, "a", Stored(0)), (Any, "a", Stored(1)), (Exists, "a", Stored(2)),
        (At(0), "aaa", Again(0));
    what_any_stored_is_repeated_at_its_place: (Any, "ab", Stored(0)), (At(0), "ab", Again(0));
    nothing_is_a_check:
        (At(0), "", Checked), (At(0), "a", Stored(0)), (At(0), "", Wrong(1)),
        (At(1), "", Checked), (Exists, "", Checked), (At(3), "", Wrong(1));
    one_by_one_and_then_all:
        (At(0), "a", Stored(0)), (At(1), "b", Stored(1)), (At(2), "c", Stored(2)),
        (At(3), "d", Stored(3)), (At(4), "e", Stored(4)), (At(5), "f", Stored(5)),
        (At(0), "abcdef", Again(0)), (At(0), "abcdefg", Partly(6)), (At(5), "f", Again(5)),
        (At(0), "a", Again(0)), (At(3), "dxf", Diverged(1)), (At(6), "a", Stored(6));
}
