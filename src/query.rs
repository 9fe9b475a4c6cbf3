//! Owns queries: which events a reader, a subscriber or a condition means.
//!
//! Promises: one meaning everywhere, that of [`Query::matches`]; the index only finds the same
//! events faster. Assumes nothing of the names. Never reads events.

mod text;

pub use text::ParseQueryError;

use crate::event::{RecordedEvent, category};

/// Most alternatives of a query.
pub const QUERY_ITEMS_MAX: usize = 64;
/// Most names of one alternative of a query.
pub const QUERY_NAMES_MAX: usize = 256;

/// Which events are meant: any of several alternatives, each of which is met by types (any of
/// them), tags (all of them), and streams and categories (any of them). What an alternative does
/// not name, it does not ask for.
///
/// ```
/// use paperchase::Query;
/// // What decides whether a student may subscribe to a course:
/// let query = Query::new()
///     .types(["CourseDefined", "CapacityChanged"])
///     .tags(["course:c1"])
///     .or(Query::new().types(["StudentSubscribed"]).tags(["student:s1"]));
/// ```
///
/// # What a query costs
///
/// Every chunk has an index of its streams, categories, types and tags. A query asks that alone,
/// and never reads an event that it does not mean. In each chunk the rarest of the names that an
/// event must have leads, and the others are looked up only where that one is; so `type=Added
/// tag=sku:7` costs about what `tag=sku:7` costs. A chunk without one of the tags, or without any
/// of the types, costs one look into a filter. [`View::read`](crate::View::read) comes to a chunk
/// when all before it is read, so whoever takes a few events leaves the rest of the log alone.
///
/// # As text
///
/// A query is written and read as `KIND=NAME` words, with `or` between alternatives:
///
/// ```
/// # use paperchase::Query;
/// let query: Query = r#"type=CourseDefined tag="course:c 1" or stream=audit"#.parse()?;
/// assert_eq!(query, Query::event_type("CourseDefined").tags(["course:c 1"])
///     .or(Query::stream("audit")));
/// assert_eq!(query.to_string(), r#"type=CourseDefined tag="course:c 1" or stream=audit"#);
/// # Ok::<(), paperchase::ParseQueryError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// At least one.
    pub(crate) items: Vec<QueryItem>,
}

/// One alternative of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueryItem {
    pub(crate) types: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) streams: Vec<String>,
    pub(crate) categories: Vec<String>,
}

impl Default for Query {
    fn default() -> Self {
        Self::new()
    }
}

impl Query {
    /// All events, until something is asked for.
    #[must_use]
    pub fn new() -> Self {
        Self { items: vec![QueryItem::default()] }
    }

    /// The events of one stream.
    pub fn stream(name: impl Into<String>) -> Self {
        Self::new().streams([name])
    }

    /// The events of all streams of a category.
    pub fn category(name: impl Into<String>) -> Self {
        Self::new().categories([name])
    }

    /// The events with a tag.
    pub fn tag(name: impl Into<String>) -> Self {
        Self::new().tags([name])
    }

    /// The events of a type.
    pub fn event_type(name: impl Into<String>) -> Self {
        Self::new().types([name])
    }

    /// Asks for events of any of these types and those named before. An empty list asks for
    /// nothing: it leaves the query as it is.
    #[must_use]
    pub fn types(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.extend(|item| &mut item.types, names)
    }

    /// Asks for events that have all these tags. An empty list asks for nothing: it leaves the
    /// query as it is.
    #[must_use]
    pub fn tags(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.extend(|item| &mut item.tags, names)
    }

    /// Asks for events of any of these streams, and those streams and categories named before.
    /// An empty list asks for nothing: it leaves the query as it is.
    #[must_use]
    pub fn streams(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.extend(|item| &mut item.streams, names)
    }

    /// Asks for events of any of these categories, and those streams and categories named before.
    /// An empty list asks for nothing: it leaves the query as it is.
    #[must_use]
    pub fn categories(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.extend(|item| &mut item.categories, names)
    }

    /// Asks for the events of this query and those of the other. What is asked for afterwards
    /// narrows the last alternative alone.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.items.extend(other.items);
        self
    }

    /// Whether an event is meant.
    #[must_use]
    pub fn matches(&self, event: &RecordedEvent) -> bool {
        self.items.iter().any(|item| item.matches(event))
    }

    fn extend(
        mut self,
        names_of: impl FnOnce(&mut QueryItem) -> &mut Vec<String>,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let item = self.items.last_mut().expect("a query has at least one alternative");
        names_of(item).extend(names.into_iter().map(Into::into));
        self
    }

    /// Number of all names, and of alternatives that have none.
    pub(crate) fn names(&self) -> usize {
        self.items.iter().map(|item| item.names().max(1)).sum()
    }

    /// Bytes of all names.
    pub(crate) fn size(&self) -> usize {
        self.lengths().sum()
    }

    /// Bytes of the longest name.
    pub(crate) fn longest_name(&self) -> usize {
        self.lengths().max().unwrap_or_default()
    }

    fn lengths(&self) -> impl Iterator<Item = usize> {
        let lists = self.items.iter().flat_map(|item| {
            let QueryItem { types, tags, streams, categories } = item;
            [types, tags, streams, categories]
        });
        lists.flatten().map(String::len)
    }

    /// What is wrong with it, if it is larger than its limits.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.items.len() > QUERY_ITEMS_MAX {
            return Some("has more than 64 alternatives");
        }
        let large = self.items.iter().any(|item| item.names() > QUERY_NAMES_MAX);
        large.then_some("has an alternative of more than 256 names")
    }
}

impl QueryItem {
    fn names(&self) -> usize {
        self.types.len() + self.tags.len() + self.streams.len() + self.categories.len()
    }

    fn matches(&self, event: &RecordedEvent) -> bool {
        let any = |names: &[String], name: &str| names.iter().any(|other| other == name);
        let anywhere = self.streams.is_empty() && self.categories.is_empty();
        (self.types.is_empty() || any(&self.types, event.event_type()))
            && self.tags.iter().all(|tag| event.tags().any(|other| other == tag))
            && (anywhere
                || any(&self.streams, event.stream())
                || any(&self.categories, category(event.stream())))
    }
}
