//! What a server tells of its programs.

use crate::attach;
use kddm_ring::{HELLO_BYTES, Layout, Request, Submission, mock::MockProgram};
use kddm_tests::{Cluster, metrics::Page};
use kdfs_client::{Connection, SetOptions};
use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

fn told(cluster: &Cluster) -> Page {
    let socket = cluster.directory().join("run/1.sock");
    let status = Connection::open(&socket).and_then(|mut server| server.status()).unwrap();
    Page::fetch(status.metrics.expect("a playground's nodes tell metrics"))
}

fn requests(page: &Page, request: &str, outcome: &str) -> f64 {
    page.value(&format!("kddm_program_requests_total{{request=\"{request}\",outcome=\"{outcome}\"}}"))
}

#[test]
fn what_programs_ask_for_is_counted_and_what_has_to_wait_is_timed() {
    let cluster = Cluster::up(1);
    let session = attach(&cluster, 1);
    let set = session.create_set("set", SetOptions::new(64)).unwrap();
    let other = attach(&cluster, 1);
    let others = other.open_set("set").unwrap();
    let held = set.grab(0).unwrap();
    assert!(others.try_get(0).is_err());
    let long = Duration::from_millis(50);
    assert!(others.get_for(0, long).is_err());
    let page = told(&cluster);
    assert_eq!((page.value("kddm_programs"), page.value("kddm_program_holds")), (2.0, 1.0));
    assert_eq!(page.value("kddm_programs_attached_total"), 2.0);
    assert_eq!((requests(&page, "grab", "done"), requests(&page, "open_set", "done")), (1.0, 1.0));
    assert_eq!((requests(&page, "get", "refused"), requests(&page, "get", "failed")), (2.0, 0.0));
    let waited =
        |part: &str| page.value(&format!("kddm_program_request_duration_seconds_{part}{{request=\"get\"}}"));
    assert!(waited("count") >= 1.0 && waited("sum") >= long.as_secs_f64(), "{}", waited("sum"));
    // What a program waits for ends with it.
    let waits = others.begin_get(0, Default::default()).unwrap();
    drop(waits);
    drop(held);
    drop(set.grab(0).unwrap());
    assert_eq!(requests(&told(&cluster), "put", "done"), 2.0);
}

#[test]
fn who_is_not_let_in_and_who_is_shown_out_is_counted() {
    let cluster = Cluster::up(1);
    let mut stranger = UnixStream::connect(cluster.ring(1)).unwrap();
    stranger.write_all(&[7; HELLO_BYTES]).unwrap();
    stranger.read_to_end(&mut Vec::new()).unwrap();
    let stream = UnixStream::connect(cluster.ring(1)).unwrap();
    let mut program = MockProgram::attach(stream, Layout::default()).unwrap();
    program.submit(&Submission::from_raw([0xff; 64])).unwrap();
    program.complete().unwrap();
    program.end.spoil(1 << 40);
    // More than the ring has room for: the server has to look at the count.
    let nothing = Submission::new(1, Request::Nothing, false);
    for _ in 0..=Layout::default().entries() {
        while !program.submit(&nothing).unwrap() {}
    }
    program.stream.read_to_end(&mut Vec::new()).unwrap();
    let page = told(&cluster);
    let counts =
        ["attached", "turned_away", "corrupt"].map(|what| page.value(&format!("kddm_programs_{what}_total")));
    assert_eq!(counts, [1.0; 3]);
    assert_eq!(requests(&page, "malformed", "refused"), 1.0);
}
