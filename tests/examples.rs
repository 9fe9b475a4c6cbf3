//! Runs the examples, so that none of them can stop working unnoticed.

#[path = "../examples/audit_trail.rs"]
mod audit_trail;

#[test]
fn audit_trail_runs() {
    audit_trail::main().expect("the example runs to its end");
}
