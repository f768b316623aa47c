/* The journal of finished stages: see journal.h. */
#include "core/io/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/hash.h"
#include "core/base/sys.h"
#include "core/io/output_temp.h"
#include "core/io/path.h"

#define JOURNAL_NAME "journal"

enum { CHECKSUM_BYTES = 16, OPEN_ATTEMPTS = 10 };
#ifdef LB_TINY
enum { READ_BYTES = 37 };
#else
enum { READ_BYTES = 1 << 20 };
#endif

struct lb_journal {
    char *folder;
    char *path;
    int fd;
    uint64_t end_bytes;
    bool is_torn; /* the last line has no newline */
};

/* ---- opening ---- */

/* `folder/name`: free with lb_strfree. */
static char *join(const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = lb_alloc(size);
    if (path != NULL)
        snprintf(path, size, "%s/%s", folder, name);
    return path;
}

static lb_status path_memory_error(struct lb_error *err)
{
    return lb_error_memory(err, "the name of a checkpoint", 0);
}

/* Whether the name still leads to what is open. */
static bool is_in_place(const struct lb_journal *journal)
{
    struct stat opened, named;
    return lb_sys.fstat(journal->fd, &opened) == 0 && lb_sys.stat(journal->path, &named) == 0 &&
           opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

/* A run that ends removes folder and file: whoever comes at that moment begins again. */
static lb_status open_locked(struct lb_journal *journal, struct lb_error *err)
{
    for (int i = 0; i < OPEN_ATTEMPTS; i++) {
        LB_TRY(lb_make_folders(journal->folder, err));
        journal->fd = lb_sys.open(journal->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (journal->fd < 0 && errno == ENOENT)
            continue;
        if (journal->fd < 0)
            return lb_error_system(err, errno, "cannot open '%s'", journal->path);
        if (lb_sys.flock(journal->fd, LOCK_EX | LOCK_NB) != 0) {
            if (errno == EWOULDBLOCK)
                return lb_error_set(err, LB_ERR_USAGE,
                                    "%s: another run of this job has its checkpoints there; give "
                                    "this one its own --checkpoint-dir",
                                    journal->folder);
            return lb_error_system(err, errno, "cannot lock '%s'", journal->path);
        }
        if (is_in_place(journal))
            return LB_OK;
        lb_sys.close(journal->fd);
        journal->fd = -1;
    }
    return lb_error_set(err, LB_ERR_RESOURCE, "cannot open '%s': it is removed again and again",
                        journal->path);
}

lb_status lb_journal_open(const char *folder, struct lb_journal **journal, struct lb_error *err)
{
    struct lb_journal *self = lb_alloc_zero(sizeof *self);
    if (self == NULL)
        return lb_error_memory(err, "a journal", sizeof *self);
    self->fd = -1;
    self->folder = lb_strdup(folder);
    self->path = join(folder, JOURNAL_NAME);
    lb_status status = LB_OK;
    if (self->folder == NULL || self->path == NULL)
        status = path_memory_error(err);
    if (status == LB_OK)
        status = open_locked(self, err);
    if (status != LB_OK) {
        lb_journal_close(self);
        return status;
    }
    *journal = self;
    return LB_OK;
}

void lb_journal_close(struct lb_journal *journal)
{
    if (journal == NULL)
        return;
    if (journal->fd >= 0)
        lb_sys.close(journal->fd);
    lb_strfree(journal->folder);
    lb_strfree(journal->path);
    lb_free(journal, sizeof *journal);
}

/* ---- lines ---- */

lb_status lb_journal_load(const struct lb_journal *journal, struct lb_buf *text,
                          struct lb_error *err)
{
    struct lb_journal *self = (struct lb_journal *)journal;
    uint64_t offset = 0;
    for (;;) {
        LB_TRY(lb_buf_reserve(text, READ_BYTES, err));
        ssize_t n = lb_sys.pread(journal->fd, text->data + text->size, READ_BYTES, (off_t)offset);
        if (n < 0)
            return lb_error_system(err, errno, "cannot read '%s'", journal->path);
        if (n == 0)
            break;
        text->size += (size_t)n;
        offset += (uint64_t)n;
    }
    self->end_bytes = offset;
    self->is_torn = text->size > 0 && text->data[text->size - 1] != '\n';
    return LB_OK;
}

static bool parse_checksum(const char *text, uint64_t *value)
{
    *value = 0;
    for (int i = 0; i < CHECKSUM_BYTES; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            return false;
        *value = *value << 4 | (uint64_t)digit;
    }
    return text[CHECKSUM_BYTES] == ' ';
}

bool lb_journal_next(const char **cursor, const char *end, const char **line, size_t *size,
                     uint64_t *n_damaged)
{
    while (*cursor < end) {
        const char *start = *cursor;
        const char *newline = memchr(start, '\n', (size_t)(end - start));
        const char *stop = newline != NULL ? newline : end;
        uint64_t wanted;
        *cursor = newline != NULL ? newline + 1 : end;
        if (stop == start)
            continue;
        if (stop - start > CHECKSUM_BYTES && parse_checksum(start, &wanted)) {
            *line = start + CHECKSUM_BYTES + 1;
            *size = (size_t)(stop - *line);
            if (lb_hash_bytes(*line, *size) == wanted)
                return true;
        }
        ++*n_damaged;
    }
    return false;
}

static lb_status write_line(const struct lb_journal *journal, const struct lb_buf *line,
                            struct lb_error *err)
{
    for (size_t done = 0; done < line->size;) {
        ssize_t n = lb_sys.pwrite(journal->fd, line->data + done, line->size - done,
                                  (off_t)(journal->end_bytes + done));
        if (n <= 0)
            return lb_error_system(err, n < 0 ? errno : ENOSPC, "cannot write '%s'", journal->path);
        done += (size_t)n;
    }
    if (lb_sys.fsync(journal->fd) != 0)
        return lb_error_system(err, errno, "cannot write '%s'", journal->path);
    return LB_OK;
}

lb_status lb_journal_append(struct lb_journal *journal, const char *line, size_t size,
                            struct lb_error *err)
{
    struct lb_buf text = {0};
    lb_status status = lb_buf_printf(&text, err, "%s%016llx ", journal->is_torn ? "\n" : "",
                                     (unsigned long long)lb_hash_bytes(line, size));
    if (status == LB_OK)
        status = lb_buf_append(&text, line, size, err);
    if (status == LB_OK)
        status = lb_buf_append_byte(&text, '\n', err);
    if (status == LB_OK) {
        status = write_line(journal, &text, err);
        if (status != LB_OK)
            (void)!lb_sys.ftruncate(journal->fd, (off_t)journal->end_bytes);
    }
    if (status == LB_OK) {
        journal->end_bytes += text.size;
        journal->is_torn = false;
    }
    lb_buf_fini(&text);
    return status;
}

lb_status lb_journal_clear(struct lb_journal *journal, struct lb_error *err)
{
    if (lb_sys.ftruncate(journal->fd, 0) != 0)
        return lb_error_system(err, errno, "cannot write '%s'", journal->path);
    journal->end_bytes = 0;
    journal->is_torn = false;
    return LB_OK;
}

/* ---- the folder ---- */

static bool is_kept(const char *entry, const char *const *names, size_t n_names)
{
    if (strcmp(entry, ".") == 0 || strcmp(entry, "..") == 0 || strcmp(entry, JOURNAL_NAME) == 0)
        return true;
    for (size_t i = 0; i < n_names; i++)
        if (strcmp(entry, names[i]) == 0)
            return true;
    return false;
}

void lb_journal_keep(struct lb_journal *journal, const char *const *names, size_t n_names)
{
    DIR *directory = opendir(journal->folder);
    if (directory == NULL)
        return;
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        char *path =
            is_kept(entry->d_name, names, n_names) ? NULL : join(journal->folder, entry->d_name);
        if (path != NULL)
            lb_temp_remove_path(path, true);
        lb_strfree(path);
    }
    closedir(directory);
}

void lb_journal_remove(struct lb_journal *journal, bool with_parent)
{
    lb_journal_keep(journal, NULL, 0);
    lb_sys.unlink(journal->path);
    lb_sys.rmdir(journal->folder);
    char *slash = strrchr(journal->folder, '/');
    if (!with_parent || slash == NULL || slash == journal->folder)
        return;
    *slash = '\0';
    lb_sys.rmdir(journal->folder); /* fails when others have folders in it */
    *slash = '/';
}

/* ---- files ---- */

lb_status lb_file_hash(const char *path, uint64_t *hash, uint64_t *size_bytes, struct lb_error *err)
{
    struct lb_buf data = {0};
    LB_TRY(lb_buf_reserve(&data, READ_BYTES, err));
    int fd = lb_sys.open(path, O_RDONLY | O_CLOEXEC, 0);
    lb_status status = fd >= 0 ? LB_OK : lb_error_system(err, errno, "cannot open '%s'", path);
    *hash = *size_bytes = 0;
    while (status == LB_OK) {
        /* Pieces are full but for the last: the result does not depend on how reads are cut. */
        size_t got = 0;
        ssize_t n = 1;
        while (got < READ_BYTES && n > 0) {
            n = lb_sys.read(fd, data.data + got, READ_BYTES - got);
            got += n > 0 ? (size_t)n : 0;
        }
        if (n < 0)
            status = lb_error_system(err, errno, "cannot read '%s'", path);
        *hash = lb_hash_pair(*hash + got, lb_hash_bytes(data.data, got));
        *size_bytes += got;
        if (got < READ_BYTES)
            break;
    }
    if (fd >= 0)
        lb_sys.close(fd);
    lb_buf_fini(&data);
    return status;
}
