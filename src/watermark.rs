//! Owns how far the log has come: positions that only grow, with `written >= durable >= visible`.
//!
//! Promises: each mark is advanced by one thread and read by all without a lock. Whoever reads a
//! mark also sees what was stored before it was advanced (release and acquire). Never waits, never
//! wakes.

use crate::position::Position;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The three marks of a log. Each is the position of the first event that has *not* come so far.
#[derive(Debug)]
pub(crate) struct Watermarks {
    written: AtomicU64,
    durable: AtomicU64,
    visible: AtomicU64,
}

impl Watermarks {
    /// All marks at the end of a recovered log.
    pub(crate) fn at(end: Position) -> Self {
        let mark = || AtomicU64::new(end.get());
        Self { written: mark(), durable: mark(), visible: mark() }
    }

    pub(crate) fn written(&self) -> Position {
        Position::new(self.written.load(Ordering::Acquire))
    }

    pub(crate) fn durable(&self) -> Position {
        Position::new(self.durable.load(Ordering::Acquire))
    }

    pub(crate) fn visible(&self) -> Position {
        Position::new(self.visible.load(Ordering::Acquire))
    }

    pub(crate) fn advance_written(&self, to: Position) {
        advance(&self.written, to);
    }

    pub(crate) fn advance_durable(&self, to: Position) {
        assert!(to <= self.written(), "durable events were written before");
        advance(&self.durable, to);
    }

    pub(crate) fn advance_visible(&self, to: Position) {
        assert!(to <= self.durable(), "nobody sees what could vanish");
        advance(&self.visible, to);
    }
}

fn advance(mark: &AtomicU64, to: Position) {
    let before = mark.swap(to.get(), Ordering::AcqRel);
    assert!(before <= to.get(), "a watermark only grows");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_grow_in_their_order() {
        let marks = Watermarks::at(Position::new(3));
        marks.advance_written(Position::new(9));
        marks.advance_durable(Position::new(7));
        marks.advance_visible(Position::new(7));
        assert_eq!(marks.written().get(), 9);
        assert_eq!(marks.visible(), marks.durable());
    }

    #[test]
    #[should_panic(expected = "nobody sees what could vanish")]
    fn visible_never_passes_durable() {
        let marks = Watermarks::at(Position::START);
        marks.advance_written(Position::new(1));
        marks.advance_visible(Position::new(1));
    }

    #[test]
    #[should_panic(expected = "only grows")]
    fn a_mark_never_goes_back() {
        Watermarks::at(Position::new(2)).advance_written(Position::new(1));
    }
}
