//! Operations that wait for so long and no longer.

use crate::{Exclusive, Node, OpError, Options, Shared};
use futures_lite::future;
use kddm_object::ObjectKey;
use std::{future::Future, time::Duration};

impl Node {
    /// [`Node::get_with`] that fails with [`OpError::TimedOut`] if it has not got its hold within `time`. The object is as it was,
    /// and nobody waits for this node any more; what a home or a holder had already begun for it ends without its doing.
    ///
    /// # Errors
    /// See [`OpError`].
    pub async fn get_for(&self, key: ObjectKey, options: Options, time: Duration) -> Result<Shared, OpError> {
        self.within(time, self.get_with(key, options)).await
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
        self.within(time, self.grab_with(key, options)).await
    }

    /// What is there at once needs no clock.
    async fn within<T>(
        &self,
        time: Duration,
        operation: impl Future<Output = Result<T, OpError>>,
    ) -> Result<T, OpError> {
        let late = async {
            self.host().sleep(time).await;
            Err(OpError::TimedOut)
        };
        future::or(operation, late).await
    }
}
