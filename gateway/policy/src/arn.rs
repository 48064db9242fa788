//! Patterns over ARNs.
//!
//! Six fields separated by colons, compared one by one, so that `*` in the region cannot swallow
//! the account. The last field is the rest, colons included: object keys may contain them.

use crate::pattern::{Syntax, Template, Unresolved};
use crate::request::Context;

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ArnPattern {
    /// `*`.
    All,
    Fields(Box<[Template; ARN_FIELDS]>),
    /// A variable stands for the whole ARN (`${aws:PrincipalArn}`).
    Whole(Template),
}

pub(crate) const ARN_FIELDS: usize = 6;

/// Splits text like `arn:aws:s3:::bucket/key`; missing fields are not made up.
fn arn_fields(text: &str) -> Vec<&str> {
    text.splitn(ARN_FIELDS, ':').collect()
}

/// The same for a pattern, whose variables have colons of their own: `arn:aws:iam::${aws:x}:y` has
/// six fields.
fn fields_around_variables(text: &str) -> Vec<&str> {
    let mut fields = Vec::with_capacity(ARN_FIELDS);
    let (mut start, mut inside) = (0, false);
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if text[..place].ends_with('$') => inside = true,
            b'}' => inside = false,
            b':' if !inside && fields.len() + 1 < ARN_FIELDS => {
                fields.push(&text[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    fields.push(&text[start..]);
    fields
}

impl ArnPattern {
    /// A `Resource` element. A short ARN is completed with `*`, as AWS does; variables may stand
    /// only in the last field.
    pub(crate) fn resource(text: &str, variables: bool) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::All);
        }
        let fields = arn_fields(text);
        if fields[0] != "arn" || fields.len() < 3 {
            return Err("Resource must be in ARN format or \"*\"".into());
        }
        let (last, early) = (
            fields.get(ARN_FIELDS - 1),
            fields.iter().take(ARN_FIELDS - 1),
        );
        if variables && early.clone().any(|field| field.contains("${")) {
            return Err("a policy variable may stand only in the last field of an ARN".into());
        }
        let plain = Syntax {
            wildcards: true,
            variables: false,
        };
        let mut templates = Vec::with_capacity(ARN_FIELDS);
        for field in early {
            templates.push(Template::parse(field, plain)?);
        }
        if let Some(last) = last {
            templates.push(Template::parse(
                last,
                Syntax {
                    wildcards: true,
                    variables,
                },
            )?);
        }
        templates.resize(ARN_FIELDS, Template::any());
        Ok(Self::from_fields(templates))
    }

    /// A value of an ARN condition operator.
    pub(crate) fn condition(text: &str, variables: bool) -> Result<Self, String> {
        let syntax = Syntax {
            wildcards: true,
            variables,
        };
        let whole = Template::parse(text, syntax)?;
        if whole.is_any() {
            return Ok(Self::All);
        }
        let split = if variables {
            fields_around_variables
        } else {
            arn_fields
        };
        let fields = split(text);
        if fields.len() == 1 && whole.has_variables() {
            return Ok(Self::Whole(whole));
        }
        if fields.len() < ARN_FIELDS {
            return Err("an ARN has six fields separated by colons".into());
        }
        let templates: Result<Vec<_>, _> = fields
            .iter()
            .map(|field| Template::parse(field, syntax))
            .collect();
        Ok(Self::from_fields(templates?))
    }

    fn from_fields(templates: Vec<Template>) -> Self {
        match <[Template; ARN_FIELDS]>::try_from(templates) {
            Ok(fields) => Self::Fields(Box::new(fields)),
            // Unreachable: both callers pass six. A pattern without tokens matches no ARN.
            Err(_) => Self::Whole(Template::empty()),
        }
    }

    pub(crate) fn matches(&self, arn: &str, context: &Context) -> Result<bool, Unresolved> {
        match self {
            Self::All => Ok(true),
            Self::Whole(template) => template.matches(arn, context),
            Self::Fields(templates) => {
                let fields = arn_fields(arn);
                if fields.len() != ARN_FIELDS {
                    return Ok(false);
                }
                for (template, field) in templates.iter().zip(fields) {
                    if !template.matches(field, context)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    /// A plain string pattern read as an ARN's: only what stands before its first wildcard, since
    /// a `*` there may swallow colons.
    pub(crate) fn of_text(template: &Template) -> Option<Self> {
        Self::condition(template.literal_start(), false).ok()
    }

    pub(crate) fn is_fixed(&self) -> bool {
        match self {
            Self::All | Self::Whole(_) => false,
            Self::Fields(templates) => templates.iter().all(Template::is_fixed),
        }
    }

    /// The account field, where it is fixed and not empty.
    pub(crate) fn fixed_account(&self) -> bool {
        match self {
            Self::All | Self::Whole(_) => false,
            Self::Fields(templates) => templates[4].is_fixed() && templates[4] != Template::empty(),
        }
    }

    /// The last field, if the fields before it can be those of an S3 ARN.
    fn s3_last(&self) -> Option<&Template> {
        let Self::Fields(templates) = self else {
            return None;
        };
        let head = ["arn", "aws", "s3", "", ""];
        let fits = templates
            .iter()
            .zip(head)
            .all(|(template, field)| template.could_match(field));
        fits.then_some(&templates[ARN_FIELDS - 1])
    }

    /// Could it match the bucket's own ARN?
    pub(crate) fn covers_bucket(&self, bucket: &str) -> bool {
        matches!(self, Self::All) || self.s3_last().is_some_and(|last| last.could_match(bucket))
    }

    /// Could it match the ARN of some object in the bucket?
    pub(crate) fn covers_objects(&self, bucket: &str) -> bool {
        let prefix = format!("{bucket}/");
        matches!(self, Self::All)
            || self
                .s3_last()
                .is_some_and(|last| last.could_match_start(&prefix))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn arns_field_by_field() {
        let context = Context::default();
        let matches = |pattern: &str, arn: &str| {
            ArnPattern::resource(pattern, true)
                .unwrap()
                .matches(arn, &context)
                .unwrap()
        };
        assert!(matches("arn:aws:s3:::b/*", "arn:aws:s3:::b/x:y/z"));
        assert!(matches("arn:aws:s3", "arn:aws:s3:::b"));
        assert!(matches("*", "arn:aws:s3:::b"));
        assert!(!matches("arn:aws:s3:::B", "arn:aws:s3:::b"));
        assert!(!matches("arn:aws:sns:*:b", "arn:aws:sns:eu:1:b"));
        assert!(!matches("arn:aws:s3:::b/*", "b/x"));
        assert!(ArnPattern::resource("bucket/*", true).is_err());
        assert!(ArnPattern::resource("arn:aws:s3::${aws:username}:b", true).is_err());
        assert!(ArnPattern::resource("arn:aws:s3::${aws:username}:b", false).is_ok());
        assert!(ArnPattern::condition("arn:aws:s3:::*", true).is_ok());
        assert!(ArnPattern::condition("arn:aws:s3*", true).is_err());
        let mut named = Context::default();
        named.add("aws:PrincipalAccount", "1:2");
        named.add("aws:PrincipalTag/a", "1");
        let role = |text, context| {
            ArnPattern::condition(text, true)
                .unwrap()
                .matches("arn:aws:iam::1:role/x", context)
        };
        assert_eq!(
            role("arn:aws:iam::${aws:PrincipalTag/a}:role/*", &named),
            Ok(true)
        );
        assert_eq!(
            role("arn:aws:iam::${aws:PrincipalAccount}:role/*", &named),
            Ok(false)
        );
        assert_eq!(role("arn:aws:sts::${aws:none}:role/*", &named), Ok(false));
        assert!(ArnPattern::condition("arn:${aws:PrincipalAccount}", true).is_err());
        let whole = ArnPattern::condition("${aws:PrincipalArn}", true).unwrap();
        assert_eq!(whole.matches("arn:aws:s3:::b", &context), Err(Unresolved));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in any::<String>(), near in "(arn|a|:|\\$\\{|\\}|\\*|s3|b/){0,14}") {
            for text in [text, near] {
                let parsed =
                    [ArnPattern::resource(&text, true), ArnPattern::condition(&text, true)];
                for pattern in parsed.into_iter().flatten() {
                    let own = pattern.matches(&text, &Context::default());
                    prop_assert!(own.is_ok() || text.contains('$'));
                    // Whatever can name the bucket names it or waits for a variable.
                    let named = pattern.matches("arn:aws:s3:::b", &Context::default());
                    prop_assert!(pattern.covers_bucket("b") || named != Ok(true));
                }
            }
        }
    }
}
