//! The judge over tables: who, in which bucket, may do what.

mod headers;

use super::circumstances::Pairs;
use super::judge::{Judge, ObjectFacts};
use super::rule::On;
use super::table::rule_of;
use super::{Asked, Stop, all, asked_by_header};
use crate::acl::{Acl, Permission, canned};
use crate::documents::{
    BucketRules, Ownership, PolicyDocument, PublicAccessBlock, testing, to_row,
};
use crate::identity::Identity;
use engine_core::meta::{AccessKeyRow, AccessKeyState, AccountRow, BucketDocument};
use engine_node::{Credential, Secret};
use engine_types::{AccountId, KeyId, Stamp};
use http::HeaderMap;
use std::sync::Arc;

const OWNER: AccountId = AccountId(1);
const OTHER: AccountId = AccountId(2);
const WRITER: AccountId = AccountId(3);

fn account(id: AccountId) -> Identity {
    let account = AccountRow {
        id,
        canonical_id: format!("canonical{}", id.0),
        name: String::new(),
        email: String::new(),
        root: false,
        created: Stamp::default(),
    };
    let key = AccessKeyRow {
        id: KeyId(id.0),
        access_key: "AK".into(),
        account: id,
        sealed_secret: Vec::new().into(),
        state: AccessKeyState::Active,
        created: Stamp::default(),
        description: String::new(),
    };
    let secret = Secret(String::new().into());
    Identity::Account(Arc::new(Credential {
        key,
        account,
        secret,
    }))
}

#[derive(Default)]
struct Setting {
    acl: Option<Acl>,
    ownership: Option<Ownership>,
    block: PublicAccessBlock,
    policy: Option<String>,
}

impl Setting {
    fn policy(statement: &str) -> Self {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
        Self {
            policy: Some(text),
            ..Self::default()
        }
    }
    fn acl(name: &str) -> Self {
        Self {
            acl: canned(name, OWNER, OWNER),
            ..Self::default()
        }
    }
    fn judge(&self, who: Identity, circumstances: &[(&str, &str)]) -> Judge {
        let mut documents = vec![(BucketDocument::PublicAccessBlock, to_row(&self.block))];
        if let Some(acl) = &self.acl {
            documents.push((BucketDocument::Acl, acl.to_row(OWNER)));
        }
        if let Some(ownership) = &self.ownership {
            documents.push((BucketDocument::Ownership, to_row(ownership)));
        }
        if let Some(text) = &self.policy {
            let kept = PolicyDocument {
                text: text.clone(),
                lockout_confirmed: false,
            };
            documents.push((BucketDocument::Policy, to_row(&kept)));
        }
        let bucket = testing::bucket(OWNER, &documents);
        let rules = Arc::new(BucketRules::of(&bucket.row).expect("rules"));
        let pairs: Pairs = circumstances
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Judge {
            identity: who,
            bucket,
            rules,
            circumstances: Arc::new(pairs),
        }
    }
}

fn may(
    judge: &Judge,
    operation: &str,
    key: Option<&str>,
    headers: &[(&'static str, &'static str)],
) -> bool {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().expect("value"));
    }
    let rule = rule_of(operation).expect("known");
    let asked = Asked {
        rule,
        key: key.map(str::to_owned),
        version: None,
        headers: map,
        query: Vec::new(),
        seen: std::sync::OnceLock::new(),
    };
    let verdict = all(judge, &asked, key).and_then(|()| match rule.on {
        On::Key => asked_by_header(judge, &asked, Some("canonical1")),
        _ => Ok(()),
    });
    match verdict {
        Ok(()) => true,
        Err(Stop::Refused(error)) => {
            assert_eq!(error.code().as_str(), "AccessDenied");
            false
        }
        Err(Stop::Stale) => panic!("pure"),
    }
}

#[test]
fn a_bare_bucket_is_its_owners_account_alone() {
    let bare = Setting::default();
    for (who, allowed) in [
        (account(OWNER), true),
        (account(OTHER), false),
        (Identity::Anonymous, false),
    ] {
        let judge = bare.judge(who, &[]);
        for operation in [
            "ListObjectsV2",
            "GetBucketAcl",
            "PutBucketPolicy",
            "DeleteBucket",
        ] {
            assert_eq!(may(&judge, operation, None, &[]), allowed, "{operation}");
        }
        for operation in ["PutObject", "DeleteObject", "UploadPart"] {
            assert_eq!(
                may(&judge, operation, Some("k"), &[]),
                allowed,
                "{operation}"
            );
        }
        assert_eq!(judge.may_delete("k", None).is_ok(), allowed);
    }
}

#[test]
fn lists_grant_what_they_say_unless_off_or_ignored() {
    let open = || Setting::acl("public-read-write");
    let off = Setting {
        ownership: Some(Ownership::BucketOwnerEnforced),
        ..open()
    };
    let block = PublicAccessBlock {
        ignore_public_acls: true,
        ..PublicAccessBlock::default()
    };
    let ignored = Setting { block, ..open() };
    for (setting, allowed) in [(open(), true), (off, false), (ignored, false)] {
        let judge = setting.judge(Identity::Anonymous, &[]);
        assert_eq!(may(&judge, "ListObjects", None, &[]), allowed);
        assert_eq!(
            may(&judge, "PutObject", Some("k"), &[("x-amz-tagging", "a=b")]),
            allowed
        );
        assert_eq!(judge.may_delete("k", None).is_ok(), allowed);
        // A list never lets anyone delete versions, or read the list itself.
        assert!(judge.may_delete("k", Some("null")).is_err());
        assert!(!may(&judge, "GetBucketAcl", None, &[]));
    }
    let read = Setting::acl("authenticated-read");
    assert!(may(
        &read.judge(account(OTHER), &[]),
        "ListObjects",
        None,
        &[]
    ));
    assert!(!may(
        &read.judge(Identity::Anonymous, &[]),
        "ListObjects",
        None,
        &[]
    ));
    assert!(!may(
        &read.judge(account(OTHER), &[]),
        "PutObject",
        Some("k"),
        &[]
    ));
}

#[test]
fn policies_grant_and_forbid_with_their_conditions() {
    let resource = r#""Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]"#;
    let list = format!(
        r#"{{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket",{resource},
            "Condition":{{"StringLike":{{"s3:prefix":"public/*"}}}}}}"#
    );
    let list = Setting::policy(&list);
    let other = |pairs: &[(&str, &str)]| list.judge(account(OTHER), pairs);
    assert!(may(
        &other(&[("s3:prefix", "public/a")]),
        "ListObjects",
        None,
        &[]
    ));
    assert!(!may(
        &other(&[("s3:prefix", "private/a")]),
        "ListObjects",
        None,
        &[]
    ));
    // What the key is takes the place of what the head said.
    assert!(other(&[("s3:prefix", "private/")]).may_list("public/a"));
    assert!(!other(&[("s3:prefix", "public/")]).may_list("private/a"));

    let deny = format!(r#"{{"Effect":"Deny","Principal":"*","Action":"s3:*",{resource}}}"#);
    let owner = Setting::policy(&deny).judge(account(OWNER), &[]);
    assert!(!may(&owner, "ListObjects", None, &[]) && owner.may_delete("k", None).is_err());
    // Root may still mend the policy.
    assert!(may(&owner, "DeleteBucketPolicy", None, &[]));

    let named = r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::canonical2:root"},
        "Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*"}"#;
    let named = Setting::policy(named);
    assert!(may(
        &named.judge(account(OTHER), &[]),
        "PutObject",
        Some("k"),
        &[]
    ));
    assert!(!may(
        &named.judge(account(WRITER), &[]),
        "PutObject",
        Some("k"),
        &[]
    ));
    assert!(!may(
        &named.judge(Identity::Anonymous, &[]),
        "PutObject",
        Some("k"),
        &[]
    ));
}

#[test]
fn restricted_public_buckets_let_only_their_own_account_in() {
    let get = r#"{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket"}"#;
    let block = PublicAccessBlock {
        restrict_public_buckets: true,
        ..PublicAccessBlock::default()
    };
    let restricted = Setting {
        block,
        ..Setting::policy(get)
    };
    for (who, allowed) in [
        (account(OWNER), true),
        (account(OTHER), false),
        (Identity::Anonymous, false),
    ] {
        assert_eq!(
            may(&restricted.judge(who, &[]), "ListObjects", None, &[]),
            allowed
        );
    }
}

#[test]
fn objects_of_others_are_their_owners() {
    let get = r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}"#;
    let full = canned("bucket-owner-full-control", WRITER, OWNER)
        .expect("known")
        .to_row(WRITER);
    let public = canned("public-read", WRITER, OWNER)
        .expect("known")
        .to_row(WRITER);
    let bare = || Setting::default();
    let enforced = || Setting {
        ownership: Some(Ownership::BucketOwnerEnforced),
        ..Setting::default()
    };
    let deny = || Setting::policy(&get.replace("Allow", "Deny"));
    for (setting, who, owner, acl, allowed) in [
        (bare(), account(WRITER), WRITER, &[][..], true),
        (bare(), account(OWNER), WRITER, &[], false),
        (bare(), account(OWNER), WRITER, &full, true),
        (bare(), Identity::Anonymous, WRITER, &public, true),
        (bare(), Identity::Anonymous, OWNER, &[], false),
        (bare(), account(OWNER), OWNER, &[], true),
        // Lists off: all is the bucket owner's.
        (enforced(), account(OWNER), WRITER, &[], true),
        (enforced(), account(WRITER), WRITER, &[], false),
        (enforced(), Identity::Anonymous, WRITER, &public, false),
        // The bucket's policy speaks for the bucket owner's objects, and may forbid others.
        (Setting::policy(get), Identity::Anonymous, OWNER, &[], true),
        (
            Setting::policy(get),
            Identity::Anonymous,
            WRITER,
            &[],
            false,
        ),
        (deny(), account(WRITER), WRITER, &[], false),
    ] {
        let judge = setting.judge(who, &[]);
        let object = ObjectFacts {
            owner,
            acl,
            tags: &[],
        };
        let decision = judge.decide_object("s3:GetObject", "k", Some(Permission::Read), object);
        assert_eq!(
            decision.is_allow(),
            allowed,
            "{:?} {owner:?} {decision:?}",
            judge.identity.account()
        );
    }
}

#[test]
fn tags_of_the_object_are_asked() {
    let get = r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*",
        "Condition":{"StringEquals":{"s3:ExistingObjectTag/security":"public"}}}"#;
    let judge = Setting::policy(get).judge(account(OTHER), &[]);
    for (tag, allowed) in [
        (("security", "public"), true),
        (("security", "private"), false),
        (("security1", "public"), false),
    ] {
        let tags = [(tag.0.to_owned(), tag.1.to_owned())];
        let object = ObjectFacts {
            owner: OWNER,
            acl: &[],
            tags: &tags,
        };
        let decision = judge.decide_object("s3:GetObject", "k", Some(Permission::Read), object);
        assert_eq!(decision.is_allow(), allowed, "{tag:?}");
    }
}

#[test]
fn an_unreadable_policy_lets_only_a_mending_root_in() {
    let broken = Setting {
        policy: Some("{}".into()),
        ..Setting::acl("public-read")
    };
    let owner = broken.judge(account(OWNER), &[]);
    assert!(!may(&owner, "ListObjects", None, &[]));
    assert!(may(&owner, "PutBucketPolicy", None, &[]));
    assert!(!may(
        &broken.judge(Identity::Anonymous, &[]),
        "ListObjects",
        None,
        &[]
    ));
}
