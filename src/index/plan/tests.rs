//! Tests that a plan finds what a look at every event finds, in both forms of an index, both ways,
//! and in few steps.

use std::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::event::category;
use crate::index::key::KeyKind;
use crate::index::tests::{Event, in_file, in_memory};

fn some(names: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> {
    let name = prop::sample::select(names).prop_map(str::to_owned);
    prop::collection::vec(name, 0..=most)
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let name = |names: &'static [&'static str]| prop::sample::select(names).prop_map(str::to_owned);
    let stream = name(&["a-1", "a-2", "b-1", "b", "-"]);
    let event = (stream, name(&["A", "B", "C"]), some(&["x", "y", "z"], 3));
    let event = event.prop_map(|(stream, event_type, tags)| Event {
        stream,
        event_type,
        tags,
        operation: None,
    });
    prop::collection::vec(event, 0..120)
}

fn query() -> impl Strategy<Value = Query> {
    let item = (
        some(&["A", "B", "absent"], 2),
        some(&["x", "y", "z", "absent"], 2),
        some(&["a-1", "b", "absent"], 2),
        some(&["a", "b", "", "absent"], 1),
    );
    let item = item.prop_map(|(types, tags, streams, categories)| {
        Query::new().types(types).tags(tags).streams(streams).categories(categories)
    });
    prop::collection::vec(item, 1..4)
        .prop_map(|items| items.into_iter().reduce(Query::or).unwrap_or_default())
}

fn is_meant(query: &Query, event: &Event) -> bool {
    query.items.iter().any(|item| {
        let anywhere = item.streams.is_empty() && item.categories.is_empty();
        (item.types.is_empty() || item.types.contains(&event.event_type))
            && item.tags.iter().all(|tag| event.tags.contains(tag))
            && (anywhere
                || item.streams.contains(&event.stream)
                || item.categories.iter().any(|name| name == category(&event.stream)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn finds_what_a_look_at_every_event_finds(
        events in events(),
        query in query(),
        (start, end) in (0_u32..130, 0_u32..130),
        asked in prop::collection::vec((any::<bool>(), 0_u32..130), 0..40),
    ) {
        let all = (0_u32..).zip(&events).filter(|(_, event)| is_meant(&query, event));
        let all: Vec<u32> = all.map(|(ordinal, _)| ordinal).collect();
        let meant: Vec<u32> =
            all.iter().copied().filter(|ordinal| (start..end).contains(ordinal)).collect();
        let memory = in_memory(&events);
        for index in [in_file(&memory), memory] {
            let known = start..end.min(index.event_count());
            let plan = || Plan::of(&index, &query, known.clone()).unwrap();
            let mut walk = plan();
            let upwards = std::iter::successors(walk.ceil(0), |last| walk.ceil(last + 1));
            prop_assert_eq!(&upwards.collect::<Vec<_>>(), &meant);
            let mut walk = plan();
            let downwards = std::iter::successors(walk.floor(u32::MAX), |last| walk.floor(*last));
            prop_assert!(downwards.eq(meant.iter().rev().copied()));
            let mut walk = plan();
            for (is_ceil, place) in &asked {
                let (found, wanted) = if *is_ceil {
                    (walk.ceil(*place), meant.iter().find(|ordinal| *ordinal >= place))
                } else {
                    (walk.floor(*place), meant.iter().rev().find(|ordinal| *ordinal < place))
                };
                prop_assert_eq!(found.as_ref(), wanted, "{}", place);
            }
            prop_assert_eq!(&first_match(&index, &query, start..end), &Ok(meant.first().copied()));
            let from_start = all.iter().copied().find(|ordinal| *ordinal >= start);
            prop_assert_eq!(first_match(&index, &query, start..u32::MAX), Ok(from_start));
        }
    }
}

/// A list that counts the searches in it.
#[derive(Clone, Copy)]
struct Counted<'a>(&'a [u32], &'a Cell<usize>);

impl List for Counted<'_> {
    fn ordinals(&self) -> Ordinals<'_> {
        self.1.set(self.1.get() + 1);
        Ordinals::Memory(self.0)
    }
}

/// Searches that a way through all of a query takes.
fn searches(query: &Query, lists: &[(Key<'_>, &[u32])], end: u32) -> (usize, usize) {
    let count = Cell::new(0);
    let look_up = |key: &Key<'_>| {
        let found = lists.iter().find(|(other, _)| other == key);
        Ok::<_, Infallible>(Counted(found.map(|(_, list)| *list).unwrap_or_default(), &count))
    };
    let Ok(mut plan) = Plan::new(query, 0..end, look_up);
    count.set(0);
    let up = std::iter::successors(plan.ceil(0), |last| plan.ceil(last + 1)).count();
    let down = std::iter::successors(plan.floor(end), |last| plan.floor(*last)).count();
    assert_eq!(up, down);
    (up, count.get())
}

#[test]
fn the_rarest_list_leads() {
    let all: Vec<u32> = (0..10_000).collect();
    let rare = [5, 700, 701, 9_999];
    let lists = [(Key::event_type("A"), &all[..]), (Key::tag("x"), &rare[..])];
    let query = Query::new().types(["A"]).tags(["x"]);
    let (found, searches) = searches(&query, &lists, 10_000);
    assert_eq!(found, 4);
    assert!(searches <= 4 * 2 * 3, "{searches}");
}

#[test]
fn a_dense_alternative_does_not_repeat_the_searches_of_a_sparse_one() {
    let all: Vec<u32> = (0..10_000).collect();
    let (even, odd): (Vec<u32>, Vec<u32>) = all.iter().partition(|ordinal| *ordinal % 2 == 0);
    let lists = [
        (Key::event_type("A"), &all[..]),
        (Key::tag("even"), &even[..]),
        (Key::tag("odd"), &odd[..]),
    ];
    let query = Query::event_type("A").or(Query::new().tags(["even", "odd"]));
    let (found, searches) = searches(&query, &lists, 10_000);
    assert_eq!(found, 10_000);
    assert!(searches <= 2 * (10_000 + 10_000 + 10), "{searches}");
}

#[test]
fn lists_that_do_not_ascend_end_a_search() {
    let lists: [&[u32]; 4] = [&[9, 1, 8, 2], &[3, 3, 3], &[7, 0], &[0, 9, 0, 9, 0]];
    for (first, second) in lists.iter().flat_map(|first| lists.map(|second| (*first, second))) {
        let count = Cell::new(0);
        let look_up = |key: &Key<'_>| {
            let list = if key.name == b"x" { first } else { second };
            Ok::<_, Infallible>(Counted(list, &count))
        };
        let Ok(mut plan) = Plan::new(&Query::new().tags(["x", "y"]), 0..10, look_up);
        for at in 0..10 {
            let (up, down) = (plan.ceil(at), plan.floor(at));
            assert!(up.is_none_or(|up| up >= at) && down.is_none_or(|down| down < at));
        }
        assert!(count.get() < 1000, "{}", count.get());
    }
}

#[test]
fn a_missing_name_asks_for_nothing_more() {
    let asked = Cell::new(0);
    let look_up = |key: &Key<'_>| {
        asked.set(asked.get() + 1);
        let here: &[u32] = if key.kind == KeyKind::Tag { &[] } else { &[1, 2] };
        Ok::<_, Infallible>(here)
    };
    let query = Query::new().types(["A", "B"]).tags(["absent", "other"]).streams(["s"]);
    let Ok(mut plan) = Plan::new(&query, 0..9, look_up);
    assert_eq!((plan.ceil(0), plan.floor(9), asked.get()), (None, None, 1));
}
