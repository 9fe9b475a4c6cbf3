//! Tests of the bell: who is woken and who is not, and that no wake is missed however threads meet.

use std::sync::atomic::AtomicU64;
use std::task::Wake;
use std::time::Duration;

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::stage::park;

/// A waker that counts its wakes, and does something more at each.
struct Counter {
    wakes: AtomicUsize,
    then: Box<dyn Fn() + Send + Sync>,
}

impl Counter {
    fn new(then: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { wakes: AtomicUsize::new(0), then: Box::new(then) })
    }

    fn wakes(&self) -> usize {
        self.wakes.load(Ordering::SeqCst)
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        (self.then)();
    }
}

/// A seat for some keys, none for everything, that is armed with a counter.
fn waiting(bell: &Arc<Bell>, keys: &[u64]) -> (Place, Arc<Counter>) {
    let interest = match keys {
        [] => Interest::Everything,
        keys => Interest::Keys(keys.to_vec()),
    };
    let (place, counter) = (bell.take_place(interest), Counter::new(|| {}));
    place.arm(&Arc::clone(&counter).into());
    (place, counter)
}

fn keys(bell: &Bell, hashes: &[u64]) -> Keys {
    let mut keys = Keys::heard_by(bell);
    hashes.iter().for_each(|hash| keys.add(*hash));
    keys
}

#[test]
fn a_ring_wakes_whom_it_concerns_and_nobody_else() {
    let bell = Arc::new(Bell::default());
    let asked: [&[u64]; 5] = [&[], &[7], &[8], &[8, 9, 9], &[u64::MAX]];
    let seats: Vec<_> = asked.iter().map(|keys| waiting(&bell, keys)).collect();
    let wakes = || seats.iter().map(|(_, counter)| counter.wakes()).collect::<Vec<_>>();
    bell.ring(&keys(&bell, &[1, 2, 3]));
    assert_eq!(wakes(), [1, 0, 0, 0, 0]);
    bell.ring(&keys(&bell, &[8, 1, 8, 8]));
    assert_eq!(wakes(), [1, 0, 1, 1, 0]);
    bell.ring(&keys(&bell, &[7, 8, 9]));
    assert_eq!(wakes(), [1, 1, 1, 1, 0], "once armed, once woken");
    for (place, counter) in &seats[2..] {
        place.arm(&Arc::clone(counter).into());
        place.arm(&Arc::clone(counter).into());
    }
    bell.ring(&keys(&bell, &[9]));
    assert_eq!(wakes(), [1, 1, 1, 2, 0]);
    bell.ring(&keys(&bell, &[]));
    assert_eq!(wakes(), [1, 1, 1, 2, 0]);
    bell.ring(&Keys::default());
    assert_eq!(wakes(), [1, 1, 2, 2, 1], "without collected keys everybody is concerned");
    assert_eq!(bell.armed(), 0);
}

#[test]
fn keys_are_collected_only_for_somebody() {
    let bell = Arc::new(Bell::default());
    assert!(keys(&bell, &[1]).collected().is_none());
    let (everything, _) = waiting(&bell, &[]);
    assert!(keys(&bell, &[1]).collected().is_none());
    let (keyed, _) = waiting(&bell, &[4]);
    assert_eq!(keys(&bell, &[1, 2]).collected(), Some(&[1, 2][..]));
    drop((everything, keyed));
    assert!(keys(&bell, &[1]).collected().is_none());
}

#[test]
fn whoever_leaves_leaves_nothing_behind() {
    let bell = Arc::new(Bell::default());
    let asked: [&[u64]; 4] = [&[], &[7], &[7, 8, 8], &[]];
    let mut seats: Vec<_> = asked.iter().map(|keys| waiting(&bell, keys)).collect();
    let (_, gone) = seats.remove(2);
    bell.ring(&keys(&bell, &[7, 8]));
    assert_eq!(gone.wakes(), 0);
    assert_eq!(seats[1].1.wakes(), 1, "who stays is still told");
    assert_eq!(Arc::strong_count(&gone), 1, "its waker is dropped");
    drop(seats);
    let board = bell.board();
    assert!(board.everything.is_empty() && board.rows.is_empty());
    let counts = [&bell.armed, &bell.keyed].map(|count| count.load(Ordering::SeqCst));
    assert_eq!(counts, [0, 0]);
}

#[test]
fn closing_wakes_everybody() {
    let bell = Arc::new(Bell::default());
    let seats = [waiting(&bell, &[]), waiting(&bell, &[3])];
    assert!(!bell.is_closed());
    bell.close();
    assert!(bell.is_closed());
    assert!(seats.iter().all(|(_, counter)| counter.wakes() == 1));
}

#[test]
fn a_waker_may_panic_and_may_use_the_bell() {
    let bell = Arc::new(Bell::default());
    let seats = [waiting(&bell, &[]), waiting(&bell, &[]), waiting(&bell, &[])];
    let held = Arc::new(Mutex::new(Some(bell.take_place(Interest::Everything))));
    seats[0].0.arm(&Counter::new(|| panic!("injected")).into());
    let (shared, taken) = (Arc::clone(&bell), Arc::clone(&held));
    let leave = move || {
        drop(waiting(&shared, &[1]));
        shared.ring(&Keys::default());
        taken.lock().unwrap().take();
    };
    seats[1].0.arm(&Counter::new(leave).into());
    bell.ring(&Keys::default());
    assert_eq!(seats[2].1.wakes(), 1);
    assert!(held.lock().unwrap().is_none());
}

/// What the threads of the race below share: how often each key was told of, and how far each
/// follower has seen that.
struct Race {
    bell: Arc<Bell>,
    marks: [AtomicU64; KEYS],
    seen: [AtomicU64; FOLLOWERS],
    closed: AtomicBool,
}

/// The first stands for everything.
const KEYS: usize = 4;
const FOLLOWERS: usize = 8;

impl Race {
    /// Follows one key, and leaves the bell and comes back now and then.
    fn follow(&self, number: usize) {
        let key = number % KEYS;
        let interest = || match key {
            0 => Interest::Everything,
            key => Interest::Keys(vec![key as u64]),
        };
        let mut place = self.bell.take_place(interest());
        let mut seen = 0;
        while !self.closed.load(Ordering::Acquire) {
            seen = park::wait(&SystemClock::default(), Duration::MAX, |waker| {
                let news = || {
                    let mark = self.marks[key].load(Ordering::Acquire);
                    (mark > seen || self.closed.load(Ordering::Acquire)).then_some(mark)
                };
                news().or_else(|| {
                    // So that rings come between the look and the waker.
                    (0..seen % 512).for_each(|_| std::hint::spin_loop());
                    place.arm(waker);
                    news()
                })
            })
            .expect("without a timeout there is an answer");
            self.seen[number].store(seen, Ordering::Release);
            if seen % 5 == 0 {
                place = self.bell.take_place(interest());
            }
        }
    }

    fn tell(&self, key: usize) {
        let rung = keys(&self.bell, &[key as u64]);
        self.marks[0].fetch_add(1, Ordering::Release);
        self.marks[key].fetch_add(1, Ordering::Release);
        self.bell.ring(&rung);
    }

    fn is_seen(&self) -> bool {
        let seen = self.seen.iter().map(|seen| seen.load(Ordering::Acquire));
        let marks = self.marks.iter().map(|mark| mark.load(Ordering::Acquire));
        seen.zip(marks.cycle()).all(|(seen, mark)| seen == mark)
    }
}

#[test]
fn no_wake_is_missed_however_threads_meet() {
    let seed = std::env::var("PAPERCHASE_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut random: u64 = seed.unwrap_or_else(|| crate::clock::fresh_log_id().as_u64_pair().0 | 1);
    println!("PAPERCHASE_SEED={random}");
    let mut below = |end: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % end
    };
    let race = Race {
        bell: Arc::default(),
        marks: Default::default(),
        seen: Default::default(),
        closed: AtomicBool::new(false),
    };
    let clock = SystemClock::default();
    std::thread::scope(|scope| {
        let race = &race;
        let spawn = |number| scope.spawn(move || race.follow(number));
        let followers: Vec<_> = (0..FOLLOWERS).map(spawn).collect();
        for burst in 0..5_000 {
            for _ in 0..=below(3) {
                race.tell(1 + below(KEYS as u64 - 1) as usize);
                (0..below(200)).for_each(|_| std::hint::spin_loop());
            }
            // Nobody rings meanwhile, so a follower that missed its wake sleeps for ever; the limit
            // only names that.
            let limit = clock.monotonic() + Duration::from_secs(60);
            while !race.is_seen() && clock.monotonic() < limit {
                std::thread::yield_now();
            }
            if !race.is_seen() {
                race.closed.store(true, Ordering::Release);
                followers.iter().for_each(|follower| follower.thread().unpark());
                panic!("a wake was missed in burst {burst}");
            }
        }
        race.closed.store(true, Ordering::Release);
        race.bell.close();
    });
    assert_eq!(race.bell.armed(), 0);
}
