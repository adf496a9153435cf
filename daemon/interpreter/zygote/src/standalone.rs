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

/// Named by the tables of functions in Rust's core library that could unwind; here a panic ends the process instead.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// As above: never called.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    kernel::exit(101)
}
