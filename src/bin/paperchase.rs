//! Owns the process of the command line, and nothing else: all work is in the library's module
//! `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    paperchase::cli::main()
}
