//! Tests of the disk in memory: what is shared and counted, and what a loss of power may leave.
//!
//! Promises: each kind of unit is seen to land and to be lost by itself.

use super::image::PAGE;
use super::*;

#[test]
fn a_snapshot_shares_nothing_and_a_clone_everything() {
    let disk = SimDisk::new();
    let file = disk.create("a").unwrap();
    file.write_at(b"old", 0).unwrap();
    let _guard = disk.lock().unwrap();
    let (copy, twin) = (disk.snapshot(), disk.clone());
    file.write_at(b"new", 0).unwrap();
    assert_eq!(copy.read_file("a").unwrap(), b"old");
    assert_eq!(twin.read_file("a").unwrap(), b"new");
    assert!(copy.lock().is_ok());
    assert!(matches!(twin.lock(), Err(LockError::Held { pid: Some(_) })));
    assert!(twin.remove("a") && !disk.remove("a"));
    assert_eq!((disk.read_file("a"), copy.read_file("a").is_some()), (None, true));
}

#[test]
fn calls_are_counted() {
    let disk = SimDisk::new();
    let file = disk.create("a").unwrap();
    file.write_at(b"1", 0).unwrap();
    file.write_at(b"2", 1).unwrap();
    file.sync_data().unwrap();
    disk.sync_directory().unwrap();
    disk.write_file("b", *b"helper");
    assert_eq!((disk.writes(), disk.syncs(), disk.directory_syncs()), (2, 1, 1));
    assert_eq!(disk.snapshot().writes(), 0);
}

#[test]
fn pages_of_zeros_are_holes() {
    let disk = SimDisk::new();
    let mut bytes = vec![0; 3 * PAGE + 10];
    bytes[PAGE + 7] = 1;
    disk.write_file("a", bytes);
    let file = disk.open("a", Access::Read).unwrap();
    let page = PAGE as u64;
    let data = |offset| file.next_data(offset).unwrap();
    assert_eq!([data(0), data(page + 9), data(2 * page)], [Some(page), Some(page + 9), None]);
    let hole = |offset| file.next_hole(offset).unwrap();
    assert_eq!([hole(5), hole(page), hole(3 * page + 2)], [5, 2 * page, 3 * page + 2]);
    disk.write_file("b", vec![1; PAGE + 3]);
    let full = disk.open("b", Access::Read).unwrap();
    assert_eq!(full.next_hole(0).unwrap(), page + 3);
    assert_eq!(full.next_data(page + 3).unwrap(), None);
}

#[test]
fn a_replaced_file_lives_on_in_its_map() {
    let disk = SimDisk::new();
    disk.write_file("a", *b"first");
    let map = disk.open("a", Access::Read).unwrap().map(5).unwrap();
    map.settle(5);
    disk.write_file("a", *b"2");
    assert_eq!(map.view(0..5).unwrap(), &b"first"[..]);
    assert_eq!(disk.read_file("a").unwrap(), b"2");
}

/// A disk with a durable file `a` of two sectors, of which the first is then written twice and the
/// second once, and a new file `b`.
fn unsynced() -> SimDisk {
    let disk = SimDisk::new();
    let a = disk.create("a").unwrap();
    a.write_at(&[1; 1024], 0).unwrap();
    a.sync_data().unwrap();
    disk.sync_directory().unwrap();
    assert!(disk.units().is_empty());
    a.write_at(&[2; 600], 0).unwrap();
    a.write_at(&[3; 100], 0).unwrap();
    let b = disk.create("b").unwrap();
    b.write_at(&[4; 520], 0).unwrap();
    disk
}

#[test]
fn each_unit_lands_or_not() {
    use UnitKind::{Entry, Sector, Size};
    let disk = unsynced();
    let kinds = [Sector, Sector, Sector, Entry, Size, Sector, Sector];
    assert_eq!(disk.units(), kinds);
    let after = |units: &[usize]| disk.crash(&units.iter().copied().collect());
    let a = |first: &[u8], second: &[u8]| [first, second].concat();
    let second = [&[2; 88][..], &[1; 424]].concat();
    let newest = [&[3; 100][..], &[2; 412]].concat();
    let cases: [(&[usize], Vec<u8>); 6] = [
        (&[], a(&[1; 512], &[1; 512])),
        (&[0], a(&[2; 512], &[1; 512])),
        (&[1], a(&[1; 512], &second)),
        (&[2], a(&newest, &[1; 512])),
        (&[0, 2], a(&newest, &[1; 512])),
        (&[0, 1, 2], a(&newest, &second)),
    ];
    for (units, expected) in cases {
        let image = after(units);
        assert_eq!(image.read_file("a").unwrap(), expected, "{units:?}");
        assert_eq!((image.read_file("b"), image.units().len()), (None, 0), "{units:?}");
    }
    let b = |units| after(units).read_file("b");
    assert_eq!(b(&[4, 5, 6]), None, "the entry is lost");
    assert_eq!(b(&[3, 5, 6]).unwrap(), [0; 0], "the size is lost");
    assert_eq!(b(&[3, 4]).unwrap(), [0; 520], "the data is lost");
    assert_eq!(b(&[3, 4, 6]).unwrap(), a(&[0; 512], &[4; 8]));
    assert_eq!(disk.places().len(), 6, "{:?}", disk.places());
    assert_eq!(disk.describe(5), "sector 0 of b");
}

#[test]
fn what_is_synced_stays_and_lies_are_not_synced() {
    let disk = unsynced();
    disk.lie_about_syncs(true);
    let b = disk.open("b", Access::Write).unwrap();
    b.sync_data().unwrap();
    disk.sync_directory().unwrap();
    assert_eq!((disk.units().len(), disk.crash(&Landed::none()).read_file("b")), (7, None));
    disk.lie_about_syncs(false);
    b.sync_data().unwrap();
    assert_eq!((disk.units().len(), disk.crash(&Landed::none()).read_file("b")), (4, None));
    disk.sync_directory().unwrap();
    assert_eq!(disk.crash(&Landed::none()).read_file("b").unwrap(), [4; 520]);
    assert_eq!(disk.crash(&Landed::none()).read_file("a").unwrap(), [1; 1024]);
    let all = disk.crash(&Landed::all(disk.units().len()));
    assert_eq!(all.read_file("a"), disk.read_file("a"));
}

#[test]
fn a_write_that_changes_nothing_is_no_unit() {
    let disk = SimDisk::new();
    disk.write_file("a", vec![0; 3 * PAGE]);
    let a = disk.open("a", Access::Write).unwrap();
    a.write_at(&[0; 2 * PAGE], 0).unwrap();
    assert_eq!(disk.units(), []);
    a.write_at(&[5; 10], 700).unwrap();
    a.write_at(&[0; 10], 700).unwrap();
    assert_eq!(disk.units().len(), 2, "the first version may have landed");
}

#[test]
fn each_call_is_recorded_as_it_was_before() {
    let disk = SimDisk::new();
    disk.record();
    let a = disk.create("a").unwrap();
    a.grow(10).unwrap();
    a.write_at(&[1; 3], 0).unwrap();
    a.sync_data().unwrap();
    disk.sync_directory().unwrap();
    let units = |disk: &SimDisk| disk.units().len();
    let before: Vec<_> = disk.take_recorded().iter().map(units).collect();
    assert_eq!(before, [0, 1, 2, 3, 1]);
    assert_eq!((units(&disk), disk.take_recorded().len()), (0, 0));
}
