//! Owns the carrying out of a plan, each step durable before the next.
//!
//! Promises: whatever is removed or overwritten is first kept aside under a name that begins with
//! `lost-` (R7). Cut short at any call, it leaves files that opening refuses or that are sound, and
//! a second repair finishes. Assumes the lock, and a plan of the files as they are. Never shrinks a
//! file, never touches what the plan does not name.

use std::io;
use std::sync::Arc;

use uuid::Uuid;

use super::super::{CliError, line, show};
use super::plan::{Plan, Step};
use super::salvage;
use crate::chunk::directory::HINT;
use crate::chunk::{file_name, recover};
use crate::disk::{Access, Disk, DiskFile};
use crate::error::Error;
use crate::format::CHUNK_HEADER_SIZE;
use crate::format::header::ChunkHeader;
use crate::format::hint::Hint;
use crate::position::ChunkNumber;

/// How many bytes of salvaged events are written at once.
const PIECE: usize = 1 << 20;

/// A file that was left beside the log, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) name: String,
    pub(super) what: String,
}

/// Carries out a plan; tells what it has kept, and where, also when it returns an error.
pub(super) fn apply(
    disk: &dyn Disk,
    log: Uuid,
    plan: &Plan,
    kept: &mut Vec<Kept>,
) -> Result<(), CliError> {
    if let Some(loss) = plan.loss {
        let base = format!("salvaged-{:010}.ndjson", loss.from.get());
        kept.extend(salvage(disk, log, plan, &base).map_err(|error| doing("salvage", error))?);
    }
    for step in &plan.steps {
        carry_out(disk, step, kept)?;
    }
    Ok(())
}

fn doing(what: &str, error: io::Error) -> CliError {
    CliError::from(Error::from_io(what, error))
        .next("what was done so far is kept; the same command again goes on from here")
}

/// Writes the sound events behind the damage as `import` reads them. The file has its name only
/// when all of it is durable.
fn salvage(disk: &dyn Disk, log: Uuid, plan: &Plan, base: &str) -> io::Result<Option<Kept>> {
    let mut text = Lines { disk, part: None, text: Vec::new(), count: 0 };
    salvage::events(disk, log, &plan.sources, &mut |event| {
        line::write(&mut text.text, event);
        text.count += 1;
        if text.text.len() >= PIECE { text.flush(base) } else { Ok(()) }
    })?;
    if text.count == 0 {
        return Ok(None);
    }
    text.flush(base)?;
    let Some((part, file, _)) = text.part else { return Ok(None) };
    file.sync_data()?;
    let name = rename(disk, &part, base)?;
    let events = show::counted(text.count, "event");
    Ok(Some(Kept {
        name,
        what: format!("{events} from behind the damage, as `import` reads them"),
    }))
}

/// Lines on their way into a file, which is made for the first of them.
struct Lines<'a> {
    disk: &'a dyn Disk,
    /// Name, file, and how long it is.
    part: Option<(String, Arc<dyn DiskFile>, u64)>,
    text: Vec<u8>,
    count: u64,
}

impl Lines<'_> {
    fn flush(&mut self, base: &str) -> io::Result<()> {
        let part = match self.part.take() {
            Some(part) => part,
            None => {
                let (name, file) = create(self.disk, &format!("{base}.part"))?;
                (name, file, 0)
            }
        };
        let (name, file, length) = part;
        file.write_at(&self.text, length)?;
        self.part = Some((name, file, length + self.text.len() as u64));
        self.text.clear();
        Ok(())
    }
}

/// A name of which there is no file: `base`, or `base` and a number.
fn free<T>(base: &str, mut attempt: impl FnMut(&str) -> io::Result<T>) -> io::Result<(String, T)> {
    let mut name = base.to_owned();
    for number in 2..u32::MAX {
        match attempt(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|made| (name, made)),
        }
        name = format!("{base}.{number}");
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn create(disk: &dyn Disk, base: &str) -> io::Result<(String, Arc<dyn DiskFile>)> {
    free(base, |name| disk.create(name))
}

/// Gives a file a name that is free, durably.
fn rename(disk: &dyn Disk, from: &str, base: &str) -> io::Result<String> {
    let (name, ()) = free(base, |name| disk.rename(from, name))?;
    disk.sync_directory()?;
    Ok(name)
}

fn carry_out(disk: &dyn Disk, step: &Step, kept: &mut Vec<Kept>) -> Result<(), CliError> {
    let told = |what: String| move |error| doing(&what, error);
    match step {
        Step::Aside { name, .. } => {
            let aside = rename(disk, name, &aside_name(name, 0))
                .map_err(told(format!("set {name} aside")))?;
            kept.push(Kept { name: aside, what: format!("the file {name}, as it was") });
            Ok(())
        }
        Step::Move { from, to } => {
            let (from, to) = (file_name(*from), file_name(*to));
            let moved = disk.rename(&from, &to).and_then(|()| disk.sync_directory());
            moved.map_err(told(format!("rename {from} to {to}")))
        }
        Step::Header { header } => {
            let name = file_name(header.number);
            write_header(disk, header, kept).map_err(told(format!("write the header of {name}")))
        }
        Step::Resize { chunk, size } => {
            let name = file_name(*chunk);
            let grow = || {
                let file = disk.open(&name, Access::Write)?;
                if file.size()? < *size {
                    file.grow(*size)?;
                }
                file.sync_data()
            };
            grow().map_err(told(format!("grow {name}")))
        }
        Step::Index { chunk, from } | Step::Cut { chunk, from } | Step::Behind { chunk, from } => {
            cut(disk, *chunk, *from, kept)
        }
        Step::Begin { header } => {
            let name = file_name(header.number);
            begin(disk, header).map_err(told(format!("begin {name} anew")))
        }
        Step::Lower { hint } => lower(disk, hint, kept).map_err(told("lower the hint".to_owned())),
    }
}

/// The name under which the bytes of a file from an offset on are kept.
pub(super) fn aside_name(name: &str, offset: u64) -> String {
    format!("lost-{name}@{offset:010}")
}

/// Copies the first bytes of a file into one of its own, durably, but for zeros at their end. The
/// file may be of any size: it is read in pieces, and holes are passed over.
fn keep(disk: &dyn Disk, name: &str, length: u64, what: &str) -> io::Result<Option<Kept>> {
    let file = disk.open(name, Access::Read)?;
    let length = file.size()?.min(length);
    let (mut at, mut piece, mut made) = (0, Vec::new(), None);
    while at < length
        && let Some(data) = file.next_data(at)?.filter(|data| *data < length)
    {
        at = data.max(at);
        piece.resize((length - at).min(PIECE as u64) as usize, 0);
        file.read_at(&mut piece, at)?;
        if !crate::format::is_zero(&piece) {
            let aside = match made.take() {
                Some(aside) => aside,
                None => create(disk, &aside_name(name, 0))?,
            };
            aside.1.write_at(&piece, at)?;
            made = Some(aside);
        }
        at += piece.len() as u64;
    }
    let Some((name, aside)) = made else { return Ok(None) };
    aside.sync_data()?;
    disk.sync_directory()?;
    Ok(Some(Kept { name, what: what.to_owned() }))
}

fn write_header(disk: &dyn Disk, header: &ChunkHeader, kept: &mut Vec<Kept>) -> io::Result<()> {
    let name = file_name(header.number);
    kept.extend(keep(disk, &name, CHUNK_HEADER_SIZE, "the header that was damaged")?);
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    let file = disk.open(&name, Access::Write)?;
    file.write_at(&bytes, 0)?;
    file.sync_data()
}

fn cut(
    disk: &dyn Disk,
    chunk: ChunkNumber,
    from: u64,
    kept: &mut Vec<Kept>,
) -> Result<(), CliError> {
    let name = file_name(chunk);
    let open = || {
        let file = disk.open(&name, Access::Write)?;
        let end = recover::garbage(&*file)?.map_or(0, |garbage| garbage.end);
        Ok((file, end))
    };
    let (file, end) = open().map_err(|error| doing(&format!("read {name}"), error))?;
    if end <= from {
        return Ok(());
    }
    let cut = recover::cut(disk, &*file, chunk, &(from..end))?;
    let what = format!("the bytes of {name} from offset {from} to {end}");
    kept.push(Kept { name: cut.kept_in, what });
    Ok(())
}

fn begin(disk: &dyn Disk, header: &ChunkHeader) -> io::Result<()> {
    let file = disk.create(&file_name(header.number))?;
    file.grow(header.capacity)?;
    file.sync_data()?;
    // The entry of the file is durable before its header makes it a chunk (R2).
    disk.sync_directory()?;
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    file.write_at(&bytes, 0)?;
    file.sync_data()
}

/// Writes both slots, one after the other: an old one must not count again when the new one is
/// damaged.
fn lower(disk: &dyn Disk, hint: &Hint, kept: &mut Vec<Kept>) -> io::Result<()> {
    kept.extend(keep(disk, HINT, u64::MAX, "the hint, as it was")?);
    let file = disk.open(HINT, Access::Write)?;
    for sequence in [hint.sequence, hint.sequence.saturating_add(1)] {
        let (bytes, offset) = Hint { sequence, ..*hint }.encode();
        file.write_at(&bytes, offset)?;
        file.sync_data()?;
    }
    Ok(())
}
