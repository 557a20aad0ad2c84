use super::*;
use crate::queue::Entry;
use kddm_object::{Home, NodeId};
use proptest::prelude::*;

const KEY: ObjectKey = ObjectKey { set: SetId(0xff01_0203_0405_0607), object: 9 };
const FIRST: Region = Region { offset: 64, length: 4096 };
const SECOND: Region = Region { offset: 8192, length: 100 };

fn requests() -> Vec<Request> {
    let details = SetDetails { object_size: 4096, home: Home::Node(NodeId::new(7).unwrap()) };
    let hold = |hold, first_touch, wait| Request::Hold { key: KEY, hold, first_touch, wait, into: FIRST };
    vec![
        Request::Nothing,
        hold(Hold::Shared, FirstTouch::Make, Wait::Forever),
        hold(Hold::Exclusive, FirstTouch::Refuse, Wait::Never),
        hold(Hold::Exclusive, FirstTouch::Make, Wait::AtMost(Duration::from_millis(7))),
        Request::HoldRange { key: KEY, count: 7, hold: Hold::Shared, into: FIRST },
        Request::HoldRange { key: KEY, count: 7, hold: Hold::Exclusive, into: FIRST },
        Request::Put { hold: HoldId(5), changed: None },
        Request::Put { hold: HoldId(5), changed: Some(FIRST) },
        Request::Prefetch { key: KEY, count: 64 },
        Request::Remove { key: KEY },
        Request::Flush { key: KEY },
        Request::Sync { key: KEY },
        Request::Cancel { tag: 77 },
        Request::Local { after: KEY, any: true, into: FIRST },
        Request::Local { after: KEY, any: false, into: FIRST },
        Request::CreateSet { name: FIRST, details, mode: 0o640 },
        Request::OpenSet { name: FIRST, into: SECOND },
        Request::DestroySet { name: FIRST },
        Request::ListSets { from: 3, into: FIRST },
        Request::Open { path: FIRST, flags: 0o102, mode: 0o644 },
        Request::Close { file: 2 },
        Request::Read { file: 2, offset: 1 << 40, into: FIRST },
        Request::Write { file: 2, offset: 1 << 40, from: FIRST },
        Request::Stat { path: FIRST, follow: true, into: SECOND },
        Request::ReadDirectory { file: 2, after: 8, into: FIRST },
        Request::Fsync { file: 2 },
        Request::Truncate { file: 2, length: 17 },
        Request::Unlink { path: FIRST },
        Request::MakeDirectory { path: FIRST, mode: 0o755 },
        Request::RemoveDirectory { path: FIRST },
        Request::Rename { from: FIRST, to: SECOND },
        Request::ReadLink { path: FIRST, into: SECOND },
        Request::Symlink { path: FIRST, target: SECOND },
    ]
}

#[test]
fn every_request_comes_back() {
    for (tag, request) in requests().into_iter().enumerate() {
        for quiet in [false, true] {
            let submission = Submission::new(tag as u64, request, quiet);
            assert_eq!((submission.tag(), submission.is_quiet()), (tag as u64, quiet));
            assert_eq!(submission.request(), Ok(request));
        }
    }
}

#[test]
fn every_operation_has_a_request_here() {
    let known: std::collections::BTreeSet<u8> = requests().iter().map(number).collect();
    let understood = (0..=255_u8).filter(|&operation| {
        let submission = Submission { operation, ..Submission::default() };
        submission.request() != Err(Malformed::Unknown)
    });
    assert_eq!(understood.collect::<std::collections::BTreeSet<u8>>(), known);
}

#[test]
fn what_is_not_known_is_refused() {
    let good = Submission::new(1, Request::Nothing, false);
    for bad in [
        Submission { operation: 0, ..good },
        Submission { operation: 255, ..good },
        Submission { flags: 0x80, ..good },
        Submission { handle: 1, ..good },
        Submission { flags: TRY, ..good },
        Submission { operation: operation::GET, flags: TRY | TIMED, ..good },
    ] {
        assert_eq!(bad.request(), Err(Malformed::Unknown), "{bad:?}");
    }
    for handle in [u64::MAX, (1 << 20) + 1, 3 << 32, 1 << 32, 1 << 32 | 255 << 40, 1 << 48] {
        let bad = Submission { operation: operation::CREATE_SET, handle, ..good };
        assert_eq!(bad.request(), Err(Malformed::Policy), "{handle:#x}");
    }
}

/// What is understood of a submission says the same when it is written anew.
fn is_understood_in_one_way(submission: &Submission) {
    if let Ok(request) = submission.request() {
        assert_eq!(Submission::new(submission.tag(), request, submission.is_quiet()), *submission);
    }
}

#[test]
fn no_bit_is_left_unread() {
    for request in requests() {
        let words = Submission::new(1, request, false).to_words();
        for bit in 0..512 {
            let mut words = words;
            words[bit / 64] ^= 1 << (bit % 64);
            is_understood_in_one_way(&Submission::of_words(words));
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_understood_in_one_way(mut bytes in any::<[u8; 64]>(), operation in 0_u8..=64, more in any::<bool>()) {
        bytes[20] = operation;
        let submission = Submission::from_raw(bytes);
        is_understood_in_one_way(&if more { submission } else { form::without_more(submission) });
    }
}
