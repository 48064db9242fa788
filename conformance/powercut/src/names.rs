//! The directory tree as a disk may hold it.
//!
//! Stricter than ext4: a file's fsync does not bring its name. Names become durable by an fsync of
//! their directory, with whatever they depend on; of the rest a cut keeps a prefix (journals keep
//! their order).

use rand::Rng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;

/// What a name leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Node {
    /// A file, by its handle in the model.
    File(usize),
    /// A directory.
    Directory,
}

/// A change of names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Naming {
    Make(String, Node),
    Rename(String, String),
    Link(String, String),
    Remove(String),
}

impl Naming {
    fn paths(&self) -> [&str; 2] {
        match self {
            Self::Make(path, _) | Self::Remove(path) => [path, path],
            Self::Rename(from, to) | Self::Link(from, to) => [from, to],
        }
    }

    fn touches(&self, directory: &str) -> bool {
        self.paths().iter().any(|p| parent(p) == directory)
    }

    /// Must `self` have happened before `later` can have?
    fn carries(&self, later: &Self) -> bool {
        let within = |a: &str, b: &str| {
            a == b || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'))
        };
        self.paths()
            .iter()
            .any(|a| later.paths().iter().any(|b| within(a, b) || within(b, a)))
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

type Tree = BTreeMap<String, Node>;

/// The tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    durable: Tree,
    pending: Vec<Naming>,
    settled: u64,
    marks: BTreeMap<u32, u64>,
}

fn apply(tree: &mut Tree, naming: &Naming) {
    match naming {
        Naming::Make(path, node) => {
            tree.insert(path.clone(), *node);
        }
        Naming::Remove(path) => {
            tree.remove(path);
        }
        Naming::Link(from, to) => {
            if let Some(node) = tree.get(from).copied() {
                tree.insert(to.clone(), node);
            }
        }
        Naming::Rename(from, to) => {
            let below = format!("{from}/");
            let moved: Vec<String> = tree
                .keys()
                .filter(|k| *k == from || k.starts_with(&below))
                .cloned()
                .collect();
            for old in moved {
                if let Some(node) = tree.remove(&old) {
                    tree.insert(format!("{to}{}", &old[from.len()..]), node);
                }
            }
        }
    }
}

impl Names {
    pub(crate) fn change(&mut self, naming: Naming) {
        self.pending.push(naming);
    }

    pub(crate) fn sync_begins(&mut self, thread: u32) {
        self.marks
            .insert(thread, self.settled + self.pending.len() as u64);
    }

    pub(crate) fn sync_ended(&mut self, thread: u32, directory: &str) {
        let Some(mark) = self.marks.remove(&thread) else {
            return;
        };
        let before = usize::try_from(mark.saturating_sub(self.settled))
            .unwrap_or(0)
            .min(self.pending.len());
        let mut goes = vec![false; self.pending.len()];
        for index in (0..before).rev() {
            let needed = (index + 1..before)
                .any(|later| goes[later] && self.pending[index].carries(&self.pending[later]));
            goes[index] = needed || self.pending[index].touches(directory);
        }
        let mut left = Vec::new();
        for (naming, goes) in std::mem::take(&mut self.pending).into_iter().zip(goes) {
            if goes {
                apply(&mut self.durable, &naming);
                self.settled += 1;
            } else {
                left.push(naming);
            }
        }
        self.pending = left;
    }

    /// The tree as a cut may leave it, and how many changes of names it lost.
    pub(crate) fn cut(&self, random: &mut StdRng) -> (Tree, u64) {
        let mut tree = self.durable.clone();
        let keep = match random.random_range(0..3) {
            0 => 0,
            1 => self.pending.len(),
            _ => random.random_range(0..=self.pending.len()),
        };
        self.pending
            .iter()
            .take(keep)
            .for_each(|naming| apply(&mut tree, naming));
        (tree, (self.pending.len() - keep) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn make(path: &str, handle: usize) -> Naming {
        Naming::Make(path.into(), Node::File(handle))
    }

    #[test]
    fn a_name_is_durable_after_its_directory_was_synced() {
        let mut names = Names::default();
        names.change(make("/d/a.tmp", 1));
        names.change(Naming::Rename("/d/a.tmp".into(), "/d/a".into()));
        names.sync_begins(1);
        names.change(make("/d/b", 2));
        names.sync_ended(1, "/d");
        let mut lost = false;
        for seed in 0..32 {
            let (tree, _) = names.cut(&mut StdRng::seed_from_u64(seed));
            assert_eq!(tree.get("/d/a"), Some(&Node::File(1)));
            assert!(!tree.contains_key("/d/a.tmp"));
            lost |= !tree.contains_key("/d/b");
        }
        assert!(lost);
    }

    #[test]
    fn a_synced_rename_brings_what_it_depends_on() {
        let mut names = Names::default();
        names.change(make("/x/a", 1));
        names.change(make("/x/other", 2));
        names.change(Naming::Rename("/x/a".into(), "/y/a".into()));
        names.sync_begins(1);
        names.sync_ended(1, "/y");
        assert_eq!(names.durable.get("/y/a"), Some(&Node::File(1)));
        assert_eq!(names.pending.len(), 1);
    }

    #[test]
    fn renaming_a_directory_moves_what_is_below() {
        let mut tree = Tree::from([
            ("/d".into(), Node::Directory),
            ("/d/a".into(), Node::File(1)),
            ("/dx".into(), Node::File(2)),
        ]);
        apply(&mut tree, &Naming::Rename("/d".into(), "/e".into()));
        assert_eq!(tree.keys().collect::<Vec<_>>(), ["/dx", "/e", "/e/a"]);
    }
}
