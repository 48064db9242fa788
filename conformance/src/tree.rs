//! The files of the repository, as text.

use std::path::{Path, PathBuf};

/// What is made, not written: never read.
const MADE: [&str; 7] = [
    "target",
    ".git",
    ".cache",
    ".run",
    "node_modules",
    "__pycache__",
    "dist",
];

/// One file: its path from the root with `/`, and its text.
#[derive(Clone, Debug)]
pub struct File {
    /// From the root, `/` between names.
    pub path: String,
    /// All of it; what is not UTF-8 is replaced.
    pub text: String,
}

/// The repository's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Every file under the root whose name ends in one of `endings`, by path. What cannot be read is
/// left out: others may be writing beside us.
pub fn files(endings: &[&str]) -> Vec<File> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !MADE.contains(&name.as_str()) => folders.push(path),
                Ok(kind) if kind.is_file() && endings.iter().any(|e| name.ends_with(e)) => {
                    found.extend(read(&root, &path));
                }
                _ => {}
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn read(root: &Path, path: &Path) -> Option<File> {
    let bytes = std::fs::read(path).ok()?;
    let path = path
        .strip_prefix(root)
        .ok()?
        .to_string_lossy()
        .replace('\\', "/");
    Some(File {
        path,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    })
}

/// Is the whole file a test (`tests.rs`, below `tests/` or `benches/`)?
pub fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.contains("/benches/")
}

/// (what ships, what tests): a file is cut where its test module begins.
pub fn split_tests(file: &File) -> (&str, &str) {
    if is_test_file(&file.path) {
        return ("", &file.text);
    }
    let begins = file.text.match_indices("#[cfg(test)]").find(|(at, _)| {
        let rest = file.text[at + "#[cfg(test)]".len()..].trim_start();
        rest.split(['{', ';'])
            .next()
            .is_some_and(|item| item.contains("mod "))
            && rest.contains('{')
    });
    file.text
        .split_at(begins.map_or(file.text.len(), |(at, _)| at))
}

/// Line numbers (from 1) and lines of `text` without comments that fill a line.
pub fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(i, l)| (i + 1, l))
        .filter(|(_, l)| !l.trim_start().starts_with("//"))
}
