//! The built binary from outside: several nodes, real faults, the public API.
mod bench;
mod chaos;
mod contract;
mod damage;
mod failover;
mod growth;
mod hostile;
mod load;
mod publish;
mod verify;
