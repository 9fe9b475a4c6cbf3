//! Owns the proof on real file systems: what was acked survives failing disks and losses of power
//! on ext4, XFS and btrfs as the kernel has them.
//!
//! A disk of our own (`server`) is served to the kernel, with a file system and a log of events on
//! it. It fails on demand, and logs its writes and flushes, from which each state that a loss of
//! power can leave is made (`power`). Needs root, `/dev/fuse`, loop devices, and the makers of the
//! file systems; skipped, with the reason printed, where one is missing.

#![cfg(all(target_os = "linux", target_endian = "little"))]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "what is wrong ends the test"
)]

mod support;

#[path = "real_disk/disk.rs"]
mod disk;
#[path = "real_disk/failing.rs"]
mod failing;
#[path = "real_disk/load.rs"]
mod load;
#[path = "real_disk/medium.rs"]
mod medium;
#[path = "real_disk/power.rs"]
mod power;
#[path = "real_disk/reading.rs"]
mod reading;
#[path = "real_disk/server.rs"]
mod server;
