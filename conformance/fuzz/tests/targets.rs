//! Seeds are accepted, and a few thousand mutations of them make no parser panic.

use fuzz::TARGETS;
use fuzz::mutate::Chance;

/// Per target; `make fuzz` runs millions.
const MUTATIONS: u64 = 2_000;

#[test]
fn seeds_are_accepted_mended_or_not() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has no seed", target.name);
        for (number, seed) in seeds.iter().enumerate() {
            assert!(
                (target.run)(seed),
                "{}: seed {number} is refused",
                target.name
            );
            let mut mended = seed.clone();
            (target.mend)(&mut mended);
            assert_eq!(
                &mended, seed,
                "{}: seed {number} had nothing to mend",
                target.name
            );
        }
    }
}

#[test]
fn mutations_are_accepted_or_refused() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        let mut chance = Chance::new(7);
        let mut accepted = 0;
        for number in 0..MUTATIONS {
            let seed = &seeds[usize::try_from(number).expect("small") % seeds.len()];
            let mut bytes = chance.mutate(seed);
            if number % 8 != 0 {
                (target.mend)(&mut bytes);
            }
            accepted += u64::from((target.run)(&bytes));
        }
        assert!(
            accepted > 0,
            "{}: mutations never get past the front",
            target.name
        );
        assert!(
            accepted < MUTATIONS,
            "{}: everything is accepted",
            target.name
        );
    }
}

#[test]
fn names_are_unique() {
    let names: std::collections::BTreeSet<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names.len(), TARGETS.len());
}

#[test]
fn what_crashed_once_crashes_no_more() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut seen = 0;
    for target in TARGETS {
        let Ok(files) = std::fs::read_dir(folder.join(target.name)) else {
            continue;
        };
        for file in files {
            let bytes = std::fs::read(file.expect("entry").path()).expect("file");
            let _accepted = (target.run)(&bytes);
            seen += 1;
        }
    }
    assert!(seen > 0, "the regressions are found");
}
