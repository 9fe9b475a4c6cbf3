//! Owns a disk in memory.
