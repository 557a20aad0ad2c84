//! Mistakes that explorations plant, to see that they would see them. Without the feature `interleave` there are none.

use crate::sync::fence;
use std::sync::atomic::Ordering;

/// A mistake that is easily made.
#[cfg_attr(
    not(feature = "interleave"),
    allow(dead_code, reason = "some are planted in kddm-rdma and kddm-fabric")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The tag is compared before the word is loaded, so that the word may be of a later tenancy.
    TagBeforeWord,
    /// A swap that failed is tried again on whatever the word is then.
    AnyTenancy,
    /// The word is stored where it has to be swapped.
    StoreForSwap,
    /// A put publishes nothing.
    RelaxedPut,
    /// A hold sees nothing of what was published.
    RelaxedHold,
    /// Whether the engine is to be told is decided by a word that may have changed since.
    StaleRelease,
    /// Readers of the index do not learn that an entry was moved.
    SilentMove,
    /// A grown table is published without its entries.
    RelaxedGrowth,
    /// A hold that came after its future was dropped is not put. Planted in kddm-rdma.
    ForgottenHold,
    /// A receiver that says that it sleeps does not look after that. Planted in kddm-fabric, as what follows.
    UnfencedSleep,
    /// A sender that has put something does not look after that whether the receiver sleeps.
    UnfencedPut,
    /// A sender that says that it waits for room does not look after that.
    UnfencedWait,
    /// A receiver that has made room does not look after that whether the sender waits.
    UnfencedTake,
}

/// Whether a mistake is planted.
#[cfg(not(feature = "interleave"))]
#[inline(always)]
pub const fn planted(_: Fault) -> bool {
    false
}

#[cfg(feature = "interleave")]
pub use crate::interleave::planted;

/// An ordering, which a mistake would forget.
#[inline(always)]
pub(crate) fn unless(fault: Fault, order: Ordering) -> Ordering {
    if planted(fault) { Ordering::Relaxed } else { order }
}

/// A sequentially consistent fence, which a mistake would forget.
#[inline(always)]
pub fn fence_unless(fault: Fault) {
    if !planted(fault) {
        fence(Ordering::SeqCst);
    }
}
