//! Owns what a load is mixed from: sizes of payloads, events of an append, and which stream is
//! next.
//!
//! Promises: a draw follows from its random words alone, so the same seed gives the same load on
//! every run. What people write (`uniform:64..4096`) is checked where it is read, and printed as it
//! was meant.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::super::args;

/// Payloads that a log takes beside everything else that an event holds.
pub(super) const PAYLOAD_SIZES: RangeInclusive<u64> = 16..=15 << 20;
const BATCH_MAX: u32 = 100_000;
const EXPONENT_MAX: f64 = 10.0;
const SIGMA_MAX: f64 = 4.0;
/// Sigmas above its median at which a log-normal size is cut off where no limit is named.
const CUT_SIGMAS: f64 = 4.0;

/// The SplitMix64 generator: small, and the same on every machine.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The numbers that follow from a seed and the number of a part of the load.
    pub(super) fn new(seed: u64, part: u64) -> Self {
        let mut parts = Self(part);
        Self(seed ^ parts.word())
    }

    pub(super) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// At least 0 and below 1.
    pub(super) fn unit(&mut self) -> f64 {
        unit(self.word())
    }
}

#[expect(clippy::cast_precision_loss, reason = "53 bits are kept, as many as a fraction has")]
fn unit(word: u64) -> f64 {
    (word >> 11) as f64 / (1_u64 << 53) as f64
}

/// A number from 0 to below `end`.
fn below(end: u64, word: u64) -> u64 {
    u64::try_from((u128::from(word) * u128::from(end)) >> 64).unwrap_or(0)
}

/// How large payloads are, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sizes {
    Fixed(u64),
    Uniform(u64, u64),
    /// The logarithm is normal around that of the median; nothing is above `max`.
    LogNormal {
        median: u64,
        sigma: f64,
        max: u64,
    },
}

impl Sizes {
    /// A size from two random words.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "the size is cut to its limits behind the cast, which saturates"
    )]
    pub(super) fn draw(self, words: [u64; 2]) -> u64 {
        match self {
            Self::Fixed(size) => size,
            Self::Uniform(low, high) => low + below(high - low + 1, words[0]),
            Self::LogNormal { median, sigma, max } => {
                let turn = std::f64::consts::TAU * unit(words[1]);
                let normal = (-2.0 * (1.0 - unit(words[0])).ln()).sqrt() * turn.cos();
                let size = (median as f64 * (sigma * normal).exp()).round() as u64;
                size.clamp(*PAYLOAD_SIZES.start(), max)
            }
        }
    }

    /// The mean of many draws.
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    pub(super) fn mean(self) -> f64 {
        match self {
            Self::Fixed(size) => size as f64,
            Self::Uniform(low, high) => f64::midpoint(low as f64, high as f64),
            Self::LogNormal { median, sigma, .. } => median as f64 * (sigma * sigma / 2.0).exp(),
        }
    }

    /// The largest that can be drawn.
    pub(super) fn max(self) -> u64 {
        match self {
            Self::Fixed(size) => size,
            Self::Uniform(_, high) => high,
            Self::LogNormal { max, .. } => max,
        }
    }
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sizes = match text.split_once(':') {
            None => Self::Fixed(args::size(text)?),
            Some(("uniform", range)) => {
                let (low, high) = range_of(range, args::size)?;
                Self::Uniform(low, high)
            }
            Some(("lognormal", rest)) => log_normal(rest)?,
            Some((kind, _)) => {
                return Err(format!(
                    "{kind:?} is no spread of sizes; write 256, uniform:64..4096 or lognormal:256:1"
                ));
            }
        };
        let least = match sizes {
            Self::Fixed(low) | Self::Uniform(low, _) | Self::LogNormal { median: low, .. } => low,
        };
        if PAYLOAD_SIZES.contains(&least) && PAYLOAD_SIZES.contains(&sizes.max()) {
            Ok(sizes)
        } else {
            Err("a payload must be 16 bytes to 15 MiB".to_owned())
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the limit is cut to what a payload may be; casts saturate"
)]
fn log_normal(text: &str) -> Result<Sizes, String> {
    let mut fields = text.split(':');
    let median = args::size(fields.next().unwrap_or_default())?;
    let sigma = fields.next().and_then(|text| text.parse().ok());
    let sigma: f64 = sigma.filter(|sigma| (0.0..=SIGMA_MAX).contains(sigma)).ok_or_else(|| {
        format!(
            "write lognormal:MEDIAN:SIGMA, sigma from 0 to {SIGMA_MAX}, such as lognormal:256:1"
        )
    })?;
    let reach = (median as f64 * (CUT_SIGMAS * sigma).exp()) as u64;
    let max = fields.next().map(args::size).transpose()?;
    let max = max.unwrap_or(reach.clamp(median, (*PAYLOAD_SIZES.end()).max(median)));
    match fields.next() {
        Some(_) => Err("write lognormal:MEDIAN:SIGMA:MAX and no more".to_owned()),
        None if max < median => Err("the largest size is below the median".to_owned()),
        None => Ok(Sizes::LogNormal { median, sigma, max }),
    }
}

fn range_of<T: PartialOrd>(
    text: &str,
    number: impl Fn(&str) -> Result<T, String>,
) -> Result<(T, T), String> {
    let (low, high) =
        text.split_once("..").ok_or_else(|| format!("{text:?} is no range; write LOW..HIGH"))?;
    let (low, high) = (number(low)?, number(high.trim_start_matches('='))?);
    if low <= high { Ok((low, high)) } else { Err(format!("{text:?} goes backwards")) }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Uniform(low, high) => write!(f, "uniform:{low}..{high}"),
            Self::LogNormal { median, sigma, max } => write!(f, "lognormal:{median}:{sigma}:{max}"),
        }
    }
}

/// How many events an append has; both ends are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batches {
    low: u32,
    high: u32,
}

impl Batches {
    pub(super) fn draw(self, word: u64) -> u32 {
        let span = u64::from(self.high - self.low) + 1;
        self.low + u32::try_from(below(span, word)).unwrap_or(0)
    }

    pub(super) fn mean(self) -> f64 {
        f64::midpoint(self.low.into(), self.high.into())
    }

    pub(super) fn max(self) -> u32 {
        self.high
    }
}

impl FromStr for Batches {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let number = text.parse().ok().filter(|number| (1..=BATCH_MAX).contains(number));
            number.ok_or_else(|| format!("{text:?} is not a number from 1 to {BATCH_MAX}"))
        };
        let (low, high) = match text.split_once(':') {
            None => (number(text)?, number(text)?),
            Some(("uniform", range)) => range_of(range, number)?,
            Some((kind, _)) => {
                return Err(format!("{kind:?} is no spread of events; write 1 or uniform:1..10"));
            }
        };
        Ok(Self { low, high })
    }
}

impl fmt::Display for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { low, high } = self;
        if low == high { write!(f, "{low}") } else { write!(f, "uniform:{low}..{high}") }
    }
}

/// Which stream of a client an append is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Skew {
    /// One after the other.
    Turns,
    Uniform,
    /// The n-th stream as often as 1/n to the power of the exponent.
    Zipf(f64),
}

impl FromStr for Skew {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "turns" => Ok(Self::Turns),
            None if text == "uniform" => Ok(Self::Uniform),
            Some(("zipf", exponent)) => exponent
                .parse()
                .ok()
                .filter(|exponent| (0.0..=EXPONENT_MAX).contains(exponent))
                .map(Self::Zipf)
                .ok_or_else(|| format!("the exponent of zipf is from 0 to {EXPONENT_MAX}")),
            _ => Err(format!("{text:?} is no skew; write turns, uniform or zipf:1.0")),
        }
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Turns => f.write_str("turns"),
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(exponent) => write!(f, "zipf:{exponent}"),
        }
    }
}

/// Chooses streams by a [`Skew`].
#[derive(Clone, Debug)]
pub(super) struct Chooser {
    streams: u32,
    skew: Skew,
    next: u32,
    /// Of each stream, the part of all appends that it and those before it get.
    shares: Vec<f64>,
}

impl Chooser {
    /// Chooses from so many streams, at least one.
    pub(super) fn new(streams: u32, skew: Skew) -> Self {
        let mut shares = Vec::new();
        if let Skew::Zipf(exponent) = skew {
            let mut sum = 0.0;
            shares.extend((1..=streams).map(|rank| {
                sum += f64::from(rank).powf(-exponent);
                sum
            }));
            shares.iter_mut().for_each(|share| *share /= sum);
        }
        Self { streams, skew, next: 0, shares }
    }

    pub(super) fn choose(&mut self, word: u64) -> u32 {
        let chosen = match self.skew {
            Skew::Turns => {
                let chosen = self.next;
                self.next = (chosen + 1) % self.streams;
                return chosen;
            }
            Skew::Uniform => u32::try_from(below(self.streams.into(), word)),
            Skew::Zipf(_) => {
                let point = unit(word);
                u32::try_from(self.shares.partition_point(|share| *share <= point))
            }
        };
        // The last share is 1 but for rounding.
        chosen.unwrap_or(0).min(self.streams - 1)
    }
}

#[cfg(test)]
mod tests;
