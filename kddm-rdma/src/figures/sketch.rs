//! The heaviest of many, in little memory: the space-saving sketch (Metwally, Agrawal and El Abbadi, *Efficient computation of
//! frequent and top-k elements in data streams*, ICDT 2005), with weights that fade.

/// What is remembered of the heaviest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighed<K, V = ()> {
    /// What.
    pub key: K,
    /// What else is known of it, since it came among the heaviest.
    pub value: V,
    /// How much of it there was lately: at most so much …
    pub weight: u64,
    /// … and at least so much less: what was there before it took another's place.
    pub error: u64,
}

/// The heaviest of whatever is added: whoever has more than a `PLACES`th of the whole weight is among them.
#[derive(Clone, Debug)]
pub(crate) struct Sketch<K, V, const PLACES: usize> {
    places: Vec<Weighed<K, V>>,
    /// Where the last one was found: mostly, the next is the same.
    last: usize,
}

impl<K: Copy + PartialEq, V: Clone + Default, const PLACES: usize> Sketch<K, V, PLACES> {
    pub(crate) fn new() -> Self {
        // All at once: hits, too, are counted here, and they allocate nothing.
        Sketch { places: Vec::with_capacity(PLACES), last: 0 }
    }

    /// What is known of `key`, whose weight grows; nothing if it has taken another's place.
    pub(crate) fn add(&mut self, key: K, weight: u64) -> &mut V {
        let place = self.find(key).unwrap_or_else(|| self.place_for(key));
        self.last = place;
        self.places[place].weight += weight;
        &mut self.places[place].value
    }

    /// What is known of `key`, if it is among the heaviest.
    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.find(key).map(|place| &mut self.places[place].value)
    }

    fn find(&self, key: K) -> Option<usize> {
        if self.places.get(self.last).is_some_and(|place| place.key == key) {
            return Some(self.last);
        }
        self.places.iter().position(|place| place.key == key)
    }

    fn place_for(&mut self, key: K) -> usize {
        let value = V::default();
        if self.places.len() < PLACES {
            self.places.push(Weighed { key, value, weight: 0, error: 0 });
            return self.places.len() - 1;
        }
        let weights = self.places.iter().map(|place| place.weight).enumerate();
        let (place, weight) = weights.min_by_key(|&(_, weight)| weight).unwrap_or_default();
        self.places[place] = Weighed { key, value, weight, error: weight };
        place
    }

    /// Halves all weights, so that what is over does not stand in the way of what is new.
    pub(crate) fn fade(&mut self) {
        for place in &mut self.places {
            place.weight /= 2;
            place.error /= 2;
        }
        self.places.retain(|place| place.weight > 0);
    }

    /// Up to `count`, the heaviest first.
    pub(crate) fn heaviest(&self, count: usize) -> Vec<Weighed<K, V>> {
        let mut all = self.places.clone();
        all.sort_by_key(|place| std::cmp::Reverse(place.weight));
        all.truncate(count);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heavy_are_found_among_many_light() {
        let mut sketch = Sketch::<u32, (), 8>::new();
        for round in 0..1000 {
            sketch.add(1_000_000, 2);
            sketch.add(2_000_000, 1);
            sketch.add(round, 1); // each once
        }
        let heaviest = sketch.heaviest(2);
        assert_eq!([heaviest[0].key, heaviest[1].key], [1_000_000, 2_000_000]);
        for (found, true_weight) in heaviest.iter().zip([2000, 1000]) {
            assert!(found.weight >= true_weight && found.weight - found.error <= true_weight, "{found:?}");
        }
        assert_eq!(sketch.places.len(), 8, "memory is bounded");
    }

    #[test]
    fn what_is_over_fades_away() {
        let mut sketch = Sketch::<u32, (), 4>::new();
        sketch.add(1, 1000);
        (0..10).for_each(|_| sketch.fade());
        sketch.add(2, 3);
        assert_eq!(sketch.heaviest(4).iter().map(|place| place.key).collect::<Vec<_>>(), [2]);
    }
}
