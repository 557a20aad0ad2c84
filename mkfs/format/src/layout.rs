//! One line per documented field: its offset is what the byte diagram says, or the crate does not compile.

/// Asserts the size of a structure and the offset of each named field.
macro_rules! assert_layout {
    ($structure:ty, $size:expr, { $($field:ident: $offset:expr),+ $(,)? }) => {
        const _: () = assert!(core::mem::size_of::<$structure>() == $size);
        const _: () = assert!(core::mem::align_of::<$structure>() == 1);
        $(const _: () = assert!(core::mem::offset_of!($structure, $field) == $offset);)+
    };
}

pub(crate) use assert_layout;

/// The first of the reserved bytes that is not zero, as it has to be in this version.
pub(crate) fn not_zero<'a>(reserved: impl IntoIterator<Item = &'a u8>) -> Option<u64> {
    reserved.into_iter().find(|&&byte| byte != 0).map(|&byte| byte.into())
}
