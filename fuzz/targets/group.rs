//! Groups and their events, as a walk over a chunk meets them.

#![no_main]

paperchase_fuzz::target!(group, mend_group);
