//! Headers and parameters that ask for more.

use super::super::headers::{refuse_overrides, refuse_token};
use super::*;

#[test]
fn headers_ask_for_actions_of_their_own() {
    let put = r#"{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*"}"#;
    let writer = Setting::policy(put);
    let enforced = Setting {
        ownership: Some(Ownership::BucketOwnerEnforced),
        ..Setting::policy(put)
    };
    let full = ("x-amz-grant-full-control", "id=canonical1");
    let canned = |list| ("x-amz-acl", list);
    for (setting, who, header, allowed) in [
        // Who owns what it writes may let the bucket's owner have it, and nobody else.
        (&writer, account(OTHER), full, true),
        (
            &writer,
            account(OTHER),
            canned("bucket-owner-full-control"),
            true,
        ),
        (&writer, account(OTHER), canned("public-read"), false),
        (&writer, account(OTHER), canned("authenticated-read"), false),
        (
            &writer,
            account(OTHER),
            ("x-amz-grant-read", "id=canonical9"),
            false,
        ),
        (
            &writer,
            account(OTHER),
            ("x-amz-grant-read", r#"id=canonical1,uri="x""#),
            false,
        ),
        (&writer, account(OWNER), canned("public-read"), true),
        (&writer, Identity::Anonymous, full, false),
        (&enforced, account(OTHER), full, false),
        (&writer, account(OTHER), ("x-amz-tagging", "a=b"), false),
        (
            &writer,
            account(OTHER),
            ("x-amz-object-lock-legal-hold", "ON"),
            false,
        ),
        (&writer, account(OWNER), ("x-amz-tagging", "a=b"), true),
    ] {
        let judge = setting.judge(who, &[]);
        assert_eq!(
            may(&judge, "PutObject", Some("k"), &[header]),
            allowed,
            "{header:?}"
        );
    }
    let deny = format!(
        r#"{put},{{"Effect":"Deny","Principal":"*","Action":"s3:PutObjectAcl","Resource":"arn:aws:s3:::bucket/*"}}"#
    );
    let denied = Setting::policy(&deny);
    assert!(!may(
        &denied.judge(account(OTHER), &[]),
        "PutObject",
        Some("k"),
        &[full]
    ));
}

#[test]
fn tokens_and_anonymous_overrides_are_refused() {
    let query = |name: &str| vec![(name.to_owned(), "x".to_owned())];
    let bare = HeaderMap::new();
    assert!(refuse_token(&bare, &query("prefix")).is_ok());
    for name in ["X-Amz-Security-Token", "x-amz-security-token"] {
        let error = refuse_token(&bare, &query(name)).expect_err("refused");
        assert_eq!(error.code().as_str(), "InvalidToken");
    }
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-security-token", "t".parse().expect("value"));
    assert!(refuse_token(&headers, &[]).is_err());
    let overrides = query("response-content-type");
    assert!(refuse_overrides(&Identity::Anonymous, &overrides).is_err());
    assert!(refuse_overrides(&account(OWNER), &overrides).is_ok());
    assert!(refuse_overrides(&Identity::Anonymous, &query("prefix")).is_ok());
}
