//! The text form of queries.

#![no_main]

paperchase_fuzz::target!(query_text);
