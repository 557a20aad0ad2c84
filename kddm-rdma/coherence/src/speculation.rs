//! Speculation: who remembers where an object was READs it there beside its request, and the home says whether that READ is good.
//!
//! A home counts the shared periods that begin on it, and all its messages carry the count. It calls a READ good iff the object, when
//! it is granted, is settled shared at the very location that was READ, and its period had begun when the home sent the latest of
//! what the requester had received before it posted the READ. Then the READ has sampled what that period's writer left: whoever
//! writes next needs the requester's ACK, which comes after the READ. That the location, or even the bytes' version, is the one
//! from before says nothing: their owner may have written again since.
//!
//! A speculative READ obliges its source to nothing, so what it brings may be torn, or another object's. It lands where no hit
//! looks, and stays unseen until the home has called it good.

use crate::copy::Data;
use crate::core::{Context, Core};
use crate::mutant::Mutant;
use crate::{ReadToken, Request, Source, Store};
use kddm_object::{Location, Mode, NodeId, ObjectKey};
use rustc_hash::FxHasher;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

/// How often the core has speculated, and how often that saved a READ after the grant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Speculations {
    /// READs posted beside their requests.
    pub posted: u64,
    /// Those that were good.
    pub good: u64,
}

/// What has been counted says nothing of what can happen: for the model, cores that differ in it are the same.
impl PartialEq for Speculations {
    fn eq(&self, _: &Speculations) -> bool {
        true
    }
}

impl Eq for Speculations {}

impl Hash for Speculations {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// A node's part in speculation, as a home and as a requester.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Speculation {
    /// The shared periods that have begun here.
    pub clock: u64,
    /// The largest clock that came from each home in this view.
    heard: BTreeMap<NodeId, u64>,
    /// One place for each key, whoever came last has it.
    hints: Vec<Option<Hint>>,
    pub counts: Speculations,
}

/// The low half of a home's clock when an object's shared period began.
pub(crate) type Since = u32;

/// Where an object was, and what that was worth lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Hint {
    key: ObjectKey,
    location: Location,
    /// The object's present period has begun after the home said this: unless it says more, no READ can be good.
    after: u64,
    worth: u8,
}

impl Hint {
    const MOST: u8 = 3;
    /// From here on a READ is posted. Below, the home is only asked whether it would have been good.
    const PAYS: u8 = 2;
}

/// What a request has done with the location that it names as its hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Speculated {
    pub location: Location,
    pub sample: Sample,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sample {
    /// No READ was posted.
    None,
    Reading(ReadToken),
    Done {
        good: bool,
    },
}

impl Speculation {
    pub fn new(hints: usize) -> Speculation {
        Speculation {
            clock: 0,
            heard: BTreeMap::new(),
            hints: vec![None; hints],
            counts: Speculations::default(),
        }
    }

    /// A message of `node` came.
    pub fn hear(&mut self, node: NodeId, clock: u64) {
        if clock > 0 {
            let heard = self.heard.entry(node).or_default();
            *heard = clock.max(*heard);
        }
    }

    /// Forgets all locations, and what `lost` said, or everybody.
    pub fn forget_all(&mut self, lost: Option<NodeId>) {
        self.hints.fill(None);
        self.heard.retain(|node, _| lost.is_some_and(|lost| *node != lost));
    }

    fn heard(&self, home: NodeId) -> u64 {
        self.heard.get(&home).copied().unwrap_or_default()
    }

    fn place(&mut self, key: ObjectKey) -> Option<&mut Option<Hint>> {
        let mut hasher = FxHasher::default();
        key.hash(&mut hasher);
        let place = hasher.finish().checked_rem(self.hints.len() as u64)?;
        self.hints.get_mut(place as usize)
    }

    fn hint(&mut self, key: ObjectKey) -> Option<&mut Hint> {
        self.place(key)?.as_mut().filter(|hint| hint.key == key)
    }

    fn remember(&mut self, key: ObjectKey, location: Location, after: u64) {
        match self.hint(key) {
            Some(hint) => (hint.location, hint.after) = (location, after),
            None => {
                if let Some(place) = self.place(key) {
                    *place = Some(Hint { key, location, after, worth: Hint::PAYS });
                }
            }
        }
    }

    pub fn forget(&mut self, key: ObjectKey) {
        if let Some(place) = self.place(key) {
            place.take_if(|hint| hint.key == key);
        }
    }

    /// The home's word on a hint.
    fn judge(&mut self, key: ObjectKey, good: bool) {
        if let Some(hint) = self.hint(key) {
            hint.worth = if good { Hint::MOST.min(hint.worth + 1) } else { hint.worth.saturating_sub(1) };
        }
    }
}

impl Core {
    /// How often this node has speculated, and to what end.
    pub fn speculations(&self) -> Speculations {
        self.speculation.counts
    }

    // At the home.

    /// A shared period of an object begins, or its location changes.
    pub(crate) fn begin_period(&mut self) -> Since {
        if self.config.hints > 0 && !self.planted(Mutant::PeriodFromInvalidation) {
            self.speculation.clock += 1;
        }
        self.speculation.clock as Since
    }

    /// Where the bytes of an object are that is settled shared at `owner` since `since`: in the requester's hands already?
    pub(crate) fn shared_source(&self, owner: Location, since: Since, request: &Request) -> Source {
        let clock = self.speculation.clock;
        // Of all clocks that end like this the latest, which is not earlier than the true one.
        let since = clock.saturating_sub(u64::from((clock as Since).wrapping_sub(since)));
        let begun = since <= request.seen || self.planted(Mutant::SpeculationIgnoresPeriod);
        if self.config.hints > 0 && request.hint == Some(owner) && begun {
            Source::Speculated(owner)
        } else {
            Source::Read(owner)
        }
    }

    // At the requester.

    /// A shared copy of the object is to be had at `location`, by the word of its home or of `giver`.
    pub(crate) fn remember<S: Store>(
        &mut self,
        key: ObjectKey,
        location: Location,
        giver: Option<NodeId>,
        cx: &Context<'_, S>,
    ) {
        let Some((home, _)) = self.home_of(key, cx.store) else { return };
        // What a holder has shared is shared at the home only when that hears of it.
        let after = giver.map_or(0, |_| self.speculation.heard(home));
        self.speculation.remember(key, location, after);
    }

    /// The object goes to `writer`. Only an owner leaves it where it was.
    pub(crate) fn leaves<S: Store>(&mut self, key: ObjectKey, writer: NodeId, cx: &Context<'_, S>) {
        let Some((home, _)) = self.home_of(key, cx.store) else { return };
        let heard = self.speculation.heard(home);
        match self.speculation.hint(key) {
            Some(hint) if hint.location.node == writer => hint.after = heard,
            _ => self.speculation.forget(key),
        }
    }

    /// Posts a READ beside the request for `key` if that promises something. The request's hint, and what was heard before.
    pub(crate) fn speculate<S: Store>(
        &mut self,
        key: ObjectKey,
        home: NodeId,
        cx: &mut Context<'_, S>,
    ) -> Option<(Location, u64)> {
        let Hint { location, after, worth, .. } = *self.speculation.hint(key)?;
        let seen = self.speculation.heard(home);
        let eager = self.config.eager;
        let size = cx.store.policy(key.set)?.object_size;
        let rides = location.node == home && size <= self.config.inline_max;
        let there = self.up.contains_key(&location.node) && !self.has_gone(location.node);
        let copy = self.copies.get(&key)?;
        let landing = copy.slot.filter(|_| copy.mode(cx.store) == Mode::None && copy.candidate.is_none())?;
        let asked = copy.request.as_ref().is_none_or(|request| request.speculated.is_some());
        let hopeless = seen <= after && !eager;
        if home == self.config.me || rides || !there || asked || hopeless {
            return None;
        }
        let mut sample = Sample::None;
        if worth >= Hint::PAYS || eager {
            self.speculation.counts.posted += 1;
            sample = Sample::Reading(self.read(key, location, landing, size, cx));
        }
        self.request_mut(key)?.speculated = Some(Speculated { location, sample });
        Some((location, seen))
    }

    /// Granted, and the READ of `location` that was posted beside the request is good.
    pub(crate) fn speculation_good<S: Store>(
        &mut self,
        key: ObjectKey,
        location: Location,
        cx: &mut Context<'_, S>,
    ) {
        self.speculation.judge(key, true);
        let Some(request) = self.request_mut(key) else { return };
        let sample = request.speculated.filter(|it| it.location == location).map(|it| it.sample);
        request.data = match sample {
            // Should it fail, the location is still right.
            Some(Sample::Reading(token)) => Data::Reading(token),
            Some(Sample::Done { good: true }) => Data::Here,
            Some(Sample::None | Sample::Done { good: false }) | None => {
                self.drop_speculation(key, cx);
                return self.land(key, Source::Read(location), cx);
            }
        };
        self.speculation.counts.good += 1;
    }

    /// Granted otherwise.
    pub(crate) fn speculation_bad<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        if self.request_mut(key).is_some_and(|request| request.speculated.is_some()) {
            self.speculation.judge(key, false);
            self.drop_speculation(key, cx);
        }
    }

    /// What the request has READ on its own account counts no more. A READ that is still under way ends in a slot of its own.
    pub(crate) fn drop_speculation<S: Store>(&mut self, key: ObjectKey, cx: &mut Context<'_, S>) {
        let kept = self.planted(Mutant::SpeculationKeepsLanding);
        let Some(copy) = self.copies.get_mut(&key) else { return };
        let Some(request) = copy.request.as_mut() else { return };
        let Some(Speculated { sample: Sample::Reading(token), .. }) = request.speculated.take() else {
            return;
        };
        if request.data != Data::Reading(token)
            && !kept
            && let Some(landing) = copy.slot.take()
        {
            cx.store.retain(landing);
        }
    }
}
