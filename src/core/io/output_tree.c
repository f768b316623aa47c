/* Directories as outputs: see output_tree.h. */
#include "core/io/output_tree.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/sys.h"
#include "core/io/output_temp.h"

static const char success_name[] = "_SUCCESS";

enum {
    MAX_DESCRIPTORS = 65536, /* more than that are not asked for */
    FEW_HELD = 4             /* as many are held without a look at the limit */
};

/* "part-00012..." gives 12 and true. */
static bool parse_part(const char *name, uint32_t *number)
{
    if (strncmp(name, "part-", 5) != 0 || !isdigit((unsigned char)name[5]))
        return false;
    unsigned long value = strtoul(name + 5, NULL, 10);
    *number = value < UINT32_MAX ? (uint32_t)value : UINT32_MAX - 1;
    return true;
}

/* A directory that is not there has no parts. */
static lb_status find_first_part(struct lb_tree *tree, const char *old, struct lb_error *err)
{
    DIR *directory = lb_sys.opendir(old);
    tree->first_part = 0;
    if (directory == NULL && errno == ENOENT)
        return LB_OK;
    if (directory == NULL)
        return lb_error_system(err, errno, "cannot read directory '%s'", old);
    struct dirent *entry;
    uint32_t number;
    errno = 0;
    while ((entry = readdir(directory)) != NULL) {
        if (parse_part(entry->d_name, &number) && number >= tree->first_part)
            tree->first_part = number + 1;
    }
    int failure = errno;
    closedir(directory);
    if (failure != 0)
        return lb_error_system(err, failure, "cannot read directory '%s'", old);
    return LB_OK;
}

lb_status lb_tree_init(struct lb_tree *tree, const char *parent, const char *old,
                       const char *extension, struct lb_error *err)
{
    *tree = (struct lb_tree){.parent = lb_strdup(parent), .extension = lb_strdup(extension)};
    if (old != NULL)
        tree->old = lb_strdup(old);
    if (tree->parent == NULL || tree->extension == NULL || (old != NULL && tree->old == NULL))
        return lb_error_memory(err, "an output directory", strlen(parent) + strlen(extension));
    return old != NULL ? find_first_part(tree, old, err) : LB_OK;
}

void lb_tree_fini(struct lb_tree *tree)
{
    lb_strfree(tree->parent);
    lb_strfree(tree->path);
    lb_strfree(tree->extension);
    lb_strfree(tree->old);
    for (uint32_t i = 0; i < tree->n_parts; i++) {
        lb_strfree(tree->parts[i].folder);
        if (tree->parts[i].fd >= 0)
            lb_sys.close(tree->parts[i].fd);
    }
    lb_free(tree->parts, tree->capacity * sizeof *tree->parts);
    *tree = (struct lb_tree){0};
}

/* Allocated: free with lb_strfree. */
static char *join(const char *directory, const char *name)
{
    size_t size = strlen(directory) + strlen(name) + 2;
    char *path = lb_alloc(size);
    if (path != NULL)
        snprintf(path, size, "%s/%s", directory, name);
    return path;
}

static char *part_path(const struct lb_tree *tree, const char *directory, const char *folder,
                       uint32_t number)
{
    size_t size = strlen(folder) + strlen(tree->extension) + 24;
    char *name = lb_alloc(size);
    if (name == NULL)
        return NULL;
    snprintf(name, size, "%s%spart-%05u%s", folder, *folder != '\0' ? "/" : "", number,
             tree->extension);
    char *path = join(directory, name);
    lb_free(name, size);
    return path;
}

static lb_status create(const char *path, int *fd, struct lb_error *err)
{
    if (path == NULL)
        return lb_error_memory(err, "the name of an output part", PATH_MAX);
    *fd = lb_sys.open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
    return *fd >= 0 ? LB_OK : lb_error_system(err, errno, "cannot create '%s'", path);
}

/* Makes a folder below root and those above it. 0 or an errno value. */
static int make_folder(const char *root, const char *folder)
{
    char *path = join(root, folder);
    int failure = path == NULL ? ENOMEM : 0;
    for (char *at = path + strlen(root) + 1; failure == 0 && *folder != '\0';) {
        char *slash = strchr(at, '/');
        if (slash != NULL)
            *slash = '\0';
        if (lb_sys.mkdir(path, 0777) != 0 && errno != EEXIST)
            failure = errno;
        if (slash == NULL)
            break;
        *slash = '/';
        at = slash + 1;
    }
    lb_strfree(path);
    return failure;
}

static lb_status make_tree_folder(const struct lb_tree *tree, const char *folder,
                                  struct lb_error *err)
{
    int failure = make_folder(tree->path, folder);
    if (failure != 0)
        return lb_error_system(err, failure, "cannot create the folder '%s'", folder);
    return LB_OK;
}

/* The folder's first part: it is made, and its parts are numbered on. */
static lb_status begin_folder(struct lb_tree *tree, const char *folder, struct lb_error *err)
{
    if (tree->path != NULL)
        LB_TRY(make_tree_folder(tree, folder, err));
    if (tree->old == NULL)
        return LB_OK;
    char *old = join(tree->old, folder);
    lb_status status = old != NULL ? find_first_part(tree, old, err)
                                   : lb_error_memory(err, "the name of a folder", PATH_MAX);
    lb_strfree(old);
    return status;
}

bool lb_tree_has_folders(const struct lb_tree *tree)
{
    return tree->n_parts > 0 && *tree->parts[0].folder != '\0';
}

/* A quarter of the descriptors that this process may have, of which it raises the limit as far as it may. */
static uint32_t max_held(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    rlim_t wanted = limit.rlim_max < MAX_DESCRIPTORS ? limit.rlim_max : MAX_DESCRIPTORS;
    if (limit.rlim_cur < wanted) {
        struct rlimit raised = {.rlim_cur = wanted, .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            limit.rlim_cur = wanted;
    }
    return (uint32_t)((limit.rlim_cur < MAX_DESCRIPTORS ? limit.rlim_cur : MAX_DESCRIPTORS) / 4);
}

static lb_status reserve_part(struct lb_tree *tree, struct lb_error *err)
{
    if (tree->n_parts < tree->capacity)
        return LB_OK;
    uint32_t capacity = tree->capacity > 0 ? 2 * tree->capacity : 16;
    struct lb_tree_part *parts =
        lb_realloc(tree->parts, tree->capacity * sizeof *parts, capacity * sizeof *parts);
    if (parts == NULL)
        return lb_error_memory(err, "the list of output parts", capacity * sizeof *parts);
    tree->parts = parts;
    tree->capacity = capacity;
    return LB_OK;
}

lb_status lb_tree_open_part(struct lb_tree *tree, const char *folder, uint32_t n, int *fd,
                            bool *is_held, bool *needs_path, struct lb_error *err)
{
    LB_TRY(reserve_part(tree, err));
    *fd = -1;
    *needs_path = false;
    if (!tree->has_names) {
        bool is_full = tree->n_held >= FEW_HELD && tree->n_held >= max_held();
        if (!is_full)
            *fd = lb_temp_open_nameless(tree->parent);
        bool is_out = is_full || (*fd < 0 && (errno == EMFILE || errno == ENFILE));
        if (is_out && tree->n_held > 0) {
            *needs_path = true;
            return LB_OK;
        }
        tree->has_names = *fd < 0;
    }
    if (*fd < 0 && tree->path == NULL) {
        *needs_path = true;
        return LB_OK;
    }
    *is_held = *fd >= 0;
    lb_status status = LB_OK;
    if (n == 0 && *folder != '\0')
        status = begin_folder(tree, folder, err);
    struct lb_tree_part part = {
        .folder = lb_strdup(folder), .number = tree->first_part + n, .fd = *fd};
    if (status == LB_OK && part.folder == NULL)
        status = lb_error_memory(err, "the name of a folder", strlen(folder));
    if (status == LB_OK && !*is_held) {
        char *path = part_path(tree, tree->path, folder, part.number);
        status = create(path, fd, err);
        lb_strfree(path);
    }
    if (status != LB_OK) {
        if (*is_held)
            lb_sys.close(*fd);
        *fd = -1;
        lb_strfree(part.folder);
        return status;
    }
    tree->n_held += *is_held;
    tree->parts[tree->n_parts++] = part;
    return LB_OK;
}

static lb_status name_part(struct lb_tree *tree, struct lb_tree_part *part, struct lb_error *err)
{
    LB_TRY(make_tree_folder(tree, part->folder, err));
    char *path = part_path(tree, tree->path, part->folder, part->number);
    if (path == NULL)
        return lb_error_memory(err, "the name of an output part", PATH_MAX);
    int failure = lb_temp_publish(part->fd, path);
    int fd = part->fd;
    part->fd = -1;
    tree->n_held--;
    if (lb_sys.close(fd) != 0 && failure == 0)
        failure = errno;
    lb_status status =
        failure == 0 ? LB_OK : lb_error_system(err, failure, "cannot create '%s'", path);
    lb_strfree(path);
    return status;
}

lb_status lb_tree_name_parts(struct lb_tree *tree, const char *path, struct lb_error *err)
{
    if (tree->path == NULL)
        tree->path = lb_strdup(path);
    if (tree->path == NULL)
        return lb_error_memory(err, "an output directory", strlen(path));
    for (uint32_t i = 0; tree->n_held > 0 && i < tree->n_parts; i++)
        if (tree->parts[i].fd >= 0)
            LB_TRY(name_part(tree, &tree->parts[i], err));
    return LB_OK;
}

lb_status lb_tree_finish(struct lb_tree *tree, struct lb_error *err)
{
    int fd;
    char *path = join(tree->path, success_name);
    lb_status status = create(path, &fd, err);
    lb_strfree(path);
    if (status == LB_OK)
        lb_sys.close(fd);
    return status;
}

int lb_tree_rename_new(const char *from, const char *to)
{
    if (lb_sys.rename_with(from, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return errno;
    if (lb_sys.access(to, F_OK) == 0)
        return EEXIST;
    return lb_sys.rename(from, to) == 0 ? 0 : errno;
}

int lb_tree_exchange(const char *a, const char *b)
{
    if (lb_sys.rename_with(a, b, RENAME_EXCHANGE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return errno;
    /* In three steps: for a moment b is not there, but no data is ever without a name; when this process is killed now, the
     * janitor or the next save puts it back (output_temp.c), to which the lock says that it lives. */
    size_t size = strlen(a) + sizeof LB_TEMP_ASIDE;
    char *aside = lb_alloc(size);
    int failure = ENOMEM;
    if (aside == NULL)
        return failure;
    snprintf(aside, size, "%s%s", a, LB_TEMP_ASIDE);
    int old = lb_sys.open(b, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (old >= 0)
        (void)!flock(old, LOCK_EX | LOCK_NB); /* an append has it already */
    lb_temp_hold();
    if (lb_sys.rename(b, aside) != 0) {
        failure = errno;
    } else if (lb_sys.rename(a, b) != 0) {
        failure = errno;
        lb_sys.rename(aside, b);
    } else {
        failure = lb_sys.rename(aside, a) == 0 ? 0 : errno;
    }
    lb_temp_release();
    if (old >= 0)
        lb_sys.close(old);
    lb_free(aside, size);
    return failure;
}

static int sync_folder(const char *path)
{
    int fd = lb_sys.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int failure = lb_sys.fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP ? errno : 0;
    lb_sys.close(fd);
    return failure;
}

static int link_folder(const char *from, const char *to, mode_t mode, bool is_late)
{
    bool is_new = lb_sys.mkdir(to, 0777) == 0;
    if (!is_new && errno != EEXIST)
        return errno;
    if (is_new && chmod(to, mode & 07777) != 0)
        return errno;
    return lb_tree_link_all(from, to, is_late);
}

int lb_tree_link_all(const char *from, const char *to, bool is_late)
{
    DIR *directory = lb_sys.opendir(from);
    if (directory == NULL)
        return errno;
    int failure = 0;
    const struct dirent *entry;
    while (failure == 0 && (entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        struct stat info;
        char *old = join(from, entry->d_name), *new = join(to, entry->d_name);
        if (old == NULL || new == NULL)
            failure = ENOMEM;
        else if (lb_sys.lstat(old, &info) != 0)
            failure = errno;
        else if (S_ISDIR(info.st_mode))
            failure = link_folder(old, new, info.st_mode, is_late);
        else if (S_ISREG(info.st_mode) ? lb_sys.link(old, new) != 0
                                       : linkat(AT_FDCWD, old, AT_FDCWD, new, 0) != 0)
            failure = errno;
        if (failure == EEXIST && (is_late || strcmp(entry->d_name, success_name) == 0))
            failure = 0;
        lb_strfree(old);
        lb_strfree(new);
    }
    closedir(directory);
    return failure != 0 || is_late ? failure : sync_folder(to);
}

static int move_part(struct lb_tree *tree, const char *target, const struct lb_tree_part *part)
{
    char *from = part_path(tree, tree->path, part->folder, part->number);
    char *to = part_path(tree, target, part->folder, part->number);
    int failure = from != NULL && to != NULL ? make_folder(target, part->folder) : ENOMEM;
    if (failure == 0)
        failure = lb_tree_rename_new(from, to);
    lb_strfree(from);
    lb_strfree(to);
    return failure;
}

void lb_tree_take_back(struct lb_tree *tree, const char *target, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        char *moved = part_path(tree, target, tree->parts[i].folder, tree->parts[i].number);
        if (moved != NULL)
            lb_sys.unlink(moved);
        lb_strfree(moved);
    }
}

int lb_tree_move_parts(struct lb_tree *tree, const char *target)
{
    uint32_t n_moved = 0;
    int failure = 0;
    lb_temp_hold();
    while (n_moved < tree->n_parts && failure == 0) {
        failure = move_part(tree, target, &tree->parts[n_moved]);
        n_moved += failure == 0;
    }
    if (failure == 0) {
        char *from = join(tree->path, success_name);
        char *to = join(target, success_name);
        if (from == NULL || to == NULL)
            failure = ENOMEM;
        else if (lb_sys.rename(from, to) != 0)
            failure = errno;
        lb_strfree(from);
        lb_strfree(to);
    }
    if (failure != 0)
        lb_tree_take_back(tree, target, n_moved);
    lb_temp_release();
    return failure;
}

/* What a run writes into a directory: parts, _SUCCESS, and hidden temporaries. */
static bool is_ours(const char *entry)
{
    return strncmp(entry, "part-", 5) == 0 || strcmp(entry, "_SUCCESS") == 0 ||
           strcmp(entry, ".") == 0 || strcmp(entry, "..") == 0 ||
           strstr(entry, ".luabatch-") != NULL;
}

enum { MAX_FOLDERS = 250 }; /* nested */

/* Replacing a directory removes all that is in it: refused when something there is no output's. */
static lb_status check_only_parts(const char *path, const char *name, int depth,
                                  struct lb_error *err);

/* A folder of a partition, "year=2024", holds only parts, too. */
static lb_status check_folder(const char *path, const char *entry, const char *name, int depth,
                              struct lb_error *err)
{
    char *inner = join(path, entry);
    struct stat info;
    lb_status status = LB_OK;
    if (inner == NULL)
        return lb_error_memory(err, "the name of a folder", PATH_MAX);
    if (depth < MAX_FOLDERS && strchr(entry, '=') != NULL && lb_sys.lstat(inner, &info) == 0 &&
        S_ISDIR(info.st_mode))
        status = check_only_parts(inner, name, depth + 1, err);
    else
        status = lb_error_set(err, LB_ERR_USAGE,
                              "%s holds '%s', which is no part of an output: it is not replaced",
                              name, entry);
    lb_strfree(inner);
    return status;
}

static lb_status check_only_parts(const char *path, const char *name, int depth,
                                  struct lb_error *err)
{
    DIR *directory = lb_sys.opendir(path);
    if (directory == NULL)
        return lb_error_system(err, errno, "cannot read '%s'", name);
    lb_status status = LB_OK;
    const struct dirent *entry;
    while (status == LB_OK && (entry = readdir(directory)) != NULL)
        if (!is_ours(entry->d_name))
            status = check_folder(path, entry->d_name, name, depth, err);
    closedir(directory);
    return status;
}

lb_status lb_tree_check_replaceable(const char *path, const char *name, struct lb_error *err)
{
    char current[PATH_MAX];
    size_t size = strlen(path);
    if (strcmp(path, "/") == 0)
        return lb_error_set(err, LB_ERR_USAGE, "%s is the root directory", name);
    if (getcwd(current, sizeof current) != NULL && strncmp(current, path, size) == 0 &&
        (current[size] == '/' || current[size] == '\0'))
        return lb_error_set(err, LB_ERR_USAGE, "%s holds the current directory and is not replaced",
                            name);
    return check_only_parts(path, name, 0, err);
}
