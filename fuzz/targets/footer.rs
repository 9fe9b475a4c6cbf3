//! Footers.

#![no_main]

paperchase_fuzz::target!(footer, mend_footer);
