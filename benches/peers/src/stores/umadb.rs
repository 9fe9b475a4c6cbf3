//! Owns UmaDB's core, embedded, without its server: pages of 4 KiB, its own blocking writer thread
//! that groups up to 4,096 events, one tag per event for its stream.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use umadb_core::db::UmaDb;
use umadb_core::mvcc::{Mvcc, StorageOptions};
use umadb_core::writer_thread_blocking::writer_thread_blocking;
use umadb_core::writer_thread_request::WriterThreadRequest;
use umadb_dcb::{DcbEvent, DcbEventStoreSync, DcbQuery, DcbQueryItem};

use crate::drive::block_on;
use crate::store::{Appender, Peer, Reading, Result, Started, Visit};

pub const PEER: Peer = Peer {
    name: "umadb",
    package: "umadb-core",
    durable: "its two fdatasyncs per group",
    groups: "own",
    checked: "yes, each page",
    keeps: "position, type, tag; index by tag",
    events_max: u64::MAX,
    starts: true,
    append: |directory| Ok(Box::new(Uma::open(directory)?)),
    load: |directory| Ok(Box::new(Uma::open(directory)?)),
    read: |directory| Ok(Box::new(open_core(directory)?)),
};

const PAGE: usize = 4096;
const GROUP_EVENTS: usize = 4096;
const QUEUE: usize = 4096;
const READ: u32 = 1_000;

struct Uma {
    requests: mpsc::Sender<WriterThreadRequest>,
    _head: watch::Receiver<Option<u64>>,
}

fn core(directory: &Path) -> Result<Arc<Mvcc>> {
    let options = StorageOptions::default().db_path(directory).page_size(PAGE);
    Ok(Arc::new(Mvcc::new(false, options)?))
}

fn open_core(directory: &Path) -> Result<UmaDb> {
    Ok(UmaDb::from_arc(core(directory)?))
}

impl Uma {
    fn open(directory: &Path) -> Result<Self> {
        let mvcc = core(directory)?;
        let (requests, queue) = mpsc::channel(QUEUE);
        let (head, _head) = watch::channel(None);
        std::thread::spawn(move || writer_thread_blocking(mvcc, queue, head, GROUP_EVENTS));
        Ok(Self { requests, _head })
    }

    fn send(&self, events: Vec<DcbEvent>) -> Started {
        let (response_tx, answer) = oneshot::channel();
        let request = WriterThreadRequest::Append {
            events,
            condition: None,
            tracking_info: None,
            response_tx,
            cancel: None,
        };
        let requests = self.requests.clone();
        let sent = requests.try_send(request);
        Box::pin(async move {
            match sent {
                Err(mpsc::error::TrySendError::Full(request)) => requests.send(request).await?,
                sent => sent?,
            }
            answer.await??;
            Ok(())
        })
    }
}

fn event(tag: String, data: &[u8]) -> DcbEvent {
    DcbEvent { event_type: "Written".into(), tags: vec![tag], data: data.into(), ..DcbEvent::new() }
}

impl Appender for Uma {
    fn append(&self, client: usize, events: &[&[u8]]) -> Result {
        block_on(self.start(client, events).expect("it offers this"))
    }

    fn start(&self, client: usize, events: &[&[u8]]) -> Option<Started> {
        let event = |data: &&[u8]| event(format!("client-{client}"), data);
        Some(self.send(events.iter().map(event).collect()))
    }

    fn load(&self, streams: &[u64], events: &[&[u8]]) -> Result {
        let both = streams.iter().zip(events);
        let events = both.map(|(stream, data)| event(format!("stream-{stream}"), data));
        block_on(self.send(events.collect()))
    }
}

impl Reading for UmaDb {
    /// Its answers are lists, so all is asked for in parts.
    fn scan(&mut self, visit: Visit<'_>) -> Result<bool> {
        let mut next = 1;
        loop {
            let (events, _) = self.read_with_head(None, Some(next), false, Some(READ))?;
            let Some(last) = events.last() else {
                return Ok(true);
            };
            next = last.position + 1;
            events.iter().for_each(|event| visit(&event.event.data));
        }
    }

    fn point(&mut self, number: u64, visit: Visit<'_>) -> Result<bool> {
        let (events, _) = self.read_with_head(None, Some(number + 1), false, Some(1))?;
        events.iter().for_each(|event| visit(&event.event.data));
        Ok(true)
    }

    fn stream(&mut self, stream: u64, visit: Visit<'_>) -> Result<bool> {
        let item = DcbQueryItem::new().tags([format!("stream-{stream}")]);
        let query = DcbQuery::with_items([item]);
        let (events, _) = self.read_with_head(Some(query), None, false, None)?;
        events.iter().for_each(|event| visit(&event.event.data));
        Ok(true)
    }
}
