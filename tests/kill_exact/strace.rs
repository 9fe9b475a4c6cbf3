//! Owns `strace`: the watching of one thread of a child, to count its calls or to kill the child at
//! one of them.
//!
//! Promises: when attaching returns, the thread is watched. Assumes that the child waits until it
//! is. Only calls that change files, maps, descriptors or locks are watched: a kill at another one
//! leaves what a kill at the next of these leaves.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::support::skip::skip;

const CALLS: &str = "pwrite64,pwritev,write,fdatasync,fsync,msync,sync_file_range,openat,ftruncate,\
    fallocate,fadvise64,mmap,lseek,close,flock,rename,renameat,renameat2,link,linkat,unlink,\
    unlinkat,mkdir,mkdirat";

/// A call of a thread: the so many-th of its name, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    thread: String,
    call: String,
    number: usize,
}

impl Point {
    pub(crate) fn parse(text: &str) -> Self {
        let words: Vec<_> = text.split_whitespace().collect();
        let [thread, call, number] = words[..] else { panic!("a point is three words: {text}") };
        let number = number.parse().expect("a point ends with a number");
        Self { thread: thread.to_owned(), call: call.to_owned(), number }
    }

    pub(crate) fn thread(&self) -> &str {
        &self.thread
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.thread, self.call, self.number)
    }
}

/// Whether there is a `strace` that may trace; says so where not.
pub(crate) fn works() -> bool {
    let mut tried = Command::new("strace");
    tried.args(["-o", "/dev/null", "-e", "trace=close", "true"]).stderr(Stdio::null());
    let works = tried.status().is_ok_and(|status| status.success());
    if !works {
        skip("there is no strace here that may trace");
    }
    works
}

/// A running `strace`.
pub(crate) struct Strace(Child, BufReader<ChildStderr>);

impl Strace {
    /// Watches the thread `id`: kills its process at the point, or notes all calls.
    pub(crate) fn attach(id: &str, point: Option<&Point>) -> Self {
        let what = match point {
            None => format!("trace={CALLS}"),
            Some(Point { call, number, .. }) => {
                format!("inject={call}:signal=KILL:when={number}")
            }
        };
        Self::attach_with(id, &what)
    }

    /// Watches the thread `id` as an expression of `strace -e` says.
    pub(crate) fn attach_with(id: &str, what: &str) -> Self {
        let mut strace = Command::new("strace")
            .args(["-p", id, "-e", what])
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace was there a moment ago");
        let mut told = BufReader::new(strace.stderr.take().expect("it is a pipe"));
        let mut line = String::new();
        told.read_line(&mut line).expect("a pipe can be read");
        assert!(line.contains("attached"), "strace says: {line}");
        Self(strace, told)
    }

    /// Waits for the end of the thread, and returns the points it has passed, in the order of their
    /// names.
    pub(crate) fn counted(self, thread: &str) -> Vec<Point> {
        let mut counts = BTreeMap::new();
        for line in self.end().lines() {
            let call = line.split('(').next().unwrap_or_default();
            if CALLS.split(',').any(|known| known.trim() == call) {
                *counts.entry(call.to_owned()).or_insert(0) += 1;
            }
        }
        let point = |(call, count): (String, usize)| {
            let thread = thread.to_owned();
            (1..=count).map(move |number| {
                let (thread, call) = (thread.clone(), call.clone());
                Point { thread, call, number }
            })
        };
        counts.into_iter().flat_map(point).collect()
    }

    /// Waits for the end of the thread, and returns what was noted.
    pub(crate) fn end(mut self) -> String {
        let mut noted = String::new();
        self.1.read_to_string(&mut noted).expect("strace writes text");
        self.0.wait().expect("a process can be waited for");
        noted
    }
}
