//! Owns the way of an append from a caller's thread into the queue: limits, encoding, admission.
//!
//! Promises: what enters the queue is encoded and within its limits, so that the writer has nothing
//! left to check; what is refused here leaves nothing behind.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::Log;
use super::engine::Core;
use crate::append::{Append, StreamNames};
use crate::error::AppendError;
use crate::event::{Expected, NewEvent};
use crate::format::event::{self, FIXED_SIZE, Place};
use crate::format::{CHUNK_HEADER_SIZE, GROUP_HEADER_SIZE};
use crate::options::{APPEND_SIZE_MAX, APPEND_TERMS_MAX, STREAM_NAME_MAX};
use crate::query::{QUERY_ITEMS_MAX, QUERY_NAMES_MAX};
use crate::stage::ack::{Ack, promise};
use crate::stage::queue::Refused;
use crate::writer::Submission;
use crate::writer::draft::{Draft, FullTerms, Terms};

impl Append {
    /// Hands the append to the writer. Waits for room in the queue, at most as long as
    /// [`Options::admission_wait`](crate::Options::admission_wait) says.
    ///
    /// When this returns `Ok`, the append is on its way, and nothing more: the [`Ack`] tells
    /// whether it was stored. When this returns `Err`, nothing of it is in the log.
    ///
    /// # Errors
    /// As [`Log::append`]; [`AppendError::Invalid`] also for an append without events or
    /// conditions, and for an operation without events.
    pub fn submit(self, log: &Log) -> Result<Ack, AppendError> {
        log.core.submit_full(self, log.core.options.admission_wait)
    }

    /// The same as [`Append::submit`], but never waits: a full queue is [`AppendError::Busy`] at
    /// once.
    ///
    /// When this returns `Ok`, the append is on its way; its [`Ack`] tells whether it was stored.
    /// When this returns `Err`, nothing of it is in the log.
    ///
    /// # Errors
    /// As [`Append::submit`].
    pub fn try_submit(self, log: &Log) -> Result<Ack, AppendError> {
        log.core.submit_full(self, Duration::ZERO)
    }
}

impl Core {
    /// Submits events of one stream.
    pub(super) fn submit(
        &self,
        stream: &str,
        expected: Expected,
        events: impl IntoIterator<Item = NewEvent>,
        wait: Duration,
    ) -> Result<Ack, AppendError> {
        self.check_running()?;
        let mut encoded = Vec::new();
        for event in events {
            self.encode(&mut encoded, stream, &event, None)?;
        }
        if encoded.is_empty() {
            return self.submit_full(Append::new().expect(stream, expected), wait);
        }
        let stream: Arc<str> = stream.into();
        let terms = Terms::OneStream(Arc::clone(&stream), expected);
        self.enqueue(Draft { encoded, terms }, StreamNames::One(stream), wait)
    }

    pub(super) fn submit_full(&self, append: Append, wait: Duration) -> Result<Ack, AppendError> {
        self.check_running()?;
        self.check_terms(&append)?;
        let Append { expectations, events, conditions, operation, fences, .. } = append;
        let (mut encoded, mut names) = (Vec::new(), Names::default());
        let mut stream_of = Vec::with_capacity(events.len());
        for (stream, event) in events {
            self.encode(&mut encoded, &stream, &event, operation)?;
            stream_of.push(names.number(stream));
        }
        let written = names.list.len();
        check_count("streams", written, APPEND_TERMS_MAX)?;
        let mut expected = Vec::with_capacity(expectations.len());
        for (stream, what) in expectations {
            event::check_stream(&stream)?;
            expected.push((names.number(stream), what));
        }
        let fences = fences.into_iter();
        let fences = fences.map(|it| (names.number(it.claims), it.claim, it.consumer)).collect();
        let streams = names.list;
        let acked = StreamNames::Each(streams[..written].to_vec());
        let expectations = expected;
        let terms = Box::new(FullTerms {
            operation,
            streams,
            written,
            stream_of,
            expectations,
            conditions,
            fences,
        });
        self.enqueue(Draft { encoded, terms: Terms::Full(terms) }, acked, wait)
    }

    pub(super) fn check_running(&self) -> Result<(), AppendError> {
        if !self.failure.home().is_here() {
            return Err(AppendError::Forked);
        }
        match self.failure.get() {
            Some(error) => Err(AppendError::Failed(error.clone())),
            None => Ok(()),
        }
    }

    fn enqueue(
        &self,
        draft: Draft,
        streams: StreamNames,
        wait: Duration,
    ) -> Result<Ack, AppendError> {
        let (promise, ack) = promise(&self.lounge, streams);
        let bytes = draft.encoded.len() + draft.terms.size();
        let submission = Submission { draft, promise };
        self.appends.push(submission, bytes, wait).map_err(|refused| match refused {
            Refused::Full => AppendError::Busy,
            Refused::Closed => match self.failure.get() {
                Some(error) => AppendError::Failed(error.clone()),
                None => AppendError::Stopped,
            },
        })?;
        Ok(ack)
    }

    /// Largest append that this log takes, as stored: what fits a chunk of its own.
    fn append_size_max(&self) -> usize {
        let room = self.options.chunk_size - CHUNK_HEADER_SIZE - GROUP_HEADER_SIZE;
        usize::try_from(room).unwrap_or(usize::MAX).min(APPEND_SIZE_MAX)
    }

    fn check_terms(&self, append: &Append) -> Result<(), AppendError> {
        let invalid = |what, problem| Err(AppendError::Invalid { what, problem });
        if let Some(refused) = &append.refused {
            return Err(refused.clone());
        }
        let Append { expectations, events, conditions, operation, fences, .. } = append;
        if fences.iter().any(|fence| fence.log != self.log()) {
            return invalid("a consumer's place", "is kept in another log than this one");
        }
        if events.is_empty() && operation.is_some() {
            return invalid("an operation", "has no events, in which its id would be stored");
        }
        let expects = expectations.iter().any(|(_, expected)| *expected != Expected::Any);
        if events.is_empty() && !expects && conditions.is_empty() {
            return invalid("an append", "has neither events nor anything to check");
        }
        if let Some(problem) = conditions.iter().find_map(|condition| condition.query.problem()) {
            return invalid("the query of a condition", problem);
        }
        let longest = conditions.iter().map(|condition| condition.query.longest_name()).max();
        if let Some(size) = longest.filter(|size| *size > STREAM_NAME_MAX) {
            let (size, max) = (size as u64, STREAM_NAME_MAX as u64);
            return Err(AppendError::TooLarge { what: "a name in a condition", size, max });
        }
        let names = conditions.iter().map(|condition| condition.query.names()).sum::<usize>();
        let counts = [
            ("expectations", expectations.len(), APPEND_TERMS_MAX),
            ("conditions", conditions.len(), APPEND_TERMS_MAX),
            ("names in conditions", names, QUERY_ITEMS_MAX * QUERY_NAMES_MAX),
        ];
        for (what, count, max) in counts {
            check_count(what, count, max)?;
        }
        Ok(())
    }

    /// Adds an event behind the others of its append.
    fn encode(
        &self,
        encoded: &mut Vec<u8>,
        stream: &str,
        event: &NewEvent,
        operation: Option<uuid::Uuid>,
    ) -> Result<(), AppendError> {
        let tags = event.tags.iter().map(|tag| tag.len() + 2).sum::<usize>();
        let names = stream.len() + event.event_type.len() + tags;
        encoded.reserve(FIXED_SIZE + 24 + names + event.data.len() + event.metadata.len());
        let place = if encoded.is_empty() { Place::First(operation) } else { Place::Later };
        event::encode(encoded, self.salt, stream, event, place)?;
        let max = self.append_size_max();
        if encoded.len() > max {
            let (size, max) = (encoded.len() as u64, max as u64);
            return Err(AppendError::TooLarge { what: "the append", size, max });
        }
        Ok(())
    }
}

fn check_count(what: &'static str, count: usize, max: usize) -> Result<(), AppendError> {
    if count > max {
        let (size, max) = (count as u64, max as u64);
        return Err(AppendError::TooMany { what, size, max });
    }
    Ok(())
}

/// The streams of an append, each once.
#[derive(Default)]
struct Names {
    list: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Names {
    fn number(&mut self, name: String) -> u32 {
        if let Some(number) = self.numbers.get(&*name) {
            return *number;
        }
        let number = u32::try_from(self.list.len()).expect("an append is far below 4 GiB");
        let name: Arc<str> = name.into();
        self.list.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        number
    }
}
