//! When checkpoints are made: when somebody asks, when much is waiting, and every few seconds.

use super::blocking::{Keeper, promise};
use kddm_rdma::Host;
use parking_lot::Mutex;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// Time between checkpoints that nobody asked for: with the time that one takes, what was written stays in memory
/// alone for less than 5 s.
const INTERVAL: Duration = Duration::from_secs(4);

/// Those who wait for a checkpoint.
#[derive(Default)]
pub(crate) struct Requests(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: Vec<Waiting>,
    hurry: bool,
    stop: bool,
    /// Nobody makes checkpoints any more.
    stopped: bool,
    driver: Option<Waker>,
}

struct Waiting {
    wish: Wish,
    keeper: Keeper<Result<(), i32>>,
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A durable commit.
    Durable,
    /// A commit, durable or not, and that the native files have it.
    Settled {
        /// Whether it is to survive the loss of power.
        durable: bool,
    },
}

impl Wish {
    fn is_durable(self) -> bool {
        self != Wish::Settled { durable: false }
    }
}

/// What the next checkpoint is for.
pub(crate) struct Round {
    waiting: Vec<Waiting>,
    /// Whether somebody wants it to be durable.
    pub durable: bool,
    /// Whether it is the last.
    pub last: bool,
}

impl Round {
    /// The checkpoint is committed, or has failed: tells those for whom it ends with that. Who is left.
    pub fn committed(self, result: Result<(), i32>) -> Round {
        let Round { waiting, durable, last } = self;
        let (done, waiting): (Vec<_>, _) =
            waiting.into_iter().partition(|waiting| result.is_err() || waiting.wish == Wish::Durable);
        done.into_iter().for_each(|waiting| waiting.keeper.keep(result));
        Round { waiting, durable, last }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Tells those who asked.
    pub fn end(self, result: Result<(), i32>) {
        for waiting in self.waiting {
            waiting.keeper.keep(result);
        }
    }
}

impl Requests {
    /// Ends when a checkpoint that began after this call has ended. Those who ask while one is being made share the
    /// next.
    pub async fn commit(&self, wish: Wish) -> Result<(), i32> {
        let (keeper, promise) = promise();
        let driver = {
            let mut state = self.0.lock();
            if state.stopped {
                return Err(nix::libc::ESHUTDOWN);
            }
            state.waiting.push(Waiting { wish, keeper });
            state.driver.take()
        };
        driver.into_iter().for_each(Waker::wake);
        promise.await.unwrap_or(Err(nix::libc::ESHUTDOWN))
    }

    /// Has a checkpoint made soon.
    pub fn hurry(&self) {
        let driver = {
            let mut state = self.0.lock();
            state.hurry = true;
            state.driver.take()
        };
        driver.into_iter().for_each(Waker::wake);
    }

    /// Has a last checkpoint made, a durable one.
    pub async fn stop(&self) -> Result<(), i32> {
        self.0.lock().stop = true;
        self.commit(Wish::Settled { durable: true }).await
    }

    /// Nobody will make checkpoints: whoever waits is told so.
    pub fn close(&self) {
        let waiting = {
            let mut state = self.0.lock();
            state.stopped = true;
            std::mem::take(&mut state.waiting)
        };
        drop(waiting);
    }

    /// Waits until the next checkpoint is due.
    pub async fn next(&self, host: &Arc<dyn Host>) -> Round {
        let asked = poll_fn(|context| {
            let mut state = self.0.lock();
            if state.waiting.is_empty() && !state.hurry {
                state.driver = Some(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        });
        futures_lite::future::or(asked, host.sleep(INTERVAL)).await;
        let mut state = self.0.lock();
        state.hurry = false;
        let waiting = std::mem::take(&mut state.waiting);
        let durable = waiting.iter().any(|waiting| waiting.wish.is_durable());
        let last = state.stop && !waiting.is_empty();
        Round { waiting, durable, last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};
    use kddm_rdma::LinuxHost;
    use std::pin::pin;

    #[test]
    fn those_who_ask_while_one_is_made_share_the_next() {
        let host: Arc<dyn Host> = LinuxHost::start(1).unwrap();
        let requests = Requests::default();
        block_on(async {
            let mut first = pin!(requests.commit(Wish::Settled { durable: false }));
            assert!(poll_once(&mut first).await.is_none());
            let round = requests.next(&host).await;
            assert!(!round.durable && !round.last);
            let (mut second, mut third) = (
                pin!(requests.commit(Wish::Durable)),
                pin!(requests.commit(Wish::Settled { durable: false })),
            );
            assert!(poll_once(&mut second).await.is_none() && poll_once(&mut third).await.is_none());
            round.end(Ok(()));
            assert_eq!(first.await, Ok(()));
            assert!(poll_once(&mut second).await.is_none(), "an earlier checkpoint does not count");
            let round = requests.next(&host).await;
            assert!(round.durable);
            round.end(Err(nix::libc::ENOSPC));
            assert_eq!((second.await, third.await), (Err(nix::libc::ENOSPC), Err(nix::libc::ENOSPC)));
            requests.close();
            assert_eq!(requests.commit(Wish::Durable).await, Err(nix::libc::ESHUTDOWN));
        });
    }

    #[test]
    fn the_last_one_is_known_to_be() {
        let host: Arc<dyn Host> = LinuxHost::start(1).unwrap();
        let requests = Requests::default();
        block_on(async {
            let mut stop = pin!(requests.stop());
            assert!(poll_once(&mut stop).await.is_none());
            let round = requests.next(&host).await;
            assert!(round.last && round.durable);
            round.end(Ok(()));
            assert_eq!(stop.await, Ok(()));
        });
    }
}
