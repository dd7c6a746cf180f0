//! The thread that carries packets between the devices, as the switch decides.
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::member::Member;
use crate::switch::{Arrival, Switch};

/// Packets read from one device before the others have their turn.
const BATCH: usize = 64;
/// Larger than any packet of a device.
const BUFFER_BYTES: usize = 1 << 16;
/// Before others on a busy machine: our being late would look like the network's.
const NICENESS: i32 = -10;

/// What the thread shares with the network's owner.
pub(crate) struct Shared {
    switch: Mutex<Switch>,
    /// Wakes the thread.
    bell: OwnedFd,
}

/// A new device of a member. When nobody can send one any more, the thread ends.
pub(crate) struct NewPort {
    pub(crate) port: Port,
    /// Hears when packets can come and go.
    pub(crate) is_open: SyncSender<()>,
}

/// A member's device.
pub(crate) struct Port {
    pub(crate) member: Member,
    pub(crate) device: OwnedFd,
}

/// The thread's own.
pub(crate) struct Forwarder {
    shared: Arc<Shared>,
    new_ports: Receiver<NewPort>,
    ports: Vec<Port>,
    buffer: Vec<u8>,
}

impl Shared {
    pub(crate) fn new(switch: Switch) -> std::io::Result<Self> {
        let flags = rustix::event::EventfdFlags::NONBLOCK | rustix::event::EventfdFlags::CLOEXEC;
        Ok(Self {
            switch: Mutex::new(switch),
            bell: rustix::event::eventfd(0, flags)?,
        })
    }

    pub(crate) fn switch(&self) -> MutexGuard<'_, Switch> {
        self.switch.lock().expect("who holds it does not panic")
    }

    /// Makes the thread look at its orders and at what is due.
    pub(crate) fn wake(&self) {
        rustix::io::write(&self.bell, &1_u64.to_ne_bytes())
            .expect("a bell may ring 2^64 times unheard");
    }

    fn hear(&self) {
        rustix::io::read(&self.bell, &mut [0_u8; 8]).expect("it rang, and nobody else listens");
    }
}

impl Forwarder {
    pub(crate) fn new(shared: Arc<Shared>, new_ports: Receiver<NewPort>) -> Self {
        Self {
            shared,
            new_ports,
            ports: Vec::new(),
            buffer: vec![0; BUFFER_BYTES],
        }
    }

    /// Carries packets until the network is dropped.
    pub(crate) fn run(mut self) {
        let this_thread = Some(rustix::thread::gettid());
        if let Err(error) = rustix::process::setpriority_process(this_thread, NICENESS) {
            eprintln!("router: delays come out longer on a busy machine, no priority: {error}");
        }
        while self.take_new_ports() {
            self.deliver_arrivals();
            let ready = self.wait();
            let gone: Vec<Member> = ready
                .into_iter()
                .filter_map(|port| self.forward_from(port))
                .collect();
            self.ports.retain(|port| !gone.contains(&port.member));
        }
    }

    /// False once the network is gone.
    fn take_new_ports(&mut self) -> bool {
        loop {
            match self.new_ports.try_recv() {
                Ok(new) => {
                    self.ports.push(new.port);
                    new.is_open.send(()).expect("who adds a port waits for it");
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Waits for packets, for the next due one, or for the bell. Answers which ports have packets.
    fn wait(&self) -> Vec<usize> {
        let mut polled = vec![PollFd::new(&self.shared.bell, PollFlags::IN)];
        let devices = self.ports.iter();
        polled.extend(devices.map(|port| PollFd::new(&port.device, PollFlags::IN)));
        match poll(&mut polled, self.patience().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("poll on our own descriptors cannot fail: {error}"),
        }
        if !polled[0].revents().is_empty() {
            self.shared.hear();
        }
        let ports = polled[1..].iter().enumerate();
        ports
            .filter(|(_, port)| !port.revents().is_empty())
            .map(|(index, _)| index)
            .collect()
    }

    /// How long nothing is due; `None` for ever.
    fn patience(&self) -> Option<Timespec> {
        let due = self.shared.switch().next_due()?;
        let left = due.saturating_duration_since(Instant::now());
        Some(Timespec::try_from(left).expect("delays are short"))
    }

    fn deliver_arrivals(&self) {
        while let Some(arrival) = self.next_arrival() {
            self.deliver(arrival.from, arrival.to, &arrival.bytes);
        }
    }

    /// In a function of its own, so that the lock is free while the packet is delivered.
    fn next_arrival(&self) -> Option<Arrival> {
        self.shared.switch().arrived(Instant::now())
    }

    /// Answers the member whose device it is if somebody has removed that.
    fn forward_from(&mut self, port: usize) -> Option<Member> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let from = &self.ports[port];
        let mut gone = None;
        for _ in 0..BATCH {
            match rustix::io::read(from.device.as_fd(), &mut buffer) {
                Ok(bytes) => self.forward(from.member, &buffer[..bytes]),
                Err(Errno::BADFD) => {
                    eprintln!("router: the device of {} is gone", from.member);
                    gone = Some(from.member);
                    break;
                }
                // Nothing left, or the device is down for now.
                Err(_) => break,
            }
        }
        self.buffer = buffer;
        gone
    }

    fn forward(&self, from: Member, packet: &[u8]) {
        let Some(to) = Member::addressed_by(packet) else {
            return;
        };
        if self.port_of(to).is_none() || from == to {
            return;
        }
        let copies = self
            .shared
            .switch()
            .accept(from, to, packet, Instant::now());
        for _ in 0..copies {
            self.deliver(from, to, packet);
        }
    }

    fn deliver(&self, from: Member, to: Member, packet: &[u8]) {
        let port = self.port_of(to);
        let is_taken = port.is_some_and(|port| rustix::io::write(&port.device, packet).is_ok());
        if !is_taken {
            self.shared.switch().refused(from, to);
        }
    }

    fn port_of(&self, member: Member) -> Option<&Port> {
        self.ports.iter().find(|port| port.member == member)
    }
}
