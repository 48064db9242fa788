//! One statement: its members in any order, each at most once, each with its place.

use super::{ActionRule, Effect, Mode, ResourceRule, Statement, Version};
use crate::arn::ArnPattern;
use crate::bucket_rules;
use crate::condition::{self, ConditionRules};
use crate::error::{At, PolicyError};
use crate::json::Json;
use crate::pattern::Template;
use crate::principal::{self, Named, PrincipalRule};

#[derive(Clone, Copy)]
pub(super) struct Parser<'m> {
    pub(super) mode: Mode<'m>,
    pub(super) version: Version,
}

/// The members of a statement as found, each with its place.
#[derive(Default)]
struct Found<'j> {
    sid: Option<String>,
    effect: Option<Effect>,
    principals: Option<PrincipalRule>,
    actions: Option<ActionRule>,
    resources: Option<ResourceRule>,
    condition: Option<(&'j Json, At)>,
}

/// Puts a member into its slot; its opposite (`Action` and `NotAction`) may not be there already.
fn put<T>(slot: &mut Option<T>, value: T, at: &At) -> Result<(), PolicyError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(at.malformed("an element and its Not… form exclude each other")),
    }
}

impl Parser<'_> {
    pub(super) fn statement(self, json: &Json, at: &At) -> Result<Statement, PolicyError> {
        let mut found = Found::default();
        for (name, value) in json.object(at)? {
            self.member(&mut found, name, value, &at.field(name))?;
        }
        let missing = |name: &str| at.malformed(format!("Missing required field {name}"));
        let effect = found.effect.ok_or_else(|| missing("Effect"))?;
        let principals = match (found.principals, self.mode) {
            (Some(PrincipalRule::AllBut(_)), _) if effect == Effect::Allow => {
                // It would let in everyone else, anonymous callers included.
                let at = at.field("NotPrincipal");
                return Err(at.malformed("Allow with NotPrincipal is not allowed."));
            }
            (Some(principals), _) => principals,
            (None, Mode::Bucket { .. } | Mode::Trust) => return Err(missing("Principal")),
            (None, Mode::Identity { .. } | Mode::Session) => PrincipalRule::Attached,
        };
        let actions = found.actions.ok_or_else(|| missing("Action"))?;
        let resources = match (found.resources, self.mode) {
            (Some(resources), _) => resources,
            (None, Mode::Trust) => ResourceRule::Attached,
            (None, _) => return Err(missing("Resource")),
        };
        if let Mode::Bucket { bucket, mismatch } = self.mode {
            bucket_rules::check_pairs(&actions, &resources, (bucket, mismatch), at)?;
        }
        let conditions = match found.condition {
            Some((json, at)) => condition::parse(json, self.condition_rules(), &at)?,
            None => Vec::new(),
        };
        Ok(Statement {
            sid: found.sid,
            effect,
            principals,
            actions,
            resources,
            conditions,
        })
    }

    fn member<'j>(
        self,
        found: &mut Found<'j>,
        name: &str,
        value: &'j Json,
        at: &At,
    ) -> Result<(), PolicyError> {
        match name {
            "Sid" => found.sid = Some(value.text(at)?.to_owned()),
            "Effect" => found.effect = Some(parse_effect(value, at)?),
            "Principal" | "NotPrincipal" => {
                let rule = self.principals(name, value, at)?;
                put(&mut found.principals, rule, at)?;
            }
            "Action" => put(
                &mut found.actions,
                ActionRule::Only(self.actions(value, at)?),
                at,
            )?,
            "NotAction" => {
                put(
                    &mut found.actions,
                    ActionRule::AllBut(self.actions(value, at)?),
                    at,
                )?;
            }
            "Resource" => {
                put(
                    &mut found.resources,
                    ResourceRule::Only(self.resources(value, at)?),
                    at,
                )?;
            }
            "NotResource" => {
                put(
                    &mut found.resources,
                    ResourceRule::AllBut(self.resources(value, at)?),
                    at,
                )?;
            }
            "Condition" => found.condition = Some((value, at.clone())),
            other => return Err(at.malformed(format!("Unknown field {other}"))),
        }
        Ok(())
    }

    fn principals(self, name: &str, value: &Json, at: &At) -> Result<PrincipalRule, PolicyError> {
        if matches!(self.mode, Mode::Identity { .. } | Mode::Session) {
            return Err(at.malformed("Policy document should not specify a principal."));
        }
        let named = principal::parse(value, at)?;
        if name == "Principal" {
            return Ok(PrincipalRule::Only(named));
        }
        let everyone = named
            .iter()
            .any(|named| matches!(named, Named::Everyone { .. }));
        if everyone || self.mode == Mode::Trust {
            return Err(at.malformed("Invalid principal in policy"));
        }
        Ok(PrincipalRule::AllBut(named))
    }

    fn actions(self, value: &Json, at: &At) -> Result<Vec<Template>, PolicyError> {
        let mut actions = Vec::new();
        for (at, value) in value.one_or_list(at) {
            let text = value.text(&at)?;
            let vendor = text.split_once(':').is_some_and(|(vendor, name)| {
                !vendor.is_empty() && !name.is_empty() && !name.contains(':')
            });
            if text != "*" && !vendor {
                let message = "Actions/Conditions must be prefaced by a vendor, e.g., iam, s3";
                return Err(at.malformed(message));
            }
            let action = Template::caseless(text);
            if matches!(self.mode, Mode::Bucket { .. }) {
                bucket_rules::check_action(&action, &at)?;
            }
            actions.push(action);
        }
        if actions.is_empty() {
            return Err(at.malformed("Policy statement must contain actions."));
        }
        Ok(actions)
    }

    fn resources(self, value: &Json, at: &At) -> Result<Vec<ArnPattern>, PolicyError> {
        if self.mode == Mode::Trust {
            return Err(at.malformed("Has prohibited field Resource"));
        }
        let mut resources = Vec::new();
        for (at, value) in value.one_or_list(at) {
            let variables = self.version == Version::V2012;
            let resource = ArnPattern::resource(value.text(&at)?, variables)
                .map_err(|message| at.malformed(message))?;
            if let Mode::Bucket { bucket, .. } = self.mode {
                bucket_rules::check_resource(&resource, bucket, &at)?;
            }
            resources.push(resource);
        }
        if resources.is_empty() {
            return Err(at.malformed("Policy statement must contain resources."));
        }
        Ok(resources)
    }

    fn condition_rules(self) -> ConditionRules {
        ConditionRules {
            variables: self.version == Version::V2012,
            known_keys_only: matches!(self.mode, Mode::Bucket { .. }),
        }
    }
}

fn parse_effect(json: &Json, at: &At) -> Result<Effect, PolicyError> {
    match json.text(at)? {
        "Allow" => Ok(Effect::Allow),
        "Deny" => Ok(Effect::Deny),
        other => Err(at.malformed(format!("Invalid effect: {other}"))),
    }
}
