/* Parts of outputs, and how they appear: see output.h for the contract.
 *
 * IDEA   What commit does, in this order: the data is synced, the name appears in one system call,
 *        the directory that holds the name is synced. A new name never replaces anything that came
 *        there meanwhile, unless in mode overwrite; there the new takes the old one's place in one
 *        step, too (rename, or an exchange of two directories).
 * APPEND to a directory: the new one has the old parts, too, as second names of the same files, and takes the old one's place in one
 *        step. Two that append wait for each other by a lock on the directory. Where there are no second names, parts move one by one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/base/sys.h"
#include "core/io/output_private.h"

enum { MAX_SYNCED_PARTS = 64 }; /* in folders: more are synced with their file system */

/* ---- parts ---- */

static lb_status sync_fd(const struct lb_output *output, int fd, struct lb_error *err)
{
    if (lb_sys.fsync(fd) != 0)
        return lb_output_write_error(output, errno, err);
    return LB_OK;
}

static lb_status sync_directory(const struct lb_output *output, const char *path,
                                struct lb_error *err)
{
    int fd = lb_sys.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return errno == EACCES ? LB_OK : lb_output_write_error(output, errno, err);
    lb_status status = LB_OK;
    /* Some file systems have nothing to sync in a directory, and say so. */
    if (lb_sys.fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP)
        status = lb_output_write_error(output, errno, err);
    lb_sys.close(fd);
    return status;
}

static lb_status close_fd(struct lb_output *output, struct lb_error *err)
{
    int fd = output->fd;
    output->fd = -1;
    if (fd >= 0 && output->owns_fd && lb_sys.close(fd) != 0)
        return lb_output_write_error(output, errno, err);
    return LB_OK;
}

/* Thousands of small files are synced together; for a few that would mean to wait for what others write. */
static bool is_synced_whole(const struct lb_output *output)
{
    return lb_tree_has_folders(&output->tree) && output->tree.n_parts > MAX_SYNCED_PARTS;
}

static lb_status end_part(struct lb_output *output, struct lb_error *err)
{
    if (output->fd < 0)
        return LB_OK;
    if (!is_synced_whole(output))
        LB_TRY(sync_fd(output, output->fd, err));
    return close_fd(output, err);
}

static lb_status sync_folders(const struct lb_output *output, struct lb_error *err)
{
    const struct lb_tree *tree = &output->tree;
    lb_status status = LB_OK;
    for (uint32_t i = 0; i < tree->n_parts && status == LB_OK; i++) {
        size_t size = strlen(tree->path) + strlen(tree->parts[i].folder) + 2;
        char *path = lb_alloc(size);
        if (path == NULL)
            return lb_output_name_error(err);
        snprintf(path, size, "%s/%s", tree->path, tree->parts[i].folder);
        status = sync_directory(output, path, err);
        /* Those above it hold no files, but names. */
        for (char *slash = strrchr(path, '/'); status == LB_OK && slash > path + strlen(tree->path);
             slash = strrchr(path, '/')) {
            *slash = '\0';
            status = sync_directory(output, path, err);
        }
        lb_free(path, size);
    }
    return status;
}

/* Files and folders of a tree. */
static lb_status sync_tree(const struct lb_output *output, struct lb_error *err)
{
    if (!is_synced_whole(output))
        return sync_folders(output, err);
    int fd = lb_sys.open(output->temp.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return lb_output_write_error(output, errno, err);
    lb_status status = LB_OK;
    if (lb_sys.syncfs(fd) != 0)
        status = lb_output_write_error(output, errno, err);
    lb_sys.close(fd);
    return status;
}

/* The hidden directory, in which parts have their names. */
static lb_status name_parts(struct lb_output *output, struct lb_error *err)
{
    if (output->temp.path == NULL) {
        LB_TRY(lb_temp_new_directory(&output->temp, output->target, err));
        if (output->existed && chmod(output->temp.path, output->access) != 0)
            return lb_error_system(err, errno, "cannot write '%s'", output->name);
    }
    return lb_tree_name_parts(&output->tree, output->temp.path, err);
}

lb_status lb_output_part(struct lb_output *output, const char *folder, uint32_t n,
                         struct lb_error *err)
{
    if (output->kind != KIND_DIRECTORY) {
        if (n != 0 || *folder != '\0')
            return lb_error_set(err, LB_ERR_INTERNAL, "%s has just one part", output->name);
        return LB_OK;
    }
    LB_TRY(end_part(output, err));
    atomic_store(&output->end_bytes, 0);
    atomic_store(&output->n_dirty_bytes, 0);
    bool is_held = false, needs_path = true;
    for (int i = 0; i < 2 && needs_path; i++) {
        if (i > 0)
            LB_TRY(name_parts(output, err));
        LB_TRY(
            lb_tree_open_part(&output->tree, folder, n, &output->fd, &is_held, &needs_path, err));
    }
    if (needs_path)
        return lb_error_system(err, EMFILE, "cannot write '%s'", output->name);
    output->owns_fd = !is_held;
    return LB_OK;
}

/* ---- commit ---- */

static lb_status sync_parent(const struct lb_output *output, struct lb_error *err)
{
    char *parent = lb_output_parent(output->target);
    lb_status status =
        parent == NULL ? lb_output_name_error(err) : sync_directory(output, parent, err);
    lb_strfree(parent);
    return status;
}

/* Standard output: nothing to publish, but a full or vanished disk may be told only at close. */
static lb_status commit_stream(struct lb_output *output, struct lb_error *err)
{
    if (output->hash != NULL && output->hash->n_bytes < output->delivery->n_bytes)
        return lb_output_other_bytes(output, err);
    if (output->opens_late)
        LB_TRY(lb_output_open_stream(output,
                                     err)); /* nothing was written: its reader waits for the end */
    if (output->owns_fd)
        return close_fd(output, err);
    int copy = lb_sys.dup(output->fd);
    if (copy >= 0 && lb_sys.close(copy) != 0)
        return lb_output_write_error(output, errno, err);
    return LB_OK;
}

/* The new file takes the old one's place. */
static lb_status replace_file(struct lb_output *output, struct lb_error *err)
{
    if (output->temp.path == NULL)
        LB_TRY(lb_temp_link(&output->temp, output->target, output->fd, err));
    if (lb_sys.rename(output->temp.path, output->target) != 0)
        return lb_output_write_error(output, errno, err);
    lb_temp_forget(&output->temp);
    return LB_OK;
}

static lb_status meanwhile_error(const struct lb_output *output, struct lb_error *err)
{
    return lb_error_set(err, LB_ERR_RESOURCE, "%s: another run has made it meanwhile",
                        output->name);
}

static lb_status publish_file(struct lb_output *output, struct lb_error *err)
{
    int failure;
    if (output->old_fd >= 0)
        LB_TRY(lb_output_check_old(output, err));
    if (output->existed)
        return replace_file(output, err);
    if (output->temp.path == NULL) {
        failure = lb_temp_publish(output->fd, output->target);
    } else {
        failure = lb_tree_rename_new(output->temp.path, output->target);
        if (failure == 0)
            lb_temp_forget(&output->temp);
    }
    if (failure == EEXIST && output->mode == LB_MODE_OVERWRITE) {
        output->existed = true; /* since we looked */
        return replace_file(output, err);
    }
    if (failure == EEXIST && output->mode == LB_MODE_APPEND)
        return meanwhile_error(output, err);
    if (failure == EEXIST)
        return lb_output_exists_error(output, err);
    return failure != 0 ? lb_output_write_error(output, failure, err) : LB_OK;
}

/* Locks the directory that has the target's name now. -1 and errno. */
static int lock_target(const struct lb_output *output)
{
    for (;;) {
        struct stat opened, named;
        int fd = lb_sys.open(output->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        if (fd < 0)
            return -1;
        while (lb_sys.flock(fd, LOCK_EX) != 0 && errno == EINTR)
            ;
        if (lb_sys.fstat(fd, &opened) != 0 || lb_sys.stat(output->target, &named) != 0 ||
            (opened.st_ino == named.st_ino && opened.st_dev == named.st_dev))
            return fd;
        lb_sys.close(fd); /* another one has appended meanwhile */
    }
}

/* 0 or an errno value; *is_exchanged: the old directory is where the hidden one was. */
static int append_directory(struct lb_output *output, bool *is_exchanged)
{
    int lock = lock_target(output);
    if (lock < 0)
        return errno;
    int failure = lb_tree_link_all(output->target, output->temp.path, false);
    if (failure == 0)
        failure = lb_tree_exchange(output->temp.path, output->target);
    *is_exchanged = failure == 0;
    if (failure == 0) {
        /* What came since it was looked at. */
        (void)lb_tree_link_all(output->temp.path, output->target, true);
    } else if (failure != EEXIST && failure != ENOSPC && failure != EIO && failure != ENOMEM) {
        failure = lb_tree_move_parts(&output->tree, output->target);
    }
    lb_sys.close(lock);
    return failure;
}

/* The new directory takes the old one's place. */
static lb_status replace_directory(struct lb_output *output, struct lb_error *err)
{
    int failure = lb_tree_exchange(output->temp.path, output->target);
    if (failure != 0)
        return lb_output_write_error(output, failure, err);
    if (sync_parent(output, err) != LB_OK) {
        lb_tree_exchange(output->temp.path, output->target);
        return err->status;
    }
    lb_temp_remove(&output->temp); /* the old one, by now */
    return LB_OK;
}

static lb_status publish_directory(struct lb_output *output, struct lb_error *err)
{
    int failure;
    if (!output->existed) {
        failure = lb_tree_rename_new(output->temp.path, output->target);
        if ((failure == EEXIST || failure == ENOTEMPTY) && output->mode == LB_MODE_OVERWRITE) {
            output->existed = true; /* since we looked */
            LB_TRY(lb_tree_check_replaceable(output->target, output->name, err));
            return replace_directory(output, err);
        }
        if (failure == EEXIST || failure == ENOTEMPTY)
            return output->mode == LB_MODE_ERROR ? lb_output_exists_error(output, err)
                                                 : meanwhile_error(output, err);
        if (failure == 0)
            lb_temp_forget(&output->temp);
    } else if (output->mode == LB_MODE_APPEND) {
        bool is_exchanged = false;
        failure = append_directory(output, &is_exchanged);
        if (failure == 0 && (sync_directory(output, output->target, err) != LB_OK ||
                             (is_exchanged && sync_parent(output, err) != LB_OK))) {
            if (is_exchanged)
                lb_tree_exchange(output->temp.path, output->target);
            else
                lb_tree_take_back(&output->tree, output->target, output->tree.n_parts);
            return err->status;
        }
        lb_temp_remove(&output->temp);
        if (failure == EEXIST)
            return lb_error_set(err, LB_ERR_RESOURCE, "%s: another run has added parts meanwhile",
                                output->name);
    } else {
        return replace_directory(output, err);
    }
    return failure != 0 ? lb_output_write_error(output, failure, err) : LB_OK;
}

lb_status lb_output_commit(struct lb_output *output, struct lb_error *err)
{
    if (output->kind == KIND_STREAM)
        return commit_stream(output, err);
    if (output->kind == KIND_FILE) {
        LB_TRY(sync_fd(output, output->fd, err));
        LB_TRY(lb_output_write_receipt(output, err));
        LB_TRY(publish_file(output, err));
    } else {
        LB_TRY(end_part(output, err));
        LB_TRY(name_parts(output, err));
        LB_TRY(lb_tree_finish(&output->tree, err));
        if (lb_tree_has_folders(&output->tree))
            LB_TRY(sync_tree(output, err));
        LB_TRY(sync_directory(output, output->temp.path, err));
        LB_TRY(lb_output_write_receipt(output, err));
        LB_TRY(publish_directory(output, err));
    }
    /* A directory that was there is synced while the old one can still come back. */
    if (output->kind == KIND_DIRECTORY && output->existed)
        return LB_OK;
    lb_status status = sync_parent(output, err);
    if (status != LB_OK && !output->existed)
        lb_temp_remove_path(output->target, output->kind == KIND_DIRECTORY);
    else if (status != LB_OK && output->kind == KIND_FILE)
        lb_error_prefix(err, "%s is replaced, but the disk may lose that: ", output->name);
    return status;
}
