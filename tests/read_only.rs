//! Owns the proof of F30: what cannot be written is read all the same, and opening it for writing
//! is an error that names what is wrong; nothing is changed.
//!
//! A file system for reading alone needs root to be mounted. A directory without write permission
//! means nothing to root, so root reads it as somebody else. A part that cannot run says why.

#![cfg(all(target_os = "linux", feature = "cli"))]
#![allow(clippy::unwrap_used, reason = "what is wrong ends the test")]

#[path = "support/mount.rs"]
mod mount;
#[path = "support/skip.rs"]
mod skip;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use paperchase::{Expected, Log, NewEvent, OpenError, Options, Position, View};
use skip::skip;

const EVENTS: u64 = 50;
const EROFS: i32 = 30;
const NOBODY: &str = "65534";

/// A log that was closed, and one that was not.
fn logs(directory: &Path) {
    let closed = directory.join("closed");
    let log = Options::new().chunk_size(1 << 20).open(&closed).unwrap();
    for number in 0..EVENTS {
        let data = vec![u8::try_from(number).unwrap(); 30_000];
        let event = NewEvent::new("Kept", data);
        log.append("kept-1", Expected::Any, [event]).unwrap().wait().unwrap();
    }
    // The hint follows within a tenth of a second; it is all that is told of a log beside.
    std::thread::sleep(Duration::from_millis(400));
    let killed = directory.join("killed");
    fs::create_dir(&killed).unwrap();
    for entry in fs::read_dir(&closed).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, killed.join(path.file_name().unwrap())).unwrap();
    }
    log.close().unwrap();
}

/// Each verb that reads works in `directory`, run by `before` and its arguments.
fn verbs_read(directory: &Path, before: &[&str]) {
    let chunk = directory.join("chunk-0000000000");
    let verbs: [(&str, &Path); 8] = [
        ("read", directory),
        ("export", directory),
        ("info", directory),
        ("chunks", directory),
        ("streams", directory),
        ("types", directory),
        ("verify", directory),
        ("inspect", &chunk),
    ];
    for (verb, place) in verbs {
        let command = [before, &[env!("CARGO_BIN_EXE_paperchase"), verb]].concat();
        let output = Command::new(command[0]).args(&command[1..]).arg(place).output().unwrap();
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{verb} {}: {problem}", place.display());
        if verb == "export" {
            let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(lines as u64, EVENTS);
        }
    }
}

#[test]
fn f30_a_log_on_a_read_only_file_system() {
    let folder = tempfile::tempdir().unwrap();
    logs(folder.path());
    let mount = match mount::read_only(folder.path()) {
        Ok(mount) => mount,
        Err(reason) => return skip(&reason),
    };
    for name in ["closed", "killed"] {
        let place = mount.point.join(name);
        match Log::open(&place) {
            Err(OpenError::Failed(error)) => {
                let errno = error.io().and_then(std::io::Error::raw_os_error);
                assert_eq!(errno, Some(EROFS), "{error}");
                assert!(error.to_string().contains(&place.display().to_string()), "{error}");
            }
            other => panic!("{other:?}"),
        }
        let view = View::open(&place).unwrap();
        assert_eq!(view.end(), Position::new(EVENTS));
        assert_eq!(view.read_all(..).map(Result::unwrap).count() as u64, EVENTS);
        let follower = Log::follow(&place).unwrap();
        assert_eq!(follower.view().end(), Position::new(EVENTS));
        drop(follower);
        verbs_read(&place, &[]);
    }
}

#[test]
fn f30_a_log_without_write_permission() {
    let folder = tempfile::tempdir().unwrap();
    logs(folder.path());
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(folder.path(), 0o755);
    for name in ["closed", "killed"] {
        let place = folder.path().join(name);
        for entry in fs::read_dir(&place).unwrap() {
            mode(&entry.unwrap().path(), 0o444);
        }
        mode(&place, 0o555);
        let setpriv = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"];
        let before = if mount::is_root() { &setpriv[..] } else { &[] };
        let can_run = [before, &[env!("CARGO_BIN_EXE_paperchase"), "--version"]].concat();
        match mount::run(can_run[0], &can_run[1..]) {
            Ok(_) => verbs_read(&place, before),
            Err(reason) => skip(&reason),
        }
        mode(&place, 0o755);
    }
}
