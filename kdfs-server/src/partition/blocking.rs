//! From jobs that block to futures, and back.

use kddm_rdma::Host;
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Runs `job` where blocking hurts nobody. `None` if it panicked.
pub(crate) fn blocking<T: Send + 'static>(
    host: &Arc<dyn Host>,
    job: impl FnOnce() -> T + Send + 'static,
) -> Promise<T> {
    let (keeper, promise) = promise();
    host.run_blocking(Box::new(move || keeper.keep(job())));
    promise
}

/// A value that will come, and who brings it.
pub(crate) fn promise<T>() -> (Keeper<T>, Promise<T>) {
    let shared = Arc::new(Mutex::new(Shared { value: None, broken: false, waker: None }));
    (Keeper(shared.clone()), Promise(shared))
}

struct Shared<T> {
    value: Option<T>,
    broken: bool,
    waker: Option<Waker>,
}

/// Brings the value.
pub(crate) struct Keeper<T>(Arc<Mutex<Shared<T>>>);

impl<T> Keeper<T> {
    pub fn keep(self, value: T) {
        self.0.lock().value = Some(value);
    }
}

impl<T> Drop for Keeper<T> {
    fn drop(&mut self) {
        let mut shared = self.0.lock();
        shared.broken = true;
        let waker = shared.waker.take();
        drop(shared);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Ends with the value, or `None` if nobody will bring it any more.
pub(crate) struct Promise<T>(Arc<Mutex<Shared<T>>>);

impl<T> Future for Promise<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut shared = self.0.lock();
        if shared.value.is_some() || shared.broken {
            return Poll::Ready(shared.value.take());
        }
        shared.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    #[test]
    fn a_promise_is_kept_or_broken() {
        let (keeper, mut kept) = promise();
        assert_eq!(block_on(poll_once(&mut kept)), None);
        keeper.keep(7);
        assert_eq!(block_on(kept), Some(7));
        let (keeper, broken) = promise::<u8>();
        drop(keeper);
        assert_eq!(block_on(broken), None);
    }
}
