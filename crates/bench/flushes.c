/* Counts the calls that flush a file, without stopping the program that makes them: a library that is loaded
 * before it (LD_PRELOAD) and stands between it and the C library. `cargo xtask bench` compiles it.
 *
 * FLUSH_COUNT names a file whose first eight bytes become the counter. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t *count;
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

__attribute__((constructor)) static void begin(void)
{
    real_fsync = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    const char *path = getenv("FLUSH_COUNT");
    int file = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (file < 0)
        return;
    if (ftruncate(file, sizeof *count) == 0) {
        void *shared = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        count = shared == MAP_FAILED ? NULL : shared;
    }
    close(file);
}

static void add(void)
{
    if (count)
        __atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
}

int fsync(int file)
{
    add();
    return real_fsync(file);
}

int fdatasync(int file)
{
    add();
    return real_fdatasync(file);
}
