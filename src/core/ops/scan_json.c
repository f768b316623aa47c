/* The JSON source: typed rows of the members that are wanted, from JSON lines or from one array (file_scan.h).
 *
 * IDEA    Lines are split at newlines, as no string has one. A file whose first byte is '[' is an array: it is read as a stream and
 *         cut behind elements, which takes a walk through its bytes under the stage's lock; the rest of the work is parallel.
 * TYPES   A value that does not fit an inferred type, or a name that no column has and that should have one, ends the run with
 *         LB_RESTART; self->restart says what the columns must be.
 * THREADS `lock` guards restart_morsel and self->restart: the first misfit decides. */
#include <pthread.h>
#include <stdio.h>

#include "core/base/sys.h"
#include "core/io/csv.h"
#include "core/ops/json_rows.h"
#include "core/ops/ops.h"

struct json_shared {
    struct lb_file_scan scan;
    struct lb_json_schema schema;
    struct lb_bad_sink *bad;
    bool is_array; /* the stream that is being read; guarded by the stage's lock */
    pthread_mutex_t lock;
    uint64_t restart_morsel; /* of which self->restart speaks */
};

struct json_local {
    struct lb_file_piece piece;
    struct lb_json_walk walk;
    bool has_mark; /* the file's first bytes are not seen yet: the byte order mark */
    struct lb_json_rows rows;
};

static lb_status json_wants_stream(struct lb_file_scan *scan, const struct lb_file *file,
                                   bool *wants, struct lb_error *err);
static size_t json_last_end(struct lb_file_scan *scan, const char *data, size_t size,
                            struct lb_cut_state *state);
static lb_status json_push(struct lb_op_local *local, const char **cursor, bool at_end,
                           struct lb_error *err);

static const struct lb_file_scan_class json_class = {
    .record = "record",
    .most_bytes = 1 << 30,
    .too_long = ": is a string or bracket not closed?",
    .wants_stream = json_wants_stream,
    .last_end = json_last_end,
    .push = json_push,
};

/* ---- opening and claiming ---- */

static lb_status json_open(struct lb_op *self, struct lb_error *err)
{
    struct json_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    pthread_mutex_init(&shared->lock, NULL);
    shared->restart_morsel = UINT64_MAX;
    LB_TRY(lb_json_schema_init(self, &shared->schema, err));
    LB_TRY(lb_bad_sink_new(self, &shared->bad, err));
    shared->schema.fails_on_bad = lb_bad_sink_fails(shared->bad);
    return lb_file_scan_open(self, &json_class, err);
}

static void json_close(struct lb_op *self)
{
    struct json_shared *shared = self->shared;
    if (shared == NULL)
        return;
    lb_file_scan_close(&shared->scan);
    lb_bad_sink_delete(shared->bad);
    lb_json_schema_fini(&shared->schema);
    pthread_mutex_destroy(&shared->lock);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

static lb_status json_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct json_shared *shared = local->op->shared;
    struct json_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    lb_file_piece_init(&state->piece, local);
    return lb_json_rows_init(&state->rows, &shared->schema, err);
}

static void json_detach(struct lb_op_local *local)
{
    struct json_local *state = local->state;
    lb_file_piece_fini(&state->piece);
    lb_json_rows_fini(&state->rows);
    lb_free(state, sizeof *state);
}

static inline bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* The first byte behind a byte order mark and blanks, or NULL. */
static const char *first_byte(const char *data, size_t size)
{
    for (size_t i = lb_csv_bom(data, size); i < size; i++)
        if (!is_blank(data[i]))
            return data + i;
    return NULL;
}

static lb_status json_wants_stream(struct lb_file_scan *scan, const struct lb_file *file,
                                   bool *wants, struct lb_error *err)
{
    (void)scan;
    struct lb_stream *stream = NULL;
    char data[4096];
    size_t got = sizeof data;
    const char *first = NULL;
    LB_TRY(lb_stream_open(file, &stream, err));
    lb_status status = LB_OK;
    while (status == LB_OK && first == NULL && got == sizeof data) {
        status = lb_stream_read(stream, data, sizeof data, &got, err);
        first = status == LB_OK ? first_byte(data, got) : NULL;
    }
    lb_stream_close(stream);
    *wants = first != NULL && *first == '[';
    return status;
}

static lb_status json_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    struct json_shared *shared = local->op->shared;
    struct json_local *state = local->state;
    if (shared->scan.offset == 0)
        shared->is_array = false;
    LB_TRY(lb_file_scan_claim(local, more, err));
    if (!*more)
        return LB_OK;
    state->has_mark = state->piece.is_first;
    state->walk.in_lines = !(state->piece.is_chunk && shared->is_array);
    state->walk.place = state->piece.is_first ? LB_JSON_OPEN : LB_JSON_COMMA_OR_CLOSE;
    return LB_OK;
}

/* A stream's format shows in its first byte. Of an array, chunks end behind elements that have brackets. */
static size_t json_last_end(struct lb_file_scan *scan, const char *data, size_t size,
                            struct lb_cut_state *state)
{
    struct json_shared *shared = (struct json_shared *)scan;
    if (!state->has_begun) {
        const char *first = first_byte(data, size);
        state->has_begun = first != NULL;
        shared->is_array = first != NULL && *first == '[';
    }
    if (!shared->is_array) {
        const char *newline = memrchr(data, '\n', size);
        return newline != NULL ? (size_t)(newline + 1 - data) : 0;
    }
    size_t end = 0;
    for (size_t at = 0; at < size; at++) {
        char c = data[at];
        if (state->is_inside) {
            if (state->is_escaped)
                state->is_escaped = false;
            else if (c == '\\')
                state->is_escaped = true;
            else if (c == '"')
                state->is_inside = false;
        } else if (c == '"') {
            state->is_inside = true;
        } else if (c == '{' || c == '[') {
            state->depth++;
        } else if (c == '}' || c == ']') {
            state->depth -= state->depth > 0;
            if (state->depth == 1)
                end = at + 1;
        }
    }
    return end;
}

/* ---- restarts ---- */

/* Writes what is wider, and what is new, into self->restart; the lock is held. */
static lb_status put_restart(struct lb_op *self, const struct lb_json_rows *rows,
                             struct lb_error *err)
{
    struct lb_buf *out = &self->restart;
    size_t map, list, pair;
    uint32_t n = 0;
    out->size = 0;
    LB_TRY(lb_codec_begin(out, 'm', &map, err));
    LB_TRY(lb_codec_put_string(out, "added", 5, err));
    LB_TRY(lb_codec_begin(out, 'l', &list, err));
    for (uint32_t i = 0; i < rows->n_added; i++) {
        const struct lb_json_added *added = &rows->added[i];
        enum lb_json_type type = added->type < LB_JSON_NULL ? added->type : LB_JSON_ANY;
        const char *name = lb_json_type_name(type);
        LB_TRY(lb_codec_begin(out, 'l', &pair, err));
        LB_TRY(lb_codec_put_string(out, added->name, added->size, err));
        LB_TRY(lb_codec_put_string(out, name, strlen(name), err));
        lb_codec_end(out, pair, 2);
    }
    lb_codec_end(out, list, rows->n_added);
    LB_TRY(lb_codec_put_string(out, "columns", 7, err));
    LB_TRY(lb_codec_begin(out, 'l', &list, err));
    for (uint32_t i = 0; rows->is_misfit && i < rows->schema->n_columns; i++) {
        if (rows->wider[i] == LB_JSON_NULL)
            continue;
        LB_TRY(lb_bad_put_type(out, i + 1, lb_json_type_name(rows->wider[i]), err));
        n++;
    }
    lb_codec_end(out, list, n);
    lb_codec_end(out, map, 2);
    return LB_OK;
}

static lb_status restart(struct lb_op_local *local, struct lb_error *err)
{
    struct json_shared *shared = local->op->shared;
    struct json_local *state = local->state;
    const struct lb_json_rows *rows = &state->rows;
    lb_status status = LB_OK;
    char reason[300];
    struct lb_bad_record record = {.reason = reason};
    if (rows->n_added > 0) {
        const struct lb_json_added *added = &rows->added[0];
        snprintf(reason, sizeof reason,
                 "the records have a name '%.*s' that was not in the sample of them",
                 added->size > 80 ? 80 : (int)added->size, added->name);
        /* A bad record has no row. */
        uint32_t row =
            added->row < rows->n_rows || rows->n_rows == 0 ? added->row : rows->n_rows - 1;
        record.end = rows->n_rows > 0 ? rows->ends[row] : 0;
        record.start = rows->n_rows > 0 ? rows->starts[row] : 0;
    } else {
        record = rows->misfit;
    }
    pthread_mutex_lock(&shared->lock);
    if (local->worker->morsel < shared->restart_morsel) {
        shared->restart_morsel = local->worker->morsel;
        status = put_restart(local->op, rows, err);
    }
    pthread_mutex_unlock(&shared->lock);
    LB_TRY(status);
    return lb_bad_restart(local, rows->data, &record, err);
}

/* ---- producing ---- */

static lb_status json_locate(const struct lb_batch *batch, uint32_t row, struct lb_origin *origin,
                             struct lb_buf *out, struct lb_error *err)
{
    const struct lb_op_local *local = batch->locate_state;
    const struct json_local *state = local->state;
    const struct lb_json_rows *rows = &state->rows;
    return lb_file_piece_locate(&state->piece, rows->data + rows->starts[row],
                                rows->data + rows->ends[row], origin, out, err);
}

static lb_status push_rows(struct lb_op_local *local, struct lb_error *err)
{
    struct json_shared *shared = local->op->shared;
    struct json_local *state = local->state;
    struct lb_json_rows *rows = &state->rows;
    const struct lb_json_schema *schema = &shared->schema;
    LB_TRY(lb_json_rows_convert(rows, err));
    if (rows->is_misfit || rows->n_added > 0)
        return restart(local, err);
    LB_TRY(lb_bad_report(shared->bad, local, rows->data, &rows->bad, err));
    struct lb_batch batch = {.n_rows = rows->n_rows,
                             .n_columns = schema->n_columns > 0 ? schema->n_columns : 1,
                             .n_selected = rows->n_good,
                             .select = rows->n_good < rows->n_rows ? rows->select : NULL,
                             .columns = rows->columns,
                             .locate = json_locate,
                             .locate_state = local};
    return lb_push(local->next, &batch, err);
}

/* An array that is none is an error whatever is done with bad records: nobody knows where the next one begins. */
static lb_status broken(const struct lb_op_local *local, const char *start, const char *end,
                        struct lb_error *err)
{
    char reason[200];
    snprintf(reason, sizeof reason, "%.180s", err->message);
    struct lb_bad_record record = {.end = (uint32_t)(end - start), .reason = reason};
    return lb_bad_message(local, start, &record, err);
}

static lb_status json_push(struct lb_op_local *local, const char **cursor, bool at_end,
                           struct lb_error *err)
{
    struct json_local *state = local->state;
    struct lb_file_piece *piece = &state->piece;
    struct lb_json_rows *rows = &state->rows;
    const char *end = piece->block + piece->used;
    if (state->has_mark) {
        size_t mark = lb_csv_bom(*cursor, (size_t)(end - *cursor));
        if (!at_end && end - *cursor < 3)
            return LB_OK;
        /* The record behind a mark begins in the file's first split, however short that is. */
        if (piece->end <= mark)
            piece->end = mark + 1;
        *cursor += mark;
        state->has_mark = false;
    }
    /* The last record need not have a newline: it gets one, which is not the file's. */
    bool lacks_newline = at_end && end > *cursor && end[-1] != '\n';
    if (lacks_newline)
        piece->block[piece->used] = '\n';
    while (*cursor < end) {
        uint64_t at = lb_file_piece_offset(piece, *cursor);
        size_t used = 0, size = (size_t)(end - *cursor);
        if (at >= piece->end)
            break;
        uint64_t limit = piece->end - at;
        lb_status status = lb_json_rows_cut(rows, &state->walk, *cursor, size + lacks_newline,
                                            limit < size ? (size_t)limit : size, &used, err);
        if (status == LB_ERR_DATA)
            return broken(local, *cursor + (used < size ? used : size), end, err);
        LB_TRY(status);
        if (rows->n_rows > 0 || rows->bad.n > 0 || rows->n_added > 0)
            LB_TRY(push_rows(local, err));
        *cursor += used < size ? used : size;
        if (used == 0)
            break;
    }
    if (state->walk.in_lines || !at_end)
        return LB_OK;
    /* An element that is not whole, or no end of the array. */
    if (*cursor < end || (piece->is_last && state->walk.place != LB_JSON_CLOSED)) {
        lb_error_set(err, LB_ERR_DATA,
                     *cursor < end ? "this element is not closed" : "the array is not closed");
        return broken(local, *cursor, end, err);
    }
    return LB_OK;
}

const struct lb_op_class lb_op_scan_json = {
    .name = "scan.json",
    .kind = LB_OP_SOURCE,
    .open = json_open,
    .attach = json_attach,
    .claim = json_claim,
    .progress = lb_file_scan_progress,
    .produce = lb_file_piece_produce,
    .detach = json_detach,
    .close = json_close,
};
