//! Owns the proof that a store syncs before it acks: traces its system calls and looks for a sync
//! between each ack and the one before.
//!
//! Promises: counts calls that ended well, and only those that reach the device: fsync, fdatasync,
//! msync with MS_SYNC, and writes to files opened with O_SYNC or O_DSYNC. Never sync_file_range,
//! which does not. Whether the device keeps what it was told to keep is beyond a trace.

use std::collections::HashSet;
use std::process::Command;

use anyhow::Context;

use crate::Settings;
use crate::rounds::process;
use crate::store::{Peer, Result};
use crate::task::Work;

const APPENDS: u64 = 100;
/// The call that marks an ack.
const MARK: &str = "getppid(";

/// What a trace shows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Trace {
    acks: u64,
    /// Acks without any sync since the one before.
    unsynced: u64,
    syncs: u64,
}

/// Traces every store and prints what is found; an error when an ack came without a sync.
pub fn check(settings: &Settings) -> Result {
    let folder = settings.folder()?;
    println!("| store | acks | syncs meanwhile | acks without a sync since the one before |");
    println!("|---|---|---|---|");
    let mut liars = Vec::new();
    for peer in settings.peers() {
        let trace = trace(settings, &peer, folder.path())
            .with_context(|| format!("{} under strace", peer.name))?;
        println!("| {} | {} | {} | {} |", peer.name, trace.acks, trace.syncs, trace.unsynced);
        if trace.unsynced > 0 || trace.acks != APPENDS {
            liars.push(peer.name);
        }
    }
    anyhow::ensure!(liars.is_empty(), "acked without a sync: {liars:?}");
    Ok(())
}

fn trace(settings: &Settings, peer: &Peer, folder: &std::path::Path) -> Result<Trace> {
    let task = settings.task(peer, Work::Marked { appends: APPENDS }, folder);
    std::fs::create_dir(&task.directory)?;
    let path = folder.join("trace");
    let mut strace = Command::new("strace");
    let calls = "trace=fsync,fdatasync,msync,open,openat,write,pwrite64,writev,pwritev,getppid";
    strace.args(["-f", "-qq", "-s", "0", "-e", calls, "-o"]).arg(&path);
    process(&task, {
        strace.arg(std::env::current_exe()?);
        strace
    })?;
    Ok(syncs_between_marks(&std::fs::read_to_string(path)?))
}

/// Reads a trace of `strace -f`: lines of a process, a call, and what it returned. A call that is
/// interrupted by another thread's stands in two lines, of which the second has the result.
fn syncs_between_marks(trace: &str) -> Trace {
    let mut found = Trace::default();
    let (mut since, mut marked) = (0, false);
    let mut synced_files = HashSet::new();
    for line in trace.lines() {
        let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
        let result = call.rsplit_once(" = ").map(|(_, result)| result);
        let good = result.is_some_and(|result| !result.starts_with('-'));
        let name = call.strip_prefix("<... ").unwrap_or(call);
        let name = name.split(['(', ' ']).next().unwrap_or_default();
        if call.starts_with(MARK) {
            found.acks += u64::from(marked);
            found.unsynced += u64::from(marked && since == 0);
            found.syncs += if marked { since } else { 0 };
            (since, marked) = (0, true);
        } else if good && name.starts_with("open") {
            if call.contains("O_SYNC") || call.contains("O_DSYNC") {
                synced_files.extend(result.map(str::to_owned));
            } else if let Some(result) = result {
                synced_files.remove(result);
            }
        } else if good && name.contains("write") {
            let file = call.split_once('(').and_then(|(_, rest)| rest.split([',', ')']).next());
            since += u64::from(file.is_some_and(|file| synced_files.contains(file)));
        } else if good && (matches!(name, "fsync" | "fdatasync") || call.contains("MS_SYNC")) {
            since += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_without_a_sync_is_seen() {
        let trace = "1 fdatasync(3) = 0\n1 getppid() = 7\n\
                     2 fdatasync(3 <unfinished ...>\n1 write(1, \"\"..., 0) = 0\n\
                     2 <... fdatasync resumed>) = 0\n1 getppid() = 7\n1 getppid() = 7\n\
                     1 fsync(3) = -1 EIO (Input/output error)\n1 getppid() = 7\n\
                     1 openat(AT_FDCWD, \"x\"..., O_RDWR|O_DSYNC) = 5\n\
                     1 pwrite64(5, \"\"..., 9, 0) = 9\n1 getppid() = 7\n\
                     1 msync(0x1, 2, MS_ASYNC) = 0\n1 getppid() = 7\n";
        assert_eq!(syncs_between_marks(trace), Trace { acks: 5, unsynced: 3, syncs: 2 });
    }
}
