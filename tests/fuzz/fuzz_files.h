/* Files in memory in place of those of the system: named "memory:0" and so on when they are opened to be read, nameless ones for
 * spilling. Each read moves as many bytes as `step` allows. */
#ifndef TESTS_FUZZ_FILES_H
#define TESTS_FUZZ_FILES_H

#include <fcntl.h>

#include "core/io/path.h"
#include "fuzz.h"

enum { FUZZ_FILES = 4, FUZZ_FIRST_FD = 1000 };

struct fuzz_file {
    char *data;
    size_t size, at;
    bool is_open;
};
static struct fuzz_file fuzz_files[FUZZ_FILES];
static size_t fuzz_read_step = SIZE_MAX;

static struct fuzz_file *fuzz_file_of(int fd)
{
    CHECK(fd >= FUZZ_FIRST_FD && fd < FUZZ_FIRST_FD + FUZZ_FILES &&
          fuzz_files[fd - FUZZ_FIRST_FD].is_open);
    return &fuzz_files[fd - FUZZ_FIRST_FD];
}

static int fuzz_open(const char *path, int flags, mode_t mode)
{
    (void)mode;
    int number = 0;
    if ((flags & O_TMPFILE) == O_TMPFILE) {
        while (number < FUZZ_FILES && fuzz_files[number].is_open)
            number++;
        CHECK(number < FUZZ_FILES);
        fuzz_files[number].size = 0;
    } else {
        CHECK(sscanf(path, "memory:%d", &number) == 1 && number < FUZZ_FILES);
    }
    CHECK(!fuzz_files[number].is_open);
    fuzz_files[number].is_open = true;
    fuzz_files[number].at = 0;
    return FUZZ_FIRST_FD + number;
}

static int fuzz_close(int fd)
{
    fuzz_file_of(fd)->is_open = false;
    return 0;
}

static ssize_t fuzz_pread(int fd, void *data, size_t size, off_t offset)
{
    const struct fuzz_file *file = fuzz_file_of(fd);
    size_t left = (size_t)offset < file->size ? file->size - (size_t)offset : 0;
    size_t n = size < left ? size : left;
    n = n < fuzz_read_step ? n : fuzz_read_step;
    if (n > 0)
        memcpy(data, file->data + offset, n);
    return (ssize_t)n;
}

static ssize_t fuzz_read(int fd, void *data, size_t size)
{
    struct fuzz_file *file = fuzz_file_of(fd);
    ssize_t n = fuzz_pread(fd, data, size, (off_t)file->at);
    file->at += (size_t)n;
    return n;
}

static ssize_t fuzz_pwrite(int fd, const void *data, size_t size, off_t offset)
{
    struct fuzz_file *file = fuzz_file_of(fd);
    size_t n = size < fuzz_read_step ? size : fuzz_read_step;
    size_t end = (size_t)offset + n;
    CHECK(end < 64 << 20);
    if (end > file->size) {
        file->data = realloc(file->data, end);
        CHECK(file->data != NULL);
        memset(file->data + file->size, 0, end - file->size);
        file->size = end;
    }
    memcpy(file->data + offset, data, n);
    return (ssize_t)n;
}

static int fuzz_fstat(int fd, struct stat *info)
{
    *info = (struct stat){.st_mode = S_IFREG | 0600,
                          .st_size = (off_t)fuzz_file_of(fd)->size,
                          .st_dev = 1,
                          .st_ino = (ino_t)fd};
    return 0;
}

static inline void fuzz_files_begin(size_t read_step)
{
    fuzz_begin();
    fuzz_read_step = read_step;
    lb_sys.open = fuzz_open;
    lb_sys.close = fuzz_close;
    lb_sys.read = fuzz_read;
    lb_sys.pread = fuzz_pread;
    lb_sys.pwrite = fuzz_pwrite;
    lb_sys.fstat = fuzz_fstat;
}

/* Frees the files, too. */
static inline int fuzz_files_end(void)
{
    for (int i = 0; i < FUZZ_FILES; i++) {
        CHECK(!fuzz_files[i].is_open);
        free(fuzz_files[i].data);
        fuzz_files[i] = (struct fuzz_file){0};
    }
    return fuzz_end();
}

/* Makes these bytes the file of that number; copies. */
static inline void fuzz_file_put(int number, const void *data, size_t size)
{
    free(fuzz_files[number].data);
    fuzz_files[number].data = fuzz_copy(data, size, 0, 0);
    fuzz_files[number].size = size;
}

static inline struct lb_file fuzz_file_named(char name[16], int number,
                                             enum lb_compression compression)
{
    snprintf(name, 16, "memory:%d", number);
    return (struct lb_file){.path = name,
                            .size_bytes = fuzz_files[number].size,
                            .device = 1,
                            .inode = (uint64_t)(FUZZ_FIRST_FD + number),
                            .is_regular = true,
                            .compression = compression};
}

#endif
