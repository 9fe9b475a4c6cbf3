//! What `inspect` shows of one chunk file, sound or damaged, and that it needs no other file.

use super::*;

#[test]
fn inspect_shows_one_file() {
    let (_dir, log) = flights();
    let file = format!("{log}/chunk-0000000000");
    let summary = good(&["inspect", &file]);
    assert!(summary.contains("positions 0 to "), "{summary}");
    assert!(good(&["inspect", &file, "--groups"]).trim_start().starts_with("OFFSET"));
    let event = good(&["inspect", &file, "--event", "17", "--hex"]);
    let line = FLIGHTS.lines().nth(17).unwrap();
    let stream = json(line)["stream"].as_str().unwrap().to_owned();
    assert!(event.contains(&stream), "{event}");
    assert!(
        event.contains("sound") && event.contains("|") || event.contains("{\"flight"),
        "{event}"
    );
    let ran = run(&["inspect", &file, "--event", "999999"]);
    assert_eq!(ran.code, 2);
    let ran = run(&["inspect", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("is not a chunk file"), "{}", ran.stderr);
}

#[test]
fn inspect_shows_a_damaged_place() {
    let (_dir, log) = flights();
    // More groups behind, which say that what stands before them was durable. How many groups a
    // process makes is chance, but each makes at least one.
    for _ in 0..2 {
        assert_eq!(run_with(FLIGHTS, &["import", &log]).code, 0);
    }
    let file = format!("{log}/chunk-0000000000");
    let event = json(&good(&["inspect", &file, "--event", "60", "--json"]));
    let at = event["start"].as_u64().unwrap() + 8;
    let with_comma = format!("{},{:03}", at / 1000, at % 1000);
    let sound = good(&["inspect", &file, "--at", &with_comma]);
    assert!(sound.contains("in: event ") && sound.contains("checksum of the event: "), "{sound}");
    let spot = json(&good(&["inspect", &file, "--at", &at.to_string(), "--json"]));
    assert_eq!(spot["start"], event["start"]);
    let stream = spot["event"]["stream"].as_str().unwrap().to_owned();
    let mut bytes = std::fs::read(&file).unwrap();
    // Within the data of that event, or its padding.
    bytes[usize::try_from(spot["end"].as_u64().unwrap()).unwrap() - 9] ^= 4;
    std::fs::write(&file, &bytes).unwrap();
    let ran = run(&["inspect", &file]);
    assert_eq!(ran.code, 1);
    for part in ["damage: chunk 0", "the bytes give 0x", "sound group behind: at ", &stream] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
    let report = json(&run(&["inspect", &file, "--json"]).stdout);
    let place = &report["damage"][0];
    assert_eq!(place["spot"]["event"]["position"], place["position"]);
    assert!(place["spot"]["hex"].as_array().unwrap().len() >= 8, "{report}");
    assert!(report["end_position"].as_u64().unwrap() >= 400, "the walk goes on: {report}");
    // Not even the header is needed: its own fields are proved by the groups.
    bytes[60] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let ran = run(&["inspect", &file]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("chunk header checksum"), "{}", ran.stdout);
    assert!(ran.stdout.contains("in: chunk header, offsets 0 to 4,096"), "{}", ran.stdout);
    let groups = run(&["inspect", &file, "--groups", "--json"]);
    assert!(groups.stdout.lines().count() >= 2, "{}", groups.stdout);
    json(groups.stdout.lines().next().unwrap());
    bytes[16] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let ran = run(&["inspect", &file]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("neither its header nor a footer tells the log"), "{}", ran.stderr);
    bytes[..4096].fill(0);
    std::fs::write(&file, &bytes).unwrap();
    let ran = run(&["inspect", &file]);
    assert_eq!(ran.code, 1, "groups without a header are no blank file: {}", ran.stdout);
}

/// The file of an active chunk may be longer than the chunk: no group can stand there.
#[test]
fn inspect_takes_nothing_behind_the_capacity_for_a_group() {
    let (_dir, log) = flights();
    let file = format!("{log}/chunk-0000000000");
    let mut bytes = std::fs::read(&file).unwrap();
    let capacity = bytes.len();
    bytes.resize(capacity + 100, 7);
    std::fs::write(&file, &bytes).unwrap();
    let report = json(&good(&["inspect", &file, "--json"]));
    let note = report["note"].as_str().unwrap();
    assert!(note.contains("behind the capacity"), "{note}");
}
