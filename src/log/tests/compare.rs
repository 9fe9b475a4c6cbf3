//! Owns the comparison of what a view shows with what the model has.
//!
//! Promises: compares every part of every event. Panics with the first difference, and with what
//! was asked.

use std::collections::VecDeque;
use std::ops::Bound;

use super::generate::readings;
use super::model::{self, Bounds, Kept, NamesOf, Reading};
use super::random::Random;
use crate::error::Result;
use crate::event::RecordedEvent;
use crate::position::{Position, StreamVersion};
use crate::read::{NameInfo, View};

/// From which end the events of a read are taken.
#[derive(Clone, Copy, Debug)]
enum Way {
    Forwards,
    Backwards,
    /// By turns of chance.
    Both,
}

/// Compares a read of the view with the model's, from either end or from both.
pub(super) fn check_read(
    random: &mut Random,
    view: &View,
    log: &[Kept],
    asked: (&Reading, Bounds),
) {
    let way = random.pick(&[Way::Forwards, Way::Backwards, Way::Both]);
    let mut events = events(view, asked).unwrap();
    let mut left = VecDeque::from(model::read(log, asked.0, asked.1));
    loop {
        let back = match way {
            Way::Forwards => false,
            Way::Backwards => true,
            Way::Both => random.percent(50),
        };
        let (event, kept) = match back {
            true => (events.next_back(), left.pop_back()),
            false => (events.next(), left.pop_front()),
        };
        match (event.transpose().unwrap(), kept) {
            (None, None) => return,
            (Some(event), Some(kept)) if is_same(&event, kept) => {}
            (event, kept) => panic!("{asked:?} {way:?} shows {event:?}, the model {kept:?}"),
        }
    }
}

/// Compares everything that a view shows with the model.
pub(super) fn check_all(random: &mut Random, view: &View, log: &[Kept]) {
    assert_eq!(view.end(), Position::new(log.len() as u64), "the end of the view");
    for what in readings() {
        check_read(random, view, log, (&what, (Bound::Unbounded, Bound::Unbounded)));
        if let Reading::Stream(name) = &what {
            let version = model::head(log, name).map(StreamVersion::new);
            assert_eq!(view.stream_version(name).unwrap(), version, "the version of {name}");
        }
    }
    check_names(view, log, "");
}

/// Compares all listings of names that begin with a prefix.
pub(super) fn check_names(view: &View, log: &[Kept], prefix: &str) {
    let streams = view.streams(prefix).unwrap().into_iter().map(|stream| {
        (stream.name, stream.events, stream.version.get(), stream.last_position.get())
    });
    assert_eq!(streams.collect::<Vec<_>>(), model::streams(log, prefix), "streams {prefix:?}");
    let kinds: [(&str, Result<Vec<NameInfo>>, NamesOf); 3] = [
        ("categories", view.categories(prefix), model::categories_of),
        ("types", view.types(prefix), model::types_of),
        ("tags", view.tags(prefix), model::tags_of),
    ];
    for (what, listed, of) in kinds {
        let listed = listed.unwrap().into_iter();
        let listed: Vec<_> =
            listed.map(|it| (it.name, it.events, it.last_position.get())).collect();
        assert_eq!(listed, model::names(log, of, prefix), "{what} {prefix:?}");
    }
}

/// An iterator that can be taken from both ends.
pub(super) type Events = Box<dyn DoubleEndedIterator<Item = Result<RecordedEvent>>>;

pub(super) fn events(view: &View, (what, (start, end)): (&Reading, Bounds)) -> Result<Events> {
    let positions = (start.map(Position::new), end.map(Position::new));
    let versions = (start.map(StreamVersion::new), end.map(StreamVersion::new));
    Ok(match what {
        Reading::All => Box::new(view.read_all(positions)),
        Reading::Stream(name) => Box::new(view.read_stream(name, versions)?),
        Reading::Category(name) => Box::new(view.read_category(name, positions)?),
        Reading::Type(name) => Box::new(view.read_type(name, positions)?),
        Reading::Tag(name) => Box::new(view.read_tag(name, positions)?),
        Reading::Query(query) => Box::new(view.read(query, positions)?),
    })
}

/// Whether an event is the one that the model has, in all its parts.
pub(super) fn is_same(event: &RecordedEvent, kept: &Kept) -> bool {
    let new = &kept.event;
    event.position().get() == kept.position
        && event.stream() == kept.stream
        && event.version().get() == kept.version
        && event.time() == kept.time
        && event.operation() == kept.operation
        && event.id() == new.id
        && event.event_type() == new.event_type
        && event.tags().eq(new.tags.iter().map(String::as_str))
        && (event.data(), event.data_kind()) == (&*new.data, new.data_kind)
        && (event.metadata(), event.metadata_kind()) == (&*new.metadata, new.metadata_kind)
}
