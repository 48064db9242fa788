//! The typed values of conditions: numbers, points in time, networks, bytes.
//!
//! Written by hand because each is small and must be exact: numbers compare digit by digit (an
//! `f64` would call 9007199254740993 and …992 equal), and dates take no clock and no time zone data.

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv6Addr};

/// Longest number in digits; far past any count of bytes.
const NUMBER_DIGITS_MAX: usize = 64;

/// An exact decimal number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    /// Without leading zeros.
    whole: String,
    /// Without trailing zeros.
    fraction: String,
}

impl Decimal {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let numeric = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !numeric(whole) || !numeric(fraction) || digits.len() > NUMBER_DIGITS_MAX {
            return None;
        }
        let whole = whole.trim_start_matches('0').to_owned();
        let fraction = fraction.trim_end_matches('0').to_owned();
        let zero = whole.is_empty() && fraction.is_empty();
        Some(Self {
            negative: negative && !zero,
            whole,
            fraction,
        })
    }

    fn magnitude(&self, other: &Self) -> Ordering {
        let lengths = self.whole.len().cmp(&other.whole.len());
        lengths
            .then_with(|| self.whole.cmp(&other.whole))
            .then(self.fraction.cmp(&other.fraction))
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => self.magnitude(other),
            (true, true) => other.magnitude(self),
        }
    }
}

/// A point in time, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    seconds: i64,
    nanos: u32,
}

impl Moment {
    /// ISO 8601 in W3C's profile (`2024`, `2024-05`, `2024-05-01`, `2024-05-01T12:30Z`, with
    /// seconds and fraction, offset `Z` or `±hh:mm`), or seconds since 1970. Four digits alone are
    /// a year, as W3C has it. A time of day without offset is refused: it would be a guess.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let epoch = |c: u8| c.is_ascii_digit() || c == b'-' || c == b'.';
        if text.len() != 4 && text.bytes().all(epoch) && !is_date(text) {
            return Self::epoch(text);
        }
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let mut parts = date.split('-');
        let year = digits(parts.next()?, 4)?;
        let month = parts.next().map_or(Some(1), |part| digits(part, 2))?;
        let whole_date = date.len() == 10;
        let day = parts.next().map_or(Some(1), |part| digits(part, 2))?;
        if parts.next().is_some() || day < 1 || day > month_days(year, month)? {
            return None;
        }
        let midnight = days_since_epoch(year, month, day) * 86_400;
        let (in_day, nanos) = match time {
            None => (0, 0),
            Some(time) if whole_date => time_of_day(time)?,
            Some(_) => return None,
        };
        Some(Self {
            seconds: midnight + in_day,
            nanos,
        })
    }

    fn epoch(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let seconds: i64 = whole.parse().ok()?;
        let nanos = fraction_nanos(fraction)?;
        // Before 1970 the fraction counts away from the next lower second; nobody writes that.
        (seconds >= 0 || nanos == 0).then_some(Self { seconds, nanos })
    }
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let plain = text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

fn fraction_nanos(text: &str) -> Option<u32> {
    if text.is_empty() || text.len() > 9 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    format!("{text:0<9}").parse().ok()
}

fn month_days(year: i64, month: i64) -> Option<i64> {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if leap { 29 } else { 28 }),
        _ => None,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar; years begin in March, so that the
/// leap day is the last of its year.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// `YYYY-…`: digits, but no number.
fn is_date(text: &str) -> bool {
    text.as_bytes().get(4) == Some(&b'-')
}

/// `hh:mm[:ss[.f]]` and an offset; answers seconds after UTC midnight and nanoseconds.
fn time_of_day(text: &str) -> Option<(i64, u32)> {
    let (clock, offset) = if let Some(clock) = text.strip_suffix('Z') {
        (clock, 0)
    } else {
        let sign_at = text.rfind(['+', '-'])?;
        let (hours, minutes) = text[sign_at + 1..].split_once(':')?;
        let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
        if hours > 23 || minutes > 59 {
            return None;
        }
        let size = hours * 3600 + minutes * 60;
        (
            &text[..sign_at],
            if text[sign_at..].starts_with('-') {
                -size
            } else {
                size
            },
        )
    };
    let mut parts = clock.split(':');
    let hour = digits(parts.next()?, 2)?;
    let minute = digits(parts.next()?, 2)?;
    let (second, nanos) = match parts.next() {
        None => (0, 0),
        Some(part) => match part.split_once('.') {
            None => (digits(part, 2)?, 0),
            Some((second, fraction)) => (digits(second, 2)?, fraction_nanos(fraction)?),
        },
    };
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some((hour * 3600 + minute * 60 + second - offset, nanos))
}

/// A network in CIDR notation; a lone address is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// IPv4-mapped IPv6 counts as the IPv4 it is, on both sides of the comparison: a dual-stack
    /// socket reports IPv4 clients in that form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            None => (text.parse::<IpAddr>().ok()?, None),
            Some((address, prefix)) => {
                let plain = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
                if !plain || prefix.len() > 3 {
                    return None;
                }
                (
                    address.parse::<IpAddr>().ok()?,
                    Some(prefix.parse::<u32>().ok()?),
                )
            }
        };
        let width = width(address);
        let prefix = prefix.unwrap_or(width);
        if prefix > width {
            return None;
        }
        if let (IpAddr::V6(six), 96..) = (address, prefix)
            && let Some(four) = six.to_ipv4_mapped()
        {
            return Some(Self {
                address: IpAddr::V4(four),
                prefix: prefix - 96,
            });
        }
        Some(Self { address, prefix })
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let shift = width(self.address) - self.prefix;
        let high = |bits: u128| bits.checked_shr(shift).unwrap_or(0);
        width(address) == width(self.address) && high(bits(address)) == high(bits(self.address))
    }

    /// So broad that it does not narrow: wider than /8 (IPv4) or /32 (IPv6), as AWS counts.
    pub(crate) fn is_broad(&self) -> bool {
        self.prefix < if self.address.is_ipv4() { 8 } else { 32 }
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() {
        32
    } else {
        Ipv6Addr::BITS
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(four) => u128::from(four.to_bits()),
        IpAddr::V6(six) => six.to_bits(),
    }
}

/// Standard base64 with padding.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let body = text
        .strip_suffix("==")
        .or_else(|| text.strip_suffix('='))
        .unwrap_or(text);
    let mut bytes = Vec::with_capacity(body.len() / 4 * 3 + 2);
    for group in body.as_bytes().chunks(4) {
        let mut bits = 0u32;
        for &byte in group {
            bits = bits << 6 | u32::from(value(byte)?);
        }
        bits <<= 6 * (4 - group.len());
        let [_, high, middle, low] = bits.to_be_bytes();
        bytes.extend_from_slice(&[high, middle, low][..group.len().saturating_sub(1)]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
