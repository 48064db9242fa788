//! The condition keys that exist.
//!
//! S3 refuses a bucket policy with a key it does not know: such a key is never in a request, so a
//! Deny that rests on it would protect nothing. Keys of other services pass; they are never present.

/// `/` at the end: the rest of the key is the owner's choice.
const S3: &[&str] = &[
    "accessgrantsinstancearn",
    "accesspointnetworkorigin",
    "accesspointtag/",
    "authtype",
    "buckettag/",
    "dataaccesspointaccount",
    "dataaccesspointarn",
    "delimiter",
    "destinationregion",
    "existingjoboperation",
    "existingjobpriority",
    "existingobjecttag/",
    "if-match",
    "if-none-match",
    "inventoryaccessibleoptionalfields",
    "isreplicationpauserequest",
    "jobsuspendedcause",
    "locationconstraint",
    "max-keys",
    "object-lock-legal-hold",
    "object-lock-mode",
    "object-lock-remaining-retention-days",
    "object-lock-retain-until-date",
    "objectcreationoperation",
    "prefix",
    "requestjoboperation",
    "requestjobpriority",
    "requestobjecttag/",
    "requestobjecttagkeys",
    "resourceaccount",
    "signatureage",
    "signatureversion",
    "tlsversion",
    "versionid",
    "x-amz-acl",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-object-ownership",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
];

const GLOBAL: &[&str] = &[
    "assumedroot",
    "calledvia",
    "calledviafirst",
    "calledvialast",
    "currenttime",
    "ec2instancesourceprivateipv4",
    "ec2instancesourcevpc",
    "epochtime",
    "federatedprovider",
    "multifactorauthage",
    "multifactorauthpresent",
    "principalaccount",
    "principalarn",
    "principalisawsservice",
    "principalorgid",
    "principalorgpaths",
    "principalservicename",
    "principalservicenameslist",
    "principaltag/",
    "principaltype",
    "referer",
    "requestedregion",
    "requesttag/",
    "resourceaccount",
    "resourceorgid",
    "resourceorgpaths",
    "resourcetag/",
    "securetransport",
    "sourceaccount",
    "sourcearn",
    "sourceidentity",
    "sourceip",
    "sourceorgid",
    "sourceorgpaths",
    "sourceowner",
    "sourcevpc",
    "sourcevpcarn",
    "sourcevpce",
    "tagkeys",
    "tokenissuetime",
    "useragent",
    "userid",
    "username",
    "viaawsservice",
    "vpceaccount",
    "vpceorgid",
    "vpceorgpaths",
    "vpcsourceip",
];

/// `prefix:name`, both parts present.
pub(crate) fn is_well_formed(key: &str) -> bool {
    key.split_once(':')
        .is_some_and(|(prefix, name)| !prefix.is_empty() && !name.is_empty())
}

/// `…Tag/NAME`, any case: at most one value.
pub(crate) fn is_of_a_tag(key: &str) -> bool {
    key.contains('/')
}

/// False for an `aws:` or `s3:` key that does not exist; any case.
pub(crate) fn is_known(key: &str) -> bool {
    let key = key.to_lowercase();
    let (known, name) = match key.split_once(':') {
        Some(("s3", name)) => (S3, name),
        Some(("aws", name)) => (GLOBAL, name),
        _ => return true,
    };
    known.iter().any(|entry| {
        if entry.ends_with('/') {
            name.len() > entry.len() && name.starts_with(entry)
        } else {
            *entry == name
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        for key in [
            "aws:SourceIp",
            "s3:ExistingObjectTag/a b",
            "S3:X-AMZ-ACL",
            "sts:ExternalId",
        ] {
            assert!(is_known(key) && is_well_formed(key), "{key}");
        }
        for key in [
            "aws:SourceIpp",
            "s3:ExistingObjectTag/",
            "s3:ExistingObjectTag",
            "s3:",
        ] {
            assert!(!is_known(key), "{key}");
        }
        for key in ["SourceIp", ":x", "aws:", ""] {
            assert!(!is_well_formed(key), "{key}");
        }
    }

    #[test]
    fn tables_are_lower_case_and_sorted() {
        for table in [S3, GLOBAL] {
            assert!(table.is_sorted(), "{table:?}");
            assert!(table.iter().all(|key| *key == key.to_lowercase()));
        }
    }
}
