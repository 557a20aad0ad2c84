//! All limits in one place, with their relations asserted.

/// Nodes of a cluster: one byte of node id without 0 and 255.
pub const MAX_NODES: usize = 254;

/// Largest object: one READ of the smallest RDMA device limit that is still in use (2^20 is far below 2^31).
pub const MAX_OBJECT_SIZE: u32 = 1 << 20;

/// Size classes of slots, bytes, ascending. An object lies in the smallest class that holds it;
/// objects of size 0 (locks) take a slot of the first.
pub const SLOT_SIZES: [u32; 6] = [64, 256, 1024, 4096, 65536, 1 << 20];

/// Smallest slab (a memfd of its own, cut into slots of one class): small arenas need several for their size classes.
pub const SLAB_MIN: usize = 64 << 10;

/// Largest slab: as many of the smallest slots as 16 bits can number.
pub const SLAB_MAX: usize = 4 << 20;

/// Objects up to this size ride in GRANT and HAND instead of being READ.
pub const INLINE_MAX: usize = 256;

const _: () = assert!(SLOT_SIZES[0] as usize * (1 << 16) >= SLAB_MAX, "a slot index has 16 bits");
const _: () = assert!(SLOT_SIZES[SLOT_SIZES.len() - 1] == MAX_OBJECT_SIZE);
const _: () = assert!(SLAB_MIN.is_power_of_two() && SLAB_MAX.is_power_of_two() && SLAB_MIN <= SLAB_MAX);
const _: () = assert!((SLAB_MAX as u32).is_multiple_of(MAX_OBJECT_SIZE));
const _: () = {
    let mut class = 0;
    while class < SLOT_SIZES.len() {
        assert!(SLOT_SIZES[class].is_power_of_two(), "slots tile a slab");
        assert!(class == 0 || SLOT_SIZES[class - 1] < SLOT_SIZES[class], "ascending");
        class += 1;
    }
};

/// The index in [`SLOT_SIZES`] of the class for objects of `size` bytes; `None` if no class holds it.
pub fn size_class(size: u32) -> Option<usize> {
    SLOT_SIZES.iter().position(|&class| size <= class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_their_objects() {
        assert_eq!(size_class(0), Some(0));
        assert_eq!(size_class(64), Some(0));
        assert_eq!(size_class(65), Some(1));
        assert_eq!(size_class(4096), Some(3));
        assert_eq!(size_class(MAX_OBJECT_SIZE), Some(5));
        assert_eq!(size_class(MAX_OBJECT_SIZE + 1), None);
    }
}
