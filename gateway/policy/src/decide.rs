//! All that bears on one request, combined as AWS combines it.
//!
//! 1. A matching Deny anywhere (resource, identity, boundary, session) denies. One exception: the
//!    root of the bucket's account may read, replace and delete the bucket's policy, or a mistake
//!    would lock everyone out ([`Lockout`]).
//! 2. Callers without an account (anonymous, services, federated subjects) have only what the
//!    resource side grants: its policy, or an ACL.
//! 3. The root of the account that owns the resource may do everything else there.
//! 4. Within the account: what identity policies *or* the resource side grant, cut down by boundary
//!    and session policy if there are any. A resource policy that names the user or the session
//!    itself is not cut down; one that names the role, or everyone, is. One that names the account
//!    grants nothing by itself: it leaves the decision to identity policies.
//! 5. Across accounts: identity policies (with boundary and session policy) *and* the resource side
//!    must grant. The other account's root needs no identity policy.
//!
//! AWS does not say whether `"Principal": "*"` counts as naming the user in 4. Taken as not: the
//! narrower answer.

use crate::evaluate::{Decision, Missing, Reason, Source, Survey, survey};
use crate::principal::Grade;
use crate::request::{Principal, Request, SessionKind};

/// What the ACLs that apply to this request grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclGrant {
    /// Nothing.
    None,
    /// The permission, to the caller's account by its canonical id.
    Account,
    /// The permission, to all users or to all authenticated users, of whom the caller is one.
    Group,
}

/// May the owner's root mend a bucket policy that denies it?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lockout {
    /// Yes: always, unless the owner waived it.
    RootRepairs,
    /// No: the policy was put with `x-amz-confirm-remove-self-bucket-access`.
    Confirmed,
}

/// The inputs of a decision.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Who asks for what.
    pub request: &'a Request,
    /// The account that owns the resource.
    pub owner_account: &'a str,
    /// Policies of the user and its groups, or of the role; empty for root and those without
    /// account.
    pub identity: &'a [Source<'a>],
    /// The bucket's policy, where it applies to the object (not to objects of other owners).
    pub resource: Option<Source<'a>>,
    /// The permissions boundary of the user or role.
    pub boundary: Option<Source<'a>>,
    /// The policies passed with the session: `None` if none were (a federated user has then only
    /// what resource policies grant it by name); AWS allows several, which together make one.
    pub session: Option<&'a [Source<'a>]>,
    /// What ACLs grant, after `IgnorePublicAcls` and the bucket's ownership setting.
    pub acl: AclGrant,
    /// `RestrictPublicBuckets` is on and the bucket's policy is public
    /// ([`is_public`](crate::is_public)): it then grants only to services and within the account.
    pub restrict_public: bool,
    /// See [`Lockout`].
    pub lockout: Lockout,
}

impl<'a> Inputs<'a> {
    /// No policies at all; the caller fills in what there is.
    pub fn new(request: &'a Request, owner_account: &'a str) -> Self {
        Self {
            request,
            owner_account,
            identity: &[],
            resource: None,
            boundary: None,
            session: None,
            acl: AclGrant::None,
            restrict_public: false,
            lockout: Lockout::RootRepairs,
        }
    }

    fn same_account(&self) -> bool {
        self.request.principal().account() == Some(self.owner_account)
    }

    fn is_repair(&self) -> bool {
        let action = self.request.action();
        self.lockout == Lockout::RootRepairs
            && matches!(self.request.principal(), Principal::Root(_))
            && self.same_account()
            && [
                "s3:putbucketpolicy",
                "s3:getbucketpolicy",
                "s3:deletebucketpolicy",
            ]
            .contains(&action)
    }
}

/// A grant of the resource side.
struct Granted {
    grade: Grade,
    reason: Reason,
}

/// Decides a request. Pure; cost is that of evaluating each policy once.
pub fn decide(inputs: &Inputs<'_>) -> Decision {
    if inputs.is_repair() {
        return Decision::Allow(Reason::PolicyRepair);
    }
    let request = inputs.request;
    let of_option = |source: Option<Source<'_>>| match source {
        Some(source) => survey(&[source], request),
        None => Survey::default(),
    };
    let resource = of_option(inputs.resource);
    let identity = survey(inputs.identity, request);
    let boundary = of_option(inputs.boundary);
    let session = inputs
        .session
        .map(|sources| survey(sources, request))
        .unwrap_or_default();
    let denies = [&resource, &identity, &boundary, &session];
    if let Some(cause) = denies.iter().find_map(|survey| survey.deny.clone()) {
        return Decision::ExplicitDeny(cause);
    }
    let limit = limited_by(inputs, &boundary, &session);
    let granted = resource_side(inputs, resource);
    match request.principal() {
        Principal::Anonymous | Principal::Service(_) | Principal::Federated(_) => {
            allow_or(granted.map(|granted| granted.reason), Missing::Resource)
        }
        Principal::Root(_) if inputs.same_account() => Decision::Allow(Reason::AccountRoot),
        Principal::Root(_) => allow_or(granted.map(|granted| granted.reason), Missing::Resource),
        Principal::User(_) | Principal::Session(_) if inputs.same_account() => {
            within_account(identity, granted, limit)
        }
        Principal::User(_) | Principal::Session(_) => across_accounts(&identity, granted, limit),
    }
}

fn allow_or(reason: Option<Reason>, missing: Missing) -> Decision {
    match reason {
        Some(reason) => Decision::Allow(reason),
        None => Decision::ImplicitDeny(missing),
    }
}

fn within_account(identity: Survey, granted: Option<Granted>, limit: Option<Missing>) -> Decision {
    let granted = granted.filter(|granted| granted.grade > Grade::Account);
    if let Some(Granted {
        grade: Grade::Direct,
        reason,
    }) = granted
    {
        return Decision::Allow(reason);
    }
    let by_identity = identity.allow.map(|(_, cause)| Reason::Statement(cause));
    match (by_identity.or(granted.map(|granted| granted.reason)), limit) {
        (None, _) => Decision::ImplicitDeny(Missing::Any),
        (Some(_), Some(limit)) => Decision::ImplicitDeny(limit),
        (Some(reason), None) => Decision::Allow(reason),
    }
}

fn across_accounts(
    identity: &Survey,
    granted: Option<Granted>,
    limit: Option<Missing>,
) -> Decision {
    match (granted, &identity.allow, limit) {
        (None, _, _) => Decision::ImplicitDeny(Missing::Resource),
        (Some(_), None, _) => Decision::ImplicitDeny(Missing::Identity),
        (Some(_), Some(_), Some(limit)) => Decision::ImplicitDeny(limit),
        (Some(granted), Some(_), None) => Decision::Allow(granted.reason),
    }
}

/// Which of boundary and session policy, being there, does not allow the request.
fn limited_by(inputs: &Inputs<'_>, boundary: &Survey, session: &Survey) -> Option<Missing> {
    #[cfg(sabotage)]
    if engine_types::sabotage("policy-ignore-boundary") {
        return None;
    }
    if inputs.boundary.is_some() && boundary.allow.is_none() {
        return Some(Missing::Boundary);
    }
    let federated = matches!(
        inputs.request.principal(),
        Principal::Session(session) if session.kind == SessionKind::FederatedUser
    );
    // A federated user without session policy has no rights of its user.
    let must = inputs.session.is_some() || federated;
    (must && session.allow.is_none()).then_some(Missing::Session)
}

fn resource_side(inputs: &Inputs<'_>, resource: Survey) -> Option<Granted> {
    let service = matches!(inputs.request.principal(), Principal::Service(_));
    let cut = inputs.restrict_public && !service && !inputs.same_account();
    let by_policy = resource
        .allow
        .filter(|_| !cut)
        .map(|(grade, cause)| Granted {
            grade,
            reason: Reason::Statement(cause),
        });
    let acl_grade = match inputs.acl {
        AclGrant::None => None,
        AclGrant::Account => Some(Grade::Account),
        AclGrant::Group => Some(Grade::Indirect),
    };
    match (by_policy, acl_grade) {
        (Some(granted), Some(grade)) if grade <= granted.grade => Some(granted),
        (by_policy, None) => by_policy,
        (_, Some(grade)) => Some(Granted {
            grade,
            reason: Reason::Acl,
        }),
    }
}
