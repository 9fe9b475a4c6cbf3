//! Owns the choice of what a loss of power leaves: which of the unsynced units landed on the
//! medium, as a set with a short text, so that a failing case can be named and played again.
//!
//! Promises: `all_choices` meets every image that differs, and none twice; `special_choices` meets
//! the orders in which disks like to write. Takes its random numbers from the caller.

use std::fmt;
use std::str::FromStr;

use super::medium::UnitKind;

/// Which unsynced units landed. As text: a hexadecimal number whose lowest bit is the first unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Landed(Vec<u64>);

impl Landed {
    /// None of them.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// All of so many units.
    #[must_use]
    pub fn all(units: usize) -> Self {
        (0..units).collect()
    }

    /// Adds a unit.
    pub fn insert(&mut self, unit: usize) {
        if self.0.len() <= unit / 64 {
            self.0.resize(unit / 64 + 1, 0);
        }
        self.0[unit / 64] |= 1 << (unit % 64);
    }

    /// Whether this unit landed.
    #[must_use]
    pub fn contains(&self, unit: usize) -> bool {
        self.0.get(unit / 64).is_some_and(|word| word >> (unit % 64) & 1 == 1)
    }

    /// Each unit by chance, of so many; `next` gives random numbers. Often none, few, nearly all or
    /// all land.
    #[must_use]
    pub fn sample(units: usize, mut next: impl FnMut() -> u64) -> Self {
        let percent = [0, 8, 30, 50, 50, 70, 92, 100][(next() % 8) as usize];
        (0..units).filter(|_| next() % 100 < percent).collect()
    }
}

impl FromIterator<usize> for Landed {
    fn from_iter<I: IntoIterator<Item = usize>>(units: I) -> Self {
        let mut landed = Self::default();
        units.into_iter().for_each(|unit| landed.insert(unit));
        landed
    }
}

impl fmt::Display for Landed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = self.0.iter().rev().skip_while(|word| **word == 0);
        write!(f, "{:x}", words.next().unwrap_or(&0))?;
        words.try_for_each(|word| write!(f, "{word:016x}"))
    }
}

impl FromStr for Landed {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut landed = Self::default();
        for (place, digit) in text.chars().rev().enumerate() {
            let digit = u8::from_str_radix(&digit.to_string(), 16)?;
            (0..4)
                .filter(|bit| digit >> bit & 1 == 1)
                .for_each(|bit| landed.insert(place * 4 + bit));
        }
        Ok(landed)
    }
}

/// How many images differ: of each place none of the versions landed, or one was the last. `None`
/// where they are more than fit.
#[must_use]
pub fn count_choices(places: &[Vec<usize>]) -> Option<u64> {
    places.iter().try_fold(1_u64, |count, versions| count.checked_mul(versions.len() as u64 + 1))
}

/// Every choice that gives an image of its own. `places` are the units that change one place each,
/// as `SimDisk::places` tells them.
pub fn all_choices(places: &[Vec<usize>]) -> impl Iterator<Item = Landed> {
    let count = count_choices(places).unwrap_or(u64::MAX);
    (0..count).map(move |mut number| {
        let mut landed = Landed::default();
        for versions in places {
            let radix = versions.len() as u64 + 1;
            if let Some(last) = (number % radix).checked_sub(1) {
                landed.insert(versions[last as usize]);
            }
            number /= radix;
        }
        landed
    })
}

/// The choices that most resemble what disks do: nothing, everything, one alone, all but one, what
/// came first, what came last, data without metadata and metadata without data. Where there are
/// many units, some of each kind; `next` gives random numbers.
pub fn special_choices(units: &[UnitKind], mut next: impl FnMut() -> u64) -> Vec<Landed> {
    const EACH: usize = 8;
    let count = units.len();
    let of = |wanted: &dyn Fn(UnitKind) -> bool| -> Landed {
        units.iter().enumerate().filter(|(_, kind)| wanted(**kind)).map(|(unit, _)| unit).collect()
    };
    let mut choices = vec![
        Landed::none(),
        Landed::all(count),
        of(&|kind| kind == UnitKind::Sector),
        of(&|kind| kind != UnitKind::Sector),
        of(&|kind| kind == UnitKind::Size),
        of(&|kind| kind == UnitKind::Entry),
    ];
    let mut shapes: Vec<usize> = (0..count).collect();
    if count > EACH {
        shapes = (0..EACH).map(|_| (next() % count as u64) as usize).collect();
        shapes.extend([0, count - 1]);
    }
    for at in shapes {
        choices.push([at].into_iter().collect());
        choices.push((0..count).filter(|unit| *unit != at).collect());
        choices.push((0..at).collect());
        choices.push((at..count).collect());
    }
    choices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_what_its_text_says() {
        for units in [vec![], vec![0], vec![3, 4], vec![0, 63, 64, 130], (0..200).collect()] {
            let landed: Landed = units.iter().copied().collect();
            let again: Landed = landed.to_string().parse().unwrap();
            assert!((0..300).all(|unit| again.contains(unit) == units.contains(&unit)), "{landed}");
        }
        assert_eq!(Landed::all(5).to_string(), "1f");
        assert_eq!(Landed::none().to_string(), "0");
        assert!("x1".parse::<Landed>().is_err());
    }

    #[test]
    fn every_image_is_chosen_once() {
        let places = [vec![0, 3, 4], vec![1], vec![2]];
        let chosen: Vec<_> = all_choices(&places).map(|landed| landed.to_string()).collect();
        let mut different = chosen.clone();
        different.sort();
        different.dedup();
        assert_eq!((chosen.len(), different.len()), (16, 16), "{chosen:?}");
        assert_eq!(count_choices(&places), Some(16));
    }
}
