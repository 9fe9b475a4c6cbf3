//! Owns what the machine tells: processor time of this process, sectors and flushes of the device
//! under a directory.
//!
//! Promises: reads counters, changes nothing. The device's counters are of the whole machine: they
//! are of one store only while nothing else writes.

use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

use crate::store::Result;

/// Bytes of a sector in /proc/diskstats, whatever the device's own are.
const SECTOR: u64 = 512;

/// Where the counters are.
pub struct Machine {
    device: Option<(u32, u32)>,
}

/// Counters as they stand, or what was added to them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    pub cpu_ns: u64,
    pub device_bytes: u64,
    pub device_flushes: u64,
}

impl Machine {
    /// Of the device that a directory is on.
    pub fn under(directory: &Path) -> Result<Self> {
        let device = rustix::fs::stat(directory)?.st_dev;
        let device = (rustix::fs::major(device), rustix::fs::minor(device));
        let known = device_line(device).is_some();
        Ok(Self { device: known.then_some(device) })
    }

    pub fn now(&self) -> Used {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu_ns = cpu.tv_sec as u64 * 1_000_000_000 + cpu.tv_nsec as u64;
        let line = self.device.and_then(device_line);
        let field = |index: usize| {
            let line = line.as_deref().unwrap_or_default();
            line.split_whitespace().nth(index).and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        Used { cpu_ns, device_bytes: field(9) * SECTOR, device_flushes: field(18) }
    }
}

impl Used {
    pub fn since(&self, before: &Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns - before.cpu_ns,
            device_bytes: self.device_bytes - before.device_bytes,
            device_flushes: self.device_flushes - before.device_flushes,
        }
    }
}

fn device_line((major, minor): (u32, u32)) -> Option<String> {
    let stats = std::fs::read_to_string("/proc/diskstats").ok()?;
    let is_it = |line: &&str| {
        let mut words = line.split_whitespace();
        words.next() == Some(&major.to_string()) && words.next() == Some(&minor.to_string())
    };
    stats.lines().find(is_it).map(str::to_owned)
}

/// What the run stands on, for the head of the report.
pub fn describe(directory: &Path) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    let kind = rustix::fs::statfs(directory).map(|found| found.f_type as u64);
    let kind = match kind {
        Ok(0xEF53) => "ext4".to_owned(),
        Ok(0x5846_5342) => "xfs".to_owned(),
        Ok(0x9123_683E) => "btrfs".to_owned(),
        Ok(0x0102_1994) => "a file system in memory: every figure here is void".to_owned(),
        Ok(other) => format!("file system {other:#x}"),
        Err(error) => error.to_string(),
    };
    let model = model.unwrap_or("unknown processor");
    format!("{cores} x {model}, Linux {}, {kind}, load {load}", kernel.trim())
}
