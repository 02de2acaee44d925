//! The network that an address belongs to, as first-seen rules mean it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The /24 of an IPv4 address, the /48 of an IPv6 one; `None` for what is no address (a service's host name).
#[must_use]
pub fn network(ip: &str) -> Option<String> {
    match ip.trim().parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V4(ip) => Some(format!("{}/24", Ipv4Addr::from_bits(ip.to_bits() & !0xff))),
        IpAddr::V6(ip) => Some(format!("{}/48", Ipv6Addr::from_bits(ip.to_bits() >> 80 << 80))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_network_and_a_name_has_none() {
        assert_eq!(network("192.0.2.77").as_deref(), Some("192.0.2.0/24"));
        assert_eq!(network("::ffff:192.0.2.77").as_deref(), Some("192.0.2.0/24"));
        assert_eq!(network("2001:db8:1:2::3").as_deref(), Some("2001:db8:1::/48"));
        assert_eq!(network("cloudtrail.example.com"), None);
    }
}
