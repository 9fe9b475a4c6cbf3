//! What `read` shows of a query, and what the verbs that list names count, held against the sample
//! itself.

use std::collections::BTreeMap;

use super::*;

/// An event of the sample, by what it is found by.
struct Flight {
    value: Value,
}

impl Flight {
    fn is(&self, field: &str, names: &[&str]) -> bool {
        names.is_empty() || names.iter().any(|name| self.value[field] == *name)
    }

    fn tags(&self) -> Vec<&str> {
        let tags = self.value["tags"].as_array().map_or(&[][..], Vec::as_slice);
        tags.iter().map(|tag| tag.as_str().unwrap()).collect()
    }

    fn has(&self, tags: &[&str]) -> bool {
        tags.iter().all(|tag| self.tags().contains(tag))
    }

    fn name(&self, field: &str) -> &str {
        self.value[field].as_str().unwrap()
    }
}

fn flown(log: &str) -> Vec<Flight> {
    good(&["export", log]).lines().map(|line| Flight { value: json(line) }).collect()
}

fn read(log: &str, args: &[&str]) -> Vec<Value> {
    let args = [&["read", log, "--json"], args].concat();
    good(&args).lines().map(json).collect()
}

#[test]
fn events_are_read_from_both_ends() {
    let (_dir, log) = flights();
    let all: Vec<Value> = good(&["export", &log]).lines().map(json).collect();
    let read = |args: &[&str]| read(&log, args);
    let places = |events: &[Value]| -> Vec<u64> {
        events.iter().map(|event| event["position"].as_u64().unwrap()).collect()
    };
    assert_eq!(read(&[]), all);
    assert_eq!(places(&read(&["--from", "398"])), [398, 399]);
    assert_eq!(places(&read(&["--backwards", "--limit", "2"])), [399, 398]);
    assert_eq!(places(&read(&["--backwards", "--from", "1"])), [1, 0]);
    assert_eq!(places(&read(&["--from", "400"])), [0; 0]);
    let busiest = all.iter().max_by_key(|event| event["version"].as_u64()).unwrap();
    let stream = busiest["stream"].as_str().unwrap();
    let mut own: Vec<Value> =
        all.iter().filter(|event| event["stream"] == stream).cloned().collect();
    assert!(own.len() >= 3, "the sample has a stream of some length");
    assert_eq!(read(&["--stream", stream]), own);
    assert_eq!(read(&["--stream", stream, "--from", "1", "--limit", "1"]), own[1..2]);
    assert_eq!(
        read(&["--stream", stream, "--from", "1", "--backwards"])[..],
        [own[1].clone(), own[0].clone()]
    );
    own.reverse();
    assert_eq!(read(&["--stream", stream, "--backwards"]), own);
    assert_eq!(read(&["--stream", "nobody"]), [Value::Null; 0]);
    let tagged = |event: &Value| event["tags"].as_array().unwrap().contains(&"carrier:UA".into());
    let departed = |event: &Value| event["type"] == "FlightDeparted";
    let filters = [
        ("--type", "FlightDeparted", &departed as &dyn Fn(&Value) -> bool),
        ("--tag", "carrier:UA", &tagged),
        ("--category", "plane", &|_| true),
        ("--category", "plan", &|_| false),
    ];
    for (flag, name, is_meant) in filters {
        let mut meant: Vec<_> = all.iter().filter(|event| is_meant(event)).cloned().collect();
        assert_eq!(read(&[flag, name]), meant, "{flag} {name}");
        let from_200 = |event: &&Value| event["position"].as_u64() >= Some(200);
        let later: Vec<_> = meant.iter().filter(from_200).cloned().collect();
        assert_eq!(read(&[flag, name, "--from", "200"]), later, "{flag} {name}");
        meant.reverse();
        assert_eq!(read(&[flag, name, "--backwards"]), meant, "{flag} {name}");
    }
    let export = good(&["export", &log, "--from", "7", "--limit", "2"]);
    assert_eq!(places(&export.lines().map(json).collect::<Vec<_>>()), [7, 8]);
}

#[test]
fn filters_of_all_kinds_go_together() {
    let (_dir, log) = flights();
    let all = flown(&log);
    let meant = |is_meant: &dyn Fn(&Flight) -> bool| -> Vec<Value> {
        all.iter().filter(|flight| is_meant(flight)).map(|flight| flight.value.clone()).collect()
    };
    let check = |args: &[&str], text: &str, is_meant: &dyn Fn(&Flight) -> bool| {
        let mut meant = meant(is_meant);
        assert!(!meant.is_empty(), "{args:?}");
        assert_eq!(read(&log, args), meant, "{args:?}");
        assert_eq!(read(&log, &["--query", text]), meant, "{text}");
        let behind = meant.iter().filter(|event| event["position"].as_u64() >= Some(200)).cloned();
        let behind: Vec<_> = behind.collect();
        assert_eq!(read(&log, &[args, &["--from", "200"]].concat()), behind, "{args:?}");
        meant.reverse();
        assert_eq!(read(&log, &[args, &["--backwards"]].concat()), meant, "{args:?}");
    };
    check(
        &["--type", "FlightArrived", "--tag", "carrier:UA"],
        "type=FlightArrived tag=carrier:UA",
        &|flight| flight.is("type", &["FlightArrived"]) && flight.has(&["carrier:UA"]),
    );
    check(
        &["--tag", "origin:LGA", "--tag", "carrier:DL"],
        "tag=carrier:DL tag=origin:LGA",
        &|flight| flight.has(&["origin:LGA", "carrier:DL"]),
    );
    check(
        &["--type", "FlightCancelled", "--type", "FlightArrived", "--category", "plane"],
        "category=plane type=FlightCancelled type=FlightArrived",
        &|flight| flight.is("type", &["FlightCancelled", "FlightArrived"]),
    );
    check(
        &["--stream", "plane-N14228", "--stream", "plane-N24211"],
        "stream=plane-N14228 or stream=plane-N24211",
        &|flight| flight.is("stream", &["plane-N14228", "plane-N24211"]),
    );
    let text = "type=FlightArrived tag=origin:LGA or type=FlightCancelled or tag=carrier:EV";
    let meant = meant(&|flight| {
        flight.is("type", &["FlightArrived"]) && flight.has(&["origin:LGA"])
            || flight.is("type", &["FlightCancelled"])
            || flight.has(&["carrier:EV"])
    });
    assert_eq!(read(&log, &["--query", text]), meant);
    assert_eq!(read(&log, &["--query", "all"]).len(), 400);
    assert_eq!(read(&log, &["--query", "tag=\"no such\""]).len(), 0);
}

#[test]
fn one_stream_alone_is_read_by_versions() {
    let (_dir, log) = flights();
    let stream = good(&["streams", &log, "--json"]);
    let stream = stream.lines().map(json).max_by_key(|it| it["events"].as_u64()).unwrap();
    let name = stream["stream"].as_str().unwrap();
    assert!(stream["version"].as_u64() >= Some(1), "{stream}");
    let versions = |args: &[&str]| -> Vec<u64> {
        read(&log, args).iter().map(|event| event["version"].as_u64().unwrap()).collect()
    };
    let all = versions(&["--stream", name]);
    assert_eq!(versions(&["--stream", name, "--from", "1"]), all[1..]);
    let position = stream["last_position"].to_string();
    let text = format!("stream={name}");
    assert_eq!(versions(&["--query", &text, "--from", &position]), all[all.len() - 1..]);
    let plane = ["--stream", name, "--category", "train", "--from", &position];
    assert_eq!(versions(&plane), all[all.len() - 1..]);
}

#[test]
fn a_text_that_is_no_query_is_refused() {
    let (_dir, log) = flights();
    for (text, words) in [
        ("typ=A", r#"is of no kind; write stream=, category=, type= or tag="#),
        ("type=A or", r#""or" has nothing behind it"#),
        ("", "asks for nothing"),
        ("tag=\"a", "begins a quote that does not end"),
    ] {
        let ran = run(&["read", &log, "--query", text]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{text}");
        assert!(ran.stderr.contains(words) && ran.stderr.contains("--query"), "{}", ran.stderr);
        assert!(ran.stderr.contains("\n  try: paperchase read --help"), "{}", ran.stderr);
    }
    let many = ["--tag", "x"].repeat(257);
    let ran = run(&[&["read", &log], &many[..]].concat());
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("more than 256 names"), "{}", ran.stderr);
}

#[test]
fn names_are_listed_and_counted() {
    let (_dir, log) = flights();
    let all = flown(&log);
    let check = |verb: &str, field: &str, names: &dyn Fn(&Flight) -> Vec<String>| {
        let mut wanted = BTreeMap::<String, (u64, u64)>::new();
        for (position, flight) in (0..).zip(&all) {
            for name in names(flight) {
                let (events, last) = wanted.entry(name).or_default();
                (*events, *last) = (*events + 1, position);
            }
        }
        let listed = |args: &[&str]| -> Vec<_> {
            let listed = good(&[&[verb, &log, "--json"], args].concat());
            let row = |line: Value| {
                let number = |field: &str| line[field].as_u64().unwrap();
                let name = line[field].as_str().unwrap().to_owned();
                (name, (number("events"), number("last_position")))
            };
            listed.lines().map(json).map(row).collect()
        };
        assert_eq!(listed(&[]), wanted.clone().into_iter().collect::<Vec<_>>(), "{verb}");
        let prefix = &wanted.keys().next_back().unwrap()[..2];
        let some = wanted.clone().into_iter().filter(|(name, _)| name.starts_with(prefix));
        assert_eq!(listed(&["--prefix", prefix]), some.collect::<Vec<_>>(), "{verb} {prefix}");
        let table = good(&[verb, &log]);
        assert!(table.starts_with(&field.to_uppercase()), "{table}");
        assert_eq!(table.lines().count(), wanted.len() + 1);
    };
    check("streams", "stream", &|flight| vec![flight.name("stream").to_owned()]);
    check("types", "type", &|flight| vec![flight.name("type").to_owned()]);
    check("categories", "category", &|flight| {
        vec![flight.name("stream").split('-').next().unwrap().to_owned()]
    });
    check("tags", "tag", &|flight| flight.tags().into_iter().map(str::to_owned).collect());
}

/// Imports the sample again and again, each time behind an event that fills the rest of a chunk.
#[test]
fn arrivals_are_counted_over_many_chunks() {
    const CHUNKS: usize = 64;
    let (_dir, log) = place();
    let filler =
        format!(r#"{{"stream":"filler","type":"Filled","data":"{}"}}"#, "x".repeat(900 << 10));
    let round = format!("{}\n{filler}\n", FLIGHTS.trim_end());
    let input = round.repeat(CHUNKS);
    let ran = run_with(&input, &["import", &log, "--chunk-size", "1MiB"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(good(&["chunks", &log, "--json"]).lines().count() >= CHUNKS);
    let arrivals = input.lines().filter(|line| line.contains(r#""destination:ATL""#)).count();
    let places = |args: &[&str]| -> Vec<u64> {
        let args = [&["read", &log, "--json", "--tag", "destination:ATL"], args].concat();
        good(&args).lines().map(|line| json(line)["position"].as_u64().unwrap()).collect()
    };
    let forwards = places(&[]);
    assert_eq!((forwards.len(), arrivals > CHUNKS), (arrivals, true));
    assert!(forwards.is_sorted());
    let backwards = places(&["--backwards"]);
    assert!(backwards.iter().eq(forwards.iter().rev()));
    let listed = good(&["tags", &log, "--prefix", "destination:ATL", "--json"]);
    assert_eq!(json(&listed)["events"].as_u64(), Some(arrivals as u64), "{listed}");
}
