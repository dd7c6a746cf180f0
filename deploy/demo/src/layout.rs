//! Where everything of the demo lies: folders below one data folder, ports on loopback.
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;

use anyhow::bail;
use serde::{Deserialize, Serialize};

/// How many nodes the demo has. Three is the smallest number that survives the loss of one.
pub(crate) const NODES: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ports {
    pub(crate) http: [u16; NODES],
    pub(crate) cluster: [u16; NODES],
    pub(crate) s3: u16,
}

#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) data: PathBuf,
    pub(crate) ports: Ports,
}

/// One of the four processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    S3,
    /// Counted from zero.
    Node(usize),
}

impl Part {
    /// In the order in which they start.
    pub(crate) const ALL: [Self; NODES + 1] =
        [Self::S3, Self::Node(0), Self::Node(1), Self::Node(2)];

    /// What people call it, counted from one; also the name of its files.
    pub(crate) fn name(self) -> String {
        match self {
            Self::S3 => "s3".to_owned(),
            Self::Node(node) => format!("node{}", node + 1),
        }
    }
}

impl Layout {
    pub(crate) fn data_of(&self, part: Part) -> PathBuf {
        self.data.join(part.name())
    }

    pub(crate) fn log_of(&self, part: Part) -> PathBuf {
        self.data.join("logs").join(format!("{}.log", part.name()))
    }

    pub(crate) fn pid_file_of(&self, part: Part) -> PathBuf {
        self.data.join("demo").join("pids").join(part.name())
    }

    pub(crate) fn state_file(&self) -> PathBuf {
        self.data.join("demo").join("state.json")
    }

    pub(crate) fn http_url(&self, node: usize) -> String {
        format!("http://{}", loopback(self.ports.http[node]))
    }

    pub(crate) fn s3_url(&self) -> String {
        format!("http://{}", loopback(self.ports.s3))
    }

    /// Fails, naming port and purpose, if another program has one of the ports that `part` needs.
    pub(crate) fn check_ports(&self, part: Part) -> anyhow::Result<()> {
        let tcp = match part {
            Part::S3 => self.ports.s3,
            Part::Node(node) => self.ports.http[node],
        };
        if let Err(error) = TcpListener::bind(loopback(tcp)) {
            bail!(
                "port {tcp} (TCP, HTTP of {}) is not free: {error}. End the program that has it \
                 (`ss -ltnp 'sport = :{tcp}'` names it), or choose others with --http-ports and \
                 --s3-port",
                part.name(),
            );
        }
        if let Part::Node(node) = part {
            let udp = self.ports.cluster[node];
            if let Err(error) = UdpSocket::bind(loopback(udp)) {
                bail!(
                    "port {udp} (UDP, cluster traffic of {}) is not free: {error}. End the \
                     program that has it (`ss -lunp 'sport = :{udp}'` names it), or choose others \
                     with --cluster-ports",
                    part.name(),
                );
            }
        }
        Ok(())
    }
}

pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(http: u16, cluster: u16) -> Layout {
        let ports = Ports {
            http: [http; NODES],
            cluster: [cluster; NODES],
            s3: 1,
        };
        Layout {
            data: PathBuf::from("data"),
            ports,
        }
    }

    #[test]
    fn a_taken_port_is_named_with_its_purpose() {
        let tcp = TcpListener::bind(loopback(0)).unwrap();
        let udp = UdpSocket::bind(loopback(0)).unwrap();
        let (tcp_port, udp_port) = (
            tcp.local_addr().unwrap().port(),
            udp.local_addr().unwrap().port(),
        );

        let free = layout(0, 0);
        free.check_ports(Part::Node(0)).unwrap();

        let taken_tcp = layout(tcp_port, 0)
            .check_ports(Part::Node(1))
            .unwrap_err()
            .to_string();
        assert!(
            taken_tcp.contains(&format!("port {tcp_port} (TCP, HTTP of node2)")),
            "{taken_tcp}"
        );
        let taken_udp = layout(0, udp_port)
            .check_ports(Part::Node(2))
            .unwrap_err()
            .to_string();
        assert!(
            taken_udp.contains(&format!("port {udp_port} (UDP")),
            "{taken_udp}"
        );
    }
}
