//! What Rust's standard library would bring: memory from the C library, and an end for what must not happen.

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_void;
use core::panic::PanicInfo;

use crate::kernel;

struct CLibrary;

#[global_allocator]
static ALLOCATOR: CLibrary = CLibrary;

unsafe extern "C" {
    fn free(memory: *mut c_void);
    fn malloc(size: usize) -> *mut c_void;
    fn realloc(memory: *mut c_void, size: usize) -> *mut c_void;
}

// SAFETY: malloc's memory is aligned for everything that is allocated here: bytes, numbers and pointers.
unsafe impl GlobalAlloc for CLibrary {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the trait demands of the caller.
        unsafe { malloc(layout.size()) }.cast()
    }

    unsafe fn dealloc(&self, memory: *mut u8, _: Layout) {
        // SAFETY: as the trait demands of the caller.
        unsafe { free(memory.cast()) }
    }

    unsafe fn realloc(&self, memory: *mut u8, _: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the trait demands of the caller.
        unsafe { realloc(memory.cast(), size) }.cast()
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    let _ = kernel::write_all(2, b"the zygote has panicked\n");
    kernel::exit(101)
}

// Rust's core library was compiled to unwind and names both; here a panic ends the process before either is called. Hidden, because
// a library that Python loads later may ask for the real `_Unwind_Resume`: it would find this one, and a C++ exception would end
// the program. Rust has no attribute for that.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
macro_rules! trap {
    () => {
        "ud2"
    };
}
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
macro_rules! trap {
    () => {
        // No instruction of any other processor that Linux runs on.
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
