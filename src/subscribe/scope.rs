//! Owns what a subscription is to: which events it means, how they are read, and what to be woken
//! for.
//!
//! Promises: every event that is meant has one of the keys of the interest, so that no wake is
//! missed. Reads through the same readers as everybody.

use crate::error::Result;
use crate::event::RecordedEvent;
use crate::index::key::Key;
use crate::position::{Position, StreamVersion};
use crate::query::{Query, QueryItem};
use crate::read::View;
use crate::stage::bell::Interest;

/// The events that a view has for a subscription, in order.
pub(super) type Batch = Box<dyn Iterator<Item = Result<RecordedEvent>> + Send + Sync>;

/// What a subscription is to.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    All,
    Query(Query),
    /// A stream from a version on; the query means the whole stream.
    Stream {
        name: String,
        query: Query,
        from: StreamVersion,
    },
}

impl Scope {
    pub(super) fn stream(name: &str, from: StreamVersion) -> Self {
        Self::Stream { name: name.to_owned(), query: Query::stream(name), from }
    }

    /// Keys of which each event that is meant has at least one.
    pub(super) fn interest(&self) -> Interest {
        let items = match self {
            Self::All => return Interest::Everything,
            Self::Query(query) | Self::Stream { query, .. } => &query.items,
        };
        let keys: Option<Vec<Vec<u64>>> = items.iter().map(keys_of).collect();
        keys.map_or(Interest::Everything, |keys| Interest::Keys(keys.concat()))
    }

    /// The events of a view that are meant, from a position on.
    pub(super) fn read(&self, view: &View, position: Position) -> Result<Batch> {
        match self {
            Self::All => Ok(Box::new(view.read_all(position..))),
            Self::Query(query) => read_query(view, query, position),
            // Where versions lie is known to the index alone, so the first reading goes by it.
            Self::Stream { name, from, .. } if position == Position::START => {
                Ok(Box::new(view.read_stream(name, *from..)?))
            }
            Self::Stream { query, from, .. } => {
                let from = *from;
                let is_meant = move |event: &Result<RecordedEvent>| {
                    event.as_ref().map_or(true, |event| event.version() >= from)
                };
                Ok(Box::new(read_query(view, query, position)?.filter(is_meant)))
            }
        }
    }
}

fn read_query(view: &View, query: &Query, position: Position) -> Result<Batch> {
    Ok(Box::new(view.read(query, position..)?))
}

/// Keys of which each event that the alternative means has at least one; `None` where it asks for
/// nothing. A tag is most often the rarest of what is asked for, a type the most common.
fn keys_of(item: &QueryItem) -> Option<Vec<u64>> {
    if let Some(tag) = item.tags.first() {
        return Some(vec![Key::tag(tag).hash()]);
    }
    let streams = item.streams.iter().map(Key::stream);
    let categories = item.categories.iter().map(Key::category);
    let mut keys: Vec<u64> = streams.chain(categories).map(|key| key.hash()).collect();
    if keys.is_empty() {
        keys.extend(item.types.iter().map(|name| Key::event_type(name).hash()));
    }
    (!keys.is_empty()).then_some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(query: Query) -> Option<Vec<u64>> {
        match Scope::Query(query).interest() {
            Interest::Everything => None,
            Interest::Keys(keys) => Some(keys),
        }
    }

    fn hashes(keys: &[Key<'_>]) -> Option<Vec<u64>> {
        Some(keys.iter().map(Key::hash).collect())
    }

    #[test]
    fn each_alternative_is_waited_for_by_what_its_events_must_have() {
        let query = Query::new().types(["A", "B"]);
        assert_eq!(keys(query.clone()), hashes(&[Key::event_type("A"), Key::event_type("B")]));
        let placed = query.clone().streams(["s-1"]).categories(["c"]);
        assert_eq!(keys(placed.clone()), hashes(&[Key::stream("s-1"), Key::category("c")]));
        let tagged = placed.clone().tags(["t", "u"]);
        assert_eq!(keys(tagged.clone()), hashes(&[Key::tag("t")]));
        let all = [Key::tag("t"), Key::event_type("A"), Key::event_type("B")];
        assert_eq!(keys(tagged.clone().or(query)), hashes(&all));
        assert_eq!(keys(tagged.or(Query::new())), None, "an alternative that asks for nothing");
        assert_eq!(keys(Query::new()), None);
    }

    #[test]
    fn a_stream_is_waited_for_by_its_name_and_everything_by_anything() {
        let stream = Scope::stream("cart-7", StreamVersion::new(9)).interest();
        assert_eq!(stream, Interest::Keys(vec![Key::stream("cart-7").hash()]));
        assert_eq!(Scope::All.interest(), Interest::Everything);
    }
}
