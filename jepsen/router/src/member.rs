//! Who takes part in a network, and under which address.
use std::fmt;
use std::net::Ipv4Addr;

/// The first three bytes of every address here.
const PREFIX: [u8; 3] = [10, 77, 0];
const CLIENTS_HOST: u8 = 254;

/// Hosts 1 to 253 are nodes.
pub const NODES_MAX: usize = CLIENTS_HOST as usize - 1;

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// Counted from 0, at most [`NODES_MAX`].
    Node(usize),
    /// The harness itself with all its clients.
    Clients,
}

impl Member {
    /// The last byte of the member's address.
    pub(crate) fn host(self) -> u8 {
        match self {
            Self::Node(index) => u8::try_from(index + 1).expect("no more than NODES_MAX"),
            Self::Clients => CLIENTS_HOST,
        }
    }

    pub(crate) fn address(self) -> Ipv4Addr {
        let [a, b, c] = PREFIX;
        Ipv4Addr::new(a, b, c, self.host())
    }

    /// The member that `packet` is for; `None` unless it is IPv4 unicast to an address here.
    pub(crate) fn addressed_by(packet: &[u8]) -> Option<Self> {
        const VERSION_4: u8 = 4;
        let is_v4 = packet.first().is_some_and(|byte| byte >> 4 == VERSION_4);
        let [a, b, c, host] = *packet.get(16..20)?.first_chunk()?;
        if !is_v4 || [a, b, c] != PREFIX {
            return None;
        }
        match host {
            0 | 255 => None,
            CLIENTS_HOST => Some(Self::Clients),
            node => Some(Self::Node(usize::from(node) - 1)),
        }
    }
}

/// `n1`, `n2`, … and `clients`.
impl fmt::Display for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(index) => write!(formatter, "n{}", index + 1),
            Self::Clients => formatter.write_str("clients"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet_to(address: [u8; 4]) -> Vec<u8> {
        let mut packet = vec![0; 40];
        packet[0] = 0x45;
        packet[16..20].copy_from_slice(&address);
        packet
    }

    #[test]
    fn addresses_lead_back_to_their_members() {
        for member in [
            Member::Node(0),
            Member::Node(NODES_MAX - 1),
            Member::Clients,
        ] {
            let packet = packet_to(member.address().octets());
            assert_eq!(Member::addressed_by(&packet), Some(member));
        }
        assert_eq!(Member::Node(0).address(), Ipv4Addr::new(10, 77, 0, 1));
        assert_eq!(Member::Clients.address(), Ipv4Addr::new(10, 77, 0, 254));
        assert_eq!(
            format!("{} {}", Member::Node(0), Member::Clients),
            "n1 clients"
        );
    }

    #[test]
    fn strangers_lead_nowhere() {
        for address in [
            [10, 77, 0, 255],
            [10, 77, 0, 0],
            [10, 77, 1, 1],
            [224, 0, 0, 1],
        ] {
            assert_eq!(
                Member::addressed_by(&packet_to(address)),
                None,
                "{address:?}"
            );
        }
        let mut version_6 = packet_to([10, 77, 0, 1]);
        version_6[0] = 0x60;
        assert_eq!(Member::addressed_by(&version_6), None);
        assert_eq!(Member::addressed_by(&[0x45; 19]), None, "cut short");
        assert_eq!(Member::addressed_by(&[]), None);
    }
}
