//! libFuzzer over one target, named by `FUZZ_TARGET`; `FUZZ_SEEDS=DIR` writes all seeds and ends.
#![no_main]
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a tool of tests: it may end at once"
)]

use fuzz::{INPUT_BYTES_MAX, TARGETS, Target, find};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use std::path::Path;
use std::sync::OnceLock;

/// One mutation in so many keeps its wrong sums: that they are checked must be seen too.
const UNMENDED_ONE_IN: u32 = 8;

fn chosen() -> &'static Target {
    static CHOSEN: OnceLock<&Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
        find(&name).unwrap_or_else(|| panic!("no target {name}"))
    })
}

/// Before libFuzzer has begun, which takes an exit for a finding.
fn seeds_if_asked() {
    let Ok(folder) = std::env::var("FUZZ_SEEDS") else {
        return;
    };
    for target in TARGETS {
        let folder = Path::new(&folder).join(target.name);
        std::fs::create_dir_all(&folder).expect("folder");
        for (number, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed).expect("seed");
        }
    }
    std::process::exit(0);
}

fuzz_target!(init: seeds_if_asked(), |bytes: &[u8]| {
    let _accepted = (chosen().run)(bytes);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size.min(INPUT_BYTES_MAX));
    if !seed.is_multiple_of(UNMENDED_ONE_IN) {
        (chosen().mend)(&mut data[..size]);
    }
    size
});
