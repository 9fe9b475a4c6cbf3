//! Owns the contract of [`Disk`] and [`DiskFile`] as tests: each body runs on real files and on the
//! disk in memory.
//!
//! Promises that what holds on one disk holds on the other, so that a test in memory says something
//! about real files.

use super::sim::SimDisk;
use super::*;

const PAGE: u64 = 4096;

fn on_both(body: impl Fn(&dyn Disk)) {
    let folder = tempfile::tempdir().unwrap();
    let real = OsDisk::create(folder.path().join("log")).unwrap();
    for disk in [&real as &dyn Disk, &SimDisk::new()] {
        eprintln!("on the disk {}", disk.label());
        body(disk);
    }
}

fn read(file: &dyn DiskFile, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0xAA; length];
    file.read_at(&mut bytes, offset).map(|()| bytes)
}

#[test]
fn files_are_made_once_and_listed_in_order() {
    on_both(|disk| {
        assert!(disk.list().unwrap().is_empty());
        for name in ["chunk-2", "hint", "chunk-1"] {
            disk.create(name).unwrap();
        }
        disk.sync_directory().unwrap();
        assert_eq!(disk.list().unwrap(), ["chunk-1", "chunk-2", "hint"]);
        let again = disk.create("hint").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        for access in [Access::Read, Access::Write] {
            let missing = disk.open("chunk-3", access).unwrap_err();
            assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        }
    });
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let disk = OsDisk::open(folder.path()).unwrap();
    for name in ["chunk-0000000003", "LOCK", "stats"] {
        let made = std::process::Command::new("mkfifo").arg(folder.path().join(name)).status();
        assert!(made.unwrap().success());
    }
    let problem = |error: io::Error| (error.kind(), error.to_string());
    let not = |name: &str| (io::ErrorKind::InvalidInput, format!("{name} is not a regular file"));
    for access in [Access::Read, Access::Write] {
        let opened = disk.open("chunk-0000000003", access).map(|_| ());
        assert_eq!(opened.map_err(problem), Err(not("chunk-0000000003")));
    }
    assert_eq!(disk.page("stats", Access::Read).map_err(problem).unwrap_err(), not("stats"));
    let Err(LockError::Io(error)) = disk.lock() else {
        panic!("a pipe was locked");
    };
    assert_eq!(problem(error), not("LOCK"));
    rustix::fs::mkdir(folder.path().join("hint"), rustix::fs::Mode::RWXU).unwrap();
    for access in [Access::Read, Access::Write] {
        let error = disk.open("hint", access).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    }
}

#[test]
fn a_file_is_renamed_as_a_whole_and_onto_no_other() {
    on_both(|disk| {
        let file = disk.create("a").unwrap();
        file.write_at(b"content", 0).unwrap();
        disk.create("b").unwrap();
        assert_eq!(disk.rename("a", "b").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(disk.rename("c", "d").unwrap_err().kind(), io::ErrorKind::NotFound);
        disk.rename("a", "c").unwrap();
        disk.sync_directory().unwrap();
        assert_eq!(disk.list().unwrap(), ["b", "c"]);
        file.write_at(b"C", 0).unwrap();
        let renamed = disk.open("c", Access::Read).unwrap();
        assert_eq!(read(&*renamed, 0, 7).unwrap(), b"Content", "it lives on for whoever has it");
    });
}

#[test]
fn a_lock_is_held_once_and_freed_on_drop() {
    on_both(|disk| {
        let guard = disk.lock().unwrap();
        for _ in 0..2 {
            let Err(LockError::Held { pid }) = disk.lock() else {
                panic!("a second lock was given out");
            };
            assert_eq!(pid, Some(std::process::id()));
        }
        assert_eq!(disk.list().unwrap(), ["LOCK"]);
        drop(guard);
        drop(disk.lock().unwrap());
    });
}

#[test]
fn what_is_written_is_read_and_nothing_beyond_the_end() {
    on_both(|disk| {
        let file = disk.create("a").unwrap();
        file.write_at(b"later", 10).unwrap();
        file.write_at(b"first", 0).unwrap();
        file.sync_data().unwrap();
        let other = disk.open("a", Access::Read).unwrap();
        assert_eq!(other.size().unwrap(), 15);
        assert_eq!(read(&*other, 0, 15).unwrap(), b"first\0\0\0\0\0later");
        assert_eq!(read(&*other, 15, 0).unwrap(), b"");
        for (offset, length) in [(14, 2), (15, 1), (1 << 40, 1)] {
            let past = read(&*other, offset, length).unwrap_err();
            assert_eq!(past.kind(), io::ErrorKind::UnexpectedEof, "{offset}");
        }
        assert!(other.write_at(b"x", 0).is_err(), "opened for reading alone");
        file.write_at(b"", 99).unwrap();
        assert_eq!(file.size().unwrap(), 15, "an empty write changes nothing");
    });
}

#[test]
fn a_file_grows_with_zeros_and_never_shrinks() {
    on_both(|disk| {
        let file = disk.create("a").unwrap();
        file.write_at(b"abc", 0).unwrap();
        file.grow(PAGE).unwrap();
        assert_eq!(file.size().unwrap(), PAGE);
        assert_eq!(read(&*file, 2, 3).unwrap(), b"c\0\0");
        file.grow(PAGE).unwrap();
        assert_eq!(file.grow(PAGE - 1).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(file.size().unwrap(), PAGE);
    });
}

#[test]
fn only_zeros_are_passed_over_on_the_way_to_data() {
    const SIZE: u64 = 64 * PAGE;
    on_both(|disk| {
        let file = disk.create("a").unwrap();
        file.grow(SIZE).unwrap();
        for offset in [0, 5 * PAGE, 40 * PAGE - 1] {
            file.write_at(&[1], offset).unwrap();
        }
        let content = read(&*file, 0, usize::try_from(SIZE).unwrap()).unwrap();
        for offset in (0..SIZE).step_by(1000) {
            let found = file.next_data(offset).unwrap().unwrap_or(SIZE);
            assert!((offset..=SIZE).contains(&found), "{offset}: data at {found}");
            let passed = usize::try_from(offset).unwrap()..usize::try_from(found).unwrap();
            assert!(content[passed].iter().all(|&byte| byte == 0), "{offset}: passed over data");
            let hole = file.next_hole(offset).unwrap();
            assert!((offset..=SIZE).contains(&hole), "{offset}: hole at {hole}");
        }
        assert_eq!(file.next_data(SIZE).unwrap(), None);
        let full = disk.create("b").unwrap();
        full.write_at(&[1; 100], 0).unwrap();
        assert!([0, 100].contains(&full.next_hole(0).unwrap()), "a file ends in a hole");
    });
}

#[test]
fn a_map_shows_settled_bytes_alone_and_keeps_them() {
    on_both(|disk| {
        let file = disk.create("a").unwrap();
        file.grow(2 * PAGE).unwrap();
        let map = file.map(2 * PAGE).unwrap();
        map.populate(0..9 * PAGE);
        assert_eq!((map.length(), map.settled()), (2 * PAGE, 0));
        file.write_at(b"settled, not", 0).unwrap();
        map.settle(7);
        map.settle(3);
        assert_eq!(map.settled(), 7, "the mark never goes back");
        let twin = map.clone();
        let view = twin.view(0..7).unwrap();
        assert_eq!((&view[..], twin.view(7..7).unwrap().len()), (&b"settled"[..], 0));
        assert!(map.view(0..8).is_none() && map.view(8..9).is_none());
        let (start, end) = (5, 4);
        assert!(map.view(start..end).is_none(), "reversed");
        drop((file, map, twin));
        assert_eq!(&view.slice(3..)[..], b"tled");
    });
}

#[test]
#[should_panic(expected = "the settled mark lies within the map")]
fn nothing_is_settled_beyond_a_map() {
    let disk = SimDisk::new();
    let file = disk.create("a").unwrap();
    file.grow(PAGE).unwrap();
    file.map(PAGE).unwrap().settle(PAGE + 1);
}

#[test]
fn a_page_is_shared_and_found_again() {
    on_both(|disk| {
        let missing = disk.page("stats", Access::Read).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let page = match disk.page("stats", Access::Write) {
            // Not every file system gives a page its place.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return,
            other => other.unwrap(),
        };
        let reader = disk.page("stats", Access::Read).unwrap();
        page.store(0, 0x0102_0304);
        page.store(511, u64::MAX);
        assert_eq!([reader.load(0), reader.load(1), reader.load(511)], [0x0102_0304, 0, u64::MAX]);
        assert_eq!(page.origin(), reader.origin());
        drop(page);
        let again = disk.page("stats", Access::Write).unwrap();
        again.store(1, 5);
        assert_eq!((again.load(0), reader.load(1)), (0x0102_0304, 5));
    });
}

#[test]
fn a_page_that_is_cut_short_is_not_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let disk = OsDisk::open(folder.path()).unwrap();
    let file = disk.create("stats").unwrap();
    file.write_at(&[9; 4095], 0).unwrap();
    let short = disk.page("stats", Access::Read).unwrap_err();
    assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
    let page = match disk.page("stats", Access::Write) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return,
        other => other.unwrap(),
    };
    assert_eq!(page.load(0), 0x0909_0909_0909_0909);
    assert_eq!(disk.page("stats", Access::Read).unwrap().load(511), 0x0009_0909_0909_0909);
}

#[test]
#[should_panic(expected = "not written")]
fn a_page_opened_for_reading_is_not_written() {
    let disk = SimDisk::new();
    disk.page("stats", Access::Write).unwrap();
    disk.page("stats", Access::Read).unwrap().store(0, 1);
}
