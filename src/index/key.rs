//! Owns keys: what an index finds events by, and the hash that stands for a key on disk.
//!
//! Promises: the hash is XXH3-64 with seed 0 of the kind byte and the name, so the same on every
//! machine; hashing never allocates. Keys of one hash are told apart by kind and name. Assumes
//! nothing of a name. Never stores events.

use uuid::Uuid;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

/// What a key names. The numbers are those of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum KeyKind {
    /// A stream.
    Stream,
    /// The category of streams.
    Category,
    /// An event type.
    Type,
    /// A tag.
    Tag,
    /// An operation id, whose name is its 16 raw bytes.
    Operation,
}

impl KeyKind {
    /// The byte that stands for this kind on disk.
    pub(crate) const fn to_u8(self) -> u8 {
        match self {
            Self::Stream => 1,
            Self::Category => 2,
            Self::Type => 3,
            Self::Tag => 4,
            Self::Operation => 5,
        }
    }

    /// The kind that a stored byte stands for.
    #[cfg(any(test, feature = "cli"))]
    pub(crate) const fn from_u8(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Stream),
            2 => Some(Self::Category),
            3 => Some(Self::Type),
            4 => Some(Self::Tag),
            5 => Some(Self::Operation),
            _ => None,
        }
    }
}

/// A key: a kind and a name of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key<'a> {
    pub(crate) kind: KeyKind,
    pub(crate) name: &'a [u8],
}

impl<'a> Key<'a> {
    pub(crate) fn stream(name: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { kind: KeyKind::Stream, name: name.as_ref() }
    }

    pub(crate) fn category(name: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { kind: KeyKind::Category, name: name.as_ref() }
    }

    pub(crate) fn event_type(name: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { kind: KeyKind::Type, name: name.as_ref() }
    }

    pub(crate) fn tag(name: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { kind: KeyKind::Tag, name: name.as_ref() }
    }

    pub(crate) fn operation(id: &'a Uuid) -> Self {
        Self { kind: KeyKind::Operation, name: id.as_bytes() }
    }

    /// The hash that stands for this key on disk.
    pub(crate) fn hash(&self) -> u64 {
        // Nearly all names fit; one call over the whole input is several times as fast as a
        // streaming state.
        let mut buffer = [0; 129];
        let kind = self.kind.to_u8();
        if let Some(input) = buffer.get_mut(..self.name.len().saturating_add(1)) {
            input[0] = kind;
            input[1..].copy_from_slice(self.name);
            return xxh3_64(input);
        }
        let mut state = Xxh3Default::new();
        state.update(&[kind]);
        state.update(self.name);
        state.digest()
    }
}

/// When a time-ordered operation id (UUID version 7, RFC 9562) was made, in milliseconds since
/// 1970; `None` of other ids.
pub(crate) fn made_at(operation: &[u8]) -> Option<u64> {
    let id = Uuid::from_slice(operation).ok().filter(|id| id.get_version_num() == 7)?;
    Some((id.as_u128() >> 80) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_format() {
        // Computed by the reference implementation.
        assert_eq!(Key::stream("cart-7").hash(), 0xa454_768e_7525_627b);
        assert_eq!(Key::operation(&Uuid::from_u128(7)).hash(), 0x4ce4_8f2d_9231_2dd7);
        assert_eq!(Key::tag(&"n".repeat(1024)).hash(), 0xb6e8_d323_38ed_2b51);
    }

    #[test]
    fn long_names_hash_as_short_ones_do() {
        for length in [0, 1, 127, 128, 129, 239, 240, 241, 1024, 5000] {
            let name = "n".repeat(length);
            let whole = ["\x04", &name].concat();
            assert_eq!(Key::tag(&name).hash(), xxh3_64(whole.as_bytes()), "length {length}");
        }
    }

    #[test]
    fn kinds_have_hashes_of_their_own() {
        let keys = [Key::stream("a"), Key::category("a"), Key::event_type("a"), Key::tag("a")];
        for (index, key) in keys.iter().enumerate() {
            assert!(keys[..index].iter().all(|other| other.hash() != key.hash()));
        }
    }

    #[test]
    fn kinds_come_back() {
        let kinds: Vec<u8> =
            (0..=u8::MAX).filter_map(KeyKind::from_u8).map(KeyKind::to_u8).collect();
        assert_eq!(kinds, [1, 2, 3, 4, 5]);
    }
}
