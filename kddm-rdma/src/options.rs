//! How a get or grab is meant.

use kddm_object::FirstTouch;

/// How a get or grab is meant, beyond the usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Options {
    /// What to do with an object that nobody has touched.
    pub first_touch: FirstTouch,
    /// Whether it may use the slots kept back for those who free memory by what they do (write-back).
    pub reserve: bool,
}
