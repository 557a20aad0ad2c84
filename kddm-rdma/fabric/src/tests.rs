//! What the tests of fabrics share.

pub(crate) mod meeting;
