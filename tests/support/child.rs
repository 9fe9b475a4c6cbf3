//! Owns child processes of a test: the test's own binary, started again to run one of its tests in
//! another role.
//!
//! Promises: a child that outlives the test's interest is killed and waited for. A child speaks in
//! lines on its standard output; a line that a kill cut short is not heard. It learns its directory
//! from the environment.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

const DIRECTORY: &str = "PAPERCHASE_TEST_CHILD_DIRECTORY";
const ORDERS: &str = "PAPERCHASE_TEST_CHILD_ORDERS";

/// The directory that this process is to work in, when it is a child.
pub(crate) fn directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

/// What this process was told to do, when it is a child.
pub(crate) fn orders() -> String {
    std::env::var(ORDERS).unwrap_or_default()
}

/// Says a line to the parent. A parent that is gone ends the child.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout();
    let said = out.write_all(format!("\n{line}\n").as_bytes()).and_then(|()| out.flush());
    said.expect("the parent listens");
}

fn this_binary() -> PathBuf {
    std::env::current_exe().expect("a test is a file")
}

/// A running child.
pub(crate) struct Running(Child);

impl Running {
    /// Starts the test named `test` of this binary as a child in `directory`.
    pub(crate) fn start(test: &str, directory: &Path) -> (Self, Lines) {
        Self::start_with(test, directory, "")
    }

    /// The same, with orders that the child gets by [`orders`].
    pub(crate) fn start_with(test: &str, directory: &Path, orders: &str) -> (Self, Lines) {
        Self::spawn(&mut Command::new(this_binary()), test, directory, orders)
    }

    /// The same, with an address space of at most so many KiB.
    pub(crate) fn start_poor(
        test: &str,
        directory: &Path,
        orders: &str,
        kib: u64,
    ) -> (Self, Lines) {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("ulimit -v {kib}; exec \"$0\" \"$@\"")).arg(this_binary());
        Self::spawn(&mut shell, test, directory, orders)
    }

    fn spawn(command: &mut Command, test: &str, directory: &Path, orders: &str) -> (Self, Lines) {
        let mut child = command
            .args(["--exact", test, "--nocapture", "--include-ignored"])
            .env(DIRECTORY, directory)
            .env(ORDERS, orders)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process starts");
        let out = child.stdout.take().expect("the output is a pipe");
        (Self(child), Lines(BufReader::new(out)))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Writes a line to the child's standard input. One that is gone does not hear it.
    pub(crate) fn tell(&mut self, line: &str) {
        let input = self.0.stdin.as_mut().expect("the input is a pipe");
        let _ = input.write_all(format!("{line}\n").as_bytes());
    }

    /// Waits until the child ends by itself, or by somebody else's kill.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.0.wait().expect("a child can be waited for")
    }

    /// Kills the child with SIGKILL and waits until it is gone.
    pub(crate) fn kill(mut self) -> ExitStatus {
        self.0.kill().expect("a child can be killed");
        self.0.wait().expect("a child can be waited for")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The whole lines that a child says, until it is gone.
pub(crate) struct Lines(BufReader<ChildStdout>);

impl Iterator for Lines {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a pipe can be read");
        line.ends_with('\n').then(|| line.trim_end().to_owned())
    }
}
