//! Micro-benchmarks: `make bench-micro`. Times are of a shared machine; compare those of one run.
//!
//! Under `cargo test` each runs once, without figures.
mod apply;
mod feed;
mod keys;
mod log;
mod rpc;
mod stage;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    divan::main();
}
