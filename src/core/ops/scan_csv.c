/* The CSV source: typed rows of the columns that are wanted, from files and streams (file_scan.h).
 *
 * IDEA    A record may have newlines inside quotes, so a split that begins in the middle of a file must know whether it begins
 *         inside quotes: csv_quotes.h. For that a worker reads its split twice (the second time from the page cache). The last split
 *         of a file needs no count, nor does a dialect without quote.
 * TYPES   A value that does not fit an inferred type ends the run with LB_RESTART; self->restart says which columns need which
 *         type. One that does not fit a declared type makes its record a bad one.
 * THREADS `lock` guards restart_morsel and self->restart: the first misfit decides. */
#include <stdio.h>

#include "core/base/sys.h"
#include "core/ops/csv_quotes.h"
#include "core/ops/csv_rows.h"
#include "core/ops/file_scan.h"
#include "core/ops/ops.h"

struct csv_shared {
    struct lb_file_scan scan;
    struct lb_csv_schema schema;
    struct lb_csv_quotes quotes;
    struct lb_bad_sink *bad;
    pthread_mutex_t lock;
    uint64_t restart_morsel; /* of which self->restart speaks */
};

struct csv_local {
    struct lb_file_piece piece;
    bool has_header; /* the file's first bytes are not seen yet: mark and header */
    struct lb_csv_rows rows;
};

static size_t csv_last_end(struct lb_file_scan *scan, const char *data, size_t size,
                           struct lb_cut_state *state);
static lb_status csv_find_first(struct lb_op_local *local, bool *found, struct lb_error *err);
static lb_status csv_push(struct lb_op_local *local, const char **cursor, bool at_end,
                          struct lb_error *err);

static const struct lb_file_scan_class csv_class = {
    .record = "record",
    .most_bytes = 1 << 30,
    .too_long = ": is a quote not closed? (quote = \"\" takes quotes as text)",
    .last_end = csv_last_end,
    .find_first = csv_find_first,
    .push = csv_push,
};

/* ---- opening and claiming ---- */

static lb_status csv_open(struct lb_op *self, struct lb_error *err)
{
    struct csv_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    pthread_mutex_init(&shared->lock, NULL);
    shared->restart_morsel = UINT64_MAX;
    lb_csv_quotes_init(&shared->quotes);
    LB_TRY(lb_csv_schema_init(self, &shared->schema, err));
    LB_TRY(lb_bad_sink_new(self, &shared->bad, err));
    shared->schema.fails_on_bad = lb_bad_sink_fails(shared->bad);
    return lb_file_scan_open(self, &csv_class, err);
}

static void csv_close(struct lb_op *self)
{
    struct csv_shared *shared = self->shared;
    if (shared == NULL)
        return;
    lb_file_scan_close(&shared->scan);
    lb_bad_sink_delete(shared->bad);
    lb_csv_schema_fini(&shared->schema);
    lb_csv_quotes_fini(&shared->quotes);
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
    lb_file_piece_init(&state->piece, local);
    return lb_csv_rows_init(&state->rows, &shared->schema, err);
}

static void csv_detach(struct lb_op_local *local)
{
    struct csv_local *state = local->state;
    lb_file_piece_fini(&state->piece);
    lb_csv_rows_fini(&state->rows);
    lb_free(state, sizeof *state);
}

static lb_status csv_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    struct csv_shared *shared = local->op->shared;
    struct csv_local *state = local->state;
    LB_TRY(lb_file_scan_claim(local, more, err));
    if (!*more)
        return LB_OK;
    state->has_header = state->piece.is_first;
    return state->piece.is_chunk ? LB_OK
                                 : lb_csv_quotes_add(&shared->quotes, state->piece.is_first, err);
}

static size_t csv_last_end(struct lb_file_scan *scan, const char *data, size_t size,
                           struct lb_cut_state *state)
{
    const struct csv_shared *shared = (const struct csv_shared *)scan;
    return lb_csv_last_end(&shared->schema.dialect, data, size, &state->is_inside);
}

static lb_status csv_locate(const struct lb_batch *batch, uint32_t row, struct lb_origin *origin,
                            struct lb_buf *out, struct lb_error *err)
{
    const struct lb_op_local *local = batch->locate_state;
    const struct csv_local *state = local->state;
    const struct lb_csv_rows *rows = &state->rows;
    return lb_file_piece_locate(&state->piece, rows->data + rows->starts[row],
                                rows->data + lb_csv_rows_end(rows, row), origin, out, err);
}

/* ---- widening ---- */

/* Writes what is wider into self->restart; the lock is held. */
static lb_status put_restart(struct lb_op *self, const struct lb_csv_rows *rows,
                             struct lb_error *err)
{
    struct lb_buf *out = &self->restart;
    size_t map, list;
    uint32_t n = 0;
    out->size = 0;
    LB_TRY(lb_codec_begin(out, 'm', &map, err));
    LB_TRY(lb_codec_put_string(out, "columns", 7, err));
    LB_TRY(lb_codec_begin(out, 'l', &list, err));
    for (uint32_t i = 0; i < rows->schema->n_columns; i++) {
        if (rows->wider[i] == 0)
            continue;
        LB_TRY(lb_bad_put_type(out, i + 1, lb_csv_type_name(rows->wider[i]), err));
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
    pthread_mutex_lock(&shared->lock);
    lb_status status = LB_OK;
    if (local->worker->morsel < shared->restart_morsel) {
        shared->restart_morsel = local->worker->morsel;
        status = put_restart(local->op, rows, err);
    }
    pthread_mutex_unlock(&shared->lock);
    LB_TRY(status);
    return lb_bad_restart(local, rows->data, &rows->misfit, err);
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
    LB_TRY(lb_bad_report(shared->bad, local, rows->data, &rows->bad, err));
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
    size_t size = (size_t)(state->piece.block + state->piece.used - *cursor);
    *more = false;
    if (!at_end && size < 3) {
        *more = true;
        return LB_OK;
    }
    size_t mark = lb_csv_bom(*cursor, size);
    if (schema->has_header && size == mark && !at_end) { /* of the header nothing yet */
        *more = true;
        return LB_OK;
    }
    if (schema->has_header && size > mark) {
        bool is_inside = false;
        const char *start = *cursor + mark;
        size_t end = lb_csv_first_end(&schema->dialect, start, size - mark, &is_inside);
        if (end == 0 && !at_end) {
            *more = true;
            return LB_OK;
        }
        if (end == 0) { /* a header and no more: with the newline that csv_push puts */
            end = size - mark;
            state->piece.block[state->piece.used] = '\n';
        }
        bool has_newline = start[end - 1] == '\n' && !is_inside;
        if (schema->checks_header) {
            lb_status status = lb_csv_check_header(&state->rows, start, end + !has_newline, err);
            if (status == LB_ERR_DATA)
                lb_error_prefix(err, "%s: ", lb_file_label(state->piece.file));
            LB_TRY(status);
        }
        mark += end;
    }
    /* The record behind a mark begins in the file's first split, however short that is. */
    if (state->piece.end <= mark && !schema->has_header)
        state->piece.end = mark + 1;
    *cursor += mark;
    state->has_header = false;
    return LB_OK;
}

static lb_status csv_push(struct lb_op_local *local, const char **cursor, bool at_end,
                          struct lb_error *err)
{
    struct csv_local *state = local->state;
    struct lb_file_piece *piece = &state->piece;
    struct lb_csv_rows *rows = &state->rows;
    bool more = false;
    if (state->has_header)
        LB_TRY(skip_header(local, cursor, at_end, &more, err));
    if (more)
        return LB_OK;
    const char *end = piece->block + piece->used;
    /* The last record need not have a newline: it gets one, which is not the file's. */
    bool lacks_newline = at_end && end > *cursor && end[-1] != '\n';
    if (lacks_newline)
        piece->block[piece->used] = '\n';
    while (*cursor < end) {
        uint64_t at = lb_file_piece_offset(piece, *cursor);
        size_t used = 0;
        size_t size = (size_t)(end - *cursor);
        if (at >= piece->end)
            break;
        uint64_t limit = piece->end - at;
        LB_TRY(lb_csv_rows_cut(rows, *cursor, size + lacks_newline,
                               limit < size ? (size_t)limit : size, &used, err));
        if (used == 0 && at_end) {
            lb_bad_list_reset(&rows->bad);
            LB_TRY(lb_bad_list_add(
                &rows->bad, 0, (uint32_t)size, "quote", err,
                "a quoted field is not closed (quote = \"\" takes quotes as text)"));
            LB_TRY(lb_bad_report(((struct csv_shared *)local->op->shared)->bad, local, *cursor,
                                 &rows->bad, err));
            *cursor = end;
        }
        if (used == 0)
            break;
        LB_TRY(push_rows(local, err));
        *cursor += used < size ? used : size;
    }
    return LB_OK;
}

/* ---- the first record of a split ---- */

static lb_status count_quotes(const struct lb_file_piece *piece, char quote, unsigned *parity,
                              struct lb_error *err)
{
    size_t count = 0;
    for (uint64_t at = piece->start; at < piece->end;) {
        size_t size = piece->block_bytes;
        if (size > piece->end - at)
            size = (size_t)(piece->end - at);
        LB_TRY(lb_file_piece_read(piece, piece->block, size, at, err));
        count += lb_csv_count(piece->block, size, quote);
        at += size;
    }
    *parity = count & 1;
    return LB_OK;
}

/* Reads on to the first record that begins in the split; *found: there is one, at piece->block_offset. */
static lb_status csv_find_first(struct lb_op_local *local, bool *found, struct lb_error *err)
{
    struct csv_shared *shared = local->op->shared;
    struct lb_file_piece *piece = local->state;
    const struct lb_csv_dialect *dialect = &shared->schema.dialect;
    bool is_inside = false;
    bool is_last = piece->end == piece->file->size_bytes;
    *found = true;
    if (dialect->quote >= 0 && !is_last) {
        unsigned parity = 0;
        LB_TRY(count_quotes(piece, (char)dialect->quote, &parity, err));
        lb_csv_quotes_post(&shared->quotes, piece->split, parity);
    } else {
        lb_csv_quotes_post(&shared->quotes, piece->split, 0); /* nobody looks at it */
    }
    piece->block_offset = piece->start;
    if (piece->start == 0)
        return LB_OK;
    if (dialect->quote >= 0)
        LB_TRY(lb_csv_quotes_wait(&shared->quotes, piece->split, local, &is_inside, err));
    char before;
    LB_TRY(lb_file_piece_read(piece, &before, 1, piece->start - 1, err));
    if (before == '\n' && !is_inside)
        return LB_OK;
    while (piece->block_offset < piece->end) {
        size_t size = piece->block_bytes;
        if (size > piece->end - piece->block_offset)
            size = (size_t)(piece->end - piece->block_offset);
        LB_TRY(lb_file_piece_read(piece, piece->block, size, piece->block_offset, err));
        size_t end = lb_csv_first_end(dialect, piece->block, size, &is_inside);
        piece->block_offset += end > 0 ? end : size;
        if (end > 0)
            break;
    }
    *found = piece->block_offset < piece->end;
    return LB_OK;
}

const struct lb_op_class lb_op_scan_csv = {
    .name = "scan.csv",
    .kind = LB_OP_SOURCE,
    .open = csv_open,
    .attach = csv_attach,
    .claim = csv_claim,
    .progress = lb_file_scan_progress,
    .produce = lb_file_piece_produce,
    .detach = csv_detach,
    .close = csv_close,
};
