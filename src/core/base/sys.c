/* The production system table and the allocator gate in front of it.
 *
 * Calls interrupted by a signal are repeated here, so no caller meets EINTR. Descriptors are never
 * inherited by child processes. LB_FAULT is nothing at all in release builds. */
#include "core/base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/base/fault.h"
#include "core/base/memory.h"

#define REPEAT(call)                                    \
    __extension__({                                     \
        __typeof__(call) repeat_result_;                \
        do                                              \
            repeat_result_ = (call);                    \
        while (repeat_result_ == -1 && errno == EINTR); \
        repeat_result_;                                 \
    })

#define FAULTY(kind, call) (LB_FAULT(kind, NULL) ? -1 : (call))

static void *system_realloc(void *pointer, size_t old_size, size_t new_size)
{
    if (new_size == 0) {
        free(pointer);
        return NULL;
    }
    /* Shrinking does not fail. */
    if (new_size > old_size && LB_FAULT(ALLOC, NULL))
        return NULL;
    return realloc(pointer, new_size);
}

static int system_open(const char *path, int flags, mode_t mode)
{
    return REPEAT(FAULTY(OPEN, open(path, flags | O_CLOEXEC, mode)));
}

static DIR *system_opendir(const char *path)
{
    DIR *directory;

    do
        directory = LB_FAULT(OPEN, NULL) ? NULL : opendir(path);
    while (directory == NULL && errno == EINTR);
    return directory;
}

static int system_dup(int fd)
{
    return REPEAT(FAULTY(OPEN, fcntl(fd, F_DUPFD_CLOEXEC, 0)));
}

/* Not repeated: on Linux the descriptor is gone even when close was interrupted, or failed. */
static int system_close(int fd)
{
    int result = close(fd);

    if (LB_FAULT(CLOSE, NULL))
        result = -1;
    return result == -1 && errno == EINTR ? 0 : result;
}

/* What was read, perhaps damaged. */
static ssize_t flip(ssize_t n, char *data)
{
    if (n > 0 && LB_FAULT(FLIP, NULL))
        data[n / 2] ^= 1;
    return n;
}

static ssize_t system_read(int fd, void *data, size_t size)
{
    return flip(REPEAT(LB_FAULT(READ, &size) ? -1 : read(fd, data, size)), data);
}

static ssize_t system_pread(int fd, void *data, size_t size, off_t offset)
{
    return flip(REPEAT(LB_FAULT(PREAD, &size) ? -1 : pread(fd, data, size, offset)), data);
}

static ssize_t system_write(int fd, const void *data, size_t size)
{
    return REPEAT(LB_FAULT(WRITE, &size) ? -1 : write(fd, data, size));
}

static ssize_t system_pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return REPEAT(LB_FAULT(PWRITE, &size) ? -1 : pwrite(fd, data, size, offset));
}

static int system_stat(const char *path, struct stat *info)
{
    return REPEAT(FAULTY(STAT, stat(path, info)));
}

static int system_lstat(const char *path, struct stat *info)
{
    return REPEAT(FAULTY(STAT, lstat(path, info)));
}

static int system_fstat(int fd, struct stat *info)
{
    return REPEAT(FAULTY(STAT, fstat(fd, info)));
}

static int system_access(const char *path, int mode)
{
    return REPEAT(FAULTY(STAT, access(path, mode)));
}

static char *system_realpath(const char *path, char *resolved)
{
    char *result;

    do
        result = LB_FAULT(STAT, NULL) ? NULL : realpath(path, resolved);
    while (result == NULL && errno == EINTR);
    return result;
}

static int system_fsync(int fd)
{
    return REPEAT(FAULTY(FSYNC, fsync(fd)));
}

static int system_syncfs(int fd)
{
    return FAULTY(FSYNC, syncfs(fd));
}

static int system_ftruncate(int fd, off_t size)
{
    return REPEAT(FAULTY(FTRUNCATE, ftruncate(fd, size)));
}

static int system_rename(const char *from, const char *to)
{
    return FAULTY(RENAME, rename(from, to));
}

static int system_rename_with(const char *from, const char *to, unsigned flags)
{
    return FAULTY(RENAME, renameat2(AT_FDCWD, from, AT_FDCWD, to, flags));
}

static int system_link(const char *from, const char *to)
{
    return FAULTY(LINK, linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW));
}

static int system_unlink(const char *path)
{
    return FAULTY(UNLINK, unlink(path));
}

static int system_mkdir(const char *path, mode_t mode)
{
    return FAULTY(MKDIR, mkdir(path, mode));
}

static int system_rmdir(const char *path)
{
    return FAULTY(RMDIR, rmdir(path));
}

static int system_flock(int fd, int operation)
{
    return REPEAT(FAULTY(OPEN, flock(fd, operation)));
}

struct lb_sys lb_sys = {
    .realloc = system_realloc,
    .open = system_open,
    .close = system_close,
    .read = system_read,
    .pread = system_pread,
    .write = system_write,
    .pwrite = system_pwrite,
    .stat = system_stat,
    .lstat = system_lstat,
    .fstat = system_fstat,
    .access = system_access,
    .realpath = system_realpath,
    .opendir = system_opendir,
    .dup = system_dup,
    .fsync = system_fsync,
    .syncfs = system_syncfs,
    .ftruncate = system_ftruncate,
    .rename = system_rename,
    .rename_with = system_rename_with,
    .link = system_link,
    .unlink = system_unlink,
    .mkdir = system_mkdir,
    .rmdir = system_rmdir,
    .flock = system_flock,
};

void *lb_alloc(size_t size)
{
    return lb_realloc(NULL, 0, size);
}

void *lb_realloc(void *pointer, size_t old_size, size_t new_size)
{
    size_t before = pointer != NULL ? lb_memory_of_block(old_size) : 0;
    size_t after = lb_memory_of_block(new_size);
    void *moved;

    if (pointer == NULL && new_size == 0)
        return NULL;
    if (after > before && !lb_memory_take(after - before)) {
        errno = ENOMEM;
        return NULL;
    }
    moved = lb_sys.realloc(pointer, old_size, new_size);
    if (after > before && moved == NULL)
        lb_memory_give(after - before);
    else if (after < before && (moved != NULL || new_size == 0))
        lb_memory_give(before - after);
    return moved;
}

void lb_free(void *pointer, size_t size)
{
    lb_realloc(pointer, size, 0);
}

void *lb_alloc_zero(size_t size)
{
    void *result;

    if (size == 0)
        return NULL;
    /* Large blocks come zeroed from the kernel: calloc knows that, memset would touch them all. */
    if (lb_sys.realloc == system_realloc) {
        if (LB_FAULT(ALLOC, NULL) || !lb_memory_take(lb_memory_of_block(size)))
            return NULL;
        result = calloc(1, size);
        if (result == NULL)
            lb_memory_give(lb_memory_of_block(size));
        return result;
    }
    result = lb_alloc(size);
    if (result != NULL)
        memset(result, 0, size);
    return result;
}

char *lb_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *result = lb_alloc(size);

    if (result != NULL)
        memcpy(result, text, size);
    return result;
}

void lb_strfree(char *text)
{
    if (text != NULL)
        lb_free(text, strlen(text) + 1);
}
