//! Owns the values that people write on the command line: sizes, numbers and times, and the
//! options that all verbs have that write.
//!
//! Promises: a size means what its unit says, and what does not fit is refused with the reason.

use std::time::Duration;

/// How a verb opens the log that it writes.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct Writing {
    /// Size of new chunk files, such as 64MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(super) chunk_size: Option<u64>,
    /// Write on a file system of the network too; its lock may keep out no second writer
    #[arg(long)]
    pub(super) allow_network_file_system: bool,
}

/// A size in bytes: `4096`, `64k`, `1MiB`. `k`, `m`, `g` alone and with `iB` are powers of 1024,
/// with `B` of 1000.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 =
        number.parse().map_err(|_| format!("{text:?} does not begin with a number"))?;
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => {
            return Err(format!("{unit:?} is no unit; use k, m, g, KiB, MiB, GiB, kB, MB or GB"));
        }
    };
    number.checked_mul(factor).ok_or_else(|| format!("{text:?} is too large"))
}

/// A number, also as tables print it: `1480`, `1,480`, `1_480`.
pub(super) fn number(text: &str) -> Result<u64, String> {
    let is_number = text
        .split([',', '_'])
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    let digits = text.replace([',', '_'], "");
    let number = digits.parse().ok().filter(|_| is_number);
    number.ok_or_else(|| format!("{text:?} is not a number from 0 to {}", u64::MAX))
}

/// A time between two looks, in seconds: as often as figures are new, at most once an hour.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok().filter(|seconds| (0.2..=3600.0).contains(seconds));
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| "must be 0.2 to 3600 seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_1024_or_1000() {
        let good = [
            ("4096", 4096),
            ("64k", 65536),
            ("1MiB", 1 << 20),
            ("2 g", 2 << 30),
            ("5MB", 5_000_000),
        ];
        for (text, bytes) in good {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn numbers_may_have_separators() {
        for text in ["1480", "1,480", "1_480"] {
            assert_eq!(number(text), Ok(1480), "{text}");
        }
        for text in ["", ",", "1,", "_1", "1,,0", "-1", "+1", "1.5", "x", "18446744073709551616"] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "k", "-1", "1.5m", "1x", "99999999999g", "18446744073709551616"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn intervals_are_neither_too_short_nor_endless() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "0.1", "-1", "NaN", "inf", "3601", "1s", ""] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }
}
