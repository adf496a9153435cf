//! Run from `tests/kernel.rs`, as those of `kernel`.

use super::*;

#[test]
fn constants_are_those_of_the_c_library() {
    same! {
        MSG_NOSIGNAL => libc::MSG_NOSIGNAL, MSG_CMSG_CLOEXEC => libc::MSG_CMSG_CLOEXEC,
        SOL_SOCKET => libc::SOL_SOCKET, SCM_RIGHTS => libc::SCM_RIGHTS,
    }
}

#[test]
fn structures_are_those_of_the_c_library() {
    laid_out_as!(Vector => libc::iovec { base => iov_base, length => iov_len });
    laid_out_as!(Message => libc::msghdr {
        name => msg_name, name_length => msg_namelen, vectors => msg_iov, vector_count => msg_iovlen,
        control => msg_control, control_length => msg_controllen, flags => msg_flags,
    });
    laid_out_as!(ControlHeader => libc::cmsghdr { length => cmsg_len, level => cmsg_level, kind => cmsg_type });
}

#[test]
fn a_message_and_its_descriptor_arrive() {
    use std::os::fd::AsRawFd;

    let (ours, theirs) = std::os::unix::net::UnixDatagram::pair().unwrap();
    let file = tempfile::tempfile().unwrap();
    file.set_len(77).unwrap();
    assert!(send_descriptor(ours.as_raw_fd(), b"text", file.as_raw_fd()).is_ok());
    let (mut buffer, mut descriptors) = ([0; 8], [-1; 2]);
    let received = receive_message(theirs.as_raw_fd(), &mut buffer, &mut descriptors);
    assert!(matches!(received, Ok((4, 1))) && &buffer[..4] == b"text");
    assert_ne!(descriptors[0], file.as_raw_fd());
    let length = std::fs::metadata(format!("/proc/self/fd/{}", descriptors[0])).unwrap().len();
    assert_eq!(length, 77);
}
