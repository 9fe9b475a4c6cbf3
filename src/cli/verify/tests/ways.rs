//! Tests of the ways that a verification can go: with any number of jobs, of one chunk alone, and
//! past what the disk does not give.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::*;
use crate::disk::{DiskFile, Map};

/// Six chunks, of which the first five are sealed.
fn long() -> Maker {
    let mut maker = Maker::new();
    for _ in 0..5 {
        maker.group(&["cart-1", "cart-2"]);
        maker.group(&["audit", "cart-1"]);
        maker.seal();
    }
    maker.group(&["cart-2"]);
    maker.flush();
    maker.hint(maker.position, true);
    maker
}

fn path(maker: &Maker, number: u64) -> PathBuf {
    maker.dir.path().join(file_name(ChunkNumber::new(number)))
}

fn flip(maker: &Maker, number: u64, at: usize) {
    let mut bytes = std::fs::read(path(maker, number)).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(path(maker, number), bytes).unwrap();
}

#[test]
fn any_number_of_jobs_tells_the_same() {
    let maker = long();
    let told = |jobs| {
        let check = verify_by(maker.dir.path(), jobs);
        format!("{:?} {:?} {:?}", check.damage, check.notes, check.counts)
    };
    let same = |what: &str| {
        let one = told(1);
        for jobs in [2, 8] {
            assert_eq!(told(jobs), one, "{what}, {jobs} jobs");
        }
        one
    };
    let sound = same("sound");
    assert!(sound.contains("count: 0") && sound.contains("events: 21"), "{sound}");
    let mut seen = vec![sound];
    let places = [(1, 20), (0, 4100), (2, 4096 + 70), (3, 8192 + 4), (4, 16384 - 4096 + 20)];
    for (number, at) in places {
        flip(&maker, number, at);
        let damaged = same(&format!("chunk {number}, byte {at}"));
        assert!(!seen.contains(&damaged), "chunk {number}, byte {at} was not found");
        seen.push(damaged);
    }
    std::fs::remove_file(path(&maker, 2)).unwrap();
    same("a chunk missing");
    std::fs::copy(path(&maker, 0), path(&maker, 3)).unwrap();
    same("a chunk of another place");
}

#[test]
fn a_gap_of_a_stream_between_sealed_chunks_is_found() {
    let mut maker = Maker::new();
    maker.group(&["a", "b"]);
    maker.seal();
    maker.versions.insert("a", 3);
    maker.group(&["b", "a"]);
    maker.seal();
    maker.group(&["a"]);
    maker.flush();
    let check = verify(maker.dir.path());
    assert_eq!(found(&check), [(1, "version in the stream")]);
    let it = &check.damage.places[0].damage;
    assert_eq!((it.expected.as_str(), it.found.as_str()), ("1", "3"));
    assert!(it.offset > CHUNK_HEADER_SIZE + GROUP_HEADER_SIZE, "of the second event");
}

fn task_of(file: Arc<dyn DiskFile>, maker: &Maker, number: u64) -> Task {
    let next = std::fs::read(path(maker, number + 1)).unwrap();
    let next = Next::Chunk(ChunkHeader::decode(&next).unwrap());
    Task { file, number: ChunkNumber::new(number), next }
}

fn told(task: &Task, known: &Known) -> Told {
    match look(known, task, Some(Some(Before::start())), &ProgressBar::hidden()) {
        Look::Told(told) => *told,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_chunk_alone_is_verified_without_others() {
    let maker = long();
    let args = |number| Args { path: path(&maker, number), json: true, jobs: None };
    assert_eq!(run(&args(2)).unwrap(), Outcome::Good);
    assert_eq!(run(&args(5)).unwrap(), Outcome::Good);
    flip(&maker, 2, 4096 + 70);
    assert_eq!(run(&args(2)).unwrap(), Outcome::Damage);
    // A footer tells the log, where the header does not.
    flip(&maker, 3, 17);
    let damage = |number| {
        let file = Files::of(maker.dir.path()).unwrap().open(ChunkNumber::new(number)).unwrap();
        let task = Task { file, number: ChunkNumber::new(number), next: Next::Nothing };
        let known = Known { alone: true, ..Known::default() };
        match look(&known, &task, Some(None), &ProgressBar::hidden()) {
            Look::Told(told) => *told,
            other => panic!("{other:?}"),
        }
    };
    let told = damage(3);
    let whats: Vec<_> = told.damage.places.iter().map(|it| it.damage.what).collect();
    assert_eq!((whats, told.counts.events), (vec!["chunk header checksum"], 4));
    flip(&maker, 5, 17);
    let told = damage(5);
    assert_eq!((told.damage.count, told.counts.events), (1, 0));
    assert!(told.notes[0].contains("nothing tells the id of the log"), "{:?}", told.notes);
}

/// A file of which a part cannot be read.
#[derive(Debug)]
struct Bad(Arc<dyn DiskFile>, Range<u64>);

impl DiskFile for Bad {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        if offset < self.1.end && self.1.start < offset + bytes.len() as u64 {
            return Err(io::Error::other("bad sector"));
        }
        self.0.read_at(bytes, offset)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        unreachable!("verification writes nothing")
    }

    fn grow(&self, _: u64) -> io::Result<()> {
        unreachable!("verification writes nothing")
    }

    fn sync_data(&self) -> io::Result<()> {
        unreachable!("verification writes nothing")
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        self.0.next_data(offset)
    }

    fn next_hole(&self, offset: u64) -> io::Result<u64> {
        self.0.next_hole(offset)
    }

    fn map(&self, _: u64) -> io::Result<Map> {
        unreachable!("a mapped bad sector ends the process")
    }
}

#[test]
fn f29_a_bad_sector_is_a_finding_and_the_rest_is_read() {
    let mut maker = Maker::new();
    // Groups of more than a page, so that a sector is lost and a group behind it is not.
    for _ in 0..3 {
        maker.group(&["cart-1"; 40]);
    }
    maker.seal();
    maker.flush();
    let files = Files::of(maker.dir.path()).unwrap();
    let known = Known { log: Some(LOG), ..Known::default() };
    let sound = files.open(ChunkNumber::FIRST).unwrap();
    let size = sound.size().unwrap();
    assert_eq!(told(&task_of(Arc::clone(&sound), &maker, 0), &known).counts.events, 120);
    for start in (0..size).step_by(4096) {
        let file = Arc::new(Bad(Arc::clone(&sound), start..start + 1));
        let told = told(&task_of(file, &maker, 0), &known);
        let places = &told.damage.places;
        assert_eq!(places.len(), 1, "sector {start}: {places:?}");
        let damage = &places[0].damage;
        assert_eq!((damage.offset, damage.what), (start, "bytes of the file"));
        assert!(damage.found.contains("4096 bytes that cannot be read: bad sector"), "{damage}");
        let least = if (4096..told.end.map_or(size, |end| end.end.data_end)).contains(&start) {
            40
        } else {
            120
        };
        assert!(told.counts.events >= least, "sector {start}: {:?}", told.counts);
    }
}
