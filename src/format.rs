//! Owns the bytes of every file: encoders and decoders between values and slices, as drawn in
//! `docs/format.md`.
//!
//! Promises: no length is trusted before its checksum, no decoder reads outside its slice,
//! allocates by a stored length or panics on any input. Assumes nothing of the bytes. Never does
//! IO.

pub(crate) mod checksum;
pub(crate) mod event;
pub(crate) mod footer;
pub(crate) mod group;
pub(crate) mod header;
pub(crate) mod hint;
#[cfg(any(test, fuzzing))]
pub(crate) mod mend;
pub(crate) mod stats;
mod wire;

/// The format version that this crate writes and reads.
pub(crate) const VERSION: u32 = 1;
/// Size of a chunk header, and of a footer: one page, so that neither shares a page with data.
pub(crate) const CHUNK_HEADER_SIZE: u64 = 4096;
/// Size of a group header.
pub(crate) const GROUP_HEADER_SIZE: u64 = 64;
/// Groups, events and sections begin at multiples of this.
pub(crate) const ALIGNMENT: u64 = 8;

const _: () = {
    assert!(GROUP_HEADER_SIZE.is_multiple_of(ALIGNMENT), "the first event of a group is aligned");
    assert!(crate::options::TAGS_MAX <= u8::MAX as usize, "a tag count fits its field");
    assert!(
        crate::options::TAGS_MAX * (2 + crate::options::TAG_MAX) <= u16::MAX as usize,
        "the length of all tags fits its field"
    );
    assert!(crate::options::CHUNK_SIZE_MAX <= u32::MAX as u64, "an offset fits the offset table");
};

pub(crate) use wire::{Fields, is_zero, pad, page, trimmed};
