/* Makes a fast disk as slow as an ordinary one: fsync and fdatasync last at least FSYNC_MICROS microseconds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static long micros_since(const struct timespec *start) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - start->tv_sec) * 1000000L + (now.tv_nsec - start->tv_nsec) / 1000L;
}

static int slowly(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    const char *text = getenv("FSYNC_MICROS");
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    int result = real(fd);
    long rest = (text ? atol(text) : 0) - micros_since(&start);
    if (rest > 0) {
        struct timespec pause = {rest / 1000000L, rest % 1000000L * 1000L};
        nanosleep(&pause, NULL);
    }
    return result;
}

int fsync(int fd) { return slowly("fsync", fd); }
int fdatasync(int fd) { return slowly("fdatasync", fd); }
