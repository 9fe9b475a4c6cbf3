//! Tests of a log on a file system of the network (F64): refused before anything is written, and
//! opened where the options allow it by name.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::{event, open_with, small};
use crate::disk::sim::SimDisk;
use crate::disk::{Access, Disk, DiskFile, LockError};
use crate::error::OpenError;
use crate::event::Expected;
use crate::read::View;

/// A disk in memory that says that other machines serve it.
#[derive(Debug)]
struct Served(SimDisk);

impl Disk for Served {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.create(name)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        self.0.open(name, access)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }

    fn lock(&self) -> Result<Box<dyn fmt::Debug + Send + Sync>, LockError> {
        self.0.lock()
    }

    fn network_file_system(&self) -> Option<&'static str> {
        Some("NFS")
    }

    fn label(&self) -> String {
        "served".to_owned()
    }
}

#[test]
fn f64_a_file_system_of_the_network_is_refused_unless_it_is_allowed() {
    let inner = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(Served(inner.clone()));
    let refused = || match open_with(&disk, small()) {
        Err(OpenError::NetworkFileSystem { directory, file_system }) => {
            assert_eq!((directory.as_str(), file_system), ("served", "NFS"));
        }
        other => panic!("{other:?}"),
    };
    refused();
    assert!(inner.list().unwrap().is_empty(), "nothing is made, no lock either");
    let log = open_with(&disk, small().allow_network_file_system(true)).unwrap();
    log.append("s", Expected::Any, [event(0)]).unwrap().wait().unwrap();
    log.close().unwrap();
    let (names, writes) = (inner.list().unwrap(), inner.writes());
    refused();
    assert_eq!((inner.list().unwrap(), inner.writes()), (names, writes), "nothing is written");
    let view = View::open_on(&*disk).unwrap();
    assert_eq!(view.end().get(), 1, "reading needs no leave");
}
