//! `Principal` and `NotPrincipal`: who a resource policy speaks of.

use crate::document::Effect;
use crate::error::{At, PolicyError};
use crate::json::Json;
use crate::request::Principal;

/// Longest name of a principal.
const PRINCIPAL_BYTES_MAX: usize = 2048;

/// One principal as a policy names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// `"*"`, or `{"AWS": "*"}` when not bare.
    Everyone {
        /// Written as `"Principal": "*"`.
        bare: bool,
    },
    /// An account, by id or by `arn:aws:iam::ID:root`.
    Account(String),
    /// An account by its canonical user id.
    CanonicalUser(String),
    /// A user, a role, a role session or a federated user by ARN.
    Arn(String),
    /// A user or role by its unique id (`AIDA…`, `AROA…`).
    UniqueId(String),
    /// A service.
    Service(String),
    /// An identity provider.
    Federated(String),
}

/// How closely a statement's principal fits the caller; decides what may still limit the grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grade {
    /// The caller's account: a delegation, its administrator must grant too.
    Account,
    /// Everyone, or the role behind the session: boundary and session policy still limit it.
    Indirect,
    /// The caller itself.
    Direct,
}

/// Who a statement applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PrincipalRule {
    /// Not written: whoever the policy is attached to.
    Attached,
    Only(Vec<Named>),
    AllBut(Vec<Named>),
}

impl PrincipalRule {
    pub(crate) fn grade(&self, caller: &Principal, effect: Effect) -> Option<Grade> {
        match self {
            Self::Attached => Some(Grade::Direct),
            Self::Only(named) => named.iter().filter_map(|n| n.grade(caller, effect)).max(),
            Self::AllBut(named) => {
                let excepted = named.iter().any(|named| named.excepts(caller));
                (!excepted).then_some(Grade::Indirect)
            }
        }
    }

    /// The principals written, in order; empty for an identity policy.
    pub(crate) fn named(&self) -> &[Named] {
        match self {
            Self::Attached => &[],
            Self::Only(named) | Self::AllBut(named) => named,
        }
    }
}

impl Named {
    fn grade(&self, caller: &Principal, effect: Effect) -> Option<Grade> {
        let as_account = || match caller {
            Principal::Root(_) => Grade::Direct,
            _ => Grade::Account,
        };
        match self {
            Self::Everyone { bare } => {
                // A service acts for somebody else: `{"AWS": "*"}` does not let it in, but keeps
                // it out.
                let service = matches!(caller, Principal::Service(_));
                (!service || *bare || effect == Effect::Deny).then_some(Grade::Indirect)
            }
            Self::Account(id) => (caller.account() == Some(id)).then(as_account),
            Self::CanonicalUser(id) => (caller.canonical_id() == Some(id)).then(as_account),
            Self::Arn(arn) => match caller {
                Principal::User(user) if user.arn == *arn => Some(Grade::Direct),
                Principal::Session(session) if session.arn == *arn => Some(Grade::Direct),
                Principal::Session(session) if session.issuer_arn == *arn => Some(Grade::Indirect),
                _ => None,
            },
            Self::UniqueId(id) => match caller {
                Principal::User(user) if user.unique_id == *id => Some(Grade::Direct),
                Principal::Session(session) => {
                    let role = session.unique_id.split(':').next();
                    (role == Some(id)).then_some(Grade::Indirect)
                }
                _ => None,
            },
            Self::Service(name) => matches!(caller, Principal::Service(caller) if caller == name)
                .then_some(Grade::Direct),
            Self::Federated(name) => {
                matches!(caller, Principal::Federated(caller) if caller == name)
                    .then_some(Grade::Direct)
            }
        }
    }

    /// Listed in `NotPrincipal`: an account there means its root alone, not all its users, or
    /// naming one's account (as AWS advises) would exempt everybody in it.
    fn excepts(&self, caller: &Principal) -> bool {
        match self.grade(caller, Effect::Deny) {
            Some(Grade::Direct | Grade::Indirect) => true,
            Some(Grade::Account) | None => false,
        }
    }

    fn parse(kind: &str, text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > PRINCIPAL_BYTES_MAX {
            return None;
        }
        if kind == "AWS" && text == "*" {
            return Some(Self::Everyone { bare: false });
        }
        // Wildcards inside a principal would be literal and so never match: refused, as AWS does.
        if text.contains(['*', '?']) || text.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return None;
        }
        let text = text.to_owned();
        Some(match kind {
            "AWS" => return Self::parse_aws(text),
            "CanonicalUser" => Self::CanonicalUser(text),
            "Service" => Self::Service(text),
            "Federated" => Self::Federated(text),
            _ => return None,
        })
    }

    /// Account ids of this system need not be twelve digits, so their characters are checked but
    /// not their number; an ARN may leave the account empty. Whether the principal exists is the
    /// caller's question.
    fn parse_aws(text: String) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '$');
        let Some(rest) = text.strip_prefix("arn:aws:") else {
            let unique = text.len() >= 16
                && ["AIDA", "AROA"]
                    .iter()
                    .any(|prefix| text.starts_with(prefix))
                && text
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
            return match text.chars().all(plain) {
                true if unique => Some(Self::UniqueId(text)),
                true => Some(Self::Account(text)),
                false => None,
            };
        };
        let (service, rest) = rest.split_once("::")?;
        let (account, name) = rest.split_once(':')?;
        if !account.chars().all(plain) {
            return None;
        }
        if (service, name) == ("iam", "root") {
            return Some(Self::Account(account.to_owned()));
        }
        let (kind, path) = name.split_once('/')?;
        let known = match service {
            "iam" => matches!(kind, "user" | "role"),
            "sts" => matches!(kind, "assumed-role" | "federated-user"),
            _ => false,
        };
        (known && !path.is_empty() && !path.ends_with('/')).then_some(Self::Arn(text))
    }
}

/// Parses the value of `Principal` or `NotPrincipal`.
pub(crate) fn parse(json: &Json, at: &At) -> Result<Vec<Named>, PolicyError> {
    let invalid = |at: &At| at.malformed("Invalid principal in policy");
    let members = match json {
        Json::Text(text) if text == "*" => return Ok(vec![Named::Everyone { bare: true }]),
        Json::Object(_) => json.object(at)?,
        _ => return Err(invalid(at)),
    };
    let mut named = Vec::new();
    for (kind, values) in members {
        let at = at.field(kind);
        if !matches!(
            kind.as_str(),
            "AWS" | "CanonicalUser" | "Service" | "Federated"
        ) {
            return Err(at.malformed(format!("Unknown field {kind}")));
        }
        for (at, value) in values.one_or_list(&at) {
            named.push(Named::parse(kind, value.text(&at)?).ok_or_else(|| invalid(&at))?);
        }
    }
    if named.is_empty() {
        Err(invalid(at))
    } else {
        Ok(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_forms() {
        let parse = |text: &str| Named::parse("AWS", text);
        let account = |id: &str| Some(Named::Account(id.into()));
        assert_eq!(parse("111122223333"), account("111122223333"));
        assert_eq!(
            parse("arn:aws:iam::111122223333:root"),
            account("111122223333")
        );
        assert_eq!(parse("arn:aws:iam::s3tenant1:root"), account("s3tenant1"));
        assert_eq!(
            parse("AIDAEXAMPLE123456789"),
            Some(Named::UniqueId("AIDAEXAMPLE123456789".into()))
        );
        for arn in [
            "arn:aws:iam::111122223333:user/path/alice",
            "arn:aws:iam:::user/testid",
            "arn:aws:iam::111122223333:role/app",
            "arn:aws:sts::111122223333:assumed-role/app/one",
            "arn:aws:sts::111122223333:federated-user/bob",
        ] {
            assert_eq!(parse(arn), Some(Named::Arn(arn.into())));
        }
        for bad in [
            "",
            "arn:aws:iam::111122223333:user/*",
            "arn:aws:iam::111122223333:*",
            "a b",
            "arn:aws:iam::111122223333:group/g",
            "arn:aws:iam::111122223333:user/",
            "1111?",
            "arn:aws:s3:::bucket",
            "arn:aws:iam",
            "user/alice",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert!(parse(&"1".repeat(PRINCIPAL_BYTES_MAX)).is_some());
        assert!(parse(&"1".repeat(PRINCIPAL_BYTES_MAX + 1)).is_none());
    }
}
