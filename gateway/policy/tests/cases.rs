//! Policies and what they decide, as data: `tests/cases/*.json`, all through [`check`].
//!
//! A group is one of:
//! - `{"name", "refused": {mode: document}, "at": path, "says": part of the message}`;
//! - `{"name", "public": bool, "policy": document}`;
//! - `{"name", "policy": document, "mode"?, "requests": [[who, action, resource, context, answer]]}`
//!   for one policy by itself;
//! - `{"name", "decide": {"identity"?, "resource"?, "boundary"?, "session"?, "acl"?, …},
//!   "requests": […]}` for all sorts together; the bucket belongs to account 111122223333.
//!
//! Answers: `allow`, `deny`, `none` (implicit), then optionally who decided: `deny bucket[1]`,
//! `allow root`, `none Boundary`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use gateway_policy::{
    AclGrant, Decision, Inputs, Lockout, Mismatch, Mode, Policy, PolicyError, Principal, Reason,
    Request, RootAccount, Session, SessionKind, Source, User, decide, evaluate, is_public,
};
use serde_json::Value;

const HOME: &str = "111122223333";
const AWAY: &str = "444455556666";

fn user(account: &str, name: &str) -> Principal {
    Principal::User(User {
        arn: format!("arn:aws:iam::{account}:user/{name}"),
        account: account.into(),
        canonical_id: format!("canonical-{account}"),
        unique_id: format!("AIDA{}EXAMPLE000", name.to_uppercase()),
        name: name.into(),
    })
}

fn session(kind: SessionKind, arn: &str, issuer: &str, unique_id: &str) -> Principal {
    Principal::Session(Session {
        kind,
        arn: format!("arn:aws:sts::{HOME}:{arn}"),
        issuer_arn: format!("arn:aws:iam::{HOME}:{issuer}"),
        account: HOME.into(),
        canonical_id: format!("canonical-{HOME}"),
        unique_id: unique_id.into(),
    })
}

fn principal(who: &str) -> Principal {
    let root = |account: &str| {
        let canonical_id = format!("canonical-{account}");
        Principal::Root(RootAccount {
            account: account.into(),
            canonical_id,
        })
    };
    match who {
        "anonymous" => Principal::Anonymous,
        "root" => root(HOME),
        "awayroot" => root(AWAY),
        "alice" | "dave" | "star*" => user(HOME, who),
        "bob" | "carol" => user(AWAY, who),
        "app" => session(
            SessionKind::Role,
            "assumed-role/app/one",
            "role/app",
            "AROAAPPEXAMPLE00000:one",
        ),
        "fed" => session(
            SessionKind::FederatedUser,
            "federated-user/fed",
            "user/alice",
            "111122223333:fed",
        ),
        service if service.ends_with(".amazonaws.com") => Principal::Service(service.into()),
        provider if provider.starts_with("idp:") => Principal::Federated(provider[4..].into()),
        other => panic!("no principal {other}"),
    }
}

/// `[who, action, resource, context, answer]`; `b/k` is short for its ARN.
fn request(row: &Value) -> Request {
    let field = |index: usize| row[index].as_str().unwrap_or_else(|| panic!("{row}"));
    let resource = match field(2) {
        arn if arn.starts_with("arn:") => arn.to_owned(),
        short => format!("arn:aws:s3:::{short}"),
    };
    let mut request = Request::new(principal(field(0)), field(1), resource);
    for (key, value) in row[3].as_object().unwrap_or_else(|| panic!("{row}")) {
        request = match value {
            Value::String(one) => request.with(key, one.as_str()),
            Value::Array(many) => {
                request.with_all(key, many.iter().map(|one| one.as_str().unwrap().to_owned()))
            }
            other => panic!("{other}"),
        };
    }
    request
}

fn text(document: &Value) -> String {
    match document {
        Value::String(raw) => raw.clone(),
        tree => tree.to_string(),
    }
}

fn parse(mode: &str, document: &Value) -> Result<Policy, PolicyError> {
    let bucket = |mismatch| Mode::Bucket {
        bucket: "b",
        mismatch,
    };
    let mode = match mode {
        "bucket" => bucket(Mismatch::Refuse),
        "lenient" => bucket(Mismatch::Accept),
        "identity" => Mode::Identity { chars_max: 6_144 },
        "session" => Mode::Session,
        "trust" => Mode::Trust,
        other => panic!("no mode {other}"),
    };
    Policy::parse(&text(document), mode)
}

fn answer(decision: &Decision) -> String {
    match decision {
        Decision::Allow(Reason::Statement(cause)) => {
            format!("allow {}[{}]", cause.policy, cause.statement)
        }
        Decision::Allow(Reason::AccountRoot) => "allow root".into(),
        Decision::Allow(Reason::Acl) => "allow acl".into(),
        Decision::Allow(Reason::PolicyRepair) => "allow repair".into(),
        Decision::ExplicitDeny(cause) => format!("deny {}[{}]", cause.policy, cause.statement),
        Decision::ImplicitDeny(missing) => format!("none {missing:?}"),
    }
}

/// The policies of a `decide` group, parsed.
fn decide_all(setup: &Value, request: &Request) -> Decision {
    let many = |name: &str, mode: &str| -> Vec<Policy> {
        let documents = match &setup[name] {
            Value::Null => &[][..],
            Value::Array(documents) => documents.as_slice(),
            one => std::slice::from_ref(one),
        };
        documents
            .iter()
            .map(|document| parse(mode, document).unwrap())
            .collect()
    };
    let (identity, boundary) = (many("identity", "identity"), many("boundary", "identity"));
    let (resource, session) = (many("resource", "bucket"), many("session", "session"));
    let sources = |name: &'static str, policies| -> Vec<Source<'_>> {
        let policies: &Vec<Policy> = policies;
        policies
            .iter()
            .map(|policy| Source { name, policy })
            .collect()
    };
    let (identity, session) = (sources("identity", &identity), sources("session", &session));
    let inputs = Inputs {
        identity: &identity,
        resource: resource.first().map(|policy| Source {
            name: "bucket",
            policy,
        }),
        boundary: boundary.first().map(|policy| Source {
            name: "boundary",
            policy,
        }),
        session: setup.get("session").map(|_| session.as_slice()),
        acl: match setup["acl"].as_str() {
            None => AclGrant::None,
            Some("account") => AclGrant::Account,
            Some("group") => AclGrant::Group,
            Some(other) => panic!("{other}"),
        },
        restrict_public: setup["restrict"] == true && resource.iter().any(is_public),
        lockout: if setup["confirmed"] == true {
            Lockout::Confirmed
        } else {
            Lockout::RootRepairs
        },
        ..Inputs::new(request, HOME)
    };
    decide(&inputs)
}

/// Checks one group; answers how many cases it held.
fn check(group: &Value) -> usize {
    let name = group["name"]
        .as_str()
        .unwrap_or_else(|| panic!("no name: {group}"));
    let known = [
        "name", "refused", "at", "says", "public", "policy", "mode", "requests", "decide",
    ];
    let keys = group.as_object().unwrap().keys();
    assert!(
        keys.clone().all(|key| known.contains(&key.as_str())),
        "{name}: unknown key"
    );
    if let Some(refused) = group.get("refused").and_then(Value::as_object) {
        for (mode, document) in refused {
            let error = parse(mode, document).expect_err(name);
            assert_eq!(
                error.path,
                group["at"].as_str().unwrap(),
                "{name} ({mode}): {error}"
            );
            let says = group["says"].as_str().unwrap();
            assert!(error.message.contains(says), "{name} ({mode}): {error}");
        }
        return refused.len();
    }
    let mode = group["mode"].as_str().unwrap_or("bucket");
    let policy = group
        .get("policy")
        .map(|document| parse(mode, document).unwrap_or_else(|error| panic!("{name}: {error}")));
    if let Some(public) = group["public"].as_bool() {
        assert_eq!(is_public(policy.as_ref().unwrap()), public, "{name}");
        return 1;
    }
    let rows = group["requests"].as_array().unwrap();
    for row in rows {
        let request = request(row);
        let decision = match &policy {
            Some(policy) => evaluate(&[Source { name: mode, policy }], &request),
            None => decide_all(&group["decide"], &request),
        };
        let (actual, expected) = (answer(&decision), row[4].as_str().unwrap());
        let same = actual == expected || actual.split(' ').next() == Some(expected);
        assert!(same, "{name}: {row}: expected {expected}, got {actual}");
        assert_eq!(decision.is_allow(), expected.starts_with("allow"), "{name}");
    }
    rows.len()
}

fn check_all(file: &str, at_least: usize) {
    let groups: Vec<Value> = serde_json::from_str(file).unwrap();
    let cases: usize = groups.iter().map(check).sum();
    assert!(cases >= at_least, "only {cases} cases");
}

#[test]
fn documents_refused() {
    check_all(include_str!("cases/refused.json"), 90);
}

#[test]
fn conditions() {
    check_all(include_str!("cases/conditions.json"), 110);
}

#[test]
fn statements() {
    check_all(include_str!("cases/statements.json"), 90);
}

#[test]
fn decisions() {
    check_all(include_str!("cases/decisions.json"), 60);
}

#[test]
fn meaning_of_public() {
    check_all(include_str!("cases/public.json"), 30);
}
