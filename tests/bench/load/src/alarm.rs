//! A timer that rings to the microsecond: tokio's own wakes on the next full millisecond, which is
//! longer than many of the latencies that are measured.
use std::io;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A kernel timer that tokio listens to.
pub(crate) struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    /// # Errors
    /// When the kernel gives no timer.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[allow(
            deprecated,
            reason = "its successor is unsafe code for descriptors that their owner may close: \
                      this one is owned here"
        )]
        let listened = AsyncFd::with_interest(timer, Interest::READABLE);
        listened.map(Self)
    }

    /// Returns at `moment`, or at once if that is over.
    ///
    /// # Errors
    /// When the kernel refuses to set or read the timer.
    pub(crate) async fn ring_at(&self, moment: Instant) -> io::Result<()> {
        let wait = moment.saturating_duration_since(Instant::now());
        // Zero would switch it off.
        let wait = wait.max(Duration::from_nanos(1));
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec::try_from(wait).map_err(io::Error::other)?,
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.0.readable().await?;
            let mut count = [0; 8];
            match rustix::io::read(self.0.get_ref(), &mut count) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_rings_neither_early_nor_at_the_next_full_millisecond() {
        let alarm = Alarm::new().unwrap();
        let mut late = Vec::new();
        for round in 0..50 {
            let moment = Instant::now() + Duration::from_micros(300 + round);
            alarm.ring_at(moment).await.unwrap();
            let now = Instant::now();
            assert!(now >= moment);
            late.push(now - moment);
        }
        late.sort();
        // The median, since a busy machine may be late at any time.
        assert!(late[25] < Duration::from_micros(700), "{late:?}");
    }
}
