/* See jail.h.
 *
 * RACES  A file is opened by O_PATH first, which neither reads nor waits; then the name that the kernel has for it
 *        (/proc/self/fd) is judged, and that very file is opened. What is made is made in a directory opened the same way.
 * WAYS   "/some/folder/../../in" is there if that folder is; a link beside leads in if it is there. So that a way tells nothing, it is gone
 *        name by name, and no name is looked at but such as the job may know of: what it may look at, what stands above something
 *        allowed, and what the paths allowed went through themselves.
 * LIST   A hash table by path, for command lines that name thousands of files. What stands above a path is in it, too, marked so: a
 *        question is a look-up of the path in question, or one for each folder above it.
 * THREADS The list is complete before the wall is closed, and only read then. */
#include "core/base/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/confine.h"
#include "core/base/hash.h"
#include "core/base/sys.h"

enum { PROC_BYTES = 40 };

/* Rights of an entry: bits of enum lb_jail_right, and of these. */
enum {
    RIGHT_PASS = 4, /* a name on the way to what is allowed: it may be gone through */
    RIGHT_ABOVE,    /* something in the list is below it */
    RIGHT_HOLD      /* the folder that holds an output */
};

#define BIT(right) (1u << (right))

struct entry {
    char *path; /* absolute; real, but for those gone through, which may be links */
    size_t size;
    unsigned rights;
    size_t next_output; /* of those that may be written, which are few: index + 1, or 0 */
};

static struct entry *entries;
static size_t n_entries, capacity;
static uint32_t *slots; /* index + 1 of an entry; 0: free. Twice `capacity`, a power of two */
static size_t first_output;
static bool is_closed;
static struct lb_sys open_sys; /* the table as it was */

/* ---- paths ---- */

/* Splits into the directory's part and the name; false when there is no name to make. */
static bool split(const char *path, char directory[PATH_MAX], char name[NAME_MAX + 1])
{
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/')
        size--;
    size_t at = size;
    while (at > 0 && path[at - 1] != '/')
        at--;
    size_t length = size - at;
    if (length == 0 || length > NAME_MAX || at >= PATH_MAX)
        return false;
    memcpy(name, path + at, length);
    name[length] = '\0';
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    memcpy(directory, path, at);
    directory[at] = '\0';
    if (at == 0)
        strcpy(directory, ".");
    return true;
}

static bool join(char out[PATH_MAX], const char *directory, const char *name)
{
    const char *slash = strcmp(directory, "/") == 0 ? "" : "/";
    return snprintf(out, PATH_MAX, "%s%s%s", directory, slash, name) < PATH_MAX;
}

/* The directory of an entry, and its name. */
static const char *name_of(const char *path, size_t *directory_size)
{
    const char *slash = strrchr(path, '/');
    *directory_size = (size_t)(slash - path);
    return slash + 1;
}

/* Whether path is a hidden temporary beside root, or in one: "dir/.name.luabatch-x1y2z3". */
static bool is_beside(const char *path, const char *root)
{
    static const char mark[] = ".luabatch-";
    size_t size;
    const char *name = name_of(root, &size);
    size_t length = strlen(name);
    if (strncmp(path, root, size + 1) != 0 || path[size + 1] != '.')
        return false;
    path += size + 2;
    if (length > 200) /* NAME_KEPT_BYTES in output_temp.c */
        length = 200;
    return strncmp(path, name, length) == 0 && strncmp(path + length, mark, sizeof mark - 1) == 0;
}

/* The slot of a path, or the free one where it belongs. */
static size_t find_slot(const char *path, size_t size)
{
    size_t mask = 2 * capacity - 1, at = lb_hash_bytes(path, size) & mask;
    for (; slots[at] != 0; at = (at + 1) & mask) {
        const struct entry *entry = &entries[slots[at] - 1];
        if (entry->size == size && memcmp(entry->path, path, size) == 0)
            break;
    }
    return at;
}

static unsigned rights_of(const char *path, size_t size)
{
    size_t at = capacity > 0 ? find_slot(path, size) : 0;
    return capacity > 0 && slots[at] != 0 ? entries[slots[at] - 1].rights : 0;
}

static bool has_right(const char *path, int right)
{
    return (rights_of(path, strlen(path)) & BIT(right)) != 0;
}

/* The size of the folder's path above one of this size, "/" at last. */
static size_t size_above(const char *path, size_t size)
{
    while (size > 1 && path[size - 1] != '/')
        size--;
    return size > 1 ? size - 1 : 1;
}

/* Whether one of these rights is given to the path or to a folder above it. */
static bool is_below(const char *path, unsigned rights)
{
    size_t size = strlen(path);
    while ((rights_of(path, size) & rights) == 0) {
        if (size <= 1)
            return false;
        size = size_above(path, size);
    }
    return true;
}

static bool is_temporary(const char *real)
{
    for (size_t i = first_output; i > 0; i = entries[i - 1].next_output)
        if (is_beside(real, entries[i - 1].path))
            return true;
    return false;
}

static bool may_read(const char *real)
{
    return is_below(real, BIT(LB_JAIL_READ) | BIT(LB_JAIL_WRITE)) || is_temporary(real);
}

static bool may_write(const char *real)
{
    return is_below(real, BIT(LB_JAIL_WRITE)) || is_temporary(real);
}

static bool may_list(const char *real)
{
    return has_right(real, LB_JAIL_LIST) || may_read(real);
}

/* Nameless files, and syncing. */
static bool may_use_directory(const char *real)
{
    return has_right(real, LB_JAIL_TMP) || has_right(real, RIGHT_HOLD) || may_write(real);
}

/* A spill file's name, which it has for a moment where there are no nameless files. */
static bool is_spill(const char *real)
{
    size_t size;
    const char *name = name_of(real, &size);
    return (rights_of(real, size) & BIT(LB_JAIL_TMP)) != 0 && strncmp(name, ".luabatch-", 10) == 0;
}

static bool may_stat(const char *real)
{
    return may_list(real) || may_use_directory(real);
}

static bool is_passed(const char *path)
{
    return has_right(path, RIGHT_PASS);
}

/* Whether the job may know what is there. */
static bool is_known(const char *path)
{
    return rights_of(path, strlen(path)) != 0 || may_stat(path);
}

static int refuse(void)
{
    errno = EACCES;
    return -1;
}

/* Why a way ended at `place`, as errno has it, is told where the job may know. */
static int end_at(const char *place)
{
    return may_stat(place) || is_passed(place) ? -1 : refuse();
}

/* ---- ways ---- */

static lb_status grow(struct lb_error *err)
{
    enum { FIRST_CAPACITY = 64 };
    size_t new_capacity = capacity > 0 ? 2 * capacity : FIRST_CAPACITY;
    struct entry *grown =
        lb_realloc(entries, capacity * sizeof *entries, new_capacity * sizeof *entries);
    if (grown == NULL)
        return lb_error_memory(err, "the files of safe mode", new_capacity * sizeof *entries);
    entries = grown;
    uint32_t *new_slots = lb_alloc_zero(2 * new_capacity * sizeof *slots);
    if (new_slots == NULL)
        return lb_error_memory(err, "the files of safe mode", 2 * new_capacity * sizeof *slots);
    lb_free(slots, 2 * capacity * sizeof *slots);
    slots = new_slots;
    capacity = new_capacity;
    for (size_t i = 0; i < n_entries; i++)
        slots[find_slot(entries[i].path, entries[i].size)] = (uint32_t)i + 1;
    return LB_OK;
}

static lb_status add_right(int right, const char *path, size_t size, struct lb_error *err)
{
    if (n_entries == capacity)
        LB_TRY(grow(err));
    size_t at = find_slot(path, size);
    if (slots[at] == 0) {
        char *copy = lb_alloc(size + 1);
        if (copy == NULL)
            return lb_error_memory(err, "the files of safe mode", size + 1);
        memcpy(copy, path, size);
        copy[size] = '\0';
        entries[n_entries] = (struct entry){.path = copy, .size = size};
        slots[at] = (uint32_t)++n_entries;
    }
    struct entry *entry = &entries[slots[at] - 1];
    if (right == LB_JAIL_WRITE && (entry->rights & BIT(right)) == 0) {
        entry->next_output = first_output;
        first_output = slots[at];
    }
    entry->rights |= BIT(right);
    return LB_OK;
}

static lb_status add_entry(int right, const char *path, struct lb_error *err)
{
    size_t size = strlen(path);
    LB_TRY(add_right(right, path, size, err));
    if (right == LB_JAIL_WRITE)
        LB_TRY(add_right(RIGHT_HOLD, path, size_above(path, size), err));
    while (size > 1) {
        size = size_above(path, size);
        if ((rights_of(path, size) & BIT(RIGHT_ABOVE)) != 0)
            break; /* so are those above it */
        LB_TRY(add_right(RIGHT_ABOVE, path, size, err));
    }
    return LB_OK;
}

/* Where the names on a way are learnt. */
struct learning {
    lb_status status;
    struct lb_error *err;
};

static int meet(const char *place, struct learning *learning)
{
    if (is_known(place))
        return 0;
    if (learning == NULL)
        return refuse();
    learning->status = add_entry(RIGHT_PASS, place, learning->err);
    return learning->status == LB_OK ? 0 : -1;
}

static void leave(char place[PATH_MAX])
{
    char *slash = strrchr(place, '/');
    slash[slash == place] = '\0';
}

/* Goes back to the directory of the link `place`, with its target before the rest of the way. */
static int follow(char place[PATH_MAX], char rest[PATH_MAX])
{
    char target[PATH_MAX];
    ssize_t size = readlink(place, target, sizeof target);
    if (size <= 0 || (size_t)size + strlen(rest) >= PATH_MAX)
        return refuse();
    memmove(rest + size, rest, strlen(rest) + 1);
    memcpy(rest, target, (size_t)size);
    if (target[0] == '/')
        strcpy(place, "/");
    else
        leave(place);
    return 0;
}

/* Goes a way: `place` becomes what it leads to or, when -1 is returned with errno, where it ended. A name that is not known is learnt, or
 * without `learning` refused. */
static int walk(const char *path, char place[PATH_MAX], struct learning *learning)
{
    enum { MOST_LINKS = 40 };
    char rest[PATH_MAX], name[NAME_MAX + 1], next[PATH_MAX];
    struct stat info;
    strcpy(place, "/");
    if (path[0] == '\0' || strlen(path) >= sizeof rest)
        return refuse();
    strcpy(rest, path);
    if (path[0] != '/' && (getcwd(place, PATH_MAX) == NULL || place[0] != '/'))
        return refuse();
    for (int n_links = 0;;) {
        size_t start = strspn(rest, "/"), size = strcspn(rest + start, "/");
        if (size == 0)
            return 0;
        if (size > NAME_MAX)
            return refuse();
        memcpy(name, rest + start, size);
        name[size] = '\0';
        memmove(rest, rest + start + size, strlen(rest + start + size) + 1);
        if (strcmp(name, ".") == 0)
            continue;
        if (strcmp(name, "..") == 0) {
            leave(place);
            continue;
        }
        if (!join(next, place, name))
            return refuse();
        strcpy(place, next);
        if (meet(place, learning) != 0 || lstat(place, &info) != 0)
            return -1;
        if (S_ISLNK(info.st_mode)) {
            if (n_links++ == MOST_LINKS || follow(place, rest) != 0)
                return refuse();
        } else if (!S_ISDIR(info.st_mode) && rest[0] != '\0') {
            errno = ENOTDIR;
            return -1;
        }
    }
}

/* Where a path leads, links followed. -1 with errno; then `real` is where the way ends. */
static int real_path(const char *path, char real[PATH_MAX])
{
    return walk(path, real, NULL);
}

/* The real path of a name in its directory, whether it exists or not; a link is not followed. */
static bool real_entry(const char *path, char out[PATH_MAX])
{
    char directory[PATH_MAX], name[NAME_MAX + 1], real[PATH_MAX];
    return split(path, directory, name) && real_path(directory, real) == 0 && join(out, real, name);
}

/* ---- the checking calls ---- */

/* Opens what a path leads to without touching it, and tells its real name. -1 with errno. */
static int look(const char *path, int flags, char real[PATH_MAX], char proc[PROC_BYTES])
{
    if ((flags & O_NOFOLLOW) != 0 && !real_entry(path, real))
        return refuse();
    if ((flags & O_NOFOLLOW) == 0 && real_path(path, real) != 0)
        return end_at(real);
    int fd = open_sys.open(real, O_PATH | O_CLOEXEC | O_NOFOLLOW | (flags & O_DIRECTORY), 0);
    if (fd < 0)
        return end_at(real);
    snprintf(proc, PROC_BYTES, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(proc, real, PATH_MAX - 1);
    if (size <= 0 || real[0] != '/') {
        open_sys.close(fd);
        return refuse();
    }
    real[size] = '\0';
    return fd;
}

static int open_existing(const char *path, int flags, mode_t mode)
{
    char real[PATH_MAX], proc[PROC_BYTES];
    struct stat info;
    int seen = look(path, flags, real, proc);
    if (seen < 0)
        return -1;
    bool is_good = open_sys.fstat(seen, &info) == 0;
    if (!is_good || (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)))
        is_good = false;
    else if ((flags & O_TMPFILE) == O_TMPFILE)
        is_good = may_use_directory(real);
    else if ((flags & O_ACCMODE) != O_RDONLY)
        is_good = may_write(real);
    else if (S_ISDIR(info.st_mode))
        is_good = may_use_directory(real) || may_list(real);
    else
        is_good = may_read(real);
    int fd = is_good ? open_sys.open(proc, flags & ~O_NOFOLLOW, mode) : refuse();
    int errno_value = errno;
    open_sys.close(seen);
    errno = errno_value;
    return fd;
}

static int open_new(const char *path, int flags, mode_t mode)
{
    char directory[PATH_MAX], name[NAME_MAX + 1], real[PATH_MAX], whole[PATH_MAX];
    char proc[PROC_BYTES];
    if (!split(path, directory, name))
        return refuse();
    int seen = look(directory, O_DIRECTORY, real, proc);
    if (seen < 0)
        return -1;
    bool is_good =
        join(whole, real, name) && (may_write(whole) || ((flags & O_EXCL) != 0 && is_spill(whole)));
    int fd = -1;
    if (is_good) {
        char inside[PROC_BYTES + NAME_MAX + 2];
        snprintf(inside, sizeof inside, "%s/%s", proc, name);
        fd = open_sys.open(inside, flags | O_NOFOLLOW, mode);
    } else {
        refuse();
    }
    int errno_value = errno;
    open_sys.close(seen);
    errno = errno_value;
    return fd;
}

static int jail_open(const char *path, int flags, mode_t mode)
{
    if (strcmp(path, "/dev/null") == 0)
        return open_sys.open(path, flags, mode);
    bool makes = (flags & O_CREAT) != 0;
    return makes ? open_new(path, flags, mode) : open_existing(path, flags, mode);
}

static DIR *jail_opendir(const char *path)
{
    char real[PATH_MAX];
    if (real_path(path, real) != 0) {
        end_at(real);
        return NULL;
    }
    if (!may_list(real)) {
        refuse();
        return NULL;
    }
    return open_sys.opendir(real);
}

static int jail_stat(const char *path, struct stat *info)
{
    char real[PATH_MAX];
    if (real_path(path, real) != 0)
        return end_at(real);
    return may_stat(real) ? open_sys.stat(real, info) : refuse();
}

static int jail_lstat(const char *path, struct stat *info)
{
    char real[PATH_MAX];
    if (real_entry(path, real) && may_stat(real))
        return open_sys.lstat(real, info);
    if (real_path(path, real) != 0)
        return end_at(real);
    return may_stat(real) ? open_sys.lstat(path, info) : refuse();
}

static int jail_access(const char *path, int mode)
{
    char real[PATH_MAX];
    if (real_path(path, real) != 0)
        return end_at(real);
    return may_stat(real) ? open_sys.access(real, mode) : refuse();
}

/* Of all that may be known: it tells no more than the way there. */
static char *jail_realpath(const char *path, char *resolved)
{
    char real[PATH_MAX];
    if (real_path(path, real) == 0)
        return open_sys.realpath(real, resolved);
    end_at(real);
    return NULL;
}

/* Names, of which a link is one itself. */
static bool may_change(const char *path)
{
    char real[PATH_MAX];
    return real_entry(path, real) && may_write(real);
}

static int jail_rename(const char *from, const char *to)
{
    return may_change(from) && may_change(to) ? open_sys.rename(from, to) : refuse();
}

static int jail_rename_with(const char *from, const char *to, unsigned flags)
{
    return may_change(from) && may_change(to) ? open_sys.rename_with(from, to, flags) : refuse();
}

/* Only for a nameless file of ours: a link to any other would let what is outside seem inside. */
static int jail_link(const char *from, const char *to)
{
    bool is_ours = strncmp(from, "/proc/self/fd/", 14) == 0;
    return is_ours && may_change(to) ? open_sys.link(from, to) : refuse();
}

static int jail_unlink(const char *path)
{
    char real[PATH_MAX];
    bool is_good = real_entry(path, real) && (may_write(real) || is_spill(real));
    return is_good ? open_sys.unlink(path) : refuse();
}

static int jail_mkdir(const char *path, mode_t mode)
{
    return may_change(path) ? open_sys.mkdir(path, mode) : refuse();
}

static int jail_rmdir(const char *path)
{
    return may_change(path) ? open_sys.rmdir(path) : refuse();
}

/* ---- the list ---- */

lb_status lb_jail_allow(enum lb_jail_right right, const char *path, struct lb_error *err)
{
    char target[PATH_MAX], directory[PATH_MAX], name[NAME_MAX + 1], real[PATH_MAX], entry[PATH_MAX];
    if (is_closed)
        return lb_error_set(err, LB_ERR_INTERNAL, "safe mode has begun");
    bool is_there = realpath(path, target) != NULL;
    bool has_name = split(path, directory, name) && realpath(directory, real) != NULL &&
                    join(entry, real, name);
    if (is_there)
        LB_TRY(add_entry(right, target, err));
    /* Of an output that is a link both the link and what it leads to are replaced. */
    if (has_name && (!is_there || right == LB_JAIL_WRITE))
        LB_TRY(add_entry(right, entry, err));
    struct learning learning = {.status = LB_OK, .err = err};
    (void)walk(path, target, &learning);
    return learning.status;
}

void lb_jail_visit(void (*visit)(void *state, enum lb_jail_right right, const char *path),
                   void *state)
{
    for (size_t i = 0; i < n_entries; i++)
        for (int right = LB_JAIL_READ; right <= LB_JAIL_TMP; right++)
            if ((entries[i].rights & BIT(right)) != 0)
                visit(state, (enum lb_jail_right)right, entries[i].path);
}

lb_status lb_jail_close(struct lb_error *err)
{
    if (is_closed)
        return LB_OK;
    if (access("/proc/self/fd", X_OK) != 0)
        return lb_error_system(err, errno, "safe mode needs /proc");
    LB_TRY(lb_confine(err));
    open_sys = lb_sys;
    lb_sys.open = jail_open;
    lb_sys.opendir = jail_opendir;
    lb_sys.stat = jail_stat;
    lb_sys.lstat = jail_lstat;
    lb_sys.access = jail_access;
    lb_sys.realpath = jail_realpath;
    lb_sys.rename = jail_rename;
    lb_sys.rename_with = jail_rename_with;
    lb_sys.link = jail_link;
    lb_sys.unlink = jail_unlink;
    lb_sys.mkdir = jail_mkdir;
    lb_sys.rmdir = jail_rmdir;
    is_closed = true;
    return LB_OK;
}

bool lb_jail_is_closed(void)
{
    return is_closed;
}
