//! Owns the proof that draws are spread as their names say, on fixed seeds.

use super::*;

fn draws(text: &str, count: u64) -> Vec<u64> {
    let sizes: Sizes = text.parse().unwrap();
    let mut random = Random::new(7, 0);
    (0..count).map(|_| sizes.draw([random.word(), random.word()])).collect()
}

#[test]
fn sizes_are_spread_as_asked() {
    assert!(draws("1KiB", 100).iter().all(|size| *size == 1024));
    let uniform = draws("uniform:64..66", 30_000);
    for size in 64..=66 {
        let count = uniform.iter().filter(|drawn| **drawn == size).count();
        assert!((9_500..10_500).contains(&count), "{size}: {count}");
    }
    let mut normal = draws("lognormal:256:1", 100_000);
    normal.sort_unstable();
    let at = |percent: usize| normal[normal.len() * percent / 100];
    // One sigma above the median is 256 e, below it 256 / e.
    assert!((250..262).contains(&at(50)), "{}", at(50));
    assert!((670..722).contains(&at(84)) && (91..98).contains(&at(16)), "{} {}", at(84), at(16));
    assert!(normal[0] >= 16 && normal.last() <= Some(&13_977), "{:?}", normal.last());
    let mean = normal.iter().sum::<u64>() as f64 / normal.len() as f64;
    let expected = "lognormal:256:1".parse::<Sizes>().unwrap().mean();
    assert!((mean / expected - 1.0).abs() < 0.02, "{mean} {expected}");
}

#[test]
fn batches_are_spread_as_asked() {
    let batches: Batches = "uniform:1..10".parse().unwrap();
    let mut random = Random::new(7, 1);
    let mut counts = [0; 11];
    (0..10_000).for_each(|_| counts[batches.draw(random.word()) as usize] += 1);
    assert!(counts[1..].iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    assert_eq!((counts[0], batches.mean(), batches.max()), (0, 5.5, 10));
}

#[test]
fn streams_are_chosen_by_turns_evenly_or_by_zipf() {
    let counts = |skew, streams: u32| {
        let mut chooser = Chooser::new(streams, skew);
        let mut random = Random::new(3, 0);
        let mut counts = vec![0_u32; streams as usize];
        (0..100_000).for_each(|_| counts[chooser.choose(random.word()) as usize] += 1);
        counts
    };
    assert_eq!(counts(Skew::Turns, 4), [25_000; 4]);
    let uniform = counts(Skew::Uniform, 10);
    assert!(uniform.iter().all(|count| (9_600..10_400).contains(count)), "{uniform:?}");
    let zipf = counts(Skew::Zipf(1.0), 100);
    // The harmonic number of 100 is 5.187.
    for (rank, slack) in [(1, 0.02), (2, 0.03), (10, 0.06)] {
        let expected = 100_000.0 / 5.187 / f64::from(rank);
        let found = f64::from(zipf[rank as usize - 1]);
        assert!((found / expected - 1.0).abs() < slack, "rank {rank}: {found} {expected}");
    }
    assert_eq!(counts(Skew::Zipf(1.0), 1), [100_000]);
}

#[test]
fn what_is_written_is_printed_again() {
    for text in ["256", "uniform:64..4096", "lognormal:256:1.5:4096"] {
        assert_eq!(text.parse::<Sizes>().unwrap().to_string(), text);
    }
    for text in ["1", "uniform:1..10"] {
        assert_eq!(text.parse::<Batches>().unwrap().to_string(), text);
    }
    for text in ["turns", "uniform", "zipf:0.9"] {
        assert_eq!(text.parse::<Skew>().unwrap().to_string(), text);
    }
}

#[test]
fn nonsense_is_refused_with_what_to_write() {
    let sizes = ["15", "16MiB", "uniform:64", "uniform:9..8", "uniform:1..99", "lognormal:256"];
    for text in sizes.into_iter().chain(["lognormal:256:9", "lognormal:256:1:64", "normal:3", ""]) {
        assert!(text.parse::<Sizes>().is_err(), "{text}");
    }
    for text in ["0", "100001", "uniform:0..3", "uniform:3..2", "zipf:2", "-1", ""] {
        assert!(text.parse::<Batches>().is_err(), "{text}");
    }
    for text in ["zipf", "zipf:-1", "zipf:11", "zipf:nan", "even", ""] {
        assert!(text.parse::<Skew>().is_err(), "{text}");
    }
    assert!("normal:3".parse::<Sizes>().unwrap_err().contains("lognormal:256:1"));
}
