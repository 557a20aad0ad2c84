//! Rings of attached programs (`kddm_ring`): a program that writes into the shared memory what it likes, against the server's end.

use super::{Target, numbered};
use crate::{
    bound::bounded,
    input::{Input, add_piece, padded},
};
use kddm_memory::SharedBytes;
use kddm_object::{FirstTouch, Hold, Home, NodeId, ObjectKey, SetId};
use kddm_ring::{
    Completion, Corrupt, Done, HELLO_BYTES, Hello, HoldId, Layout, MAX_ENTRIES, MAX_WINDOW, Refusal, Region,
    Request, ServerEnd, SetDetails, Submission, Wait,
};
use std::time::Duration;
use zerocopy::{FromBytes, IntoBytes};

pub(super) const TARGET: Target = Target {
    name: "ring",
    what: "rings of attached programs: hello, submissions, counts and windows of a hostile program",
    check,
    seeds,
    longest: 4096,
};

const ENTRIES: u32 = 8;
const WINDOW: u32 = 8192;
/// Where a program's words and submissions lie (`kddm_ring`'s layout.rs).
const SEEN: usize = 320;
const SUBMISSIONS: usize = 4096;
const BYTES: usize = size_of::<Submission>();
/// Where a submission has its number in the queue, from 1.
const NUMBER: usize = BYTES - size_of::<u32>();

fn check(input: &[u8]) {
    hello(input);
    input.chunks(BYTES).for_each(submission);
    hostile(Input(input));
}

/// What is asked for can be had, or is refused.
fn hello(input: &[u8]) {
    let hello = Hello::read_from_bytes(&padded::<HELLO_BYTES>(input)).expect("so many bytes");
    let name = bounded(512, || hello.name());
    assert!(name.len() <= 3 * HELLO_BYTES && !name.chars().any(char::is_control), "the name {name:?}");
    match bounded(0, || hello.layout()) {
        Ok(layout) => {
            assert!(layout.entries().is_power_of_two() && layout.entries() <= MAX_ENTRIES);
            assert!(
                layout.window() > 0 && layout.window().is_multiple_of(4096) && layout.window() <= MAX_WINDOW
            );
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// One form of each request: what is accepted is what a program would submit.
fn submission(bytes: &[u8]) {
    let mut bytes = padded::<BYTES>(bytes);
    // The queue takes the number away.
    bytes[NUMBER..].fill(0);
    let submission = Submission::read_from_bytes(&bytes).expect("so many bytes");
    if let Ok(request) = bounded(0, || submission.request()) {
        let again = Submission::new(submission.tag(), request, submission.is_quiet());
        assert_eq!(again, submission, "another form of {request:?}");
        if let Request::Hold { wait: Wait::AtMost(time), .. } = request {
            assert!(time <= Duration::from_nanos(u64::MAX));
        }
    }
}

/// What a program does to the memory, one thing after the other, and the server's turn after each: a letter, and what it needs.
fn hostile(mut input: Input<'_>) {
    let layout = Layout::new(ENTRIES, WINDOW).expect("a small ring");
    let (mut server, descriptor) = ServerEnd::new(layout).expect("memory that can be shared");
    let program = SharedBytes::map(&descriptor, layout.memory_bytes()).expect("our own memory");
    let mut number = 0_u64;
    while let Some(what) = input.byte() {
        match what {
            b'p' => number = u64::from_le_bytes(input.array()),
            b's' => program.write(SEEN, &input.array::<8>()),
            b'n' => {
                let place = SUBMISSIONS + (number % u64::from(ENTRIES)) as usize * BYTES;
                number = number.wrapping_add(1);
                let mut submission = padded::<BYTES>(input.piece().unwrap_or_default());
                submission[NUMBER..].copy_from_slice(&(number as u32).to_le_bytes());
                program.write(place, &submission);
            }
            _ => {
                let at = usize::from(u16::from_le_bytes(input.array())) % layout.memory_bytes();
                let bytes = input.piece().unwrap_or_default();
                program.write(at, &bytes[..bytes.len().min(layout.memory_bytes() - at)]);
            }
        }
        if bounded(0, || turn(&mut server)).is_err() {
            return; // the attachment ends
        }
    }
}

/// The server's turn: it answers everything at once, and touches the window where it is told to. No more than a ring's worth is taken.
fn turn(server: &mut ServerEnd) -> Result<(), Corrupt> {
    let mut taken = 0;
    while let Some(submission) = server.submissions.take() {
        taken += 1;
        assert!(taken <= ENTRIES, "more was taken than a ring holds");
        let room = server.completions.room(1)?;
        assert!(room <= u64::from(ENTRIES), "room for {room} completions, in a ring of {ENTRIES}");
        Corrupt::unless_room(1, room)?;
        let outcome =
            submission.request().map_err(|_| Refusal::Malformed).and_then(|request| touch(server, request));
        server.completions.tell(&Completion::new(submission.tag(), &outcome))?;
    }
    server.submissions.release();
    Ok(())
}

fn touch(server: &ServerEnd, request: Request) -> Result<Done, Refusal> {
    for region in request.regions().into_iter().flatten() {
        let inside = u64::from(region.offset) + u64::from(region.length) <= u64::from(WINDOW);
        assert_eq!(server.window.has(region), inside, "{region:?} in a window of {WINDOW}");
        let mut bytes = [0; 64];
        assert_eq!(server.window.read(region, &mut bytes).is_some(), inside);
        let fits = inside && bytes.len() <= region.length as usize;
        assert_eq!(server.window.write(region, &bytes).is_some(), fits);
        if !inside {
            return Err(Refusal::Region);
        }
    }
    Ok(Done::default())
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let forms: Vec<Vec<u8>> = requests().into_iter().map(|request| bytes_of(request, false)).collect();
    let mut honest = Vec::new();
    for form in forms.iter().take(20) {
        honest.push(b'n');
        add_piece(&mut honest, form);
    }
    // It has seen what was completed.
    honest.splice(5 * (BYTES + 3)..5 * (BYTES + 3), [&b"s"[..], &5u64.to_le_bytes()].concat());
    let counts = |letter: &[u8], count: u64| [letter, &count.to_le_bytes()].concat();
    let mut hello = b"n\x40\x00".to_vec();
    hello.extend_from_slice(Hello::new("counter", Some(WINDOW)).as_bytes());
    let hostile = [
        honest.clone(),
        counts(b"p", u64::from(ENTRIES)),
        counts(b"p", u64::from(ENTRIES) + 1),
        [counts(b"p", u64::MAX), honest.clone()].concat(),
        [counts(b"s", 1), honest].concat(),
        b"w\x00\x10\x04\x00\xff\xff\xff\xff".to_vec(),
        Hello::new("a program", None).as_bytes().to_vec(),
        hello,
    ];
    let mut seeds = numbered("submission", forms);
    seeds.extend(numbered("hostile", hostile));
    seeds
}

fn bytes_of(request: Request, quiet: bool) -> Vec<u8> {
    Submission::new(77, request, quiet).as_bytes().to_vec()
}

fn requests() -> Vec<Request> {
    let key = ObjectKey::new(SetId(9), 3);
    let (region, second) = (Region { offset: 64, length: 4096 }, Region { offset: 8000, length: 192 });
    let outside = Region { offset: u32::MAX, length: 1 };
    let (first_touch, hold, mode) = (FirstTouch::Make, Hold::Shared, 0o640);
    let home = Home::Node(NodeId::new(2).expect("a node id"));
    let details = SetDetails { object_size: 4096, home };
    let hashed = SetDetails { object_size: 1 << 20, home: Home::Hash };
    vec![
        Request::Nothing,
        Request::Hold { key, hold, first_touch, wait: Wait::Forever, into: region },
        Request::Hold {
            key,
            hold: Hold::Exclusive,
            first_touch: FirstTouch::Refuse,
            wait: Wait::Never,
            into: second,
        },
        Request::Hold { key, hold, first_touch, wait: Wait::AtMost(Duration::from_millis(3)), into: outside },
        Request::Put { hold: HoldId(5), changed: None },
        Request::Put { hold: HoldId(5), changed: Some(region) },
        Request::Prefetch { key, count: 9 },
        Request::Remove { key },
        Request::Flush { key },
        Request::Sync { key },
        Request::Cancel { tag: 77 },
        Request::Local { after: key, any: true, into: region },
        Request::CreateSet { name: second, details, mode },
        Request::CreateSet { name: second, details: hashed, mode },
        Request::OpenSet { name: second, into: region },
        Request::DestroySet { name: second },
        Request::ListSets { from: 1, into: region },
        Request::Open { path: second, flags: 0o102, mode },
        Request::Close { file: 4 },
        Request::Read { file: 4, offset: u64::MAX, into: region },
        Request::Write { file: 4, offset: 4096, from: region },
        Request::Stat { path: second, follow: true, into: region },
        Request::ReadDirectory { file: 4, after: 256, into: region },
        Request::Fsync { file: 4 },
        Request::Truncate { file: 4, length: 0 },
        Request::Unlink { path: second },
        Request::MakeDirectory { path: second, mode },
        Request::RemoveDirectory { path: second },
        Request::Rename { from: second, to: region },
        Request::ReadLink { path: second, into: region },
        Request::Symlink { path: second, target: region },
    ]
}
