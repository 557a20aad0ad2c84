//! The requests that are under way: their places, their pieces of the window, and how they ended.

use crate::{Error, error::Result};
use kddm_ring::{Completion, Piece, ProgramEnd, Request, Spin, Submission, Tag};
use std::{collections::VecDeque, sync::Arc, task::Waker, time::Duration};

/// The tag of submissions whose success is not told, and whose failure means that the hold was gone.
const QUIET: Tag = 0;

/// What is under way, and what has come. Under one lock.
pub(super) struct State {
    pub(super) end: ProgramEnd,
    slots: Vec<Slot>,
    free: Vec<u32>,
    pub(super) under_way: usize,
    pub(super) entries: u64,
    /// Submissions that were written, ever; and those quiet ones that the server may not have taken, with what it needs until then.
    pub(super) written: u64,
    /// Completions that were taken, ever.
    pub(super) taken: u64,
    pub(super) quiet: VecDeque<(u64, Option<Piece>)>,
    pub(super) leads: bool,
    pub(super) futures: usize,
    pub(super) driven: bool,
    pub(super) spin: Spin,
    pub(super) over: Option<Arc<str>>,
}

/// A request's place. Its tag is its number and how often the place was used.
struct Slot {
    uses: u32,
    state: SlotState,
}

enum SlotState {
    Free,
    Waiting(Option<Waker>),
    Ended(Completion),
    /// Nobody waits any more. What it needs of the window is kept until it ends.
    Abandoned {
        _pieces: [Option<Piece>; 2],
    },
}

impl State {
    pub(super) fn new(end: ProgramEnd, entries: u32, most_spin: Duration) -> State {
        let (slots, free, quiet) = Default::default();
        State {
            end,
            slots,
            free,
            under_way: 0,
            entries: entries.into(),
            written: 0,
            taken: 0,
            quiet,
            leads: false,
            futures: 0,
            driven: false,
            spin: Spin::up_to(most_spin),
            over: None,
        }
    }

    #[inline]
    pub(super) fn usable(&self) -> Result<()> {
        match &self.over {
            Some(reason) => Err(Error::Over(reason.clone())),
            None => Ok(()),
        }
    }

    #[inline]
    pub(super) fn room(&mut self, wanted: u64) -> Result<u64> {
        let submissions = self.end.room(wanted).map_err(|_| Error::Answer("its counts"))?;
        // Every end has to find room, too: that of what is under way, of what may yet fail, and of what the server took last.
        let completions = self.entries.saturating_sub((self.under_way + self.quiet.len() + 1) as u64);
        Ok(submissions.min(completions))
    }

    #[inline(always)]
    pub(super) fn write(&mut self, submission: &Submission) -> Result<()> {
        match self.end.write(submission) {
            Ok(true) => {
                self.written += 1;
                Ok(())
            }
            _ => Err(Error::Answer("its counts")),
        }
    }

    /// Writes a submission whose end is told only if it fails. The piece is the server's until it has taken it.
    pub(super) fn write_quiet(&mut self, request: Request, piece: Option<Piece>) -> Result<()> {
        self.write(&Submission::new(QUIET, request, true))?;
        self.quiet.push_back((self.written, piece));
        Ok(())
    }

    /// Pieces whose submissions have been taken are free. What has ended has to be noted afterwards: whatever ended before what the server
    /// took last is told by now.
    #[inline]
    pub(super) fn take_back(&mut self) -> Result<()> {
        if self.quiet.is_empty() {
            return Ok(());
        }
        let untaken = self.end.untaken().map_err(|_| Error::Answer("its counts"))?;
        let taken = self.written - untaken;
        while self.quiet.front().is_some_and(|(number, _)| *number <= taken) {
            self.quiet.pop_front();
        }
        Ok(())
    }

    #[inline]
    pub(super) fn begin(&mut self) -> Tag {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { uses: 0, state: SlotState::Free });
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        // Never 0, so that no tag is.
        slot.uses = slot.uses.checked_add(1).unwrap_or(1);
        slot.state = SlotState::Waiting(None);
        self.under_way += 1;
        u64::from(slot.uses) << 32 | u64::from(index)
    }

    #[inline]
    fn slot(&mut self, tag: Tag) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(tag as u32 as usize)?;
        (u64::from(slot.uses) == tag >> 32).then_some(slot)
    }

    #[inline]
    pub(super) fn has_ended(&self, tag: Tag) -> bool {
        let slot = self.slots.get(tag as u32 as usize);
        slot.is_some_and(|slot| {
            matches!(slot.state, SlotState::Ended(_)) && u64::from(slot.uses) == tag >> 32
        })
    }

    /// The end of a request, which is forgotten then.
    #[inline]
    pub(super) fn fetch(&mut self, tag: Tag) -> Option<Completion> {
        let SlotState::Ended(completion) = self.slot(tag)?.state else { return None };
        self.release(tag);
        Some(completion)
    }

    /// A place that this tag had is free.
    #[inline]
    fn release(&mut self, tag: Tag) {
        if let Some(slot) = self.slot(tag) {
            slot.state = SlotState::Free;
            self.free.push(tag as u32);
        }
    }

    pub(super) fn register(&mut self, tag: Tag, waker: &Waker) {
        if let Some(Slot { state: SlotState::Waiting(place), .. }) = self.slot(tag)
            && place.replace(waker.clone()).is_none()
        {
            self.futures += 1;
        }
    }

    pub(super) fn abandon(&mut self, tag: Tag, pieces: [Option<Piece>; 2]) {
        if self.fetch(tag).is_some() {
            return;
        }
        let Some(slot) = self.slot(tag) else { return };
        let before = std::mem::replace(&mut slot.state, SlotState::Abandoned { _pieces: pieces });
        if matches!(before, SlotState::Waiting(Some(_))) {
            self.futures -= 1;
        }
    }

    /// The next end, if it is that of `tag`, for which a thread waits. Another is noted.
    #[inline]
    pub(super) fn next_end(&mut self, tag: Tag) -> Option<Completion> {
        let completion = self.take()?;
        let waits = self.slot(tag).is_some_and(|slot| matches!(slot.state, SlotState::Waiting(None)));
        if completion.tag() != tag || !waits {
            self.ended(&completion);
            return None;
        }
        self.under_way -= 1;
        self.release(tag);
        Some(completion)
    }

    /// Takes note of what has ended. Whether something has.
    #[inline]
    pub(super) fn drain(&mut self) -> bool {
        let before = self.taken;
        while let Some(completion) = self.take() {
            self.ended(&completion);
        }
        self.taken != before
    }

    #[inline]
    fn take(&mut self) -> Option<Completion> {
        let completion = self.end.take()?;
        self.taken += 1;
        Some(completion)
    }

    #[inline]
    fn ended(&mut self, completion: &Completion) {
        let tag = completion.tag();
        let Some(slot) = self.slot(tag) else { return };
        match &mut slot.state {
            SlotState::Waiting(waker) => {
                let waker = waker.take();
                slot.state = SlotState::Ended(*completion);
                self.under_way -= 1;
                if let Some(waker) = waker {
                    self.futures -= 1;
                    waker.wake();
                }
            }
            SlotState::Abandoned { .. } => {
                self.under_way -= 1;
                self.release(tag);
            }
            SlotState::Free | SlotState::Ended(_) => {}
        }
    }

    pub(super) fn wakers(&mut self) -> Vec<Waker> {
        let waiting = self.slots.iter_mut().filter_map(|slot| match &mut slot.state {
            SlotState::Waiting(waker) => waker.take(),
            _ => None,
        });
        let wakers: Vec<Waker> = waiting.collect();
        self.futures -= wakers.len();
        wakers
    }
}
