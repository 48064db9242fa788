//! Who asks for what, in which circumstances.

use std::collections::BTreeMap;

/// The circumstances of a request: condition keys and their values.
///
/// Keys are stored in lower case, as condition keys ignore case; a key may have several values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Context(BTreeMap<String, Vec<String>>);

impl Context {
    pub(crate) fn add(&mut self, key: &str, value: impl Into<String>) {
        self.0
            .entry(key.to_lowercase())
            .or_default()
            .push(value.into());
    }

    /// Present without any value: a set that is empty.
    pub(crate) fn add_empty(&mut self, key: &str) {
        self.0.entry(key.to_lowercase()).or_default();
    }

    /// All values of a key in lower case; none if it is absent.
    pub(crate) fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// The value of a key that has exactly one.
    pub(crate) fn single(&self, key: &str) -> Option<&str> {
        match self.values(key) {
            [value] => Some(value),
            _ => None,
        }
    }
}

/// The account itself, signing with its root key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootAccount {
    /// Account id, as in ARNs.
    pub account: String,
    /// Canonical user id, as in ACLs.
    pub canonical_id: String,
}

/// An IAM user, also with a session token of its own (`GetSessionToken`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// `arn:aws:iam::ACCOUNT:user/path/name`.
    pub arn: String,
    /// Account id, as in ARNs.
    pub account: String,
    /// The account's canonical user id, as in ACLs.
    pub canonical_id: String,
    /// Unique id (`AIDA…`); never reused, unlike the name.
    pub unique_id: String,
    /// Friendly name, without path: `aws:username`.
    pub name: String,
}

/// Who lent its rights to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionKind {
    /// `AssumeRole…`: the issuer is a role.
    Role,
    /// `GetFederationToken`: the issuer is a user.
    FederatedUser,
}

/// Temporary credentials that are a principal of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Sort of session.
    pub kind: SessionKind,
    /// `arn:aws:sts::ACCOUNT:assumed-role/role/name` or `…:federated-user/name`.
    pub arn: String,
    /// The role's or the user's own ARN.
    pub issuer_arn: String,
    /// Account id, as in ARNs.
    pub account: String,
    /// The account's canonical user id, as in ACLs.
    pub canonical_id: String,
    /// `ROLEID:session-name` or `ACCOUNT:name`: `aws:userid`.
    pub unique_id: String,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// No signature.
    Anonymous,
    /// The account's root key.
    Root(RootAccount),
    /// An IAM user.
    User(User),
    /// A role session or a federated user.
    Session(Session),
    /// A service of this system acting by itself, for example `logging.s3.amazonaws.com`.
    Service(String),
    /// A subject of an identity provider, by the provider's ARN or host; only trust policies
    /// meet it.
    Federated(String),
}

impl Principal {
    /// The account the principal belongs to, if it belongs to one.
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Root(root) => Some(&root.account),
            Self::User(user) => Some(&user.account),
            Self::Session(session) => Some(&session.account),
            Self::Anonymous | Self::Service(_) | Self::Federated(_) => None,
        }
    }

    /// The account's canonical user id, if it belongs to one.
    pub fn canonical_id(&self) -> Option<&str> {
        match self {
            Self::Root(root) => Some(&root.canonical_id),
            Self::User(user) => Some(&user.canonical_id),
            Self::Session(session) => Some(&session.canonical_id),
            Self::Anonymous | Self::Service(_) | Self::Federated(_) => None,
        }
    }

    /// The keys that say who asks, as AWS's table of principals has them.
    fn describe(&self, context: &mut Context) {
        let (kind, userid, arn) = match self {
            Self::Anonymous => ("Anonymous", "anonymous".to_owned(), None),
            Self::Root(root) => {
                let arn = format!("arn:aws:iam::{}:root", root.account);
                ("Account", root.account.clone(), Some(arn))
            }
            Self::User(user) => {
                context.add("aws:username", user.name.as_str());
                ("User", user.unique_id.clone(), Some(user.arn.clone()))
            }
            Self::Session(session) => match session.kind {
                SessionKind::Role => (
                    "AssumedRole",
                    session.unique_id.clone(),
                    Some(session.issuer_arn.clone()),
                ),
                SessionKind::FederatedUser => (
                    "FederatedUser",
                    session.unique_id.clone(),
                    Some(session.arn.clone()),
                ),
            },
            Self::Service(name) => {
                context.add("aws:PrincipalServiceName", name.as_str());
                context.add("aws:PrincipalServiceNamesList", name.as_str());
                context.add("aws:PrincipalIsAWSService", "true");
                return;
            }
            Self::Federated(provider) => {
                context.add("aws:FederatedProvider", provider.as_str());
                return;
            }
        };
        context.add("aws:PrincipalIsAWSService", "false");
        context.add("aws:PrincipalType", kind);
        context.add("aws:userid", userid);
        if let Some(arn) = arn {
            context.add("aws:PrincipalArn", arn);
        }
        if let Some(account) = self.account() {
            context.add("aws:PrincipalAccount", account);
        }
    }
}

/// One request for one action on one resource.
#[derive(Debug, Clone)]
pub struct Request {
    principal: Principal,
    action: String,
    resource: String,
    context: Context,
}

impl Request {
    /// `action` as `s3:GetObject`, any case; `resource` a whole ARN, `arn:aws:s3:::b/k`, the key as
    /// the engine stores it (decoded once, not normalised). The keys that describe the principal
    /// (`aws:username`, `aws:userid`, `aws:PrincipalArn`, …) are filled in here.
    pub fn new(principal: Principal, action: &str, resource: impl Into<String>) -> Self {
        let mut context = Context::default();
        principal.describe(&mut context);
        let action = action.to_ascii_lowercase();
        Self {
            principal,
            action,
            resource: resource.into(),
            context,
        }
    }

    /// Adds one value of a condition key, any case. A key added twice has two values, so a header
    /// that repeats must be refused or joined by the caller if the key is single-valued.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.context.add(key, value);
        self
    }

    /// Adds all values of a condition key; an empty list leaves it present and empty, which
    /// `Null` and the set operators treat like absent.
    #[must_use]
    pub fn with_all<V: Into<String>>(
        mut self,
        key: &str,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        self.context.add_empty(key);
        for value in values {
            self.context.add(key, value);
        }
        self
    }

    /// Who asks.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The action in lower case.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// The resource's ARN.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// The values of a condition key, any case.
    pub fn values(&self, key: &str) -> &[String] {
        self.context.values(&key.to_lowercase())
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }
}
