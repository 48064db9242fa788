//! Every parser of foreign bytes behind one interface: bytes in, accepted or refused, no panic.
//!
//! Foreign is what a client sends, and what lies on a drive: anybody may have written there. A target
//! also asserts what an accepted input promises (it encodes to the same value; pieces parse as the
//! whole does). `mend` recomputes checksums and lengths after a mutation: without it nothing behind a
//! checksum would ever be reached.
//!
//! `make fuzz` drives the targets by libFuzzer, guided by coverage, on the stable toolchain;
//! `tests/targets.rs` runs seeds and a few thousand mutations of them in `cargo test`.

mod drive;
mod formats;
mod log;
mod meta;
mod requests;
// What it compiles in brings tests along, and they other dependencies: not in test builds of this crate.
#[cfg(not(test))]
mod settings;

pub mod mend;
pub mod mutate;

/// One parser.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Names it on the command line and in the corpus.
    pub name: &'static str,
    /// Parses; whether the bytes were accepted. A panic is a finding.
    pub run: fn(&[u8]) -> bool,
    /// Inputs that are accepted.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Makes sums and lengths right again.
    pub mend: fn(&mut [u8]),
}

/// Longest input libFuzzer makes, bytes.
pub const INPUT_BYTES_MAX: usize = 16 << 10;

/// All of them.
pub const TARGETS: &[Target] = &[
    target(
        "shard-header",
        formats::shard_header,
        formats::shard_headers,
        mend::frame,
    ),
    target(
        "segment-header",
        formats::segment_header,
        formats::segment_headers,
        mend::frame,
    ),
    target(
        "segment-footer",
        formats::segment_footer,
        formats::segment_footers,
        mend::frame,
    ),
    target(
        "segment-trailer",
        formats::segment_trailer,
        formats::segment_trailers,
        mend::frame,
    ),
    target("drive-mark", formats::mark, formats::marks, mend::mark),
    target(
        "keyring",
        formats::keyring,
        formats::keyrings,
        mend::keyring,
    ),
    target("segment", drive::segment, drive::segments, mend::segment),
    target("frees", drive::frees, drive::free_logs, mend::frees),
    target("small-files", drive::small, drive::smalls, mend::small),
    target("log", log::log, log::logs, mend::log),
    target("log-entry", log::entry, log::entries, mend::nothing),
    target("snapshot", log::snapshot, log::snapshots, mend::snapshot),
    target("command", meta::command, meta::commands, mend::nothing),
    target("row", meta::row, meta::rows, mend::nothing),
    target("row-key", meta::row_key, meta::row_keys, mend::nothing),
    target(
        "policy",
        requests::policy,
        requests::policies,
        mend::nothing,
    ),
    target("form", requests::form, requests::forms, mend::nothing),
    target(
        "form-policy",
        requests::form_policy,
        requests::form_policies,
        mend::nothing,
    ),
    target("head", requests::head, requests::heads, mend::nothing),
    target(
        "chunked",
        requests::chunked,
        requests::chunked_seeds,
        mend::nothing,
    ),
    target(
        "values",
        requests::values,
        requests::value_seeds,
        mend::nothing,
    ),
    target(
        "documents",
        requests::documents,
        requests::document_seeds,
        mend::nothing,
    ),
    target(
        "bodies",
        requests::body,
        requests::body_seeds,
        mend::nothing,
    ),
    target("ids", requests::ids, requests::id_seeds, mend::nothing),
    #[cfg(not(test))]
    target(
        "admin-signature",
        settings::admin_head,
        settings::admin_heads,
        mend::nothing,
    ),
    #[cfg(not(test))]
    target(
        "admin-json",
        settings::admin_json,
        settings::admin_jsons,
        mend::nothing,
    ),
    #[cfg(not(test))]
    target("config", settings::config, settings::configs, mend::nothing),
];

const fn target(
    name: &'static str,
    run: fn(&[u8]) -> bool,
    seeds: fn() -> Vec<Vec<u8>>,
    mend: fn(&mut [u8]),
) -> Target {
    Target {
        name,
        run,
        seeds,
        mend,
    }
}

/// By name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
