//! What is due and when: dials, heartbeats, and the end of patience.

use super::{
    Tcp,
    connections::{Connection, Phase},
    frame::Kind,
    shared::End,
};
use std::time::{Duration, Instant};

/// A side that has said nothing for so long says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Heartbeats that are due this soon go together: one wake-up instead of many.
const TOGETHER: Duration = Duration::from_millis(200);

/// A peer that has said nothing for so long is lost. Operations that need it must fail within 5 s.
pub const SILENCE: Duration = Duration::from_secs(4);

impl Tcp {
    /// Does what is due, and sets the timer to what is due next.
    pub(super) fn keep_time(&mut self) {
        if std::mem::take(&mut self.timer_fired) {
            if let Err(error) = self.timer.acknowledge() {
                tracing::error!(reason = %error, "the fabric's timer cannot be read");
            }
            self.do_what_is_due();
            self.retime = true;
        }
        if std::mem::take(&mut self.retime) {
            let deadline = self.next_deadline();
            if let Err(error) = self.timer.set(deadline, self.shared.now) {
                tracing::error!(reason = %error, "the fabric's timer cannot be set");
            }
        }
    }

    fn do_what_is_due(&mut self) {
        let now = self.shared.now;
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept();
        }
        for place in 0..self.peers.len() {
            if self.peers[place].dial_at.is_some_and(|at| at <= now) {
                self.dial(self.peers[place].node);
            }
        }
        for place in 0..self.connections.len() {
            if let Some(end) = self.overdue(place)
                && let Some(connection) = self.connections[place].take()
            {
                self.ended(connection, end);
            }
        }
    }

    /// Why the connection at `place` has been silent for too long; sends the heartbeat that is due.
    fn overdue(&mut self, place: usize) -> Option<End> {
        let now = self.shared.now;
        let Connection { channel, phase, .. } = &mut **self.connections[place].as_mut()?;
        match phase {
            Phase::Opening(opening) => (opening.deadline <= now)
                .then(|| End::Closed { certain: false, reason: opening.waits_for().to_owned() }),
            Phase::Session(_) if channel.heard + SILENCE <= now => Some(End::Silent(SILENCE)),
            // What waits for the network is a sign of life, too, once it goes.
            Phase::Session(_) if channel.backlog() == 0 && channel.spoke + HEARTBEAT <= now + TOGETHER => {
                let beat = channel.frame(Kind::Heartbeat, |_| {}).map_err(End::Fault);
                beat.and_then(|()| self.shared.flush(channel)).err()
            }
            Phase::Session(_) => None,
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let dials = self.peers.iter().filter_map(|peer| peer.dial_at);
        let connections = self.connections.iter().flatten().map(|connection| match &connection.phase {
            Phase::Opening(opening) => opening.deadline,
            Phase::Session(_) if connection.channel.backlog() > 0 => connection.channel.heard + SILENCE,
            Phase::Session(_) => {
                (connection.channel.spoke + HEARTBEAT).min(connection.channel.heard + SILENCE)
            }
        });
        dials.chain(connections).chain(self.accept_at).min()
    }
}
