//! Runs the examples, so that none of them can stop working unnoticed.

#[path = "../examples/audit_trail.rs"]
mod audit_trail;
#[path = "../examples/bank.rs"]
mod bank;
#[path = "../examples/courses.rs"]
mod courses;
#[path = "../examples/follow.rs"]
mod follow;
#[path = "../examples/forwarder/main.rs"]
mod forwarder;
#[path = "../examples/metrics.rs"]
mod metrics;

#[test]
fn audit_trail_runs() {
    audit_trail::main().expect("the example runs to its end");
}

#[test]
fn bank_runs() {
    bank::main().expect("the example runs to its end");
}

#[test]
fn courses_runs() {
    courses::main().expect("the example runs to its end");
}

#[test]
fn forwarder_runs() {
    forwarder::main().expect("the example runs to its end");
}

#[test]
fn follow_runs() {
    follow::main().expect("the example runs to its end");
}

#[test]
fn metrics_runs() {
    metrics::main().expect("the example runs to its end");
}
