//! A harness for the built binary: real processes, real sockets, real disks, killed for real.
//!
//! [`process`] starts and kills; [`cluster`] puts nodes together; [`client`] speaks the client
//! contract; [`wait`] awaits conditions with a deadline, never a fixed time.
//!
//! Without processes: [`model_runs`] plays the state machine alone, [`disk_runs`] the engines
//! under it, [`sim`] a whole cluster by seed.
pub mod client;
pub mod cluster;
pub mod disk_runs;
pub mod model_runs;
pub mod process;
pub mod sim;
pub mod wait;
