//! The server, and the greeting that makes exactly once possible.
//!
//! ```text
//! forwarder: have 17           it has stored the results of requests 0 to 16
//! server:    took 19           it took requests 0 to 18: whatever else was sent is lost
//! server:    17 90             the results of 17 and 18, told again
//! server:    18 95
//! forwarder: 19 ID 5           the next request: its number, its id, an amount
//! server:    19 100            its result: the sum of all amounts so far
//! ```
//!
//! `took` must be final: nothing that was sent before the greeting may be taken after it. This
//! server reads one connection at a time to its end; another one would drop the old connection when
//! a new one greets. And what it took must be as durable as what the forwarder stores.

use std::error::Error;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use uuid::Uuid;

/// What the server remembers, whatever becomes of connections.
#[derive(Default)]
pub(crate) struct Memory(Mutex<State>);

#[derive(Default)]
struct State {
    /// The ids of requests, and their results.
    taken: Vec<(Uuid, String)>,
    sum: u64,
    broken: Option<String>,
}

impl Memory {
    /// All requests that were taken, each with its result.
    pub(crate) fn taken(&self) -> Vec<(Uuid, String)> {
        self.state().taken.clone()
    }

    /// How many they are.
    pub(crate) fn count(&self) -> u64 {
        self.state().taken.len() as u64
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("the server does not panic")
    }

    /// Takes a request and returns its answer. A request that is not the next one breaks the server
    /// for ever.
    fn take(&self, line: &str) -> Option<String> {
        let mut state = self.state();
        let next = state.taken.len();
        let expected = line.strip_prefix(&format!("{next} ")).and_then(|request| {
            let (id, amount) = request.split_once(' ')?;
            Some((id.parse().ok()?, amount.parse::<u32>().ok()?))
        });
        let Some((id, amount)) = expected else {
            let broken = format!("the server is broken: {line:?} instead of request {next}");
            eprintln!("{broken}");
            state.broken = Some(broken);
            return None;
        };
        state.sum += u64::from(amount);
        let result = state.sum.to_string();
        let answer = format!("{next} {result}");
        state.taken.push((id, result));
        Some(answer)
    }

    fn serve(&self, socket: &TcpStream) -> io::Result<()> {
        let (mut lines, mut out) = (BufReader::new(socket), BufWriter::new(socket));
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let greeting = line.trim_end().strip_prefix("have ").and_then(|have| have.parse().ok());
        let Some(have) = greeting else { return writeln!(out, "who are you?") };
        let told = match &*self.state() {
            State { broken: Some(broken), .. } => format!("{broken}\n"),
            State { taken, .. } => {
                let again = taken.iter().enumerate().skip(have);
                let again = again.map(|(number, (_, result))| format!("{number} {result}\n"));
                format!("took {}\n", taken.len()) + &again.collect::<String>()
            }
        };
        out.write_all(told.as_bytes())?;
        out.flush()?;
        loop {
            line.clear();
            lines.read_line(&mut line)?;
            // A line that was cut short was not sent.
            let Some(request) = line.strip_suffix('\n') else { return Ok(()) };
            let Some(answer) = self.take(request) else { return Ok(()) };
            writeln!(out, "{answer}")?;
            if !holds_a_line(&lines) {
                out.flush()?;
            }
        }
    }
}

/// Starts a server with this memory, for as long as the process lives.
pub(crate) fn start(memory: Arc<Memory>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::Builder::new().name("server".to_owned()).spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            // A connection that breaks is the forwarder's problem: it greets again.
            let _ = memory.serve(&socket);
        }
    })?;
    Ok(address)
}

/// The answers of a server that has been greeted.
pub(crate) type Answers = BufReader<TcpStream>;

/// Greets the server as one that has stored so many results. Returns where to send requests, how
/// many were taken, and the answers, first those to what was taken and is not stored.
pub(crate) fn greet(
    server: SocketAddr,
    stored: u64,
) -> Result<(TcpStream, u64, Answers), Box<dyn Error>> {
    let mut socket = TcpStream::connect(server)?;
    socket.set_nodelay(true)?;
    socket.write_all(format!("have {stored}\n").as_bytes())?;
    let mut answers = BufReader::new(socket.try_clone()?);
    let mut greeting = String::new();
    answers.read_line(&mut greeting)?;
    let taken = greeting.trim_end().strip_prefix("took ").and_then(|taken| taken.parse().ok());
    let taken = taken.ok_or_else(|| format!("no greeting, but {greeting:?}"))?;
    Ok((socket, taken, answers))
}

/// Whether a whole line can be read without waiting.
pub(crate) fn holds_a_line(lines: &BufReader<impl io::Read>) -> bool {
    lines.buffer().contains(&b'\n')
}
