//! What a refusal says: which stream, event or query, what was found, and what to do.

use paperchase::{Append, AppendError, Expected, Position, Query};

use crate::{OPERATION, event, exact, new_log, put, refused, to};

#[test]
fn refusals_say_what_was_found_and_what_to_do() {
    let log = new_log();
    put(&log, "cart-7", [1, 2]);
    crate::ask(&log, to("cart-8", [1]).operation(OPERATION)).unwrap();
    let says = |append: Append, text: &str| {
        let refusal = refused(&log, append).to_string();
        println!("{refusal}");
        assert_eq!(refusal, text);
    };
    let cart = |ids: &[u64]| to("cart-7", ids.iter().copied());
    says(
        cart(&[3]).expect("cart-7", exact(4)),
        "stream \"cart-7\": expected version 4, found version 1",
    );
    says(
        cart(&[3]).expect("cart-9", exact(4)),
        "stream \"cart-9\": expected version 4, found no stream",
    );
    says(
        cart(&[3]).expect("cart-7", Expected::NoStream),
        "stream \"cart-7\": expected no stream, found version 1",
    );
    says(
        cart(&[3]).expect("cart-9", Expected::Exists),
        "stream \"cart-9\": expected an existing stream, found no stream",
    );
    says(
        cart(&[1, 2, 3]).expect("cart-7", Expected::NoStream),
        "stream \"cart-7\": 2 of the append's 3 events stand there already; append those that are \
         missing, expecting version 1",
    );
    let both = to("cart-9", [5]).expect("cart-9", Expected::NoStream);
    says(
        both.event("cart-7", event(1)).expect("cart-7", Expected::NoStream),
        "stream \"cart-9\": none of the append's 1 events stands there, but some elsewhere; append \
         those that are missing, expecting no stream",
    );
    says(
        cart(&[1, 5, 3]).expect("cart-7", Expected::NoStream),
        "stream \"cart-7\": 1 of the append's 3 events stand there already; version 1 is another \
         event, so read the stream and decide anew",
    );
    says(
        cart(&[3]).no_events(Query::stream("cart-8"), Position::new(1)),
        "the event at position 2 matches the query `stream=cart-8`, of which there was to be none \
         from position 1 on; read what happened since and decide anew",
    );
    says(
        cart(&[3]).operation(OPERATION),
        "operation 00000000-0000-0000-0000-700000000000 was stored at position 2 with other \
         content; give each operation an id of its own",
    );
    says(
        cart(&[3]).no_events(Query::new(), Position::new(99)),
        "a condition names a position ahead of the end of the log: it was read elsewhere",
    );
    says(Append::new(), "an append has neither events nor anything to check");
    let check = Append::new().expect("cart-7", Expected::Exists).operation(OPERATION);
    says(check, "an operation has no events, in which its id would be stored");
    let many = (0..=paperchase::APPEND_TERMS_MAX)
        .fold(cart(&[3]), |append, _| append.expect("cart-7", Expected::Exists));
    says(many, "an append has 4097 expectations; the limit is 4096");
    let wide = (0..64).fold(Query::tag("a"), |query, _| query.or(Query::tag("b")));
    says(
        cart(&[3]).no_events(wide, Position::START),
        "the query of a condition has more than 64 alternatives",
    );
    says(cart(&[3]).expect("", Expected::Any), "the stream's name is empty");
}

#[test]
fn refusals_are_clones_of_one_another() {
    let log = new_log();
    let refusal = refused(&log, to("a", [1]).expect("a", Expected::Exists));
    assert!(matches!(refusal.clone(), AppendError::WrongVersion { actual: None, .. }));
    assert_eq!(refusal.clone().to_string(), refusal.to_string());
}

#[test]
fn an_append_writes_to_as_many_streams_as_the_limit_says() {
    let log = new_log();
    let spread = |streams: usize| {
        let events = |append: Append, number| append.event(format!("s-{number}"), event(1));
        (0..streams).fold(Append::new(), events)
    };
    let most = paperchase::APPEND_TERMS_MAX;
    let refusal = refused(&log, spread(most + 1)).to_string();
    assert_eq!(refusal, "an append has 4097 streams; the limit is 4096");
    let stored = crate::ask(&log, spread(most).event("s-0", event(2))).unwrap();
    assert_eq!(stored.events(), 4097);
}
