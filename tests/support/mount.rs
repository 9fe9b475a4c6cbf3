//! Owns file systems of a test: made, mounted, and taken away again, also when the test panics.
//!
//! Promises: what cannot be mounted here is an `Err` with the reason, so that a test can say why it
//! is skipped. Needs root. Assumes that files below the mount are closed before it is dropped.

#![allow(dead_code, reason = "each test uses a part")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A mounted file system.
#[derive(Debug)]
pub(crate) struct Mount {
    pub(crate) point: PathBuf,
    device: Option<String>,
    _folder: TempDir,
}

/// Runs a command; its output, or why it did not work.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn folder() -> Result<(TempDir, PathBuf), String> {
    if !is_root() {
        return Err("mounting needs root".to_owned());
    }
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let point = folder.path().join("mounted");
    fs::create_dir(&point).map_err(|error| error.to_string())?;
    // Others may pass, so that a test can act as somebody else below.
    run("chmod", &["755", &text(folder.path())])?;
    Ok((folder, point))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A file system in memory.
pub(crate) fn tmpfs(options: &str) -> Result<Mount, String> {
    let (folder, point) = folder()?;
    run("mount", &["-t", "tmpfs", "-o", options, "none", &text(&point)])?;
    Ok(Mount { point, device: None, _folder: folder })
}

/// A file system in a file of so many MiB, made by `mkfs` with its arguments.
pub(crate) fn in_a_file(mib: u64, mkfs: &[&str], options: &str) -> Result<Mount, String> {
    let (folder, point) = folder()?;
    let image = folder.path().join("image");
    let sized = fs::File::create(&image).and_then(|file| file.set_len(mib << 20));
    sized.map_err(|error| error.to_string())?;
    let (program, arguments) = mkfs.split_first().expect("mkfs has a name");
    run(program, &[arguments, &[&text(&image)]].concat())?;
    let device = run("losetup", &["--find", "--show", &text(&image)])?;
    if let Err(problem) = run("mount", &["-o", options, &device, &text(&point)]) {
        run("losetup", &["--detach", &device])?;
        return Err(problem);
    }
    Ok(Mount { point, device: Some(device), _folder: folder })
}

/// A directory once more, for reading alone.
pub(crate) fn read_only(directory: &Path) -> Result<Mount, String> {
    let (folder, point) = folder()?;
    run("mount", &["--bind", &text(directory), &text(&point)])?;
    let mount = Mount { point, device: None, _folder: folder };
    run("mount", &["-o", "remount,ro,bind", &text(&mount.point)])?;
    Ok(mount)
}

impl Drop for Mount {
    fn drop(&mut self) {
        let mut undone = vec![run("umount", &[&text(&self.point)])];
        if let Some(device) = &self.device {
            undone.push(run("losetup", &["--detach", device]));
        }
        for problem in undone.into_iter().filter_map(Result::err) {
            // A panic here would hide the test's own.
            let _ = writeln!(std::io::stderr(), "not taken away: {problem}");
        }
    }
}
