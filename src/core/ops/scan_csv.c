/* The CSV source: typed rows of the columns that are wanted, from files that are split, or from streams that are cut into
 * chunks.
 *
 * IDEA    A plain file is split at fixed offsets; a split owns the records that begin in it. Whether its first byte is inside
 *         quotes is the parity of all quotes before: a worker first counts the quotes of its split and posts the parity,
 *         then waits for those of the splits before, then reads the split again (from the page cache) and converts. The
 *         last split of a file needs no count, nor does a dialect without quote. Streams are cut behind a record under the
 *         stage's lock; the conversion is parallel.
 * STATES  frontier = number of the first split whose parity is not posted; splits up to it know whether they begin inside
 *         quotes. Splits of all files are numbered in the order of their claims.
 * TYPES   A value that does not fit an inferred type ends the run with LB_RESTART; self->restart says which columns need which
 *         type. One that does not fit a declared type makes its record a bad one.
 * MEMORY  One block per worker (a longer record makes it grow), or one chunk.
 * THREADS `lock` guards splits, frontier and wider. A split is claimed only after those before it, and whoever claimed one
 *         posts before it waits: nobody waits for good. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "core/base/sys.h"
#include "core/io/stream.h"
#include "core/ops/csv_rows.h"
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
enum { SPLITS_OF_A_FILE = 64, SHOWN_BYTES = 200, MOST_RECORD_BYTES = 1 << 30 };

enum { UNKNOWN = 2 };

struct split {
    uint8_t quotes; /* parity of those in it, or UNKNOWN */
    uint8_t start;  /* 1: it begins inside quotes; good up to the frontier */
    bool is_first;  /* of its file */
};

struct csv_shared {
    struct lb_csv_schema schema;
    struct lb_file_list files;
    int64_t split_bytes; /* parameter: for tests; 0: by the file's size */
    /* guarded by the stage's lock */
    size_t file;     /* being split or read */
    uint64_t offset; /* of the next split, or bytes of the stream so far */
    uint64_t line;   /* stream: number of the next line, from 1 */
    struct lb_stream *stream;
    struct lb_buf rest; /* stream: the unfinished record behind the last chunk */
    /* guarded by lock */
    pthread_mutex_t lock;
    pthread_cond_t posted;
    struct split *splits;
    size_t n_splits, splits_capacity;
    size_t frontier;
    enum lb_csv_type *wider; /* per column, 0: as it is */
};

struct csv_local {
    const struct lb_file *file;
    bool is_chunk;       /* data is in block already */
    uint64_t start, end; /* the split */
    size_t split;        /* its number */
    bool has_header;     /* the file's first bytes are not seen yet: mark and header */
    char *block;         /* block_bytes + LB_TEXT_PADDING */
    size_t block_bytes;
    size_t used;           /* bytes in block */
    uint64_t block_offset; /* of block[0] in the file or stream */
    uint64_t block_line;   /* chunk: line number of block[0]; 0: not known */
    int fd;
    struct lb_csv_rows rows;
};

/* ---- opening ---- */

static lb_status csv_open(struct lb_op *self, struct lb_error *err)
{
    struct csv_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    pthread_mutex_init(&shared->lock, NULL);
    pthread_cond_init(&shared->posted, NULL);
    shared->line = 1;
    LB_TRY(lb_csv_schema_init(self, &shared->schema, err));
    LB_TRY(lb_param_int(self, "split_bytes", 0, &shared->split_bytes, err));
    LB_TRY(lb_param_paths(self, &shared->files, err));
    size_t bytes = (shared->schema.n_columns + 1) * sizeof *shared->wider;
    shared->wider = lb_alloc_zero(bytes);
    return shared->wider != NULL ? LB_OK : lb_error_memory(err, self->label, bytes);
}

static void csv_close(struct lb_op *self)
{
    struct csv_shared *shared = self->shared;
    if (shared == NULL)
        return;
    lb_stream_close(shared->stream);
    lb_buf_fini(&shared->rest);
    lb_file_list_fini(&shared->files);
    if (shared->wider != NULL)
        lb_free(shared->wider, (shared->schema.n_columns + 1) * sizeof *shared->wider);
    lb_free(shared->splits, shared->splits_capacity * sizeof *shared->splits);
    lb_csv_schema_fini(&shared->schema);
    pthread_cond_destroy(&shared->posted);
    pthread_mutex_destroy(&shared->lock);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

static lb_status csv_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct csv_shared *shared = local->op->shared;
    struct csv_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    state->fd = -1;
    return lb_csv_rows_init(&state->rows, &shared->schema, err);
}

static void csv_detach(struct lb_op_local *local)
{
    struct csv_local *state = local->state;
    if (state->fd >= 0)
        lb_sys.close(state->fd);
    if (state->block != NULL)
        lb_free(state->block, state->block_bytes + LB_TEXT_PADDING);
    lb_csv_rows_fini(&state->rows);
    lb_free(state, sizeof *state);
}

static lb_status grow_block(struct csv_local *state, size_t bytes, struct lb_error *err)
{
    if (state->block_bytes >= bytes)
        return LB_OK;
    if (bytes > MOST_RECORD_BYTES)
        return lb_error_set(err, LB_ERR_DATA,
                            "%s: the record at byte %llu is longer than 1 GiB: is a quote not "
                            "closed? (quote = \"\" takes quotes as text)",
                            state->file->path, (unsigned long long)state->block_offset);
    size_t old = state->block != NULL ? state->block_bytes + LB_TEXT_PADDING : 0;
    char *block = lb_realloc(state->block, old, bytes + LB_TEXT_PADDING);
    if (block == NULL)
        return lb_error_memory(err, "a record's buffer", bytes);
    state->block = block;
    state->block_bytes = bytes;
    return LB_OK;
}

/* ---- claiming ---- */

static uint64_t split_bytes(const struct csv_shared *shared, const struct lb_file *file)
{
    uint64_t bytes = file->size_bytes / SPLITS_OF_A_FILE;
    if (shared->split_bytes > 0)
        return (uint64_t)shared->split_bytes;
    if (bytes < LEAST_SPLIT_BYTES)
        return LEAST_SPLIT_BYTES;
    return bytes > MOST_SPLIT_BYTES ? MOST_SPLIT_BYTES : bytes;
}

/* Fills the worker's block with the stream's next chunk of whole records. */
static lb_status read_chunk(struct csv_shared *shared, struct csv_local *state, bool *at_end,
                            struct lb_error *err)
{
    const struct lb_csv_dialect *dialect = &shared->schema.dialect;
    LB_TRY(grow_block(state, shared->rest.size + CHUNK_BYTES, err));
    if (shared->rest.size > 0)
        memcpy(state->block, shared->rest.data, shared->rest.size);
    state->used = shared->rest.size;
    shared->rest.size = 0;
    *at_end = false;
    bool is_inside = false; /* the rest begins with a record, in which none ends */
    (void)lb_csv_last_end(dialect, state->block, state->used, &is_inside);
    for (;;) {
        size_t wanted = CHUNK_BYTES > state->used ? CHUNK_BYTES : state->used, got = 0;
        LB_TRY(grow_block(state, state->used + wanted, err));
        LB_TRY(lb_stream_read(shared->stream, state->block + state->used, wanted, &got, err));
        size_t end = lb_csv_last_end(dialect, state->block + state->used, got, &is_inside);
        size_t kept = state->used + end;
        state->used += got;
        if (got < wanted) {
            *at_end = true;
            return LB_OK;
        }
        if (end > 0) {
            LB_TRY(lb_buf_append(&shared->rest, state->block + kept, state->used - kept, err));
            state->used = kept;
            return LB_OK;
        }
    }
}

static lb_status claim_chunk(struct csv_shared *shared, struct csv_local *state,
                             struct lb_error *err)
{
    bool at_end = false;
    state->is_chunk = true;
    state->has_header = shared->offset == 0;
    state->block_offset = shared->offset;
    if (shared->stream == NULL)
        LB_TRY(lb_stream_open(&shared->files.files[shared->file], &shared->stream, err));
    LB_TRY(read_chunk(shared, state, &at_end, err));
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

static lb_status add_split(struct csv_shared *shared, bool is_first, size_t *number,
                           struct lb_error *err)
{
    lb_status status = LB_OK;
    pthread_mutex_lock(&shared->lock);
    if (shared->n_splits == shared->splits_capacity) {
        size_t old = shared->splits_capacity, wanted = old > 0 ? 2 * old : 64;
        struct split *splits =
            lb_realloc(shared->splits, old * sizeof *splits, wanted * sizeof *splits);
        if (splits != NULL) {
            shared->splits = splits;
            shared->splits_capacity = wanted;
        } else {
            status = lb_error_memory(err, "splits of a file", wanted * sizeof *splits);
        }
    }
    if (status == LB_OK) {
        *number = shared->n_splits++;
        shared->splits[*number] = (struct split){.quotes = UNKNOWN, .is_first = is_first};
        /* One that comes after the frontier has passed those before it. */
        if (*number > 0 && shared->frontier == *number && !is_first)
            shared->splits[*number].start =
                shared->splits[*number - 1].start ^ shared->splits[*number - 1].quotes;
    }
    pthread_mutex_unlock(&shared->lock);
    return status;
}

static lb_status csv_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    struct csv_shared *shared = local->op->shared;
    struct csv_local *state = local->state;
    *more = shared->file < shared->files.n_files;
    if (!*more)
        return LB_OK;
    const struct lb_file *file = state->file = &shared->files.files[shared->file];
    snprintf(local->worker->input, sizeof local->worker->input, "%s", file->path);
    if (!file->is_regular || file->compression != LB_PLAIN)
        return claim_chunk(shared, state, err);
    uint64_t size = split_bytes(shared, file);
    state->is_chunk = false;
    state->start = shared->offset;
    state->end = shared->offset + size;
    state->has_header = state->start == 0;
    LB_TRY(add_split(shared, state->start == 0, &state->split, err));
    shared->offset = state->end;
    /* The last split takes a rest of less than half a split with it. */
    if (state->end + size / 2 >= file->size_bytes) {
        state->end = file->size_bytes;
        shared->file++;
        shared->offset = 0;
    }
    return LB_OK;
}

/* ---- quotes before a split ---- */

static void post_quotes(struct csv_shared *shared, size_t number, unsigned parity)
{
    pthread_mutex_lock(&shared->lock);
    shared->splits[number].quotes = (uint8_t)parity;
    while (shared->frontier < shared->n_splits &&
           shared->splits[shared->frontier].quotes != UNKNOWN) {
        const struct split *split = &shared->splits[shared->frontier++];
        if (shared->frontier < shared->n_splits)
            shared->splits[shared->frontier].start =
                shared->splits[shared->frontier].is_first ? 0 : split->start ^ split->quotes;
    }
    pthread_cond_broadcast(&shared->posted);
    pthread_mutex_unlock(&shared->lock);
}

/* Waits until it is known whether the split begins inside quotes. */
static lb_status wait_for_quotes(struct lb_op_local *local, bool *is_inside, struct lb_error *err)
{
    struct csv_shared *shared = local->op->shared;
    size_t number = ((struct csv_local *)local->state)->split;
    const struct lb_op_local *sink = local;
    while (sink->next != NULL)
        sink = sink->next;
    lb_status status = LB_OK;
    pthread_mutex_lock(&shared->lock);
    while (shared->frontier < number && status == LB_OK) {
        if (atomic_load(&local->worker->run->stop) != 0)
            status = lb_error_set(err, LB_ERR_CANCELLED, "cancelled");
        else if (atomic_load(&sink->op->enough))
            status = LB_ENOUGH; /* a morsel before may have been left out */
        if (status != LB_OK)
            break;
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 50000000; /* to look at `stop` */
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        pthread_cond_timedwait(&shared->posted, &shared->lock, &until);
    }
    *is_inside = shared->splits[number].start != 0;
    pthread_mutex_unlock(&shared->lock);
    return status;
}

/* ---- where a record stands ---- */

static uint64_t count_lines_before(const struct csv_local *state, uint64_t offset)
{
    struct lb_stream *stream = NULL;
    char buffer[16384];
    uint64_t lines = 1;
    if (lb_stream_open(state->file, &stream, NULL) != LB_OK)
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

/* Appends "record FILE:LINE (byte N): text". */
static lb_status describe(const struct csv_local *state, const char *start, const char *end,
                          struct lb_buf *out, struct lb_error *err)
{
    uint64_t offset = state->block_offset + (uint64_t)(start - state->block);
    uint64_t line = state->is_chunk
                        ? state->block_line +
                              lb_text_count_newlines(state->block, (size_t)(start - state->block))
                        : count_lines_before(state, offset);
    size_t size = (size_t)(end - start);
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

static lb_status csv_locate(const struct lb_batch *batch, uint32_t row, struct lb_buf *out,
                            struct lb_error *err)
{
    const struct lb_op_local *local = batch->locate_state;
    const struct csv_local *state = local->state;
    const struct lb_csv_rows *rows = &state->rows;
    return describe(state, rows->data + rows->starts[row], rows->data + lb_csv_rows_end(rows, row),
                    out, err);
}

/* Fills err with a bad record's message. */
static lb_status bad_record(const struct csv_local *state, const char *reason, const char *start,
                            const char *end, struct lb_error *err)
{
    struct lb_buf text = {0};
    lb_status status = describe(state, start, end, &text, err);
    if (status == LB_OK)
        status = lb_error_set(err, LB_ERR_DATA, "%s\n  %.*s", reason, (int)text.size, text.data);
    lb_buf_fini(&text);
    return status;
}

/* Bad records fail the run or are counted. */
static lb_status handle_bad(struct lb_op_local *local, uint64_t n, const char *reason,
                            const char *start, const char *end, struct lb_error *err)
{
    struct csv_shared *shared = local->op->shared;
    const struct csv_local *state = local->state;
    if (!shared->schema.skips_bad)
        return bad_record(state, reason, start, end, err);
    if (lb_run_skip(local->worker, n)) {
        struct lb_error *first = lb_alloc_zero(sizeof *first);
        if (first == NULL)
            return lb_error_memory(err, "an error message", sizeof *first);
        if (bad_record(state, reason, start, end, first) == LB_ERR_DATA)
            lb_run_keep_skipped(local->worker, first);
        lb_free(first, sizeof *first);
    }
    return LB_OK;
}

/* ---- widening ---- */

/* Writes what is wider into self->restart; the lock is held. */
static lb_status put_restart(struct lb_op *self, struct lb_error *err)
{
    struct csv_shared *shared = self->shared;
    struct lb_buf *out = &self->restart;
    size_t map, list, pair;
    uint32_t n = 0;
    out->size = 0;
    LB_TRY(lb_codec_begin(out, 'm', &map, err));
    LB_TRY(lb_codec_put_string(out, "columns", 7, err));
    LB_TRY(lb_codec_begin(out, 'l', &list, err));
    for (uint32_t i = 0; i < shared->schema.n_columns; i++) {
        if (shared->wider[i] == 0)
            continue;
        const char *name = lb_csv_type_name(shared->wider[i]);
        LB_TRY(lb_codec_begin(out, 'l', &pair, err));
        LB_TRY(lb_codec_put_int(out, i + 1, err));
        LB_TRY(lb_codec_put_string(out, name, strlen(name), err));
        lb_codec_end(out, pair, 2);
        n++;
    }
    lb_codec_end(out, list, n);
    lb_codec_end(out, map, 1);
    return LB_OK;
}

static lb_status restart(struct lb_op_local *local, struct lb_error *err)
{
    struct csv_shared *shared = local->op->shared;
    struct csv_local *state = local->state;
    const struct lb_csv_rows *rows = &state->rows;
    if (!state->file->is_regular) {
        (void)bad_record(state, rows->bad.reason, rows->data + rows->bad.start,
                         rows->data + rows->bad.end, err);
        struct lb_error *cause = lb_alloc_zero(sizeof *cause);
        if (cause == NULL)
            return lb_error_memory(err, "an error message", sizeof *cause);
        *cause = *err;
        lb_status status = lb_error_set(
            err, LB_ERR_DATA, "%s\n  %s cannot be read twice: declare the types of its columns",
            cause->message, strcmp(state->file->path, "-") == 0 ? "standard input" : "this input");
        lb_free(cause, sizeof *cause);
        return status;
    }
    pthread_mutex_lock(&shared->lock);
    for (uint32_t i = 0; i < shared->schema.n_columns; i++)
        if (rows->wider[i] > shared->wider[i])
            shared->wider[i] = rows->wider[i];
    lb_status status = put_restart(local->op, err);
    pthread_mutex_unlock(&shared->lock);
    LB_TRY(status);
    return lb_error_set(err, LB_RESTART, "%s: %s; it needs a wider type", state->file->path,
                        rows->bad.reason);
}

/* ---- producing ---- */

static lb_status push_rows(struct lb_op_local *local, struct lb_error *err)
{
    struct csv_shared *shared = local->op->shared;
    struct csv_local *state = local->state;
    struct lb_csv_rows *rows = &state->rows;
    const struct lb_csv_schema *schema = &shared->schema;
    LB_TRY(lb_csv_rows_convert(rows, err));
    if (rows->is_misfit)
        return restart(local, err);
    if (rows->n_bad > 0)
        LB_TRY(handle_bad(local, rows->n_bad, rows->bad.reason, rows->data + rows->bad.start,
                          rows->data + rows->bad.end, err));
    struct lb_batch batch = {.n_rows = rows->n_rows,
                             .n_columns = schema->n_columns > 0 ? schema->n_columns : 1,
                             .n_selected = rows->n_good,
                             .select = rows->n_good < rows->n_rows ? rows->select : NULL,
                             .columns = rows->columns,
                             .locate = csv_locate,
                             .locate_state = local};
    return lb_push(local->next, &batch, err);
}

/* Passes over the mark and the header at the file's start. *more: they are not whole in the block yet. */
static lb_status skip_header(struct lb_op_local *local, const char **cursor, bool at_end,
                             bool *more, struct lb_error *err)
{
    struct csv_shared *shared = local->op->shared;
    struct csv_local *state = local->state;
    const struct lb_csv_schema *schema = &shared->schema;
    size_t size = (size_t)(state->block + state->used - *cursor);
    *more = false;
    if (!at_end && size < 3) {
        *more = true;
        return LB_OK;
    }
    size_t mark = lb_csv_bom(*cursor, size);
    if (schema->has_header && size > mark) {
        bool is_inside = false;
        const char *start = *cursor + mark;
        size_t end = lb_csv_first_end(&schema->dialect, start, size - mark, &is_inside);
        if (end == 0 && !at_end) {
            *more = true;
            return LB_OK;
        }
        if (end == 0) { /* a header and no more: with the newline that push_block puts */
            end = size - mark;
            state->block[state->used] = '\n';
        }
        bool has_newline = start[end - 1] == '\n' && !is_inside;
        if (schema->checks_header) {
            lb_status status = lb_csv_check_header(&state->rows, start, end + !has_newline, err);
            if (status == LB_ERR_DATA)
                lb_error_prefix(err, "%s: ", state->file->path);
            LB_TRY(status);
        }
        mark += end;
    }
    /* The record behind a mark begins in the file's first split, however short that is. */
    if (state->end <= mark && !schema->has_header)
        state->end = mark + 1;
    *cursor += mark;
    state->has_header = false;
    return LB_OK;
}

/* Pushes what is whole in the block from *cursor on and begins before the split's end. */
static lb_status push_block(struct lb_op_local *local, const char **cursor, bool at_end,
                            struct lb_error *err)
{
    struct csv_local *state = local->state;
    struct lb_csv_rows *rows = &state->rows;
    bool more = false;
    if (state->has_header)
        LB_TRY(skip_header(local, cursor, at_end, &more, err));
    if (more)
        return LB_OK;
    const char *end = state->block + state->used;
    /* The last record need not have a newline: it gets one, which is not the file's. */
    bool lacks_newline = at_end && end > *cursor && end[-1] != '\n';
    if (lacks_newline)
        state->block[state->used] = '\n';
    while (*cursor < end) {
        uint64_t at = state->block_offset + (uint64_t)(*cursor - state->block);
        size_t used = 0;
        size_t size = (size_t)(end - *cursor);
        if (at >= state->end)
            break;
        uint64_t limit = state->end - at;
        LB_TRY(lb_csv_rows_cut(rows, *cursor, size + lacks_newline,
                               limit < size ? (size_t)limit : size, &used, err));
        if (used == 0 && at_end) {
            LB_TRY(handle_bad(local, 1,
                              "a quoted field is not closed (quote = \"\" takes quotes as text)",
                              *cursor, end, err));
            *cursor = end;
        }
        if (used == 0)
            break;
        LB_TRY(push_rows(local, err));
        *cursor += used < size ? used : size;
    }
    return LB_OK;
}

static lb_status read_at(struct csv_local *state, char *data, size_t size, uint64_t offset,
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

/* Moves what is not pushed yet to the block's front and reads on behind it, not beyond `limit`. */
static lb_status refill(struct csv_local *state, const char *cursor, uint64_t limit,
                        struct lb_error *err)
{
    size_t rest = (size_t)(state->block + state->used - cursor);
    memmove(state->block, cursor, rest);
    state->block_offset += (uint64_t)(cursor - state->block);
    state->used = rest;
    if (rest > state->block_bytes / 2)
        LB_TRY(grow_block(state, state->block_bytes * 2, err));
    uint64_t offset = state->block_offset + rest;
    size_t wanted = state->block_bytes - rest;
    if (wanted > limit - offset)
        wanted = (size_t)(limit - offset);
    LB_TRY(read_at(state, state->block + rest, wanted, offset, err));
    state->used += wanted;
    return LB_OK;
}

static lb_status open_split(struct csv_local *state, struct lb_error *err)
{
    if (state->fd >= 0)
        lb_sys.close(state->fd);
    state->fd = lb_sys.open(state->file->path, O_RDONLY | O_CLOEXEC, 0);
    if (state->fd < 0)
        return lb_error_system(err, errno, "cannot open %s", state->file->path);
    state->block_line = 0;
    state->used = 0;
    return grow_block(state, BLOCK_BYTES, err);
}

static lb_status count_quotes(struct csv_local *state, char quote, unsigned *parity,
                              struct lb_error *err)
{
    size_t count = 0;
    for (uint64_t at = state->start; at < state->end;) {
        size_t size = state->block_bytes;
        if (size > state->end - at)
            size = (size_t)(state->end - at);
        LB_TRY(read_at(state, state->block, size, at, err));
        count += lb_csv_count(state->block, size, quote);
        at += size;
    }
    *parity = count & 1;
    return LB_OK;
}

/* Reads on to the first record that begins in the split; *found: there is one, at state->block_offset. */
static lb_status find_first(struct lb_op_local *local, bool *found, struct lb_error *err)
{
    struct csv_shared *shared = local->op->shared;
    struct csv_local *state = local->state;
    const struct lb_csv_dialect *dialect = &shared->schema.dialect;
    bool is_inside = false;
    bool is_last = state->end == state->file->size_bytes;
    *found = true;
    if (dialect->quote >= 0 && !is_last) {
        unsigned parity = 0;
        LB_TRY(count_quotes(state, (char)dialect->quote, &parity, err));
        post_quotes(shared, state->split, parity);
    } else {
        post_quotes(shared, state->split, 0); /* nobody looks at it */
    }
    state->block_offset = state->start;
    if (state->start == 0)
        return LB_OK;
    if (dialect->quote >= 0)
        LB_TRY(wait_for_quotes(local, &is_inside, err));
    char before;
    LB_TRY(read_at(state, &before, 1, state->start - 1, err));
    if (before == '\n' && !is_inside)
        return LB_OK;
    while (state->block_offset < state->end) {
        size_t size = state->block_bytes;
        if (size > state->end - state->block_offset)
            size = (size_t)(state->end - state->block_offset);
        LB_TRY(read_at(state, state->block, size, state->block_offset, err));
        size_t end = lb_csv_first_end(dialect, state->block, size, &is_inside);
        state->block_offset += end > 0 ? end : size;
        if (end > 0)
            break;
    }
    *found = state->block_offset < state->end;
    return LB_OK;
}

static lb_status produce_split(struct lb_op_local *local, struct lb_error *err)
{
    struct csv_local *state = local->state;
    uint64_t size = state->file->size_bytes;
    bool found = false;
    LB_TRY(open_split(state, err));
    LB_TRY(find_first(local, &found, err));
    const char *cursor = state->block;
    uint64_t limit =
        state->end; /* read so far at most: beyond the split only for its last record */
    while (found) {
        LB_TRY(refill(state, cursor, limit, err));
        cursor = state->block;
        uint64_t read = state->block_offset + state->used;
        LB_TRY(push_block(local, &cursor, read == size, err));
        if (read == size || state->block_offset + (uint64_t)(cursor - state->block) >= state->end)
            break;
        if (read == limit)
            limit = limit + BLOCK_BYTES / 4 < size ? limit + BLOCK_BYTES / 4 : size;
    }
    return LB_OK;
}

static lb_status csv_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct csv_local *state = local->state;
    if (!state->is_chunk)
        return produce_split(local, err);
    const char *cursor = state->block;
    state->end = UINT64_MAX;
    /* A chunk ends behind a record or at the end of the stream. */
    LB_TRY(push_block(local, &cursor, true, err));
    if (state->block_bytes > 8 * (size_t)CHUNK_BYTES) { /* one huge record should not stay */
        lb_free(state->block, state->block_bytes + LB_TEXT_PADDING);
        state->block = NULL;
        state->block_bytes = 0;
    }
    return LB_OK;
}

const struct lb_op_class lb_op_scan_csv = {
    .name = "scan.csv",
    .kind = LB_OP_SOURCE,
    .open = csv_open,
    .attach = csv_attach,
    .claim = csv_claim,
    .produce = csv_produce,
    .detach = csv_detach,
    .close = csv_close,
};
