//! Owns the full check of a sealed chunk's index, for `verify`.
//!
//! Promises: a table that passes has every section as it was written and answers every lookup
//! without a flaw. Reads all of it, so it is never part of opening. Says nothing about whether the
//! index fits the events.

use super::{OFFSET_SIZE, Row, Table, TableFlaw, below};
use crate::index::key::{Key, KeyKind};
use crate::index::{ORDINAL_SIZE, filter};

impl Table {
    /// Checks the checksum of every section and that the sections fit each other; the first flaw
    /// found.
    pub(crate) fn check(&self) -> Result<(), TableFlaw> {
        let known = [&self.offsets, &self.keys, &self.names, &self.postings, &self.filter];
        for part in known.into_iter().chain(&self.operations).chain(&self.others) {
            part.sound()?;
        }
        self.check_offsets()?;
        let mut before = None;
        for (index, row) in self.rows()?.iter().map(Row::decode).enumerate() {
            let name = self.check_row(index, &row)?;
            let order = (row.hash, row.kind, name);
            if before.is_some_and(|before| before >= order) {
                return Err(self.row_flaw(
                    index,
                    "order of the keys",
                    &"a later key",
                    &"an earlier",
                ));
            }
            before = Some(order);
            self.check_postings(index, &row)?;
        }
        Ok(())
    }

    fn check_offsets(&self) -> Result<(), TableFlaw> {
        let mut before = 0;
        for ordinal in 0..self.ordinals {
            let Some(offset) = self.offset(ordinal)? else {
                continue;
            };
            if offset <= before {
                let (at, what) = (ordinal as usize * OFFSET_SIZE, "offset of an event");
                return Err(self.offsets.flaw(at, what, &format!("above {before}"), &offset));
            }
            before = offset;
        }
        Ok(())
    }

    /// The name of a row that is sound in itself.
    fn check_row(&self, index: usize, row: &Row) -> Result<&[u8], TableFlaw> {
        let flaw =
            |what, expected: &str, found: String| self.row_flaw(index, what, &expected, &found);
        let name = self.name(index, row)?;
        let Some(kind) = KeyKind::from_u8(row.kind) else {
            return Err(flaw("kind of a key", "1 to 5", row.kind.to_string()));
        };
        let sound = match kind {
            KeyKind::Operation => name.len() == 16,
            // The category of a stream whose name begins with `-` is empty.
            KeyKind::Category => std::str::from_utf8(name).is_ok(),
            _ => !name.is_empty() && std::str::from_utf8(name).is_ok(),
        };
        if !sound {
            return Err(flaw("name of a key", "a name of its kind", format!("{name:?}")));
        }
        let hash = Key { kind, name }.hash();
        if row.hash != hash {
            return Err(flaw("hash of a key", &hash.to_string(), row.hash.to_string()));
        }
        if row.reserved != 0 {
            return Err(flaw("reserved byte of a key", "0", row.reserved.to_string()));
        }
        if kind != KeyKind::Stream && row.first_version != 0 {
            return Err(flaw("first version of a key", "0", row.first_version.to_string()));
        }
        if !filter::may_contain(self.filter.sound()?, hash) {
            return Err(self.filter.flaw(0, "filter", &"every key", &format!("not key {index}")));
        }
        if kind == KeyKind::Operation && !self.may_know_operation(name)? {
            let times = self.operations.as_ref().unwrap_or(&self.keys);
            let (what, found) = ("times of operation ids", format!("not that of key {index}"));
            return Err(times.flaw(0, what, &"that of every key", &found));
        }
        Ok(name)
    }

    fn check_postings(&self, index: usize, row: &Row) -> Result<(), TableFlaw> {
        let found = self.found(index, row)?;
        let mut least = 0;
        for (place, ordinal) in found.postings.as_chunks().0.iter().enumerate() {
            let ordinal = u32::from_le_bytes(*ordinal);
            if !(least..self.ordinals).contains(&ordinal) {
                let at = (row.posting as usize + place) * ORDINAL_SIZE;
                let expected = format!("at least {least}, {}", below(self.ordinals));
                return Err(self.postings.flaw(at, "ordinal of an event", &expected, &ordinal));
            }
            least = ordinal + 1;
        }
        Ok(())
    }
}
