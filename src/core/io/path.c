/* Input paths become lists of files: see path.h. Globbing itself is the C library's. */
#include "core/io/path.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/sys.h"
#include "core/io/hive.h"

enum { MOST_LOOKS = 4 }; /* ORDER attempts: as often as attempts.lua begins a run */

/* Names found, to be sorted before they are added. */
struct name_list {
    char **names;
    size_t n_names;
    size_t capacity;
};

enum lb_compression lb_compression_of(const char *path)
{
    static const struct {
        const char *extension;
        enum lb_compression compression;
    } known[] = {{".gz", LB_GZIP}, {".zst", LB_ZSTD}, {".lz4", LB_LZ4}, {".bz2", LB_BZIP2}};
    size_t size = strlen(path);

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t length = strlen(known[i].extension);
        if (size > length && strcmp(path + size - length, known[i].extension) == 0)
            return known[i].compression;
    }
    return LB_PLAIN;
}

bool lb_compression_named(const char *name, enum lb_compression *compression)
{
    static const char *const names[] = {"none", "gzip", "zstd", "lz4",
                                        "bzip2"}; /* ORDER compressions */
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) != 0)
            continue;
        *compression = (enum lb_compression)i;
        return true;
    }
    return false;
}

static int64_t nanoseconds(const struct timespec *time)
{
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

lb_status lb_file_check(const struct lb_file *file, int fd, struct lb_error *err)
{
    struct stat info;
    if (file->inode == 0 || file->size_bytes == 0)
        return LB_OK;
    if (lb_sys.fstat(fd, &info) != 0)
        return lb_error_io(err, errno, "cannot look at %s", file->path);
    if ((uint64_t)info.st_dev != file->device || (uint64_t)info.st_ino != file->inode)
        return lb_error_set(err, LB_ERR_DATA, "%s was replaced while it was read",
                            lb_file_label(file));
    if ((uint64_t)info.st_size != file->size_bytes)
        return lb_error_set(err, LB_ERR_DATA,
                            "%s has changed while it was read: it had %llu bytes and has %llu",
                            lb_file_label(file), (unsigned long long)file->size_bytes,
                            (unsigned long long)info.st_size);
    if (nanoseconds(&info.st_mtim) != file->changed_ns)
        return lb_error_set(err, LB_ERR_DATA, "%s was written to while it was read",
                            lb_file_label(file));
    return LB_OK;
}

/* The path with escapes in place of control characters: a name must not look like further lines of a message. */
lb_status lb_path_label(const char *path, char **label, struct lb_error *err)
{
    static const char digits[] = "0123456789abcdef";
    *label = NULL;
    size_t size = 1;
    for (const char *at = path; *at != '\0'; at++)
        size += (unsigned char)*at < 32 || *at == 127 ? 4 : 1;
    if (size == strlen(path) + 1)
        return LB_OK;
    char *to = *label = lb_alloc(size);
    if (to == NULL)
        return lb_error_memory(err, "the name of a file", size);
    for (const char *at = path; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;
        if (c < 32 || c == 127) {
            *to++ = '\\';
            *to++ = 'x';
            *to++ = digits[c >> 4];
            *to++ = digits[c & 15];
        } else {
            *to++ = *at;
        }
    }
    *to = '\0';
    return LB_OK;
}

static lb_status add_file(struct lb_file_list *list, const char *path, const struct stat *info,
                          struct lb_error *err)
{
    if (list->n_files == list->capacity) {
        size_t capacity = list->capacity > 0 ? 2 * list->capacity : 8;
        struct lb_file *files =
            lb_realloc(list->files, list->capacity * sizeof *files, capacity * sizeof *files);
        if (files == NULL)
            return lb_error_memory(err, "the list of input files", capacity * sizeof *files);
        list->files = files;
        list->capacity = capacity;
    }
    char *label;
    LB_TRY(lb_path_label(path, &label, err));
    char *copy = lb_strdup(path);
    if (copy == NULL) {
        lb_strfree(label);
        return lb_error_memory(err, "the list of input files", strlen(path) + 1);
    }
    bool is_regular = info != NULL && S_ISREG(info->st_mode);
    list->files[list->n_files++] = (struct lb_file){
        .path = copy,
        .label = label,
        .size_bytes = is_regular ? (uint64_t)info->st_size : 0,
        .device = is_regular ? (uint64_t)info->st_dev : 0,
        .inode = is_regular ? (uint64_t)info->st_ino : 0,
        .changed_ns = is_regular ? nanoseconds(&info->st_mtim) : 0,
        .altered_ns = is_regular ? nanoseconds(&info->st_ctim) : 0,
        .is_regular = is_regular,
        .compression = lb_compression_of(path),
    };
    return LB_OK;
}

/* Forgets what was added beyond the first n_files. */
static void cut_list(struct lb_file_list *list, size_t n_files)
{
    while (list->n_files > n_files) {
        const struct lb_file *file = &list->files[--list->n_files];
        lb_strfree(file->path);
        lb_strfree(file->label);
    }
}

/* A mistake of who named the path: before and behind it in the message. */
static lb_status wrong_path(struct lb_error *err, const char *before, const char *path,
                            const char *behind)
{
    char *label;
    LB_TRY(lb_path_label(path, &label, err));
    lb_status status =
        lb_error_set(err, LB_ERR_USAGE, "%s%s%s", before, label != NULL ? label : path, behind);
    lb_strfree(label);
    return status;
}

static lb_status missing_error(struct lb_error *err, int errno_value, const char *path)
{
    if (errno_value == ENOENT || errno_value == ENOTDIR)
        return wrong_path(err, "no such file: ", path, "");
    return lb_error_io(err, errno_value, "cannot read '%s'", path);
}

/* A file that is known to exist and is not a directory. */
static lb_status add_readable(struct lb_file_list *list, const char *path, const struct stat *info,
                              struct lb_error *err)
{
    if (lb_sys.access(path, R_OK) != 0)
        return missing_error(err, errno, path);
    return add_file(list, path, info, err);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static lb_status push_name(struct name_list *list, const char *directory, const char *name,
                           struct lb_error *err)
{
    if (list->n_names == list->capacity) {
        size_t capacity = list->capacity > 0 ? 2 * list->capacity : 16;
        char **names =
            lb_realloc(list->names, list->capacity * sizeof *names, capacity * sizeof *names);
        if (names == NULL)
            return lb_error_memory(err, "the names in a directory", capacity * sizeof *names);
        list->names = names;
        list->capacity = capacity;
    }
    size_t length = strlen(directory);
    const char *slash = length == 0 || directory[length - 1] == '/' ? "" : "/";
    size_t size = length + strlen(slash) + strlen(name) + 1;
    char *path = lb_alloc(size); /* just as long as lb_strfree takes it to be */
    if (path == NULL)
        return lb_error_memory(err, "the names in a directory", size);
    snprintf(path, size, "%s%s%s", directory, slash, name);
    list->names[list->n_names++] = path;
    return LB_OK;
}

static void free_names(struct name_list *list)
{
    for (size_t i = 0; i < list->n_names; i++)
        lb_strfree(list->names[i]);
    lb_free(list->names, list->capacity * sizeof *list->names);
}

/* Collects the visible entries of a directory, unsorted. *complete: it holds a _SUCCESS, so that
 * having no other file is its content and no mistake. */
static lb_status read_names(const char *path, struct name_list *list, bool *complete,
                            struct lb_error *err)
{
    DIR *directory = lb_sys.opendir(*path != '\0' ? path : ".");
    if (directory == NULL)
        return lb_error_io(err, errno, "cannot read directory '%s'", path);
    lb_status status = LB_OK;
    while (status == LB_OK) {
        errno = 0;
        struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            if (errno != 0)
                status = lb_error_io(err, errno, "cannot read directory '%s'", path);
            break;
        }
        if (strcmp(entry->d_name, "_SUCCESS") == 0)
            *complete = true;
        if (entry->d_name[0] != '_' && entry->d_name[0] != '.')
            status = push_name(list, path, entry->d_name, err);
    }
    closedir(directory);
    return status;
}

/* Collects the regular files of a directory and of its folders that are columns; *complete as for read_names. */
static lb_status collect_files(const char *path, struct name_list *files, bool *complete,
                               struct lb_error *err)
{
    struct name_list names = {0};
    lb_status status = read_names(path, &names, complete, err);
    for (size_t i = 0; status == LB_OK && i < names.n_names; i++) {
        struct stat info;
        const char *name = strrchr(names.names[i], '/') + 1;
        if (lb_sys.stat(names.names[i], &info) != 0)
            status = missing_error(err, errno, names.names[i]);
        else if (S_ISREG(info.st_mode))
            status = push_name(files, "", names.names[i], err);
        else if (S_ISDIR(info.st_mode) && lb_hive_is_folder(name))
            status = collect_files(names.names[i], files, complete, err);
    }
    free_names(&names);
    return status;
}

static void sort_names(struct name_list *list)
{
    if (list->n_names > 0)
        qsort(list->names, list->n_names, sizeof *list->names, compare_names);
}

/* Adds the files of a directory; *complete as for read_names. */
static lb_status add_directory(struct lb_file_list *list, const char *path, bool *complete,
                               struct lb_error *err)
{
    struct name_list names = {0};
    lb_status status = collect_files(path, &names, complete, err);
    sort_names(&names);
    for (size_t i = 0; status == LB_OK && i < names.n_names; i++) {
        struct stat info;
        if (lb_sys.stat(names.names[i], &info) != 0)
            status = missing_error(err, errno, names.names[i]);
        else
            status = add_readable(list, names.names[i], &info, err);
    }
    free_names(&names);
    return status;
}

/* What the callback of glob() saw; the C library gives it no argument of ours. */
static _Thread_local struct {
    int errno_value;
    char path[512];
} glob_failure;

static int note_glob_failure(const char *path, int errno_value)
{
    if (errno_value == ENOENT || errno_value == ENOTDIR)
        return 0;
    glob_failure.errno_value = errno_value;
    strncpy(glob_failure.path, path, sizeof glob_failure.path - 1);
    return 1;
}

/* The names that glob() looks at go through lb_sys as all others do: safe mode must not tell of any outside. */
static void *glob_opendir(const char *path)
{
    return lb_sys.opendir(path);
}

static struct dirent *glob_readdir(void *directory)
{
    return readdir(directory);
}

static void glob_closedir(void *directory)
{
    closedir(directory);
}

/* The C library takes a name that it cannot look at for none: inputs would be missing. */
static int glob_seen(const char *path, int result)
{
    if (result != 0 && errno != EACCES && errno != ELOOP && errno != ENAMETOOLONG)
        note_glob_failure(path, errno);
    return result;
}

static int glob_stat(const char *path, struct stat *info)
{
    return glob_seen(path, lb_sys.stat(path, info));
}

static int glob_lstat(const char *path, struct stat *info)
{
    return glob_seen(path, lb_sys.lstat(path, info));
}

/* Collects what a pattern without ** matches, unsorted. */
static lb_status glob_names(const char *pattern, struct name_list *names, struct lb_error *err)
{
    glob_t found = {.gl_opendir = glob_opendir,
                    .gl_readdir = glob_readdir,
                    .gl_closedir = glob_closedir,
                    .gl_stat = glob_stat,
                    .gl_lstat = glob_lstat};
    lb_status status = LB_OK;

    memset(&glob_failure, 0, sizeof glob_failure);
    switch (glob(pattern, GLOB_BRACE | GLOB_NOSORT | GLOB_ALTDIRFUNC, note_glob_failure, &found)) {
    case 0:
        for (size_t i = 0; i < found.gl_pathc && status == LB_OK; i++)
            status = push_name(names, "", found.gl_pathv[i], err);
        break;
    case GLOB_NOMATCH:
        break;
    case GLOB_NOSPACE:
        return lb_error_memory(err, "the matches of a glob", strlen(pattern));
    default:
        break; /* it was noted */
    }
    if (status == LB_OK && glob_failure.errno_value != 0)
        status =
            lb_error_io(err, glob_failure.errno_value, "cannot look at '%s'", glob_failure.path);
    globfree(&found);
    return status;
}

/* The first component of the pattern that is **, or NULL. */
static const char *find_tree(const char *pattern)
{
    const char *at = pattern;
    while ((at = strstr(at, "**")) != NULL) {
        bool begins = at == pattern || at[-1] == '/';
        if (begins && (at[2] == '/' || at[2] == '\0'))
            return at;
        at += strspn(at, "*");
    }
    return NULL;
}

static lb_status match(const char *pattern, struct name_list *names, struct lb_error *err);

/* What the rest of a pattern matches in one directory, whose name has nothing special. */
static lb_status match_in(const char *directory, const char *rest, struct name_list *names,
                          struct lb_error *err)
{
    struct lb_buf pattern = {0};
    lb_status status = LB_OK;
    for (const char *c = directory; *c != '\0' && status == LB_OK; c++) {
        if (strchr("\\*?[]{},", *c) != NULL)
            status = lb_buf_append_byte(&pattern, '\\', err);
        if (status == LB_OK)
            status = lb_buf_append_byte(&pattern, *c, err);
    }
    if (status == LB_OK && pattern.size > 0 && pattern.data[pattern.size - 1] != '/')
        status = lb_buf_append_byte(&pattern, '/', err);
    if (status == LB_OK)
        status = lb_buf_append(&pattern, rest, strlen(rest) + 1, err);
    if (status == LB_OK)
        status = match(pattern.data, names, err);
    lb_buf_fini(&pattern);
    return status;
}

/* What the rest matches in a directory and all below it; links to directories are not followed. */
static lb_status match_tree(const char *directory, const char *rest, struct name_list *names,
                            struct lb_error *err)
{
    struct name_list entries = {0};
    bool complete = false;
    lb_status status = *rest != '\0' ? match_in(directory, rest, names, err) : LB_OK;
    if (status == LB_OK)
        status = read_names(directory, &entries, &complete, err);
    for (size_t i = 0; status == LB_OK && i < entries.n_names; i++) {
        struct stat info;
        if (lb_sys.lstat(entries.names[i], &info) != 0)
            status = missing_error(err, errno, entries.names[i]);
        else if (S_ISDIR(info.st_mode))
            status = match_tree(entries.names[i], rest, names, err);
        else if (*rest == '\0')
            status = push_name(names, "", entries.names[i], err);
    }
    free_names(&entries);
    return status;
}

/* Collects what a pattern matches, unsorted, some perhaps twice. */
static lb_status match(const char *pattern, struct name_list *names, struct lb_error *err)
{
    const char *tree = find_tree(pattern);
    if (tree == NULL)
        return glob_names(pattern, names, err);
    struct name_list roots = {0};
    const char *rest = tree + 2 + strspn(tree + 2, "/");
    size_t size = (size_t)(tree - pattern);
    while (size > 1 && pattern[size - 1] == '/')
        size--;
    char *prefix = lb_alloc(size + 1);
    if (prefix == NULL)
        return lb_error_memory(err, "the matches of a glob", size);
    memcpy(prefix, pattern, size);
    prefix[size] = '\0';
    lb_status status = size == 0 ? push_name(&roots, "", "", err) : glob_names(prefix, &roots, err);
    lb_free(prefix, size + 1);
    for (size_t i = 0; i < roots.n_names && status == LB_OK; i++) {
        struct stat info;
        const char *root = roots.names[i];
        if (*root != '\0' && lb_sys.stat(root, &info) != 0) {
            if (errno != ENOENT && errno != ELOOP) /* a link that leads nowhere */
                status = missing_error(err, errno, root);
        } else if (*root == '\0' || S_ISDIR(info.st_mode)) {
            status = match_tree(root, rest, names, err);
        }
    }
    free_names(&roots);
    return status;
}

static lb_status add_glob(struct lb_file_list *list, const char *pattern, struct lb_error *err)
{
    size_t before = list->n_files;
    bool complete = false, is_tree = find_tree(pattern) != NULL;
    struct name_list names = {0};
    lb_status status = match(pattern, &names, err);
    sort_names(&names);
    for (size_t i = 0; i < names.n_names && status == LB_OK; i++) {
        const char *path = names.names[i];
        struct stat info;
        if (i > 0 && strcmp(path, names.names[i - 1]) == 0)
            continue; /* braces and ** may name a file twice */
        if (lb_sys.stat(path, &info) != 0)
            status = missing_error(err, errno, path);
        else if (S_ISDIR(info.st_mode) && !is_tree)
            status = add_directory(list, path, &complete, err);
        else if (!S_ISDIR(info.st_mode))
            status = add_readable(list, path, &info, err);
    }
    free_names(&names);
    if (status == LB_OK && list->n_files == before && !complete)
        status = wrong_path(err, "no input matches '", pattern, "'");
    return status;
}

/* Whether a path that cannot be looked at for this reason may be no name of a file. */
static bool may_be_pattern(int errno_value)
{
    return errno_value == ENOENT || errno_value == ENOTDIR || errno_value == EACCES ||
           errno_value == ENAMETOOLONG;
}

lb_status lb_file_list_add(struct lb_file_list *list, const char *path, struct lb_error *err)
{
    if (strcmp(path, "-") == 0)
        return add_file(list, path, NULL, err);
    if (path[0] == '\0')
        return lb_error_set(err, LB_ERR_USAGE, "an input path is empty");

    size_t before = list->n_files;
    struct stat info;
    lb_status status;
    /* A name that exists is that file, whatever its characters: "data[1].txt". */
    if (lb_sys.stat(path, &info) == 0) {
        if (S_ISDIR(info.st_mode)) {
            bool complete = false;
            status = add_directory(list, path, &complete, err);
            if (status == LB_OK && list->n_files == before && !complete)
                status = wrong_path(err, "no input files in directory '", path, "'");
        } else {
            status = add_readable(list, path, &info, err);
        }
    } else if (may_be_pattern(errno) && strpbrk(path, "*?[{") != NULL) {
        status = add_glob(list, path, err);
    } else {
        status = missing_error(err, errno, path);
    }
    if (status != LB_OK)
        cut_list(list, before);
    return status;
}

lb_status lb_file_list_tell(struct lb_file_list *list, const char *name, struct lb_error *err)
{
    enum lb_compression compression;
    if (strcmp(name, "auto") == 0)
        return LB_OK;
    if (!lb_compression_named(name, &compression))
        return lb_error_set(err, LB_ERR_USAGE, "unknown compression '%s'", name);
    for (size_t i = 0; i < list->n_files; i++) {
        list->files[i].compression = compression;
        list->files[i].is_told = true;
    }
    return LB_OK;
}

bool lb_file_list_again(const struct lb_file_list *list, const struct lb_error *err, int n_attempts)
{
    bool is_regular = true;
    for (size_t i = 0; i < list->n_files; i++)
        is_regular = is_regular && list->files[i].is_regular;
    return err->is_transient && is_regular && n_attempts < MOST_LOOKS;
}

const char *lb_file_label(const struct lb_file *file)
{
    if (file->label != NULL)
        return file->label;
    return strcmp(file->path, "-") == 0 ? "standard input" : file->path;
}

bool lb_file_list_bytes(const struct lb_file_list *list, uint64_t *bytes)
{
    bool is_known = true;
    *bytes = 0;
    for (size_t i = 0; i < list->n_files; i++) {
        is_known = is_known && list->files[i].is_regular;
        *bytes += list->files[i].size_bytes;
    }
    return is_known;
}

void lb_file_list_fini(struct lb_file_list *list)
{
    cut_list(list, 0);
    lb_free(list->files, list->capacity * sizeof *list->files);
    *list = (struct lb_file_list){0};
}

lb_status lb_path_real(const char *path, char **real, struct lb_error *err)
{
    char *there = lb_strdup(path), *found = NULL;
    const char *rest = "";
    *real = NULL;
    if (there == NULL)
        return lb_error_memory(err, "a path", strlen(path));
    /* What may exist of it is all, and then less and less. */
    size_t size = strlen(there);
    while ((found = lb_sys.realpath(size > 0 ? there : ".", NULL)) == NULL && size > 0) {
        while (size > 0 && there[size - 1] == '/')
            size--;
        while (size > 0 && there[size - 1] != '/')
            size--;
        there[size] = '\0';
        rest = path + size;
    }
    lb_free(there, strlen(path) + 1);
    if (found == NULL)
        return lb_error_system(err, errno, "cannot find the working directory");
    struct lb_buf text = {0};
    const char *slash = *rest == '\0' || strcmp(found, "/") == 0 ? "" : "/";
    lb_status status = lb_buf_printf(&text, err, "%s%s%s", found, slash, rest);
    free(found);
    if (status == LB_OK) {
        while (text.size > 1 && text.data[text.size - 1] == '/')
            text.data[--text.size] = '\0';
        *real = lb_strdup(text.data);
        status = *real != NULL ? LB_OK : lb_error_memory(err, "a path", text.size);
    }
    lb_buf_fini(&text);
    return status;
}

lb_status lb_make_folders(const char *folder, struct lb_error *err)
{
    char *path = lb_strdup(folder);
    lb_status status = path != NULL ? LB_OK : lb_error_memory(err, "the name of a folder", 0);
    struct lb_error failure;
    /* Those above may be there and out of reach (safe mode): what counts is the last one; what is told, the first that failed. */
    for (char *at = path; at != NULL;) {
        at = strchr(at + 1, '/');
        if (at != NULL)
            *at = '\0';
        bool is_there = lb_sys.mkdir(path, 0700) == 0 || errno == EEXIST;
        if (!is_there && status == LB_OK)
            status = lb_error_system(&failure, errno, "cannot make the folder '%s'", path);
        if (at == NULL && is_there)
            status = LB_OK;
        if (at != NULL)
            *at = '/';
    }
    if (status != LB_OK && path != NULL && err != NULL)
        *err = failure;
    lb_strfree(path);
    return status;
}
