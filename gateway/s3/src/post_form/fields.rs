//! A form's fields, and its file's name where they ask for it. Pure.

use super::multipart::{PREFIX_BYTES_MAX, too_much};
use s3s::{S3Result, s3_error};
use std::collections::BTreeMap;

/// Longest name of a file, without its path, bytes: no key is longer.
pub(crate) const FILENAME_BYTES_MAX: usize = 1024;
/// What fields say for it.
const FILENAME: &str = "${filename}";

/// Fields that say who signed, and when: they are judged as they came.
const SIGNS: [&str; 7] = [
    "awsaccesskeyid",
    "policy",
    "signature",
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-signature",
];

/// A form's text fields, by name in lower case, and the file's name.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    values: BTreeMap<String, String>,
    pub(super) filename: Option<String>,
}

impl Fields {
    /// # Errors
    /// `InvalidArgument` for a name that is there already: which one a policy meant is anyone's guess.
    pub(super) fn add(&mut self, name: &str, value: String) -> S3Result<()> {
        match self.values.insert(name.to_ascii_lowercase(), value) {
            None => Ok(()),
            Some(_twice) => Err(s3_error!(
                InvalidArgument,
                "The form field '{name}' is given twice"
            )),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.values.iter()
    }

    /// Puts the file's name, without its path, where fields ask for it; what signs stays as it is.
    /// Fields that ask often would multiply a long name: what is added is counted before it is made.
    ///
    /// # Errors
    /// `InvalidArgument` for a name longer than [`FILENAME_BYTES_MAX`];
    /// `MaxPostPreDataLengthExceededError` where names would take more than [`PREFIX_BYTES_MAX`].
    pub(super) fn name_file(&mut self) -> S3Result<()> {
        let path = self.filename.take().unwrap_or_default();
        let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
        if name.len() > FILENAME_BYTES_MAX {
            return Err(s3_error!(InvalidArgument, "The file's name is too long"));
        }
        let mut asking: Vec<_> = self
            .values
            .iter_mut()
            .filter(|(field, _)| !SIGNS.contains(&field.as_str()))
            .map(|(_, value)| value)
            .collect();
        let asked: usize = asking.iter().map(|v| v.matches(FILENAME).count()).sum();
        if asked.saturating_mul(name.len()) > PREFIX_BYTES_MAX {
            return Err(too_much());
        }
        for value in &mut asking {
            if value.contains(FILENAME) {
                **value = value.replace(FILENAME, name);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    pub(in crate::post_form) fn fields(list: &[(&str, &str)], filename: &str) -> Fields {
        let mut fields = Fields {
            filename: Some(filename.to_owned()),
            ..Fields::default()
        };
        for (name, value) in list {
            fields.add(name, (*value).to_owned()).expect("once");
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::testing::fields;
    use super::*;

    #[test]
    fn the_files_name_comes_without_its_path() {
        for (filename, key) in [
            ("foo.txt", "u/foo.txt"),
            (r"C:\docs\foo.txt", "u/foo.txt"),
            ("../../etc/passwd", "u/passwd"),
            ("", "u/"),
        ] {
            let mut form = fields(
                &[("key", "u/${filename}"), ("policy", "${filename}")],
                filename,
            );
            form.name_file().expect("short");
            assert_eq!(form.get("key"), Some(key), "{filename}");
            assert_eq!(form.get("policy"), Some("${filename}"));
        }
    }

    #[test]
    fn a_files_name_is_as_long_as_a_key_and_no_longer() {
        let named = |length: usize| {
            let path = format!(
                "{}/{}",
                "d".repeat(2 * FILENAME_BYTES_MAX),
                "f".repeat(length)
            );
            fields(&[("key", "${filename}")], &path).name_file().is_ok()
        };
        assert!(named(FILENAME_BYTES_MAX));
        assert!(!named(FILENAME_BYTES_MAX + 1));
    }

    #[test]
    fn a_files_name_is_put_in_to_the_limit_and_not_past_it() {
        let most = PREFIX_BYTES_MAX / FILENAME_BYTES_MAX;
        let name = "f".repeat(FILENAME_BYTES_MAX);
        for (key, other, code) in [
            (most - 1, 1, "ok"),
            (most, 1, "MaxPostPreDataLengthExceededError"),
            (11_000, 0, "MaxPostPreDataLengthExceededError"),
        ] {
            let (key, other) = (FILENAME.repeat(key), FILENAME.repeat(other));
            let mut form = fields(&[("key", &key), ("x-ignore-a", &other)], &name);
            let said = form.name_file();
            let said = said.map_or_else(|e| e.code().as_str().to_owned(), |()| "ok".to_owned());
            assert_eq!(said, code);
            let held: usize = form.values.values().map(String::len).sum();
            assert!(held <= key.len() + other.len() + PREFIX_BYTES_MAX);
        }
    }

    #[test]
    fn what_signs_is_judged_as_it_came() {
        for field in [
            "policy",
            "x-amz-credential",
            "x-amz-date",
            "x-amz-signature",
            "signature",
        ] {
            let mut form = fields(&[(field, FILENAME)], "f");
            form.name_file().expect("short");
            assert_eq!(form.get(field), Some(FILENAME), "{field}");
        }
    }
}
