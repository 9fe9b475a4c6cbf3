//! Owns what makes figures void, and where a sweep bends: pure functions of a report's values.
//!
//! Promises: a sender that was late by itself voids the latencies it measured; a ledger that is
//! broken voids everything. A void rate is never the knee.

use super::report::{Distribution, Knee, Loop, Point};

/// Part of the reported latency that the sender's own lateness may reach.
const LATENESS_PART: f64 = 0.1;
/// Part of the plan that must be acked in the measured time.
const ACHIEVED_PART: f64 = 0.95;
/// How much slower than at the best rate p99 may be before the knee.
const KNEE_FACTOR: u64 = 5;

/// Why the figures of a load may not be quoted; empty when they may.
pub(super) fn void(driven: &Loop) -> Vec<String> {
    let mut why = Vec::new();
    if !driven.ledger.ok {
        why.push("the log does not hold what it acked".to_owned());
    }
    if let Some((response, lateness)) = driven.response.as_ref().zip(driven.lateness.as_ref()) {
        why.extend(late(response, lateness));
    }
    why
}

/// Says so where the sender was too late for its latencies to be the log's.
fn late(response: &Distribution, lateness: &Distribution) -> Option<String> {
    let (late, shown) = (lateness.at(99.9), response.at(99.0));
    (late as f64 > shown as f64 * LATENESS_PART).then(|| {
        format!(
            "the sender itself was {:.0} us late at p99.9, more than 10 % of the p99 response of \
             {:.0} us",
            late as f64 / 1e3,
            shown as f64 / 1e3
        )
    })
}

/// The last rate, going up, before one that may be quoted but is not reached, or whose p99 is
/// several times the best one below it. Void rates say nothing and are passed over.
pub(super) fn knee(points: &[Point]) -> Option<Knee> {
    let mut best = u64::MAX;
    let mut knee: Option<Knee> = None;
    for (index, point) in points.iter().enumerate().filter(|(_, point)| point.valid) {
        best = best.min(point.p99_ns);
        let rate = point.planned_rate;
        let beyond = if point.achieved_rate < rate * ACHIEVED_PART {
            let part = point.achieved_rate / rate * 100.0;
            Some(format!("at {rate:.0}/s only {part:.0} % are acked in time"))
        } else if point.p99_ns > best.saturating_mul(KNEE_FACTOR) {
            let factor = point.p99_ns as f64 / best as f64;
            Some(format!("at {rate:.0}/s p99 is {factor:.0} times the best"))
        } else {
            None
        };
        if beyond.is_some() {
            if let Some(knee) = &mut knee {
                knee.beyond = beyond;
            }
            return knee;
        }
        let (p99_ns, p999_ns) = (point.p99_ns, point.p999_ns);
        knee = Some(Knee { point: index, planned_rate: rate, p99_ns, p999_ns, beyond: None });
    }
    knee
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::super::report::histogram;
    use super::*;

    fn point(planned: f64, achieved: f64, p99_us: u64, valid: bool) -> Point {
        Point {
            planned_rate: planned,
            achieved_rate: achieved,
            p99_ns: p99_us * 1_000,
            p999_ns: p99_us * 2_000,
            valid,
            ..Point::default()
        }
    }

    #[test]
    fn the_knee_stands_before_latency_runs_away() {
        let mut points = vec![
            point(10.0, 10.0, 400, true),
            point(50.0, 50.0, 300, true),
            point(80.0, 80.0, 900, true),
            point(90.0, 90.0, 1_600, true),
            point(100.0, 99.0, 800, true),
        ];
        let found = knee(&points).unwrap();
        assert_eq!((found.point, found.planned_rate, found.p999_ns), (2, 80.0, 1_800_000));
        assert!(found.beyond.unwrap().contains("at 90/s p99 is 5 times"));
        // A rate that may not be quoted says nothing, also when it looks bad.
        points[3].valid = false;
        let found = knee(&points).unwrap();
        assert_eq!((found.point, found.beyond), (4, None));
    }

    #[test]
    fn the_knee_stands_before_a_rate_that_is_not_reached() {
        let points = [point(100.0, 100.0, 400, true), point(110.0, 101.0, 500, true)];
        let found = knee(&points).unwrap();
        assert_eq!(found.point, 0);
        assert!(found.beyond.unwrap().contains("only 92 %"));
        assert_eq!(knee(&points[1..]), None);
        assert_eq!(knee(&[point(1.0, 1.0, 1, false)]), None);
        assert_eq!(knee(&[]), None);
    }

    fn times(nanos: u64, tail: u64) -> Option<Distribution> {
        let mut times = histogram();
        times.saturating_record_n(nanos, 990);
        times.saturating_record_n(tail, 10);
        Some(Distribution::of(&times))
    }

    #[test]
    fn a_late_sender_voids_its_latencies() {
        let mut driven = Loop {
            response: times(1_000_000, 9_000_000),
            lateness: times(1_000, 90_000),
            ledger: Verdict { ok: true, ..Verdict::default() },
            ..Loop::default()
        };
        assert_eq!(void(&driven), Vec::<String>::new());
        driven.lateness = times(1_000, 110_000);
        let why = void(&driven);
        assert!(why.len() == 1 && why[0].contains("110 us late"), "{why:?}");
        driven.ledger.ok = false;
        assert_eq!(void(&driven).len(), 2);
    }
}
