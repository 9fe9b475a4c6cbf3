//! Owns the group that is being gathered: its bytes as they will be written, and the answers that
//! wait for it.
//!
//! Promises: a payload is copied once, into a buffer that is used again and again; nothing is
//! allocated per event.

use crate::clock::Timestamp;
use crate::format::GROUP_HEADER_SIZE;
use crate::format::checksum::ChunkSalt;
use crate::format::event::{self, Layout};
use crate::format::group::GroupHeader;
use crate::position::{Position, StreamVersion};
use crate::stage::pending::Answer;

const HEADER: usize = GROUP_HEADER_SIZE as usize;

/// The group.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// The chunk's header if the group begins a chunk, then the group's header, then its events.
    buffer: Vec<u8>,
    /// Length of the chunk's header in the buffer.
    lead: usize,
    pub(crate) events: u32,
    appends: u32,
    pub(crate) time: Timestamp,
    pub(crate) answers: Vec<Answer>,
}

impl Group {
    /// Begins a new group behind the bytes that `lead` writes.
    pub(crate) fn begin(&mut self, time: Timestamp, lead: impl FnOnce(&mut Vec<u8>)) {
        self.buffer.clear();
        lead(&mut self.buffer);
        self.lead = self.buffer.len();
        self.buffer.resize(self.lead + HEADER, 0);
        self.events = 0;
        self.appends = 0;
        self.time = time;
    }

    /// Whether nothing waits in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.events == 0 && self.answers.is_empty()
    }

    /// Length of the group as it will stand in the file.
    pub(crate) fn length(&self) -> usize {
        self.buffer.len() - self.lead
    }

    /// The bytes that were completed last.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Stamps the events of an encoded append and adds them. `version` gives the version of the
    /// event of each number. Returns how many they are.
    pub(crate) fn add(
        &mut self,
        encoded: &mut [u8],
        salt: ChunkSalt,
        first: Position,
        mut version: impl FnMut(u32) -> StreamVersion,
    ) -> u32 {
        let (mut start, mut events) = (0, 0);
        while let Some(layout) = Layout::of(&encoded[start..]) {
            let bytes = &mut encoded[start..start + layout.padded_length()];
            event::stamp(bytes, salt, first.plus(events.into()), version(events), self.time);
            (start, events) = (start + bytes.len(), events + 1);
        }
        assert_eq!(start, encoded.len(), "an encoded append is whole");
        self.buffer.extend_from_slice(encoded);
        self.events += events;
        self.appends += 1;
        events
    }

    /// Completes the group that will stand at `offset`. Returns the bytes to write, where, and its
    /// chain value.
    pub(crate) fn close(
        &mut self,
        salt: ChunkSalt,
        (offset, previous_chain): (u64, u64),
        (first_position, durable_through): (Position, Position),
    ) -> (&[u8], u64, u64) {
        let body = self.length() - HEADER;
        let header = GroupHeader {
            previous_chain,
            first_position,
            durable_through,
            time: self.time,
            body_length: u32::try_from(body).expect("a group is far below 4 GiB"),
            events: self.events,
            appends: self.appends,
        };
        let chain = header.close(&mut self.buffer[self.lead..], salt, offset);
        (&self.buffer, offset - self.lead as u64, chain)
    }
}
