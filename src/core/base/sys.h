/* The injectable system layer: every file and memory call of the core goes through this table, so
 * that a test can make the n-th one fail: with LUABATCH_FAULT (fault.h), or by putting a function of its
 * own here. Production never changes it after start. */
#ifndef LB_BASE_SYS_H
#define LB_BASE_SYS_H

#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct lb_sys {
    void *(*realloc)(void *pointer, size_t old_size, size_t new_size); /* new_size 0 frees */
    int (*open)(const char *path, int flags, mode_t mode);
    int (*close)(int fd);
    ssize_t (*read)(int fd, void *data, size_t size);
    ssize_t (*pread)(int fd, void *data, size_t size, off_t offset);
    ssize_t (*write)(int fd, const void *data, size_t size);
    ssize_t (*pwrite)(int fd, const void *data, size_t size, off_t offset);
    int (*stat)(const char *path, struct stat *info);
    int (*lstat)(const char *path, struct stat *info);
    int (*fstat)(int fd, struct stat *info);
    int (*access)(const char *path, int mode);           /* counts as stat */
    char *(*realpath)(const char *path, char *resolved); /* counts as stat; free() what it makes */
    DIR *(*opendir)(const char *path);                   /* counts as open */
    int (*dup)(int fd);                                  /* counts as open */
    int (*fsync)(int fd);
    int (*syncfs)(int fd);
    int (*ftruncate)(int fd, off_t size);
    int (*rename)(const char *from, const char *to);
    int (*rename_with)(const char *from, const char *to, unsigned flags); /* renameat2 */
    int (*link)(const char *from, const char *to); /* follows a symbolic link */
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, mode_t mode);
    int (*rmdir)(const char *path);
    int (*flock)(int fd, int operation); /* counts as open */
};

extern struct lb_sys lb_sys;

/* The allocator gate. All three pass sizes; size 0 gives NULL. NULL means out of memory. */
void *lb_alloc(size_t size);
void *lb_realloc(void *pointer, size_t old_size, size_t new_size);
void lb_free(void *pointer, size_t size);
void *lb_alloc_zero(size_t size);
char *lb_strdup(const char *text); /* free with lb_strfree */
void lb_strfree(char *text);       /* NULL is allowed */

#endif
