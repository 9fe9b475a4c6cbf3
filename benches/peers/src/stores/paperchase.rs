//! Owns Paperchase as a user gets it: default options, an event with id, type, stream and checksum.

use std::path::Path;

use paperchase::{Append, Expected, Log, NewEvent, Position};

use crate::store::{Appender, Peer, Reading, Result, Started, Visit};

pub const PEER: Peer = Peer {
    name: "paperchase",
    package: "paperchase",
    durable: "fdatasync per group, read back before the ack",
    groups: "own",
    checked: "yes, each event",
    keeps: "id, type, stream, version, time; index by stream and type",
    events_max: u64::MAX,
    starts: true,
    append: |directory| Ok(Box::new(Paperchase(Log::open(directory)?))),
    load: |directory| Ok(Box::new(Paperchase(Log::open(directory)?))),
    read: open_to_read,
};

struct Paperchase(Log);

fn new_events<'a>(events: &'a [&[u8]]) -> impl Iterator<Item = NewEvent> + 'a {
    events.iter().map(|event| NewEvent::new("Written", event))
}

impl Appender for Paperchase {
    fn append(&self, client: usize, events: &[&[u8]]) -> Result {
        let stream = format!("client-{client}");
        self.0.append(&stream, Expected::Any, new_events(events))?.wait()?;
        Ok(())
    }

    fn start(&self, client: usize, events: &[&[u8]]) -> Option<Started> {
        let stream = format!("client-{client}");
        let ack = self.0.append(&stream, Expected::Any, new_events(events));
        Some(Box::pin(async move {
            ack?.await?;
            Ok(())
        }))
    }

    fn load(&self, streams: &[u64], events: &[&[u8]]) -> Result {
        let with =
            |append: Append, (stream, event)| append.event(format!("stream-{stream}"), event);
        let append = streams.iter().zip(new_events(events)).fold(Append::new(), with);
        append.submit(&self.0)?.wait()?;
        Ok(())
    }
}

fn open_to_read(directory: &Path) -> Result<Box<dyn Reading>> {
    Ok(Box::new(Paperchase(Log::open(directory)?)))
}

impl Reading for Paperchase {
    fn scan(&mut self, visit: Visit<'_>) -> Result<bool> {
        for event in self.0.read_all(..)? {
            visit(event?.data());
        }
        Ok(true)
    }

    fn point(&mut self, number: u64, visit: Visit<'_>) -> Result<bool> {
        let at = Position::new(number);
        for event in self.0.read_all(at..=at)? {
            visit(event?.data());
        }
        Ok(true)
    }

    fn stream(&mut self, stream: u64, visit: Visit<'_>) -> Result<bool> {
        for event in self.0.read_stream(&format!("stream-{stream}"), ..)? {
            visit(event?.data());
        }
        Ok(true)
    }
}
