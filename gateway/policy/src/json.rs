//! JSON as a tree that keeps what `serde_json::Value` forgets.
//!
//! Objects stay lists of pairs in the order written, so that a repeated key is seen and refused at
//! its place: two readers of `{"Effect":"Deny","Effect":"Allow"}` must not disagree about which
//! counts. Depth is bounded here, not by `serde_json`'s own 128, so that the bound is ours to state.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::error::{At, PolicyError};

/// Deepest nesting of objects and lists. A valid policy needs six (document, statement list,
/// statement, condition block, operator, list of values).
pub const JSON_DEPTH_MAX: usize = 8;

const TOO_DEEP: &str = "the document is nested too deeply";

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// As decimal text, never with an exponent.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Parses one whole document; nothing may follow it.
    pub(crate) fn parse(text: &str) -> Result<Self, PolicyError> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let tree = Tree {
            depth_left: JSON_DEPTH_MAX,
        }
        .deserialize(&mut reader)
        .and_then(|tree| reader.end().map(|()| tree));
        tree.map_err(|error| {
            At::root().malformed(format!("This policy contains invalid Json: {error}"))
        })
    }

    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    pub(crate) fn text(&self, at: &At) -> Result<&str, PolicyError> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(at.malformed(format!("expected a string, found {}", other.kind()))),
        }
    }

    /// How often `char` stands in the texts, at any depth.
    pub(crate) fn count(&self, char: char) -> usize {
        match self {
            Self::Text(text) => text.matches(char).count(),
            Self::List(items) => items.iter().map(|item| item.count(char)).sum(),
            Self::Object(members) => members.iter().map(|(_, value)| value.count(char)).sum(),
            Self::Null | Self::Bool(_) | Self::Number(_) => 0,
        }
    }

    /// The members of an object; a key written twice is refused.
    pub(crate) fn object(&self, at: &At) -> Result<&[(String, Self)], PolicyError> {
        let Self::Object(members) = self else {
            return Err(at.malformed(format!("expected an object, found {}", self.kind())));
        };
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(at.field(pair[0]).malformed("the key is written twice")),
            None => Ok(members),
        }
    }

    /// A value or a list of values, each with its place.
    pub(crate) fn one_or_list<'a>(&'a self, at: &At) -> Vec<(At, &'a Self)> {
        match self {
            Self::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| (at.index(index), item))
                .collect(),
            one => vec![(at.clone(), one)],
        }
    }
}

#[derive(Clone, Copy)]
struct Tree {
    depth_left: usize,
}

impl Tree {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left }),
            None => Err(E::custom(TOO_DEEP)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Tree {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let inner = self.deeper::<A::Error>()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let inner = self.deeper::<A::Error>()?;
        let mut members = Vec::new();
        while let Some(name) = access.next_key::<String>()? {
            members.push((name, access.next_value_seed(inner)?));
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::parse(&nested(JSON_DEPTH_MAX)).is_ok());
        let error = Json::parse(&nested(JSON_DEPTH_MAX + 1)).unwrap_err();
        assert!(error.message.contains(TOO_DEEP), "{error}");
    }

    #[test]
    fn numbers_have_no_exponent() {
        assert_eq!(Json::parse("1e3").unwrap(), Json::Number("1000".into()));
        assert_eq!(Json::parse("-5").unwrap(), Json::Number("-5".into()));
    }

    #[test]
    fn a_key_written_twice_is_seen_even_when_escaped() {
        let tree = Json::parse(r#"{"Effect":1,"\u0045ffect":2}"#).unwrap();
        let error = tree.object(&At::root()).unwrap_err();
        assert_eq!(error.path, "Effect");
    }
}
