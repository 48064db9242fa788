//! Policy documents: what is accepted, and the parsed form.
//!
//! One grammar, four modes ([`Mode`]): what a policy may contain depends on what it is attached
//! to. Everything that could fail is refused here, with its place; evaluation cannot fail.

mod statement;

use crate::arn::ArnPattern;
use crate::condition::Condition;
use crate::error::{At, PolicyError};
use crate::json::Json;
use crate::pattern::Template;
use crate::principal::{Named, PrincipalRule};
use statement::Parser;

/// Longest bucket policy, in bytes as sent.
pub const BUCKET_POLICY_BYTES_MAX: usize = 20 * 1024;
/// Longest managed policy, in characters that are not white space.
pub const MANAGED_POLICY_CHARS_MAX: usize = 6_144;
/// All inline policies of a user together, counted likewise.
pub const USER_INLINE_CHARS_MAX: usize = 2_048;
/// All inline policies of a group together, counted likewise.
pub const GROUP_INLINE_CHARS_MAX: usize = 5_120;
/// All inline policies of a role together, counted likewise.
pub const ROLE_INLINE_CHARS_MAX: usize = 10_240;
/// Longest role trust policy, counted likewise.
pub const TRUST_POLICY_CHARS_MAX: usize = 2_048;
/// Longest session policy; here white space counts too.
pub const SESSION_POLICY_CHARS_MAX: usize = 2_048;
/// Longest document looked at, in bytes, white space included; IAM's bound for the parameter.
pub const TEXT_BYTES_MAX: usize = 131_072;

/// Most `?` in a document, which nobody needs: each costs a look at every place of a long value.
pub const ONES_MAX: usize = 512;

/// What to do with an action that applies to none of its statement's resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// Refuse the document, as AWS does.
    Refuse,
    /// Keep it; the statement never matches. For clients of servers that do not check.
    Accept,
}

/// What the policy is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode<'a> {
    /// A user, group or role, also as permissions boundary.
    Identity {
        /// Bound on the characters that are not white space.
        chars_max: usize,
    },
    /// Passed with `AssumeRole` or `GetFederationToken`.
    Session,
    /// A role's trust policy: who may assume it.
    Trust,
    /// A bucket.
    Bucket {
        /// The bucket's name.
        bucket: &'a str,
        /// See [`Mismatch`].
        mismatch: Mismatch,
    },
}

/// Version of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `2008-10-17`, also when none is written: no policy variables.
    V2008,
    /// `2012-10-17`.
    V2012,
}

/// What a statement does when it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Grants.
    Allow,
    /// Forbids, whatever else grants.
    Deny,
}

/// A parsed policy: at least one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    version: Version,
    id: Option<String>,
    statements: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ActionRule {
    Only(Vec<Template>),
    AllBut(Vec<Template>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ResourceRule {
    /// Not written: a trust policy speaks of its role alone.
    Attached,
    Only(Vec<ArnPattern>),
    AllBut(Vec<ArnPattern>),
}

/// One statement of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub(crate) sid: Option<String>,
    pub(crate) effect: Effect,
    pub(crate) principals: PrincipalRule,
    pub(crate) actions: ActionRule,
    pub(crate) resources: ResourceRule,
    pub(crate) conditions: Vec<Condition>,
}

impl Statement {
    /// The statement's id, if written.
    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    /// Allow or Deny.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// The principals of `Principal` or `NotPrincipal`, so that the caller can refuse those that
    /// do not exist.
    pub fn named_principals(&self) -> &[Named] {
        self.principals.named()
    }
}

impl Policy {
    /// Parses a document.
    ///
    /// # Errors
    /// [`PolicyError`] with the first thing wrong and its place.
    pub fn parse(text: &str, mode: Mode<'_>) -> Result<Self, PolicyError> {
        check_size(text, mode)?;
        let at = At::root();
        if matches!(mode, Mode::Bucket { .. }) && !text.starts_with('{') {
            let message = "Policies must be valid JSON and the first byte must be '{'";
            return Err(at.malformed(message));
        }
        let json = Json::parse(text)?;
        if json.count('?') > ONES_MAX {
            return Err(at.too_large(format!("Policy has more than {ONES_MAX} `?`.")));
        }
        let (mut version, mut id, mut statement) = (Version::V2008, None, None);
        for (name, value) in json.object(&at)? {
            let at = at.field(name);
            match name.as_str() {
                "Version" => version = parse_version(value, &at)?,
                "Id" => id = Some(value.text(&at)?.to_owned()),
                "Statement" => statement = Some((value, at)),
                other => return Err(at.malformed(format!("Unknown field {other}"))),
            }
        }
        let Some((json, at)) = statement else {
            return Err(at.malformed("Missing required field Statement"));
        };
        let mut statements = Vec::new();
        for (at, json) in json.one_or_list(&at) {
            statements.push(Parser { mode, version }.statement(json, &at)?);
        }
        if statements.is_empty() {
            return Err(at.malformed("Could not parse the policy: Statement is empty!"));
        }
        if !matches!(mode, Mode::Bucket { .. }) {
            check_sids(&statements, &at)?;
        }
        Ok(Self {
            version,
            id,
            statements,
        })
    }

    /// A bucket's policy, as strict as AWS.
    ///
    /// # Errors
    /// As [`Policy::parse`].
    pub fn bucket(text: &str, bucket: &str) -> Result<Self, PolicyError> {
        Self::parse(
            text,
            Mode::Bucket {
                bucket,
                mismatch: Mismatch::Refuse,
            },
        )
    }

    /// A managed policy of an identity.
    ///
    /// # Errors
    /// As [`Policy::parse`].
    pub fn identity(text: &str) -> Result<Self, PolicyError> {
        Self::parse(
            text,
            Mode::Identity {
                chars_max: MANAGED_POLICY_CHARS_MAX,
            },
        )
    }

    /// The language version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The document's `Id`, if written.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// All statements in the order written; at least one.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }
}

/// Characters that count against IAM's limits.
pub fn non_blank_chars(text: &str) -> usize {
    text.chars().filter(|c| !c.is_whitespace()).count()
}

fn check_size(text: &str, mode: Mode<'_>) -> Result<(), PolicyError> {
    let fits = text.len() <= TEXT_BYTES_MAX
        && match mode {
            Mode::Bucket { .. } => text.len() <= BUCKET_POLICY_BYTES_MAX,
            Mode::Session => text.chars().count() <= SESSION_POLICY_CHARS_MAX,
            Mode::Trust => non_blank_chars(text) <= TRUST_POLICY_CHARS_MAX,
            Mode::Identity { chars_max } => non_blank_chars(text) <= chars_max,
        };
    if fits {
        Ok(())
    } else {
        Err(At::root().too_large("Policy exceeds the maximum allowed document size."))
    }
}

fn parse_version(json: &Json, at: &At) -> Result<Version, PolicyError> {
    match json.text(at)? {
        "2012-10-17" => Ok(Version::V2012),
        "2008-10-17" => Ok(Version::V2008),
        _ => Err(at.malformed("The policy must contain a valid version string")),
    }
}

/// IAM wants plain and unique ids; S3 takes any (its own examples have spaces).
fn check_sids(statements: &[Statement], at: &At) -> Result<(), PolicyError> {
    let mut seen = std::collections::BTreeSet::new();
    for (index, statement) in statements.iter().enumerate() {
        let Some(sid) = statement.sid() else { continue };
        let at = at.index(index).field("Sid");
        if !sid.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(at.malformed("Statement IDs (SID) must be alpha-numeric."));
        }
        if !sid.is_empty() && !seen.insert(sid) {
            return Err(at.malformed("Statement IDs (SID) in a single policy must be unique."));
        }
    }
    Ok(())
}
