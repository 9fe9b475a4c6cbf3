//! Owns what stands in the place of `trace.rs` without the feature `tracing`: nothing is told.

use super::engine::Core;
use super::recovery::OpenReport;
use crate::disk::Disk;
use crate::error::Result;
use crate::stage::stats::Stats;

/// Tells nothing.
#[derive(Debug)]
pub(super) struct Tracer;

impl Tracer {
    pub(super) fn new(_: &dyn Disk) -> Self {
        Self
    }

    pub(super) fn opened(&mut self, _: &Core, _: &OpenReport) {}

    pub(super) fn look(&mut self, _: &Core, _: &Stats) {}

    pub(super) fn closed(&mut self, _: &Core, _: &Result<()>) {}
}
