//! Owns the primitives by which threads meet: the standard library's own, or those of a checker
//! that decides by itself how threads meet (`--cfg loom`, `--cfg shuttle`).
//!
//! Promises: without these two flags, nothing but re-exports. Assumes that code which is to be
//! checked takes all locks, atomics, fences, parkings and threads from here; `Arc` and poison are
//! the standard library's everywhere. Never adds a primitive that the standard library lacks.

#[cfg(any(loom, shuttle))]
mod checked;

#[cfg(all(test, any(loom, shuttle)))]
pub(crate) use checked::time;
#[cfg(any(loom, shuttle))]
pub(crate) use checked::{
    Condvar, Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard, atomic, spin_loop, thread,
    thread_local,
};
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::{
    hint::spin_loop,
    sync::{Condvar, Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard, atomic},
    thread, thread_local,
};
