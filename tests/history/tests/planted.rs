//! Small histories of which everybody can say whether they may be.

use kddm_history::{Call, Ended, History, Mode, Touch, Who};

const KEY: u32 = 7;

fn who(thread: u8) -> Who {
    Who { node: 1, thread }
}

/// A history of one object, told thread by thread.
#[derive(Default)]
struct Told(History<u32>);

impl Told {
    fn begin(&mut self, thread: u8, mode: Mode) -> Call<u32> {
        self.0.acquire(KEY, who(thread), mode, Touch::Make)
    }

    fn get(&mut self, thread: u8, saw: u64) {
        let call = self.begin(thread, Mode::Shared);
        self.0.end(call, Ended::Held(saw));
    }

    fn grab(&mut self, thread: u8, saw: u64) {
        let call = self.begin(thread, Mode::Exclusive);
        self.0.end(call, Ended::Held(saw));
    }

    fn put(&mut self, thread: u8) {
        self.0.put(KEY, who(thread), Mode::Shared, None);
    }

    fn write(&mut self, thread: u8, value: u64) {
        self.0.put(KEY, who(thread), Mode::Exclusive, Some(value));
    }

    fn exchange(&mut self, thread: u8, saw: u64, value: u64) {
        self.grab(thread, saw);
        self.write(thread, value);
    }

    fn look(&mut self, thread: u8, saw: u64) {
        self.get(thread, saw);
        self.put(thread);
    }

    fn remove(&mut self, thread: u8, ended: Ended) {
        let call = self.0.remove(KEY, who(thread));
        self.0.end(call, ended);
    }

    fn existing(&mut self, thread: u8, ended: Ended) {
        let call = self.0.acquire(KEY, who(thread), Mode::Shared, Touch::Refuse);
        self.0.end(call, ended);
    }

    fn is_right(&self) -> bool {
        self.0.check().is_ok()
    }
}

fn told(tell: impl FnOnce(&mut Told)) -> bool {
    let mut history = Told::default();
    tell(&mut history);
    history.is_right()
}

#[test]
fn one_after_the_other() {
    assert!(told(|h| {
        h.look(1, 0);
        h.exchange(2, 0, 5);
        h.look(1, 5);
        h.remove(2, Ended::Done);
        h.existing(1, Ended::FoundNothing);
        h.exchange(3, 0, 6);
        h.existing(1, Ended::Held(6));
    }));
}

#[test]
fn a_stale_read() {
    assert!(!told(|h| {
        h.exchange(1, 0, 5);
        h.look(2, 0);
    }));
    assert!(!told(|h| {
        h.exchange(1, 0, 5);
        h.exchange(2, 5, 6);
        h.look(3, 5);
    }));
}

#[test]
fn a_read_beside_a_write_sees_either_but_goes_not_back() {
    for (first, second, right) in [(0, 5, true), (5, 5, true), (0, 0, true), (5, 0, false)] {
        let is_right = told(|h| {
            let early = h.begin(2, Mode::Shared);
            if first == 0 {
                h.0.end(early, Ended::Held(0));
                h.put(2);
                h.exchange(1, 0, 5);
            } else {
                h.exchange(1, 0, 5);
                h.0.end(early, Ended::Held(5));
                h.put(2);
            }
            match (first, second) {
                (0, 0) => {}
                _ => h.look(2, second),
            }
        });
        assert_eq!(is_right, right, "{first} {second}");
    }
}

#[test]
fn a_lost_write() {
    assert!(!told(|h| {
        h.exchange(1, 0, 5);
        h.exchange(2, 0, 6);
    }));
    assert!(!told(|h| {
        h.exchange(1, 0, 5);
        h.exchange(2, 5, 6);
        h.look(1, 5);
    }));
}

#[test]
fn two_writers_at_once() {
    assert!(!told(|h| {
        h.grab(1, 0);
        h.grab(2, 0);
        h.write(1, 5);
        h.write(2, 6);
    }));
}

#[test]
fn a_reader_beside_a_writer() {
    assert!(!told(|h| {
        h.get(1, 0);
        h.grab(2, 0);
        h.put(1);
        h.write(2, 5);
    }));
    assert!(!told(|h| {
        h.grab(2, 0);
        h.get(1, 0);
        h.write(2, 5);
        h.put(1);
    }));
}

#[test]
fn readers_together() {
    assert!(told(|h| {
        h.exchange(1, 0, 5);
        (1..5).for_each(|thread| h.get(thread, 5));
        (1..5).for_each(|thread| h.put(thread));
        h.exchange(2, 5, 6);
    }));
}

#[test]
fn a_waiting_writer_waits() {
    assert!(told(|h| {
        h.get(1, 0);
        let writer = h.begin(2, Mode::Exclusive);
        h.look(3, 0);
        h.put(1);
        h.0.end(writer, Ended::Held(0));
        h.write(2, 5);
    }));
}

#[test]
fn a_removed_object_that_comes_back() {
    assert!(!told(|h| {
        h.exchange(1, 0, 5);
        h.remove(2, Ended::Done);
        h.look(1, 5);
    }));
    assert!(!told(|h| {
        h.exchange(1, 0, 5);
        h.remove(2, Ended::Done);
        h.existing(1, Ended::Held(0));
    }));
}

#[test]
fn a_remove_of_what_is_held() {
    assert!(!told(|h| {
        h.get(1, 0);
        h.remove(2, Ended::Done);
        h.put(1);
    }));
}

#[test]
fn a_remove_that_failed_removes_nothing() {
    assert!(!told(|h| {
        h.exchange(1, 0, 5);
        h.remove(2, Ended::Failed);
        h.look(1, 0);
    }));
}

#[test]
fn a_remove_of_which_nobody_knows_may_come_late_but_once() {
    let story = |saw: [u64; 4]| {
        told(|h| {
            h.exchange(1, 0, 5);
            h.remove(2, Ended::Unknown);
            h.look(1, saw[0]);
            h.look(1, saw[1]);
            h.exchange(1, saw[2], 6);
            h.look(1, saw[3]);
        })
    };
    assert!(story([5, 5, 5, 6]));
    assert!(story([5, 0, 0, 6]));
    assert!(story([5, 5, 5, 0]));
    assert!(!story([0, 5, 5, 6]));
    assert!(!story([0, 0, 0, 0]));
}

#[test]
fn what_is_closed_comes_no_more_but_may_have_come() {
    let story = |saw: [u64; 2]| {
        told(|h| {
            h.exchange(1, 0, 5);
            h.remove(2, Ended::Unknown);
            h.0.close();
            saw.into_iter().for_each(|saw| h.look(1, saw));
        })
    };
    assert!(story([5, 5]));
    assert!(story([0, 0]));
    assert!(!story([5, 0]));
}

#[test]
fn an_object_that_is_there_is_found() {
    assert!(!told(|h| {
        h.look(1, 0);
        h.existing(2, Ended::FoundNothing);
    }));
    assert!(!told(|h| h.existing(2, Ended::Held(0))));
}

#[test]
fn what_failed_may_have_made_it_and_what_was_refused_has_not() {
    for (ended, found) in [(Ended::Failed, true), (Ended::Unknown, true), (Ended::Refused, false)] {
        let right = told(|h| {
            let call = h.begin(1, Mode::Shared);
            h.0.end(call, ended);
            h.existing(2, Ended::FoundNothing);
            h.existing(2, Ended::Held(0));
        });
        assert_eq!(right, found, "{ended:?}");
    }
}

#[test]
fn a_holder_that_dies_leaves_nothing() {
    let story = |saw| {
        told(|h| {
            h.exchange(1, 0, 5);
            h.grab(1, 5);
            h.0.holder_dies(KEY, who(1), Mode::Exclusive);
            h.look(2, saw);
        })
    };
    assert!(story(5));
    assert!(!story(6));
    assert!(!story(0));
}

#[test]
fn a_crash_brings_back_what_was_but_not_beyond_a_sync() {
    let story = |saw: &[u64]| {
        told(|h| {
            h.exchange(1, 0, 5);
            let sync = h.0.sync(KEY, who(1));
            h.0.end(sync, Ended::Done);
            h.exchange(1, 5, 6);
            h.exchange(1, 6, 7);
            h.0.loss(KEY, who(3));
            saw.iter().for_each(|&saw| h.look(2, saw));
        })
    };
    assert!(story(&[7, 7]));
    assert!(story(&[7, 6]));
    assert!(story(&[7, 5]));
    assert!(story(&[5, 5]));
    assert!(!story(&[7, 0]), "it was synchronised");
    assert!(!story(&[5, 7]), "it does not come back");
    assert!(!story(&[7, 6, 5]), "a crash happens once");
    assert!(!story(&[8]));
}

#[test]
fn what_is_lost_is_told_until_somebody_makes_it_anew() {
    let story = |crash: bool, last: Ended| {
        told(|h| {
            h.exchange(1, 0, 5);
            if crash {
                h.0.loss(KEY, who(3));
            }
            h.existing(2, Ended::FoundLost);
            let call = h.0.acquire(KEY, who(2), Mode::Exclusive, Touch::Manual);
            h.0.end(call, last);
        })
    };
    assert!(story(true, Ended::Held(0)));
    assert!(!story(true, Ended::Held(5)));
    assert!(!story(false, Ended::Held(0)));
}

#[test]
fn what_nobody_touched_may_be_lost_with_its_directory_and_nothing_else() {
    let story = |written: bool| {
        told(|h| {
            if written {
                h.exchange(1, 0, 5);
            }
            h.0.doubt(KEY, who(3));
            h.existing(2, Ended::FoundLost);
        })
    };
    assert!(story(false));
    assert!(!story(true));
}

#[test]
fn what_was_written_without_a_right_may_count_until_it_is_closed() {
    let story = |close: bool, saw: &[u64]| {
        told(|h| {
            h.exchange(1, 0, 5);
            h.0.stray(KEY, who(3), 6);
            if close {
                h.0.close();
                h.exchange(1, 5, 7);
            }
            saw.iter().for_each(|&saw| h.look(2, saw));
        })
    };
    assert!(story(false, &[5, 6]));
    assert!(story(false, &[6, 6]));
    assert!(!story(false, &[6, 5]), "it comes once");
    assert!(story(true, &[7]));
    assert!(!story(true, &[6]), "it is over");
}

#[test]
fn a_remove_that_perhaps_was_has_been_by_its_end() {
    let story = |made_anew: bool| {
        told(|h| {
            h.exchange(1, 0, 5);
            let call = h.0.remove(KEY, who(3));
            if made_anew {
                h.exchange(1, 0, 6);
            }
            h.0.end(call, Ended::Perhaps);
            h.exchange(1, if made_anew { 6 } else { 5 }, 7);
            h.look(2, 7);
        })
    };
    assert!(story(false) && story(true));
    let late = told(|h| {
        h.exchange(1, 0, 5);
        h.remove(3, Ended::Perhaps);
        h.look(2, 5);
        h.look(2, 0);
    });
    assert!(!late, "it has not been by its end, and comes all the same");
}

#[test]
fn a_remove_that_must_have_been_is_not_replaced_by_one_that_may_have_been() {
    assert!(told(|h| {
        h.exchange(1, 0, 5);
        let perhaps = [(); 2].map(|()| h.0.remove(KEY, who(2)));
        let certain = h.0.remove(KEY, who(2));
        h.existing(3, Ended::FoundNothing);
        // From here on it is held, so that all removes came before.
        h.grab(1, 0);
        perhaps.into_iter().for_each(|call| h.0.end(call, Ended::Perhaps));
        h.0.end(certain, Ended::Done);
        h.write(1, 6);
        h.look(1, 6);
    }));
}

#[test]
fn nothing_is_promised_while_it_is_blurred_and_everything_after() {
    let story = |after: [u64; 2]| {
        told(|h| {
            h.exchange(1, 0, 5);
            h.0.blur(KEY);
            h.look(1, 99);
            h.exchange(2, 3, 4);
            h.0.close();
            h.0.clear(KEY);
            after.into_iter().for_each(|saw| h.look(1, saw));
        })
    };
    assert!(story([4, 4]));
    assert!(story([77, 77]));
    assert!(!story([4, 5]));
}

#[test]
fn a_violation_tells_what_happened() {
    let mut h = Told::default();
    h.exchange(1, 0, 5);
    h.look(2, 0);
    let story = h.0.check().unwrap_err().to_string();
    assert!(story.contains("n1.2: get saw 0") && story.contains("put of 5"), "{story}");
}

#[test]
fn whole_holds_are_had_at_one_moment() {
    let who = |thread| Who { node: 1, thread };
    let mut h = History::default();
    let remove = h.remove(KEY, who(1));
    let writes = h.hold(KEY, who(2), Touch::Make);
    h.end(writes, Ended::Had { saw: 0, wrote: Some(14) });
    let early = h.hold(KEY, who(3), Touch::Make);
    h.end(remove, Ended::Done);
    let late = h.hold(KEY, who(4), Touch::Make);
    let next = h.hold(KEY, who(2), Touch::Make);
    h.end(next, Ended::Had { saw: 14, wrote: Some(15) });
    h.end(early, Ended::Had { saw: 14, wrote: None });
    let mut right = h.clone();
    right.end(late, Ended::Had { saw: 14, wrote: None });
    right.check().unwrap_or_else(|violation| panic!("{violation}"));
    let again = h.hold(KEY, who(3), Touch::Make);
    h.end(again, Ended::Had { saw: 14, wrote: None });
    assert!(h.check().is_err(), "it began when 15 had been left");
}
