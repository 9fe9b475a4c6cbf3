//! Owns how a verb ends: its exit code, and the lines on stderr that say what happened and what to
//! do next.
//!
//! Promises: every error of the library maps to one exit code here and nowhere else. A reader that
//! goes away (`| head`) is no error.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::chunk::file_name;
use crate::disk::is_full;
use crate::{AppendError, Error, ErrorKind, OpenError};

const DAMAGE: u8 = 1;
const USAGE: u8 = 2;
const CANNOT: u8 = 3;
const REFUSED: u8 = 4;
const INTERRUPTED: u8 = 130;

/// How a verb ends that could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All is well.
    Good,
    /// The verb found damage or lost events, and has listed them.
    Damage,
    /// The verb ended early because somebody asked it to.
    Interrupted,
}

impl Outcome {
    pub(super) fn code(self) -> ExitCode {
        match self {
            Self::Good => ExitCode::SUCCESS,
            Self::Damage => ExitCode::from(DAMAGE),
            Self::Interrupted => ExitCode::from(INTERRUPTED),
        }
    }
}

/// Why a verb could not do its work.
#[derive(Debug)]
pub(super) struct CliError {
    code: u8,
    what: String,
    next: Option<String>,
}

impl CliError {
    /// Damage or lost events stand in the way.
    pub(super) fn damage(what: impl Display) -> Self {
        Self { code: DAMAGE, what: what.to_string(), next: None }
    }

    /// The caller asked for something that is not possible at all.
    pub(super) fn usage(what: impl Display) -> Self {
        Self { code: USAGE, what: what.to_string(), next: None }
    }

    /// Not possible here and now.
    pub(super) fn cannot(what: impl Display) -> Self {
        Self { code: CANNOT, what: what.to_string(), next: None }
    }

    /// The log has decided against an append: its conditions do not hold.
    pub(super) fn refused(what: impl Display) -> Self {
        Self { code: REFUSED, what: what.to_string(), next: None }
    }

    /// Adds what the caller can do about it.
    pub(super) fn next(mut self, next: impl Display) -> Self {
        self.next = Some(next.to_string());
        self
    }

    /// A failed write to stdout. A reader that went away has what it wanted, so that ends the verb
    /// without a word.
    pub(super) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { code: 0, what: String::new(), next: None },
            _ => Self::cannot(format_args!("writing to stdout: {error}")),
        }
    }

    /// What happened.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// Says on stderr what happened.
    pub(super) fn report(&self) -> ExitCode {
        if !self.what.is_empty() {
            say(&self.what);
        }
        if let Some(next) = &self.next {
            hint(next);
        }
        ExitCode::from(self.code)
    }

    pub(super) fn open(place: &str, error: &OpenError) -> Self {
        let repair = format!(
            "`paperchase repair {}` shows what can be done; it changes nothing by itself",
            quoted(place)
        );
        match error {
            OpenError::Locked { pid } => {
                let who = pid.map_or("another process".to_owned(), |pid| format!("process {pid}"));
                Self::cannot(format_args!("{place} is open for writing in {who}"))
                    .next("stop that process first; all verbs that only read work beside it")
            }
            OpenError::Corrupt(damage) => Self::damage(format_args!(
                "{place}/{} is damaged at offset {}: {}: expected {}, found {}; nothing was \
                 changed",
                file_name(damage.chunk),
                damage.offset,
                damage.what,
                damage.expected,
                damage.found
            ))
            .next(repair),
            OpenError::LostData { expected, found } => Self::damage(format_args!(
                "events are missing in {place}: all below position {expected} were durable, and \
                 the log ends at {found}; those below {found} are intact, nothing was changed"
            ))
            .next(format_args!("put the missing files back; or {repair}")),
            OpenError::MissingChunk(number) => Self::damage(format_args!(
                "{place}/{} is missing; nothing was changed",
                file_name(*number)
            ))
            .next(format_args!("put the file back; or {repair}")),
            OpenError::Foreign { file, why } => Self::damage(format_args!(
                "{place}/{file} does not belong there: {why}; nothing was changed"
            ))
            .next(format_args!("put the right file there; or {repair}")),
            OpenError::Version { file, found, .. } => newer(place, file, *found),
            OpenError::NetworkFileSystem { file_system, .. } => Self::cannot(format_args!(
                "{place} is on {file_system}, a file system of the network, where a lock may keep \
                 out no second writer"
            ))
            .next(
                "put the log on a local disk; where nobody on another machine writes it, \
                 `append`, `import` and `repair --apply` take --allow-network-file-system; nothing \
                 was changed",
            ),
            OpenError::Missing(_) => missing(place),
            OpenError::InvalidOption { option, problem } => {
                Self::usage(format_args!("{}: {problem}", option.replace('_', "-")))
            }
            OpenError::Failed(error) if error.kind() == ErrorKind::Damage => {
                Self::damage(format_args!("{place} is damaged: {error}; nothing was changed"))
                    .next(repair)
            }
            OpenError::Failed(error) => Self::from(error.clone()),
        }
    }
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Damage => Self::damage(&error)
                .next("`paperchase repair` on this log lists all damage and what can be done"),
            ErrorKind::Invalid => Self::usage(&error),
            _ if error.io().is_some_and(is_full) => {
                Self::cannot(&error).next("free some space, or use a directory on another disk")
            }
            _ if error.io().is_some_and(|io| io.kind() == io::ErrorKind::PermissionDenied) => {
                Self::cannot(&error).next("the same command as the user who owns the log's files")
            }
            _ if error.io().is_some_and(|io| io.kind() == io::ErrorKind::ReadOnlyFilesystem) => {
                Self::cannot(&error).next("make the file system writable; reading works as it is")
            }
            _ => Self::cannot(&error),
        }
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self::from(Error::from_io("read the log", error))
    }
}

/// Why an append was not stored, as an error of the whole verb.
pub(super) fn append(place: &str, error: &AppendError) -> CliError {
    match error {
        AppendError::Full => CliError::cannot("the disk is full")
            .next("free some space, then send the rest again from the line named above"),
        AppendError::Busy => CliError::cannot("the log took no more events for 30 seconds")
            .next(format_args!("look at the load on the disk of {place}")),
        AppendError::Failed(cause) => CliError::cannot(format_args!("the log has failed: {cause}"))
            .next(format_args!(
                "`paperchase info {}` recovers it; then compare and go on",
                quoted(place)
            )),
        AppendError::WrongVersion { stream, .. }
        | AppendError::PartlyStored { stream, .. }
        | AppendError::Diverged { stream, .. } => CliError::refused(error).next(format_args!(
            "`paperchase read {} --stream {}` shows what happened; decide again",
            quoted(place),
            quoted(stream)
        )),
        AppendError::ConditionFailed { query, after, .. } => {
            CliError::refused(error).next(format_args!(
                "`paperchase read {} --query {} --from {after}` shows what happened; decide again",
                quoted(place),
                quoted(&query.to_string())
            ))
        }
        AppendError::OperationConflict { position, .. } => {
            CliError::refused(error).next(format_args!(
                "`paperchase read {} --from {position} --limit 1` shows what was stored",
                quoted(place)
            ))
        }
        AppendError::Fenced { .. } => CliError::refused(error),
        AppendError::Invalid { .. } | AppendError::TooLarge { .. } => {
            CliError::usage(format_args!("{error}; nothing was stored"))
                .next("`paperchase append --help` has examples")
        }
        other => CliError::cannot(other),
    }
}

/// A path as a shell takes it for one word.
pub(super) fn quoted(path: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:=@%".contains(&byte);
    if !path.is_empty() && path.bytes().all(is_plain) {
        return Cow::Borrowed(path);
    }
    Cow::Owned(format!("'{}'", path.replace('\'', "'\\''")))
}

/// A file stands where the directory of a log should.
pub(super) fn not_a_directory(place: &str) -> CliError {
    CliError::cannot(format_args!("{place} is a file, not a directory"))
        .next("name the directory of a log")
}

/// A file that is none of a log's chunks.
pub(super) fn not_a_chunk(place: &str) -> CliError {
    CliError::cannot(format_args!("{place} is not a chunk file"))
        .next("name a file `chunk-...` in the directory of a log")
}

/// A file of a log cannot be read at all.
pub(super) fn unreadable(place: &str, name: &str, error: &io::Error) -> CliError {
    CliError::cannot(format_args!("read {place}/{name}: {error}"))
        .next("see that this is a file of the log, and that you may read it")
}

/// There is no log at this place.
pub(super) fn missing(place: &str) -> CliError {
    CliError::cannot(format_args!("there is no log in {place}"))
        .next("look for a directory with files named `chunk-...`; `append` and `import` make one")
}

/// A file of the log is of a format that this program does not read.
pub(super) fn newer(place: &str, file: &str, version: u32) -> CliError {
    CliError::cannot(format_args!(
        "{place}/{file} is of format version {version}, which this program does not know; it reads \
         version {}. The log is not damaged by that, and nothing was changed",
        crate::format::VERSION
    ))
    .next("the program that wrote the log, or a newer `paperchase`")
}

/// Nothing tells the id of a log.
pub(super) fn unknown(place: &str) -> CliError {
    CliError::damage(format_args!(
        "nothing in {place} names the id of the log, without which no event can be told from \
         garbage; nothing was changed"
    ))
    .next("restore the log from a backup")
}

/// Says one line on stderr. Nobody can be told that stderr itself is gone.
pub(super) fn say(what: impl Display) {
    let _ = writeln!(io::stderr(), "paperchase: {what}");
}

/// Says on stderr what can be done about the line before.
pub(super) fn hint(next: impl Display) {
    let _ = writeln!(io::stderr(), "  try: {next}");
}

/// Help goes to stdout with success, wrong usage to stderr in the same form as every other error.
pub(super) fn usage(error: &clap::Error, is_verb: impl Fn(&str) -> bool) -> ExitCode {
    if !error.use_stderr() {
        return match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => CliError::output(&error).report(),
        };
    }
    let text = error.render().to_string();
    let Some(text) = text.strip_prefix("error: ") else {
        // The call without any verb shows the help.
        let _ = write!(io::stderr(), "{text}");
        return ExitCode::from(USAGE);
    };
    let what: Vec<_> = text.lines().take_while(|line| !line.starts_with("Usage: ")).collect();
    let what = what.join("\n").replace("\n\n", "\n");
    let what = what.split("\nFor more information").next().unwrap_or_default();
    let verb = std::env::args().nth(1).filter(|verb| is_verb(verb));
    let verb = verb.map_or_else(String::new, |verb| format!(" {verb}"));
    CliError::usage(what.trim_end()).next(format_args!("paperchase{verb} --help")).report();
    ExitCode::from(USAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggested_path_is_one_word() {
        assert_eq!(quoted("/data/log-1"), "/data/log-1");
        assert_eq!(quoted("my log"), "'my log'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}
