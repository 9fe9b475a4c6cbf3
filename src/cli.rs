//! Owns the command line: its verbs, one file each, and what every verb keeps to.
//!
//! Promises a person: tables, and errors that say what to do next. Promises a program: `--json`,
//! nothing but results on stdout, and exit codes: 0 good, 1 found damage or lost events, 2 wrong
//! usage, 3 cannot (locked, full, missing), 4 an append refused by its conditions, 130 interrupted.
//! Never makes a log but by `append`, `import` and `stress`.

mod append;
mod args;
mod atomic;
mod chunks;
mod consumers;
mod export;
mod failure;
mod files;
mod follow;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod import;
mod info;
mod inspect;
mod intake;
mod line;
mod lines;
mod look;
mod names;
mod open;
mod read;
mod repair;
mod show;
mod stress;
mod top;
mod verify;
mod walk;
mod why;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use failure::{CliError, Outcome};

/// An append-only event log: append, read, inspect, verify and repair.
#[derive(Debug, Parser)]
#[command(name = "paperchase", version, arg_required_else_help = true)]
#[command(after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    good
  1    found damage, or events are lost
  2    wrong usage, or a line of input that cannot be stored
  3    cannot: locked by another process, disk full, no such log
  4    refused: a condition of the append does not hold; read what happened and decide again
  130  interrupted";

#[derive(Debug, Subcommand)]
enum Verb {
    Append(append::Args),
    Import(import::Args),
    Export(export::Args),
    Read(read::Args),
    /// List the streams of a log
    #[command(after_help = "\
Examples:
  paperchase streams data
  paperchase streams data --prefix cart- --json")]
    Streams(names::Args),
    /// List the categories of a log: what its streams are named before the first `-`
    #[command(after_help = "\
Examples:
  paperchase categories data
  paperchase categories data --prefix ca --json")]
    Categories(names::Args),
    /// List the types of a log's events
    #[command(after_help = "\
Examples:
  paperchase types data
  paperchase types data --prefix Order --json")]
    Types(names::Args),
    /// List the tags of a log's events
    #[command(after_help = "\
Examples:
  paperchase tags data
  paperchase tags data --prefix sku: --json")]
    Tags(names::Args),
    Consumers(consumers::Args),
    Info(info::Args),
    Chunks(chunks::Args),
    Inspect(inspect::Args),
    Verify(verify::Args),
    Repair(repair::Args),
    Top(top::Args),
    Why(why::Args),
    Stress(stress::Args),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let program = Cli::command();
            return failure::usage(&error, |verb| program.find_subcommand(verb).is_some());
        }
    };
    let result = match &cli.verb {
        Verb::Append(args) => append::run(args),
        Verb::Import(args) => import::run(args),
        Verb::Export(args) => export::run(args),
        Verb::Read(args) => read::run(args),
        Verb::Streams(args) => names::streams(args),
        Verb::Categories(args) => names::run(args, names::Kind::Categories),
        Verb::Types(args) => names::run(args, names::Kind::Types),
        Verb::Tags(args) => names::run(args, names::Kind::Tags),
        Verb::Consumers(args) => consumers::run(args),
        Verb::Info(args) => info::run(args),
        Verb::Chunks(args) => chunks::run(args),
        Verb::Inspect(args) => inspect::run(args),
        Verb::Verify(args) => verify::run(args),
        Verb::Repair(args) => repair::run(args),
        Verb::Top(args) => top::run(args),
        Verb::Why(args) => why::run(args),
        Verb::Stress(args) => stress::run(args),
    };
    result.map_or_else(|error| error.report(), Outcome::code)
}
