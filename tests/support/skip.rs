//! Owns how a test says that it cannot run here: without root, a tool, or what a kernel offers.
//!
//! Promises: what is skipped is told, with the reason, and with `PAPERCHASE_MUST=all` in the
//! environment it is a failure.

/// Tells why a test, or a part of it, is skipped; where nothing may be, it fails.
#[track_caller]
pub(crate) fn skip(reason: &str) {
    let must = std::env::var("PAPERCHASE_MUST").ok();
    match must.as_deref() {
        None | Some("") => println!("skipped: {reason}"),
        Some("all") => panic!("all tests must run, and this one cannot: {reason}"),
        Some(other) => panic!("PAPERCHASE_MUST is \"all\" or not there, not {other:?}"),
    }
}
