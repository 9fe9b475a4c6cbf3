//! Owns what the figures hang on: the bare disk, the machine, the settings and the command line.
//!
//! Promises: enough to do the run again. What was not told is left out.

use super::super::super::show::{count, size};
use super::super::report::{Arrivals, Probe, Report, Settings, WhenFull};
use super::markup::{Row, digits, facts, micros, plain_time, text};

/// The bare disk, where it was measured.
pub(super) fn probes(report: &Report) -> String {
    let Some(probes) = &report.probe else { return String::new() };
    let row = |name: &str, probe: &Probe| {
        let times = &probe.latency;
        Row::new(
            name,
            [
                digits(probe.operations_per_second),
                micros(times.at(50.0)),
                micros(times.at(99.0)),
                micros(times.at(99.9)),
                micros(times.max_ns),
                count(times.samples),
            ],
        )
    };
    let titles = ["", "ops/s", "p50 \u{b5}s", "p99", "p99.9", "max", "samples"];
    let table = super::markup::table(
        &titles.map(str::to_owned),
        &[row("before", &probes.before), row("after", &probes.after)],
    );
    format!(
        "<h2>The bare disk</h2>\n<p>pwrite and fdatasync of {} in the same directory, with no log \
         between: <b>{} acked events for each operation of the bare disk</b>.</p>\n{table}",
        size(probes.before.write_size_bytes),
        digits(probes.events_per_operation),
    )
}

/// Where, what and how it was run.
pub(super) fn render(report: &Report) -> String {
    let (identity, machine) = (&report.identity, &report.identity.machine);
    let unknown = || "not told".to_owned();
    let mount = machine.mount.as_ref().map(|mount| {
        let (system, device) = (text(&mount.filesystem), text(&mount.device));
        format!("{system} on {device} ({}), {}", text(&mount.number), text(&mount.options))
    });
    let build = if identity.optimised { "optimised" } else { "NOT optimised" };
    let commit = identity.commit.as_ref().map_or_else(unknown, text);
    let memory = machine.memory_bytes.map_or_else(unknown, size);
    let told = [
        ("paperchase", format!("{}, {build}, commit {commit}", text(&identity.paperchase))),
        ("started", text(&identity.started)),
        ("seed", identity.seed.to_string()),
        (
            "processor",
            format!("{}, {} cores", machine.cpu.as_ref().map_or_else(unknown, text), machine.cores),
        ),
        ("memory", memory),
        ("kernel", machine.kernel.as_ref().map_or_else(unknown, text)),
        ("directory", format!("<code>{}</code>", text(&machine.directory))),
        ("file system", mount.unwrap_or_else(unknown)),
    ];
    let command: Vec<_> = identity.command.iter().map(|word| quoted(word)).collect();
    format!(
        "<h2>Where and how</h2>\n{}<h3>Command</h3>\n<pre>{}</pre>\n<h3>Settings</h3>\n{}",
        facts(&told),
        text(command.join(" ")),
        facts(&settings(&report.settings)),
    )
}

/// A word of a command line as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:,=+%@".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn settings(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut told = vec![(
        "clients",
        format!(
            "{} ({}), {} in flight each, {} streams each, chosen by {}",
            settings.clients,
            text(&settings.driver),
            settings.pipeline,
            settings.streams,
            text(&settings.skew),
        ),
    )];
    if let Some(rate) = settings.rate {
        let arrivals = match settings.arrivals {
            Some(Arrivals::Poisson) => ", Poisson arrivals",
            Some(Arrivals::Constant) => ", equal gaps",
            None => "",
        };
        let full = match settings.when_full {
            Some(WhenFull::Retry) => "; a full queue is tried again, the clock runs on",
            Some(WhenFull::Shed) => "; a full queue sheds, and counts",
            None => "",
        };
        told.push(("plan", format!("{} appends/s{arrivals}{full}", digits(rate))));
    }
    let conditional = match settings.conditions_percent {
        0.0 => String::new(),
        percent => format!("; {percent} % with expected version and operation id"),
    };
    told.push((
        "append",
        format!("{} events of {} bytes{conditional}", text(&settings.batch), text(&settings.size)),
    ));
    told.push((
        "beside it",
        format!(
            "{} readers, {} subscribers, {} idle subscriptions",
            settings.readers, settings.subscribers, settings.subscriptions
        ),
    ));
    told.push((
        "phases",
        format!(
            "fill {} events, rest {} s, warm-up {} s, measure {} s, cool-down up to {} s",
            count(settings.fill_events),
            settings.rest_s,
            settings.warmup_s,
            settings.seconds,
            settings.cooldown_s
        ),
    ));
    told.push((
        "log",
        format!(
            "chunks of {}, max delay {}, spin {}",
            size(settings.chunk_size_bytes),
            plain_time(settings.max_delay_ns as f64),
            plain_time(settings.spin_ns as f64)
        ),
    ));
    told
}
