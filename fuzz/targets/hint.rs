//! Files of hints.

#![no_main]

paperchase_fuzz::target!(hint, mend_hint);
