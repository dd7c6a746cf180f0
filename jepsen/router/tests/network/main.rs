//! Every fault bites and healing heals, seen over real sockets in real namespaces. Needs root.
mod faults;
mod ground;
mod processes;
mod wire;
