//! Wildcards against their definition; variables and templates.

use proptest::prelude::*;

use super::*;

const FULL: Syntax = Syntax {
    wildcards: true,
    variables: true,
};

/// The definition, exponential and obvious.
fn naive(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => (0..=text.len()).any(|skip| naive(rest, &text[skip..])),
        Some(('?', rest)) => !text.is_empty() && naive(rest, &text[1..]),
        Some((char, rest)) => text.first() == Some(char) && naive(rest, &text[1..]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn wildcards_equal_the_definition(pattern in "[abé?*]{0,9}", text in "[abé]{0,9}") {
        let template = Template::parse(&pattern, FULL).unwrap();
        let context = Context::default();
        let expected = naive(
            &pattern.chars().collect::<Vec<_>>(),
            &text.chars().collect::<Vec<_>>(),
        );
        prop_assert_eq!(template.matches(&text, &context), Ok(expected));
        prop_assert_eq!(template.could_match(&text), expected);
        prop_assert_eq!(Template::caseless(&pattern).matches(&text, &context), Ok(expected));
    }

    #[test]
    fn a_start_that_matches_could_match(pattern in "[ab?*/]{0,8}", text in "[ab/]{0,8}", cut in 0usize..9) {
        let template = Template::parse(&pattern, FULL).unwrap();
        if template.matches(&text, &Context::default()) == Ok(true) {
            prop_assert!(template.could_match_start(&text[..cut.min(text.len())]));
        }
    }

    #[test]
    fn templates_never_panic(text in any::<String>(), more in "[$\\{\\}a:,' *?]{0,20}") {
        for text in [text, more] {
            if let Ok(template) = Template::parse(&text, FULL) {
                let own = template.matches(&text, &Context::default());
                prop_assert!(own.is_ok() || template.has_variables());
            }
        }
    }
}

#[test]
fn many_stars_finish() {
    // 2^60 steps for a matcher that returns to every star.
    let template = Template::parse(&"*a?".repeat(60), FULL).unwrap();
    let text = "a".repeat(4000) + "b";
    assert_eq!(template.matches(&text, &Context::default()), Ok(true));
    let template = Template::parse(&("*a?".repeat(60) + "c"), FULL).unwrap();
    assert_eq!(template.matches(&text, &Context::default()), Ok(false));
}

#[test]
fn variables() {
    let mut context = Context::default();
    context.add("aws:UserName", "al*ce");
    context.add("aws:PrincipalTag/Team", "red");
    let matches = |pattern: &str, text: &str| {
        Template::parse(pattern, FULL)
            .unwrap()
            .matches(text, &context)
    };
    assert_eq!(matches("home/${aws:username}/*", "home/al*ce/x"), Ok(true));
    assert_eq!(matches("home/${aws:username}/*", "home/alice/x"), Ok(false));
    assert_eq!(matches("${aws:principaltag/team}${*}?", "red*x"), Ok(true));
    assert_eq!(matches("${aws:principaltag/team}${*}?", "redyx"), Ok(false));
    assert_eq!(matches("${?}${$}{a}", "?${a}"), Ok(true));
    assert_eq!(
        matches("${aws:x, 'company-wide'}", "company-wide"),
        Ok(true)
    );
    assert_eq!(matches("${aws:username,'d'}", "al*ce"), Ok(true));
    assert_eq!(matches("${aws:x}", ""), Err(Unresolved));
    for bad in [
        "${aws:x",
        "${}",
        "${x}",
        "${aws:x, d}",
        "${aws:x,'a'b'}",
        "${aws:a{b}",
    ] {
        assert!(Template::parse(bad, FULL).is_err(), "{bad}");
    }
    let literal = Syntax {
        wildcards: true,
        variables: false,
    };
    let old = Template::parse("${aws:username}", literal).unwrap();
    assert_eq!(old.matches("${aws:username}", &context), Ok(true));
}

#[test]
fn a_variable_with_two_values_is_unresolved() {
    let mut context = Context::default();
    context.add("aws:TagKeys", "a");
    context.add("aws:TagKeys", "b");
    let template = Template::parse("${aws:TagKeys}", FULL).unwrap();
    assert_eq!(template.matches("a", &context), Err(Unresolved));
}
