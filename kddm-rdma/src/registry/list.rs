//! All sets. Which places have one is written in maps behind the places, a bit each, so that who lists does not look at all of them.
//! A map may say of a place that it has a set, and it has none: who wrote it came to an end between the two.

use super::{COUNTER, Entry, PLACES, REGISTRY, RegistryError, SetInfo, entry};
use crate::{Node, OpError};
use kddm_object::ObjectKey;

const BITS: u32 = entry::SIZE as u32 * 8;
const FIRST_MAP: u32 = 1 + PLACES;
/// Requests under way together.
const AT_ONCE: usize = 64;

impl Node {
    /// All sets that have a name, as they are at one moment; by name.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn sets(&self) -> Result<Vec<(String, SetInfo)>, RegistryError> {
        let _nobody_changes_them = self.get(COUNTER).await?;
        let places = self.used_places().await?;
        let mut sets = Vec::with_capacity(places.len());
        for some in places.chunks(AT_ONCE) {
            self.prefetch(some.iter().copied());
            for &place in some {
                let Some(bytes) = self.if_touched(place).await? else { continue };
                if let Entry::Set { name, set, owner } = Entry::read(&bytes) {
                    sets.extend(self.info(set, owner).map(|info| (name.to_owned(), info)));
                }
            }
        }
        sets.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(sets)
    }

    async fn used_places(&self) -> Result<Vec<ObjectKey>, OpError> {
        let maps = FIRST_MAP..FIRST_MAP + PLACES / BITS;
        self.prefetch(maps.clone().map(|map| ObjectKey::new(REGISTRY, map)));
        let mut places = Vec::new();
        for map in maps {
            let first = 1 + (map - FIRST_MAP) * BITS;
            if let Some(bytes) = self.if_touched(ObjectKey::new(REGISTRY, map)).await? {
                places.extend(ones(&bytes).map(|bit| ObjectKey::new(REGISTRY, first + bit)));
            }
        }
        Ok(places)
    }

    /// Notes whether `place` has a set. The caller has the counter.
    pub(super) async fn mark_used(&self, place: ObjectKey, used: bool) -> Result<(), OpError> {
        let (map, bit) = ((place.object - 1) / BITS, (place.object - 1) % BITS);
        let mut bytes = self.grab(ObjectKey::new(REGISTRY, FIRST_MAP + map)).await?;
        let mask = 1 << (bit % 8);
        match used {
            true => bytes[bit as usize / 8] |= mask,
            false => bytes[bit as usize / 8] &= !mask,
        }
        Ok(())
    }
}

fn ones(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let in_byte = |(place, &byte): (usize, &u8)| {
        (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| place as u32 * 8 + bit)
    };
    bytes.iter().enumerate().flat_map(in_byte)
}
