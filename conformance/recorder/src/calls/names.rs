//! Calls that change names: rename, unlink, mkdir, link.

use super::{absolute, thread};
use crate::event::Kind;
use crate::log;
use libc::{AT_FDCWD, c_char, c_int, c_uint, mode_t};

/// Logs a change of names that went well.
unsafe fn named(
    kind: Kind,
    paths: &[(c_int, *const c_char)],
    call: impl FnOnce() -> c_int,
) -> c_int {
    let full: Option<Vec<String>> = if log::on() {
        // SAFETY: C strings from the caller.
        paths
            .iter()
            .map(|(dir, path)| unsafe { absolute(*dir, *path) })
            .collect()
    } else {
        None
    };
    let result = call();
    if let (0, Some(full)) = (result, full.filter(|f| f.iter().any(|p| log::below(p)))) {
        log::append(kind, 0, 0, thread(), &[full.join("\0").as_bytes()]);
    }
    result
}

/// rename(2)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let real = real!("rename" as fn(*const c_char, *const c_char) -> c_int);
    // SAFETY: arguments passed through.
    unsafe {
        named(Kind::Rename, &[(AT_FDCWD, from), (AT_FDCWD, to)], || {
            real(from, to)
        })
    }
}

/// renameat(2)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn renameat(
    d: c_int,
    from: *const c_char,
    e: c_int,
    to: *const c_char,
) -> c_int {
    let real = real!("renameat" as fn(c_int, *const c_char, c_int, *const c_char) -> c_int);
    // SAFETY: arguments passed through.
    unsafe { named(Kind::Rename, &[(d, from), (e, to)], || real(d, from, e, to)) }
}

/// renameat2(2)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn renameat2(
    d: c_int,
    from: *const c_char,
    e: c_int,
    to: *const c_char,
    flags: c_uint,
) -> c_int {
    let real =
        real!("renameat2" as fn(c_int, *const c_char, c_int, *const c_char, c_uint) -> c_int);
    let kind = if flags & libc::RENAME_EXCHANGE == 0 {
        Kind::Rename
    } else {
        Kind::Unseen
    };
    // SAFETY: arguments passed through.
    unsafe { named(kind, &[(d, from), (e, to)], || real(d, from, e, to, flags)) }
}

/// unlink(2)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: argument passed through.
    unsafe {
        named(Kind::Unlink, &[(AT_FDCWD, path)], || {
            real!("unlink" as fn(*const c_char) -> c_int)(path)
        })
    }
}

/// unlinkat(2)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    let real = real!("unlinkat" as fn(c_int, *const c_char, c_int) -> c_int);
    // SAFETY: arguments passed through.
    unsafe { named(Kind::Unlink, &[(dir, path)], || real(dir, path, flags)) }
}

/// rmdir(2)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    // SAFETY: argument passed through.
    unsafe {
        named(Kind::Unlink, &[(AT_FDCWD, path)], || {
            real!("rmdir" as fn(*const c_char) -> c_int)(path)
        })
    }
}

/// mkdir(2)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    let real = real!("mkdir" as fn(*const c_char, mode_t) -> c_int);
    // SAFETY: arguments passed through.
    unsafe { named(Kind::Mkdir, &[(AT_FDCWD, path)], || real(path, mode)) }
}

/// mkdirat(2)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdirat(dir: c_int, path: *const c_char, mode: mode_t) -> c_int {
    let real = real!("mkdirat" as fn(c_int, *const c_char, mode_t) -> c_int);
    // SAFETY: arguments passed through.
    unsafe { named(Kind::Mkdir, &[(dir, path)], || real(dir, path, mode)) }
}

/// link(2)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn link(from: *const c_char, to: *const c_char) -> c_int {
    let real = real!("link" as fn(*const c_char, *const c_char) -> c_int);
    // SAFETY: arguments passed through.
    unsafe {
        named(Kind::Link, &[(AT_FDCWD, from), (AT_FDCWD, to)], || {
            real(from, to)
        })
    }
}

/// linkat(2)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkat(
    d: c_int,
    from: *const c_char,
    e: c_int,
    to: *const c_char,
    flags: c_int,
) -> c_int {
    let real = real!("linkat" as fn(c_int, *const c_char, c_int, *const c_char, c_int) -> c_int);
    // SAFETY: arguments passed through.
    unsafe {
        named(Kind::Link, &[(d, from), (e, to)], || {
            real(d, from, e, to, flags)
        })
    }
}
