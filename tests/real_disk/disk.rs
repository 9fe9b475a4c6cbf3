//! Owns the real file systems of these tests: making and mounting them, on plain images and on a
//! disk that fails on demand.
//!
//! Promises: whatever is mounted is unmounted, and its loop device let go, when its value is
//! dropped, also by a panic. Where something that is needed is missing, the test says so and is
//! skipped, unless `PAPERCHASE_MUST=all` is in the environment. Needs root.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use tempfile::TempDir;

use super::medium::{Entry, Medium, load_log};
use crate::support::child::{Lines, Running};
use crate::support::skip::skip;

const BUSY_TRIES: u32 = 2000;
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// A kind of file system.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Ext4,
    Xfs,
    Btrfs,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// Little more than the least that its maker accepts.
    fn size(self) -> u64 {
        match self {
            Self::Ext4 => 64 << 20,
            Self::Xfs => 304 << 20,
            Self::Btrfs => 128 << 20,
        }
    }

    fn make(self, image: &Path) -> Result<(), String> {
        let file = fs::File::create(image).and_then(|file| file.set_len(self.size()));
        file.map_err(|error| format!("{}: {error}", image.display()))?;
        let force = if self == Self::Ext4 { "-F" } else { "-f" };
        run(Command::new(format!("mkfs.{}", self.name())).args(["-q", force]).arg(image))
    }
}

/// Runs a command that says nothing when all is well.
fn run(command: &mut Command) -> Result<(), String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let ran = command.env("PATH", format!("{path}:/usr/sbin:/sbin")).output();
    let name = command.get_program().to_string_lossy().into_owned();
    let ran = ran.map_err(|error| format!("{name}: {error}"))?;
    if ran.status.success() {
        return Ok(());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&ran.stderr).trim()))
}

/// A mounted file system on a loop device.
pub(crate) struct Mounted {
    kind: Kind,
    path: PathBuf,
}

/// btrfs remembers each device that it has seen, and two images of one file system are not to be
/// looked at in the wrong order.
static BTRFS: Mutex<()> = Mutex::new(());

impl Mounted {
    pub(crate) fn new(kind: Kind, image: &Path, path: &Path) -> Result<Self, String> {
        let options = match kind {
            Kind::Ext4 => "loop,errors=remount-ro",
            // An image has the id of the file system that it is a copy of.
            Kind::Xfs => "loop,nouuid",
            Kind::Btrfs => "loop",
        };
        fs::create_dir_all(path).map_err(|error| error.to_string())?;
        let _alone = (kind == Kind::Btrfs).then(|| BTRFS.lock());
        run(Command::new("mount").args(["-t", kind.name(), "-o", options]).arg(image).arg(path))?;
        Ok(Self { kind, path: path.to_owned() })
    }

    /// A directory for a log.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn remount_read_only(&self) {
        run(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.path)).unwrap();
    }

    /// Unmounts what nobody uses any more. A process that another test starts has our files open
    /// for a moment, so this waits for it.
    #[track_caller]
    pub(crate) fn unmount(self) {
        for _ in 0..BUSY_TRIES {
            match unmount(&self.path, UnmountFlags::empty()) {
                Err(Errno::BUSY) => std::thread::sleep(BUSY_PAUSE),
                unmounted => return unmounted.expect("it is mounted"),
            }
        }
        panic!("{} stays in use", self.path.display());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Not mounted any more, or used by somebody: then it ends with its last user.
        let _ = unmount(&self.path, UnmountFlags::DETACH);
        if self.kind == Kind::Btrfs {
            let _alone = BTRFS.lock();
            let _ = run(Command::new("btrfs").args(["-q", "device", "scan", "--forget"]));
        }
    }
}

/// A place for one test: a new file system in an image, and whatever is made of it.
pub(crate) struct Place {
    pub(crate) kind: Kind,
    directory: TempDir,
}

impl Place {
    /// `None`, and a printed reason, where this machine has not what is needed.
    pub(crate) fn new(kind: Kind) -> Option<Self> {
        match Self::try_new(kind) {
            Ok(place) => Some(place),
            Err(why) => {
                skip(&format!("{}: {why}", kind.name()));
                None
            }
        }
    }

    /// A place that begins with what is on a medium of that kind. Where there was one place, there
    /// can be another.
    pub(crate) fn with(kind: Kind, medium: &Medium) -> Self {
        let place = Self { kind, directory: in_memory().unwrap() };
        medium.save(&place.base()).unwrap();
        place
    }

    fn try_new(kind: Kind) -> Result<Self, String> {
        // The owner of a process's own entry is who it acts for.
        let user = fs::metadata("/proc/self").map_err(|error| error.to_string())?.uid();
        if user != 0 {
            return Err("only root may mount".to_owned());
        }
        if !Path::new("/dev/fuse").exists() {
            return Err("there is no /dev/fuse".to_owned());
        }
        let directory = in_memory().map_err(|error| error.to_string())?;
        let place = Self { kind, directory };
        kind.make(&place.base())?;
        Mounted::new(kind, &place.base(), &place.path("mounted"))?.unmount();
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn base(&self) -> PathBuf {
        self.path("base")
    }

    /// What the place began with.
    pub(crate) fn medium(&self) -> Medium {
        Medium::load(&self.base()).unwrap()
    }

    /// Mounts what stands on a medium, as after a loss of power.
    pub(crate) fn mount(&self, medium: &Medium) -> Mounted {
        let image = self.path("image");
        // A file of its own: the loop device of the one before may be on its way out.
        let _ = fs::remove_file(&image);
        medium.save(&image).unwrap();
        Mounted::new(self.kind, &image, &self.path("mounted")).unwrap()
    }
}

fn in_memory() -> std::io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }
}

/// What a disk does wrong.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    None,
    /// Every write fails, and nothing is stored.
    FailAllWrites,
    /// So do writes with this mark in their data.
    FailWrites(String),
    /// Reads of a range that contains this mark fail.
    FailReads(String),
    /// Flushes fail.
    FailFlushes,
    /// Writes with this mark are answered well and dropped.
    LoseWrites(String),
    /// So are all writes and flushes.
    LoseAll,
    /// Each flush takes so long.
    SlowFlushes(Duration),
}

impl Fault {
    pub(crate) fn parse(line: &str) -> Self {
        let (word, mark) = line.split_once(' ').unwrap_or((line, ""));
        let mark = mark.to_owned();
        match word {
            "sound" => Self::None,
            "fail-all-writes" => Self::FailAllWrites,
            "fail-writes" => Self::FailWrites(mark),
            "fail-reads" => Self::FailReads(mark),
            "fail-flushes" => Self::FailFlushes,
            "lose-writes" => Self::LoseWrites(mark),
            "lose-all" => Self::LoseAll,
            "slow-flushes" => {
                Self::SlowFlushes(Duration::from_millis(mark.parse().expect("a number")))
            }
            _ => panic!("no command of a disk: {line}"),
        }
    }

    fn line(&self) -> String {
        match self {
            Self::None => "sound".to_owned(),
            Self::FailAllWrites => "fail-all-writes".to_owned(),
            Self::FailWrites(mark) => format!("fail-writes {mark}"),
            Self::FailReads(mark) => format!("fail-reads {mark}"),
            Self::FailFlushes => "fail-flushes".to_owned(),
            Self::LoseWrites(mark) => format!("lose-writes {mark}"),
            Self::LoseAll => "lose-all".to_owned(),
            Self::SlowFlushes(delay) => format!("slow-flushes {}", delay.as_millis()),
        }
    }
}

/// A disk that fails on demand, with a file system mounted on it.
pub(crate) struct FailingDisk {
    mounted: Option<Mounted>,
    served: PathBuf,
    control: Mutex<BufReader<UnixStream>>,
    child: Option<(Running, Lines)>,
    kind: Kind,
}

impl FailingDisk {
    /// Serves a copy of what the place began with, and mounts it.
    pub(crate) fn start(place: &Place) -> Self {
        let served = place.path("disk");
        fs::create_dir(&served).unwrap();
        let test = "server::child_serves_a_disk";
        let (child, mut lines) = Running::start(test, place.directory.path());
        assert!(lines.any(|line| line == "ready"), "the disk's process has ended");
        let control = BufReader::new(UnixStream::connect(place.path("control")).unwrap());
        let (control, child) = (Mutex::new(control), Some((child, lines)));
        let mut disk = Self { mounted: None, served, control, child, kind: place.kind };
        disk.mount();
        disk
    }

    fn mount(&mut self) {
        let path = self.served.with_file_name("fs");
        let mounted = Mounted::new(self.kind, &self.served.join("disk"), &path).unwrap();
        self.mounted = Some(mounted);
    }

    /// Unmounts the file system and mounts it again, so that nothing of it is in memory.
    pub(crate) fn mount_again(&mut self) {
        self.mounted.take().expect("mounted while the disk is there").unmount();
        self.mount();
    }

    pub(crate) fn fs(&self) -> &Mounted {
        self.mounted.as_ref().expect("mounted while the disk is there")
    }

    fn ask(&self, command: &str) -> String {
        let mut control = self.control.lock().unwrap();
        control.get_mut().write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        control.read_line(&mut answer).unwrap();
        assert!(answer.ends_with('\n'), "the disk's process has ended");
        answer.trim_end().to_owned()
    }

    /// From here on this goes wrong.
    pub(crate) fn set(&self, fault: &Fault) {
        self.ask(&fault.line());
    }

    /// How many writes and flushes it has answered.
    pub(crate) fn entries(&self) -> usize {
        self.ask("entries").parse().unwrap()
    }

    /// Whether a mark has reached the medium.
    pub(crate) fn contains(&self, mark: &str) -> bool {
        self.ask(&format!("contains {mark}")) == "1"
    }

    /// All writes and flushes so far.
    pub(crate) fn log(&self) -> Vec<Entry> {
        load_log(Path::new(&self.ask("log"))).unwrap()
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        // The file system first, while its disk still answers.
        self.mounted = None;
        let _ = unmount(&self.served, UnmountFlags::DETACH);
        self.child = None;
    }
}

#[test]
fn a_fault_is_told_in_one_line() {
    for fault in [
        Fault::None,
        Fault::FailAllWrites,
        Fault::FailWrites("mark".to_owned()),
        Fault::FailReads("mark".to_owned()),
        Fault::FailFlushes,
        Fault::LoseWrites("mark".to_owned()),
        Fault::LoseAll,
        Fault::SlowFlushes(Duration::from_millis(7)),
    ] {
        assert_eq!(Fault::parse(&fault.line()), fault);
    }
}
