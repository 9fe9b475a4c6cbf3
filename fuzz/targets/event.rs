//! Single events.

#![no_main]

paperchase_fuzz::target!(event, mend_event);
