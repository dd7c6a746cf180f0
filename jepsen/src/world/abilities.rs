//! What this machine allows, found out without side effects.
use router::Network;

use super::{mounts, tool};

/// What works here; the errors say why not.
#[derive(Clone, Debug)]
pub(crate) struct Abilities {
    /// A network of our own: partitions, slow and lossy links.
    pub(crate) network: Result<(), String>,
    /// Disks of our own: power cuts, full disks.
    pub(crate) mounts: Result<(), String>,
    /// A wall clock of its own for each node.
    pub(crate) clocks: Result<(), String>,
    /// Failing and slow system calls.
    pub(crate) tracing: Result<(), String>,
}

impl Abilities {
    pub(crate) fn look(is_without_root: bool) -> Self {
        let declined = || "switched off by --without-root".to_owned();
        Self {
            network: if is_without_root {
                Err(declined())
            } else {
                Network::is_possible()
            },
            mounts: if is_without_root {
                Err(declined())
            } else {
                mounts::is_possible()
            },
            clocks: tool("cc").map(drop),
            tracing: tool("strace").map(drop).and_then(|()| may_trace()),
        }
    }

    /// For a person: each ability and whether it is there.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |name: &str, gives: &str, why: Option<&String>| match why {
            None => format!("  yes  {name:9} {gives}"),
            Some(why) => format!("  no   {name:9} {gives}: {why}"),
        };
        vec![
            line(
                "network",
                "partitions, slow and lossy links (namespaces and TUN devices)",
                self.network.as_ref().err(),
            ),
            line(
                "disks",
                "power cuts, full disks (ext4 images in a mount namespace)",
                self.mounts.as_ref().err(),
            ),
            line(
                "clocks",
                "jumping and drifting clocks (a library that the C compiler makes)",
                self.clocks.as_ref().err(),
            ),
            line(
                "tracing",
                "failing and slow fsync (strace)",
                self.tracing.as_ref().err(),
            ),
        ]
    }
}

/// Another process may be traced by root, or where the kernel does not restrict it.
fn may_trace() -> Result<(), String> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    match std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope") {
        Ok(scope) if scope.trim() == "0" => Ok(()),
        Ok(_) => Err("the kernel lets only root trace a process that runs".into()),
        // No Yama: a user may trace their own.
        Err(_) => Ok(()),
    }
}
