//! A thread of a program, as it uses the node: everything that it does and sees is recorded.

use crate::bytes;
use crate::membership;
use crate::world::{Ledger, World};
use fastrand::Rng;
use kddm_history::{Call, Ended, Mode, Touch, Who};
use kddm_object::{FirstTouch, NodeId, ObjectKey};
use kddm_rdma::{Exclusive, Node, OpError, Options, Shared};
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// A thread of a program.
pub struct Program {
    /// The world.
    pub world: Arc<World>,
    /// Its node.
    pub node: Node,
    /// Its name.
    pub who: Who,
    /// What it decides.
    pub rng: Rng,
}

/// So many views begin while one operation is under way.
const MOST_VIEWS: usize = 8;

/// How a hold is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// What to do with an untouched object.
    pub touch: Touch,
    /// Without waiting.
    pub try_only: bool,
    /// With the slots kept for write-back.
    pub reserve: bool,
}

impl Way {
    /// The usual one.
    pub const PLAIN: Way = Way { touch: Touch::Make, try_only: false, reserve: false };

    fn options(self) -> Options {
        let first_touch = match self.touch {
            Touch::Make => FirstTouch::Make,
            Touch::Refuse => FirstTouch::Refuse,
            Touch::Manual => FirstTouch::Manual,
        };
        Options { first_touch, reserve: self.reserve }
    }
}

/// A guard of either kind.
pub trait Guard: Deref<Target = [u8]> + Send + Sized {
    /// Which.
    const MODE: Mode;
    /// Asks for it.
    fn ask(
        node: &Node,
        key: ObjectKey,
        options: Options,
        try_only: bool,
    ) -> impl Future<Output = Result<Self, OpError>> + Send;
}

impl Guard for Shared {
    const MODE: Mode = Mode::Shared;
    async fn ask(node: &Node, key: ObjectKey, options: Options, try_only: bool) -> Result<Shared, OpError> {
        match try_only {
            true => node.try_get(key, options).await,
            false => node.get_with(key, options).await,
        }
    }
}

impl Guard for Exclusive {
    const MODE: Mode = Mode::Exclusive;
    async fn ask(
        node: &Node,
        key: ObjectKey,
        options: Options,
        try_only: bool,
    ) -> Result<Exclusive, OpError> {
        match try_only {
            true => node.try_grab(key, options).await,
            false => node.grab_with(key, options).await,
        }
    }
}

/// A recorded hold.
pub struct Held<G: Guard> {
    guard: Option<G>,
    world: Arc<World>,
    who: Who,
    /// The object.
    pub key: ObjectKey,
    /// What it saw.
    pub saw: u64,
    number: u64,
    recorded: bool,
}

/// An operation that has not ended.
struct Asking {
    world: Arc<World>,
    who: Who,
    key: ObjectKey,
    call: Option<Call<ObjectKey>>,
    ended: bool,
}

impl Program {
    /// Sleeps for a random time up to `most`.
    pub async fn pause(&mut self, most: Duration) {
        let nanos = self.rng.u64(0..=most.as_nanos() as u64);
        if nanos > 0 {
            self.world.executor.sleep(Duration::from_nanos(nanos)).await;
        }
    }

    /// Asks for a hold.
    ///
    /// # Errors
    /// As the node says; whether it may say so has been checked.
    pub async fn acquire<G: Guard>(&mut self, key: ObjectKey, way: Way) -> Result<Held<G>, OpError> {
        let mut asking = self.begin(key, G::MODE == Mode::Exclusive, |history, who| {
            history.acquire(key, who, G::MODE, way.touch)
        });
        let asked = self.world.time();
        let result = G::ask(&self.node, key, way.options(), way.try_only).await;
        let (held, ended) = match result {
            Ok(guard) => {
                let saw = self.look(key, &guard);
                (Ok((guard, saw)), Ended::Held(saw))
            }
            // It got nowhere.
            Err(error @ (OpError::PeerLost(_) | OpError::NoHome(_) | OpError::Expelled))
                if self.world.time() == asked =>
            {
                self.judge(key, error, way);
                (Err(error), Ended::Refused)
            }
            Err(error) => (Err(error), self.judge(key, error, way)),
        };
        let recorded = asking.end(ended);
        let now = self.world.time();
        let exclusive = held.is_ok().then_some(G::MODE == Mode::Exclusive);
        self.world.fairness.note(key, self.who, exclusive, asked, now);
        let (guard, saw) = held?;
        self.world.coverage.count(if now == asked { "hit" } else { "miss" });
        let what = if G::MODE == Mode::Exclusive { "grabbed" } else { "got" };
        self.world.tell(self.who, key, what, saw);
        let (world, who) = (self.world.clone(), self.who);
        let mut ledger = world.ledger.lock();
        Ledger::count(&mut ledger.held, who, key, true);
        let number = self.world.next_hold();
        let counts = recorded && !ledger.out.contains(&self.node.me());
        if counts {
            ledger.holds.insert(number, (who, key, G::MODE));
        }
        ledger.seen.entry(self.node.me()).or_default().insert(key);
        if saw == 0 {
            ledger.owned.entry(self.node.me()).or_default().insert(key);
        }
        drop(ledger);
        Ok(Held { guard: Some(guard), world, who, key, saw, number, recorded })
    }

    /// Ends the object.
    ///
    /// # Errors
    /// As the node says.
    pub async fn remove(&mut self, key: ObjectKey) -> Result<(), OpError> {
        let mut asking = self.begin(key, true, |history, who| history.remove(key, who));
        // In each view that begins meanwhile it is asked for again, by those who do not know how far it came.
        let most = if self.world.plan.views.is_some() { MOST_VIEWS } else { 0 };
        let again = |_| self.begin(key, true, |history, who| history.remove(key, who));
        let again: Vec<Asking> = (0..most).map(again).collect();
        let before = self.world.views_begun(true);
        let result = self.node.remove(key).await;
        let views = self.world.views_begun(false) - before;
        for (place, mut again) in again.into_iter().enumerate() {
            again.end(if place < views as usize { Ended::Perhaps } else { Ended::Refused });
        }
        let ended = match result {
            Ok(()) => Ended::Done,
            // Nobody knows how far it came.
            Err(OpError::PeerLost(_) | OpError::NoHome(_) | OpError::Expelled) => Ended::Unknown,
            Err(_) => Ended::Failed,
        };
        result.err().map(|error| self.judge(key, error, Way::PLAIN));
        asking.end(ended);
        self.world.tell(self.who, key, if result.is_ok() { "removed" } else { "did not remove" }, 0);
        result
    }

    /// Brings the object to its device.
    ///
    /// # Errors
    /// As the node says.
    pub async fn sync(&mut self, key: ObjectKey) -> Result<(), OpError> {
        let stored = crate::sets::is_stored(key.set);
        let mut asking = self.begin(key, true, |history, who| history.sync(key, who));
        let result = self.node.sync(key).await;
        result.err().map(|error| self.judge(key, error, Way::PLAIN));
        asking.end(if result.is_ok() && stored { Ended::Done } else { Ended::Refused });
        self.world.tell(
            self.who,
            key,
            if result.is_ok() { "synchronised" } else { "did not synchronise" },
            0,
        );
        result
    }

    /// What the bytes say.
    fn look(&self, key: ObjectKey, bytes: &[u8]) -> u64 {
        bytes::read(bytes).unwrap_or_else(|torn| {
            self.world.findings.wrong(format!("{} sees torn bytes of {key:?}: {torn:?}", self.who));
            torn.first
        })
    }

    fn begin(
        &self,
        key: ObjectKey,
        changes: bool,
        record: impl FnOnce(&mut kddm_history::History<ObjectKey>, Who) -> Call<ObjectKey>,
    ) -> Asking {
        let (world, who, me) = (self.world.clone(), self.who, self.node.me());
        let mut ledger = world.ledger.lock();
        let first = !ledger.homes.contains_key(&key);
        // Before the first view nobody has a home.
        let fixed = || crate::sets::home_of(key, &world.plan.members);
        if let Some(home) = self.node.dump(key).home.or_else(fixed).filter(|_| first) {
            ledger.homes.insert(key, home);
        }
        Ledger::count(&mut ledger.busy, who, key, true);
        if changes {
            ledger.owned.entry(me).or_default().insert(key);
        }
        let suspect = ledger.suspects.contains(&me);
        if suspect {
            world.blur(&mut ledger, key);
        }
        let doubtful = first && world.plan.views.is_some() && ledger.ever_lost;
        drop(ledger);
        if doubtful {
            membership::doubt(&world, key, who);
        }
        let call = (!suspect).then(|| {
            let mut history = world.history.lock();
            history.at(world.executor.now().as_nanos() as u64);
            record(&mut history, who)
        });
        Asking { world, who, key, call, ended: false }
    }

    /// How an operation that failed is to be recorded. Says so if it must not fail like that.
    fn judge(&self, key: ObjectKey, error: OpError, way: Way) -> Ended {
        let plan = &self.world.plan;
        let (troubled, out) = {
            let ledger = self.world.ledger.lock();
            (ledger.troubled, ledger.out.contains(&self.node.me()))
        };
        // With views, what needs no particular node never fails for want of one.
        let may_need = plan.views.is_none() || !crate::sets::is_moving(key.set);
        let (allowed, name, ended) = match error {
            // What was only made and never written need not outlive the memory of the nodes.
            OpError::Absent if crate::sets::is_stored(key.set) => {
                (way.touch == Touch::Refuse, "found nothing", Ended::FoundNoBytes)
            }
            OpError::Absent => (way.touch == Touch::Refuse, "found nothing", Ended::FoundNothing),
            OpError::WouldBlock => (way.try_only, "try refused", Ended::Refused),
            OpError::Lost => (troubled || plan.loses_nodes(), "told: lost", Ended::FoundLost),
            OpError::PeerLost(_) => (troubled && may_need, "told: peer lost", Ended::Failed),
            OpError::Device(libc::ENOMEM) => (plan.tight, "told: no memory at home", Ended::Failed),
            OpError::Device(_) => (plan.faults.device_percent > 0, "told: device failed", Ended::Failed),
            OpError::NoMemory => (plan.tight, "told: no memory", Ended::Failed),
            OpError::NoHome(_) => {
                (troubled && plan.views.is_some() && may_need, "told: no home", Ended::Failed)
            }
            OpError::Expelled => (out, "told: expelled", Ended::Failed),
            OpError::Destroyed(_) => (crate::sets::is_named(key.set), "told: destroyed", Ended::Failed),
            OpError::TimedOut => (false, "told: late", Ended::Failed),
            OpError::NoSet(_) => (false, "told: no set", Ended::Failed),
        };
        self.world.coverage.count(name);
        self.world.tell(self.who, key, name, 0);
        if !allowed {
            self.world.findings.wrong(format!("{} was told of {key:?}: {error} ({error:?})", self.who));
        }
        ended
    }
}

impl Asking {
    /// Whether it was recorded.
    fn end(&mut self, ended: Ended) -> bool {
        self.ended = true;
        self.world.get_on();
        let mut ledger = self.world.ledger.lock();
        Ledger::count(&mut ledger.busy, self.who, self.key, false);
        if let (Ended::Unknown | Ended::Failed, Ok(node)) = (ended, NodeId::new(self.who.node)) {
            // What it asked for may be had all the same.
            ledger.owned.entry(node).or_default().insert(self.key);
        }
        drop(ledger);
        let Some(call) = self.call.take() else { return false };
        let mut history = self.world.history.lock();
        history.at(self.world.executor.now().as_nanos() as u64);
        history.end(call, ended);
        true
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.ended {
            self.world.coverage.count("operation dropped");
            self.end(Ended::Unknown);
        }
    }
}

impl<G: Guard> Held<G> {
    /// Looks again: nothing may have changed.
    pub fn check(&self) {
        let Some(guard) = &self.guard else { return };
        if bytes::read(guard) != Ok(self.saw) {
            let (who, key, saw) = (self.who, self.key, self.saw);
            let now = bytes::read(guard);
            self.world.findings.wrong(format!("{who} holds {key:?}, saw {saw}, and now sees {now:?}"));
        }
    }

    /// Ends the hold, which has written `wrote`.
    pub fn put(mut self, wrote: Option<u64>) {
        self.end(wrote, true);
    }

    /// The bytes.
    pub fn guard(&mut self) -> Option<&mut G> {
        self.guard.as_mut()
    }

    fn end(&mut self, wrote: Option<u64>, put: bool) {
        let Some(guard) = self.guard.take() else { return };
        let (world, who, key) = (self.world.clone(), self.who, self.key);
        let mut ledger = world.ledger.lock();
        let counts = ledger.holds.remove(&self.number).is_some();
        Ledger::count(&mut ledger.held, who, key, false);
        drop(ledger);
        if self.recorded {
            let mut history = world.history.lock();
            history.at(world.executor.now().as_nanos() as u64);
            match (counts, put, wrote) {
                (true, true, _) => history.put(key, who, G::MODE, wrote),
                (true, false, _) => history.holder_dies(key, who, G::MODE),
                // It may still reach a device, or a node that does not know.
                (false, _, Some(value)) => history.stray(key, who, value),
                (false, _, None) => {}
            }
        }
        if put {
            world.tell(who, key, "put", wrote.unwrap_or(0));
        } else {
            world.coverage.count("hold died with its node");
        }
        drop(guard);
    }
}

impl<G: Guard> Drop for Held<G> {
    fn drop(&mut self) {
        self.end(None, false);
    }
}
