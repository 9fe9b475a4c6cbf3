//! Owns SierraDB's core, embedded, without its server: default settings with 4 buckets. A client is
//! a stream in a partition of its own; loaded, each class of streams is a partition. It syncs by
//! time and size (5 ms, 50 ms when idle, 4 KiB, 50 events), and acks after that.

use std::path::Path;
use std::sync::Arc;

use sierradb::bucket::segment::CommittedEvents;
use sierradb::database::{Database, DatabaseBuilder, ExpectedVersion, NewEvent, Transaction};
use sierradb::id::{uuid_to_partition_hash, uuid_v7_with_partition_hash};
use sierradb::{IterDirection, StreamId};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use crate::events::{CLASSES, Events};
use crate::store::{Appender, Peer, Reading, Result, Started, Visit};

pub const PEER: Peer = Peer {
    name: "sierradb",
    package: "sierradb",
    durable: "its fdatasync by timer and size, before the ack",
    groups: "own",
    checked: "yes, each record",
    keeps: "id, name, stream, version; index by stream and id",
    // Opening costs it some 30 us for each event of the last segment.
    events_max: 200_000,
    starts: true,
    append: |directory| Ok(Box::new(Sierra::open(directory)?)),
    load: |directory| Ok(Box::new(Sierra::open(directory)?)),
    read: |directory| Ok(Box::new(Sierra::open(directory)?)),
};

const BUCKETS: u16 = 4;
/// Events of one transaction while loading.
const LOADED: usize = 200;
const READ: usize = 50;

struct Sierra {
    database: Arc<Database>,
    runtime: Runtime,
}

impl Sierra {
    fn open(directory: &Path) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let entered = runtime.enter();
        let mut builder = DatabaseBuilder::new();
        builder.total_buckets(BUCKETS).bucket_ids_from_range(0..BUCKETS);
        let database = Arc::new(builder.open(directory)?);
        drop(entered);
        Ok(Self { database, runtime })
    }

    fn send(&self, partition: u64, events: Vec<(String, &[u8])>) -> Result<Started> {
        let key = Uuid::from_u128(u128::from(partition) << 64 | u128::from(partition));
        let hash = uuid_to_partition_hash(key);
        let new = |(stream, data): (String, &[u8])| -> Result<NewEvent> {
            Ok(NewEvent {
                event_id: uuid_v7_with_partition_hash(hash),
                stream_id: StreamId::new(stream)?,
                stream_version: ExpectedVersion::Any,
                event_name: "Written".into(),
                timestamp: 1,
                metadata: Vec::new(),
                payload: data.into(),
            })
        };
        let events = events.into_iter().map(new).collect::<Result<_>>()?;
        let transaction = Transaction::new(key, partition as u16, events)?;
        let database = Arc::clone(&self.database);
        Ok(Box::pin(async move {
            database.append_events(transaction).await?;
            Ok(())
        }))
    }

    fn send_of_client(&self, client: usize, events: &[&[u8]]) -> Result<Started> {
        let events = events.iter().map(|&event| (format!("client-{client}"), event));
        self.send(client as u64, events.collect())
    }
}

impl Appender for Sierra {
    fn append(&self, client: usize, events: &[&[u8]]) -> Result {
        self.runtime.block_on(self.send_of_client(client, events)?)
    }

    fn start(&self, client: usize, events: &[&[u8]]) -> Option<Started> {
        let append = self.send_of_client(client, events);
        Some(append.unwrap_or_else(|error| Box::pin(async { Err(error) })))
    }

    fn load(&self, streams: &[u64], events: &[&[u8]]) -> Result {
        for (streams, events) in streams.chunks(LOADED).zip(events.chunks(LOADED)) {
            let named = streams.iter().map(|stream| format!("stream-{stream}"));
            let events = named.zip(events.iter().copied()).collect();
            let append = self.send(streams[0] % CLASSES, events)?;
            self.runtime.block_on(append)?;
        }
        Ok(())
    }
}

fn each(commits: CommittedEvents, mut visit: impl FnMut(u64, &[u8])) {
    match commits {
        CommittedEvents::Single(event) => visit(event.partition_sequence, &event.payload),
        CommittedEvents::Transaction { events, .. } => {
            events.iter().for_each(|event| visit(event.partition_sequence, &event.payload));
        }
    }
}

impl Reading for Sierra {
    fn scan(&mut self, visit: Visit<'_>) -> Result<bool> {
        self.runtime.block_on(async {
            for partition in 0..CLASSES as u16 {
                let forward = IterDirection::Forward;
                let mut events = self.database.read_partition(partition, 0, forward).await?;
                while let Some(commits) = events.next_batch(READ).await? {
                    commits.into_iter().for_each(|commit| each(commit, |_, data| visit(data)));
                }
            }
            Ok(true)
        })
    }

    fn point(&mut self, number: u64, visit: Visit<'_>) -> Result<bool> {
        let (partition, sequence) = Events::place(number);
        self.runtime.block_on(async {
            let from =
                self.database.read_partition(partition as u16, sequence, IterDirection::Forward);
            if let Some(commits) = from.await?.next_batch(1).await? {
                let mut found = |at: u64, data: &[u8]| {
                    if at == sequence {
                        visit(data);
                    }
                };
                commits.into_iter().for_each(|commit| each(commit, &mut found));
            }
            Ok(true)
        })
    }

    fn stream(&mut self, stream: u64, visit: Visit<'_>) -> Result<bool> {
        let id = StreamId::new(format!("stream-{stream}"))?;
        let partition = (stream % CLASSES) as u16;
        self.runtime.block_on(async {
            let events = self.database.read_stream(partition, id, 0, IterDirection::Forward);
            let mut events = events.await?;
            while let Some(commits) = events.next_batch(READ).await? {
                commits.into_iter().for_each(|commit| each(commit, |_, data| visit(data)));
            }
            Ok(true)
        })
    }
}
