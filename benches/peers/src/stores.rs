//! Owns the stores, one file each: how it is configured, how it is called.

pub mod bare;
#[cfg(feature = "commitlog")]
pub mod commitlog;
#[cfg(feature = "fjall")]
pub mod fjall;
#[cfg(feature = "okaywal")]
pub mod okaywal;
pub mod paperchase;
#[cfg(feature = "raft-engine")]
pub mod raft_engine;
#[cfg(feature = "redb")]
pub mod redb;
#[cfg(feature = "rusqlite")]
pub mod rusqlite;
#[cfg(feature = "sierradb")]
pub mod sierradb;
#[cfg(feature = "umadb")]
pub mod umadb;
