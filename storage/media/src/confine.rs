//! What a process may still do that reads hostile bytes with code we do not trust.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Limits of a confined process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// Address space.
    pub memory_bytes: u64,
    /// Of processor time; the kernel kills at the end of it.
    pub cpu_s: u64,
    /// Of the largest file it writes.
    pub file_bytes: u64,
}

impl Default for Confinement {
    fn default() -> Self {
        // A 4K picture with its references takes some 200 MB; a cover is below 200 kB.
        Self {
            memory_bytes: 1 << 30,
            cpu_s: 8,
            file_bytes: 8 << 20,
        }
    }
}

/// Limits memory, processor time and file size of this process, forbids core dumps, debuggers and
/// new privileges. For good: there is no way back. Linux only.
pub fn confine(limits: &Confinement) -> std::io::Result<()> {
    limit(Resource::As, limits.memory_bytes)?;
    limit(Resource::Cpu, limits.cpu_s)?;
    limit(Resource::Fsize, limits.file_bytes)?;
    limit(Resource::Core, 0)?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}

/// Forbids this process to open anything more: no file, no socket, no pipe. What is open stays
/// usable, which is how a decoder gets its input and nothing else.
pub fn seal() -> std::io::Result<()> {
    limit(Resource::Nofile, 0)
}

fn limit(resource: Resource, most: u64) -> std::io::Result<()> {
    // What the operator allows is never raised.
    let allowed = rustix::process::getrlimit(resource).maximum;
    let most = Some(allowed.map_or(most, |allowed| allowed.min(most)));
    Ok(setrlimit(
        resource,
        Rlimit {
            current: most,
            maximum: most,
        },
    )?)
}
