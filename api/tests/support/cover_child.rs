//! `api-cover-child <in> <out>`: what `yin internal cover` does, as a program for this package's
//! tests.

fn main() -> std::process::ExitCode {
    media::child::serve(std::env::args_os().skip(1))
}
