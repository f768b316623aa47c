/* The text source: lines, words or one field of each line, from files that are split, or from streams that are cut into
 * chunks.
 *
 * IDEA    A plain file is split at fixed offsets; a split owns the lines that begin in it: it skips to behind the first newline at or after
 *         start - 1 and reads on to the first newline at or after end - 1. Split sizes depend on the file's size alone, so
 *         nothing downstream depends on the number of threads. A stream (compressed, pipe, standard input) is read under the
 *         stage's lock in chunks that end at a newline; the work on the chunks is parallel.
 * MEMORY  One block per worker (a longer line makes it grow), or one chunk.
 * WHY NOT mmap: a file that shrinks while it is read would kill the process; reading costs 5 % here. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "core/base/buf.h"
#include "core/base/sys.h"
#include "core/io/stream.h"
#include "core/io/text.h"
#include "core/ops/ops.h"
#include "core/ops/params.h"

#ifdef LB_TINY
enum {
    BLOCK_BYTES = 512,
    CHUNK_BYTES = 1024,
    LEAST_SPLIT_BYTES = 2048,
    MOST_SPLIT_BYTES = 1 << 16
};
#else
enum {
    BLOCK_BYTES = 256 << 10,
    CHUNK_BYTES = 1 << 20,
    LEAST_SPLIT_BYTES = 1 << 20,
    MOST_SPLIT_BYTES = 32 << 20
};
#endif
enum { SPLITS_OF_A_FILE = 64, SHOWN_BYTES = 200 };

/* ORDER modes */
enum mode { MODE_LINES, MODE_WORDS, MODE_FIELD };

struct text_shared {
    struct lb_file_list files;
    enum mode mode;
    uint32_t field;  /* MODE_FIELD: 1-based */
    char *separator; /* MODE_FIELD: NULL: blanks */
    /* guarded by the stage's lock */
    size_t file;              /* being split or read */
    uint64_t offset;          /* of the next split, or bytes of the stream so far */
    uint64_t line;            /* stream: number of the next line, from 1 */
    struct lb_stream *stream; /* open when the file is a stream */
    struct lb_buf rest;       /* stream: the unfinished line behind the last chunk */
};

struct text_local {
    const struct lb_file *file;
    bool is_chunk;       /* data is in block already */
    uint64_t start, end; /* the split */
    char *block;         /* block_bytes + LB_TEXT_PADDING */
    size_t block_bytes;
    size_t used;           /* bytes in block */
    uint64_t block_offset; /* of block[0] in the file or stream */
    uint64_t block_line;   /* chunk: line number of block[0]; 0: not known */
    int fd;
    const char *batch_start; /* where the batch being pushed begins */
    struct lb_view views[LB_BATCH_ROWS];
    struct lb_view fields[LB_BATCH_ROWS];
    uint64_t valid[(LB_BATCH_ROWS + 63) / 64];
};

static lb_status text_open(struct lb_op *self, struct lb_error *err)
{
    struct text_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    LB_TRY(lb_param_paths(self, &shared->files, err));
    char *mode = NULL;
    LB_TRY(lb_param_string(self, "mode", &mode, err));
    if (mode != NULL && strcmp(mode, "words") == 0)
        shared->mode = MODE_WORDS;
    else if (mode != NULL && strcmp(mode, "field") == 0)
        shared->mode = MODE_FIELD;
    lb_strfree(mode);
    if (shared->mode == MODE_FIELD) {
        int64_t field = 0;
        LB_TRY(lb_param_int(self, "n", 0, &field, err));
        LB_TRY(lb_param_string(self, "sep", &shared->separator, err));
        if (field < 1 || field > UINT32_MAX || (shared->separator && !*shared->separator))
            return lb_error_set(err, LB_ERR_USAGE, "%s: wrong field number or separator",
                                self->label);
        shared->field = (uint32_t)field;
    }
    shared->line = 1;
    return LB_OK;
}

static void text_close(struct lb_op *self)
{
    struct text_shared *shared = self->shared;
    if (shared == NULL)
        return;
    lb_stream_close(shared->stream);
    lb_buf_fini(&shared->rest);
    lb_strfree(shared->separator);
    lb_file_list_fini(&shared->files);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

static lb_status text_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct text_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    state->fd = -1;
    return LB_OK;
}

static void text_detach(struct lb_op_local *local)
{
    struct text_local *state = local->state;
    if (state->fd >= 0)
        lb_sys.close(state->fd);
    if (state->block != NULL)
        lb_free(state->block, state->block_bytes + LB_TEXT_PADDING);
    lb_free(state, sizeof *state);
}

static lb_status grow_block(struct text_local *state, size_t bytes, struct lb_error *err)
{
    if (state->block_bytes >= bytes)
        return LB_OK;
    size_t old = state->block != NULL ? state->block_bytes + LB_TEXT_PADDING : 0;
    char *block = lb_realloc(state->block, old, bytes + LB_TEXT_PADDING);
    if (block == NULL)
        return lb_error_memory(err, "a line's buffer", bytes);
    state->block = block;
    state->block_bytes = bytes;
    return LB_OK;
}

/* ---- claiming ---- */

static uint64_t split_bytes(const struct lb_file *file)
{
    uint64_t bytes = file->size_bytes / SPLITS_OF_A_FILE;
    if (bytes < LEAST_SPLIT_BYTES)
        return LEAST_SPLIT_BYTES;
    return bytes > MOST_SPLIT_BYTES ? MOST_SPLIT_BYTES : bytes;
}

/* Fills the worker's block with the stream's next chunk of whole lines. */
static lb_status read_chunk(struct text_shared *shared, struct text_local *state, bool *at_end,
                            struct lb_error *err)
{
    LB_TRY(grow_block(state, shared->rest.size + CHUNK_BYTES, err));
    if (shared->rest.size > 0)
        memcpy(state->block, shared->rest.data, shared->rest.size);
    state->used = shared->rest.size;
    shared->rest.size = 0;
    *at_end = false;
    for (;;) {
        size_t wanted = CHUNK_BYTES, got = 0;
        LB_TRY(grow_block(state, state->used + wanted, err));
        LB_TRY(lb_stream_read(shared->stream, state->block + state->used, wanted, &got, err));
        const char *newline = memrchr(state->block + state->used, '\n', got);
        state->used += got;
        if (got < wanted) {
            *at_end = true;
            return LB_OK;
        }
        if (newline != NULL) {
            size_t kept = (size_t)(newline + 1 - state->block);
            LB_TRY(lb_buf_append(&shared->rest, newline + 1, state->used - kept, err));
            state->used = kept;
            return LB_OK;
        }
    }
}

static lb_status claim_chunk(struct text_shared *shared, struct text_local *state,
                             const _Atomic int *stop, struct lb_error *err)
{
    bool at_end = false;
    if (shared->stream == NULL) {
        LB_TRY(lb_stream_open(&shared->files.files[shared->file], &shared->stream, err));
        lb_stream_watch(shared->stream, stop);
    }
    LB_TRY(read_chunk(shared, state, &at_end, err));
    state->is_chunk = true;
    state->block_offset = shared->offset;
    state->block_line = shared->line;
    shared->offset += state->used;
    shared->line += lb_text_count_newlines(state->block, state->used);
    if (at_end) {
        lb_stream_close(shared->stream);
        shared->stream = NULL;
        shared->file++;
        shared->offset = 0;
        shared->line = 1;
    }
    return LB_OK;
}

static lb_status text_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    struct text_shared *shared = local->op->shared;
    struct text_local *state = local->state;
    *more = shared->file < shared->files.n_files;
    if (!*more)
        return LB_OK;
    const struct lb_file *file = state->file = &shared->files.files[shared->file];
    snprintf(local->worker->input, sizeof local->worker->input, "%s", file->path);
    /* Files of /proc say that they are empty and are not. */
    if (!file->is_regular || file->compression != LB_PLAIN || file->size_bytes == 0)
        return claim_chunk(shared, state, &local->worker->run->stop, err);
    uint64_t size = split_bytes(file);
    state->is_chunk = false;
    state->start = shared->offset;
    state->end = shared->offset + size;
    shared->offset = state->end;
    /* The last split takes a rest of less than half a split with it. */
    if (state->end + size / 2 >= file->size_bytes) {
        state->end = file->size_bytes;
        shared->file++;
        shared->offset = 0;
    }
    return LB_OK;
}

/* ---- where a record stands ---- */

/* The byte of the file at which row `row` of the batch begins. */
static const char *find_row(const struct text_shared *shared, const struct text_local *state,
                            uint32_t row)
{
    const char *cursor = state->batch_start;
    const char *end = state->block + state->used;
    struct lb_view view;
    if (shared->mode != MODE_WORDS) {
        for (uint32_t i = 0; i < row; i++)
            lb_text_lines(&cursor, end, true, &view, 1);
        return cursor;
    }
    for (uint32_t i = 0; i < row; i++)
        lb_text_words(&cursor, end, true, &view, 1);
    while (cursor < end && strchr(" \t\n\v\f\r", *cursor) != NULL)
        cursor++;
    return cursor;
}

static uint64_t count_lines_before(const char *path, uint64_t offset)
{
    struct lb_file file = {.path = (char *)path, .is_regular = true};
    struct lb_stream *stream = NULL;
    char buffer[16384];
    uint64_t lines = 1;
    if (lb_stream_open(&file, &stream, NULL) != LB_OK)
        return 0;
    while (offset > 0) {
        size_t got = 0;
        size_t wanted = offset < sizeof buffer ? (size_t)offset : sizeof buffer;
        if (lb_stream_read(stream, buffer, wanted, &got, NULL) != LB_OK || got == 0)
            break;
        for (size_t i = 0; i < got; i++)
            lines += buffer[i] == '\n';
        offset -= got;
    }
    lb_stream_close(stream);
    return lines;
}

static lb_status text_locate(const struct lb_batch *batch, uint32_t row, struct lb_buf *out,
                             struct lb_error *err)
{
    const struct lb_op_local *local = batch->locate_state;
    const struct text_shared *shared = local->op->shared;
    const struct text_local *state = local->state;
    const char *start = find_row(shared, state, row);
    uint64_t offset = state->block_offset + (uint64_t)(start - state->block);
    uint64_t line = state->is_chunk
                        ? state->block_line +
                              lb_text_count_newlines(state->block, (size_t)(start - state->block))
                        : count_lines_before(state->file->path, offset);
    const char *end = state->block + state->used;
    const char *newline = memchr(start, '\n', (size_t)(end - start));
    size_t size = (size_t)((newline != NULL ? newline : end) - start);
    if (size > 0 && start[size - 1] == '\r')
        size--;
    LB_TRY(lb_buf_printf(out, err, "record %s:%llu (byte %llu): ", state->file->path,
                         (unsigned long long)line, (unsigned long long)offset));
    for (size_t i = 0; i < size && i < SHOWN_BYTES; i++) {
        unsigned char c = (unsigned char)start[i];
        if (c < 32 || c == 127)
            LB_TRY(lb_buf_printf(out, err, "\\x%02x", c));
        else
            LB_TRY(lb_buf_append_byte(out, (char)c, err));
    }
    return size > SHOWN_BYTES ? lb_buf_append(out, "...", 3, err) : LB_OK;
}

/* ---- producing ---- */

static lb_status push_views(struct lb_op_local *local, uint32_t n, struct lb_error *err)
{
    struct text_shared *shared = local->op->shared;
    struct text_local *state = local->state;
    struct lb_column column = {.type = LB_STRING, .views = state->views};
    if (shared->mode == MODE_FIELD) {
        const char *separator = shared->separator;
        size_t separator_size = separator != NULL ? strlen(separator) : 0;
        uint32_t n_missing = 0;
        memset(state->valid, 0xff, sizeof state->valid);
        for (uint32_t i = 0; i < n; i++) {
            const char *line = lb_view_data(&state->views[i]);
            size_t size = state->views[i].size;
            bool found = separator == NULL
                             ? lb_text_field_blank(line, size, shared->field, &state->fields[i])
                             : lb_text_field_sep(line, size, shared->field, separator,
                                                 separator_size, &state->fields[i]);
            if (!found) {
                state->valid[i >> 6] &= ~(1ULL << (i & 63));
                lb_view_set(&state->fields[i], "", 0);
                n_missing++;
            }
        }
        column.views = state->fields;
        column.valid = n_missing > 0 ? state->valid : NULL;
    }
    struct lb_batch batch = {.n_rows = n,
                             .n_columns = 1,
                             .n_selected = n,
                             .columns = &column,
                             .locate = text_locate,
                             .locate_state = local};
    return lb_push(local->next, &batch, err);
}

/* Pushes what is whole in the block from *cursor on. */
static lb_status push_block(struct lb_op_local *local, const char **cursor, bool at_end,
                            struct lb_error *err)
{
    struct text_shared *shared = local->op->shared;
    struct text_local *state = local->state;
    const char *end = state->block + state->used;
    for (;;) {
        state->batch_start = *cursor;
        size_t n = shared->mode == MODE_WORDS
                       ? lb_text_words(cursor, end, at_end, state->views, LB_BATCH_ROWS)
                       : lb_text_lines(cursor, end, at_end, state->views, LB_BATCH_ROWS);
        if (n == 0)
            return LB_OK;
        LB_TRY(push_views(local, (uint32_t)n, err));
    }
}

static lb_status read_at(struct text_local *state, char *data, size_t size, uint64_t offset,
                         struct lb_error *err)
{
    while (size > 0) {
        ssize_t got = lb_sys.pread(state->fd, data, size, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return lb_error_system(err, errno, "cannot read %s", state->file->path);
        if (got == 0)
            return lb_error_set(err, LB_ERR_DATA, "%s: ends at byte %llu; it had %llu bytes before",
                                state->file->path, (unsigned long long)offset,
                                (unsigned long long)state->file->size_bytes);
        data += got;
        size -= (size_t)got;
        offset += (uint64_t)got;
    }
    return LB_OK;
}

/* Moves what is not pushed yet to the block's front and reads up to `wanted` bytes behind it, not beyond `limit`. */
static lb_status refill(struct text_local *state, const char *cursor, uint64_t limit, size_t wanted,
                        struct lb_error *err)
{
    size_t rest = (size_t)(state->block + state->used - cursor);
    uint64_t offset = state->block_offset + state->used;
    memmove(state->block, cursor, rest);
    state->block_offset += (uint64_t)(cursor - state->block);
    state->used = rest;
    if (rest > state->block_bytes / 2)
        LB_TRY(grow_block(state, state->block_bytes * 2, err));
    size_t room = state->block_bytes - rest;
    if (wanted > room)
        wanted = room;
    if (wanted > limit - offset)
        wanted = (size_t)(limit - offset);
    LB_TRY(read_at(state, state->block + rest, wanted, offset, err));
    state->used += wanted;
    return LB_OK;
}

static lb_status open_split(struct text_local *state, struct lb_error *err)
{
    if (state->fd >= 0)
        lb_sys.close(state->fd);
    state->fd = lb_sys.open(state->file->path, O_RDONLY | O_CLOEXEC, 0);
    if (state->fd < 0)
        return lb_error_system(err, errno, "cannot open %s", state->file->path);
    state->block_line = 0;
    state->used = 0;
    state->block_offset = state->start > 0 ? state->start - 1 : 0;
    return grow_block(state, BLOCK_BYTES, err);
}

static lb_status produce_split(struct lb_op_local *local, struct lb_error *err)
{
    struct text_local *state = local->state;
    uint64_t size = state->file->size_bytes;
    LB_TRY(open_split(state, err));
    const char *cursor = state->block;
    bool is_skipping = state->start > 0; /* the line that began before this split */
    while (state->block_offset + state->used < state->end) {
        LB_TRY(refill(state, cursor, state->end, state->block_bytes, err));
        cursor = state->block;
        if (is_skipping) {
            const char *newline = memchr(cursor, '\n', state->used);
            if (newline == NULL) {
                cursor = state->block + state->used;
                continue;
            }
            cursor = newline + 1;
            is_skipping = false;
        }
        bool at_end = state->block_offset + state->used == size;
        LB_TRY(push_block(local, &cursor, at_end, err));
    }
    /* Finish the last line that began in this split, if it goes on beyond it. */
    const char *end = state->block + state->used;
    bool is_open = !is_skipping && state->end < size && state->used > 0 && end[-1] != '\n';
    while (is_open) {
        size_t before = (size_t)(end - cursor);
        LB_TRY(refill(state, cursor, size, BLOCK_BYTES / 4, err));
        cursor = state->block;
        end = state->block + state->used;
        const char *newline = memchr(cursor + before, '\n', (size_t)(end - cursor) - before);
        bool at_end = newline == NULL && state->block_offset + state->used == size;
        if (newline == NULL && !at_end)
            continue;
        if (newline != NULL)
            state->used = (size_t)(newline + 1 - state->block);
        LB_TRY(push_block(local, &cursor, at_end, err));
        is_open = false;
    }
    return LB_OK;
}

static lb_status text_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct text_local *state = local->state;
    if (!state->is_chunk)
        return produce_split(local, err);
    const char *cursor = state->block;
    /* A chunk ends behind a newline or at the end of the stream. */
    LB_TRY(push_block(local, &cursor, true, err));
    if (state->block_bytes > 8 * (size_t)CHUNK_BYTES) { /* one huge line should not stay */
        lb_free(state->block, state->block_bytes + LB_TEXT_PADDING);
        state->block = NULL;
        state->block_bytes = 0;
    }
    return LB_OK;
}

const struct lb_op_class lb_op_scan_text = {
    .name = "scan.text",
    .kind = LB_OP_SOURCE,
    .open = text_open,
    .attach = text_attach,
    .claim = text_claim,
    .produce = text_produce,
    .detach = text_detach,
    .close = text_close,
};
