//! What the threads of programs do all day.

use crate::bytes;
use crate::plan::Deed;
use crate::program::{Guard, Held, Program, Way};
use crate::sets;
use kddm_history::Touch;
use kddm_object::{ObjectKey, SetId};
use kddm_rdma::{Exclusive, OpError, Owner, RegistryError, SetPolicy, Shared};
use std::time::Duration;

impl Program {
    /// Does `operations` things.
    pub async fn run(mut self, operations: u32) {
        for _ in 0..operations {
            if self.world.ledger.lock().departing.contains(&self.node.me()) {
                return;
            }
            let think = self.world.plan.think;
            self.pause(think).await;
            let deed = self.world.plan.deeds[self.rng.usize(0..self.world.plan.deeds.len())];
            let key = self.choose();
            self.act(deed, key).await;
        }
    }

    /// Looks at every object, so that all is seen that is left.
    pub async fn look_at_all(mut self) {
        let mut keys = self.world.plan.objects.clone();
        self.rng.shuffle(&mut keys);
        for key in keys {
            if let Some(held) = self.hold::<Shared>(key, Way::PLAIN).await {
                held.put(None);
            }
        }
    }

    fn choose(&mut self) -> ObjectKey {
        let plan = &self.world.plan;
        let hot = self.rng.u8(0..100) < plan.hot_percent;
        plan.objects[if hot { 0 } else { self.rng.usize(0..plan.objects.len()) }]
    }

    async fn act(&mut self, deed: Deed, key: ObjectKey) {
        match deed {
            Deed::Get => self.read(key, Way::PLAIN, "get held").await,
            Deed::Write => self.write(key, Way::PLAIN, "write held").await,
            Deed::Grab => {
                if let Some(held) = self.hold::<Exclusive>(key, Way::PLAIN).await {
                    self.world.coverage.count("grab held");
                    self.keep(&held).await;
                    held.put(None);
                }
            }
            Deed::TryGet => self.read(key, Way { try_only: true, ..Way::PLAIN }, "try held").await,
            Deed::TryWrite => self.write(key, Way { try_only: true, ..Way::PLAIN }, "try held").await,
            Deed::Existing => {
                self.read(key, Way { touch: Touch::Refuse, ..Way::PLAIN }, "existing held").await
            }
            Deed::ExistingWrite => {
                self.write(key, Way { touch: Touch::Refuse, ..Way::PLAIN }, "existing held").await;
            }
            Deed::Manual => {
                // Of an object with a device one would have to know that the device has nothing.
                let touch = if sets::is_stored(key.set) { Touch::Make } else { Touch::Manual };
                self.write(key, Way { touch, ..Way::PLAIN }, "manual held").await;
            }
            Deed::Prefetch => {
                let plan = &self.world.plan;
                let at = self.rng.usize(0..plan.objects.len());
                let keys = plan.objects[at..].iter().copied().take(8);
                self.world.ledger.lock().seen.entry(self.node.me()).or_default().extend(keys.clone());
                self.node.prefetch(keys);
            }
            Deed::Remove => {
                let done = self.remove(key).await;
                self.world.coverage.count(if done.is_ok() { "remove done" } else { "remove failed" });
            }
            Deed::Sync => {
                let done = self.sync(key).await;
                self.world.coverage.count(if done.is_ok() { "sync done" } else { "sync failed" });
            }
            Deed::Flush => {
                // It may fail like any other, but says nothing of the object.
                let done = self.node.flush(key).await;
                self.world.coverage.count(if done.is_ok() { "flush done" } else { "flush failed" });
            }
            Deed::Cancel => self.cancel(key).await,
            Deed::Two => self.two(key).await,
            Deed::Checkpoint => self.checkpoint().await,
            Deed::Named => self.named().await,
        }
    }

    async fn read(&mut self, key: ObjectKey, way: Way, name: &'static str) {
        if let Some(held) = self.hold::<Shared>(key, way).await {
            self.world.coverage.count(name);
            self.keep(&held).await;
            held.put(None);
        }
    }

    async fn write(&mut self, key: ObjectKey, way: Way, name: &'static str) {
        if let Some(held) = self.hold::<Exclusive>(key, way).await {
            self.world.coverage.count(name);
            self.change(held).await;
        }
    }

    /// Asks, and deals with objects that are lost: somebody has to end them.
    async fn hold<G: Guard>(&mut self, key: ObjectKey, way: Way) -> Option<Held<G>> {
        let result = self.acquire::<G>(key, way).await;
        if matches!(result, Err(OpError::Lost)) && self.rng.bool() {
            self.world.coverage.count("lost object removed");
            let _ended = self.remove(key).await;
        }
        result.ok()
    }

    /// Holds for a while, looking now and then.
    async fn keep<G: Guard>(&mut self, held: &Held<G>) {
        let most = self.world.plan.hold;
        for _ in 0..self.rng.u8(0..=2) {
            self.pause(most / 2).await;
            held.check();
        }
    }

    /// Writes in two steps, with time between, and puts.
    async fn change(&mut self, mut held: Held<Exclusive>) {
        self.keep(&held).await;
        let Some(size) = sets::policy(held.key.set).map(|policy| policy.object_size as usize) else { return };
        if size < 8 {
            return held.put(None);
        }
        let value = self.world.next_value();
        let half = size / 16;
        if let Some(guard) = held.guard() {
            bytes::write(guard, value, half);
        }
        let most = self.world.plan.hold;
        self.pause(most).await;
        if let Some(guard) = held.guard() {
            bytes::write(guard, value, 0);
        }
        held.put(Some(value));
    }

    /// Gives up waiting after a while.
    async fn cancel(&mut self, key: ObjectKey) {
        let most = self.world.plan.most_delay() * 4;
        let time = Duration::from_nanos(self.rng.u64(0..=most.as_nanos() as u64));
        match self.rng.bool() {
            true => self.give_up::<Exclusive>(key, time).await,
            false => self.give_up::<Shared>(key, time).await,
        }
    }

    async fn give_up<G: Guard>(&mut self, key: ObjectKey, time: Duration) {
        let sleep = self.world.executor.sleep(time);
        let asked = async { self.acquire::<G>(key, Way::PLAIN).await.ok() };
        let late = async {
            sleep.await;
            None
        };
        if let Some(held) = futures_lite::future::or(asked, late).await {
            held.put(None);
        }
    }

    /// Two objects, in an order that all keep.
    async fn two(&mut self, one: ObjectKey) {
        let other = self.choose();
        if one == other {
            return;
        }
        let (low, high) = (one.min(other), one.max(other));
        if let Some(first) = self.hold::<Exclusive>(low, Way::PLAIN).await {
            // Whoever waits while it holds must not begin something else: no remove of lost objects here.
            if let Ok(second) = self.acquire::<Exclusive>(high, Way::PLAIN).await {
                self.world.coverage.count("two held");
                self.change(second).await;
            }
            self.change(first).await;
        }
    }

    /// Writes dirty objects to the device by hand, and says so.
    async fn checkpoint(&mut self) {
        let reserve = Way { reserve: true, ..Way::PLAIN };
        let dirty: Vec<ObjectKey> = self.node.dirty().into_iter().take(4).collect();
        for key in dirty {
            if !sets::is_stored(key.set) {
                self.world.findings.wrong(format!("{key:?} is dirty and has no device"));
                continue;
            }
            if let Some(mut held) = self.hold::<Shared>(key, reserve).await {
                let device = self.world.device(self.node.me());
                let written = held.guard().is_some_and(|guard| device.write(key, guard).is_ok());
                if let (true, Some(guard)) = (written, held.guard()) {
                    self.node.cleaned(guard);
                    self.world.coverage.count("checkpointed by hand");
                }
                held.put(None);
            }
        }
    }

    /// Makes, opens, uses and destroys sets by name.
    async fn named(&mut self) {
        let name = format!("set {}", self.rng.u8(0..4));
        let coverage = |what| self.world.coverage.count(what);
        let set = match self.rng.u8(0..5) {
            0 => match self.node.create_set(&name, SetPolicy::volatile(64), self.owner()).await {
                Ok(set) => {
                    coverage("set created");
                    Some(set)
                }
                Err(RegistryError::Exists) => {
                    coverage("set refused: exists");
                    None
                }
                Err(error) => return self.registry_failed(error),
            },
            1 => {
                let known = self.node.open_set(&name).await.ok();
                match self.node.destroy_set(&name).await {
                    Ok(()) => {
                        coverage("set destroyed");
                        if let Some(info) = known {
                            self.check_destroyed(info.id).await;
                        }
                        None
                    }
                    Err(RegistryError::Unknown) => None,
                    Err(error) => return self.registry_failed(error),
                }
            }
            2 => return self.list().await,
            _ => match self.node.open_set(&name).await {
                Ok(info) => {
                    coverage("set opened");
                    self.check_owner(&name, info.owner);
                    Some(info.id)
                }
                Err(RegistryError::Unknown) => {
                    coverage("set unknown");
                    None
                }
                Err(error) => return self.registry_failed(error),
            },
        };
        if let Some(set) = set {
            let key = ObjectKey::new(set, self.rng.u32(0..3));
            self.read(key, Way::PLAIN, "get held").await;
        }
    }

    /// What every node gives its sets: the owner tells the maker, and the rest follows from that.
    fn owner(&self) -> Owner {
        owner_of(self.node.me().get())
    }

    fn check_owner(&self, name: &str, owner: Owner) {
        if owner != owner_of(owner.uid as u8) {
            self.world
                .findings
                .wrong(format!("{}: {name} has an owner that nobody gave it: {owner:?}", self.who));
        }
    }

    /// Nobody gets a hold any more. Without views, who returns may serve before it is told.
    async fn check_destroyed(&mut self, set: SetId) {
        let key = ObjectKey::new(set, self.rng.u32(0..3));
        let forgotten = self.world.plan.views.is_none() && self.world.plan.loses_nodes();
        if let Ok(held) = self.acquire::<Shared>(key, Way::PLAIN).await {
            if !forgotten {
                let what = format!("{}: {key:?} was got, though its set was destroyed", self.who);
                self.world.findings.wrong(what);
            }
            held.put(None);
        }
    }

    async fn list(&self) {
        match self.node.sets().await {
            Ok(sets) => {
                self.world.coverage.count("sets listed");
                sets.iter().for_each(|(name, info)| self.check_owner(name, info.owner));
                let mut ids: Vec<_> = sets.iter().map(|(_, info)| info.id).collect();
                ids.sort_unstable();
                ids.dedup();
                if ids.len() != sets.len() || !sets.is_sorted_by(|a, b| a.0 < b.0) {
                    self.world.findings.wrong(format!("{}: one set is listed twice: {sets:?}", self.who));
                }
            }
            Err(error) => self.registry_failed(error),
        }
    }

    fn registry_failed(&self, error: RegistryError) {
        let plan = &self.world.plan;
        let allowed = match error {
            RegistryError::Object(OpError::PeerLost(_) | OpError::Lost) => plan.loses_nodes(),
            RegistryError::Object(OpError::NoHome(_) | OpError::Expelled) => {
                let ledger = self.world.ledger.lock();
                plan.views.is_some() && (ledger.troubled || ledger.ever_lost)
            }
            RegistryError::Object(OpError::NoMemory) => plan.tight,
            _ => false,
        };
        self.world.coverage.count("registry failed");
        if !allowed {
            self.world.findings.wrong(format!("{}: a set's name: {error} ({error:?})", self.who));
        }
    }
}

fn owner_of(node: u8) -> Owner {
    Owner { uid: node.into(), gid: 100 + u32::from(node), mode: 0o600 }
}
