//! A fabric between nodes of one process: messages in queues, READs copied at once, an eventfd to sleep on.

use kddm_coherence::{Message, ReadToken};
use kddm_fabric::{Counters, Event, PeerState, Transport};
use kddm_object::{Incarnation, Location, NodeId, SlotId};
use kddm_rdma::Arena;
use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::Mutex;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

/// What connects the nodes.
#[derive(Clone, Default)]
pub struct Network(Arc<Mutex<Vec<Port>>>);

struct Port {
    node: NodeId,
    arena: Arc<Arena>,
    inbox: Vec<Event>,
    bell: Arc<EventFd>,
    up: bool,
}

/// One node's end.
pub struct Wire {
    network: Network,
    me: NodeId,
    bell: Arc<EventFd>,
    counters: Counters,
}

impl Network {
    /// A new end; all that are there already see it come, and it sees them.
    pub fn join(&self, me: NodeId, arena: Arc<Arena>) -> Wire {
        let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC).unwrap());
        let mut ports = self.0.lock();
        let mut port = Port { node: me, arena, inbox: Vec::new(), bell: bell.clone(), up: true };
        for other in ports.iter_mut().filter(|other| other.up) {
            other.deliver(Event::PeerUp(me, Incarnation(1)));
            port.deliver(Event::PeerUp(other.node, Incarnation(1)));
        }
        ports.push(port);
        Wire { network: self.clone(), me, bell, counters: Counters::default() }
    }

    /// Cuts a node off: the others see that it is gone.
    pub fn cut(&self, gone: NodeId) {
        let mut ports = self.0.lock();
        let Some(port) = ports.iter_mut().find(|port| port.node == gone && port.up) else { return };
        port.up = false;
        for other in ports.iter_mut().filter(|other| other.up) {
            other.deliver(Event::PeerDown { node: gone, certain: true, reason: "cut".into() });
        }
    }
}

impl Port {
    fn deliver(&mut self, event: Event) {
        self.inbox.push(event);
        self.bell.write(1).unwrap();
    }
}

impl Transport for Wire {
    fn send(&mut self, to: NodeId, message: &Message) {
        let mut ports = self.network.0.lock();
        if ports.iter().any(|port| port.node == self.me && port.up)
            && let Some(port) = ports.iter_mut().find(|port| port.node == to && port.up)
        {
            self.counters.messages_sent += 1;
            port.deliver(Event::Message(self.me, message.clone()));
        }
    }

    fn read(&mut self, token: ReadToken, source: Location, landing: SlotId, length: u32) {
        self.counters.reads_issued += 1;
        let mut ports = self.network.0.lock();
        let mut bytes = vec![0; length as usize];
        let found = ports
            .iter()
            .find(|port| port.node == source.node && port.up)
            .is_some_and(|port| port.arena.copy_out(source.slot, source.generation, &mut bytes));
        let mine = ports.iter_mut().find(|port| port.node == self.me).unwrap();
        let good = found && mine.arena.copy_in(landing, 0, &bytes);
        mine.deliver(Event::ReadDone(token, good));
    }

    fn flush(&mut self) {}

    fn poll(&mut self, events: &mut Vec<Event>) {
        let mut ports = self.network.0.lock();
        let mine = ports.iter_mut().find(|port| port.node == self.me).unwrap();
        let _ = self.bell.read();
        self.counters.messages_received +=
            mine.inbox.iter().filter(|event| matches!(event, Event::Message(..))).count() as u64;
        events.append(&mut mine.inbox);
    }

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.bell.as_raw_fd())
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn peers(&self) -> Vec<PeerState> {
        let ports = self.network.0.lock();
        let state = |port: &Port| PeerState {
            node: port.node,
            up: port.up.then_some(Incarnation(1)),
            reason: if port.up { String::new() } else { "cut".into() },
            refused: false,
        };
        ports.iter().filter(|port| port.node != self.me).map(state).collect()
    }

    fn forbid_returns(&mut self) {}

    fn renew(&mut self, _: Incarnation) {}

    fn disconnect(&mut self) {
        self.network.cut(self.me);
    }
}
