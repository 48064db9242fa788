//! What single headers and parameters ask for, beside the operation they come with.

use super::judge::{Judge, verdict};
use super::{Asked, Stop};
use crate::acl::grantees;
use crate::identity::Identity;
use http::HeaderMap;
use s3s::{S3Result, s3_error};

/// Header → action its presence asks for beside the operation's own, on writes of objects.
pub(super) const ASKED_BY_HEADER: &[(&str, &str)] = &[
    ("x-amz-acl", PUT_ACL),
    ("x-amz-grant-full-control", PUT_ACL),
    ("x-amz-grant-read", PUT_ACL),
    ("x-amz-grant-read-acp", PUT_ACL),
    ("x-amz-grant-write", PUT_ACL),
    ("x-amz-grant-write-acp", PUT_ACL),
    ("x-amz-tagging", "s3:PutObjectTagging"),
    ("x-amz-object-lock-mode", "s3:PutObjectRetention"),
    (
        "x-amz-object-lock-retain-until-date",
        "s3:PutObjectRetention",
    ),
    ("x-amz-object-lock-legal-hold", "s3:PutObjectLegalHold"),
];
/// Setting the list of an object.
pub(super) const PUT_ACL: &str = "s3:PutObjectAcl";
/// Operations that write an object and take the headers of [`ASKED_BY_HEADER`].
pub(super) const WRITERS: &[&str] = &["PutObject", "CopyObject", "CreateMultipartUpload"];

/// Headers that grant, each in its way.
pub(super) const GRANT: &str = "x-amz-grant-";
/// Canned lists that let in nobody but who writes and who owns the bucket.
const BETWEEN_TWO: [&str; 3] = ["private", "bucket-owner-read", "bucket-owner-full-control"];

/// Headers that a judgement looks at, so that they are kept for another one. Not the copy's customer
/// key, whose name begins like its source's.
pub(super) fn of_access(headers: &HeaderMap) -> HeaderMap {
    let bears = |name: &str| {
        let listed = ASKED_BY_HEADER.iter().any(|(known, _)| *known == name);
        listed || ["x-amz-copy-source", "x-amz-tagging-directive"].contains(&name)
    };
    let mut kept = HeaderMap::new();
    for (name, value) in headers {
        if bears(name.as_str()) {
            kept.append(name, value.clone());
        }
    }
    kept
}

/// Whether this header's list lets in nobody but who writes and `owner`, who owns the bucket.
fn between_two(asked: &Asked, header: &str, owner: Option<&str>) -> bool {
    let mut values = asked.headers.get_all(header).iter();
    values.all(|value| match value.to_str() {
        Ok(value) if header.starts_with(GRANT) => grantees(value).is_ok_and(|all| {
            let mut all = all.iter();
            all.all(|(kind, who)| *kind == "id" && Some(who.as_str()) == owner)
        }),
        Ok(canned) => BETWEEN_TWO.contains(&canned),
        Err(_not_ascii) => false,
    })
}

/// What headers ask for beside the write itself. A writer of another account owns what it writes
/// where lists are on; that the bucket's `owner` may have it too is no more than the write, unless a
/// Deny stands in the way. To let others in is `PutObjectAcl`.
pub(super) fn asked_by_header(
    judge: &Judge,
    asked: &Asked,
    owner: Option<&str>,
) -> Result<(), Stop> {
    let writer_owns = judge.rules.acls() && judge.identity.account().is_some();
    for (header, action) in ASKED_BY_HEADER {
        if !asked.headers.contains_key(*header) {
            continue;
        }
        let decision = judge.decide(
            action,
            asked.key.as_deref(),
            judge.bucket_grant(asked.rule.acl),
            &[],
        );
        let own_list = *action == PUT_ACL && writer_owns && between_two(asked, header, owner);
        if own_list && !matches!(decision, gateway_policy::Decision::ExplicitDeny(_)) {
            continue;
        }
        verdict(&decision)?;
    }
    Ok(())
}

/// Tokens of temporary credentials: none were ever given out.
pub(super) fn refuse_token(headers: &HeaderMap, query: &[(String, String)]) -> S3Result<()> {
    const TOKEN: &str = "x-amz-security-token";
    if headers.contains_key(TOKEN)
        || query
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(TOKEN))
    {
        return Err(s3_error!(
            InvalidToken,
            "The provided token is malformed or otherwise invalid."
        ));
    }
    Ok(())
}

/// `response-content-type` and its like change what others' browsers do with an object.
pub(super) fn refuse_overrides(identity: &Identity, query: &[(String, String)]) -> S3Result<()> {
    let overrides = query.iter().any(|(name, _)| name.starts_with("response-"));
    if overrides && identity.account().is_none() {
        return Err(s3_error!(
            InvalidRequest,
            "Request specific response headers cannot be used for anonymous GET requests."
        ));
    }
    Ok(())
}
