//! Sequences of operations on a log, against the model.

#![no_main]

paperchase_fuzz::target!(operations);
