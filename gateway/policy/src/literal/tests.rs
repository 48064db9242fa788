//! Numbers, dates, networks and base64, to the edge.

use proptest::prelude::*;

use super::*;

#[test]
fn numbers_are_exact() {
    let number = |text| Decimal::parse(text).unwrap();
    assert!(number("9007199254740993") > number("9007199254740992"));
    assert_eq!(number("10"), number("010.00"));
    assert_eq!(number("-0"), number("0"));
    assert!(number("-2") < number("-1.5"));
    assert!(number("0.25") < number("0.3"));
    assert!(Decimal::parse(&"9".repeat(NUMBER_DIGITS_MAX)).is_some());
    assert!(Decimal::parse(&"9".repeat(NUMBER_DIGITS_MAX + 1)).is_none());
    for bad in ["", "-", "1e3", "1.", ".5", "1,0", "0x1", "१"] {
        assert!(Decimal::parse(bad).is_none(), "{bad}");
    }
}

#[test]
fn dates() {
    let at = |text: &str| Moment::parse(text).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(at("1970-01-01T00:00:00Z"), at("0"));
    assert_eq!(at("2000-02-29T12:00:00Z"), at("951825600"));
    assert_eq!(at("2024"), at("2024-01-01"));
    assert_eq!(at("2024-05"), at("2024-05-01T00:00Z"));
    assert_eq!(at("2024-05-01T02:00:00+02:00"), at("2024-05-01T00:00:00Z"));
    assert_eq!(at("2024-05-01T00:00:00-00:30"), at("2024-05-01T00:30:00Z"));
    assert!(at("2024-05-01T00:00:00.5Z") > at("2024-05-01T00:00:00.499999999Z"));
    assert_eq!(at("1714521600.5"), at("2024-05-01T00:00:00.5Z"));
    assert!(at("-86400") < at("1970-01-01"));
    for bad in [
        "",
        "24",
        "2024-13",
        "2023-02-29",
        "2024-05-01T00:00:00",
        "2024-05T00:00Z",
        "2024-5-1",
        "2024-05-01T24:00Z",
        "2024-05-01T00:00:60Z",
        "2024-05-01 00:00:00Z",
        "*",
        "T",
        "Z",
        "2024-05-01T00:00:00+2:00",
    ] {
        // A short number is a count of seconds, not a date.
        assert_eq!(Moment::parse(bad).is_some(), bad == "24", "{bad}");
    }
}

#[test]
fn networks() {
    let contains = |network: &str, address: &str| {
        Network::parse(network)
            .unwrap()
            .contains(address.parse().unwrap())
    };
    assert!(contains("203.0.113.0/24", "203.0.113.255"));
    assert!(!contains("203.0.113.0/24", "203.0.114.0"));
    assert!(contains("203.0.113.7", "203.0.113.7"));
    assert!(!contains("203.0.113.7", "203.0.113.8"));
    assert!(contains("0.0.0.0/0", "1.2.3.4"));
    assert!(!contains("0.0.0.0/0", "2001:db8::1"));
    assert!(contains("::/0", "2001:db8::1"));
    assert!(!contains("::/0", "1.2.3.4"));
    assert!(contains(
        "2001:DB8:1234:5678::/64",
        "2001:db8:1234:5678:9::1"
    ));
    assert!(!contains(
        "2001:DB8:1234:5678::/64",
        "2001:db8:1234:5679::1"
    ));
    assert!(contains("203.0.113.0/24", "::ffff:203.0.113.9"));
    assert!(contains("::ffff:203.0.113.0/120", "203.0.113.9"));
    for bad in [
        "",
        "1.2.3",
        "1.2.3.4/33",
        "::/129",
        "1.2.3.4/",
        "1.2.3.4/+8",
        "*",
        "1.2.3.*",
    ] {
        assert!(Network::parse(bad).is_none(), "{bad}");
    }
}

#[test]
fn base64_vectors() {
    assert_eq!(
        base64("QmluYXJ5VmFsdWVJbkJhc2U2NA==").unwrap(),
        b"BinaryValueInBase64"
    );
    assert_eq!(base64("").unwrap(), b"");
    assert_eq!(base64("Zm8=").unwrap(), b"fo");
    for bad in ["Zg", "Z===", "====", "Zm9*", "Zm=v"] {
        assert!(base64(bad).is_none(), "{bad}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(text in "[-0-9T:.+Z/a-f=]{0,24}", any in any::<String>()) {
        for text in [text, any] {
            let _ = (Decimal::parse(&text), Moment::parse(&text), base64(&text));
            if let Some(network) = Network::parse(&text) {
                network.contains(IpAddr::from([1, 2, 3, 4]));
            }
        }
    }

    #[test]
    fn integers_compare_as_integers(a in any::<i64>(), b in any::<i64>()) {
        let number = |n: i64| Decimal::parse(&n.to_string()).unwrap();
        prop_assert_eq!(number(a).cmp(&number(b)), a.cmp(&b));
    }

    #[test]
    fn days_follow_each_other(days in 0i64..80_000) {
        // Every day is one day after the last day of the month before, or of the day before.
        let year = 1970 + days / 366;
        for month in 1..=12 {
            let last = month_days(year, month).unwrap();
            let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            prop_assert_eq!(
                days_since_epoch(year, month, last) + 1,
                days_since_epoch(next.0, next.1, 1)
            );
        }
    }
}
