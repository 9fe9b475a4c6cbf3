//! Owns the proof of the example `forwarder`: killed at any moment and started again, it lets a
//! server that breaks on a duplicate see each request exactly once.
//!
//! The server lives in this process. A child forwards to it, for clients that ask for everything
//! from the beginning, again and again; it is killed when the server has taken a random number of
//! requests more, or while it starts. Twelve kills; more with `PAPERCHASE_KILLS=200` in the
//! environment. How far a child comes depends on the machine; what must hold does not.

#![allow(clippy::unwrap_used, reason = "what is wrong ends the test")]

#[allow(dead_code, reason = "the test drives the forwarder itself")]
#[path = "../examples/forwarder/main.rs"]
mod forwarder;
mod support;

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use forwarder::{Answer, Letter, Memory, REQUESTS, RESULTS, queue, run, start};
use paperchase::{Append, Log, NewEvent, Options, RecordedEvent};
use support::Random;
use support::child::{self, Lines, Running};
use uuid::Uuid;

const REQUESTS_A_KILL: u64 = 800;
const SIGKILL: i32 = 9;

fn options() -> Options {
    Options::new().chunk_size(1 << 20).prepare_ahead(256 << 10)
}

fn id(number: u64) -> Uuid {
    Uuid::from_u64_pair(7, number)
}

fn amount(number: u64) -> u64 {
    number % 100
}

/// A letter that asks for the requests of these numbers.
fn letter(numbers: impl Iterator<Item = u64>, mailbox: &mpsc::Sender<Answer>) -> Vec<Letter> {
    let text = numbers.map(|number| format!("{} {}\n", id(number), amount(number))).collect();
    vec![Letter { text, mailbox: mailbox.clone() }]
}

/// Runs the forwarder for one client that asks for everything, and for a part of it twice. Tells of
/// each answer.
fn ask_for_all(log: &Log, server: SocketAddr, requests: u64, told: impl Fn(&Answer) + Sync) {
    let (door, letters) = queue(4);
    let (mailbox, answers) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            for first in (0..requests).step_by(20) {
                let overlapping = first..requests.min(first + 30);
                door.push(letter(overlapping, &mailbox)).unwrap();
            }
        });
        let told = &told;
        scope.spawn(move || answers.iter().for_each(|answer| told(&answer)));
        run(log, server, letters).unwrap();
    });
}

/// The child's part. As a test of its own it does nothing.
#[test]
fn child_forwards() {
    let Some(directory) = child::directory() else { return };
    let given = fs::read_to_string(directory.join("given")).unwrap();
    let (server, requests) = given.split_once(' ').unwrap();
    let log = options().open(directory.join("log")).unwrap();
    ask_for_all(&log, server.parse().unwrap(), requests.parse().unwrap(), |answer| {
        child::say(&format!("answered {} {}", answer.id, answer.text));
    });
    log.close().unwrap();
    child::say("done");
    // The parent ends every child.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// What the clients were told.
type Told = HashMap<Uuid, String>;

/// Notes what a child says, and tells when it is done. Returns whether it was.
fn hear(lines: Lines, told: &mut Told, done: &mpsc::Sender<()>) -> bool {
    for line in lines {
        if line == "done" {
            done.send(()).unwrap();
            return true;
        }
        let answer = line.strip_prefix("answered ").and_then(|answer| answer.split_once(' '));
        let Some((id, text)) = answer else { continue };
        let before = told.insert(id.parse().unwrap(), text.to_owned());
        assert!(before.is_none_or(|before| before == text), "{id} has two answers");
    }
    false
}

/// Runs a child and kills it when `ready`, which is asked again and again, says so, or when the
/// child is done. Returns whether it was.
fn run_and_kill(directory: &Path, told: &mut Told, mut ready: impl FnMut() -> bool) -> bool {
    let (child, lines) = Running::start("child_forwards", directory);
    let (ended, end) = mpsc::channel();
    let (status, done) = thread::scope(|scope| {
        let reader = scope.spawn(move || hear(lines, told, &ended));
        let look = Duration::from_micros(200);
        while !ready() && end.recv_timeout(look) == Err(RecvTimeoutError::Timeout) {}
        (child.kill(), reader.join().unwrap())
    });
    assert_eq!(status.signal(), Some(SIGKILL), "the child ended by itself: {status}");
    done
}

/// The events of a stream.
fn events(log: &Log, stream: &str) -> Vec<RecordedEvent> {
    log.read_stream(stream, ..).unwrap().map(Result::unwrap).collect()
}

/// The server took the first requests of the log, each once and in order; the log has the results
/// of the first of those, and what clients were told is among them. Returns how many requests were
/// recorded, and how many results.
fn check(log: &Log, memory: &Memory, told: &Told) -> (usize, usize) {
    let (requests, results, taken) = (events(log, REQUESTS), events(log, RESULTS), memory.taken());
    assert!(results.len() <= taken.len() && taken.len() <= requests.len());
    for (request, (id, _)) in requests.iter().zip(&taken) {
        assert_eq!(request.operation(), Some(*id), "request {}", request.version());
    }
    for (result, (_, text)) in results.iter().zip(&taken) {
        assert_eq!(result.data(), text.as_bytes(), "result {}", result.version());
    }
    let stored: HashMap<_, _> = taken.into_iter().take(results.len()).collect();
    assert_eq!(stored.len(), results.len(), "no request has two numbers");
    for (id, text) in told {
        assert_eq!(stored.get(id), Some(text), "{id} was answered");
    }
    (requests.len(), results.len())
}

#[test]
fn f01_killed_at_random_it_forwards_each_request_once() {
    let mut random = Random::new();
    let kills: u64 = std::env::var("PAPERCHASE_KILLS").map_or(12, |kills| kills.parse().unwrap());
    let requests = kills * REQUESTS_A_KILL;
    let (directory, memory) = (tempfile::tempdir().unwrap(), Arc::new(Memory::default()));
    let server = start(Arc::clone(&memory)).unwrap();
    fs::write(directory.path().join("given"), format!("{server} {requests}")).unwrap();
    let open = || options().open(directory.path().join("log")).unwrap();
    let (mut told, mut lost_answers) = (Told::new(), 0);
    for _ in 0..kills {
        let target = memory.count() + 1 + random.below(2 * REQUESTS_A_KILL);
        let (mut looks, starting) = (random.below(100), random.below(4) == 0);
        run_and_kill(directory.path(), &mut told, || {
            looks = looks.saturating_sub(1);
            if starting { looks == 0 } else { memory.count() >= target }
        });
        // Half of the children recover by themselves.
        if random.below(2) == 0 {
            let (_, stored) = check(&open(), &memory, &told);
            lost_answers += usize::from((stored as u64) < memory.count());
        }
    }
    let (taken, answered) = (memory.count(), told.len());
    println!("{kills} kills, {taken} of {requests} taken, {answered} answered");
    println!("{lost_answers} kills or more lost answers of the server");
    assert!(run_and_kill(directory.path(), &mut told, || false), "the last child is done");

    let log = open();
    assert!(log.report().clean, "{:?}", log.report());
    assert_eq!(check(&log, &memory, &told), (requests as usize, requests as usize));
    assert_eq!(told.len() as u64, requests, "everything is answered");
    let sum: u64 = (0..requests).map(amount).sum();
    let last = events(&log, RESULTS).pop().unwrap();
    assert_eq!(last.data(), sum.to_string().as_bytes());
}

/// A log with these requests recorded, as a forwarder leaves it that was killed then.
fn recorded(directory: &Path, requests: u64) -> Log {
    let log = options().open(directory).unwrap();
    for number in 0..requests {
        let event = NewEvent::new("Requested", amount(number).to_string());
        let append = Append::new().event(REQUESTS, event).operation(id(number));
        append.submit(&log).unwrap().wait().unwrap();
    }
    log
}

/// Sends these lines to a server, behind a greeting, and returns what it says.
fn say_to(server: SocketAddr, lines: &str) -> String {
    let mut socket = TcpStream::connect(server).unwrap();
    socket.write_all(format!("have 0\n{lines}").as_bytes()).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut told = String::new();
    socket.read_to_string(&mut told).unwrap();
    told
}

#[test]
fn what_was_sent_and_not_noted_is_not_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let log = recorded(directory.path(), 5);
    let memory = Arc::new(Memory::default());
    let server = start(Arc::clone(&memory)).unwrap();
    // Three requests were sent, the third was cut short, and no answer was stored.
    let cut = format!("0 {} 0\n1 {} 1\n2 {}", id(0), id(1), id(2));
    assert_eq!(say_to(server, &cut), "took 0\n0 0\n1 1\n");
    let told = Mutex::new(Told::new());
    ask_for_all(&log, server, 7, |answer| {
        told.lock().unwrap().insert(answer.id, answer.text.clone());
    });
    assert_eq!(check(&log, &memory, &told.into_inner().unwrap()), (7, 7));
    assert_eq!(say_to(server, "").lines().count(), 8, "the server works");
}

#[test]
fn a_duplicate_and_a_gap_break_the_server_for_good() {
    for wrong in [0, 2] {
        let memory = Arc::new(Memory::default());
        let server = start(Arc::clone(&memory)).unwrap();
        say_to(server, &format!("0 {} 5\n{wrong} {} 5\n", id(0), id(wrong)));
        assert!(say_to(server, "").starts_with("the server is broken"));
        assert_eq!(memory.count(), 1);
    }
}

#[test]
fn a_server_or_a_log_that_has_forgotten_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let log = recorded(&directory.path().join("log"), 3);
    let memory = Arc::new(Memory::default());
    let server = start(Arc::clone(&memory)).unwrap();
    ask_for_all(&log, server, 3, |_| {});
    let nobody_asks = || queue(1).1;
    let forgetful = start(Arc::default()).unwrap();
    let refused = run(&log, forgetful, nobody_asks()).err().unwrap().to_string();
    assert!(refused.ends_with("it took 0 of 3 requests, 3 are answered"), "{refused}");
    let older = recorded(&directory.path().join("older"), 2);
    let refused = run(&older, server, nobody_asks()).err().unwrap().to_string();
    assert!(refused.ends_with("it took 3 of 2 requests, 0 are answered"), "{refused}");
    assert_eq!(memory.count(), 3);
}
