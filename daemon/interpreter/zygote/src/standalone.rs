//! What Rust's standard library would otherwise provide: an allocator, which is the C library's, and a panic handler.

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_void;
use core::panic::PanicInfo;

use crate::kernel;

struct CLibrary;

#[global_allocator]
static ALLOCATOR: CLibrary = CLibrary;

// SAFETY: the signatures are those of the C library.
unsafe extern "C" {
    fn free(memory: *mut c_void);
    fn malloc(size: usize) -> *mut c_void;
    fn realloc(memory: *mut c_void, size: usize) -> *mut c_void;
}

// SAFETY: malloc aligns memory for everything that is allocated here: bytes, numbers and pointers.
unsafe impl GlobalAlloc for CLibrary {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: malloc takes any size.
        unsafe { malloc(layout.size()) }.cast()
    }

    // SAFETY: as the trait asks, memory comes from `alloc` or `realloc`, which both call the C library.
    unsafe fn dealloc(&self, memory: *mut u8, _: Layout) {
        // SAFETY: the trait's caller passes memory of `alloc`.
        unsafe { free(memory.cast()) }
    }

    // SAFETY: as for `dealloc`.
    unsafe fn realloc(&self, memory: *mut u8, _: Layout, size: usize) -> *mut u8 {
        // SAFETY: the trait's caller passes memory of `alloc`.
        unsafe { realloc(memory.cast(), size) }.cast()
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    let _ = kernel::write_all(2, b"the zygote has panicked\n");
    kernel::exit(101)
}

// Rust's core library is compiled to unwind and refers to both symbols. Here a panic ends the process before either is called. They are
// hidden, because a library that Python loads later would find this `_Unwind_Resume` in place of the real one, and a C++ exception would
// end the program. Rust has no attribute for hidden symbols.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
macro_rules! trap {
    () => {
        "ud2"
    };
}
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
macro_rules! trap {
    () => {
        // An invalid instruction on every other architecture of Linux.
        ".long 0"
    };
}
core::arch::global_asm!(
    ".globl _Unwind_Resume, rust_eh_personality",
    ".hidden _Unwind_Resume, rust_eh_personality",
    "_Unwind_Resume:",
    "rust_eh_personality:",
    trap!(),
);
