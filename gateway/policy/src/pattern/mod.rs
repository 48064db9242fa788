//! Wildcards and policy variables.
//!
//! A [`Template`] is parsed once into literals, `*`, `?` and variables. Matching goes left to right
//! and never returns to an earlier `*`: the shortest match of what lies between two stars is always
//! as good as any longer one. Runs without `?` are found by the standard library's linear search;
//! with `?` the work is at most pattern length × text length, both of which are bounded
//! ([`crate::ONES_MAX`], [`crate::WILD_VALUE_BYTES_MAX`]). No input makes it exponential.
//!
//! What a variable stands for is inserted as literal text: a user named `*` matches only `*`.

use std::borrow::Cow;

use crate::request::Context;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(String),
    /// `?`: exactly one character.
    One,
    /// `*`: any number of characters, also none, also `/`.
    Any,
    /// `${key}` or `${key, 'default'}`; the key in lower case.
    Variable {
        key: String,
        default: Option<String>,
    },
}

/// A pattern character by character, for the checks at parse time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Exactly(char),
    One,
    Any,
}

/// Which parts of the syntax mean something in this place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Syntax {
    pub(crate) wildcards: bool,
    pub(crate) variables: bool,
}

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    tokens: Vec<Token>,
}

/// A template with its variables filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Text(Cow<'a, str>),
    One,
    Any,
}

/// A variable without a value in this request: the template matches nothing, and a negated test
/// must not pass for that reason alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unresolved;

impl Template {
    /// Parses `text`. Errors say what is wrong with a variable, in one sentence.
    pub(crate) fn parse(text: &str, syntax: Syntax) -> Result<Self, String> {
        let mut template = Self { tokens: Vec::new() };
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if syntax.variables && rest.starts_with("${") {
                let (token, tail) = variable(rest)?;
                template.push(token);
                rest = tail;
                continue;
            }
            rest = &rest[first.len_utf8()..];
            match first {
                '*' if syntax.wildcards => template.push(Token::Any),
                '?' if syntax.wildcards => template.push(Token::One),
                other => template.push(Token::Literal(other.to_string())),
            }
        }
        Ok(template)
    }

    /// Parses text whose every character is itself but `*` and `?`, ignoring ASCII case.
    pub(crate) fn caseless(text: &str) -> Self {
        let mut template = Self { tokens: Vec::new() };
        for char in text.chars() {
            template.push(match char {
                '*' => Token::Any,
                '?' => Token::One,
                other => Token::Literal(other.to_ascii_lowercase().to_string()),
            });
        }
        template
    }

    fn push(&mut self, token: Token) {
        match (self.tokens.last_mut(), token) {
            (Some(Token::Literal(last)), Token::Literal(more)) => last.push_str(&more),
            // `**` is `*`: no empty runs to look for.
            (Some(Token::Any), Token::Any) => {}
            (_, token) => self.tokens.push(token),
        }
    }

    /// No wildcard and no variable: it can match one text only.
    pub(crate) fn is_fixed(&self) -> bool {
        self.tokens
            .iter()
            .all(|token| matches!(token, Token::Literal(_)))
    }

    /// Fixed, and free of `*` and `?` also where they would be literal.
    pub(crate) fn is_plain(&self) -> bool {
        let plain = |token: &Token| matches!(token, Token::Literal(l) if !l.contains(['*', '?']));
        self.tokens.iter().all(plain)
    }

    pub(crate) fn has_variables(&self) -> bool {
        self.tokens
            .iter()
            .any(|token| matches!(token, Token::Variable { .. }))
    }

    /// What stands before the first wildcard or variable.
    pub(crate) fn literal_start(&self) -> &str {
        match self.tokens.first() {
            Some(Token::Literal(literal)) => literal,
            _ => "",
        }
    }

    /// Matches any text.
    pub(crate) fn any() -> Self {
        Self {
            tokens: vec![Token::Any],
        }
    }

    /// Matches the empty text only.
    pub(crate) fn empty() -> Self {
        Self { tokens: Vec::new() }
    }

    /// Just `*`.
    pub(crate) fn is_any(&self) -> bool {
        self.tokens == [Token::Any]
    }

    /// Does it match the whole of `text`?
    pub(crate) fn matches(&self, text: &str, context: &Context) -> Result<bool, Unresolved> {
        match self.tokens.as_slice() {
            [] => Ok(text.is_empty()),
            [Token::Any] => Ok(true),
            [Token::Literal(literal)] => Ok(literal == text),
            [Token::Literal(literal), Token::Any] => Ok(text.starts_with(literal.as_str())),
            _ => Ok(glob(&self.resolve(context)?, text)),
        }
    }

    /// The text it stands for; wildcards stand for themselves.
    pub(crate) fn render<'a>(&'a self, context: &'a Context) -> Result<Cow<'a, str>, Unresolved> {
        let mut whole = Cow::Borrowed("");
        for piece in self.resolve(context)? {
            match piece {
                Piece::Text(text) if whole.is_empty() => whole = text,
                Piece::Text(text) => whole.to_mut().push_str(&text),
                Piece::One => whole.to_mut().push('?'),
                Piece::Any => whole.to_mut().push('*'),
            }
        }
        Ok(whole)
    }

    fn resolve<'a>(&'a self, context: &'a Context) -> Result<Vec<Piece<'a>>, Unresolved> {
        let mut pieces: Vec<Piece<'a>> = Vec::with_capacity(self.tokens.len());
        for token in &self.tokens {
            let text = match token {
                Token::Any => {
                    pieces.push(Piece::Any);
                    continue;
                }
                Token::One => {
                    pieces.push(Piece::One);
                    continue;
                }
                Token::Literal(literal) => literal.as_str(),
                Token::Variable { key, default } => context
                    .single(key)
                    .or(default.as_deref())
                    .ok_or(Unresolved)?,
            };
            // Neighbours are joined, so that a run without `?` stays one linear search.
            match pieces.last_mut() {
                Some(Piece::Text(last)) => last.to_mut().push_str(text),
                _ => pieces.push(Piece::Text(Cow::Borrowed(text))),
            }
        }
        Ok(pieces)
    }

    /// Could it, for some values of its variables, match exactly `text`?
    pub(crate) fn could_match(&self, text: &str) -> bool {
        let last = self.expanded().len();
        self.states_after(text).get(last).copied().unwrap_or(false)
    }

    /// Could it, for some values of its variables, match some text that begins with `prefix`?
    pub(crate) fn could_match_start(&self, prefix: &str) -> bool {
        self.states_after(prefix).contains(&true)
    }

    /// One step a character; a variable may be anything.
    fn expanded(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for token in &self.tokens {
            match token {
                Token::Literal(literal) => steps.extend(literal.chars().map(Step::Exactly)),
                Token::One => steps.push(Step::One),
                Token::Any | Token::Variable { .. } => steps.push(Step::Any),
            }
        }
        steps
    }

    /// Which positions of the pattern can be reached once `text` is consumed. Only for parsing.
    fn states_after(&self, text: &str) -> Vec<bool> {
        let steps = self.expanded();
        let mut reached = vec![false; steps.len() + 1];
        reached[0] = true;
        let skip_stars = |reached: &mut Vec<bool>| {
            for (index, step) in steps.iter().enumerate() {
                if reached[index] && *step == Step::Any {
                    reached[index + 1] = true;
                }
            }
        };
        skip_stars(&mut reached);
        for char in text.chars() {
            let mut next = vec![false; steps.len() + 1];
            for (index, step) in steps
                .iter()
                .enumerate()
                .filter(|(index, _)| reached[*index])
            {
                match step {
                    Step::Any => next[index] = true,
                    Step::Exactly(wanted) if *wanted != char => {}
                    Step::Exactly(_) | Step::One => next[index + 1] = true,
                }
            }
            skip_stars(&mut next);
            reached = next;
        }
        reached
    }
}

/// Parses `${…}` at the start of `text`; answers the token and what follows.
fn variable(text: &str) -> Result<(Token, &str), String> {
    let body = text.strip_prefix("${").unwrap_or(text);
    let Some(end) = body.find('}') else {
        return Err("a policy variable is not closed: expected `}`".into());
    };
    let (inside, tail) = (&body[..end], &body[end + 1..]);
    if matches!(inside, "*" | "?" | "$") {
        return Ok((Token::Literal(inside.to_owned()), tail));
    }
    let (name, default) = match inside.split_once(',') {
        None => (inside, None),
        Some((name, quoted)) => {
            let default = quoted
                .trim()
                .strip_prefix('\'')
                .and_then(|rest| rest.strip_suffix('\''));
            let Some(default) = default.filter(|default| !default.contains('\'')) else {
                return Err("the default of a policy variable stands in single quotes".into());
            };
            (name.trim(), Some(default.to_owned()))
        }
    };
    let plain = |c: char| {
        c.is_alphanumeric() || matches!(c, ':' | '/' | '-' | '_' | '.' | '+' | '=' | '@' | ' ')
    };
    if !name.contains(':') || name.trim() != name || !name.chars().all(plain) {
        return Err(format!("`${{{inside}}}` is not a policy variable"));
    }
    Ok((
        Token::Variable {
            key: name.to_lowercase(),
            default,
        },
        tail,
    ))
}

/// Does the pattern match the whole of `text`?
pub(crate) fn glob(pieces: &[Piece<'_>], text: &str) -> bool {
    let mut runs = pieces.split(|piece| matches!(piece, Piece::Any));
    let first = runs.next().unwrap_or_default();
    let Some(mut rest) = strip_run(first, text) else {
        return false;
    };
    let Some(mut run) = runs.next() else {
        return rest.is_empty();
    };
    for next in runs {
        match find_run(run, rest) {
            Some(tail) => rest = tail,
            None => return false,
        }
        run = next;
    }
    ends_with_run(run, rest)
}

/// What is left of `text` after a run (no stars) at its start.
fn strip_run<'t>(run: &[Piece<'_>], text: &'t str) -> Option<&'t str> {
    run.iter().try_fold(text, |rest, piece| match piece {
        Piece::Text(literal) => rest.strip_prefix(literal.as_ref()),
        Piece::One | Piece::Any => {
            let mut chars = rest.chars();
            chars.next().map(|_| chars.as_str())
        }
    })
}

/// What is left of `text` after the first place where the run matches.
fn find_run<'t>(run: &[Piece<'_>], text: &'t str) -> Option<&'t str> {
    match run {
        [] => return Some(text),
        [Piece::Text(literal)] => {
            return text
                .find(literal.as_ref())
                .map(|place| &text[place + literal.len()..]);
        }
        _ => {}
    }
    text.char_indices()
        .find_map(|(place, _)| strip_run(run, &text[place..]))
}

fn ends_with_run(run: &[Piece<'_>], text: &str) -> bool {
    if let [Piece::Text(literal)] = run {
        return text.ends_with(literal.as_ref());
    }
    let chars: usize = run
        .iter()
        .map(|piece| match piece {
            Piece::Text(literal) => literal.chars().count(),
            Piece::One | Piece::Any => 1,
        })
        .sum();
    if chars == 0 {
        return true;
    }
    match text.char_indices().rev().nth(chars - 1) {
        Some((place, _)) => strip_run(run, &text[place..]) == Some(""),
        None => false,
    }
}

#[cfg(test)]
mod tests;
