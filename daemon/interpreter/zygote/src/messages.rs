//! Messages over sockets, with descriptors.

use core::ffi::{c_int, c_uint, c_void};
use core::ptr;

use crate::kernel::{Descriptor, Errno, transferred, uninterrupted};

#[cfg(test)]
#[path = "messages/tests.rs"]
mod tests;

const MSG_NOSIGNAL: c_int = 0x4000;
const MSG_CMSG_CLOEXEC: c_int = 0x4000_0000;
const SOL_SOCKET: c_int = 1;
const SCM_RIGHTS: c_int = 1;

#[repr(C)]
struct Vector {
    base: *mut c_void,
    length: usize,
}

#[repr(C)]
struct Message {
    name: *mut c_void,
    name_length: c_uint,
    vectors: *mut Vector,
    vector_count: usize,
    control: *mut c_void,
    control_length: usize,
    flags: c_int,
}

#[repr(C)]
struct ControlHeader {
    length: usize,
    level: c_int,
    kind: c_int,
}

// SAFETY: the signatures are those of the C library. `messages/tests.rs` compares constants and structures.
unsafe extern "C" {
    fn recvmsg(socket: c_int, message: *mut Message, flags: c_int) -> isize;
    fn send(socket: c_int, buffer: *const c_void, length: usize, flags: c_int) -> isize;
    fn sendmsg(socket: c_int, message: *const Message, flags: c_int) -> isize;
}

/// Sends one message.
pub fn send_message(socket: Descriptor, bytes: &[u8]) -> Result<(), Errno> {
    // SAFETY: the bytes have this length.
    uninterrupted(|| transferred(unsafe { send(socket, bytes.as_ptr().cast(), bytes.len(), MSG_NOSIGNAL) })).map(drop)
}

/// Sends one message with one descriptor.
pub fn send_descriptor(socket: Descriptor, bytes: &[u8], descriptor: Descriptor) -> Result<(), Errno> {
    /// The length includes padding.
    #[repr(C)]
    struct Control {
        header: ControlHeader,
        descriptor: Descriptor,
        padding: u32,
    }
    let length = size_of::<ControlHeader>() + size_of::<Descriptor>();
    let header = ControlHeader { length, level: SOL_SOCKET, kind: SCM_RIGHTS };
    let mut control = Control { header, descriptor, padding: 0 };
    let mut vector = Vector { base: bytes.as_ptr().cast_mut().cast(), length: bytes.len() };
    let message = Message {
        name: ptr::null_mut(),
        name_length: 0,
        vectors: &raw mut vector,
        vector_count: 1,
        control: (&raw mut control).cast(),
        control_length: size_of::<Control>(),
        flags: 0,
    };
    // SAFETY: everything that the message points to outlives the call and has the given length. The kernel only reads it.
    uninterrupted(|| transferred(unsafe { sendmsg(socket, &raw const message, MSG_NOSIGNAL) })).map(drop)
}

/// Receives one message and at most `N` descriptors. Returns the number of bytes and of descriptors. No bytes mean the end.
pub fn receive_message<const N: usize>(
    socket: Descriptor,
    buffer: &mut [u8],
    descriptors: &mut [Descriptor; N],
) -> Result<(usize, usize), Errno> {
    /// Room for a header and eight descriptors, aligned as the header is.
    #[repr(C, align(8))]
    struct Control([u8; 48]);
    const { assert!(N <= 8) };
    let mut control = Control([0; 48]);
    let mut vector = Vector { base: buffer.as_mut_ptr().cast(), length: buffer.len() };
    let mut message = Message {
        name: ptr::null_mut(),
        name_length: 0,
        vectors: &raw mut vector,
        vector_count: 1,
        control: control.0.as_mut_ptr().cast(),
        control_length: size_of::<ControlHeader>() + N * size_of::<Descriptor>(),
        flags: 0,
    };
    // SAFETY: everything that the message points to outlives the call and has the given length.
    let length = uninterrupted(|| transferred(unsafe { recvmsg(socket, &raw mut message, MSG_CMSG_CLOEXEC) }))?;
    let mut count = 0;
    if message.control_length >= size_of::<ControlHeader>() {
        // SAFETY: the kernel has written a header to the start of the aligned buffer.
        let header = unsafe { &*control.0.as_ptr().cast::<ControlHeader>() };
        if header.level == SOL_SOCKET && header.kind == SCM_RIGHTS {
            count = (header.length - size_of::<ControlHeader>()) / size_of::<Descriptor>();
            let received = control.0[size_of::<ControlHeader>()..].chunks_exact(size_of::<Descriptor>());
            for (descriptor, bytes) in descriptors.iter_mut().zip(received).take(count) {
                *descriptor = bytes.try_into().map_or(-1, Descriptor::from_ne_bytes);
            }
        }
    }
    Ok((length, count.min(N)))
}
