//! Holds of many objects at once. Copies of all of them are asked for together, wherever their homes are; the holds are taken one after
//! the other, in ascending order. What has come before its turn is a mere copy, which goes when anybody asks for it and is asked for
//! again: so two who want the same objects never wait for each other.

use crate::{Exclusive, Node, OpError, Options, Shared, node::Guard};
use kddm_object::{ObjectKey, SetId};
use std::ops::Range;

impl Node {
    /// Shared holds of neighbouring objects of a set, in their order.
    ///
    /// # Errors
    /// See [`OpError`]; then nothing is held.
    pub async fn get_range(
        &self,
        set: SetId,
        objects: Range<u32>,
        options: Options,
    ) -> Result<Vec<Shared>, OpError> {
        self.get_all(objects.map(|object| ObjectKey::new(set, object)), options).await
    }

    /// Exclusive holds of neighbouring objects of a set, in their order.
    ///
    /// # Errors
    /// See [`OpError`]; then nothing is held.
    pub async fn grab_range(
        &self,
        set: SetId,
        objects: Range<u32>,
        options: Options,
    ) -> Result<Vec<Exclusive>, OpError> {
        self.grab_all(objects.map(|object| ObjectKey::new(set, object)), options).await
    }

    /// Shared holds of all these objects; one for each, ascending by key ([`Shared::key`]), whatever the order here.
    ///
    /// # Errors
    /// See [`OpError`]; then nothing is held.
    pub async fn get_all(
        &self,
        keys: impl IntoIterator<Item = ObjectKey>,
        options: Options,
    ) -> Result<Vec<Shared>, OpError> {
        let keys = self.bring_all::<Shared>(keys, options);
        let mut held = Vec::with_capacity(keys.len());
        for key in keys {
            held.push(self.get_with(key, options).await?);
        }
        Ok(held)
    }

    /// Exclusive holds of all these objects; one for each, ascending by key ([`Exclusive::key`]), whatever the order here.
    ///
    /// Who has some of them already and takes more out of that order can wait for another who does the same, for ever.
    ///
    /// # Errors
    /// See [`OpError`]; then nothing is held.
    pub async fn grab_all(
        &self,
        keys: impl IntoIterator<Item = ObjectKey>,
        options: Options,
    ) -> Result<Vec<Exclusive>, OpError> {
        let keys = self.bring_all::<Exclusive>(keys, options);
        let mut held = Vec::with_capacity(keys.len());
        for key in keys {
            held.push(self.grab_with(key, options).await?);
        }
        Ok(held)
    }

    /// Begins to bring copies of all of them; the keys in their order.
    fn bring_all<G: Guard>(
        &self,
        keys: impl IntoIterator<Item = ObjectKey>,
        options: Options,
    ) -> Vec<ObjectKey> {
        let mut keys: Vec<ObjectKey> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        if keys.len() > 1 {
            self.bring::<G>(keys.iter().copied(), options.first_touch);
        }
        keys
    }
}
