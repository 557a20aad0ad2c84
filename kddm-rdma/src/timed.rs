//! Operations that wait for so long and no longer.

use crate::{Exclusive, Node, OpError, Options, Shared, node::Guard, waiting::Acquire};
use futures_lite::future;
use kddm_object::ObjectKey;
use std::{pin::pin, time::Duration};

impl Node {
    /// [`Node::get_with`] that fails with [`OpError::TimedOut`] if it has not got its hold within `time`. The object is as it was,
    /// and nobody waits for this node any more; what a home or a holder had already begun for it ends without its doing.
    ///
    /// # Errors
    /// See [`OpError`].
    pub async fn get_for(&self, key: ObjectKey, options: Options, time: Duration) -> Result<Shared, OpError> {
        self.within(time, Acquire::new(self.inner(), key, options, false)).await
    }

    /// [`Node::grab_with`] that fails with [`OpError::TimedOut`] if it has not got its hold within `time`, as [`Node::get_for`].
    ///
    /// # Errors
    /// See [`OpError`].
    pub async fn grab_for(
        &self,
        key: ObjectKey,
        options: Options,
        time: Duration,
    ) -> Result<Exclusive, OpError> {
        self.within(time, Acquire::new(self.inner(), key, options, false)).await
    }

    /// What is there at once needs no clock.
    async fn within<G: Guard>(&self, time: Duration, operation: Acquire<'_, G>) -> Result<G, OpError> {
        let mut operation = pin!(operation);
        let late = async {
            self.host().sleep(time).await;
            None
        };
        let result = future::or(async { Some(operation.as_mut().await) }, late).await;
        result.unwrap_or_else(|| {
            operation.time_is_over();
            Err(OpError::TimedOut)
        })
    }
}
