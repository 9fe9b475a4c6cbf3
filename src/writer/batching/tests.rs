//! Tests of the batching on a model: clients that append again some time after each answer, and a
//! disk whose syncs take a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

const MICRO: Duration = Duration::from_micros(1);

/// How flushes are decided.
#[derive(Clone, Copy, Debug)]
enum Policy {
    /// Always so long after the first append of a group; zero flushes at once.
    Fixed(Duration),
    Adaptive,
}

struct Figures {
    per_second: f64,
    p99: Duration,
}

/// A small generator of pseudo-random numbers (SplitMix64, G. Steele and others).
struct Random(u64);

impl Random {
    /// A number of 0 to 1.
    fn part(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A closed loop of `clients`: each appends again about `turnaround` after its answer, the later
/// the more there are who are woken one after the other.
fn closed_loop(policy: Policy, clients: u64, sync: Duration, seed: u64) -> Figures {
    let mut random = Random(seed);
    let mut batching = Batching::default();
    // When each client's next append arrives.
    let mut arrivals: BinaryHeap<Reverse<Duration>> =
        (0..clients).map(|client| Reverse(MICRO * client as u32)).collect();
    let mut now = Duration::ZERO;
    let mut waits = Vec::new();
    let mut group: Vec<Duration> = Vec::new();
    let (end, mut sleeps) = (sync * 1_500, false);
    while now < end {
        let mut gather = |now: Duration, group: &mut Vec<Duration>, batching: &mut Batching| {
            while arrivals.peek().is_some_and(|next| next.0 <= now) {
                let Some(Reverse(at)) = arrivals.pop() else { break };
                batching.arrived(at);
                group.push(at);
            }
            arrivals.peek().map(|next| next.0)
        };
        let next = gather(now, &mut group, &mut batching);
        if group.is_empty() {
            now = next.expect("all clients are on their way");
            continue;
        }
        let wait = match policy {
            Policy::Fixed(delay) => Some(group[0] + delay).filter(|until| *until > now),
            Policy::Adaptive => batching.hold(now, group.len()).map(|hold| hold.until),
        };
        if let Some(until) = wait {
            // All may come before that.
            now = next.map_or(until, |next| next.min(until)).max(now + MICRO);
            sleeps = true;
            continue;
        }
        if std::mem::take(&mut sleeps) {
            now += WAKE;
        }
        let took = sync.mul_f64(0.9 + 0.2 * random.part());
        now += took;
        batching.flushed(now, Some(took), group.len());
        for (place, since) in group.drain(..).enumerate() {
            waits.push(now - since);
            let turnaround = 20.0 + 20.0 * random.part() + 4.0 * place as f64;
            arrivals.push(Reverse(now + MICRO.mul_f64(turnaround)));
        }
    }
    waits.sort_unstable();
    let p99 = waits[waits.len() * 99 / 100];
    Figures { per_second: waits.len() as f64 / now.as_secs_f64(), p99 }
}

#[test]
fn is_near_the_best_fixed_delay_and_never_as_slow_as_a_long_one() {
    for sync in [100, 1_000, 5_000].map(|micros| MICRO * micros) {
        for clients in (0..10).map(|power| 1 << power) {
            let seed = clients + sync.as_micros() as u64;
            let fixed = [0, 50, 100, 200, 500, 1_000, 2_000, 4_000]
                .map(|delay| closed_loop(Policy::Fixed(MICRO * delay), clients, sync, seed));
            let best = fixed.iter().map(|figures| figures.per_second).fold(0.0, f64::max);
            let slow = fixed[6].p99;
            let adaptive = closed_loop(Policy::Adaptive, clients, sync, seed);
            let told = format!(
                "{clients} clients, sync {sync:?}: {:.0}/s, best fixed {best:.0}/s, \
                 at once {:.0}/s; p99 {:?}, of 2 ms {slow:?}",
                adaptive.per_second, fixed[0].per_second, adaptive.p99
            );
            println!("{told}");
            assert!(adaptive.per_second >= 0.9 * best, "{told}");
            assert!(adaptive.p99 <= slow, "{told}");
        }
    }
}

#[test]
fn a_lone_client_is_never_held() {
    let mut batching = Batching::default();
    for round in 1..1_000_u32 {
        let now = MICRO * 300 * round;
        batching.arrived(now);
        assert_eq!(batching.hold(now, 1), None);
        batching.flushed(now + MICRO * 200, Some(MICRO * 200), 1);
    }
}

/// Sixteen clients in two halves of eight, and a disk of 5 ms.
fn two_halves() -> (Batching, Duration) {
    let mut batching = Batching::default();
    let mut now = Duration::ZERO;
    for _ in 0..100 {
        now += MICRO * 5_000;
        batching.flushed(now, Some(MICRO * 5_000), 8);
        (0..8).for_each(|place| batching.arrived(now + MICRO * (100 + place)));
    }
    now += MICRO * 5_000;
    batching.flushed(now, Some(MICRO * 5_000), 8);
    (batching, now)
}

#[test]
fn waits_for_those_who_are_about_to_return_and_no_longer() {
    let (mut batching, now) = two_halves();
    let hold = batching.hold(now, 8).expect("eight more come within a small part of a sync");
    assert_eq!(hold.appends, 8);
    assert!(hold.until - now < MICRO * 200, "{hold:?}");
    assert_eq!(batching.hold(hold.until, 8), None, "who is late is not waited for");
    (0..8).for_each(|_| batching.arrived(now + MICRO * 90));
    assert_eq!(batching.hold(now + MICRO * 90, 16), None, "all are there");
}

#[test]
fn one_slow_sync_stretches_nothing() {
    let (mut batching, now) = two_halves();
    let usual = batching.hold(now, 8).unwrap().until - now;
    let later = now + Duration::from_secs(3);
    (0..8).for_each(|_| batching.arrived(now + MICRO * 100));
    batching.flushed(later, Some(Duration::from_secs(3)), 8);
    assert!(batching.sync < MICRO * 6_000, "{:?}", batching.sync);
    let held = batching.hold(later, 8).unwrap().until - later;
    assert!(held <= usual * 3 / 2, "{held:?} after {usual:?}");
}

#[test]
fn clients_that_do_not_return_are_soon_not_waited_for() {
    let (mut batching, mut now) = two_halves();
    let mut held = 0;
    for _ in 0..100 {
        held += u32::from(batching.hold(now, 8).is_some());
        now += MICRO * 5_000;
        batching.flushed(now, Some(MICRO * 5_000), 8);
    }
    assert!(held < 50, "held {held} times of 100");
}
