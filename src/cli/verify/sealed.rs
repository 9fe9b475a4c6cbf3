//! Owns the verification of what a sealed chunk adds to its groups: footer, sections, and an index
//! that tells the truth.
//!
//! Promises: an index that passes answers every lookup as a scan of the groups does. Content is
//! compared only where no damage has hidden an event, because a right index and a wrong one both
//! differ from what is left.

use std::io;

use super::super::show;
use super::super::walk::Pieces;
use super::chunk::Walk;
use crate::error::Damage;
use crate::format::footer::Footer;
use crate::format::header::ChainEnd;
use crate::index::key::KeyKind;
use crate::index::memory::KeyPostings;
use crate::index::table::{Table, TableFlaw};

impl Walk<'_> {
    /// Verifies the rest of a sealed chunk, whose groups are walked.
    pub(super) fn sealed(&mut self, footer: &Footer) -> io::Result<()> {
        self.told.counts.sealed = 1;
        self.told.is_sealed = true;
        self.footer_fields(footer);
        self.gaps(footer)?;
        if self.sections(footer)? {
            self.index(footer)?;
        }
        Ok(())
    }

    fn footer_fields(&mut self, footer: &Footer) {
        let place = (self.number, footer.offset());
        let (at, began) = (self.at, self.told.first);
        let Self { told, number, index, is_whole, .. } = self;
        let mut unfit = |what, expected: String, found: String| {
            if expected != found {
                told.damage.add(Damage::new(place, what, expected, found));
            }
        };
        unfit("chunk number in the footer", number.to_string(), footer.number.to_string());
        let Some(index) = index.as_ref().filter(|_| *is_whole) else { return };
        let end = |end: ChainEnd| format!("chain {:#018x} at {}", end.chain, end.data_end);
        unfit("end of the chunk in the footer", end(at.end()), end(footer.end));
        let first = at.position.get().saturating_sub(index.event_count().into());
        unfit("first position in the footer", first.to_string(), footer.first_position.to_string());
        unfit("number of events", index.event_count().to_string(), footer.ordinals.to_string());
        unfit("number of keys", index.keys().count().to_string(), footer.keys.to_string());
        let last = show::exact_time(at.time);
        unfit("time of the last event", last, show::exact_time(footer.last_time));
        if let Some((_, first)) = began {
            let first = show::exact_time(first);
            unfit("time of the first event", first, show::exact_time(footer.first_time));
        }
        let log = self.told.header.as_ref().map(|header| header.log).or(self.known.log);
        if let Some(log) = log.filter(|log| *log != footer.log) {
            self.told.damage.add(Damage::new(place, "log id in the footer", log, footer.log));
        }
    }

    /// What lies between groups, sections and footer is zero.
    fn gaps(&mut self, footer: &Footer) -> io::Result<()> {
        let mut behind = footer.end.data_end;
        for range in footer.parts() {
            if !self.pieces.is_zero(behind..range.start)? {
                let damage = Damage::new((self.number, behind), "unused bytes", "zeros", "others");
                self.told.damage.add(damage);
            }
            behind = range.end;
        }
        Ok(())
    }

    /// Whether the checksums of all sections fit.
    fn sections(&mut self, footer: &Footer) -> io::Result<bool> {
        let mut are_sound = true;
        for section in &footer.sections {
            let bytes = self.pieces.bytes(section.offset, section.length)?;
            let expected = self.salt.at_place(section.offset, &bytes);
            let range = section.offset..section.end();
            if self.pieces.has_gap(&range) {
                are_sound = false;
            } else if expected != section.checksum {
                let what = match section.kind {
                    1 => "checksum of the section of offsets",
                    2 => "checksum of the section of keys",
                    3 => "checksum of the section of names",
                    4 => "checksum of the section of postings",
                    5 => "checksum of the filter",
                    _ => "checksum of a section of an unknown kind",
                };
                let [expected, found] =
                    [expected, section.checksum].map(|checksum| format!("{checksum:#010x}"));
                self.told.damage.add(Damage::new(
                    (self.number, section.offset),
                    what,
                    expected,
                    found,
                ));
                are_sound = false;
            }
        }
        Ok(are_sound)
    }

    /// Compares the index with what the groups hold.
    fn index(&mut self, footer: &Footer) -> io::Result<()> {
        let table = match read_table(&mut self.pieces, footer)? {
            Ok(table) => table,
            Err(what) => {
                let place = (self.number, footer.offset());
                self.told.damage.add(Damage::new(place, what, "a sound one", "another"));
                return Ok(());
            }
        };
        if let Err(flaw) = table.check() {
            self.told.damage.add(flaw.in_chunk(self.number));
        } else if self.is_whole {
            self.compare(&table, footer);
        }
        Ok(())
    }

    fn compare(&mut self, table: &Table, footer: &Footer) {
        let place = (self.number, footer.offset());
        let mut flaws = Vec::new();
        let Some(index) = &self.index else { return };
        for (ordinal, offset) in (0..).zip(index.offsets()) {
            match table.offset(ordinal) {
                Ok(Some(found)) if found == *offset => {}
                Ok(found) => {
                    let found = found.map_or("none".to_owned(), |found| found.to_string());
                    let what = "offset of an event in the index";
                    flaws.push(Damage::new(place, what, offset, found));
                }
                Err(flaw) => flaws.push(flaw.in_chunk(self.number)),
            }
        }
        for key in index.keys() {
            match differs(table, &key) {
                Ok(None) => {}
                Ok(Some((expected, found))) => {
                    let what = "events of a key in the index";
                    let expected = format!("{expected} for {}", name(&key));
                    flaws.push(Damage::new(place, what, expected, found));
                }
                Err(flaw) => flaws.push(flaw.in_chunk(self.number)),
            }
        }
        flaws.into_iter().for_each(|flaw| self.told.damage.add(flaw));
    }
}

/// The index of a sealed chunk, read by calls.
pub(super) fn read_table(
    pieces: &mut Pieces,
    footer: &Footer,
) -> io::Result<Result<Table, &'static str>> {
    let mut sections = Vec::with_capacity(footer.sections.len());
    for section in &footer.sections {
        sections.push((section.kind, pieces.bytes(section.offset, section.length)?));
    }
    Ok(Table::of_sections(footer, &|place| {
        let section = sections.iter().find(|(kind, _)| *kind == place.kind);
        section.map(|(_, bytes)| bytes.clone())
    }))
}

/// How the table's answer for a key differs from that of the scan.
fn differs(table: &Table, key: &KeyPostings<'_>) -> Result<Option<(String, String)>, TableFlaw> {
    let count = |count: usize| show::counted(count as u64, "event");
    let expected = key.postings.len();
    let Some(found) = table.find(&key.key)? else {
        return Ok(Some((count(expected), "none".to_owned())));
    };
    if found.first_version != key.first_version {
        let [expected, found] = [key.first_version, found.first_version]
            .map(|version| format!("first version {version}"));
        return Ok(Some((expected, found)));
    }
    let (stored, _) = found.postings.as_chunks();
    if !stored.iter().map(|ordinal| u32::from_le_bytes(*ordinal)).eq(key.postings.iter().copied()) {
        let found = format!("{}, not the same", count(stored.len()));
        return Ok(Some((count(expected), found)));
    }
    Ok(None)
}

fn name(key: &KeyPostings<'_>) -> String {
    let kind = match key.key.kind {
        KeyKind::Stream => "stream",
        KeyKind::Category => "category",
        KeyKind::Type => "type",
        KeyKind::Tag => "tag",
        KeyKind::Operation => return "an operation id".to_owned(),
    };
    format!("{kind} {:?}", String::from_utf8_lossy(key.key.name))
}
