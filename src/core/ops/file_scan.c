/* Splits, chunks and blocks of text files: see file_scan.h. */
#include "core/ops/file_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "core/base/sys.h"
#include "core/base/utf8.h"
#include "core/io/text.h"
#include "core/ops/params.h"

#ifdef LB_TINY
enum {
    BLOCK_BYTES = 512,
    CHUNK_BYTES = 1024,
    SEARCH_BYTES = 100,
    LEAST_SPLIT_BYTES = 2048,
    MOST_SPLIT_BYTES = 1 << 16
};
#else
enum {
    BLOCK_BYTES = 256 << 10,
    CHUNK_BYTES = 1 << 20,
    SEARCH_BYTES = 4 << 10,
    LEAST_SPLIT_BYTES = 1 << 20,
    MOST_SPLIT_BYTES = 32 << 20
};
#endif
enum { SPLITS_OF_A_FILE = 64, SHOWN_BYTES = 200 };
enum { FREE_BYTES = 8 << 20 }; /* of a block, that go without asking */

/* ---- opening ---- */

lb_status lb_file_scan_open(struct lb_op *self, const struct lb_file_scan_class *class,
                            struct lb_error *err)
{
    struct lb_file_scan *scan = self->shared;
    scan->class = class;
    scan->line = 1;
    LB_TRY(lb_param_int(self, "split_bytes", 0, &scan->split_bytes, err));
    return lb_param_paths(self, &scan->files, err);
}

void lb_file_scan_close(struct lb_file_scan *scan)
{
    lb_stream_close(scan->stream);
    lb_buf_fini(&scan->rest);
    lb_file_list_fini(&scan->files);
}

void lb_file_piece_init(struct lb_file_piece *piece, const struct lb_op_local *local)
{
    piece->scan = local->op->shared;
    piece->run = local->op->run;
    piece->fd = -1;
}

/* What a block of so many bytes takes of the budget. */
static size_t charge(size_t block_bytes)
{
    return block_bytes > FREE_BYTES ? block_bytes : 0;
}

static void free_block(struct lb_file_piece *piece)
{
    if (piece->block != NULL) {
        lb_free(piece->block, piece->block_bytes + LB_TEXT_PADDING);
        lb_budget_release(piece->run->budget, charge(piece->block_bytes));
    }
    piece->block = NULL;
    piece->block_bytes = 0;
}

void lb_file_piece_fini(struct lb_file_piece *piece)
{
    if (piece->fd >= 0)
        lb_sys.close(piece->fd);
    free_block(piece);
}

static lb_status grow_block(struct lb_file_piece *piece, size_t bytes, struct lb_error *err)
{
    const struct lb_file_scan_class *class = piece->scan->class;
    if (piece->block_bytes >= bytes)
        return LB_OK;
    if (class->most_bytes > 0 && bytes > class->most_bytes)
        return lb_error_set(err, LB_ERR_DATA, "%s: the %s at byte %llu is longer than %llu MiB%s",
                            lb_file_label(piece->file), class->record,
                            (unsigned long long)piece->block_offset,
                            (unsigned long long)(class->most_bytes >> 20), class->too_long);
    size_t more = charge(bytes) - charge(piece->block_bytes);
    if (!lb_budget_reserve(piece->run->budget, more))
        return lb_error_set(err, LB_ERR_RESOURCE,
                            "%s: the %s at byte %llu needs more than %.1f MiB (the memory limit is "
                            "%.1f MiB; see --memory)",
                            lb_file_label(piece->file), class->record,
                            (unsigned long long)piece->block_offset, (double)piece->used / 1048576,
                            (double)piece->run->options.memory_bytes / 1048576);
    size_t old = piece->block != NULL ? piece->block_bytes + LB_TEXT_PADDING : 0;
    char *block = lb_realloc(piece->block, old, bytes + LB_TEXT_PADDING);
    if (block == NULL) {
        lb_budget_release(piece->run->budget, more);
        return lb_error_memory(err, "a record's buffer", bytes);
    }
    piece->block = block;
    piece->block_bytes = bytes;
    return LB_OK;
}

/* ---- claiming ---- */

static uint64_t split_bytes(const struct lb_file_scan *scan, const struct lb_file *file)
{
    uint64_t bytes = file->size_bytes / SPLITS_OF_A_FILE;
    if (scan->split_bytes > 0)
        return (uint64_t)scan->split_bytes;
    if (bytes < LEAST_SPLIT_BYTES)
        return LEAST_SPLIT_BYTES;
    return bytes > MOST_SPLIT_BYTES ? MOST_SPLIT_BYTES : bytes;
}

static size_t last_end(struct lb_file_scan *scan, const char *data, size_t size)
{
    if (scan->class->last_end != NULL)
        return scan->class->last_end(scan, data, size, &scan->cut);
    const char *newline = memrchr(data, '\n', size);
    return newline != NULL ? (size_t)(newline + 1 - data) : 0;
}

/* Fills the worker's block with the stream's next chunk of whole records. */
static lb_status read_chunk(struct lb_file_scan *scan, struct lb_file_piece *piece, bool *at_end,
                            struct lb_error *err)
{
    LB_TRY(grow_block(piece, scan->rest.size + CHUNK_BYTES, err));
    if (scan->rest.size > 0)
        memcpy(piece->block, scan->rest.data, scan->rest.size);
    piece->used = scan->rest.size;
    scan->rest.size = 0;
    *at_end = false;
    for (;;) {
        size_t wanted = CHUNK_BYTES > piece->used ? CHUNK_BYTES : piece->used, got = 0;
        LB_TRY(grow_block(piece, piece->used + wanted, err));
        LB_TRY(lb_stream_read(scan->stream, piece->block + piece->used, wanted, &got, err));
        size_t end = last_end(scan, piece->block + piece->used, got);
        size_t kept = piece->used + end;
        piece->used += got;
        if (got < wanted) {
            *at_end = true;
            return LB_OK;
        }
        if (end > 0) {
            LB_TRY(lb_buf_append(&scan->rest, piece->block + kept, piece->used - kept, err));
            piece->used = kept;
            return LB_OK;
        }
    }
}

static void next_file(struct lb_file_scan *scan)
{
    scan->file++;
    scan->is_stream = false;
    scan->offset = 0;
    scan->line = 1;
    scan->cut = (struct lb_cut_state){0};
}

static lb_status claim_chunk(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_file_scan *scan = local->op->shared;
    struct lb_file_piece *piece = local->state;
    bool at_end = false;
    if (scan->stream == NULL) {
        LB_TRY(lb_stream_open(piece->file, &scan->stream, err));
        lb_stream_watch(scan->stream, &local->worker->run->stop);
        lb_stream_count(scan->stream, &local->op->n_bytes);
    }
    piece->is_chunk = true;
    piece->end = UINT64_MAX;
    piece->block_offset = scan->offset;
    piece->block_line = scan->line;
    lb_status status = read_chunk(scan, piece, &at_end, err);
    if (status != LB_OK) {
        /* What was read is lost: nobody may go on behind it, and find damage where there is none, before the run stops. */
        scan->file = scan->files.n_files;
        return status;
    }
    piece->is_last = at_end;
    scan->offset += piece->used;
    scan->line += lb_text_count_newlines(piece->block, piece->used);
    if (at_end) {
        lb_stream_close(scan->stream);
        scan->stream = NULL;
        next_file(scan);
    }
    return LB_OK;
}

lb_status lb_file_scan_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    struct lb_file_scan *scan = local->op->shared;
    struct lb_file_piece *piece = local->state;
    *more = scan->file < scan->files.n_files;
    if (!*more)
        return LB_OK;
    struct lb_file *file = &scan->files.files[scan->file];
    piece->file = file;
    piece->file_number = scan->file;
    piece->is_first = scan->offset == 0;
    snprintf(local->worker->input, sizeof local->worker->input, "%s", file->path);
    local->worker->file = file->path;
    if (piece->is_first) {
        LB_TRY(lb_stream_detect(file, err));
        /* Files of /proc say that they are empty and are not. */
        scan->is_stream =
            !file->is_regular || file->compression != LB_PLAIN || file->size_bytes == 0;
        if (!scan->is_stream && scan->class->wants_stream != NULL)
            LB_TRY(scan->class->wants_stream(scan, file, &scan->is_stream, err));
    }
    if (scan->is_stream)
        return claim_chunk(local, err);
    uint64_t size = split_bytes(scan, file);
    piece->is_chunk = false;
    piece->split = scan->n_splits++;
    piece->start = scan->offset;
    piece->end = scan->offset + size;
    scan->offset = piece->end;
    /* The last split takes a rest of less than half a split with it. */
    if (piece->end + size / 2 >= file->size_bytes) {
        piece->end = file->size_bytes;
        next_file(scan);
    }
    atomic_fetch_add(&local->op->n_bytes, piece->end - piece->start);
    return LB_OK;
}

bool lb_file_scan_progress(const struct lb_op *self, struct lb_progress *progress)
{
    const struct lb_file_scan *scan = self->shared;
    progress->is_bytes = true;
    progress->done = atomic_load(&self->n_bytes);
    return lb_file_list_bytes(&scan->files, &progress->total);
}

/* ---- where a record stands ---- */

static uint64_t count_lines_before(const struct lb_file *file, uint64_t offset)
{
    struct lb_stream *stream = NULL;
    char buffer[16384];
    uint64_t lines = 1;
    if (lb_stream_open(file, &stream, NULL) != LB_OK)
        return 0;
    while (offset > 0) {
        size_t got = 0;
        size_t wanted = offset < sizeof buffer ? (size_t)offset : sizeof buffer;
        if (lb_stream_read(stream, buffer, wanted, &got, NULL) != LB_OK || got == 0)
            break;
        lines += lb_text_count_newlines(buffer, got);
        offset -= got;
    }
    lb_stream_close(stream);
    return lines;
}

uint64_t lb_file_piece_offset(const struct lb_file_piece *piece, const char *at)
{
    return piece->block_offset + (uint64_t)(at - piece->block);
}

static uint64_t line_of(const struct lb_file_piece *piece, const char *at)
{
    if (!piece->is_chunk)
        return count_lines_before(piece->file, lb_file_piece_offset(piece, at));
    return piece->block_line + lb_text_count_newlines(piece->block, (size_t)(at - piece->block));
}

lb_status lb_file_piece_describe(const struct lb_file_piece *piece, const char *start,
                                 const char *end, struct lb_buf *out, struct lb_error *err)
{
    size_t size = (size_t)(end - start);
    LB_TRY(lb_buf_printf(out, err, "record %s:%llu (byte %llu): ", lb_file_label(piece->file),
                         (unsigned long long)line_of(piece, start),
                         (unsigned long long)lb_file_piece_offset(piece, start)));
    size_t shown = lb_utf8_cut(start, size, SHOWN_BYTES);
    for (size_t i = 0; i < shown; i++) {
        unsigned char c = (unsigned char)start[i];
        if (c < 32 || c == 127)
            LB_TRY(lb_buf_printf(out, err, "\\x%02x", c));
        else
            LB_TRY(lb_buf_append_byte(out, (char)c, err));
    }
    return size > SHOWN_BYTES ? lb_buf_append(out, "...", 3, err) : LB_OK;
}

struct lb_origin lb_file_piece_origin(const struct lb_file_piece *piece, const char *start)
{
    return (struct lb_origin){
        .file = piece->file->path,
        .offset = lb_file_piece_offset(piece, start),
        .line = piece->is_chunk ? line_of(piece, start) : 0,
    };
}

lb_status lb_file_piece_locate(const struct lb_file_piece *piece, const char *start,
                               const char *end, struct lb_origin *origin, struct lb_buf *out,
                               struct lb_error *err)
{
    if (origin != NULL)
        *origin = lb_file_piece_origin(piece, start);
    return out != NULL ? lb_file_piece_describe(piece, start, end, out, err) : LB_OK;
}

/* ---- producing ---- */

lb_status lb_file_piece_read(const struct lb_file_piece *piece, char *data, size_t size,
                             uint64_t offset, struct lb_error *err)
{
    while (size > 0) {
        ssize_t got = lb_sys.pread(piece->fd, data, size, (off_t)offset);
        if (got < 0)
            return lb_error_io(err, errno, "cannot read %s", piece->file->path);
        if (got == 0)
            return lb_error_set(err, LB_ERR_DATA, "%s: ends at byte %llu; it had %llu bytes before",
                                piece->file->path, (unsigned long long)offset,
                                (unsigned long long)piece->file->size_bytes);
        data += got;
        size -= (size_t)got;
        offset += (uint64_t)got;
    }
    return LB_OK;
}

static lb_status open_split(struct lb_file_piece *piece, struct lb_error *err)
{
    if (piece->fd >= 0)
        lb_sys.close(piece->fd);
    piece->fd = lb_sys.open(piece->file->path, O_RDONLY | O_CLOEXEC, 0);
    if (piece->fd < 0 && errno == ENOENT)
        return lb_error_set(err, LB_ERR_DATA, "%s was removed while it was read",
                            piece->file->path);
    if (piece->fd < 0)
        return lb_error_io(err, errno, "cannot open %s", piece->file->path);
    piece->used = 0;
    piece->block_offset = piece->start;
    LB_TRY(grow_block(piece, BLOCK_BYTES, err));
    return lb_file_check(piece->file, piece->fd, err);
}

const char *lb_file_scan_end(const struct lb_file_scan *scan, const char *data, size_t size)
{
    if (!scan->class->ends_at_blanks)
        return memchr(data, '\n', size);
    for (size_t i = 0; i < size; i++)
        if (data[i] == ' ' || (data[i] >= '\t' && data[i] <= '\r'))
            return data + i;
    return NULL;
}

static lb_status find_end(struct lb_file_piece *piece, bool *found, struct lb_error *err)
{
    if (piece->start == 0)
        return LB_OK;
    for (uint64_t at = piece->start - 1; at < piece->end - 1;) {
        size_t size = SEARCH_BYTES;
        if (size > piece->end - 1 - at)
            size = (size_t)(piece->end - 1 - at);
        LB_TRY(lb_file_piece_read(piece, piece->block, size, at, err));
        const char *end = lb_file_scan_end(piece->scan, piece->block, size);
        if (end != NULL) {
            piece->block_offset = at + (uint64_t)(end + 1 - piece->block);
            return LB_OK;
        }
        at += size;
    }
    *found = false;
    return LB_OK;
}

/* Moves what is not pushed yet to the block's front and reads on behind it, not beyond `limit`. */
static lb_status refill(struct lb_file_piece *piece, const char *cursor, uint64_t limit,
                        struct lb_error *err)
{
    size_t rest = (size_t)(piece->block + piece->used - cursor);
    memmove(piece->block, cursor, rest);
    piece->block_offset += (uint64_t)(cursor - piece->block);
    piece->used = rest;
    if (rest > piece->block_bytes / 2)
        LB_TRY(grow_block(piece, piece->block_bytes * 2, err));
    uint64_t offset = piece->block_offset + rest;
    size_t wanted = piece->block_bytes - rest;
    if (wanted > limit - offset)
        wanted = (size_t)(limit - offset);
    LB_TRY(lb_file_piece_read(piece, piece->block + rest, wanted, offset, err));
    piece->used += wanted;
    return lb_file_check(piece->file, piece->fd,
                         err); /* before what was written meanwhile is taken for records */
}

/* Up to where the rest of a record is looked for: twice as far each time, as what is there is looked at again. */
static uint64_t read_on(const struct lb_file_piece *piece, uint64_t limit)
{
    uint64_t more = piece->used > BLOCK_BYTES / 4 ? piece->used : BLOCK_BYTES / 4;
    return limit + more < piece->file->size_bytes ? limit + more : piece->file->size_bytes;
}

/* What is read ahead of the records' end is never used; it is the same in each run. */
static void clear_padding(struct lb_file_piece *piece)
{
    memset(piece->block + piece->used, 0, LB_TEXT_PADDING);
}

static lb_status produce_split(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_file_piece *piece = local->state;
    const struct lb_file_scan_class *class = piece->scan->class;
    uint64_t size = piece->file->size_bytes;
    bool found = true;
    LB_TRY(open_split(piece, err));
    LB_TRY(class->find_first != NULL ? class->find_first(local, &found, err)
                                     : find_end(piece, &found, err));
    const char *cursor = piece->block;
    /* Read so far at most: beyond the split only for its last record. */
    uint64_t limit = piece->end;
    while (found) {
        LB_TRY(refill(piece, cursor, limit, err));
        clear_padding(piece);
        cursor = piece->block;
        uint64_t read = piece->block_offset + piece->used;
        LB_TRY(class->push(local, &cursor, read == size, err));
        if (read == size || lb_file_piece_offset(piece, cursor) >= piece->end)
            break;
        if (read == limit)
            limit = read_on(piece, limit);
    }
    return lb_file_check(piece->file, piece->fd, err);
}

lb_status lb_file_piece_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_file_piece *piece = local->state;
    if (!piece->is_chunk)
        return produce_split(local, err);
    const char *cursor = piece->block;
    clear_padding(piece);
    /* A chunk ends behind a record or at the end of the stream. */
    LB_TRY(piece->scan->class->push(local, &cursor, true, err));
    if (piece->block_bytes > 8 * (size_t)CHUNK_BYTES) /* one huge record should not stay */
        free_block(piece);
    return LB_OK;
}
