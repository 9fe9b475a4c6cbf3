//! Owns what the harness does with reports beyond printing them: the page, a saved run shown again,
//! saved runs compared.
//!
//! Promises: nothing is run for `--from` and `--compare`. A file that is no report, or one of
//! another layout, is named with what to do about it. Writes no file but the page that was asked
//! for.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::{CliError, Outcome};
use super::compare::{Comparison, Side};
use super::report::{Report, VERSION};
use super::{compare, html};

/// What can be asked of reports.
#[derive(Debug, clap::Args)]
pub(super) struct Saved {
    /// Also write the report, or the comparison, as one HTML page.
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    html: Option<PathBuf>,
    /// Run nothing: show a run again that was saved by --json.
    #[arg(long, value_name = "RUN.json", conflicts_with = "compare")]
    #[arg(help_heading = "Saved runs")]
    from: Option<PathBuf>,
    /// Run nothing: compare saved runs. Several of one side: `A1.json,A2.json`.
    #[arg(long, num_args = 2, value_names = ["A.json", "B.json"])]
    #[arg(help_heading = "Saved runs")]
    compare: Option<Vec<String>>,
    /// Compare runs that are void, too.
    #[arg(long, requires = "compare", help_heading = "Saved runs")]
    accept_void: bool,
}

impl Saved {
    /// What was asked of saved runs; `None` when a run is asked for.
    pub(super) fn answer(&self, json: bool) -> Result<Option<Outcome>, CliError> {
        self.check()?;
        if let Some(path) = &self.from {
            let report = load(path)?;
            super::print(&report, json).map_err(|error| CliError::output(&error))?;
            self.page(&report)?;
            return Ok(Some(Outcome::Good));
        }
        let Some([a, b]) = self.compare.as_deref() else { return Ok(None) };
        let [a, b] = [self.side(a)?, self.side(b)?];
        let comparison = Comparison::of(a, b);
        let text = if json {
            let text = serde_json::to_string_pretty(&comparison).map_err(CliError::cannot)?;
            text + "\n"
        } else {
            compare::text(&comparison)
        };
        super::put(text.as_bytes()).map_err(|error| CliError::output(&error))?;
        self.write(|| html::render_comparison(&comparison))?;
        Ok(Some(Outcome::Good))
    }

    /// Writes the page of a report, where one was asked for.
    pub(super) fn page(&self, report: &Report) -> Result<(), CliError> {
        self.write(|| html::render(report))
    }

    /// Refuses a page that could not be written, before minutes are spent on its figures.
    fn check(&self) -> Result<(), CliError> {
        let Some(path) = &self.html else { return Ok(()) };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if path.is_dir() || directory.is_some_and(|directory| !directory.is_dir()) {
            return Err(CliError::usage(format_args!("--html {}: no such place", path.display()))
                .next("name a file in a directory that is there"));
        }
        Ok(())
    }

    fn write(&self, render: impl FnOnce() -> String) -> Result<(), CliError> {
        let Some(path) = &self.html else { return Ok(()) };
        fs::write(path, render())
            .map_err(|error| CliError::cannot(format_args!("{}: {error}", path.display())))
    }

    fn side(&self, files: &str) -> Result<Side, CliError> {
        let mut side = Side::default();
        for file in files.split(',').filter(|file| !file.is_empty()) {
            let report = load(Path::new(file))?;
            if !report.valid && !self.accept_void {
                return Err(CliError::cannot(format_args!(
                    "{file} is void: {}",
                    why_void(&report)
                ))
                .next("do the run again; --accept-void compares it all the same"));
            }
            side.add(file, report);
        }
        if side.reports.is_empty() {
            return Err(CliError::usage("--compare needs a file on each side"));
        }
        Ok(side)
    }
}

fn why_void(report: &Report) -> String {
    let why = report.loops.iter().find_map(|driven| match &driven.failure {
        _ if !driven.ledger.ok => Some("its ledger is broken".to_owned()),
        Some(failure) => Some(failure.clone()),
        None => driven.void.first().cloned(),
    });
    why.unwrap_or_else(|| "it says so".to_owned())
}

/// Reads a report that was saved.
fn load(path: &Path) -> Result<Report, CliError> {
    /// What every layout has.
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let label = path.display();
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => CliError::cannot(format_args!("there is no file {label}"))
            .next("save a run by `paperchase stress --json > FILE`"),
        _ => CliError::cannot(format_args!("{label}: {error}")),
    })?;
    let head: Head = serde_json::from_slice(&bytes).map_err(|error| {
        let what = if error.is_data() { "no report of a run" } else { "not JSON" };
        CliError::usage(format_args!("{label} is {what}: {error}"))
            .next("name a file that `paperchase stress --json` wrote")
    })?;
    let other = |why: String| {
        CliError::usage(format_args!("{label} has another layout: {why}"))
            .next("do the run again with this version of paperchase")
    };
    if head.version != VERSION {
        return Err(other(format!("version {}; this program reads {VERSION}", head.version)));
    }
    serde_json::from_slice(&bytes).map_err(|error| other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::html::tests::{full, void};
    use super::*;

    fn args(html: Option<PathBuf>, from: Option<PathBuf>) -> Saved {
        Saved { html, from, compare: None, accept_void: false }
    }

    fn save(directory: &Path, name: &str, report: &Report) -> String {
        let path = directory.join(name);
        fs::write(&path, serde_json::to_string(report).unwrap()).unwrap();
        path.display().to_string()
    }

    #[test]
    fn a_file_that_is_no_report_is_told_from_one_of_another_layout() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.json");
        let refused = |content: &str| {
            fs::write(&path, content).unwrap();
            load(&path).unwrap_err().what().to_owned()
        };
        assert!(load(&path).unwrap_err().what().starts_with("there is no file"));
        assert!(refused("closed loop, 8 clients").contains("is not JSON"));
        assert!(refused("{\"a\": [").contains("is not JSON"));
        assert!(refused("{\"a\": 1}").contains("no report of a run"));
        assert!(refused("{\"version\": 99}").contains("version 99; this program reads"));
        assert!(refused(&format!("{{\"version\": {VERSION}}}")).contains("missing field"));
        save(dir.path(), "run.json", &full());
        assert_eq!(load(&path).unwrap(), full());
    }

    #[test]
    fn a_run_that_was_saved_before_causes_were_told_is_read_without_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut earlier = serde_json::to_value(full()).unwrap();
        for driven in earlier["loops"].as_array_mut().unwrap() {
            assert!(driven.as_object_mut().unwrap().remove("verdict").is_some());
        }
        let path = dir.path().join("earlier.json");
        fs::write(&path, earlier.to_string()).unwrap();
        let read = load(&path).unwrap();
        let mut expected = full();
        expected.loops.iter_mut().for_each(|driven| driven.verdict = None);
        assert_eq!(read, expected);
        let label = path.display().to_string();
        assert_eq!(args(None, Some(path)).answer(true).unwrap(), Some(Outcome::Good));
        let today = save(dir.path(), "today.json", &full());
        for pair in [[label.clone(), today.clone()], [today, label]] {
            let asked = Saved { compare: Some(pair.to_vec()), ..args(None, None) };
            assert_eq!(asked.answer(false).unwrap(), Some(Outcome::Good));
        }
    }

    #[test]
    fn a_void_run_is_compared_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let [good, bad] = [("good", full()), ("void", void())]
            .map(|(name, report)| save(dir.path(), name, &report));
        let both = Some(vec![good.clone(), bad.clone()]);
        let mut asked = Saved { compare: both, ..args(None, None) };
        assert!(asked.answer(true).unwrap_err().what().contains("is void: its ledger is broken"));
        asked.accept_void = true;
        assert_eq!(asked.answer(true).unwrap(), Some(Outcome::Good));
        let several = asked.side(&format!("{good},{bad},{good}")).unwrap();
        assert_eq!(several.reports.len(), 3);
        assert!(asked.side(",").is_err());
    }

    #[test]
    fn the_page_is_written_where_it_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let from = PathBuf::from(save(dir.path(), "run.json", &full()));
        let page = dir.path().join("page.html");
        let asked = args(Some(page.clone()), Some(from));
        assert_eq!(asked.answer(true).unwrap(), Some(Outcome::Good));
        assert!(fs::read_to_string(&page).unwrap().starts_with("<!doctype html>"));
        assert!(args(Some(dir.path().join("no/page.html")), None).answer(false).is_err());
        assert!(args(Some(dir.path().to_owned()), None).answer(false).is_err());
        assert_eq!(args(Some(page), None).answer(false).unwrap(), None);
    }
}
