//! Who depends on whom, as cargo tells it.

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// A package of the workspace.
#[derive(Clone, Debug, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// What its manifest asks for.
    pub dependencies: Vec<Dependency>,
    /// Path of its manifest.
    pub manifest_path: String,
}

/// One line of a manifest.
#[derive(Clone, Debug, Deserialize)]
pub struct Dependency {
    /// Package name.
    pub name: String,
    /// None: of the product; `dev` or `build` else.
    pub kind: Option<String>,
    /// `cfg(…)` where it is only for such builds.
    pub target: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

fn cargo(words: &[&str]) -> Result<String, String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(program)
        .args(words)
        .current_dir(crate::tree::root())
        .output()
        .map_err(|e| format!("cargo {words:?}: {e}"))?;
    if !done.status.success() {
        return Err(format!(
            "cargo {words:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        ));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Of this machine's platform alone: what others need was never brought here.
fn metadata(words: &[&str]) -> Result<Vec<Package>, String> {
    let about = cargo(&["-vV"])?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or("cargo does not say what it runs on")?;
    let fixed = ["metadata", "--format-version", "1", "--offline"];
    let all = [&fixed[..], &["--filter-platform", host], words].concat();
    let parsed: Metadata = serde_json::from_str(&cargo(&all)?).map_err(|e| e.to_string())?;
    Ok(parsed.packages)
}

/// The workspace's own packages.
///
/// # Errors
/// What cargo said.
pub fn workspace() -> Result<Vec<Package>, String> {
    metadata(&["--no-deps"])
}

/// Folder of a dependency's source, wherever cargo keeps it.
///
/// # Errors
/// What cargo said, or that there is no such package.
pub fn source_of(name: &str) -> Result<std::path::PathBuf, String> {
    let found = metadata(&[])?.into_iter().find(|p| p.name == name);
    let manifest = found
        .ok_or_else(|| format!("no package {name}"))?
        .manifest_path;
    let folder = std::path::Path::new(&manifest)
        .parent()
        .map(std::path::Path::to_path_buf);
    folder.ok_or_else(|| format!("{manifest} has no folder"))
}

impl Package {
    /// Names of what the product part asks for: no dev, no build, nothing of sabotage builds.
    pub fn direct(&self) -> BTreeSet<&str> {
        let product =
            |d: &&Dependency| d.kind.is_none() && d.target.as_deref() != Some("cfg(sabotage)");
        self.dependencies
            .iter()
            .filter(product)
            .map(|d| d.name.as_str())
            .collect()
    }
}

/// All packages that `package` pulls in for the product, itself apart; by name, with one way there.
///
/// # Errors
/// What cargo said.
pub fn closure(package: &str) -> Result<BTreeMap<String, String>, String> {
    let text = cargo(&[
        "tree",
        "--offline",
        "-p",
        package,
        "-e",
        "normal",
        "--prefix",
        "depth",
        "--format",
        " {p}",
    ])?;
    let mut way: Vec<String> = Vec::new();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(depth), Some(name)) = (words.next(), words.next()) else {
            continue;
        };
        let depth: usize = depth
            .parse()
            .map_err(|e| format!("cargo tree said {line:?}: {e}"))?;
        way.truncate(depth);
        way.push(name.to_owned());
        if depth > 0 {
            found
                .entry(name.to_owned())
                .or_insert_with(|| way.join(" → "));
        }
    }
    Ok(found)
}
