//! Both ends together, over a real socket.

use kddm_object::{FirstTouch, Hold, ObjectKey, SetId};
use kddm_ring::{
    Layout, Refusal, Region, Request, Submission, Wait,
    mock::{MockProgram, MockServer, OBJECT_BYTES, SET},
};
use std::{os::unix::net::UnixStream, thread};

const KEY: ObjectKey = ObjectKey { set: SetId(SET), object: 3 };

fn meet() -> (MockProgram, MockServer, UnixStream) {
    let (program, mut stream) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || (MockServer::meet(&mut stream).unwrap(), stream));
    let program = MockProgram::attach(program, Layout::default()).unwrap();
    let (server, stream) = server.join().unwrap();
    (program, server, stream)
}

fn hold(hold: Hold, into: Region) -> Request {
    Request::Hold { key: KEY, hold, first_touch: FirstTouch::Make, wait: Wait::Forever, into }
}

#[test]
fn what_is_put_is_what_is_got() {
    let (mut program, mut server, _stream) = meet();
    let window = program.end.window().clone();
    let mut piece = window.piece(OBJECT_BYTES).unwrap();
    assert!(program.submit(&Submission::new(1, hold(Hold::Exclusive, piece.region()), false)).unwrap());
    assert!(server.turn().unwrap());
    let done = program.complete().unwrap();
    assert_eq!(done.tag(), 1);
    let held = kddm_ring::HoldId(done.outcome().unwrap().value);
    piece.fill(7);
    let put = Request::Put { hold: held, changed: Some(piece.region()) };
    program.submit(&Submission::new(2, put, true)).unwrap();
    program.submit(&Submission::new(3, hold(Hold::Shared, piece.region()), false)).unwrap();
    piece.fill(0);
    piece.fill(7);
    server.turn().unwrap();
    assert_eq!(program.complete().unwrap().tag(), 3, "a quiet put is not told");
    assert_eq!(*piece, [7; OBJECT_BYTES as usize]);
    program.submit(&Submission::new(4, put, true)).unwrap();
    server.turn().unwrap();
    assert_eq!(
        program.complete().unwrap().outcome(),
        Err(Refusal::NoHold),
        "a failure is told, quiet or not"
    );
}

#[test]
fn an_end_that_sleeps_is_woken() {
    let (mut program, mut server, stream) = meet();
    assert!(server.sleep());
    let served = thread::spawn(move || {
        while server.taken.len() < 1000 {
            let watched = &mut [rustix::event::PollFd::new(&server.bell, rustix::event::PollFlags::IN)];
            rustix::event::poll(watched, None).unwrap();
            rustix::io::read(&server.bell, &mut [0; 8]).unwrap();
            while server.turn().unwrap() || !server.sleep() {}
        }
        // Kept until here: a server that fails hangs up, and the program does not wait for it.
        stream
    });
    for tag in 0..1000 {
        assert!(program.submit(&Submission::new(tag, Request::Nothing, false)).unwrap(), "no room for {tag}");
        assert_eq!(program.complete().unwrap().tag(), tag);
    }
    served.join().unwrap();
}

#[test]
fn a_server_that_is_gone_is_noticed() {
    let (mut program, server, stream) = meet();
    drop((server, stream));
    program.submit(&Submission::new(1, Request::Nothing, false)).unwrap();
    assert!(program.complete().is_err());
}
