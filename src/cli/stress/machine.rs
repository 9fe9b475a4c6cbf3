//! Owns what is told about the machine beside the figures: cores, kernel, the file system under the
//! log, and the processor time of this process.
//!
//! Promises: nothing here can fail a run; what the system does not tell is left out. Never measures
//! the log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

/// Ticks of processor time in a second, as `/proc` counts them on Linux.
const TICKS_PER_SECOND: u64 = 100;

/// Where a run took place.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    pub(super) cores: usize,
    pub(super) kernel: Option<String>,
    pub(super) directory: PathBuf,
    pub(super) mount: Option<Mount>,
}

/// The file system that holds a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Mount {
    pub(super) device: String,
    pub(super) filesystem: String,
    pub(super) options: String,
}

impl Machine {
    /// This machine, with the file system of an existing directory.
    pub(super) fn look(directory: &Path) -> Self {
        let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
        let read = |path| std::fs::read_to_string(path).ok();
        let mounts = read("/proc/self/mountinfo").unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()),
            mount: mount_of(&mounts, &directory),
            directory,
        }
    }

    /// Whether the file system keeps its files in memory only.
    pub(super) fn is_memory(&self) -> bool {
        let names = ["tmpfs", "ramfs"];
        self.mount.as_ref().is_some_and(|mount| names.contains(&mount.filesystem.as_str()))
    }
}

/// Processor time that this process has used, in steps of 10 ms.
pub(super) fn cpu_time() -> Option<Duration> {
    cpu_time_in(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

fn cpu_time_in(stat: &str) -> Option<Duration> {
    // The second field is the program's name in parentheses and may itself hold spaces and
    // parentheses.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11).map(str::parse::<u64>);
    let ticks = fields.next()?.ok()?.checked_add(fields.next()?.ok()?)?;
    Some(Duration::from_millis(ticks.saturating_mul(1000 / TICKS_PER_SECOND)))
}

/// The mount with the longest path that holds the directory; of equal ones the last, which hides
/// the others.
fn mount_of(mounts: &str, directory: &Path) -> Option<Mount> {
    let holding = mounts.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(4);
        let path = Path::new(place.next()?);
        let options = place.next()?;
        let mut kind = kind.split(' ');
        let (filesystem, device) = (kind.next()?.to_owned(), kind.next()?.to_owned());
        let mount = Mount { device, filesystem, options: options.to_owned() };
        directory.starts_with(path).then_some((path.as_os_str().len(), mount))
    });
    holding.max_by_key(|(length, _)| *length).map(|(_, mount)| mount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_is_found() {
        let mounts = "\
            22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            23 22 0:5 / /tmp rw,nosuid - tmpfs tmpfs rw\n\
            24 22 8:2 / /data rw,noatime master:1 - xfs /dev/vdb rw\n\
            broken\n";
        let device = |path| mount_of(mounts, Path::new(path)).map(|mount| mount.device);
        assert_eq!(device("/tmp/a").as_deref(), Some("tmpfs"));
        assert_eq!(device("/tmpx").as_deref(), Some("/dev/vda"));
        assert_eq!(device("relative"), None);
        let mount = mount_of(mounts, Path::new("/data/log")).unwrap();
        assert_eq!((mount.filesystem.as_str(), mount.options.as_str()), ("xfs", "rw,noatime"));
    }

    #[test]
    fn processor_time_is_the_sum_of_user_and_system() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 20\n";
        assert_eq!(cpu_time_in(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu_time_in("7 (a) S 1 2"), None);
    }
}
