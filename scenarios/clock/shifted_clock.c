/*
 * Shifts the wall clock of the process that it is preloaded into (LD_PRELOAD) by the seconds that stand, as a 64-bit
 * integer, in the file named by SHIFTED_CLOCK_FILE. The shift may change at any time, as a clock that is set does.
 *
 * The monotonic clocks stay as they are. Waits that end at a time of the wall clock are given the kernel's time: the
 * kernel does not know of the shift.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

/* Seconds since the boot are fewer, seconds since 1970 are more. */
#define IS_WALL_TIME 1000000000

static const volatile int64_t nothing = 0;
static const volatile int64_t *shift_s = &nothing;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SHIFTED_CLOCK_FILE");
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        abort();
    void *shared = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (shared == MAP_FAILED)
        abort();
    close(file);
    shift_s = shared;
}

static struct timespec unshifted(const struct timespec *until) {
    struct timespec real = *until;
    if (real.tv_sec > IS_WALL_TIME)
        real.tv_sec -= *shift_s;
    return real;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *shift_s;
    return result;
}

int timespec_get(struct timespec *now, int base) {
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec precise;
    if (clock_gettime(CLOCK_REALTIME, &precise) != 0)
        return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (real == NULL)
        real = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    struct timespec at = unshifted(until);
    return real(cond, mutex, &at);
}

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict until) {
    static int (*real)(cnd_t *, mtx_t *, const struct timespec *);
    if (real == NULL)
        real = dlsym(RTLD_NEXT, "cnd_timedwait");
    struct timespec at = unshifted(until);
    return real(cond, mutex, &at);
}
