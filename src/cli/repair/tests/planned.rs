//! The plan as a table: what is known of a log, and the steps. Three chunks of ten events each; the
//! last one is open.

use uuid::Uuid;

use super::super::plan::{Impossible, Loss, Plan, Step, plan};
use super::super::survey::{Block, FileFacts, Groups, Survey};
use crate::chunk::file_name;
use crate::chunk::scan::Cursor;
use crate::clock::Timestamp;
use crate::format::footer::Footer;
use crate::format::header::{ChainEnd, ChunkHeader};
use crate::format::hint::Hint;
use crate::options::CHUNK_SIZE_MAX;
use crate::position::{ChunkNumber, Position};

const LOG: Uuid = Uuid::from_u128(7);
const SIZE: u64 = 64 << 10;
/// Where the groups of each chunk end.
const END: u64 = 20_000;

fn number(number: u64) -> ChunkNumber {
    ChunkNumber::new(number)
}

fn cursor(chunk: u64, events: u64) -> Cursor {
    Cursor {
        offset: if events == 0 { 4096 } else { END - 100 * (10 - events) },
        chain: if events == 0 { chunk } else { chunk + events / 10 },
        position: Position::new(10 * chunk + events),
        time: Timestamp::from_nanos(chunk),
    }
}

/// Where the chunk before this one ends.
fn before(chunk: u64) -> ChainEnd {
    match chunk {
        0 => ChainEnd::default(),
        _ => ChainEnd { chain: chunk, data_end: END },
    }
}

fn header(chunk: u64) -> ChunkHeader {
    ChunkHeader {
        log: LOG,
        number: number(chunk),
        first_position: Position::new(10 * chunk),
        capacity: SIZE,
        previous: before(chunk),
        created: Timestamp::from_nanos(chunk),
    }
}

fn facts(chunk: u64) -> FileFacts {
    let is_last = chunk == 2;
    let end = cursor(chunk, 10);
    let footer = Footer {
        log: LOG,
        number: number(chunk),
        first_position: Position::new(10 * chunk),
        ordinals: 10,
        keys: 1,
        end: end.end(),
        first_time: Timestamp::default(),
        last_time: Timestamp::default(),
        file_size: SIZE,
        sections: Vec::new(),
    };
    FileFacts {
        size: SIZE,
        block: Block::Sound(header(chunk)),
        footer: (!is_last).then_some(footer),
        groups: Some(Groups {
            start: cursor(chunk, 0),
            end,
            first_time: Timestamp::from_nanos(chunk),
            durable: Position::new(10 * chunk + 9),
            garbage: !is_last,
            seen: end.position,
        }),
        is_index_damaged: false,
        data_end: 0,
    }
}

fn hint(position: u64) -> Hint {
    Hint {
        log: LOG,
        sequence: 4,
        durable_through: Position::new(position),
        chunk: number(2),
        end: cursor(2, 10).end(),
        clean: true,
    }
}

fn sound() -> Survey {
    Survey {
        log: Some(LOG),
        files: (0..3).map(|chunk| (number(chunk), facts(chunk))).collect(),
        hint: Some(hint(30)),
        odd: Vec::new(),
    }
}

fn blank() -> FileFacts {
    FileFacts {
        size: SIZE,
        block: Block::Blank,
        footer: None,
        groups: None,
        is_index_damaged: false,
        data_end: 0,
    }
}

/// Damages a sound log.
fn planned(damage: impl FnOnce(&mut Survey)) -> Plan {
    let mut survey = sound();
    damage(&mut survey);
    plan(&survey)
}

fn file(survey: &mut Survey, chunk: u64) -> &mut FileFacts {
    survey.files.get_mut(&number(chunk)).unwrap()
}

/// The groups of a chunk cease behind so many events.
fn cease(survey: &mut Survey, chunk: u64, events: u64) {
    let groups = file(survey, chunk).groups.as_mut().unwrap();
    groups.end = cursor(chunk, events);
    groups.garbage = true;
}

fn aside(step: &Step) -> Option<&str> {
    match step {
        Step::Aside { name, .. } => Some(name),
        _ => None,
    }
}

fn asides(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().filter_map(aside).collect()
}

fn is_lossless(plan: &Plan) {
    assert!(plan.loss.is_none() && plan.impossible.is_none(), "{plan:?}");
}

fn loses_from(plan: &Plan, from: u64) {
    let loss = Loss { from: Position::new(from), known: Position::new(30) };
    assert_eq!((plan.loss, plan.impossible), (Some(loss), None), "{plan:?}");
}

fn lowered(plan: &Plan, position: u64, chunk: u64) {
    let Some(Step::Lower { hint }) = plan.steps.last() else { panic!("{plan:?}") };
    assert_eq!((hint.durable_through, hint.chunk), (Position::new(position), number(chunk)));
    assert_eq!((hint.sequence, hint.clean), (5, false));
}

#[test]
fn a_sound_log_gets_no_step() {
    assert_eq!(planned(|_| ()), Plan::default());
    assert_eq!(planned(|survey| survey.hint = None), Plan::default());
    let ready = planned(|survey| drop(survey.files.insert(number(3), blank())));
    assert_eq!(ready, Plan::default(), "the file for the next chunk");
    let torn = planned(|survey| {
        survey.hint = None;
        file(survey, 2).groups.as_mut().unwrap().garbage = true;
    });
    assert_eq!(torn, Plan::default(), "what was never acked is for recovery");
    let unsealed = planned(|survey| file(survey, 1).footer = None);
    assert_eq!(unsealed, Plan::default(), "the next opening seals it");
}

#[test]
fn what_follows_from_the_events_is_made_again() {
    let index = planned(|survey| file(survey, 1).is_index_damaged = true);
    is_lossless(&index);
    assert_eq!(index.steps, [Step::Index { chunk: number(1), from: END }]);
    let footer = planned(|survey| file(survey, 0).footer.as_mut().unwrap().ordinals = 9);
    assert_eq!(footer.steps, [Step::Index { chunk: number(0), from: END }]);
    for chunk in 0..3 {
        let made = planned(|survey| file(survey, chunk).block = Block::Bad);
        is_lossless(&made);
        assert_eq!(made.steps, [Step::Header { header: header(chunk) }], "chunk {chunk}");
    }
    let short = planned(|survey| file(survey, 2).size = END);
    is_lossless(&short);
    assert_eq!(short.steps, [Step::Resize { chunk: number(2), size: SIZE }]);
    // The header that is made again must not end below the groups.
    let odd = planned(|survey| {
        file(survey, 2).size = END;
        file(survey, 2).block = Block::Bad;
    });
    is_lossless(&odd);
    let size = END.next_multiple_of(4096);
    let made = ChunkHeader { capacity: size, ..header(2) };
    assert_eq!(odd.steps[0], Step::Header { header: made });
    assert_eq!(odd.steps[1..], [Step::Resize { chunk: number(2), size }]);
    let hint = planned(|survey| (survey.hint, survey.odd) = (None, vec!["hint"]));
    assert_eq!(asides(&hint), ["hint"]);
    is_lossless(&hint);
}

#[test]
fn files_find_their_places() {
    let renamed = planned(|survey| {
        let facts = survey.files.remove(&number(1)).unwrap();
        survey.files.insert(number(9), facts);
    });
    is_lossless(&renamed);
    assert_eq!(renamed.steps, [Step::Move { from: number(9), to: number(1) }]);
    let swapped = planned(|survey| {
        let [first, second] = [0, 1].map(|chunk| survey.files.remove(&number(chunk)).unwrap());
        survey.files.insert(number(0), second);
        survey.files.insert(number(1), first);
    });
    is_lossless(&swapped);
    let moves = [(0, 3), (1, 0), (3, 1)];
    let moves = moves.map(|(from, to)| Step::Move { from: number(from), to: number(to) });
    assert_eq!(swapped.steps, moves);
    let foreign = planned(|survey| {
        let mut facts = facts(0);
        facts.block = Block::Sound(ChunkHeader { log: Uuid::from_u128(1), ..header(0) });
        survey.files.insert(number(3), facts);
    });
    is_lossless(&foreign);
    assert_eq!(asides(&foreign), [file_name(number(3))]);
    let copy = planned(|survey| drop(survey.files.insert(number(3), facts(1))));
    is_lossless(&copy);
    assert_eq!(asides(&copy), [file_name(number(3))]);
    let large = FileFacts { size: CHUNK_SIZE_MAX + 4096, ..blank() };
    let large = planned(|survey| drop(survey.files.insert(number(3), large)));
    is_lossless(&large);
    assert_eq!(asides(&large), [file_name(number(3))]);
}

#[test]
fn damaged_events_end_the_log() {
    let last = planned(|survey| cease(survey, 2, 4));
    loses_from(&last, 24);
    assert_eq!(last.steps[0], Step::Cut { chunk: number(2), from: cursor(2, 4).offset });
    lowered(&last, 24, 2);
    let middle = planned(|survey| cease(survey, 1, 4));
    loses_from(&middle, 14);
    // From the first on, so that a gap keeps the log closed, and all before the cut.
    assert_eq!(aside(&middle.steps[0]), Some(&file_name(number(2))[..]));
    assert_eq!(middle.steps[1], Step::Cut { chunk: number(1), from: cursor(1, 4).offset });
    lowered(&middle, 14, 1);
    let early = planned(|survey| cease(survey, 0, 4));
    loses_from(&early, 4);
    assert_eq!(asides(&early), [1, 2].map(|chunk| file_name(number(chunk))), "a gap first");
    let hint = planned(|survey| survey.hint = Some(hint(35)));
    assert_eq!(hint.loss.unwrap().known, Position::new(35));
    assert_eq!(hint.steps.len(), 1, "nothing stands there: {hint:?}");
    lowered(&hint, 30, 2);
}

#[test]
fn a_missing_chunk_ends_the_log() {
    for gone in 1..3 {
        let missing = planned(|survey| drop(survey.files.remove(&number(gone))));
        loses_from(&missing, 10 * gone);
        let begun = missing.steps.iter().rev().nth(1);
        let begin = ChunkHeader { created: Timestamp::from_nanos(gone - 1), ..header(gone) };
        assert_eq!(begun, Some(&Step::Begin { header: begin }));
        lowered(&missing, 10 * gone, gone);
    }
    let empty = planned(|survey| *file(survey, 1) = blank());
    loses_from(&empty, 10);
    assert_eq!(asides(&empty), [1, 2].map(|chunk| file_name(number(chunk))));
    let headless = planned(|survey| {
        file(survey, 2).block = Block::Bad;
        file(survey, 2).groups = None;
    });
    loses_from(&headless, 20);
    let unfit = planned(|survey| {
        file(survey, 2).block = Block::Sound(ChunkHeader { previous: before(1), ..header(2) });
    });
    loses_from(&unfit, 20);
    assert_eq!(asides(&unfit), [file_name(number(2))]);
}

#[test]
fn nothing_is_planned_where_nothing_could_be_kept() {
    let first = planned(|survey| drop(survey.files.remove(&number(0))));
    assert_eq!(first.impossible, Some(Impossible::NothingToKeep));
    let event = planned(|survey| cease(survey, 0, 0));
    assert_eq!(event.impossible, Some(Impossible::NothingToKeep));
    let unknown = planned(|survey| survey.log = None);
    assert_eq!(unknown.impossible, Some(Impossible::Unknown));
    for plan in [first, event, unknown] {
        assert!(plan.steps.is_empty(), "{plan:?}");
    }
}
