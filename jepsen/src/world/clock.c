/* Shows a process another wall clock: loaded before the C library, it answers what is asked of
 * CLOCK_REALTIME by the offset and rate that stand in a shared file. The monotonic clock stays.
 *
 * It allocates nothing and keeps no lock, since allocators ask for the time while they start.
 * (libfaketime does allocate, and deadlocks with a jemalloc that is linked in.) */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* As the harness writes it, in the machine's own byte order. */
struct setting {
    volatile int64_t offset_ns;
    /* Nanoseconds gained per millisecond since `since_ns`. */
    volatile int64_t rate_ppm;
    volatile int64_t since_ns;
};

static const struct setting *setting;

__attribute__((constructor)) static void open_setting(void) {
    const char *path = getenv("JEPSEN_CLOCK");
    if (path == NULL) return;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof(struct setting), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) setting = mapped;
}

static int64_t shown_ns(const struct timespec *real) {
    int64_t now = (int64_t)real->tv_sec * 1000000000 + real->tv_nsec;
    int64_t rate = setting->rate_ppm;
    int64_t gained = rate == 0 ? 0 : (now - setting->since_ns) / 1000 * rate / 1000;
    return now + setting->offset_ns + gained;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    int is_wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
    if (result != 0 || setting == NULL || !is_wall) return result;
    int64_t shown = shown_ns(time);
    time->tv_sec = shown / 1000000000;
    time->tv_nsec = shown % 1000000000;
    return 0;
}

int gettimeofday(struct timeval *time, void *zone) {
    (void)zone;
    struct timespec now;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *copy) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (copy != NULL) *copy = now.tv_sec;
    return now.tv_sec;
}
