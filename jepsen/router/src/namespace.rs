//! A member's network namespace, and the thread that lives in it as long as the network does.
//!
//! Children inherit the namespace of the thread that starts them, so that thread starts them all;
//! and when it ends, they are killed.
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::interface;
use crate::member::Member;
use crate::network::Error;
use crate::system;

/// Processes that may be asked for at the same moment; who asks next waits.
const ORDERS_MAX: usize = 16;

/// A process to start, and where to tell how it went.
struct Order {
    command: Command,
    answer: SyncSender<io::Result<Child>>,
}

/// The namespace of one member. Dropping it kills the processes in it.
pub(crate) struct Namespace {
    orders: Option<SyncSender<Order>>,
    /// Keeps the namespace and leads into it.
    door: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

/// Starts processes in a namespace; outlives it without keeping it.
#[derive(Clone)]
pub(crate) struct Spawner(SyncSender<Order>);

impl Namespace {
    /// Makes a namespace with a device, whose descriptor is the second of the pair.
    pub(crate) fn start(member: Member) -> Result<(Self, OwnedFd), Error> {
        let (orders, inbox) = sync_channel(ORDERS_MAX);
        let (ready, is_ready) = sync_channel(1);
        let live = move || match set_up(member) {
            Err(error) => report(&ready, Err(error)),
            Ok(made) => {
                report(&ready, Ok(made));
                serve(&inbox);
            }
        };
        let thread = std::thread::Builder::new()
            .name(member.to_string())
            .spawn(live)
            .map_err(Error::Thread)?;
        let made = is_ready.recv().expect("the thread tells how it went");
        let (door, device) = made?;
        let namespace = Self {
            orders: Some(orders),
            door,
            thread: Some(thread),
        };
        Ok((namespace, device))
    }

    /// Moves the calling thread into the namespace.
    pub(crate) fn enter(&self) -> io::Result<()> {
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(self.door.as_fd(), kind)?;
        Ok(())
    }

    pub(crate) fn spawner(&self) -> Spawner {
        Spawner(self.orders.clone().expect("taken only when dropped"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The thread ends when nobody can order any more.
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it does not panic");
        }
    }
}

impl Spawner {
    pub(crate) fn spawn(self, command: Command) -> io::Result<Child> {
        let is_over = || io::Error::other("the network has ended");
        let (answer, answered) = sync_channel(1);
        let order = Order { command, answer };
        self.0.send(order).map_err(|_| is_over())?;
        answered.recv().map_err(|_| is_over())?
    }
}

/// Runs in the new thread: makes the namespace and all in it.
fn set_up(member: Member) -> Result<(OwnedFd, OwnedFd), Error> {
    system::leave_network().map_err(Error::Namespace)?;
    let door = File::open("/proc/thread-self/ns/net").map_err(Error::Namespace)?;
    let device = interface::open_device().map_err(Error::Device)?;
    interface::configure(member.address()).map_err(|source| Error::Configure { member, source })?;
    Ok((door.into(), device))
}

type Made = Result<(OwnedFd, OwnedFd), Error>;

fn report(ready: &SyncSender<Made>, made: Made) {
    ready.send(made).expect("`start` waits for it");
}

fn serve(inbox: &Receiver<Order>) {
    for mut order in inbox {
        system::die_with_this_thread(&mut order.command);
        let started = order.command.spawn();
        if let Err(unheard) = order.answer.send(started) {
            // Who asked is gone: nobody would ever wait for the process.
            end(unheard.0);
        }
    }
}

fn end(started: io::Result<Child>) {
    if let Ok(mut child) = started {
        let ended = child.kill().and_then(|()| child.wait());
        // It dies with this thread at the latest.
        drop(ended);
    }
}
