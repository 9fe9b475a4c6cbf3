//! Owns the fuzz target of lines from stdin: where they end, and the event of each.
//!
//! Promises: panics where lines are cut otherwise than at their ends, however they arrive, or where
//! an event that was read from a line and can be stored is not written to a line that gives it
//! back. Compiled for tests and fuzzers only.

use std::io;

use bytes::Bytes;
use uuid::Uuid;

use super::line;
use super::lines::{Lines, Next, Source};
use crate::clock::Timestamp;
use crate::format::checksum::LogSalt;
use crate::format::event::{self, Place};
use crate::position::ChunkNumber;
use crate::{NewEvent, Position, RecordedEvent, StreamVersion};

/// Gives bytes in pieces of some sizes, with pauses.
struct Pieces<'a> {
    bytes: &'a [u8],
    state: u32,
}

impl Source for Pieces<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<Option<usize>> {
        self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let wanted = (self.state >> 24) as usize;
        if wanted == 0 {
            return Ok(None);
        }
        let length = wanted.min(bytes.len()).min(self.bytes.len());
        let (piece, behind) = self.bytes.split_at(length);
        bytes[..length].copy_from_slice(piece);
        self.bytes = behind;
        Ok(Some(length))
    }
}

/// Reads lines, and the event of each.
pub fn lines(data: &[u8]) {
    let seed = data.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let mut lines = Lines::new(Pieces { bytes: data, state: seed });
    let text = data.strip_suffix(b"\n").unwrap_or(data);
    let mut expected = text.split(|byte| *byte == b'\n').filter(|_| !data.is_empty());
    let mut is_first = true;
    loop {
        match lines.next().expect("a slice can be read") {
            Next::Idle => {}
            Next::TooLong => panic!("no input is that long"),
            Next::End => break,
            Next::Line(line) => {
                let whole = expected.next().expect("no line is made up");
                let mark = if is_first { &b"\xef\xbb\xbf"[..] } else { b"" };
                assert_eq!(line, whole.strip_prefix(mark).unwrap_or(whole).trim_ascii());
                is_first = false;
                check(line);
            }
        }
    }
    assert_eq!(expected.next(), None, "every line is told");
}

fn check(line: &[u8]) {
    let is_json = line::json(line).is_ok();
    match line::parse(line) {
        Ok((stream, event)) => {
            assert!(is_json, "an event stands in JSON");
            let Some(stored) = stored(&stream, &event) else { return };
            let mut again = Vec::new();
            line::write(&mut again, &stored);
            let end = again.pop();
            assert!(end == Some(b'\n') && !again.contains(&b'\n'), "one event is one line");
            assert_eq!(line::parse(&again), Ok((stream, event)), "{stored:?}");
        }
        Err(reason) => assert!(!reason.is_empty()),
    }
}

/// The event as a log gives it back; `None` where none takes it.
fn stored(stream: &str, event: &NewEvent) -> Option<RecordedEvent> {
    let salt = LogSalt::new(Uuid::nil());
    let (chunk, time) = (salt.chunk(ChunkNumber::FIRST), Timestamp::from_nanos(1));
    let mut bytes = Vec::new();
    event::encode(&mut bytes, salt, stream, event, Place::First(None)).ok()?;
    event::stamp(&mut bytes, chunk, Position::START, StreamVersion::FIRST, time);
    let decoded = event::decode(&Bytes::from(bytes), chunk, Position::START);
    Some(decoded.expect("what was encoded decodes"))
}
