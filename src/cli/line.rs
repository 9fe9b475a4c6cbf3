//! Owns the line format of `import` and `export`: one event as one JSON object on one line.
//!
//! Promises: what was exported, imported and exported again has the same stream, type, id, data,
//! metadata and tags byte for byte, and the same declared kinds. JSON content stands in the line
//! verbatim where that is possible; all other bytes travel as base64. Never guesses: an unknown or
//! a doubled field is refused.

use std::borrow::Cow;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::show;
use crate::{ContentKind, NewEvent, RecordedEvent};

/// Bytes of a refused line that are shown.
const PIECE: usize = 40;

/// What an import takes from a line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    event_type: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data_base64: Option<Cow<'a, str>>,
    #[serde(default)]
    kind: Option<Kind>,
    #[serde(borrow, default, deserialize_with = "present")]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    metadata_base64: Option<Cow<'a, str>>,
    #[serde(default)]
    metadata_kind: Option<Kind>,
    #[serde(default)]
    tags: Option<Vec<String>>,
    // Where and when the event stood in the log that it came from; it gets new ones here.
    #[serde(default, rename = "position")]
    _position: serde::de::IgnoredAny,
    #[serde(default, rename = "version")]
    _version: serde::de::IgnoredAny,
    #[serde(default, rename = "time")]
    _time: serde::de::IgnoredAny,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Bytes,
    Json,
}

/// A value that is there, also when it is `null`.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// The stream and the event of a line, or why it has none.
pub(super) fn parse(line: &[u8]) -> Result<(String, NewEvent), String> {
    // An array of the right values would be taken for the fields in their order.
    if line.first() != Some(&b'{') {
        json(line)?;
        return Err(format!("not a JSON object, near {}", piece(line, 0)));
    }
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| reason(line, &error))?;
    let data = content("data", line.data, line.data_base64, line.kind)?;
    let metadata = content("metadata", line.metadata, line.metadata_base64, line.metadata_kind)?;
    let event_type = line.event_type.into_owned();
    let mut event = NewEvent::new(event_type, data.0).data_kind(data.1);
    if !metadata.0.is_empty() || metadata.1 == ContentKind::Json {
        event = event.metadata(metadata.0, metadata.1);
    }
    if let Some(id) = line.id {
        let id = Uuid::try_parse(&id).map_err(|_| format!("id {id:?} is not a UUID"))?;
        event = event.id(id);
    }
    event = line.tags.unwrap_or_default().into_iter().fold(event, NewEvent::tag);
    Ok((line.stream.into_owned(), event))
}

/// Checks that a line is one JSON value.
pub(super) fn json(line: &[u8]) -> Result<(), String> {
    let checked = serde_json::from_slice::<&RawValue>(line);
    checked.map(|_| ()).map_err(|error| format!("not JSON: {}", told(line, &error)))
}

/// Why a line was refused, with the place in it.
pub(super) fn reason(line: &[u8], error: &serde_json::Error) -> String {
    json(line).err().unwrap_or_else(|| told(line, error))
}

/// What serde says; its own line number is always 1.
fn told(line: &[u8], error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => {
            let column = error.column();
            format!("{}, at column {column}, near {}", &text[..end], piece(line, column))
        }
        None => text,
    }
}

/// The bytes around a column of a line, safe for a terminal.
fn piece(line: &[u8], column: usize) -> String {
    let start = column.saturating_sub(PIECE / 2).min(line.len());
    let end = line.len().min(start + PIECE);
    let [before, behind] = [start > 0, end < line.len()].map(|cut| if cut { "..." } else { "" });
    format!("`{before}{}{behind}`", show::plain(&String::from_utf8_lossy(&line[start..end])))
}

fn content<'a>(
    name: &str,
    value: Option<&'a RawValue>,
    base64: Option<Cow<'a, str>>,
    kind: Option<Kind>,
) -> Result<(Cow<'a, [u8]>, ContentKind), String> {
    let (bytes, natural) = match (value, base64) {
        (Some(_), Some(_)) => return Err(format!("both {name} and {name}_base64 are given")),
        (Some(value), None) => (Cow::Borrowed(value.get().as_bytes()), ContentKind::Json),
        (None, Some(text)) => {
            let bytes = BASE64
                .decode(text.as_bytes())
                .map_err(|error| format!("{name}_base64: {error}"))?;
            (Cow::Owned(bytes), ContentKind::Bytes)
        }
        (None, None) => (Cow::Borrowed(&b""[..]), ContentKind::Bytes),
    };
    let kind = match kind {
        Some(Kind::Json) => ContentKind::Json,
        Some(Kind::Bytes) => ContentKind::Bytes,
        None => natural,
    };
    Ok((bytes, kind))
}

/// Appends the line of `event` to `out`, with the newline.
pub(super) fn write(out: &mut Vec<u8>, event: &RecordedEvent) {
    let time = show::exact_time(event.time());
    let (position, version) = (event.position(), event.version());
    // Writing to a vector cannot fail, and strings always have a JSON form.
    let _ = write!(out, r#"{{"position":{position},"version":{version},"time":"{time}","stream":"#);
    string(out, event.stream());
    out.extend_from_slice(br#","type":"#);
    string(out, event.event_type());
    let _ = write!(out, r#","id":"{}""#, event.id());
    write_content(out, ["data", "kind"], event.data(), event.data_kind());
    if !event.metadata().is_empty() || event.metadata_kind() == ContentKind::Json {
        let names = ["metadata", "metadata_kind"];
        write_content(out, names, event.metadata(), event.metadata_kind());
    }
    for (index, tag) in event.tags().enumerate() {
        out.extend_from_slice(if index == 0 { br#","tags":["# } else { b"," });
        string(out, tag);
    }
    out.extend_from_slice(if event.tags().next().is_some() { b"]}\n" } else { b"}\n" });
}

fn write_content(out: &mut Vec<u8>, names: [&str; 2], bytes: &[u8], kind: ContentKind) {
    let [name, kind_name] = names;
    if kind == ContentKind::Json && is_embeddable(bytes) {
        let _ = write!(out, r#","{name}":"#);
        out.extend_from_slice(bytes);
        return;
    }
    let _ = write!(out, r#","{name}_base64":"{}""#, BASE64.encode(bytes));
    if kind == ContentKind::Json {
        let _ = write!(out, r#","{kind_name}":"json""#);
    }
}

/// Whether an import of a line that holds these bytes as a value finds exactly them.
fn is_embeddable(bytes: &[u8]) -> bool {
    !bytes.contains(&b'\n')
        && serde_json::from_slice::<&RawValue>(bytes)
            .is_ok_and(|value| value.get().len() == bytes.len())
}

fn string(out: &mut Vec<u8>, text: &str) {
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clock::Timestamp;
    use crate::format::checksum::LogSalt;
    use crate::format::event::{self, Place};
    use crate::{ChunkNumber, Position, StreamVersion};

    fn recorded(stream: &str, event: &NewEvent) -> RecordedEvent {
        let salt = LogSalt::new(Uuid::from_u128(1));
        let mut bytes = Vec::new();
        event::encode(&mut bytes, salt, stream, event, Place::First(None)).unwrap();
        let salt = salt.chunk(ChunkNumber::FIRST);
        let (version, time) = (StreamVersion::new(2), Timestamp::from_nanos(1));
        event::stamp(&mut bytes, salt, Position::new(7), version, time);
        event::decode(&Bytes::from(bytes), salt, Position::new(7)).unwrap()
    }

    fn line(stream: &str, event: &NewEvent) -> String {
        let mut out = Vec::new();
        write(&mut out, &recorded(stream, event));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_kind_of_content_comes_back() {
        let contents: [&[u8]; 14] = [
            b"",
            b"null",
            b"{}",
            b" {}",
            b"{} ",
            b"{\n}",
            b"{ \"a\" : 1.0e+9 }",
            b"[1,",
            b"{}{}",
            b"\xff\x00",
            b"\"\xff\"",
            b"\"\\ud800\"",
            b"\"\xc3\xa9\"",
            b"tru\r",
        ];
        let kinds = [ContentKind::Bytes, ContentKind::Json];
        for (data, data_kind) in contents.iter().flat_map(|data| kinds.map(|kind| (data, kind))) {
            for (other, kind) in contents.iter().flat_map(|other| kinds.map(|kind| (other, kind))) {
                let event = NewEvent::new("T\"y\n", data).data_kind(data_kind);
                let event = event.metadata(other, kind).tag("a\\b").tag("\u{1f}");
                let text = line("s \u{e9}", &event);
                assert_eq!(text.matches('\n').count(), 1, "{text}");
                assert_eq!(parse(text.as_bytes()), Ok(("s \u{e9}".to_owned(), event)), "{text}");
            }
        }
    }

    #[test]
    fn fields_stand_in_a_fixed_order() {
        let id = Uuid::from_u128(5);
        let event = NewEvent::json("T", "{\"a\": 1}").id(id).tag("x").tag("y");
        assert_eq!(
            line("s", &event),
            "{\"position\":7,\"version\":2,\"time\":\"1970-01-01T00:00:00.000000001Z\",\
             \"stream\":\"s\",\"type\":\"T\",\"id\":\"00000000-0000-0000-0000-000000000005\",\
             \"data\":{\"a\": 1},\"tags\":[\"x\",\"y\"]}\n"
        );
        let bytes = line("s", &NewEvent::new("T", "").id(id));
        assert!(bytes.ends_with(",\"data_base64\":\"\"}\n"), "{bytes}");
    }

    #[test]
    fn a_missing_id_is_made_and_null_is_a_value() {
        let (_, event) = parse(br#"{"stream":"s","type":"t","data":null}"#).unwrap();
        assert_eq!((event.data(), event.data_kind), (&b"null"[..], ContentKind::Json));
        assert!(!event.event_id().is_nil());
        let none = br#"{"stream":"s","type":"t","id":null,"kind":null,"tags":null}"#;
        assert_eq!(parse(none).unwrap().1.tags.len(), 0);
    }

    #[test]
    fn bad_lines_are_refused_with_the_reason() {
        let cases = [
            (r#"{"stream":"s","type":"t","date":1}"#, "unknown field `date`"),
            (r#"{"stream":"s","stream":"s","type":"t"}"#, "duplicate field `stream`"),
            (r#"{"type":"t"}"#, "missing field `stream`"),
            (r#"{"stream":"s","type":"t","data":1,"data_base64":""}"#, "both data and"),
            (r#"{"stream":"s","type":"t","data_base64":"*"}"#, "data_base64: "),
            (r#"{"stream":"s","type":"t","id":"5"}"#, "not a UUID"),
            (r#"{"stream":"s","type":"t","kind":"xml"}"#, "unknown variant `xml`"),
            (r#"{"stream":"s","type":"t"}}"#, "trailing characters, at column 26"),
            (r#"{"stream":"s","#, "not JSON: EOF while parsing"),
            ("[1]", "not a JSON object, near `[1]`"),
            (r#"["s","t"]"#, "not a JSON object"),
            ("5", "not a JSON object"),
            ("hello", "not JSON: expected value, at column 1, near `hello`"),
            ("{\"a\u{1b}", "near `{\"a\\u{1b}`"),
            (r#"{"stream":"s","type":5}"#, "expected a string"),
            (r#"{"stream":"s","type":"t","kind":5}"#, "expected"),
        ];
        for (line, reason) in cases {
            let error = parse(line.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{line}: {error}");
            let is_json = serde_json::from_str::<serde_json::Value>(line).is_ok();
            assert_ne!(error.starts_with("not JSON:"), is_json, "{line}: {error}");
            let names = ["struct ", "enum ", "Line", "Kind", "RawValue", "borrowed"];
            assert!(names.iter().all(|name| !error.contains(name)), "{line}: {error}");
        }
    }
}
