//! Compares the zygote's constants and structures with those of the `libc` crate, which the zygote itself cannot use.
#![allow(unsafe_code, dead_code, reason = "this is the zygote's own module; only its tests are used here")]

macro_rules! same {
    ($($own:expr => $theirs:expr),* $(,)?) => {
        $(assert_eq!(i128::from($own), i128::from($theirs), stringify!($own));)*
    };
}

/// Compares sizes, alignments, and offsets of the named fields.
macro_rules! laid_out_as {
    ($own:ty => $theirs:ty { $($field:ident => $other:ident),* $(,)? }) => {
        assert_eq!(
            (size_of::<$own>(), align_of::<$own>()),
            (size_of::<$theirs>(), align_of::<$theirs>()),
            stringify!($own)
        );
        $(assert_eq!(
            core::mem::offset_of!($own, $field),
            core::mem::offset_of!($theirs, $other),
            concat!(stringify!($own), ".", stringify!($field))
        );)*
    };
}

#[path = "../src/kernel.rs"]
mod kernel;

#[path = "../src/messages.rs"]
mod messages;
