//! Where what the settings name lies: what opens the drives outside of them, each port by itself.

use super::{Config, ConfigError};
use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};

impl Config {
    /// Each drive once, and what opens the drives on none of them: one stolen drive must tell
    /// nothing. Nor must the witness lie there, which would be lost with the drive whose loss it is
    /// to outlast.
    pub(super) fn apart(&self) -> Result<(), ConfigError> {
        let drives: Vec<(&PathBuf, PathBuf)> = self.drives.iter().map(|d| (d, real(d))).collect();
        let mut seen = std::collections::BTreeSet::new();
        if let Some((twice, _)) = drives.iter().find(|(_, real)| !seen.insert(real)) {
            let text = format!("{} is named twice", twice.display());
            return Err(ConfigError::new("drives", text));
        }
        let files = [
            ("credentials_file", Some(&self.credentials_file)),
            ("key_file", self.key_file.as_ref()),
            ("passphrase_file", self.passphrase_file.as_ref()),
        ];
        for (name, file) in files {
            let Some(file) = file.map(|file| real(file)) else {
                continue;
            };
            if let Some((drive, _)) = drives.iter().find(|(_, d)| file.starts_with(d)) {
                let text = format!("must lie outside the drive {}", drive.display());
                return Err(ConfigError::new(name, text));
            }
        }
        let witness = real(&self.witness_path());
        let overlaps = |drive: &Path| witness.starts_with(drive) || drive.starts_with(&witness);
        if let Some((drive, _)) = drives.iter().find(|(_, drive)| overlaps(drive)) {
            return Err(ConfigError::new(
                "witness_dir",
                format!(
                    "{} and the drive {} must lie outside each other",
                    self.witness_path().display(),
                    drive.display()
                ),
            ));
        }
        Ok(())
    }

    /// Two listeners cannot have one port.
    pub(super) fn ports(&self) -> Result<(), ConfigError> {
        let (s3, admin) = (self.listen, self.admin_listen);
        let any = |one: SocketAddr, other: SocketAddr| match one.ip() {
            IpAddr::V4(ip) => ip.is_unspecified() && other.is_ipv4(),
            // Takes IPv4 as well.
            IpAddr::V6(ip) => ip.is_unspecified(),
        };
        let same = s3.ip() == admin.ip() || any(s3, admin) || any(admin, s3);
        if s3.port() == admin.port() && s3.port() != 0 && same {
            let text = format!("{admin} is the port of `listen` ({s3})");
            return Err(ConfigError::new("admin_listen", text));
        }
        Ok(())
    }
}

/// Where a path leads: links followed and `..` resolved as far as there is something, the rest as it
/// is written. The last of it may have to be made yet.
fn real(path: &Path) -> PathBuf {
    // Without a working directory nothing relative can be opened either.
    let path = std::path::absolute(path).unwrap_or_else(|_gone| path.to_path_buf());
    let mut real = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                real.pop();
            }
            part => real.push(part),
        }
        if let Ok(there) = real.canonicalize() {
            real = there;
        }
    }
    real
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// The setting that is refused, of a key, a credentials file, a witness and a drive at `place`.
    fn refused(drive: &Path, place: &Path) -> Vec<String> {
        let apart = Config {
            drives: vec![drive.into()],
            key_file: Some("/elsewhere/key".into()),
            credentials_file: "/elsewhere/credentials".into(),
            ..Config::default()
        };
        assert!(apart.validate().is_ok());
        let at = |change: &dyn Fn(&mut Config)| {
            let mut config = apart.clone();
            change(&mut config);
            config.validate().err().map(|error| error.setting)
        };
        let all = [
            at(&|c| c.key_file = Some(place.join("key"))),
            at(&|c| c.credentials_file = place.join("credentials")),
            at(&|c| c.witness_dir = Some(place.to_owned())),
            at(&|c| c.drives.push(place.to_owned())),
        ];
        all.into_iter().flatten().collect()
    }

    #[test]
    fn a_drive_is_known_however_its_path_is_written() {
        let dir = tempfile::tempdir().expect("tempdir");
        let at = dir.path().canonicalize().expect("there");
        let (drive, link) = (at.join("d1"), at.join("link"));
        std::fs::create_dir(&drive).expect("made");
        symlink(&drive, &link).expect("linked");
        let here = std::env::current_dir().expect("working directory");
        let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
        let relative = up.join(drive.strip_prefix("/").expect("absolute"));
        let writings = [
            drive.clone(),
            at.join("absent/../d1"),
            at.join("link/../d1"),
            at.join("d1/."),
            link.clone(),
            relative,
        ];
        let all = ["key_file", "credentials_file", "witness_dir", "drives"];
        for one in &writings {
            assert_eq!(refused(&drive, one), all, "{}", one.display());
            assert_eq!(refused(one, &drive), all, "{}", one.display());
        }
        assert_eq!(
            refused(&link, &at.join("d10")),
            [""; 0],
            "its name begins alike"
        );
        assert_eq!(refused(&drive, &at.join("d1/../d2")), [""; 0]);
    }

    #[test]
    fn a_drive_that_is_not_mounted_yet_is_known_too() {
        let dir = tempfile::tempdir().expect("tempdir");
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        std::fs::create_dir(&real).expect("made");
        symlink(&real, &link).expect("linked");
        let all = ["key_file", "credentials_file", "witness_dir", "drives"];
        assert_eq!(refused(&real.join("d1"), &link.join("d1")), all);
    }
}
