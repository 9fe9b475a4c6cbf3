//! Owns a disk that fails on demand: a process that serves one file from memory over `/dev/fuse`,
//! for a loop device and a file system to stand on.
//!
//! Promises: serves one request at a time, so that its log of writes and flushes is the order in
//! which they were answered; what it was told to do wrong, and nothing else, goes wrong. It is a
//! process of its own because one that waits for a file system above its own disk could wait for
//! itself. Ends, and unmounts, when the test that started it is gone. Speaks version 7.31 of the
//! kernel's protocol, as far as a loop device needs it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::disk::Fault;
use super::medium::{Entry, Medium, contains, save_log};
use crate::support::child;

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const RELEASEDIR: u32 = 29;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

const HEADER: usize = 40;
const ROOT: u64 = 1;
const DISK: u64 = 2;
const WRITE_MAX: u32 = 128 << 10;
/// Reads and writes of the file pass by the kernel's cache.
const DIRECT_IO: u32 = 1;
/// Writes may be larger than a page.
const BIG_WRITES: u32 = 1 << 5;

struct State {
    medium: Medium,
    log: Vec<Entry>,
    fault: Fault,
}

type Shared = Arc<Mutex<State>>;

fn locked(shared: &Shared) -> MutexGuard<'_, State> {
    shared.lock().expect("no thread of a disk panics")
}

/// The disk's process. As a test of its own it does nothing.
#[test]
fn child_serves_a_disk() {
    let Some(directory) = child::directory() else { return };
    let medium = Medium::load(&directory.join("base")).expect("the first state is an image");
    let state = State { medium, log: Vec::new(), fault: Fault::None };
    let shared = Arc::new(Mutex::new(state));
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
    let device = device.expect("the device can be opened");
    let options =
        format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other\0", device.as_raw_fd());
    let options = std::ffi::CStr::from_bytes_with_nul(options.as_bytes()).expect("one zero");
    let place = directory.join("disk");
    let listener = UnixListener::bind(directory.join("control")).expect("a socket can be made");
    mount("failing_disk", &place, "fuse", MountFlags::empty(), options).expect("mounts");
    child::say("ready");
    let (control, _) = listener.accept().expect("the test connects");
    let told = Arc::clone(&shared);
    let listening = std::thread::Builder::new().spawn(move || {
        listen(&control, &told, &directory);
        // Whoever commanded is gone.
        let _ = unmount(&place, UnmountFlags::DETACH);
        std::process::exit(0);
    });
    serve(device, &shared);
    let _ = listening.expect("a thread starts").join();
}

/// Obeys commands, a line each, and answers each with a line.
fn listen(control: &UnixStream, shared: &Shared, directory: &Path) {
    let mut answers = control;
    for line in BufReader::new(control).lines() {
        let Ok(line) = line else { return };
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let mut state = locked(shared);
        let answer = match word {
            "entries" => state.log.len().to_string(),
            "contains" => u8::from(state.medium.contains(rest.as_bytes())).to_string(),
            "log" => {
                let path = directory.join("log");
                save_log(&state.log, &path).expect("a log can be written");
                path.display().to_string()
            }
            _ => {
                state.fault = Fault::parse(&line);
                String::new()
            }
        };
        if answers.write_all(format!("{answer}\n").as_bytes()).is_err() {
            return;
        }
    }
}

/// Answers the kernel until the file system is unmounted.
fn serve(mut device: File, shared: &Shared) {
    let mut buffer = vec![0; (WRITE_MAX as usize + 4096).max(64 << 10)];
    loop {
        let length = match device.read(&mut buffer) {
            Ok(length) => length,
            // A request that was taken back.
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::NotFound) => {
                continue;
            }
            Err(_) => return,
        };
        let message = &buffer[..length];
        let (opcode, unique) = (u32_at(message, 4), u64_at(message, 8));
        if matches!(opcode, FORGET | BATCH_FORGET | INTERRUPT) {
            continue;
        }
        let answer = answer(opcode, u64_at(message, 16), &message[HEADER..], shared);
        let (error, body) = match answer {
            Ok(body) => (0, body),
            Err(error) => (-error.raw_os_error(), Vec::new()),
        };
        let mut reply = (16 + body.len() as u32).to_le_bytes().to_vec();
        reply.extend(error.to_le_bytes());
        reply.extend(unique.to_le_bytes());
        reply.extend(body);
        // The one who asked may be gone.
        let _ = device.write(&reply);
    }
}

fn answer(opcode: u32, inode: u64, body: &[u8], shared: &Shared) -> Result<Vec<u8>, Errno> {
    let size = || locked(shared).medium.size;
    match opcode {
        INIT => Ok(init(u32_at(body, 8))),
        LOOKUP if body.starts_with(b"disk\0") => {
            // Its number, a generation, and for how many seconds both may be remembered.
            let mut entry = numbers(&[DISK, 0, 1, 1, 0]);
            entry.extend(attributes(DISK, size()));
            Ok(entry)
        }
        LOOKUP => Err(Errno::NOENT),
        GETATTR | SETATTR => {
            let mut reply = numbers(&[1, 0]);
            reply.extend(attributes(inode, size()));
            Ok(reply)
        }
        OPEN => Ok(numbers(&[1, DIRECT_IO.into()])),
        OPENDIR => Ok(numbers(&[1, 0])),
        READ => read(u64_at(body, 8), u32_at(body, 16) as usize, shared),
        WRITE => write(u64_at(body, 8), &body[40..40 + u32_at(body, 16) as usize], shared),
        FSYNC => flush(shared),
        FLUSH | RELEASE | RELEASEDIR => Ok(Vec::new()),
        STATFS => {
            let mut reply = numbers(&[0; 5]);
            reply.extend([4096_u32, 255, 4096].into_iter().flat_map(u32::to_le_bytes));
            reply.extend([0; 28]);
            Ok(reply)
        }
        // Also for zeroing and discarding, which the kernel then does by writing.
        _ => Err(Errno::NOSYS),
    }
}

fn read(offset: u64, length: usize, shared: &Shared) -> Result<Vec<u8>, Errno> {
    let state = locked(shared);
    let bytes = state.medium.read(offset, length);
    match &state.fault {
        Fault::FailReads(mark) if contains(&bytes, mark.as_bytes()) => Err(Errno::IO),
        _ => Ok(bytes),
    }
}

fn write(offset: u64, bytes: &[u8], shared: &Shared) -> Result<Vec<u8>, Errno> {
    let mut state = locked(shared);
    let done = numbers(&[bytes.len() as u64]);
    match &state.fault {
        Fault::FailAllWrites => return Err(Errno::IO),
        Fault::FailWrites(mark) if contains(bytes, mark.as_bytes()) => return Err(Errno::IO),
        Fault::LoseWrites(mark) if contains(bytes, mark.as_bytes()) => return Ok(done),
        Fault::LoseAll => return Ok(done),
        _ => {}
    }
    state.medium.write(offset, bytes);
    state.log.push(Entry::Write { offset, bytes: bytes.to_vec() });
    Ok(done)
}

fn flush(shared: &Shared) -> Result<Vec<u8>, Errno> {
    let delay = match locked(shared).fault {
        Fault::SlowFlushes(delay) => delay,
        _ => std::time::Duration::ZERO,
    };
    std::thread::sleep(delay);
    let mut state = locked(shared);
    match state.fault {
        Fault::FailFlushes => return Err(Errno::IO),
        Fault::LoseAll => {}
        _ => state.log.push(Entry::Flush),
    }
    Ok(Vec::new())
}

/// What this server can: version, read-ahead as asked for, larger writes, 16 requests at once.
fn init(read_ahead: u32) -> Vec<u8> {
    let head = [7, 31, read_ahead, BIG_WRITES, 16 | 12 << 16, WRITE_MAX, 1, 32];
    let mut reply: Vec<u8> = head.into_iter().flat_map(u32::to_le_bytes).collect();
    reply.resize(64, 0);
    reply
}

fn attributes(inode: u64, size: u64) -> Vec<u8> {
    let (size, mode) = if inode == ROOT { (0, 0o40_755_u32) } else { (size, 0o100_600) };
    let mut reply = numbers(&[inode, size, size / 512, 0, 0, 0]);
    reply.extend([0, 0, 0, mode, 1, 0, 0, 0, 4096, 0].into_iter().flat_map(u32::to_le_bytes));
    reply
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().copied().flat_map(u64::to_le_bytes).collect()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
