//! Courses and students: a rule that spans both (a course has places, a student has time for so
//! many courses) is held without a stream that contains both, by a condition on a query: the
//! dynamic consistency boundary.
//!
//! Run it with `cargo run --example courses`.

use std::error::Error;
use std::thread;

use paperchase::{Append, AppendError, Expected, Log, NewEvent, Query};

const COURSES_A_STUDENT: usize = 3;
const STUDENTS: usize = 8;

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let log = Log::open(folder.path())?;
    for course in 0..4 {
        let defined = NewEvent::json("CourseDefined", "5").tag(course_tag(course));
        log.append(&format!("course-{course}"), Expected::NoStream, [defined])?.wait()?;
    }
    // All students try all courses, at the same time.
    thread::scope(|scope| {
        for student in 0..STUDENTS {
            let log = &log;
            scope.spawn(move || {
                for round in 0..4 {
                    subscribe(log, (student + round) % 4, student).expect("the log works");
                }
            });
        }
    });
    for course in 0..4 {
        let taken = log.read(&subscribed(&course_tag(course)), ..)?.count();
        println!("course {course}: {taken} students");
        assert!(taken <= 5, "no course is overbooked");
    }
    for student in 0..STUDENTS {
        let taken = log.read(&subscribed(&student_tag(student)), ..)?.count();
        assert!(taken <= COURSES_A_STUDENT, "no student is overbooked");
    }
    log.close()?;
    Ok(())
}

fn course_tag(course: usize) -> String {
    format!("course:{course}")
}

fn student_tag(student: usize) -> String {
    format!("student:{student}")
}

fn subscribed(tag: &str) -> Query {
    Query::new().types(["StudentSubscribed"]).tags([tag])
}

/// Subscribes a student to a course, if both have room. Returns whether it did.
fn subscribe(log: &Log, course: usize, student: usize) -> Result<bool, Box<dyn Error>> {
    let (course, student) = (course_tag(course), student_tag(student));
    // All that the decision rests on, and nothing else: other courses and students may change.
    let relevant = Query::new()
        .types(["CourseDefined"])
        .tags([course.as_str()])
        .or(subscribed(&course))
        .or(subscribed(&student));
    loop {
        let view = log.view();
        let (mut capacity, mut in_course, mut of_student) = (0, 0, 0);
        for event in view.read(&relevant, ..)? {
            let event = event?;
            if event.event_type() == "CourseDefined" {
                capacity = std::str::from_utf8(event.data())?.parse()?;
                continue;
            }
            in_course += usize::from(event.tags().any(|tag| tag == course));
            of_student += usize::from(event.tags().any(|tag| tag == student));
        }
        if in_course >= capacity || of_student >= COURSES_A_STUDENT {
            return Ok(false);
        }
        let event = NewEvent::new("StudentSubscribed", "").tag(&course).tag(&student);
        let answer = Append::new()
            .event("subscriptions", event)
            .no_events(relevant.clone(), view.end())
            .submit(log)?
            .wait();
        match answer {
            Ok(_) => return Ok(true),
            // Something relevant happened after the view was taken: look and decide again.
            Err(AppendError::ConditionFailed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
