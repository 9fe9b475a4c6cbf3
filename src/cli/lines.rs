//! Owns the lines of stdin: reading that wakes up for signals, and knows the number of each line.
//!
//! Promises: no line is longer than the limit, so no input can take all memory; a waiting reader
//! comes back several times a second, so that the caller can look at its stop flag. Assumes nobody
//! else reads stdin.

use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Longest line in bytes: a largest event in base64, twice.
const LINE_MAX: usize = 48 << 20;
/// What some editors put before the first line of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// How much is read at once: what a pipe holds, a few times.
const PIECE: usize = 256 << 10;
/// How long a read waits before the caller gets a look at its stop flag.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Where the bytes come from.
pub(super) trait Source {
    /// Fills a part of `bytes`: 0 at the end, `None` when nothing came for a while.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<Option<usize>>;
}

/// The stdin of this process, past the buffer of the standard library.
pub(super) struct Stdin;

impl Source for Stdin {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<Option<usize>> {
        let stdin = io::stdin();
        let mut wait = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut wait, Some(&PATIENCE)) {
            Ok(0) | Err(Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        match rustix::io::read(&stdin, bytes) {
            Ok(length) => Ok(Some(length)),
            Err(Errno::INTR | Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// What a call of [`Lines::next`] finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A line without its end, and without blanks around it. It may be empty.
    Line(&'a [u8]),
    /// Nothing came for a while.
    Idle,
    /// The line is longer than the limit.
    TooLong,
    /// There is no further line.
    End,
}

/// The lines of a source.
pub(super) struct Lines<S> {
    source: S,
    buffer: Vec<u8>,
    /// Bytes of the buffer that hold input; behind them is room.
    filled: usize,
    /// Where the next line begins.
    start: usize,
    /// Up to where no line end was found.
    searched: usize,
    ended: bool,
    number: u64,
    consumed: u64,
}

impl<S: Source> Lines<S> {
    pub(super) fn new(source: S) -> Self {
        Self {
            source,
            buffer: vec![0; PIECE],
            filled: 0,
            start: 0,
            searched: 0,
            ended: false,
            number: 0,
            consumed: 0,
        }
    }

    /// Number of the line that came last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes of all lines that came.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        loop {
            let unseen = &self.buffer[self.searched..self.filled];
            if let Some(length) = unseen.iter().position(|byte| *byte == b'\n') {
                let end = self.searched + length;
                return Ok(Next::Line(self.take(end, end + 1)));
            }
            self.searched = self.filled;
            if self.ended {
                let end = self.filled;
                let is_line = self.start < end;
                return Ok(if is_line { Next::Line(self.take(end, end)) } else { Next::End });
            }
            if self.filled - self.start > LINE_MAX {
                self.number += 1;
                return Ok(Next::TooLong);
            }
            if self.fill()?.is_none() {
                return Ok(Next::Idle);
            }
        }
    }

    /// Reads further bytes behind those that are there, making room for them first.
    fn fill(&mut self) -> io::Result<Option<()>> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.searched -= self.start;
            self.start = 0;
        }
        if self.buffer.len() - self.filled < PIECE {
            self.buffer.resize((self.buffer.len() * 2).max(2 * PIECE), 0);
        }
        let Some(length) = self.source.read(&mut self.buffer[self.filled..])? else {
            return Ok(None);
        };
        self.filled += length;
        self.ended = length == 0;
        Ok(Some(()))
    }

    fn take(&mut self, end: usize, next: usize) -> &[u8] {
        let line = self.start..end;
        self.number += 1;
        self.consumed += (next - self.start) as u64;
        self.start = next;
        self.searched = next;
        let line = &self.buffer[line];
        let mark = if self.number == 1 { BYTE_ORDER_MARK } else { b"" };
        line.strip_prefix(mark).unwrap_or(line).trim_ascii()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Hands out the given pieces, one a call; an empty piece is a wait.
    struct Pieces(VecDeque<Vec<u8>>);

    impl Source for Pieces {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<Option<usize>> {
            let Some(piece) = self.0.pop_front() else {
                return Ok(Some(0));
            };
            bytes[..piece.len()].copy_from_slice(&piece);
            Ok((!piece.is_empty()).then_some(piece.len()))
        }
    }

    fn lines(pieces: &[&[u8]]) -> Lines<Pieces> {
        Lines::new(Pieces(pieces.iter().map(|piece| piece.to_vec()).collect()))
    }

    #[test]
    fn lines_come_whole_however_they_arrive() {
        let text = b"one\n\n two \r\nlast";
        for size in 1..=text.len() {
            let mut lines = lines(&text.chunks(size).collect::<Vec<_>>());
            for line in ["one", "", "two", "last"] {
                assert_eq!(lines.next().unwrap(), Next::Line(line.as_bytes()), "size {size}");
            }
            assert_eq!(lines.next().unwrap(), Next::End);
            assert_eq!((lines.number(), lines.consumed()), (4, text.len() as u64));
        }
    }

    #[test]
    fn a_wait_loses_nothing() {
        let mut lines = lines(&[b"ha", b"", b"lf\n"]);
        assert_eq!(lines.next().unwrap(), Next::Idle);
        assert_eq!(lines.next().unwrap(), Next::Line(b"half"));
        assert_eq!(lines.next().unwrap(), Next::End);
    }

    #[test]
    fn a_mark_is_passed_over_at_the_start_only() {
        let mut lines = lines(&[b"\xef\xbb\xbf {}\n\xef\xbb\xbf{}"]);
        assert_eq!(lines.next().unwrap(), Next::Line(b"{}"));
        assert_eq!(lines.next().unwrap(), Next::Line(b"\xef\xbb\xbf{}"));
    }

    #[test]
    fn an_endless_line_is_refused() {
        let piece = vec![b'x'; PIECE];
        let mut lines = lines(&vec![&piece[..]; LINE_MAX / PIECE + 2]);
        assert_eq!(lines.next().unwrap(), Next::TooLong);
        assert_eq!(lines.number(), 1);
    }
}
