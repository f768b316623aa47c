/* Hidden temporaries: see output_temp.h. */
#include "core/io/output_temp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/hash.h"
#include "core/base/sys.h"

enum {
    NAME_ATTEMPTS = 100,
    NAME_KEPT_BYTES = 200 /* of the target's name: a name has at most 255 bytes */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the list */
static struct lb_temp *all;
static pthread_once_t at_exit_once = PTHREAD_ONCE_INIT;

/* Removes what `name` in the directory dir_fd is, directories with all they hold; errors are passed
 * over: whoever removes a temporary has nothing better to do about them. */
static void remove_at(int dir_fd, const char *name)
{
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

static void remove_path(const struct lb_temp *temp)
{
    if (temp->owner == getpid())
        lb_temp_remove_path(temp->path, temp->is_directory);
}

static void remove_all(void)
{
    pthread_mutex_lock(&lock);
    for (struct lb_temp *temp = all; temp != NULL; temp = temp->next)
        remove_path(temp);
    all = NULL;
    pthread_mutex_unlock(&lock);
}

static void install_at_exit(void)
{
    atexit(remove_all);
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
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    const char *slash = strrchr(target, '/');
    const char *name = slash != NULL ? slash + 1 : target;
    int directory_bytes = (int)(name - target);
    size_t size = strlen(target) + 32;
    char suffix[7] = {0};
    uint64_t random;

    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random = lb_hash_pair((uint64_t)clock(), (uint64_t)getpid() << 32 | attempt);
    for (int i = 0; i < 6; i++, random /= 36)
        suffix[i] = letters[random % 36];
    char *path = lb_alloc(size);
    if (path == NULL)
        return NULL;
    snprintf(path, size, "%.*s.%.*s.luabatch-%s", directory_bytes, target, NAME_KEPT_BYTES, name,
             suffix);
    char *result = lb_strdup(path);
    lb_free(path, size);
    return result;
}

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
            remember(temp, is_directory);
            return LB_OK;
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

static int make_directory(const char *path, int *fd)
{
    (void)fd;
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
    return make_named(temp, target, true, make_directory, NULL, err);
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
