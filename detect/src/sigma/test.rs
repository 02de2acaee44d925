//! One value of a Sigma detection item, compiled, and what it means for a text.

use std::net::IpAddr;

use regex::Regex;
use rsigma_parser::Modifier;

use super::fold;
use super::moment::Part;

#[derive(Clone, Debug)]
pub(crate) enum Test {
    /// Lower-cased unless `cased`, here and below.
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
    /// `*`: any value at all.
    Any,
    Pattern(Regex),
    Cidr {
        network: u128,
        mask: u128,
        v6: bool,
    },
    Compare(Compare),
    /// A part of a timestamp, compared.
    Moment(Part, Compare),
    /// Absent and JSON null alike.
    Null,
}

/// A comparison of numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compare {
    pub(crate) by: Modifier,
    pub(crate) than: f64,
}

impl Compare {
    /// Any modifier but the four comparisons means equality.
    pub(crate) fn holds(self, value: f64) -> bool {
        match self.by {
            Modifier::Gt => value > self.than,
            Modifier::Gte => value >= self.than,
            Modifier::Lt => value < self.than,
            Modifier::Lte => value <= self.than,
            _ => (value - self.than).abs() < f64::EPSILON,
        }
    }
}

impl Test {
    pub(crate) fn holds(&self, value: &str) -> bool {
        match self {
            Self::Equals { text, cased: true } => value == text,
            Self::Equals { text, .. } => fold::equals(value, text),
            Self::Contains { text, cased: true } => value.contains(text.as_str()),
            Self::Contains { text, .. } => fold::contains(value, text),
            Self::StartsWith { text, cased: true } => value.starts_with(text.as_str()),
            Self::StartsWith { text, .. } => fold::starts_with(value, text),
            Self::EndsWith { text, cased: true } => value.ends_with(text.as_str()),
            Self::EndsWith { text, .. } => fold::ends_with(value, text),
            Self::Any => true,
            Self::Pattern(regex) => regex.is_match(value),
            Self::Cidr { network, mask, v6 } => within(value, *network, *mask, *v6),
            Self::Compare(compare) => value.parse().is_ok_and(|value| compare.holds(value)),
            Self::Moment(part, compare) => part.of(value).is_some_and(|value| compare.holds(value)),
            Self::Null => false,
        }
    }

    /// `192.0.2.0/24`, `2001:db8::/32`, or one address.
    pub(crate) fn cidr(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a network: write 192.0.2.0/24 or 2001:db8::/32");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let v6 = address.is_ipv6();
        let width: u32 = if v6 { 128 } else { 32 };
        let bits = bits.map_or(Ok(width), str::parse).map_err(|_| bad())?;
        if bits > width {
            return Err(bad());
        }
        let host = 1u128.checked_shl(width - bits).map_or(u128::MAX, |size| size - 1);
        let mask = (u128::MAX >> (128 - width)) & !host;
        Ok(Self::Cidr { network: number(address) & mask, mask, v6 })
    }
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
