//! Shared pages.

#![no_main]

paperchase_fuzz::target!(stats_page, mend_stats_page);
