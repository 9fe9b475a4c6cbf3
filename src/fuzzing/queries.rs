//! Owns the target of the text form of queries.
//!
//! Promises: what a query is written as reads as the same query, for queries that were read and for
//! queries that were made of any names.

use crate::query::Query;

/// Reads a text as a query, and its words as the names of one.
pub fn query_text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match text.parse::<Query>() {
        Ok(query) => check(&query),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let mut query = Query::new();
    for (index, name) in text.split('/').enumerate() {
        query = match data.get(index).map_or(0, |byte| byte % 8) {
            0 => query.or(Query::event_type(name)),
            1 | 2 => query.types([name]),
            3 | 4 => query.tags([name]),
            5 => query.streams([name]),
            6 => query.categories([name]),
            _ => query.or(Query::new()),
        };
    }
    check(&query);
}

fn check(query: &Query) {
    let text = query.to_string();
    match query.problem() {
        None => assert_eq!(text.parse().as_ref(), Ok(query), "{text:?}"),
        Some(problem) => assert!(text.parse::<Query>().is_err(), "{text:?} {problem}"),
    }
    let _ = (query.problem(), query.size(), query.longest_name(), query.names());
}
