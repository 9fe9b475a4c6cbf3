//! Owns what a disk in memory knows of each file and entry: how programs see it, how it is on the
//! medium, and in which order the changes came that are not synced.
//!
//! Promises: a loss of power leaves what was synced and of the rest exactly what is chosen: each
//! sector of 512 bytes whole or not, in any of its versions, and each size and entry by itself.
//! Assumes that a sync of a file makes its bytes and size durable, and not its entry. Knows nothing
//! of handles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::image::{Image, SECTOR, Sector};
use super::landed::Landed;

/// The files of a directory. A copy shares what neither changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Medium {
    files: Vec<File>,
    /// The files' numbers by name, as programs see them and as they are durable.
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    unsynced: Vec<Unit>,
    /// How often something became durable.
    pub(super) syncs: u64,
    /// Syncs are answered and not done (F16).
    pub(super) lies: bool,
}

#[derive(Clone, Debug, Default)]
struct File {
    live: Image,
    durable: Image,
    /// Sectors that have unsynced versions.
    pending: BTreeSet<usize>,
}

/// The smallest change that is on the medium or is not.
#[derive(Clone, Debug)]
enum Unit {
    Entry(EntryChange),
    Size { file: usize, size: usize },
    Sector { file: usize, index: usize, bytes: Arc<Sector> },
}

/// A change of the directory.
#[derive(Clone, Debug)]
enum EntryChange {
    Create { name: String, file: usize },
    Rename { from: String, to: String },
}

impl EntryChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create { name, file } => _ = names.insert(name.clone(), *file),
            Self::Rename { from, to } => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }

    fn is_of(&self, name: &str) -> bool {
        match self {
            Self::Create { name: of, .. } => of == name,
            Self::Rename { from, to } => from == name || to == name,
        }
    }
}

/// What a unit changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum UnitKind {
    /// The entry of a file in the directory.
    Entry,
    /// The size of a file.
    Size,
    /// A sector of a file.
    Sector,
}

impl Medium {
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.live.keys()
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.live.get(name).copied()
    }

    pub(super) fn image(&self, file: usize) -> &Image {
        &self.files[file].live
    }

    /// Makes a new, empty file, whose entry is not durable yet.
    pub(super) fn create(&mut self, name: &str) -> usize {
        let file = self.files.len();
        self.files.push(File::default());
        let change = EntryChange::Create { name: name.to_owned(), file };
        change.apply(&mut self.live);
        self.unsynced.push(Unit::Entry(change));
        file
    }

    /// Gives a file another name, which is not durable yet. Nothing has that name.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        let change = EntryChange::Rename { from: from.to_owned(), to: to.to_owned() };
        change.apply(&mut self.live);
        self.unsynced.push(Unit::Entry(change));
    }

    /// Puts a file in place of any other of this name, durably.
    pub(super) fn put(&mut self, name: &str, image: Image) {
        self.remove(name);
        let file = self.files.len();
        self.files.push(File { durable: image.clone(), live: image, pending: BTreeSet::new() });
        self.live.insert(name.to_owned(), file);
        self.durable.insert(name.to_owned(), file);
    }

    /// Takes a file away, durably.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        self.unsynced.retain(|unit| !matches!(unit, Unit::Entry(change) if change.is_of(name)));
        self.durable.remove(name);
        self.live.remove(name).is_some()
    }

    pub(super) fn grow(&mut self, file: usize, size: usize) {
        let live = &mut self.files[file].live;
        if size > live.size() {
            live.grow(size);
            self.unsynced.push(Unit::Size { file, size });
        }
    }

    pub(super) fn write(&mut self, file: usize, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        self.grow(file, end);
        let File { live, durable, pending } = &mut self.files[file];
        live.write(offset, bytes);
        for index in offset / SECTOR..end.div_ceil(SECTOR) {
            let sector = live.sector(index);
            // What is on the medium already is there whether the write lands or not.
            if pending.contains(&index) || durable.sector(index) != sector {
                pending.insert(index);
                self.unsynced.push(Unit::Sector { file, index, bytes: Arc::new(sector) });
            }
        }
    }

    pub(super) fn sync(&mut self, file: usize) {
        if self.lies {
            return;
        }
        let before = self.unsynced.len();
        self.unsynced.retain(|unit| match unit {
            Unit::Size { file: of, .. } | Unit::Sector { file: of, .. } => *of != file,
            Unit::Entry(_) => true,
        });
        let File { live, durable, pending } = &mut self.files[file];
        pending.clear();
        *durable = live.clone();
        self.syncs += u64::from(self.unsynced.len() < before);
    }

    pub(super) fn sync_directory(&mut self) {
        if self.lies {
            return;
        }
        let (before, durable) = (self.unsynced.len(), &mut self.durable);
        self.unsynced.retain(|unit| match unit {
            Unit::Entry(change) => {
                change.apply(durable);
                false
            }
            _ => true,
        });
        self.syncs += u64::from(self.unsynced.len() < before);
    }

    /// The same files, all of them durable.
    pub(super) fn synced(&self) -> Self {
        let mut copy = Self::default();
        for (name, file) in &self.live {
            copy.put(name, self.files[*file].live.clone());
        }
        copy
    }

    /// The files as they are after a loss of power at which of the unsynced units these landed.
    pub(super) fn crash(&self, landed: &Landed) -> Self {
        let mut names = self.durable.clone();
        let mut images: Vec<_> = self.files.iter().map(|file| file.durable.clone()).collect();
        let chosen = || self.unsynced.iter().enumerate().filter(|(unit, _)| landed.contains(*unit));
        // Sizes first: a sector shows as far as the size reaches that the file has in the end.
        for (_, unit) in chosen() {
            match unit {
                Unit::Entry(change) => change.apply(&mut names),
                Unit::Size { file, size } => images[*file].grow(*size),
                Unit::Sector { .. } => {}
            }
        }
        for (_, unit) in chosen() {
            if let Unit::Sector { file, index, bytes } = unit {
                images[*file].set_sector(*index, bytes);
            }
        }
        let mut copy = Self::default();
        for (name, file) in names {
            copy.put(&name, std::mem::take(&mut images[file]));
        }
        copy
    }

    /// What each unsynced unit changes, in the order in which they came.
    pub(super) fn units(&self) -> Vec<UnitKind> {
        let kind = |unit: &Unit| match unit {
            Unit::Entry(_) => UnitKind::Entry,
            Unit::Size { .. } => UnitKind::Size,
            Unit::Sector { .. } => UnitKind::Sector,
        };
        self.unsynced.iter().map(kind).collect()
    }

    /// The unsynced units that change the same place, for each place in the order of writing. Only
    /// the last of them that landed counts.
    pub(super) fn places(&self) -> Vec<Vec<usize>> {
        let mut places: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (number, unit) in self.unsynced.iter().enumerate() {
            let place = match unit {
                Unit::Entry(EntryChange::Create { file, .. }) => (UnitKind::Entry, *file, 0),
                // A rename takes the place of no other change.
                Unit::Entry(EntryChange::Rename { .. }) => (UnitKind::Entry, usize::MAX, number),
                Unit::Size { file, .. } => (UnitKind::Size, *file, 0),
                Unit::Sector { file, index, .. } => (UnitKind::Sector, *file, *index),
            };
            places.entry(place).or_default().push(number);
        }
        places.into_values().collect()
    }

    pub(super) fn describe(&self, unit: usize) -> String {
        let name = |file: usize| {
            let names = self.live.iter().find(|(_, of)| **of == file);
            names.map_or("a removed file", |(name, _)| name)
        };
        match &self.unsynced[unit] {
            Unit::Entry(EntryChange::Create { name, .. }) => format!("entry {name}"),
            Unit::Entry(EntryChange::Rename { from, to }) => format!("name {to} of {from}"),
            Unit::Size { file, size } => format!("size {} of {}", size, name(*file)),
            Unit::Sector { file, index, .. } => format!("sector {} of {}", index, name(*file)),
        }
    }
}
