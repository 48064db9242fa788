//! The policy of a form: what its signer lets whoever submits it do. Pure.
//!
//! Source: "Creating a POST policy" in the S3 API reference. Every field must be named by a condition,
//! but for those that sign, `x-ignore-…`, and checksums, which can only make the upload stricter.

use super::Fields;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use s3s::{S3Error, S3Result, s3_error};
use serde_json::Value;

/// A parsed policy.
#[derive(Debug)]
pub(super) struct Policy {
    expiration: Timestamp,
    conditions: Vec<Condition>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Condition {
    /// Field in lower case.
    Equal(String, String),
    StartsWith(String, String),
    Length(u64, u64),
}

fn invalid(what: &str) -> S3Error {
    s3_error!(InvalidPolicyDocument, "Invalid Policy: {what}")
}

fn failed(what: &str) -> S3Error {
    s3_error!(AccessDenied, "Invalid according to Policy: {what}")
}

impl Policy {
    /// From the form's `policy` field.
    ///
    /// # Errors
    /// `InvalidPolicyDocument`.
    pub(super) fn parse(encoded: &str) -> S3Result<Self> {
        let json = STANDARD
            .decode(encoded)
            .map_err(|_error| invalid("not base64"))?;
        let json: Value =
            serde_json::from_slice(&json).map_err(|_error| invalid("Invalid JSON."))?;
        let Value::Object(members) = json else {
            return Err(invalid("Invalid JSON."));
        };
        let (mut expiration, mut conditions) = (None, None);
        for (name, value) in members {
            match (name.as_str(), value) {
                ("expiration", Value::String(text)) => expiration = Some(parse_expiration(&text)?),
                ("conditions", Value::Array(list)) => conditions = Some(parse_conditions(&list)?),
                (name, _) => return Err(invalid(&format!("Unexpected: '{name}'"))),
            }
        }
        Ok(Self {
            expiration: expiration.ok_or_else(|| invalid("Policy missing expiration."))?,
            conditions: conditions.ok_or_else(|| invalid("Policy missing conditions."))?,
        })
    }

    /// Holds the form against the policy; `length`: the file's.
    ///
    /// # Errors
    /// `AccessDenied`, `EntityTooLarge`, `EntityTooSmall`.
    pub(super) fn check(
        &self,
        fields: &Fields,
        bucket: &str,
        length: u64,
        now: Timestamp,
    ) -> S3Result<()> {
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-form-policy") {
            return Ok(());
        }
        if now >= self.expiration {
            return Err(failed("Policy expired."));
        }
        for condition in &self.conditions {
            condition.check(fields, bucket, length)?;
        }
        // A policy without a bucket would be good for every bucket of its signer.
        for name in std::iter::once("bucket").chain(fields.names()) {
            if !is_free(name) && !self.conditions.iter().any(|c| c.field() == Some(name)) {
                return Err(failed(&format!("Extra input fields: {name}")));
            }
        }
        Ok(())
    }
}

/// Needs no condition.
fn is_free(field: &str) -> bool {
    matches!(
        field,
        "x-amz-signature" | "signature" | "awsaccesskeyid" | "policy" | "file"
    ) || field.starts_with("x-ignore-")
        || field.starts_with("x-amz-checksum-")
}

/// As AWS writes it, `2007-12-01T12:00:00.000Z`, and nothing looser.
fn parse_expiration(text: &str) -> S3Result<Timestamp> {
    let wrong = || invalid(&format!("Invalid 'expiration' value: '{text}'"));
    let bytes = text.as_bytes();
    if bytes.get(10) != Some(&b'T') || bytes.last() != Some(&b'Z') {
        return Err(wrong());
    }
    text.parse().map_err(|_error| wrong())
}

fn parse_conditions(list: &[Value]) -> S3Result<Vec<Condition>> {
    let mut conditions = Vec::new();
    for value in list {
        match value {
            Value::Object(members) if !members.is_empty() => {
                for (name, value) in members {
                    let value = value
                        .as_str()
                        .ok_or_else(|| invalid("Invalid Simple-Condition: value"))?;
                    conditions.push(Condition::Equal(
                        name.to_ascii_lowercase(),
                        value.to_owned(),
                    ));
                }
            }
            Value::Array(items) => conditions.push(parse_triple(items)?),
            _ => {
                return Err(invalid(
                    "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
                ));
            }
        }
    }
    Ok(conditions)
}

fn parse_triple(items: &[Value]) -> S3Result<Condition> {
    let [operator, second, third] = items else {
        return Err(invalid("Invalid Condition: wrong number of arguments"));
    };
    let operator = operator.as_str().unwrap_or_default().to_ascii_lowercase();
    if operator == "content-length-range" {
        let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
        return match (number(second), number(third)) {
            (Some(least), Some(most)) if least <= most => Ok(Condition::Length(least, most)),
            _ => Err(invalid(
                "Invalid content-length-range: integers, the least first",
            )),
        };
    }
    let field = second.as_str().and_then(|text| text.strip_prefix('$'));
    let (Some(field), Some(value)) = (field, third.as_str()) else {
        return Err(invalid("Invalid Condition: a field ($name) and a text"));
    };
    let (field, value) = (field.to_ascii_lowercase(), value.to_owned());
    match operator.as_str() {
        "eq" => Ok(Condition::Equal(field, value)),
        "starts-with" => Ok(Condition::StartsWith(field, value)),
        _ => Err(invalid("Invalid Condition: unknown operation")),
    }
}

impl Condition {
    fn field(&self) -> Option<&str> {
        match self {
            Self::Equal(field, _) | Self::StartsWith(field, _) => Some(field),
            Self::Length(..) => None,
        }
    }

    fn check(&self, fields: &Fields, bucket: &str, length: u64) -> S3Result<()> {
        // The bucket is the URL's; a field of that name can only agree.
        let value = |field: &str| match (field, fields.get(field)) {
            ("bucket", None) => Some(bucket),
            ("bucket", Some(said)) if said == bucket => Some(bucket),
            ("bucket", Some(_)) => None,
            (_, said) => said,
        };
        match self {
            Self::Equal(field, expected) if value(field) != Some(expected) => Err(failed(
                &format!("Policy Condition failed: [\"eq\", \"${field}\", \"{expected}\"]"),
            )),
            Self::StartsWith(field, prefix) if !starts_with(field, value(field), prefix) => {
                Err(failed(&format!(
                    "Policy Condition failed: [\"starts-with\", \"${field}\", \"{prefix}\"]"
                )))
            }
            Self::Length(_, most) if length > *most => Err(s3_error!(
                EntityTooLarge,
                "Your proposed upload exceeds the maximum allowed size"
            )),
            Self::Length(least, _) if length < *least => Err(s3_error!(
                EntityTooSmall,
                "Your proposed upload is smaller than the minimum allowed size"
            )),
            Self::Equal(..) | Self::StartsWith(..) | Self::Length(..) => Ok(()),
        }
    }
}

/// Each of several content types must begin so; what is absent begins with nothing.
fn starts_with(field: &str, value: Option<&str>, prefix: &str) -> bool {
    let value = value.unwrap_or_default();
    if field == "bucket" && value.is_empty() {
        return false;
    }
    if field == "content-type" {
        return value.split(',').all(|one| one.trim().starts_with(prefix));
    }
    value.starts_with(prefix)
}

#[cfg(test)]
mod tests;
