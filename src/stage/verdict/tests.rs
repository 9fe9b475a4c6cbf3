//! Tests of the verdict, on figures made by hand.

use super::*;
use crate::stage::histogram::Recorder;
use crate::stage::stats::{DiskStats, QueueStats, StageStats};

#[test]
fn times_have_three_digits() {
    let times = [0, 640, 1_500, 45_600, 999_999, 5_120_000, 250_000_000, 4_200_000_000];
    let texts = times.map(|nanos| short(Duration::from_nanos(nanos)));
    let expected =
        ["0 ns", "640 ns", "1.50 us", "45.6 us", "1000 us", "5.12 ms", "250 ms", "4.20 s"];
    assert_eq!(texts, expected);
}

#[test]
fn snapshots_that_are_no_pair_do_no_harm() {
    let one = Stats { uptime: Duration::from_secs(1), ..Stats::default() };
    let snapshots = [(&one, &Stats::default()), (&Stats::default(), &one), (&one, &one)];
    for (now, earlier) in snapshots {
        let verdict = now.verdict(earlier);
        assert_eq!((verdict.cause(), verdict.findings.len()), (Cause::Idle, 1));
        assert!(verdict.to_string().contains("idle"), "{verdict}");
    }
}

#[test]
fn work_that_one_thread_does_adds_up_and_that_of_two_does_not() {
    let of = |nanos: u64| {
        let times = Recorder::default();
        times.record(Duration::from_nanos(nanos));
        times.snapshot()
    };
    let busy = |percent| StageStats {
        busy: Duration::from_millis(10 * percent),
        idle: Duration::from_millis(10 * (100 - percent)),
        ..StageStats::default()
    };
    let stats = |writer: u64, chaser: u64| Stats {
        uptime: Duration::from_secs(1),
        appends: QueueStats { pushed: 1, ..QueueStats::default() },
        disk: DiskStats { syncs: of(420_000_000), ..Default::default() },
        writer: busy(writer),
        chaser: StageStats { service: of(300_000_000), ..busy(chaser) },
        ..Stats::default()
    };
    assert_eq!(stats(75, 0).verdict(&Stats::default()).cause(), Cause::Sync);
    assert_eq!(stats(45, 30).verdict(&Stats::default()).cause(), Cause::Clients);
}

#[test]
fn what_goes_on_counts_before_it_is_over() {
    let hung = Stats {
        uptime: Duration::from_secs(9),
        disk: DiskStats {
            ongoing: Some((DiskWork::Sync, Duration::from_secs(7))),
            ..Default::default()
        },
        ..Stats::default()
    };
    let verdict = hung.verdict(&Stats { uptime: Duration::from_secs(8), ..Stats::default() });
    assert_eq!(verdict.cause(), Cause::Sync);
    let evidence = &verdict.findings[0].evidence[0];
    assert_eq!(evidence, "a sync has been going on for 7.00 s");
}
