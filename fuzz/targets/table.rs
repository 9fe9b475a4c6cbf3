//! Sealed indexes behind sound checksums, and all that can be asked of them.

#![no_main]

paperchase_fuzz::target!(table);
