//! Whole directories: a small log, damaged by accident or by an enemy.

#![no_main]

paperchase_fuzz::target!(directory);
