//! The node's own thread: sleeps until the network has something, and looks.

use crate::{Host, NodeError};
use mio::{Events, Interest, Poll, Registry, Token, Waker, unix::SourceFd};
use parking_lot::{Condvar, Mutex};
use std::{
    cell::Cell,
    io,
    os::fd::RawFd,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

const NETWORK: Token = Token(0);
const STOP: Token = Token(1);

thread_local! {
    /// Whether this thread is some node's event loop: it cannot wait for its own end.
    static IN_LOOP: Cell<bool> = const { Cell::new(false) };
}

pub(crate) struct EventLoop {
    descriptor: RawFd,
    poll: Mutex<Poll>,
    stop: Waker,
    spin_nanos: AtomicU64,
    ended: Mutex<bool>,
    end: Condvar,
}

impl EventLoop {
    /// Sleeps on `descriptor`, which stays open as long as the node does.
    pub(crate) fn new(descriptor: RawFd) -> Result<EventLoop, NodeError> {
        let system = |what| move |source| NodeError::System { what, source };
        let poll = Poll::new().map_err(system("creating an epoll descriptor"))?;
        let stop = Waker::new(poll.registry(), STOP).map_err(system("creating an eventfd"))?;
        poll.registry()
            .register(&mut SourceFd(&descriptor), NETWORK, Interest::READABLE)
            .map_err(system("watching the fabric's descriptor"))?;
        Ok(EventLoop {
            descriptor,
            poll: Mutex::new(poll),
            stop,
            spin_nanos: AtomicU64::new(0),
            ended: Mutex::new(false),
            end: Condvar::new(),
        })
    }

    pub(crate) fn set_spin(&self, time: Duration) {
        self.spin_nanos.store(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Runs until `stopped`. `turn` looks once and says whether anything had happened; `arm` makes ready for sleep, and says whether
    /// to look once more before.
    pub(crate) fn run(
        &self,
        host: &dyn Host,
        turn: impl Fn() -> bool,
        arm: impl Fn() -> bool,
        stopped: impl Fn() -> bool,
    ) {
        IN_LOOP.set(true);
        let mut poll = self.poll.lock();
        let mut events = Events::with_capacity(4);
        let mut spin = Spin::default();
        while !stopped() {
            if turn() || spin.found(host, self.most_spin(), &turn) {
                continue;
            }
            if arm() && turn() {
                continue;
            }
            if let Err(error) = self.sleep(&mut poll, &mut events) {
                tracing::error!(reason = %error, "BUG: the event loop cannot sleep; it ends, and with it the node");
                break;
            }
        }
        // What the end of all sessions left: failed READs, lost peers.
        turn();
        *self.ended.lock() = true;
        self.end.notify_all();
    }

    fn sleep(&self, poll: &mut Poll, events: &mut Events) -> io::Result<()> {
        self.look_again(poll.registry())?;
        match poll.poll(events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }

    /// mio is edge-triggered, the fabric's descriptor says "readable" as long as there is something to do. Registering
    /// anew makes epoll look at it again (epoll_ctl(2), EPOLL_CTL_MOD), so that nothing is slept over.
    fn look_again(&self, registry: &Registry) -> io::Result<()> {
        registry.reregister(&mut SourceFd(&self.descriptor), NETWORK, Interest::READABLE)
    }

    fn most_spin(&self) -> Duration {
        Duration::from_nanos(self.spin_nanos.load(Ordering::Relaxed))
    }

    /// Wakes the loop, which has been told to stop by other means, and waits for its end.
    pub(crate) fn stop(&self) {
        if let Err(error) = self.stop.wake() {
            tracing::error!(reason = %error, "BUG: the event loop cannot be woken");
            return;
        }
        if IN_LOOP.get() {
            return;
        }
        let mut ended = self.ended.lock();
        while !*ended {
            self.end.wait(&mut ended);
        }
    }
}

/// How often looking again is tried for the longest time: in a time too short for anything to come nothing is found, and it would stay so.
const TRY_LONGEST: u32 = 32;

/// How long looking again before sleeping has paid of late.
#[derive(Default)]
struct Spin {
    time: Duration,
    in_vain: u32,
}

impl Spin {
    /// Looks again for a while; true as soon as something had happened.
    fn found(&mut self, host: &dyn Host, most: Duration, turn: impl Fn() -> bool) -> bool {
        if most.is_zero() {
            return false;
        }
        let longest = self.in_vain.is_multiple_of(TRY_LONGEST);
        self.time = if longest { most } else { self.time.clamp(most / 64, most) };
        let until = host.now() + self.time;
        while host.now() < until {
            if turn() {
                self.time *= 2;
                return true;
            }
            std::hint::spin_loop();
        }
        self.time = if longest { Duration::ZERO } else { self.time / 2 };
        self.in_vain = self.in_vain.wrapping_add(1);
        false
    }
}
