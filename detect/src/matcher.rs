//! What a Sigma value means for a text: equality without case, wildcards, regular expressions, CIDR, comparison.

use std::net::IpAddr;

use regex::{Regex, RegexBuilder};
use rsigma_parser::{Modifier, SigmaString, SigmaValue, SpecialChar, StringPart};

/// One value of a detection item, compiled.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    /// Lower-cased unless `cased`.
    Equals {
        text: String,
        cased: bool,
    },
    Contains {
        text: String,
        cased: bool,
    },
    StartsWith {
        text: String,
        cased: bool,
    },
    EndsWith {
        text: String,
        cased: bool,
    },
    Pattern(Regex),
    Cidr {
        network: u128,
        mask: u128,
        v6: bool,
    },
    Compare {
        than: f64,
        modifier: Modifier,
    },
    /// Absent and JSON null alike.
    Null,
}

impl Test {
    pub(crate) fn new(value: &SigmaValue, modifiers: &[Modifier]) -> Result<Self, String> {
        let has = |modifier| modifiers.contains(&modifier);
        if let Some(modifier) = modifiers.iter().find(|modifier| unsupported(modifier)) {
            return Err(format!("sigma modifier `{modifier:?}` is not supported: write the condition in SQL instead"));
        }
        if let Some(modifier) = modifiers.iter().find(|modifier| comparison(modifier)) {
            return compare(value, *modifier);
        }
        match value {
            SigmaValue::Null => Ok(Self::Null),
            SigmaValue::String(text) if has(Modifier::Re) => regex(text, modifiers),
            SigmaValue::String(text) if has(Modifier::Cidr) => cidr(&text.original),
            SigmaValue::String(text) => Ok(string(text, modifiers)),
            SigmaValue::Integer(number) => Ok(plain(number.to_string(), modifiers)),
            SigmaValue::Float(number) => Ok(plain(number.to_string(), modifiers)),
            SigmaValue::Bool(flag) => Ok(plain(flag.to_string(), modifiers)),
        }
    }

    pub(crate) fn holds(&self, value: &str) -> bool {
        match self {
            Self::Equals { text, cased: true } => value == text,
            Self::Equals { text, .. } => equals(value, text),
            Self::Contains { text, cased: true } => value.contains(text.as_str()),
            Self::Contains { text, .. } => value.to_lowercase().contains(text.as_str()),
            Self::StartsWith { text, cased: true } => value.starts_with(text.as_str()),
            Self::StartsWith { text, .. } => value.to_lowercase().starts_with(text.as_str()),
            Self::EndsWith { text, cased: true } => value.ends_with(text.as_str()),
            Self::EndsWith { text, .. } => value.to_lowercase().ends_with(text.as_str()),
            Self::Pattern(regex) => regex.is_match(value),
            Self::Cidr { network, mask, v6 } => within(value, *network, *mask, *v6),
            Self::Compare { than, modifier } => value.parse().is_ok_and(|value: f64| compares(value, *than, *modifier)),
            Self::Null => false,
        }
    }
}

fn unsupported(modifier: &Modifier) -> bool {
    use Modifier as M;
    !matches!(
        modifier,
        M::Contains
            | M::StartsWith
            | M::EndsWith
            | M::All
            | M::Re
            | M::Cidr
            | M::Cased
            | M::Exists
            | M::Gt
            | M::Gte
            | M::Lt
            | M::Lte
            | M::IgnoreCase
            | M::Multiline
            | M::DotAll
    )
}

fn comparison(modifier: &Modifier) -> bool {
    matches!(modifier, Modifier::Gt | Modifier::Gte | Modifier::Lt | Modifier::Lte)
}

fn compare(value: &SigmaValue, modifier: Modifier) -> Result<Test, String> {
    let than = match value {
        #[expect(clippy::cast_precision_loss, reason = "a rule compares with numbers far below 2^52")]
        SigmaValue::Integer(number) => *number as f64,
        SigmaValue::Float(number) => *number,
        other => return Err(format!("`{other:?}` cannot be compared with: a number is needed")),
    };
    Ok(Test::Compare { than, modifier })
}

fn compares(value: f64, than: f64, modifier: Modifier) -> bool {
    match modifier {
        Modifier::Gt => value > than,
        Modifier::Gte => value >= than,
        Modifier::Lt => value < than,
        _ => value <= than,
    }
}

fn equals(value: &str, lower: &str) -> bool {
    if value.is_ascii() { value.eq_ignore_ascii_case(lower) } else { value.to_lowercase() == lower }
}

fn plain(text: String, modifiers: &[Modifier]) -> Test {
    string(&SigmaString { parts: vec![StringPart::Plain(text.clone())], original: text }, modifiers)
}

fn string(value: &SigmaString, modifiers: &[Modifier]) -> Test {
    let cased = modifiers.contains(&Modifier::Cased);
    let mut parts = value.parts.clone();
    let star = StringPart::Special(SpecialChar::WildcardMulti);
    if modifiers.iter().any(|modifier| matches!(modifier, Modifier::Contains | Modifier::EndsWith)) {
        parts.insert(0, star.clone());
    }
    if modifiers.iter().any(|modifier| matches!(modifier, Modifier::Contains | Modifier::StartsWith)) {
        parts.push(star);
    }
    parts.dedup_by(|left, right| left == right && matches!(left, StringPart::Special(SpecialChar::WildcardMulti)));
    simple(&parts, cased).unwrap_or_else(|| Test::Pattern(wildcard(&parts, cased)))
}

/// The wildcard forms that need no regular expression.
fn simple(parts: &[StringPart], cased: bool) -> Option<Test> {
    use StringPart::{Plain, Special};
    const STAR: StringPart = Special(SpecialChar::WildcardMulti);
    let text = |text: &String| if cased { text.clone() } else { text.to_lowercase() };
    match parts {
        [] => Some(Test::Equals { text: String::new(), cased }),
        [Plain(one)] => Some(Test::Equals { text: text(one), cased }),
        [Plain(one), star] if *star == STAR => Some(Test::StartsWith { text: text(one), cased }),
        [star, Plain(one)] if *star == STAR => Some(Test::EndsWith { text: text(one), cased }),
        [left, Plain(one), right] if *left == STAR && *right == STAR => Some(Test::Contains { text: text(one), cased }),
        _ => None,
    }
}

fn wildcard(parts: &[StringPart], cased: bool) -> Regex {
    let body: String = parts
        .iter()
        .map(|part| match part {
            StringPart::Plain(text) => regex::escape(text),
            StringPart::Special(SpecialChar::WildcardMulti) => ".*".to_owned(),
            StringPart::Special(SpecialChar::WildcardSingle) => ".".to_owned(),
        })
        .collect();
    let built = RegexBuilder::new(&format!("^(?:{body})$")).case_insensitive(!cased).dot_matches_new_line(true).build();
    built.unwrap_or_else(|_| never())
}

/// A pattern of escaped text and dots always compiles; should it not, it matches nothing.
fn never() -> Regex {
    #[expect(clippy::expect_used, reason = "a constant pattern that a test compiles")]
    Regex::new(r"[^\s\S]").expect("a constant pattern")
}

fn regex(text: &SigmaString, modifiers: &[Modifier]) -> Result<Test, String> {
    let has = |modifier| modifiers.contains(&modifier);
    RegexBuilder::new(&text.original)
        .case_insensitive(has(Modifier::IgnoreCase))
        .multi_line(has(Modifier::Multiline))
        .dot_matches_new_line(has(Modifier::DotAll))
        .build()
        .map(Test::Pattern)
        .map_err(|error| format!("`{}` is not a regular expression that can be run: {error}", text.original))
}

fn cidr(text: &str) -> Result<Test, String> {
    let bad = || format!("`{text}` is not a network: write 192.0.2.0/24 or 2001:db8::/32");
    let (address, bits) = text.split_once('/').ok_or_else(bad)?;
    let address: IpAddr = address.parse().map_err(|_| bad())?;
    let bits: u32 = bits.parse().map_err(|_| bad())?;
    let v6 = address.is_ipv6();
    let width = if v6 { 128 } else { 32 };
    if bits > width {
        return Err(bad());
    }
    let mask = if bits == 0 { 0 } else { (u128::MAX >> (128 - width)) & !((1u128 << (width - bits)).wrapping_sub(1)) };
    Ok(Test::Cidr { network: number(address) & mask, mask, v6 })
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(four) => u128::from(u32::from(four)),
        IpAddr::V6(six) => u128::from(six),
    }
}

fn within(value: &str, network: u128, mask: u128, v6: bool) -> bool {
    value.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6() == v6 && number(address) & mask == network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(pattern: &str, modifiers: &[Modifier], value: &str) -> bool {
        Test::new(&SigmaValue::String(SigmaString::new(pattern)), modifiers).expect(pattern).holds(value)
    }

    #[test]
    fn strings_ignore_case_unless_cased() {
        assert!(holds("CreateUser", &[], "createuser"));
        assert!(!holds("CreateUser", &[Modifier::Cased], "createuser"));
        assert!(holds("ÄB", &[], "äb"));
    }

    #[test]
    fn wildcards_and_modifiers() {
        assert!(holds("Delete*", &[], "DeleteTrail"));
        assert!(holds("*Trail", &[], "deletetrail"));
        assert!(holds("D?lete*Tr?il", &[], "DeleteTrail"));
        assert!(!holds(r"Delete\*", &[], "DeleteTrail"));
        assert!(holds("trail", &[Modifier::Contains], "StopTrails"));
        assert!(holds("a.c", &[Modifier::Re], "xabcx"));
        assert!(!holds("a.c", &[], "abc"));
    }

    #[test]
    fn networks() {
        assert!(holds("192.0.2.0/24", &[Modifier::Cidr], "192.0.2.77"));
        assert!(!holds("192.0.2.0/24", &[Modifier::Cidr], "192.0.3.1"));
        assert!(holds("2001:db8::/32", &[Modifier::Cidr], "2001:db8:1::1"));
        assert!(!holds("0.0.0.0/0", &[Modifier::Cidr], "::1"));
        assert!(Test::new(&SigmaValue::String(SigmaString::new("x/33")), &[Modifier::Cidr]).is_err());
    }

    #[test]
    fn numbers_and_the_pattern_that_never_matches() {
        let test = Test::new(&SigmaValue::Integer(400), &[Modifier::Gte]).expect("compiles");
        assert!(test.holds("404") && !test.holds("399") && !test.holds("x"));
        assert!(!never().is_match("anything"));
    }
}
