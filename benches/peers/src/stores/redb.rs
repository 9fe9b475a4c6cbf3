//! Owns redb: default settings, numbers as keys, one transaction per group behind our writer
//! thread, `Durability::Immediate`.

use std::path::Path;

use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};

use crate::grouped::{Engine, Grouped, Job};
use crate::store::{Peer, Reading, Result, Visit};

pub const PEER: Peer = Peer {
    name: "redb",
    package: "redb",
    durable: "Durability::Immediate per transaction",
    groups: "our wrapper",
    checked: "no (pages are checked in repair)",
    keeps: "number",
    events_max: u64::MAX,
    starts: true,
    append: |directory| Ok(Grouped::behind(Redb::open(directory)?)),
    load: |directory| Ok(Grouped::behind(Redb::open(directory)?)),
    read: open_to_read,
};

const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");

struct Redb {
    database: Database,
    next: u64,
}

impl Redb {
    fn open(directory: &Path) -> Result<Self> {
        Ok(Self { database: Database::create(directory.join("redb"))?, next: 0 })
    }
}

fn open_to_read(directory: &Path) -> Result<Box<dyn Reading>> {
    let database = Redb::open(directory)?.database;
    let table = database.begin_read()?.open_table(EVENTS)?;
    Ok(Box::new(Reader { table, _database: database }))
}

impl Engine for Redb {
    fn commit(&mut self, group: &[Job]) -> Result {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut table = transaction.open_table(EVENTS)?;
            for event in group.iter().flat_map(|job| &job.events) {
                table.insert(self.next, event.as_slice())?;
                self.next += 1;
            }
        }
        Ok(transaction.commit()?)
    }
}

struct Reader {
    table: ReadOnlyTable<u64, &'static [u8]>,
    _database: Database,
}

impl Reading for Reader {
    fn scan(&mut self, visit: Visit<'_>) -> Result<bool> {
        for event in self.table.iter()? {
            visit(event?.1.value());
        }
        Ok(true)
    }

    fn point(&mut self, number: u64, visit: Visit<'_>) -> Result<bool> {
        if let Some(event) = self.table.get(number)? {
            visit(event.value());
        }
        Ok(true)
    }
}
