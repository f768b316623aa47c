/* The production system table and the allocator gate in front of it.
 *
 * Calls interrupted by a signal are repeated here, so no caller meets EINTR. Descriptors are never
 * inherited by child processes. */
#include "core/base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPEAT(call)                                    \
    __extension__({                                     \
        __typeof__(call) repeat_result_;                \
        do                                              \
            repeat_result_ = (call);                    \
        while (repeat_result_ == -1 && errno == EINTR); \
        repeat_result_;                                 \
    })

static void *system_realloc(void *pointer, size_t old_size, size_t new_size)
{
    (void)old_size;
    if (new_size == 0) {
        free(pointer);
        return NULL;
    }
    return realloc(pointer, new_size);
}

static int system_open(const char *path, int flags, mode_t mode)
{
    return REPEAT(open(path, flags | O_CLOEXEC, mode));
}

/* Not repeated: on Linux the descriptor is gone even when close was interrupted. */
static int system_close(int fd)
{
    int result = close(fd);

    return result == -1 && errno == EINTR ? 0 : result;
}

static ssize_t system_read(int fd, void *data, size_t size)
{
    return REPEAT(read(fd, data, size));
}

static ssize_t system_pread(int fd, void *data, size_t size, off_t offset)
{
    return REPEAT(pread(fd, data, size, offset));
}

static ssize_t system_write(int fd, const void *data, size_t size)
{
    return REPEAT(write(fd, data, size));
}

static ssize_t system_pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return REPEAT(pwrite(fd, data, size, offset));
}

static int system_fsync(int fd)
{
    return REPEAT(fsync(fd));
}

static int system_ftruncate(int fd, off_t size)
{
    return REPEAT(ftruncate(fd, size));
}

struct lb_sys lb_sys = {
    .realloc = system_realloc,
    .open = system_open,
    .close = system_close,
    .read = system_read,
    .pread = system_pread,
    .write = system_write,
    .pwrite = system_pwrite,
    .fstat = fstat,
    .fsync = system_fsync,
    .ftruncate = system_ftruncate,
    .rename = rename,
    .unlink = unlink,
    .mkdir = mkdir,
    .rmdir = rmdir,
};

void *lb_alloc(size_t size)
{
    return lb_realloc(NULL, 0, size);
}

void *lb_realloc(void *pointer, size_t old_size, size_t new_size)
{
    if (pointer == NULL && new_size == 0)
        return NULL;
    return lb_sys.realloc(pointer, old_size, new_size);
}

void lb_free(void *pointer, size_t size)
{
    if (pointer != NULL)
        lb_sys.realloc(pointer, size, 0);
}

void *lb_alloc_zero(size_t size)
{
    void *result;

    if (size == 0)
        return NULL;
    /* Large blocks come zeroed from the kernel: calloc knows that, memset would touch them all. */
    if (lb_sys.realloc == system_realloc)
        return calloc(1, size);
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
