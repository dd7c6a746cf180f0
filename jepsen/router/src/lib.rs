//! A network of our own between network namespaces: every packet between members goes through one
//! thread here, that delays, drops, doubles and reorders as it is told.
//!
//! Nothing outlives the process: namespaces are anonymous and devices are bound to our descriptors.
