//! Lines from stdin, and the events in them.

#![no_main]

paperchase_fuzz::target!(cli_lines);
