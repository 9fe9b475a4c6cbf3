//! Owns SQLite through rusqlite: WAL, `synchronous = FULL`, 64 MiB of cache, checkpoints as by
//! default, one transaction per group behind our writer thread. Once as numbered payloads, once as
//! a table of events with streams and versions, as people build event stores on it.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, params};

use crate::grouped::{Engine, Grouped, Job};
use crate::store::{Peer, Reading, Result, Visit};

pub const PEER: Peer = Peer {
    name: "rusqlite",
    package: "rusqlite",
    durable: "WAL, synchronous = FULL: fsync per transaction",
    groups: "our wrapper",
    checked: "no",
    keeps: "number",
    events_max: u64::MAX,
    starts: true,
    append: |directory| Ok(Grouped::behind(Sqlite::open(directory, PLAIN)?)),
    load: |directory| Ok(Grouped::behind(Sqlite::open(directory, PLAIN)?)),
    read: |directory| Ok(Box::new(Sqlite::open(directory, PLAIN)?)),
};

pub const STREAMS: Peer = Peer {
    name: "rusqlite-streams",
    keeps: "number, stream, version; index by stream and version",
    append: |directory| Ok(Grouped::behind(Sqlite::open(directory, WITH_STREAMS)?)),
    load: |directory| Ok(Grouped::behind(Sqlite::open(directory, WITH_STREAMS)?)),
    read: |directory| Ok(Box::new(Sqlite::open(directory, WITH_STREAMS)?)),
    ..PEER
};

const PLAIN: &str = "CREATE TABLE IF NOT EXISTS events (
    position INTEGER PRIMARY KEY, data BLOB NOT NULL)";
const WITH_STREAMS: &str = "CREATE TABLE IF NOT EXISTS events (
    position INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL,
    data BLOB NOT NULL, UNIQUE (stream, version))";

struct Sqlite {
    connection: Connection,
    with_streams: bool,
    next: i64,
    versions: HashMap<String, i64>,
}

impl Sqlite {
    fn open(directory: &Path, table: &str) -> Result<Self> {
        let connection = Connection::open(directory.join("sqlite"))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", -65_536)?;
        connection.execute(table, [])?;
        let with_streams = table == WITH_STREAMS;
        Ok(Self { connection, with_streams, next: 0, versions: HashMap::new() })
    }
}

impl Engine for Sqlite {
    fn commit(&mut self, group: &[Job]) -> Result {
        let transaction = self.connection.transaction()?;
        for job in group {
            for (index, event) in job.events.iter().enumerate() {
                if self.with_streams {
                    let stream = job.streams.get(index).map_or_else(
                        || format!("client-{}", job.client),
                        |stream| format!("stream-{stream}"),
                    );
                    let sql = "INSERT INTO events VALUES (?1, ?2, ?3, ?4)";
                    let version = self.versions.entry(stream.clone()).or_insert(0);
                    let row = params![self.next, stream, *version, event];
                    transaction.prepare_cached(sql)?.execute(row)?;
                    *version += 1;
                } else {
                    let sql = "INSERT INTO events VALUES (?1, ?2)";
                    transaction.prepare_cached(sql)?.execute(params![self.next, event])?;
                }
                self.next += 1;
            }
        }
        Ok(transaction.commit()?)
    }
}

impl Sqlite {
    fn visit(&self, sql: &str, by: impl rusqlite::Params, visit: Visit<'_>) -> Result<bool> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(by)?;
        while let Some(row) = rows.next()? {
            visit(row.get_ref(0)?.as_blob()?);
        }
        Ok(true)
    }
}

impl Reading for Sqlite {
    fn scan(&mut self, visit: Visit<'_>) -> Result<bool> {
        self.visit("SELECT data FROM events ORDER BY position", [], visit)
    }

    fn point(&mut self, number: u64, visit: Visit<'_>) -> Result<bool> {
        self.visit("SELECT data FROM events WHERE position = ?1", [number as i64], visit)
    }

    fn stream(&mut self, stream: u64, visit: Visit<'_>) -> Result<bool> {
        let sql = "SELECT data FROM events WHERE stream = ?1 ORDER BY version";
        let stream = format!("stream-{stream}");
        Ok(self.with_streams && self.visit(sql, [stream], visit)?)
    }
}
