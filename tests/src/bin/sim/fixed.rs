//! Randomness and clocks of this process, by seed: the standard library, tokio, rand and ring all
//! ask libc, and here libc's answers are ours. Without it the order of hash maps and of `select!`
//! would differ from run to run.
//!
//! Only while a run is on; the parent of many runs lives in real time.
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use libc::{c_int, c_long, c_uint, c_void, clockid_t, size_t, ssize_t, timespec};
use tests::sim::clock;
use tests::sim::dice::Dice;

static IS_ON: AtomicBool = AtomicBool::new(false);
/// Looks at the clock while it still races; see [`begin`].
static LOOKS: AtomicU64 = AtomicU64::new(0);
static IS_RACING: AtomicBool = AtomicBool::new(true);
static DICE: Mutex<Option<Dice>> = Mutex::new(None);

/// Some day in 2027, and some time after the machine's start.
const REAL_S: u64 = 1_800_000_000;
const MONOTONIC_S: u64 = 1_000;

/// From now on everything is the seed's.
///
/// `warm_up` is done first, under a clock that races: libraries that compare the processor's counter
/// with the clock until enough time has passed would wait for ever on one that stands.
pub(crate) fn begin(seed: u64, warm_up: impl FnOnce()) {
    if let Ok(mut dice) = DICE.lock() {
        *dice = Some(Dice::new(seed, "the process"));
    }
    IS_ON.store(true, Ordering::SeqCst);
    warm_up();
    IS_RACING.store(false, Ordering::SeqCst);
}

/// Stands before libc's function of this name.
///
/// # Safety
/// As for libc's: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getrandom(
    buffer: *mut c_void,
    length: size_t,
    flags: c_uint,
) -> ssize_t {
    if !IS_ON.load(Ordering::SeqCst) {
        // SAFETY: handed on as it came.
        let got = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
        return got.try_into().unwrap_or(-1);
    }
    // SAFETY: the caller says that there is room.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    if let Ok(mut dice) = DICE.lock()
        && let Some(dice) = dice.as_mut()
    {
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&dice.bits().to_le_bytes()[..part.len()]);
        }
    }
    length.try_into().unwrap_or(-1)
}

/// Stands before libc's function of this name.
///
/// # Safety
/// As for libc's: `time` is where a time may be written.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn clock_gettime(id: clockid_t, time: *mut timespec) -> c_int {
    if !IS_ON.load(Ordering::SeqCst) {
        // SAFETY: handed on as it came.
        let got = unsafe { libc::syscall(libc::SYS_clock_gettime, c_long::from(id), time) };
        return got.try_into().unwrap_or(-1);
    }
    let base = if id == libc::CLOCK_REALTIME {
        REAL_S
    } else {
        MONOTONIC_S
    };
    let now = if IS_RACING.load(Ordering::SeqCst) {
        LOOKS.fetch_add(1, Ordering::SeqCst)
    } else {
        clock::now_ms()
    };
    let told = timespec {
        tv_sec: (base + now / 1_000).try_into().unwrap_or(0),
        tv_nsec: (now % 1_000 * 1_000_000).try_into().unwrap_or(0),
    };
    // SAFETY: the caller says that it may be written.
    unsafe { time.write(told) };
    0
}
