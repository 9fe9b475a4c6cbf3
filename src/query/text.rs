//! Owns the text form of queries, which people write on a command line and read in messages.
//!
//! Promises: what a query is written as reads as the same query; what is no query is refused with
//! the word that is wrong. A name that holds blanks or quotes, or nothing, is written in quotes.

use std::fmt;
use std::str::FromStr;

use super::{Query, QueryItem};

/// Why a text is no [`Query`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{near:?} {problem}")]
pub struct ParseQueryError {
    /// The word that is wrong.
    near: String,
    problem: &'static str,
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.items.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { " or " })?;
            item.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for QueryItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("stream", &self.streams),
            ("category", &self.categories),
            ("type", &self.types),
            ("tag", &self.tags),
        ];
        let mut asked = kinds.iter().flat_map(|(kind, names)| names.iter().map(move |n| (kind, n)));
        match asked.next() {
            None => return f.write_str("all"),
            Some((kind, name)) => write!(f, "{kind}={}", Name(name))?,
        }
        asked.try_for_each(|(kind, name)| write!(f, " {kind}={}", Name(name)))
    }
}

/// A name as it is written.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |letter: char| !letter.is_whitespace() && letter != '"';
        if !self.0.is_empty() && self.0.chars().all(is_plain) {
            return f.write_str(self.0);
        }
        write!(f, "\"{}\"", self.0.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// Reads the form that a query is written in: `KIND=NAME` words, where KIND is `stream`,
/// `category`, `type` or `tag`; `or` between alternatives; `all` for every event. A name may stand
/// in double quotes, with `\"` and `\\` for those letters.
///
/// ```
/// use paperchase::Query;
/// let query: Query = r#"type=Added type=Removed tag="sku 7" or stream=cart-7"#.parse()?;
/// let same = Query::new().types(["Added", "Removed"]).tags(["sku 7"]).or(Query::stream("cart-7"));
/// assert_eq!(query, same);
/// assert_eq!("all".parse(), Ok(Query::new()));
/// # Ok::<(), paperchase::ParseQueryError>(())
/// ```
impl FromStr for Query {
    type Err = ParseQueryError;

    fn from_str(text: &str) -> Result<Self, ParseQueryError> {
        let mut items: Vec<QueryItem> = Vec::new();
        // The alternative that is being read, once it has a word.
        let mut open: Option<QueryItem> = None;
        let mut rest = text.trim();
        while !rest.is_empty() {
            let word = rest.split(char::is_whitespace).next().unwrap_or_default();
            let wrong = |problem| ParseQueryError { near: word.to_owned(), problem };
            let is_all = open.as_ref().is_some_and(|item| item.names() == 0);
            rest = match word {
                "or" => {
                    items.push(open.take().ok_or_else(|| wrong("has nothing before it"))?);
                    &rest[word.len()..]
                }
                "all" if open.is_none() => {
                    open = Some(QueryItem::default());
                    &rest[word.len()..]
                }
                _ if word == "all" || is_all => {
                    return Err(wrong("needs an `or`: `all` stands alone"));
                }
                _ => {
                    let item = open.get_or_insert_default();
                    let (kind, _) = word.split_once('=').ok_or_else(|| wrong(NO_PAIR))?;
                    let names = names_of(item, kind).ok_or_else(|| wrong(NO_KIND))?;
                    let (name, behind) = name(&rest[kind.len() + 1..]).map_err(wrong)?;
                    names.push(name);
                    behind
                }
            };
            rest = rest.trim_start();
        }
        let near = || text.split_whitespace().next_back().unwrap_or_default().to_owned();
        let problem =
            if items.is_empty() { "asks for nothing; `all` is every event" } else { NO_END };
        items.push(open.ok_or_else(|| ParseQueryError { near: near(), problem })?);
        let query = Self { items };
        match query.problem() {
            Some(problem) => Err(ParseQueryError { near: near(), problem }),
            None => Ok(query),
        }
    }
}

const NO_PAIR: &str = "is not of the form KIND=NAME, nor `or`, nor `all`";
const NO_KIND: &str = "is of no kind; write stream=, category=, type= or tag=";
const NO_END: &str = "has nothing behind it";

fn names_of<'a>(item: &'a mut QueryItem, kind: &str) -> Option<&'a mut Vec<String>> {
    match kind {
        "stream" => Some(&mut item.streams),
        "category" => Some(&mut item.categories),
        "type" => Some(&mut item.types),
        "tag" => Some(&mut item.tags),
        _ => None,
    }
}

/// The name that a text begins with, and what is behind it.
fn name(text: &str) -> Result<(String, &str), &'static str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (name, behind) = text.split_at(end);
        if name.is_empty() {
            return Err("has no name; an empty one is written \"\"");
        }
        return Ok((name.to_owned(), behind));
    };
    let mut name = String::new();
    let mut letters = quoted.chars();
    loop {
        match letters.next().ok_or("begins a quote that does not end")? {
            '"' => break,
            '\\' => match letters.next() {
                Some(letter @ ('"' | '\\')) => name.push(letter),
                _ => return Err("has a `\\` that is not before `\"` or `\\`"),
            },
            letter => name.push(letter),
        }
    }
    let behind = letters.as_str();
    if behind.starts_with(|letter: char| !letter.is_whitespace()) {
        return Err("goes on behind its quote");
    }
    Ok((name, behind))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> impl Strategy<Value = Vec<String>> {
        let name = prop_oneof![
            "[a-c\"\\\\ =\n\t\u{e9}\u{2003}]{0,5}",
            prop::sample::select(vec!["or", "all", "type=A", " ", "\\\"", "\u{85}"])
                .prop_map(str::to_owned),
            any::<String>(),
        ];
        prop::collection::vec(name, 0..4)
    }

    proptest! {
        #![proptest_config(
            ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
        )]

        #[test]
        fn what_is_written_reads_the_same(
            items in prop::collection::vec((names(), names(), names(), names()), 1..4),
        ) {
            let items = items.into_iter().map(|(types, tags, streams, categories)| QueryItem {
                types,
                tags,
                streams,
                categories,
            });
            let query = Query { items: items.collect() };
            prop_assert_eq!(query.to_string().parse(), Ok(query));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[a-c\"\\\\ =ortype\u{e9}\u{2003}]{0,30}|\\PC*") {
            if let Ok(query) = text.parse::<Query>() {
                prop_assert_eq!(query.to_string().parse(), Ok(query));
            }
        }
    }

    #[test]
    fn words_come_in_any_order() {
        let query: Query = " tag=b  type=A\ttag=a or\nall ".parse().unwrap();
        assert_eq!(query, Query::new().types(["A"]).tags(["b", "a"]).or(Query::new()));
        assert_eq!(query.to_string(), "type=A tag=b tag=a or all");
        assert_eq!("tag=a=\"b".parse(), Ok(Query::tag("a=\"b")));
        let quoted = Query::stream("").tags(["a \"b\" \\"]).to_string();
        assert_eq!(quoted, r#"stream="" tag="a \"b\" \\""#);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| text.parse::<Query>().unwrap_err().to_string();
        let wrong = [
            ("", "\"\" asks for nothing; `all` is every event"),
            ("type=A or", "\"or\" has nothing behind it"),
            ("or type=A", "\"or\" has nothing before it"),
            ("type=A or or type=B", "\"or\" has nothing before it"),
            ("type=A typ=B", "\"typ=B\" is of no kind; write stream=, category=, type= or tag="),
            ("Added", "\"Added\" is not of the form KIND=NAME, nor `or`, nor `all`"),
            ("type=A all", "\"all\" needs an `or`: `all` stands alone"),
            ("all type=A", "\"type=A\" needs an `or`: `all` stands alone"),
            ("type= A", "\"type=\" has no name; an empty one is written \"\""),
            ("tag=\"a b", "\"tag=\\\"a\" begins a quote that does not end"),
            ("tag=\"a\"b", "\"tag=\\\"a\\\"b\" goes on behind its quote"),
        ];
        for (text, problem) in wrong {
            assert_eq!(error(text), problem, "{text}");
        }
        assert!(error(r#"tag="\n""#).contains("has a `\\` that is not before"));
        let large = vec!["tag=a"; 65].join(" or ");
        assert!(error(&large).contains("has more than 64 alternatives"));
    }
}
