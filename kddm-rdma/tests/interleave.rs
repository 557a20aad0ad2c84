//! Every interleaving of threads that share objects through one node: the state word, the engine and its queue, the wakers of
//! those who wait. See `tests/interleave`.
#![cfg(feature = "interleave")]

use kddm_coherence::{Message, ReadToken};
use kddm_fabric::Event;
use kddm_memory::interleave::loom::cell::UnsafeCell;
use kddm_memory::interleave::loom::sync::Notify;
use kddm_memory::interleave::loom::thread;
use kddm_memory::interleave::{Fault, explore, sees};
use kddm_object::{Location, SlotId};
use kddm_rdma::{
    Arena, ArenaConfig, BoxFuture, Counters, Disk, Host, Incarnation, Job, Node, NodeConfig, NodeId,
    ObjectKey, PeerState, SetFamily, SetId, SetPolicy, Transport,
};
use std::mem::ManuallyDrop;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

const KIND: u8 = 10;
const KEY: ObjectKey = ObjectKey { set: SetId::from_parts(KIND, 0, 0), object: 1 };

/// A node alone, which has one object, and the watched bytes of that.
struct World {
    node: ManuallyDrop<Node>,
    bytes: UnsafeCell<u64>,
}

impl Drop for World {
    /// An exploration that has failed is over for what would have to lock a mutex of it: then the node is left as it is.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: not used after this.
            unsafe { ManuallyDrop::drop(&mut self.node) };
        }
    }
}

/// Who waits for a future.
struct Sleeper(Notify);

impl Wake for Sleeper {
    fn wake(self: Arc<Sleeper>) {
        self.0.notify();
    }
}

/// Waits for a future, which is left as it is if the exploration fails meanwhile.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let sleeper = Arc::new(Sleeper(Notify::new()));
    let waker = Waker::from(sleeper.clone());
    let mut future = ManuallyDrop::new(Box::pin(future));
    loop {
        if let Poll::Ready(end) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            drop(ManuallyDrop::into_inner(future));
            return end;
        }
        sleeper.0.wait();
    }
}

impl World {
    #[allow(clippy::arc_with_non_send_sync, reason = "explored threads are coroutines of one thread")]
    fn new() -> Arc<World> {
        let me = NodeId::new(1).unwrap();
        let arena = Arena::new(ArenaConfig { bytes: 64 << 10, slab_bytes: 64 << 10 }).unwrap();
        let config = NodeConfig {
            me,
            incarnation: Incarnation(1),
            members: vec![me],
            loss: kddm_rdma::Loss::Local,
            inline_max: 256,
            speculate: true,
            unsound_keep_copies: false,
        };
        let node =
            Node::start(config, Box::new(Nowhere), Arc::new(arena), Arc::new(Still), vec![Arc::new(Locks)]);
        let world = World { node: ManuallyDrop::new(node.unwrap()), bytes: UnsafeCell::new(0) };
        drop(wait(world.node.grab(KEY)).unwrap());
        Arc::new(world)
    }

    fn read(&self) -> u64 {
        // SAFETY: the exploration fails if somebody writes at the same time.
        self.bytes.with(|bytes| unsafe { *bytes })
    }

    /// Adds one under an exclusive hold, however long that takes to come.
    fn grab(&self) {
        let guard = wait(self.node.grab(KEY)).unwrap();
        let next = self.read() + 1;
        // SAFETY: as in `read`.
        self.bytes.with_mut(|bytes| unsafe { *bytes = next });
        drop(guard);
    }

    fn get(&self) {
        let guard = wait(self.node.get(KEY)).unwrap();
        self.read();
        drop(guard);
    }

    /// Asks for the object, and loses interest unless it is there at once.
    fn glance(&self) {
        let mut asked = pin!(self.node.grab(KEY));
        if let Poll::Ready(guard) = asked.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            drop(guard.unwrap());
        }
    }

    /// Nobody holds the object, and nobody waits for it.
    fn check_idle(&self) {
        let word = self.node.dump(KEY).word.unwrap();
        assert!(!word.held(), "a hold was left over: {word:?}");
        self.grab();
        let word = self.node.dump(KEY).word.unwrap();
        assert!(!word.held() && !word.revoke(), "the engine still waits for a put: {word:?}");
    }
}

fn spawn(world: &Arc<World>, body: fn(&World)) -> thread::JoinHandle<()> {
    let world = world.clone();
    thread::spawn(move || body(&world))
}

/// Each waits for the other's put. Whose wake-up is lost waits for ever, which the exploration sees.
fn two_grabs() {
    let world = World::new();
    let other = spawn(&world, World::grab);
    world.grab();
    other.join().unwrap();
    assert_eq!(world.read(), 2, "a write was lost");
    world.check_idle();
}

/// One waits for the last of two puts.
fn two_puts_and_a_grab() {
    let world = World::new();
    let others = [(); 2].map(|()| {
        let guard = wait(world.node.get(KEY)).unwrap();
        let world = world.clone();
        thread::spawn(move || {
            world.read();
            drop(guard);
        })
    });
    world.grab();
    others.into_iter().for_each(|other| other.join().unwrap());
    world.check_idle();
}

/// As above, where the gets come at any time too.
fn two_gets_and_a_grab() {
    let world = World::new();
    let others = [spawn(&world, World::get), spawn(&world, World::get)];
    world.grab();
    others.into_iter().for_each(|other| other.join().unwrap());
    world.check_idle();
}

/// A future is dropped before, while or after the engine completes its operation.
fn lost_interest() {
    let world = World::new();
    let other = spawn(&world, World::glance);
    world.grab();
    other.join().unwrap();
    world.check_idle();
}

/// As above, with somebody in line behind it.
fn lost_interest_in_line() {
    let world = World::new();
    let others = [spawn(&world, World::glance), spawn(&world, World::get)];
    world.grab();
    others.into_iter().for_each(|other| other.join().unwrap());
    world.check_idle();
}

#[test]
fn no_wake_up_is_lost() {
    explore("node: two grabs", 8, two_grabs);
    sees(Fault::StoreForSwap, "node: two grabs", 8, two_grabs);
    explore("node: two puts and a grab", 3, two_puts_and_a_grab);
    sees(Fault::StaleRelease, "node: two puts and a grab", 3, two_puts_and_a_grab);
    explore("node: two gets and a grab", 2, two_gets_and_a_grab);
}

#[test]
fn a_future_that_is_dropped_leaves_nothing_held() {
    explore("node: lost interest", 8, lost_interest);
    sees(Fault::ForgottenHold, "node: lost interest", 8, lost_interest);
    explore("node: lost interest, in line", 2, lost_interest_in_line);
}

/// A volatile set of objects without bytes.
struct Locks;

impl SetFamily for Locks {
    fn kind(&self) -> u8 {
        KIND
    }
    fn name(&self) -> &str {
        "explored"
    }
    fn policy(&self, _: SetId) -> Option<SetPolicy> {
        Some(SetPolicy::volatile(0))
    }
}

/// A fabric without peers.
struct Nowhere;

impl Transport for Nowhere {
    fn send(&mut self, _: NodeId, _: &Message) {}
    fn read(&mut self, _: ReadToken, _: Location, _: SlotId, _: u32) {}
    fn flush(&mut self) {}
    fn poll(&mut self, _: &mut Vec<Event>) {}
    fn descriptor(&self) -> Option<std::os::fd::RawFd> {
        None
    }
    fn counters(&self) -> Counters {
        Counters::default()
    }
    fn peers(&self) -> Vec<PeerState> {
        Vec::new()
    }
    fn forbid_returns(&mut self) {}
    fn renew(&mut self, _: Incarnation) {}
    fn disconnect(&mut self) {}
}

/// A world where nothing happens: the node asks it for nothing here.
struct Still;

impl Host for Still {
    fn now(&self) -> Duration {
        Duration::ZERO
    }
    fn wall(&self) -> Duration {
        Duration::ZERO
    }
    fn random(&self) -> u64 {
        0
    }
    fn spawn(&self, _: BoxFuture<'static, ()>) {
        unreachable!("nothing is short of memory")
    }
    fn run_blocking(&self, _: Job) {
        unreachable!("no linker is called")
    }
    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        unreachable!("nothing is short of memory")
    }
    fn disk(&self) -> &dyn Disk {
        unreachable!("there is no device")
    }
    fn spawn_thread(&self, _: &str, _: Job) {
        unreachable!("the fabric has no descriptor")
    }
}
