/* Atomic output: see output.h for the contract; output_commit.c is how it appears.
 *
 * STATES an output is a stream (standard output, or a special file that is written straight to), a
 *        file or a directory. A file's temporary has no name at all where the file system allows it
 *        (O_TMPFILE), so that not even SIGKILL leaves one; else it has a hidden name. So have the parts of a directory: the
 *        hidden directory is made at commit and filled with their names, or earlier when more are open than may be. What a
 *        process leaves that is killed in between, the next one that writes there removes (output_temp.h).
 * THREADS claim is one atomic addition, write_at one positioned write; all else is for one
 *        thread at a time.
 * WHY NOT leave all writing to the final sync: nobody computes while it lasts. Told to begin with
 *        every 8 MB, the kernel left it 0.02 s of 300 MB instead of 0.12 s. */
#include "core/io/output_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/hash.h"
#include "core/base/sys.h"
#include "core/io/output_temp.h"
#include "core/io/output_tree.h"

#ifdef LB_TINY
enum { COPY_BYTES = 100, WRITE_BACK_BYTES = 1000 };
#else
enum { COPY_BYTES = 1 << 20, WRITE_BACK_BYTES = 8 << 20 };
#endif
enum { WRITE_LIMIT = 1 << 30 };
enum { ASK_MS = 20 }; /* whether to wait on */

/* ---- making ---- */

static bool is_standard_output(const char *path)
{
    return strcmp(path, "-") == 0 || strcmp(path, "/dev/stdout") == 0;
}

/* Names that stand for an open descriptor: to replace what they lead to is not what is meant. */
static bool is_descriptor(const char *path)
{
    return strcmp(path, "/dev/stderr") == 0 || strncmp(path, "/dev/fd/", 8) == 0 ||
           strncmp(path, "/proc/", 6) == 0;
}

/* A copy without slashes at its end ("/" stays); NULL when out of memory. */
static char *without_slash(const char *path)
{
    char *copy = lb_strdup(path);
    if (copy == NULL)
        return NULL;
    size_t size = strlen(copy);
    while (size > 1 && copy[size - 1] == '/')
        size--;
    if (copy[size] == '\0')
        return copy;
    copy[size] = '\0';
    char *result = lb_strdup(copy);
    copy[size] = '/';
    lb_strfree(copy);
    return result;
}

bool lb_output_exists(const char *path)
{
    struct stat info;
    if (is_standard_output(path) || is_descriptor(path))
        return false;
    char *plain = without_slash(path);
    bool exists = plain != NULL && lb_sys.stat(plain, &info) == 0 &&
                  (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode));
    lb_strfree(plain);
    return exists;
}

lb_status lb_output_name_error(struct lb_error *err)
{
    return lb_error_memory(err, "the name of an output", PATH_MAX);
}

/* Sets target to where an existing output really is. */
static lb_status resolve_target(struct lb_output *output, struct lb_error *err)
{
    char *real = lb_sys.realpath(output->target, NULL);
    if (real == NULL)
        return lb_error_system(err, errno, "cannot write '%s'", output->name);
    char *copy = lb_strdup(real);
    free(real);
    if (copy == NULL)
        return lb_output_name_error(err);
    lb_strfree(output->target);
    output->target = copy;
    return LB_OK;
}

lb_status lb_output_exists_error(const struct lb_output *output, struct lb_error *err)
{
    return lb_error_set(err, LB_ERR_USAGE, "%s exists (mode = \"overwrite\" replaces it)",
                        output->name);
}

/* Looks at what is there: sets kind and existed, and refuses what the mode or the kind forbids. */
static lb_status check_target(struct lb_output *output, struct lb_error *err)
{
    struct stat info;
    bool is_there = lb_sys.stat(output->target, &info) == 0;
    if (!is_there && errno == ENOENT) {
        /* A run that was killed may have left it without its name. */
        lb_temp_sweep(output->target);
        is_there = lb_sys.stat(output->target, &info) == 0;
    }
    if (!is_there) {
        if (errno != ENOENT)
            return lb_error_system(err, errno, "cannot write '%s'", output->name);
        if (lb_sys.lstat(output->target, &info) == 0)
            return lb_error_set(err, LB_ERR_USAGE, "%s is a symbolic link that leads nowhere",
                                output->name);
        return LB_OK;
    }
    bool is_directory = S_ISDIR(info.st_mode);
    if (!is_directory && !S_ISREG(info.st_mode) && output->kind == KIND_FILE) {
        output->kind = KIND_STREAM;
        return LB_OK;
    }
    if (output->kind == KIND_DIRECTORY && !is_directory)
        return lb_error_set(err, LB_ERR_USAGE, "%s: there is a file of that name", output->name);
    if (output->kind == KIND_FILE && is_directory)
        return lb_error_set(err, LB_ERR_USAGE,
                            "%s is a directory (a path that ends in '/' is written as one)",
                            output->name);
    if (output->mode == LB_MODE_ERROR || output->mode == LB_MODE_IGNORE)
        return lb_output_exists_error(output, err);
    output->existed = true;
    output->access = info.st_mode & 07777;
    LB_TRY(resolve_target(output, err));
    if (output->kind == KIND_DIRECTORY && output->mode == LB_MODE_OVERWRITE)
        return lb_tree_check_replaceable(output->target, output->name, err);
    return LB_OK;
}

static lb_status write_fully(struct lb_output *output, uint64_t offset, const char *data,
                             size_t size, struct lb_error *err);

/* Whether what is under the name still is the file whose bytes come first. */
lb_status lb_output_check_old(const struct lb_output *output, struct lb_error *err)
{
    struct stat now;
    const struct stat *old = &output->old;
    if (lb_sys.stat(output->target, &now) != 0)
        return lb_error_system(err, errno, "cannot write '%s'", output->name);
    if (now.st_dev == old->st_dev && now.st_ino == old->st_ino && now.st_size == old->st_size &&
        now.st_mtim.tv_sec == old->st_mtim.tv_sec && now.st_mtim.tv_nsec == old->st_mtim.tv_nsec)
        return LB_OK;
    return lb_error_set(err, LB_ERR_RESOURCE,
                        "%s was written to by others since the run began to append to it",
                        output->name);
}

/* Opens the file that is appended to, and keeps other runs from doing so: the last one would lose what the others added. */
static lb_status lock_old(struct lb_output *output, struct lb_error *err)
{
    int fd = output->old_fd = lb_sys.open(output->target, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return lb_error_system(err, errno, "cannot read '%s'", output->name);
    /* Where a file system has no locks, lb_output_check_old notices. */
    if (lb_sys.flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return lb_error_set(err, LB_ERR_RESOURCE, "%s: another run is appending to it",
                            output->name);
    if (lb_sys.fstat(fd, &output->old) != 0)
        return lb_error_system(err, errno, "cannot read '%s'", output->name);
    return lb_output_check_old(output, err);
}

/* Mode append: the old bytes come first. */
static lb_status copy_old(struct lb_output *output, struct lb_error *err)
{
    LB_TRY(lock_old(output, err));
    int from = output->old_fd;
    lb_status status = LB_OK;
    uint64_t done = 0;
    char *data = lb_alloc(COPY_BYTES);
    if (data == NULL)
        status = lb_error_memory(err, "copying a file", COPY_BYTES);
    while (status == LB_OK) {
        ssize_t n = lb_sys.read(from, data, COPY_BYTES);
        if (n < 0)
            status = lb_error_system(err, errno, "cannot read '%s'", output->name);
        if (n <= 0)
            break;
        status = write_fully(output, done, data, (size_t)n, err);
        done += (uint64_t)n;
    }
    atomic_store(&output->end_bytes, done);
    lb_free(data, data != NULL ? COPY_BYTES : 0);
    return status;
}

/* Directory part of path; NULL when out of memory. */
char *lb_output_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return lb_strdup(".");
    size_t size = slash == path ? 1 : (size_t)(slash - path);
    char *parent = lb_alloc(size + 1);
    if (parent != NULL) {
        memcpy(parent, path, size);
        parent[size] = '\0';
    }
    return parent;
}

static lb_status open_file(struct lb_output *output, struct lb_error *err)
{
    char *parent = lb_output_parent(output->target);
    if (parent == NULL)
        return lb_output_name_error(err);
    output->fd = lb_temp_open_nameless(parent);
    lb_strfree(parent);
    if (output->fd < 0)
        LB_TRY(lb_temp_new_file(&output->temp, output->target, &output->fd, err));
    output->owns_fd = true;
    if (output->existed && fchmod(output->fd, output->access) != 0)
        return lb_error_system(err, errno, "cannot write '%s'", output->name);
    if (output->existed && output->mode == LB_MODE_APPEND)
        return copy_old(output, err);
    return LB_OK;
}

void lb_output_ask(struct lb_output *output, bool (*must_stop)(void *state), void *state)
{
    output->must_stop = must_stop;
    output->stop_state = state;
}

/* Before each further wait for a reader. */
static lb_status check_stop(const struct lb_output *output, struct lb_error *err)
{
    if (output->must_stop == NULL || !output->must_stop(output->stop_state))
        return LB_OK;
    return lb_error_set(err, LB_ERR_CANCELLED, "writing %s was stopped", output->name);
}

/* Of a named pipe without a reader the kernel would wait inside the call, whatever comes meanwhile. */
lb_status lb_output_open_stream(struct lb_output *output, struct lb_error *err)
{
    int flags = O_WRONLY | O_APPEND | O_CLOEXEC | (output->opens_late ? O_NONBLOCK : 0);
    while ((output->fd = lb_sys.open(output->target, flags, 0)) < 0 && errno == ENXIO &&
           output->opens_late) {
        LB_TRY(check_stop(output, err));
        poll(NULL, 0, ASK_MS);
    }
    output->opens_late = false;
    if (output->fd < 0)
        return lb_error_system(err, errno, "cannot write '%s'", output->name);
    output->owns_fd = true;
    return LB_OK;
}

static lb_status open_stream(struct lb_output *output, struct lb_error *err)
{
    if (is_standard_output(output->target)) {
        output->fd = STDOUT_FILENO;
        if (fcntl(output->fd, F_GETFL) == -1)
            return lb_error_system(err, errno, "cannot write standard output");
        return LB_OK;
    }
    /* That of a named pipe waits for a reader, while others compute. */
    struct stat info;
    output->opens_late = lb_sys.stat(output->target, &info) == 0 && S_ISFIFO(info.st_mode);
    return output->opens_late ? LB_OK : lb_output_open_stream(output, err);
}

static lb_status open_directory(struct lb_output *output, const char *extension,
                                struct lb_error *err)
{
    const char *old = output->existed && output->mode == LB_MODE_APPEND ? output->target : NULL;
    char *parent = lb_output_parent(output->target);
    if (parent == NULL)
        return lb_output_name_error(err);
    /* Where nothing can be made, that shows now. */
    lb_status status = LB_OK;
    if (lb_sys.access(parent, W_OK) != 0)
        status = lb_error_system(err, errno, "cannot write '%s'", output->target);
    if (status == LB_OK)
        status = lb_tree_init(&output->tree, parent, old, extension, err);
    lb_strfree(parent);
    return status;
}

/* An output whose target has been looked at; NULL where that failed. */
static lb_status new_unopened(const char *path, enum lb_output_mode mode, struct lb_output **output,
                              struct lb_error *err)
{
    size_t size = strlen(path);
    lb_status status = LB_OK;
    *output = NULL;
    if (size == 0)
        return lb_error_set(err, LB_ERR_USAGE, "an output path is empty");
    struct lb_output *self = lb_alloc_zero(sizeof *self);
    if (self == NULL)
        return lb_error_memory(err, "an output", sizeof *self);
    self->fd = self->old_fd = -1;
    self->mode = mode;
    status = lb_path_label(path, &self->name, err);
    if (status == LB_OK && self->name == NULL)
        self->name = lb_strdup(is_standard_output(path) ? "standard output" : path);
    self->target = without_slash(path);
    if (self->name == NULL || self->target == NULL)
        status = lb_output_name_error(err);
    else if (is_standard_output(path) || is_descriptor(path))
        self->kind = KIND_STREAM;
    else {
        self->kind = path[size - 1] == '/' ? KIND_DIRECTORY : KIND_FILE;
        status = check_target(self, err);
    }
    if (status == LB_OK)
        *output = self;
    else
        lb_output_delete(self);
    return status;
}

lb_status lb_output_check(const char *path, enum lb_output_mode mode, struct lb_error *err)
{
    struct lb_output *output;
    LB_TRY(new_unopened(path, mode, &output, err));
    lb_output_delete(output);
    return LB_OK;
}

void lb_output_clear(void)
{
    lb_temp_remove_all();
}

void lb_output_sweep(const char *path)
{
    struct lb_output *output;
    struct lb_error err;
    if (new_unopened(path, LB_MODE_OVERWRITE, &output, &err) != LB_OK)
        return;
    if (output->kind != KIND_STREAM)
        lb_temp_sweep(output->target);
    lb_output_delete(output);
}

lb_status lb_output_new(const char *path, enum lb_output_mode mode, const char *extension,
                        struct lb_output **output, struct lb_error *err)
{
    struct lb_output *self;
    LB_TRY(new_unopened(path, mode, &self, err));
    lb_status status = LB_OK;
    if (self->kind != KIND_STREAM)
        lb_temp_sweep(self->target);
    switch (self->kind) {
    case KIND_STREAM:
        status = open_stream(self, err);
        break;
    case KIND_FILE:
        status = open_file(self, err);
        break;
    case KIND_DIRECTORY:
        status = open_directory(self, extension != NULL ? extension : "", err);
        break;
    }
    if (status != LB_OK) {
        lb_output_delete(self);
        return status;
    }
    *output = self;
    return LB_OK;
}

void lb_delivery_fini(struct lb_delivery *delivery)
{
    if (delivery->fd >= 0)
        lb_sys.close(delivery->fd);
    delivery->fd = -1;
}

lb_status lb_output_deliver(struct lb_output *output, struct lb_delivery *delivery,
                            struct lb_error *err)
{
    if (output->kind != KIND_STREAM)
        return LB_OK;
    output->hash = lb_alloc_zero(sizeof *output->hash);
    if (output->hash == NULL)
        return lb_error_memory(err, "an output", sizeof *output->hash);
    output->delivery = delivery;
    return LB_OK;
}

/* Notes how far a stream came, and keeps it open for another attempt. */
static void note_delivery(struct lb_output *output)
{
    struct lb_delivery *delivery = output->delivery;
    if (output->hash->n_bytes > delivery->n_bytes) {
        delivery->n_bytes = output->hash->n_bytes;
        delivery->hash = lb_running_hash_value(output->hash);
    }
    lb_free(output->hash, sizeof *output->hash);
    if (output->owns_fd && output->fd >= 0) {
        lb_delivery_fini(delivery);
        delivery->fd = output->fd;
        output->fd = -1;
    }
}

bool lb_output_is_directory(const struct lb_output *output)
{
    return output->kind == KIND_DIRECTORY;
}

bool lb_output_is_seekable(const struct lb_output *output)
{
    return output->kind != KIND_STREAM;
}

/* ---- writing ---- */

lb_status lb_output_write_error(const struct lb_output *output, int errno_value,
                                struct lb_error *err)
{
    return lb_error_system(err, errno_value, "cannot write %s", output->name);
}

/* Waits until a non-blocking descriptor takes bytes again. */
static lb_status wait_writable(const struct lb_output *output, struct lb_error *err)
{
    struct pollfd waited = {.fd = output->fd, .events = POLLOUT};
    while (poll(&waited, 1, ASK_MS) == 0)
        LB_TRY(check_stop(output, err));
    return LB_OK;
}

lb_status lb_output_other_bytes(const struct lb_output *output, struct lb_error *err)
{
    return lb_error_set(err, LB_ERR_RESOURCE,
                        "%s: the repeated attempt gives other bytes than the %llu that are out "
                        "already; a function does not give the same again",
                        output->name, (unsigned long long)output->delivery->n_bytes);
}

/* Streams ignore the offset. */
static lb_status write_fully(struct lb_output *output, uint64_t offset, const char *data,
                             size_t size, struct lb_error *err)
{
    size_t done = 0;
    while (done < size) {
        size_t piece = size - done < WRITE_LIMIT ? size - done : WRITE_LIMIT;
        ssize_t n = output->kind == KIND_STREAM
                        ? lb_sys.write(output->fd, data + done, piece)
                        : lb_sys.pwrite(output->fd, data + done, piece, (off_t)(offset + done));
        if (n < 0 && errno == EAGAIN) {
            LB_TRY(wait_writable(output, err));
            continue;
        }
        if (n <= 0)
            return lb_output_write_error(output, n < 0 ? errno : ENOSPC, err);
        done += (size_t)n;
    }
    return LB_OK;
}

/* Compares the first bytes of a repeated attempt with what is out already; moves *data and *size behind them. */
static lb_status skip_delivered(struct lb_output *output, const char **data, size_t *size,
                                struct lb_error *err)
{
    const struct lb_delivery *delivery = output->delivery;
    uint64_t left = delivery->n_bytes - output->hash->n_bytes;
    size_t n = *size < left ? *size : (size_t)left;
    lb_running_hash_add(output->hash, *data, n);
    *data += n;
    *size -= n;
    if (n == left && lb_running_hash_value(output->hash) != delivery->hash)
        return lb_output_other_bytes(output, err);
    return LB_OK;
}

static lb_status write_stream(struct lb_output *output, const char *data, size_t size,
                              struct lb_error *err)
{
    if (output->hash == NULL)
        return write_fully(output, 0, data, size, err);
    if (output->hash->n_bytes < output->delivery->n_bytes)
        LB_TRY(skip_delivered(output, &data, &size, err));
    LB_TRY(write_fully(output, 0, data, size, err));
    lb_running_hash_add(output->hash, data, size);
    return LB_OK;
}

uint64_t lb_output_claim(struct lb_output *output, size_t size)
{
    return atomic_fetch_add_explicit(&output->end_bytes, size, memory_order_relaxed);
}

lb_status lb_output_write_at(struct lb_output *output, uint64_t offset, const void *data,
                             size_t size, struct lb_error *err)
{
    if (output->kind == KIND_STREAM)
        return lb_error_set(err, LB_ERR_INTERNAL, "%s has no offsets", output->name);
    LB_TRY(write_fully(output, offset, data, size, err));
#ifdef SYNC_FILE_RANGE_WRITE
    /* Only asks: the pages not yet under way are sent to the disk. That it failed would show at the
     * sync. */
    uint64_t n_dirty =
        atomic_fetch_add_explicit(&output->n_dirty_bytes, size, memory_order_relaxed) + size;
    if (n_dirty >= WRITE_BACK_BYTES && n_dirty - size < WRITE_BACK_BYTES) {
        atomic_store_explicit(&output->n_dirty_bytes, 0, memory_order_relaxed);
        sync_file_range(output->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    }
#endif
    return LB_OK;
}

lb_status lb_output_write(struct lb_output *output, const void *data, size_t size,
                          struct lb_error *err)
{
    if (output->opens_late)
        LB_TRY(lb_output_open_stream(output, err));
    if (output->fd < 0)
        return lb_error_set(err, LB_ERR_INTERNAL, "%s: no part was begun", output->name);
    if (output->kind == KIND_STREAM)
        return write_stream(output, data, size, err);
    return lb_output_write_at(output, lb_output_claim(output, size), data, size, err);
}

/* ---- the end ---- */

void lb_output_delete(struct lb_output *output)
{
    if (output == NULL)
        return;
    if (output->hash != NULL)
        note_delivery(output);
    if (output->owns_fd && output->fd >= 0)
        lb_sys.close(output->fd);
    if (output->old_fd >= 0)
        lb_sys.close(output->old_fd);
    lb_temp_remove(&output->temp);
    lb_tree_fini(&output->tree);
    lb_strfree(output->name);
    lb_strfree(output->receipt);
    lb_strfree(output->target);
    lb_free(output, sizeof *output);
}
