//! Owns how a value becomes a place on an axis, and which values are named there.
//!
//! Promises: a place is a finite number of 0 to 1, whatever the value, so a drawing holds no
//! infinity and nothing outside of it. At least two places of an axis are named. Draws nothing.

use super::markup::{plain_time, short};

/// Ticks of a linear axis, about.
const TICKS: f64 = 6.0;
/// How far an axis of amounts goes beyond its largest, as a factor.
const ROOM: f64 = 1.05;

/// One axis of a chart.
#[derive(Clone, Debug, Default)]
pub(super) struct Axis {
    pub(super) title: String,
    pub(super) ticks: Vec<Tick>,
    min: f64,
    max: f64,
    logarithmic: bool,
}

/// A named place.
#[derive(Clone, Debug)]
pub(super) struct Tick {
    /// 0 to 1.
    pub(super) at: f64,
    /// HTML; empty for a line without a name.
    pub(super) name: String,
    /// Left out where there is little room.
    pub(super) fine: bool,
}

impl Axis {
    /// From 0 to somewhat more than `max`, with ticks in equal steps, named by `name`.
    pub(super) fn linear(title: &str, max: f64, name: fn(f64) -> String) -> Self {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let step = step(max / TICKS);
        let mut axis = Self { max: max * ROOM, title: title.to_owned(), ..Self::default() };
        axis.steps(step, name);
        axis
    }

    /// Of seconds, which end where they end.
    pub(super) fn seconds(max: f64) -> Self {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let title = "seconds of the measured time".to_owned();
        let mut axis = Self { max, title, ..Self::default() };
        axis.steps(step(max / TICKS), short);
        axis
    }

    fn steps(&mut self, step: f64, name: fn(f64) -> String) {
        for index in 0..=(self.max * 1.001 / step) as u32 {
            let value = step * f64::from(index);
            self.tick(value, name(value), index % 2 == 1);
        }
    }

    /// Of rates a second.
    pub(super) fn rates(title: &str, max: f64) -> Self {
        Self::linear(title, max, short)
    }

    /// Of times in nanoseconds, in equal steps for equal ratios.
    pub(super) fn times(values: impl IntoIterator<Item = u64>) -> Self {
        let values = values.into_iter().map(|value| value.max(1) as f64);
        let bounds = values.fold(None, |bounds: Option<(f64, f64)>, value| {
            let (min, max) = bounds.unwrap_or((value, value));
            Some((min.min(value), max.max(value)))
        });
        let (min, max) = bounds.unwrap_or((1e3, 1e6));
        let fine = max / min < 300.0;
        let (mut min, mut max) = (below(min), step(max));
        while max / min < 9.9 {
            (min, max) = (below(min * 0.99), step(max * 1.01));
        }
        let mut axis = Self { min, max, logarithmic: true, ..Self::default() };
        let (first, last) = (min.log10().floor() as i32, max.log10().ceil() as i32);
        for decade in first..=last {
            for (digit, named) in [(1.0, true), (2.0, fine), (5.0, fine)] {
                let value = 10_f64.powi(decade) * digit;
                if (min * 0.999..=max * 1.001).contains(&value) {
                    let name = if named { plain_time(value) } else { String::new() };
                    axis.tick(value, name, digit > 1.0 && max / min > 30.0);
                }
            }
        }
        axis
    }

    /// Of percentiles, in equal steps for each further nine: `decades` of them.
    pub(super) fn nines(decades: f64) -> Self {
        let max = if decades.is_finite() { decades.clamp(1.0, 12.0) } else { 1.0 };
        let title = "percentile".to_owned();
        let mut axis = Self { max, title, ..Self::default() };
        let names = ["0", "90", "99", "99.9", "99.99", "99.999", "99.9999", "99.99999"];
        for (decade, name) in names.into_iter().enumerate() {
            if decade as f64 <= max {
                axis.tick(decade as f64, format!("{name}%"), decade == 1 && max > 4.0);
            }
        }
        // A label at the very end would run into the one before.
        if max < 2.0 {
            for (name, value) in [("50%", 0.301), ("75%", 0.602)] {
                axis.tick(value, name.to_owned(), true);
            }
        }
        axis
    }

    fn tick(&mut self, value: f64, name: String, fine: bool) {
        let at = self.place(value);
        self.ticks.push(Tick { at, name, fine });
    }

    /// Where a value lies: 0 at the beginning of the axis, 1 at its end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let part = if self.logarithmic {
            let value = if value > self.min { value } else { self.min };
            (value / self.min).log10() / (self.max / self.min).log10()
        } else {
            (value - self.min) / (self.max - self.min)
        };
        if part.is_nan() { 0.0 } else { part.clamp(0.0, 1.0) }
    }
}

/// How many nines a percentile has: 1 for 90, 2 for 99; of the largest of `samples`, as many as
/// they can carry.
pub(super) fn nines(percentile: f64, samples: u64) -> f64 {
    let end = (samples.max(1) as f64).log10();
    let beyond = 1.0 - percentile / 100.0;
    if beyond > 0.0 { (-beyond.log10()).clamp(0.0, end.max(0.0)) } else { end }
}

/// The next of 1, 2, 5, 10, ... from here on.
fn step(least: f64) -> f64 {
    let decade = 10_f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().find(|step| step * decade >= least * 0.999);
    step.unwrap_or(10.0) * decade
}

/// The one before of 1, 2, 5, 10, ... from here on.
fn below(value: f64) -> f64 {
    let decade = 10_f64.powf((value * 1.001).log10().floor());
    let steps = [5.0, 2.0].map(|step| step * decade);
    steps.into_iter().find(|step| *step <= value * 1.001).unwrap_or(decade)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(axis: &Axis) -> Vec<String> {
        let named = axis.ticks.iter().filter(|tick| !tick.name.is_empty());
        named.map(|tick| tick.name.replace("&nbsp;", " ")).collect()
    }

    #[test]
    fn axes_have_round_ends() {
        assert_eq!(names(&Axis::rates("", 83_000.0)), ["0", "20k", "40k", "60k", "80k"]);
        let times = Axis::times([41_000, 62_000_000]);
        assert_eq!(names(&times), ["100 \u{b5}s", "1 ms", "10 ms", "100 ms"]);
        assert_eq!(names(&Axis::times([300_000, 1_100_000]))[0], "200 \u{b5}s");
        assert_eq!(names(&Axis::nines(3.2)), ["0%", "90%", "99%", "99.9%"]);
        assert_eq!(names(&Axis::seconds(13.0)), ["0", "5", "10"]);
    }

    #[test]
    fn every_place_is_on_the_axis() {
        let axes = [
            Axis::rates("", f64::NAN),
            Axis::rates("", 0.0),
            Axis::rates("", 1e300),
            Axis::seconds(0.0),
            Axis::times([]),
            Axis::times([0]),
            Axis::times([u64::MAX]),
            Axis::times([1, u64::MAX]),
            Axis::nines(f64::INFINITY),
            Axis::nines(0.0),
        ];
        for axis in &axes {
            let values = [f64::NAN, f64::INFINITY, -f64::INFINITY, -1.0, 0.0, 1.0, 1e9, 1e308];
            for value in values {
                assert!((0.0..=1.0).contains(&axis.place(value)), "{value} on {axis:?}");
            }
            assert!(names(axis).len() >= 2, "{axis:?}");
            assert!(axis.ticks.len() < 60, "{axis:?}");
        }
    }

    #[test]
    fn the_largest_sample_stands_where_its_count_allows() {
        assert_eq!(nines(100.0, 1_000), 3.0);
        assert!((nines(99.0, 1_000) - 2.0).abs() < 1e-9);
        assert_eq!(nines(99.9999, 1_000), 3.0);
        assert_eq!([nines(50.0, 0), nines(100.0, 0), nines(100.0, 1)], [0.0, 0.0, 0.0]);
    }
}
