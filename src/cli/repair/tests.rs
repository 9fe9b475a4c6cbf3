//! Owns the tests of repair in memory: the plan as a table, and the carrying out that is cut short
//! at every call, by a disk that stops and by a loss of power.
//!
//! Promises: each damage of the list is repaired to just the events that the plan names, whatever
//! call was the last before a crash, and no state in between serves anything else.

mod cut_short;
mod planned;
mod power;
