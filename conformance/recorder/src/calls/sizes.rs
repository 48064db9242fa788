//! Calls that change lengths and allocation: truncate, fallocate.

use super::{recorded, thread};
use crate::event::Kind;
use crate::log;
use libc::{c_int, off64_t};

macro_rules! truncates {
    ($($name:ident $text:literal),*) => {$(
        /// ftruncate(2)
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(fd: c_int, length: off64_t) -> c_int {
            // SAFETY: arguments passed through.
            let result = unsafe { real!($text as fn(c_int, off64_t) -> c_int)(fd, length) };
            if let (0, Some(inode)) = (result, recorded(fd)) {
                log::append(Kind::Truncate, inode, u64::try_from(length).unwrap_or(0), thread(), &[]);
            }
            result
        }
    )*};
}
truncates!(ftruncate "ftruncate", ftruncate64 "ftruncate64");

fn allocated(fd: c_int, mode: c_int, offset: off64_t, length: off64_t) {
    if let Some(inode) = recorded(fd) {
        let data: [&[u8]; 2] = [&mode.to_le_bytes(), &length.to_le_bytes()];
        log::append(
            Kind::Allocate,
            inode,
            u64::try_from(offset).unwrap_or(0),
            thread(),
            &data,
        );
    }
}

macro_rules! fallocates {
    ($($name:ident $text:literal),*) => {$(
        /// fallocate(2)
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(fd: c_int, mode: c_int, offset: off64_t, length: off64_t) -> c_int {
            let real = real!($text as fn(c_int, c_int, off64_t, off64_t) -> c_int);
            // SAFETY: arguments passed through.
            let result = unsafe { real(fd, mode, offset, length) };
            if result == 0 {
                allocated(fd, mode, offset, length);
            }
            result
        }
    )*};
}
fallocates!(fallocate "fallocate", fallocate64 "fallocate64");

macro_rules! posix_fallocates {
    ($($name:ident $text:literal),*) => {$(
        /// `posix_fallocate(3)`
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(fd: c_int, offset: off64_t, length: off64_t) -> c_int {
            // SAFETY: arguments passed through.
            let result = unsafe { real!($text as fn(c_int, off64_t, off64_t) -> c_int)(fd, offset, length) };
            if result == 0 {
                allocated(fd, 0, offset, length);
            }
            result
        }
    )*};
}
posix_fallocates!(posix_fallocate "posix_fallocate", posix_fallocate64 "posix_fallocate64");
