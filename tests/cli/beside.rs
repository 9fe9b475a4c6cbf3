//! What verbs that read show beside a busy writer, and beside each other after a kill: all that was
//! acked before they began.

#[path = "follow.rs"]
mod follow;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[test]
fn a_reader_sees_all_that_was_acked_before_it_began() {
    let (_dir, log) = place();
    let args = ["import", &log, "--acks", "--chunk-size", "1MiB"];
    let mut child = command(&args).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let acks = BufReader::new(child.stdout.take().unwrap()).lines();
    let last = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&last);
    let listening = std::thread::Builder::new().spawn(move || {
        acks.map(Result::unwrap).for_each(|ack| told.store(ack.parse().unwrap(), Ordering::SeqCst));
    });
    let sending = std::thread::Builder::new().spawn(move || {
        let lines: Vec<_> = FLIGHTS.split_inclusive('\n').collect();
        for piece in lines.chunks(4).cycle().take(2_000) {
            stdin.write_all(piece.concat().as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let listening = listening.unwrap();
    let mut looks = 0;
    while looks < 20 && !listening.is_finished() {
        std::thread::sleep(Duration::from_millis(30));
        let acked = last.load(Ordering::SeqCst);
        if acked > 0 {
            let ran = run(&["export", &log, "--from", &acked.to_string(), "--limit", "1"]);
            assert_eq!(ran.stdout.lines().count(), 1, "position {acked}: {}", ran.stderr);
            assert_eq!(ran.stderr, "");
            looks += 1;
        }
    }
    sending.unwrap().join().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    listening.join().unwrap();
    assert!(last.load(Ordering::SeqCst) > 0, "the importer acks nothing");
}

#[test]
fn readers_that_meet_after_a_kill_agree() {
    let (_dir, log) = place();
    let mut child = command(&["import", &log, "--acks", "--chunk-size", "1MiB"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(FLIGHTS.as_bytes()).unwrap();
    let acks = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(acks.map(Result::unwrap).any(|acked| acked == "399"), "the importer acks nothing");
    child.kill().unwrap();
    child.wait().unwrap();
    let readers = [(); 4].map(|()| command(&["info", &log, "--json"]).spawn().unwrap());
    for reader in readers {
        let output = reader.wait_with_output().unwrap();
        let info = json(std::str::from_utf8(&output.stdout).unwrap());
        assert_eq!(info["events"], 400);
        assert_eq!(output.stderr, b"");
    }
}

#[test]
fn verify_beside_a_writer_that_rolls_finds_no_damage() {
    let (_dir, log) = place();
    let mut child = command(&["import", &log, "--acks", "--chunk-size", "1MiB"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut acks = BufReader::new(child.stdout.take().unwrap()).lines();
    stdin.write_all(FLIGHTS.as_bytes()).unwrap();
    acks.next().unwrap().unwrap();
    let listening = std::thread::Builder::new().spawn(move || acks.count());
    let stop = Arc::new(AtomicU64::new(0));
    let stopped = Arc::clone(&stop);
    let sending = std::thread::Builder::new().spawn(move || {
        while stopped.load(Ordering::SeqCst) == 0 {
            stdin.write_all(FLIGHTS.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let (mut chunks, mut runs) = (0, 0);
    while chunks < 4 || runs < 4 {
        let jobs = ["1", "2", "8"][runs % 3];
        let ran = run(&["verify", &log, "--json", "--jobs", jobs]);
        assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
        let report = json(&ran.stdout);
        assert!(report["checked_below"].as_u64().unwrap() > 0, "{report}");
        let last = format!("{log}/chunk-{:010}", report["chunks"].as_u64().unwrap() - 1);
        let alone = run(&["verify", &last]);
        assert_eq!(alone.code, 0, "{}{}", alone.stdout, alone.stderr);
        (chunks, runs) = (report["chunks"].as_u64().unwrap(), runs + 1);
    }
    stop.store(1, Ordering::SeqCst);
    sending.unwrap().join().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    listening.unwrap().join().unwrap();
    assert!(good(&["verify", &log]).contains("the log is sound"));
}
