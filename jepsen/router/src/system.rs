//! The few calls for which there is no safe face: a namespace of a thread's own, requests to
//! network interfaces, and children that die with us.
#![allow(
    unsafe_code,
    reason = "unshare, ioctl and pre_exec have no safe face in std or rustix"
)]
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::ioctl::{Opcode, Updater, ioctl};
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Linux' `struct ifreq`: a name and a union of 24 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct InterfaceRequest {
    pub(crate) name: [u8; 16],
    pub(crate) value: [u8; 24],
}

/// Gives the calling thread a network namespace of its own, with nothing but a loopback device
/// that is down.
pub(crate) fn leave_network() -> io::Result<()> {
    // SAFETY: unsafe is only the flag that takes the table of descriptors apart; this is not it.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    Ok(())
}

/// Asks something of an interface. `OPCODE` must be one that reads or writes a `struct ifreq`.
pub(crate) fn ask_interface<const OPCODE: Opcode>(
    descriptor: impl AsFd,
    mut request: InterfaceRequest,
) -> io::Result<()> {
    // SAFETY: the callers in `interface` name opcodes whose argument is a `struct ifreq`, which
    // `InterfaceRequest` is, byte for byte; the kernel keeps no pointer to it.
    unsafe { ioctl(descriptor, Updater::<OPCODE, _>::new(&mut request)) }?;
    Ok(())
}

/// Lets the child be killed when the thread that starts it ends, and so at the latest with us.
pub(crate) fn die_with_this_thread(command: &mut Command) {
    let parent = getpid();
    let prepare = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // We may have died before the line above: then no signal comes any more.
        if getppid() == Some(parent) {
            Ok(())
        } else {
            Err(io::Error::other("the parent is gone"))
        }
    };
    // SAFETY: after the fork only two system calls are made: no allocation, no lock.
    unsafe { command.pre_exec(prepare) };
}
