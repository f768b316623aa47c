/* Hidden temporaries: see output_temp.h. */
#include "core/io/output_temp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/fault.h"
#include "core/base/hash.h"
#include "core/base/sys.h"

enum {
    NAME_ATTEMPTS = 100,
    SUFFIX_BYTES = 6,
    NAME_KEPT_BYTES = 200 /* of the target's name: a name has at most 255 bytes */
};

static const char mark[] = ".luabatch-"; /* before the suffix */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the list; and see lb_temp_hold */
static struct lb_temp *all;
static pthread_once_t at_exit_once = PTHREAD_ONCE_INIT;

/* Removes what `name` in the directory dir_fd is, directories with all they hold; errors are passed
 * over: whoever removes a temporary has nothing better to do about them. */
static void remove_at(int dir_fd, const char *name)
{
    LB_FAULT_MOMENT();
    if (unlinkat(dir_fd, name, 0) == 0 || (errno != EISDIR && errno != EPERM))
        return;
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
    if (directory != NULL) {
        struct dirent *entry;
        while ((entry = readdir(directory)) != NULL) {
            if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                remove_at(fd, entry->d_name);
        }
        closedir(directory);
    } else if (fd >= 0) {
        close(fd);
    }
    unlinkat(dir_fd, name, AT_REMOVEDIR);
}

void lb_temp_remove_path(const char *path, bool is_directory)
{
    if (is_directory)
        remove_at(AT_FDCWD, path);
    else
        lb_sys.unlink(path);
}

/* It hears of a name before there is a directory of that name. */
static void tell_janitor(int fd, const char *path)
{
    size_t size = strlen(path) + 1;
    if (fd >= 0 && size <= PATH_MAX)
        (void)!write(fd, path, size); /* a pipe takes that at once */
}

static void remove_path(const struct lb_temp *temp)
{
    if (temp->owner == getpid())
        lb_temp_remove_path(temp->path, temp->is_directory);
}

static void random_suffix(char *to, unsigned attempt)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    uint64_t random;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random = lb_hash_pair((uint64_t)clock(), (uint64_t)getpid() << 32 | attempt);
    for (int i = 0; i < SUFFIX_BYTES; i++, random /= 36)
        to[i] = letters[random % 36];
}

/* Of a thread that may be about to give the directory its target's name, in the midst of which it would be emptied. Under another
 * name nobody else knows it: if it took the target's before, this is the old one, or there is none, and else it never will. */
static void remove_of_any_thread(const struct lb_temp *temp)
{
    char moved[PATH_MAX];
    size_t size = strlen(temp->path);
    if (temp->owner != getpid() || size >= sizeof moved)
        return;
    if (!temp->is_directory) {
        remove_path(temp);
        return;
    }
    memcpy(moved, temp->path, size + 1);
    random_suffix(moved + size - SUFFIX_BYTES, 0);
    tell_janitor(temp->janitor_fd, moved);
    if (renameat(AT_FDCWD, temp->path, AT_FDCWD, moved) == 0)
        remove_at(AT_FDCWD, moved);
}

void lb_temp_remove_all(void)
{
    pthread_mutex_lock(&lock);
    for (struct lb_temp *temp = all; temp != NULL; temp = temp->next)
        remove_of_any_thread(temp);
    all = NULL;
    pthread_mutex_unlock(&lock);
}

void lb_temp_hold(void)
{
    pthread_mutex_lock(&lock);
}

void lb_temp_release(void)
{
    pthread_mutex_unlock(&lock);
}

static void install_at_exit(void)
{
    atexit(lb_temp_remove_all);
}

static void remember(struct lb_temp *temp, bool is_directory)
{
    temp->is_directory = is_directory;
    temp->owner = getpid();
    pthread_once(&at_exit_once, install_at_exit);
    pthread_mutex_lock(&lock);
    temp->next = all;
    all = temp;
    pthread_mutex_unlock(&lock);
}

/* ---- janitors ---- */

/* Removes what no living process has locked. */
static void remove_unlocked(int dir_fd, const char *name)
{
    /* Not through lb_sys: that this fails hurts nobody. */
    int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        remove_at(dir_fd, name);
    close(fd);
}

/* `aside` is what an exchange in three steps (output_tree.c) was killed in, unless a living process has it
 * locked: the old directory, which gets its name again if the new one did not take it. */
static void settle_aside(int dir_fd, const char *aside, const char *target)
{
    int fd = openat(dir_fd, aside, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        if (faccessat(dir_fd, target, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            remove_at(dir_fd, aside);
        else if (errno == ENOENT)
            (void)!renameat(dir_fd, aside, dir_fd, target);
    }
    close(fd);
}

#ifndef __SANITIZE_THREAD__
/* The names of the target and of what is set aside for it, of that of a temporary. False: it was cut, or is too long. */
static bool names_beside(const char *path, char target[PATH_MAX], char aside[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t directory_bytes = slash != NULL ? (size_t)(slash + 1 - path) : 0;
    size_t size = strlen(path + directory_bytes), around = 1 + (sizeof mark - 1) + SUFFIX_BYTES;
    if (size <= around || size - around >= NAME_KEPT_BYTES ||
        snprintf(aside, PATH_MAX, "%s%s", path, LB_TEMP_ASIDE) >= PATH_MAX)
        return false;
    snprintf(target, PATH_MAX, "%.*s%.*s", (int)directory_bytes, path, (int)(size - around),
             path + directory_bytes + 1);
    return true;
}

/* In the child, which shares nothing with its parent but the pipe: reads names until the parent is gone. */
static void keep_house(int fd)
{
    static char paths[2 * PATH_MAX], target[PATH_MAX], aside[PATH_MAX];
    size_t size = 0;
    ssize_t n;
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_IGN);
    setsid();
    while ((n = read(fd, paths + size, sizeof paths - 1 - size)) > 0)
        size += (size_t)n;
    /* A process that dies closes one file after the other: its locks may go a little after the pipe. */
    const struct timespec pause = {.tv_nsec = 5000000};
    for (const char *path = paths; n == 0 && path < paths + size; path += strlen(path) + 1) {
        for (int i = 0; i < 100 && access(path, F_OK) == 0; i++) {
            if (i > 0)
                nanosleep(&pause, NULL);
            remove_unlocked(AT_FDCWD, path);
        }
        bool has_names = names_beside(path, target, aside);
        for (int i = 0; has_names && i < 100 && access(aside, F_OK) == 0; i++) {
            if (i > 0)
                nanosleep(&pause, NULL);
            settle_aside(AT_FDCWD, aside, target);
        }
    }
    _exit(0);
}
#endif

/* Best effort: without a janitor what a kill leaves waits for the next save. The thread sanitizer forbids it. */
static void start_janitor(struct lb_temp *temp)
{
    temp->janitor = 0;
    temp->janitor_fd = -1;
#ifndef __SANITIZE_THREAD__
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    pid_t pid = LB_FAULT(FORK, NULL) ? -1 : fork();
    if (pid == 0) {
        /* What the parent has open must not stay open because of the child. */
        if (dup2(ends[0], 0) == 0 && close_range(1, ~0U, 0) == 0)
            keep_house(0);
        _exit(0);
    }
    close(ends[0]);
    if (pid < 0) {
        close(ends[1]);
        return;
    }
    temp->janitor = pid;
    temp->janitor_fd = ends[1];
#endif
}

static void end_janitor(struct lb_temp *temp)
{
    if (temp->janitor == 0)
        return;
    close(temp->janitor_fd);
    while (waitpid(temp->janitor, NULL, 0) < 0 && errno == EINTR)
        ;
    temp->janitor = 0;
}

void lb_temp_forget(struct lb_temp *temp)
{
    if (temp->path == NULL)
        return;
    pthread_mutex_lock(&lock);
    for (struct lb_temp **link = &all; *link != NULL; link = &(*link)->next) {
        if (*link == temp) {
            *link = temp->next;
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    lb_strfree(temp->path);
    temp->path = NULL;
    lb_sys.close(temp->lock_fd); /* what it was may be the target now */
    end_janitor(temp);
}

void lb_temp_remove(struct lb_temp *temp)
{
    if (temp->path == NULL)
        return;
    remove_path(temp);
    lb_temp_forget(temp);
}

/* A fresh hidden name beside target, or NULL when out of memory. */
static char *hidden_name(const char *target, unsigned attempt)
{
    const char *slash = strrchr(target, '/');
    const char *name = slash != NULL ? slash + 1 : target;
    int directory_bytes = (int)(name - target);
    size_t size = strlen(target) + 32;
    char suffix[SUFFIX_BYTES + 1] = {0};
    random_suffix(suffix, attempt);
    char *path = lb_alloc(size);
    if (path == NULL)
        return NULL;
    snprintf(path, size, "%.*s.%.*s.luabatch-%s", directory_bytes, target, NAME_KEPT_BYTES, name,
             suffix);
    char *result = lb_strdup(path);
    lb_free(path, size);
    return result;
}

/* Locks what was just made. EEXIST when a sweep was faster, which takes it for a dead process's: another name is tried. */
static int lock_new(const char *path, bool is_directory, int *lock_fd)
{
    struct stat opened, named;
    int fd = lb_sys.open(path, O_RDONLY | O_NOFOLLOW | (is_directory ? O_DIRECTORY : 0), 0);
    if (fd < 0)
        return errno == ENOENT ? EEXIST : errno;
    /* A file system that knows no locks has no sweeps either. */
    int failure = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK ? EEXIST : 0;
    if (failure == 0 && (lb_sys.fstat(fd, &opened) != 0 || lb_sys.lstat(path, &named) != 0))
        failure = errno == ENOENT ? EEXIST : errno;
    else if (failure == 0 && (opened.st_ino != named.st_ino || opened.st_dev != named.st_dev))
        failure = EEXIST;
    if (failure != 0) {
        lb_sys.close(fd);
        return failure;
    }
    *lock_fd = fd;
    return 0;
}

static int make_file(const char *path, int *fd);

/* What the three makers share: names are tried until one is free. make() gives 0 or an errno. */
static lb_status make_named(struct lb_temp *temp, const char *target, bool is_directory,
                            int (*make)(const char *path, int *fd), int *fd, struct lb_error *err)
{
    int failure = EEXIST;
    for (unsigned i = 0; i < NAME_ATTEMPTS && failure == EEXIST; i++) {
        temp->path = hidden_name(target, i);
        if (temp->path == NULL)
            return lb_error_memory(err, "the name of a temporary", strlen(target) + 32);
        failure = make(temp->path, fd);
        if (failure == 0) {
            failure = lock_new(temp->path, is_directory, &temp->lock_fd);
            if (failure == 0) {
                remember(temp, is_directory);
                return LB_OK;
            }
            lb_temp_remove_path(temp->path, is_directory);
            if (!is_directory && make == make_file)
                lb_sys.close(*fd);
        }
        lb_strfree(temp->path);
        temp->path = NULL;
    }
    return lb_error_system(err, failure, "cannot write '%s'", target);
}

static int make_file(const char *path, int *fd)
{
    *fd = lb_sys.open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
    return *fd >= 0 ? 0 : errno;
}

static int make_link(const char *path, int *fd)
{
    return lb_temp_publish(*fd, path);
}

static int make_directory(const char *path, int *janitor_fd)
{
    tell_janitor(*janitor_fd, path);
    return lb_sys.mkdir(path, 0777) == 0 ? 0 : errno;
}

lb_status lb_temp_new_file(struct lb_temp *temp, const char *target, int *fd, struct lb_error *err)
{
    return make_named(temp, target, false, make_file, fd, err);
}

lb_status lb_temp_link(struct lb_temp *temp, const char *target, int fd, struct lb_error *err)
{
    return make_named(temp, target, false, make_link, &fd, err);
}

lb_status lb_temp_new_directory(struct lb_temp *temp, const char *target, struct lb_error *err)
{
    start_janitor(temp);
    lb_status status = make_named(temp, target, true, make_directory, &temp->janitor_fd, err);
    if (status != LB_OK)
        end_janitor(temp);
    return status;
}

/* Whether an entry is a temporary for a target of this name (its first NAME_KEPT_BYTES), or with that at its end. */
static bool is_temporary_of(const char *entry, const char *name, const char *end)
{
    size_t size = strlen(name);
    if (size > NAME_KEPT_BYTES)
        size = NAME_KEPT_BYTES;
    size_t own_bytes = 1 + size + (sizeof mark - 1) + SUFFIX_BYTES;
    return entry[0] == '.' && strncmp(entry + 1, name, size) == 0 &&
           strncmp(entry + 1 + size, mark, sizeof mark - 1) == 0 && strlen(entry) >= own_bytes &&
           strcmp(entry + own_bytes, end) == 0;
}

void lb_temp_sweep(const char *target)
{
    const char *slash = strrchr(target, '/');
    const char *name = slash != NULL ? slash + 1 : target;
    size_t directory_bytes = (size_t)(name - target);
    char *directory = lb_alloc(directory_bytes + 2);
    if (directory == NULL)
        return;
    memcpy(directory, directory_bytes > 0 ? target : ".",
           directory_bytes > 0 ? directory_bytes : 1);
    directory[directory_bytes > 0 ? directory_bytes : 1] = '\0';
    DIR *entries = lb_sys.opendir(directory);
    lb_free(directory, directory_bytes + 2);
    if (entries == NULL)
        return;
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        if (is_temporary_of(entry->d_name, name, ""))
            remove_unlocked(dirfd(entries), entry->d_name);
        else if (strlen(name) < NAME_KEPT_BYTES &&
                 is_temporary_of(entry->d_name, name, LB_TEMP_ASIDE))
            settle_aside(dirfd(entries), entry->d_name, name);
    }
    closedir(entries);
}

/* linkat() with AT_EMPTY_PATH needs a capability; the name under /proc does not. */
static void proc_path(int fd, char out[40])
{
    snprintf(out, 40, "/proc/self/fd/%d", fd);
}

int lb_temp_open_nameless(const char *directory)
{
    char path[40];
    int fd = lb_sys.open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    if (fd < 0)
        return -1;
    proc_path(fd, path);
    if (access(path, F_OK) != 0) {
        lb_sys.close(fd);
        return -1;
    }
    return fd;
}

int lb_temp_publish(int fd, const char *path)
{
    char from[40];
    proc_path(fd, from);
    return lb_sys.link(from, path) == 0 ? 0 : errno;
}
