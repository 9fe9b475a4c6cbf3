//! A bank: accounts as aggregates, each in a stream of its own; decisions on what the streams say;
//! optimistic concurrency, and a retry when somebody else was faster.
//!
//! Run it with `cargo run --example bank`.

use std::error::Error;
use std::thread;

use paperchase::{Append, AppendError, Appended, Expected, Log, NewEvent, Query, StreamVersion};
use uuid::Uuid;

const ACCOUNTS: [&str; 3] = ["account-1", "account-2", "account-3"];
const OPENING_BALANCE: i64 = 100;

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let log = Log::open(folder.path())?;
    for account in ACCOUNTS {
        // Opening an account twice is an error that the log itself finds.
        log.append(account, Expected::NoStream, [amount("Opened", OPENING_BALANCE)])?.wait()?;
    }
    transfer_from_many_threads(&log)?;
    repeat_an_operation(&log)?;

    let balances = ACCOUNTS.map(|name| Account::load(&log, name).map(|account| account.balance));
    let mut total = 0;
    for (name, balance) in ACCOUNTS.iter().zip(balances) {
        let balance = balance?;
        println!("{name}: {balance}");
        assert!(balance >= 0, "no account is overdrawn");
        total += balance;
    }
    assert_eq!(total, OPENING_BALANCE * ACCOUNTS.len() as i64, "no money appears or disappears");
    log.close()?;
    Ok(())
}

/// The state of an account: what its events add up to, and the version of the last of them.
#[derive(Debug)]
struct Account {
    balance: i64,
    version: Option<StreamVersion>,
}

impl Account {
    fn load(log: &Log, name: &str) -> Result<Self, Box<dyn Error>> {
        let mut account = Self { balance: 0, version: None };
        for event in log.read_stream(name, ..)? {
            let event = event?;
            let amount: i64 = std::str::from_utf8(event.data())?.parse()?;
            account.balance += match event.event_type() {
                "Opened" | "Received" => amount,
                _ => -amount,
            };
            account.version = Some(event.version());
        }
        Ok(account)
    }

    /// What must still hold of the stream when a decision on this state is stored.
    fn unchanged(&self) -> Expected {
        self.version.map_or(Expected::NoStream, Expected::Exact)
    }
}

fn amount(event_type: &'static str, amount: i64) -> NewEvent {
    NewEvent::json(event_type, amount.to_string())
}

/// Moves money, if the payer has it. Both accounts get their event, or neither.
fn transfer(
    log: &Log,
    (from, to): (&str, &str),
    sum: i64,
    operation: Uuid,
) -> Result<Option<Appended>, Box<dyn Error>> {
    loop {
        let (payer, payee) = (Account::load(log, from)?, Account::load(log, to)?);
        if payer.balance < sum {
            return Ok(None);
        }
        let answer = Append::new()
            .expect(from, payer.unchanged())
            .event(from, amount("Paid", sum))
            .expect(to, payee.unchanged())
            .event(to, amount("Received", sum))
            .operation(operation)
            .submit(log)?
            .wait();
        match answer {
            Ok(done) => return Ok(Some(done)),
            // Somebody else changed an account since it was loaded: decide again.
            Err(AppendError::WrongVersion { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn transfer_from_many_threads(log: &Log) -> Result<(), Box<dyn Error>> {
    let work = |first: usize| {
        for round in 0..25 {
            let (from, to) = (ACCOUNTS[(first + round) % 3], ACCOUNTS[(first + 2 * round + 1) % 3]);
            if from != to {
                transfer(log, (from, to), 7, Uuid::now_v7()).expect("the log works");
            }
        }
    };
    thread::scope(|scope| (0..4).for_each(|first| _ = scope.spawn(move || work(first))));
    let transfers = log.read(&Query::event_type("Paid"), ..)?.count();
    println!("{transfers} transfers went through");
    Ok(())
}

/// A client that does not know whether its transfer arrived asks again, under the same id.
fn repeat_an_operation(log: &Log) -> Result<(), Box<dyn Error>> {
    let operation = Uuid::now_v7();
    let payer = ACCOUNTS
        .into_iter()
        .find(|name| Account::load(log, name).is_ok_and(|account| account.balance > 0))
        .ok_or("somebody has money")?;
    let payee = ACCOUNTS.into_iter().find(|name| *name != payer).ok_or("there are three")?;
    let first = transfer(log, (payer, payee), 1, operation)?.ok_or("it has the money")?;
    let again = Append::new()
        .event(payer, amount("Paid", 1))
        .event(payee, amount("Received", 1))
        .operation(operation)
        .submit(log)?
        .wait()?;
    println!("asked again, told the same: position {}", again.first_position);
    assert!(again.repeated && again.first_position == first.first_position);
    Ok(())
}
