//! The face of the room: a network with its members, links and processes.
use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::process::{Child, Command};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::forward::{Forwarder, NewPort, Port, Shared};
use crate::interface;
use crate::link::{Count, Link};
use crate::member::{Member, NODES_MAX};
use crate::namespace::Namespace;
use crate::switch::Switch;

/// Why there is no network, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "no network namespace could be made ({0}): run as root, in a container with CAP_SYS_ADMIN"
    )]
    Namespace(#[source] io::Error),
    #[error(
        "no TUN device could be made ({0}): {device} must exist (`modprobe tun`; in a container \
         `--device {device} --cap-add NET_ADMIN`)",
        device = interface::DEVICE
    )]
    Device(#[source] io::Error),
    #[error("the interfaces of {member} could not be set up: {source}")]
    Configure { member: Member, source: io::Error },
    #[error("{0} nodes are too many: there are addresses for {NODES_MAX}")]
    TooManyNodes(usize),
    #[error("the system gives us no thread or descriptor ({0}): raise `ulimit -n` and `ulimit -u`")]
    Thread(#[source] io::Error),
}

type Namespaces = BTreeMap<Member, Namespace>;

/// Namespaces joined by links that do as they are told. Dropping it ends all processes that it
/// started, with their namespaces.
pub struct Network {
    shared: Arc<Shared>,
    namespaces: Mutex<Namespaces>,
    /// Taken when dropped: the forwarding thread ends when no port can come any more.
    new_ports: Option<SyncSender<NewPort>>,
    forwarding: Option<JoinHandle<()>>,
}

impl Network {
    /// Makes a network of `nodes` nodes and the clients; `seed` decides about losses. Needs root
    /// and `/dev/net/tun`.
    ///
    /// Moves the CALLING THREAD into the clients' namespace: call it on the main thread before any
    /// other thread exists, so that all threads made later live there.
    pub fn start(seed: u64, nodes: usize) -> Result<Self, Error> {
        if nodes > NODES_MAX {
            return Err(Error::TooManyNodes(nodes));
        }
        let shared = Arc::new(Shared::new(Switch::new(seed)).map_err(Error::Thread)?);
        let (new_ports, inbox) = sync_channel(NODES_MAX);
        let forwarder = Forwarder::new(Arc::clone(&shared), inbox);
        let forwarding = std::thread::Builder::new()
            .name("router".to_owned())
            .spawn(move || forwarder.run())
            .map_err(Error::Thread)?;
        let network = Self {
            shared,
            namespaces: Mutex::new(BTreeMap::new()),
            new_ports: Some(new_ports),
            forwarding: Some(forwarding),
        };
        let mut namespaces = network.namespaces();
        for index in 0..nodes {
            network.add(Member::Node(index), &mut namespaces)?;
        }
        network.add(Member::Clients, &mut namespaces)?;
        drop(namespaces);
        network.enter(Member::Clients).map_err(Error::Namespace)?;
        Ok(network)
    }

    /// Why it could not start here, if so. Makes a namespace and a device to find out, and leaves
    /// nothing behind.
    pub fn is_possible() -> Result<(), String> {
        match Namespace::start(Member::Node(0)) {
            Ok(made) => {
                drop(made);
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// 10.77.0.1 and on for nodes, 10.77.0.254 for clients.
    pub fn address(&self, member: Member) -> Ipv4Addr {
        member.address()
    }

    /// Nodes in order, clients last.
    pub fn members(&self) -> Vec<Member> {
        self.namespaces().keys().copied().collect()
    }

    /// Adds one more node's namespace, on perfect links.
    pub fn add_node(&self) -> Result<Member, Error> {
        let mut namespaces = self.namespaces();
        // Clients are no node.
        let index = namespaces.len() - 1;
        if index >= NODES_MAX {
            return Err(Error::TooManyNodes(index + 1));
        }
        let member = Member::Node(index);
        self.add(member, &mut namespaces)?;
        Ok(member)
    }

    /// Starts a process in the member's namespace. It gets SIGKILL when the harness dies, and when
    /// the network is dropped.
    pub fn spawn(&self, member: Member, command: Command) -> io::Result<Child> {
        let spawner = {
            let namespaces = self.namespaces();
            let namespace = namespaces.get(&member).ok_or_else(|| nobody(member))?;
            namespace.spawner()
        };
        spawner.spawn(command)
    }

    /// Moves the calling thread into the member's namespace: sockets that it makes from now on,
    /// and threads that it starts, live there.
    pub fn enter(&self, member: Member) -> io::Result<()> {
        let namespaces = self.namespaces();
        let namespace = namespaces.get(&member).ok_or_else(|| nobody(member))?;
        namespace.enter()
    }

    /// Decides what happens to packets that are sent from now on.
    pub fn set(&self, from: Member, to: Member, link: Link) {
        self.shared.switch().set(from, to, link);
    }

    pub fn link(&self, from: Member, to: Member) -> Link {
        self.shared.switch().link(from, to)
    }

    /// Makes all links perfect; what is under way on delayed links is delivered at once.
    pub fn heal(&self) {
        self.shared.switch().heal(Instant::now());
        self.shared.wake();
    }

    pub fn count(&self, from: Member, to: Member) -> Count {
        self.shared.switch().count(from, to)
    }

    /// Packets that neither arrived nor are in any [`Count`], because a queue of the member's kernel
    /// was full. Not zero: the machine is too slow for what it is asked, and was a fault by itself.
    pub fn dropped_by_kernel(&self, member: Member) -> io::Result<u64> {
        let look = || {
            self.enter(member)?;
            interface::dropped_by_kernel()
        };
        // A thread of its own, because the caller is to stay where it is.
        std::thread::scope(|scope| scope.spawn(look).join())
            .unwrap_or_else(|_| Err(io::Error::other("the thread that looked has panicked")))
    }

    fn add(&self, member: Member, namespaces: &mut Namespaces) -> Result<(), Error> {
        let (namespace, device) = Namespace::start(member)?;
        let new_ports = self.new_ports.as_ref().expect("taken only when dropped");
        let (is_open, opened) = sync_channel(1);
        let port = Port { member, device };
        let sent = new_ports.send(NewPort { port, is_open });
        self.shared.wake();
        // Before that, packets to the new member would lead nowhere.
        sent.ok()
            .and_then(|()| opened.recv().ok())
            .ok_or_else(|| Error::Thread(io::Error::other("the forwarding thread has ended")))?;
        namespaces.insert(member, namespace);
        Ok(())
    }

    fn namespaces(&self) -> MutexGuard<'_, Namespaces> {
        self.namespaces.lock().expect("who holds it does not panic")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.new_ports = None;
        self.shared.wake();
        if let Some(forwarding) = self.forwarding.take() {
            // It panics only if a device fails, and has said so.
            drop(forwarding.join());
        }
    }
}

fn nobody(member: Member) -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        format!("{member} is not in this network"),
    )
}
