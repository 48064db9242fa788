//! Evaluation of policies against one request.
//!
//! Any matching Deny wins; else any matching Allow; else the request is implicitly denied.

use crate::document::{ActionRule, Effect, Policy, ResourceRule, Statement};
use crate::principal::Grade;
use crate::request::Request;

/// A policy and the name by which a decision refers to it.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// For example `bucket`, or the managed policy's name.
    pub name: &'a str,
    /// The policy.
    pub policy: &'a Policy,
}

/// The statement that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Name of the policy.
    pub policy: String,
    /// Index of the statement in it.
    pub statement: usize,
    /// Its `Sid`, if written.
    pub sid: Option<String>,
}

/// Why a request is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A statement grants it.
    Statement(Cause),
    /// The account's root, on what its account owns.
    AccountRoot,
    /// An ACL grants it.
    Acl,
    /// The owner's root mends a bucket policy that denies it.
    PolicyRepair,
}

/// Whose grant is missing in an implicit denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// No policy at all grants it.
    Any,
    /// The caller's identity policies do not, and for another account's resource they must.
    Identity,
    /// Neither resource policy nor ACL does.
    Resource,
    /// The permissions boundary does not cover it.
    Boundary,
    /// The session policy does not cover it.
    Session,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Allowed, and by what.
    Allow(Reason),
    /// Denied by a statement.
    ExplicitDeny(Cause),
    /// Denied because nothing allows it.
    ImplicitDeny(Missing),
}

impl Decision {
    /// May the request proceed?
    pub fn is_allow(&self) -> bool {
        matches!(self, Self::Allow(_))
    }
}

/// Evaluates policies of one sort together, as if they were one document.
///
/// A statement without `Principal` applies to whoever asks. Which of several grants is named: the
/// one that fits the caller best, then the first.
pub fn evaluate(policies: &[Source<'_>], request: &Request) -> Decision {
    let found = survey(policies, request);
    match (found.deny, found.allow) {
        (Some(cause), _) => Decision::ExplicitDeny(cause),
        (None, Some((_, cause))) => Decision::Allow(Reason::Statement(cause)),
        (None, None) => Decision::ImplicitDeny(Missing::Any),
    }
}

/// What a set of policies says.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) deny: Option<Cause>,
    pub(crate) allow: Option<(Grade, Cause)>,
}

pub(crate) fn survey(policies: &[Source<'_>], request: &Request) -> Survey {
    let mut best: Option<(Grade, &Source<'_>, usize)> = None;
    for source in policies {
        for (index, statement) in source.policy.statements().iter().enumerate() {
            let already = best.as_ref().map(|(grade, ..)| *grade);
            let useful = statement.effect == Effect::Deny || already != Some(Grade::Direct);
            let Some(grade) = (if useful {
                statement.applies(request)
            } else {
                None
            }) else {
                continue;
            };
            if statement.effect == Effect::Deny && !deny_is_sabotaged() {
                return Survey {
                    deny: Some(cause(source, index)),
                    allow: None,
                };
            }
            if statement.effect == Effect::Allow && already < Some(grade) {
                best = Some((grade, source, index));
            }
        }
    }
    let allow = best.map(|(grade, source, index)| (grade, cause(source, index)));
    Survey { deny: None, allow }
}

fn deny_is_sabotaged() -> bool {
    #[cfg(sabotage)]
    if engine_types::sabotage("policy-ignore-deny") {
        return true;
    }
    false
}

fn cause(source: &Source<'_>, statement: usize) -> Cause {
    let sid = source
        .policy
        .statements()
        .get(statement)
        .and_then(Statement::sid);
    Cause {
        policy: source.name.to_owned(),
        statement,
        sid: sid.map(str::to_owned),
    }
}

impl Statement {
    /// Does it speak of this request, and how closely of this caller?
    fn applies(&self, request: &Request) -> Option<Grade> {
        let grade = self.principals.grade(request.principal(), self.effect)?;
        let applies = self.covers_action(request)
            && self.covers_resource(request)
            && self
                .conditions
                .iter()
                .all(|one| one.holds(self.effect, request.context()));
        applies.then_some(grade)
    }

    fn covers_action(&self, request: &Request) -> bool {
        let action = request.action();
        let any = |patterns: &[crate::pattern::Template]| {
            patterns
                .iter()
                .any(|pattern| pattern.matches(action, request.context()) == Ok(true))
        };
        match &self.actions {
            ActionRule::Only(patterns) => any(patterns),
            ActionRule::AllBut(patterns) => !any(patterns),
        }
    }

    /// A pattern whose variable has no value matches nothing. In `NotResource` that would turn an
    /// exception into everything, so there it counts against the caller: an Allow does not apply,
    /// a Deny does.
    fn covers_resource(&self, request: &Request) -> bool {
        let (patterns, negated) = match &self.resources {
            ResourceRule::Attached => return true,
            ResourceRule::Only(patterns) => (patterns, false),
            ResourceRule::AllBut(patterns) => (patterns, true),
        };
        let mut undecided = false;
        for pattern in patterns {
            match pattern.matches(request.resource(), request.context()) {
                Ok(true) => return !negated,
                Ok(false) => {}
                Err(_) => undecided = true,
            }
        }
        negated && (!undecided || self.effect == Effect::Deny)
    }
}
