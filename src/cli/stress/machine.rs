//! Owns what is told about the machine beside the figures: processor, cores, memory, kernel, the
//! file system under the log, and the processor time of this process.
//!
//! Promises: nothing here can fail a run; what the system does not tell is left out. Never measures
//! the log.

use std::path::Path;
use std::time::Duration;

use super::report::{Machine, Mount};

/// What the names of the log's threads begin with, as `/proc` shows them.
const LOG_THREADS: &str = "(paperchase-";
/// Ticks of processor time in a second, as `/proc` counts them on Linux.
const TICKS_PER_SECOND: u64 = 100;

impl Machine {
    /// This machine, with the file system of an existing directory.
    pub(super) fn look(directory: &Path) -> Self {
        let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
        let read = |path| std::fs::read_to_string(path).ok();
        let mounts = read("/proc/self/mountinfo").unwrap_or_default();
        Self {
            cpu: read("/proc/cpuinfo").and_then(|text| value(&text, "model name")),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: read("/proc/meminfo").and_then(|text| memory_in(&text)),
            kernel: read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()),
            mount: mount_of(&mounts, &directory),
            directory: directory.display().to_string(),
        }
    }

    /// Whether the file system keeps its files in memory only.
    pub(super) fn is_memory(&self) -> bool {
        let names = ["tmpfs", "ramfs"];
        self.mount.as_ref().is_some_and(|mount| names.contains(&mount.filesystem.as_str()))
    }
}

/// The value of the first line `name : value`.
fn value(text: &str, name: &str) -> Option<String> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(field, _)| field.trim() == name)?;
    Some(value.trim().to_owned())
}

fn memory_in(text: &str) -> Option<u64> {
    let kibibytes: u64 = value(text, "MemTotal")?.strip_suffix(" kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Processor time that this process has used, in steps of 10 ms.
pub(super) fn cpu_time() -> Option<Duration> {
    cpu_time_in(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// Processor time that the threads of logs in this process have used, in steps of 10 ms a thread.
pub(super) fn log_cpu_time() -> Option<Duration> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let mut sum = Duration::ZERO;
    for task in tasks.flatten() {
        // A thread that has just ended has no file any more.
        let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else { continue };
        if stat.contains(LOG_THREADS) {
            sum += cpu_time_in(&stat)?;
        }
    }
    Some(sum)
}

/// What a block device has counted since the system started, for whomever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeviceCounts {
    pub(super) name: String,
    pub(super) writes: u64,
    pub(super) sectors: u64,
    pub(super) flushes: Option<u64>,
}

/// The counts of the device under a mount.
pub(super) fn device_counts(mount: &Mount) -> Option<DeviceCounts> {
    device_in(&std::fs::read_to_string("/proc/diskstats").ok()?, &mount.number)
}

fn device_in(text: &str, number: &str) -> Option<DeviceCounts> {
    text.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let count = |index: usize| fields.get(index)?.parse().ok();
        let (major, minor) = number.split_once(':')?;
        (fields.get(..2)? == [major, minor]).then_some(())?;
        Some(DeviceCounts {
            name: (*fields.get(2)?).to_owned(),
            writes: count(7)?,
            sectors: count(9)?,
            flushes: count(18),
        })
    })
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
        let mut place = place.split(' ').skip(2);
        let number = place.next()?.to_owned();
        let path = Path::new(place.nth(1)?);
        let options = place.next()?;
        let mut kind = kind.split(' ');
        let (filesystem, device) = (kind.next()?.to_owned(), kind.next()?.to_owned());
        let mount = Mount { device, number, filesystem, options: options.to_owned() };
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
        assert_eq!(mount.number, "8:2");
    }

    #[test]
    fn names_and_amounts_are_found() {
        let text = "processor\t: 0\nmodel name\t: A B: C\n";
        assert_eq!(value(text, "model name").as_deref(), Some("A B: C"));
        assert_eq!(memory_in("MemFree: 1 kB\nMemTotal:       24 kB\n"), Some(24 << 10));
        assert_eq!(memory_in("MemTotal: many"), None);
    }

    #[test]
    fn the_writes_of_a_device_are_found() {
        let text = "   7 0 loop0 1 2 3 4 5 6 7 8 9 10 11\n 254       0 vda 88 32 53 20 435 72 \
            269 134 0 350 353 21 40 20 46 191 12\n";
        let found = device_in(text, "254:0").unwrap();
        assert_eq!((found.name.as_str(), found.writes, found.sectors), ("vda", 435, 269));
        assert_eq!((found.flushes, device_in(text, "7:0").unwrap().flushes), (Some(191), None));
        assert_eq!(device_in(text, "8:0"), None);
    }

    #[test]
    fn processor_time_is_the_sum_of_user_and_system() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 20\n";
        assert_eq!(cpu_time_in(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu_time_in("7 (a) S 1 2"), None);
    }
}
