//! The libc calls that change files, each calling the real one and logging what it did.
#![expect(
    unsafe_code,
    reason = "interposing libc functions is all this crate does"
)]
#![expect(unreachable_pub, reason = "C symbols are public to the loader")]
#![expect(
    unused_unsafe,
    reason = "real! is used inside and outside unsafe blocks"
)]

use crate::event::Kind;
use crate::log;
use libc::{AT_FDCWD, c_char, c_int, c_uint, c_void, iovec, mode_t, off64_t, size_t, ssize_t};
use std::ffi::{CStr, CString};

/// The next definition of a libc function, looked up once.
macro_rules! real {
    ($name:literal as fn($($arg:ty),*) -> $ret:ty) => {{
        static FOUND: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
        let address = *FOUND.get_or_init(|| {
            // SAFETY: dlsym with a NUL-terminated name; the result is checked below.
            unsafe { libc::dlsym(libc::RTLD_NEXT, concat!($name, "\0").as_ptr().cast()) as usize }
        });
        if address == 0 {
            std::process::abort();
        }
        // SAFETY: libc's function of this name has this signature (man pages, section 2).
        unsafe { std::mem::transmute::<usize, unsafe extern "C" fn($($arg),*) -> $ret>(address) }
    }};
}

mod names;
mod sizes;

pub(crate) fn open_unrecorded(path: &CStr, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: a valid C string and libc's own signature.
    unsafe {
        real!("open64" as fn(*const c_char, c_int, mode_t) -> c_int)(path.as_ptr(), flags, mode)
    }
}

pub(crate) fn write_unrecorded(fd: c_int, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        // SAFETY: pointer and length of a live slice.
        let n = unsafe {
            real!("write" as fn(c_int, *const c_void, size_t) -> ssize_t)(
                fd,
                bytes.as_ptr().cast(),
                bytes.len(),
            )
        };
        match usize::try_from(n) {
            Ok(n) if n > 0 => bytes = &bytes[n..],
            _ => return false,
        }
    }
    true
}

fn thread() -> u32 {
    // SAFETY: gettid has no preconditions.
    u32::try_from(unsafe { libc::gettid() }).unwrap_or(0)
}

/// Device and inode of an open file, and whether it is a directory.
fn identity(fd: c_int) -> Option<((u64, u64), bool)> {
    // SAFETY: stat is plain data; fstat fills it.
    let mut stat: libc::stat64 = unsafe { std::mem::zeroed() };
    // SAFETY: a valid pointer to a stat buffer.
    if unsafe { libc::fstat64(fd, &raw mut stat) } != 0 {
        return None;
    }
    Some((
        (stat.st_dev, stat.st_ino),
        stat.st_mode & libc::S_IFMT == libc::S_IFDIR,
    ))
}

/// The inode of `fd` if its writes are recorded.
fn recorded(fd: c_int) -> Option<u64> {
    if !log::on() {
        return None;
    }
    let (file, _directory) = identity(fd)?;
    log::watched(file).then_some(file.1)
}

fn path_of(fd: c_int) -> Option<String> {
    std::fs::read_link(format!("/proc/self/fd/{fd}"))
        .ok()?
        .into_os_string()
        .into_string()
        .ok()
}

/// Absolute path of `path` relative to `dir`.
unsafe fn absolute(dir: c_int, path: *const c_char) -> Option<String> {
    // SAFETY: the caller got a C string from its caller, as libc demands.
    let path = unsafe { CStr::from_ptr(path) }.to_str().ok()?;
    if path.starts_with('/') {
        return Some(path.to_owned());
    }
    let base = if dir == AT_FDCWD {
        std::env::current_dir()
            .ok()?
            .into_os_string()
            .into_string()
            .ok()?
    } else {
        path_of(dir)?
    };
    Some(format!("{base}/{path}"))
}

fn exists(path: &str) -> bool {
    CString::new(path).is_ok_and(|p| {
        // SAFETY: a valid C string; F_OK asks only for existence.
        unsafe { libc::access(p.as_ptr(), libc::F_OK) == 0 }
    })
}

unsafe fn open_with(
    dir: c_int,
    path: *const c_char,
    flags: c_int,
    call: impl FnOnce() -> c_int,
) -> c_int {
    let full = if log::on() {
        // SAFETY: passed through from the caller of open.
        unsafe { absolute(dir, path) }
    } else {
        None
    };
    let Some(full) = full.filter(|p| log::below(p)) else {
        return call();
    };
    let was_there = exists(&full);
    let fd = call();
    if fd < 0 {
        return fd;
    }
    if let Some((file, false)) = identity(fd) {
        let tmpfile = flags & libc::O_TMPFILE == libc::O_TMPFILE;
        if tmpfile {
            log::append(Kind::Unseen, 0, 0, thread(), &[b"O_TMPFILE"]);
        }
        log::watch(file);
        let kind = if was_there { Kind::Open } else { Kind::Create };
        log::append(kind, file.1, 0, thread(), &[full.as_bytes()]);
        if was_there && flags & libc::O_TRUNC != 0 {
            log::append(Kind::Truncate, file.1, 0, thread(), &[]);
        }
    }
    fd
}

macro_rules! opens {
    ($($name:ident $text:literal),*) => {$(
        /// open(2)
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
            let real = real!($text as fn(*const c_char, c_int, mode_t) -> c_int);
            // SAFETY: arguments passed through.
            unsafe { open_with(AT_FDCWD, path, flags, || real(path, flags, mode)) }
        }
    )*};
}
opens!(open "open", open64 "open64");

macro_rules! openats {
    ($($name:ident $text:literal),*) => {$(
        /// openat(2)
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
            let real = real!($text as fn(c_int, *const c_char, c_int, mode_t) -> c_int);
            // SAFETY: arguments passed through.
            unsafe { open_with(dir, path, flags, || real(dir, path, flags, mode)) }
        }
    )*};
}
openats!(openat "openat", openat64 "openat64");

unsafe fn slice<'a>(data: *const c_void, length: usize) -> &'a [u8] {
    if length == 0 {
        return &[];
    }
    // SAFETY: the kernel has just read `length` bytes from `data`.
    unsafe { std::slice::from_raw_parts(data.cast(), length) }
}

/// Logs a positional write that returned `n`.
unsafe fn wrote(fd: c_int, data: *const c_void, n: ssize_t, offset: u64) {
    let Some(inode) = recorded(fd) else { return };
    if let Ok(length) = usize::try_from(n) {
        // SAFETY: see slice.
        log::append(
            Kind::Write,
            inode,
            offset,
            thread(),
            &[unsafe { slice(data, length) }],
        );
    }
}

/// Where the last non-positional write of `n` bytes began.
fn began(fd: c_int, n: ssize_t) -> u64 {
    // SAFETY: lseek on any descriptor.
    let now = unsafe { libc::lseek64(fd, 0, libc::SEEK_CUR) };
    u64::try_from(now - i64::try_from(n).unwrap_or(0)).unwrap_or(0)
}

/// write(2)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, data: *const c_void, length: size_t) -> ssize_t {
    // SAFETY: arguments passed through.
    let n =
        unsafe { real!("write" as fn(c_int, *const c_void, size_t) -> ssize_t)(fd, data, length) };
    if n > 0 && fd > 2 && recorded(fd).is_some() {
        // SAFETY: as above.
        unsafe { wrote(fd, data, n, began(fd, n)) };
    }
    n
}

macro_rules! pwrites {
    ($($name:ident $text:literal),*) => {$(
        /// pwrite(2)
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(fd: c_int, data: *const c_void, length: size_t, at: off64_t) -> ssize_t {
            // SAFETY: arguments passed through.
            unsafe {
                let n = real!($text as fn(c_int, *const c_void, size_t, off64_t) -> ssize_t)(fd, data, length, at);
                if n > 0 {
                    wrote(fd, data, n, u64::try_from(at).unwrap_or(0));
                }
                n
            }
        }
    )*};
}
pwrites!(pwrite "pwrite", pwrite64 "pwrite64");

/// Logs what a vectored write that returned `n` wrote, from `offset` on.
unsafe fn wrote_vector(fd: c_int, vector: *const iovec, count: c_int, n: ssize_t, mut offset: u64) {
    if recorded(fd).is_none() {
        return;
    }
    let mut left = usize::try_from(n).unwrap_or(0);
    for index in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: the caller passed `count` vectors.
        let one = unsafe { *vector.add(index) };
        let length = one.iov_len.min(left);
        // SAFETY: see slice.
        unsafe {
            wrote(
                fd,
                one.iov_base,
                isize::try_from(length).unwrap_or(0),
                offset,
            );
        }
        offset += length as u64;
        left -= length;
    }
}

/// writev(2)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, vector: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: arguments passed through.
    let n =
        unsafe { real!("writev" as fn(c_int, *const iovec, c_int) -> ssize_t)(fd, vector, count) };
    if n > 0 && fd > 2 && recorded(fd).is_some() {
        // SAFETY: as above.
        unsafe { wrote_vector(fd, vector, count, n, began(fd, n)) };
    }
    n
}

macro_rules! pwritevs {
    ($($name:ident $text:literal),*) => {$(
        /// pwritev(2)
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(fd: c_int, vector: *const iovec, count: c_int, at: off64_t) -> ssize_t {
            // SAFETY: arguments passed through.
            unsafe {
                let n = real!($text as fn(c_int, *const iovec, c_int, off64_t) -> ssize_t)(fd, vector, count, at);
                if n > 0 {
                    wrote_vector(fd, vector, count, n, u64::try_from(at).unwrap_or(0));
                }
                n
            }
        }
    )*};
}
pwritevs!(pwritev "pwritev", pwritev64 "pwritev64");

fn synced(fd: c_int, call: impl FnOnce() -> c_int) -> c_int {
    let seen = if log::on() { identity(fd) } else { None };
    let (begin, end, inode, path) = match seen {
        Some((_, true)) => match path_of(fd).filter(|p| log::below(p)) {
            Some(path) => (Kind::DirSyncBegin, Kind::DirSyncEnd, 0, path),
            None => return call(),
        },
        Some((file, false)) if log::watched(file) => {
            (Kind::SyncBegin, Kind::SyncEnd, file.1, String::new())
        }
        _ => return call(),
    };
    log::append(begin, inode, 0, thread(), &[path.as_bytes()]);
    let result = call();
    if result == 0 {
        log::append(end, inode, 0, thread(), &[path.as_bytes()]);
    }
    result
}

macro_rules! syncs {
    ($($name:ident $text:literal),*) => {$(
        /// fsync(2)
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(fd: c_int) -> c_int {
            // SAFETY: argument passed through.
            synced(fd, || unsafe { real!($text as fn(c_int) -> c_int)(fd) })
        }
    )*};
}
syncs!(fsync "fsync", fdatasync "fdatasync");

/// `copy_file_range(2)`: refused, so that copies go through write(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copy_file_range(
    _from: c_int,
    _from_at: *mut off64_t,
    _to: c_int,
    _to_at: *mut off64_t,
    _length: size_t,
    _flags: c_uint,
) -> ssize_t {
    // SAFETY: errno of this thread.
    unsafe { *libc::__errno_location() = libc::ENOSYS };
    -1
}

macro_rules! mmaps {
    ($($name:ident $text:literal),*) => {$(
        /// mmap(2): a shared writable mapping of a recorded file cannot be followed.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            at: *mut c_void, length: size_t, protection: c_int, flags: c_int, fd: c_int, offset: off64_t,
        ) -> *mut c_void {
            let shared = flags & libc::MAP_SHARED != 0 && protection & libc::PROT_WRITE != 0;
            if shared && fd >= 0 && recorded(fd).is_some() {
                log::append(Kind::Unseen, 0, 0, thread(), &[b"mmap"]);
            }
            let real = real!($text as fn(*mut c_void, size_t, c_int, c_int, c_int, off64_t) -> *mut c_void);
            // SAFETY: arguments passed through.
            unsafe { real(at, length, protection, flags, fd, offset) }
        }
    )*};
}
mmaps!(mmap "mmap", mmap64 "mmap64");
