//! Owns the plan of a load: what each append is, and in an open loop the moment it is due.
//!
//! Promises: drawn from the seed and the number of the client alone. The plan has no way to look at
//! the log, at a clock or at an answer, so a slow log is asked no less than a fast one. The rate is
//! that of all clients together, which only split it.

use super::mix::{Batches, Chooser, Random, Sizes, Skew};
use super::report::Arrivals;

/// What appends are mixed from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mix {
    pub(super) sizes: Sizes,
    pub(super) batches: Batches,
    /// Streams of each client, at least one.
    pub(super) streams: u32,
    pub(super) skew: Skew,
    /// Part of the appends that have an expected version and an operation id.
    pub(super) conditions: f64,
}

/// One append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) stream: u32,
    pub(super) batch: u32,
    pub(super) conditional: bool,
}

/// The appends of one client, one after the other, without an end.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    random: Random,
    chooser: Chooser,
    batches: Batches,
    conditions: f64,
}

impl Orders {
    pub(super) fn new(seed: u64, client: u32, mix: &Mix) -> Self {
        Self {
            random: Random::new(seed, 2 * u64::from(client)),
            chooser: Chooser::new(mix.streams, mix.skew),
            batches: mix.batches,
            conditions: mix.conditions,
        }
    }
}

impl Iterator for Orders {
    type Item = Order;

    fn next(&mut self) -> Option<Order> {
        let stream = self.chooser.choose(self.random.word());
        let batch = self.batches.draw(self.random.word());
        Some(Order { stream, batch, conditional: self.random.unit() < self.conditions })
    }
}

/// The moments at which one sender's appends are due, in nanoseconds since the load began.
#[derive(Clone, Debug)]
pub(super) struct Moments {
    random: Random,
    arrivals: Arrivals,
    /// Mean time between two, in nanoseconds.
    gap: f64,
    next: f64,
}

impl Moments {
    /// The moments of sender `sender` of `senders`, which make `rate` appends a second together.
    pub(super) fn new(
        seed: u64,
        (sender, senders): (u32, u32),
        rate: f64,
        arrivals: Arrivals,
    ) -> Self {
        let gap = 1e9 / rate;
        let mut moments = Self {
            random: Random::new(seed, 2 * u64::from(sender) + 1),
            arrivals,
            gap: gap * f64::from(senders),
            next: gap * f64::from(sender),
        };
        if arrivals == Arrivals::Poisson {
            moments.next = moments.step();
        }
        moments
    }

    fn step(&mut self) -> f64 {
        match self.arrivals {
            Arrivals::Constant => self.gap,
            Arrivals::Poisson => -self.gap * (1.0 - self.random.unit()).ln(),
        }
    }
}

impl Iterator for Moments {
    type Item = u64;

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times are not negative; a day of nanoseconds fits"
    )]
    fn next(&mut self) -> Option<u64> {
        let moment = self.next as u64;
        self.next += self.step();
        Some(moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn moments(seed: u64, sender: (u32, u32), arrivals: Arrivals) -> Vec<u64> {
        let moments = Moments::new(seed, sender, 1_000.0, arrivals);
        moments.take_while(|moment| *moment < 100 * SECOND).collect()
    }

    fn orders(seed: u64, client: u32) -> Vec<Order> {
        let mix = Mix {
            sizes: "256".parse().unwrap(),
            batches: "uniform:1..3".parse().unwrap(),
            streams: 10,
            skew: Skew::Zipf(1.0),
            conditions: 0.25,
        };
        Orders::new(seed, client, &mix).take(10_000).collect()
    }

    #[test]
    fn a_plan_follows_from_its_seed_alone() {
        let poisson = |seed, sender| moments(seed, (sender, 2), Arrivals::Poisson);
        assert_eq!(poisson(1, 0), poisson(1, 0));
        assert_ne!(poisson(1, 0), poisson(2, 0));
        assert_ne!(poisson(1, 0), poisson(1, 1));
        assert_eq!(orders(1, 0), orders(1, 0));
        assert_ne!(orders(1, 0), orders(2, 0));
        assert_ne!(orders(1, 0), orders(1, 1));
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced_over_all_senders() {
        let mut all = moments(1, (0, 2), Arrivals::Constant);
        all.extend(moments(1, (1, 2), Arrivals::Constant));
        all.sort_unstable();
        assert_eq!(all.len(), 100_000);
        assert!(all.windows(2).all(|pair| (999_999..=1_000_001).contains(&(pair[1] - pair[0]))));
    }

    /// Of a Poisson process the counts of a time, and the gaps, vary as much as they are large.
    #[test]
    fn poisson_arrivals_have_their_mean_and_their_variance() {
        let mut all = moments(1, (0, 2), Arrivals::Poisson);
        all.extend(moments(1, (1, 2), Arrivals::Poisson));
        all.sort_unstable();
        // 100,000 are expected, with a deviation of 316.
        assert!((99_000..101_000).contains(&all.len()), "{}", all.len());
        let mut counts = vec![0.0_f64; 10_000];
        all.iter().for_each(|moment| counts[(moment / (SECOND / 100)) as usize] += 1.0);
        let mean = counts.iter().sum::<f64>() / 1e4;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 1e4;
        assert!((variance / mean - 1.0).abs() < 0.05, "mean {mean}, variance {variance}");
        let short = all.windows(2).filter(|pair| pair[1] - pair[0] < SECOND / 1_000).count();
        let part = short as f64 / all.len() as f64;
        assert!((part - 0.632).abs() < 0.01, "{part} of the gaps are below the mean");
    }

    #[test]
    fn conditions_are_drawn_as_often_as_asked() {
        let count = orders(1, 0).iter().filter(|order| order.conditional).count();
        assert!((2_350..2_650).contains(&count), "{count}");
    }
}
