/* The text source: lines, words or one field of each line, from files and streams (file_scan.h). */
#include "core/base/sys.h"
#include "core/io/text.h"
#include "core/ops/file_scan.h"
#include "core/ops/ops.h"

/* ORDER modes */
enum mode { MODE_LINES, MODE_WORDS, MODE_FIELD };

struct text_shared {
    struct lb_file_scan scan;
    enum mode mode;
    uint32_t field;  /* MODE_FIELD: 1-based */
    char *separator; /* MODE_FIELD: NULL: blanks */
};

struct text_local {
    struct lb_file_piece piece;
    const char *batch_start; /* where the batch being pushed begins */
    const char *found_at;    /* where its row number found_row begins: that looked for last */
    uint32_t found_row;
    struct lb_view views[LB_BATCH_ROWS];
    struct lb_view fields[LB_BATCH_ROWS];
    uint64_t valid[(LB_BATCH_ROWS + 63) / 64];
};

static lb_status text_push(struct lb_op_local *local, const char **cursor, bool at_end,
                           struct lb_error *err);
static const struct lb_file_scan_class line_class = {.record = "line", .push = text_push};
/* A line may be as long as the file: words are split anywhere. */
static const struct lb_file_scan_class word_class = {
    .record = "word", .ends_at_blanks = true, .push = text_push};

static lb_status text_open(struct lb_op *self, struct lb_error *err)
{
    struct text_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    char *mode = NULL;
    LB_TRY(lb_param_string(self, "mode", &mode, err));
    if (mode != NULL && strcmp(mode, "words") == 0)
        shared->mode = MODE_WORDS;
    else if (mode != NULL && strcmp(mode, "field") == 0)
        shared->mode = MODE_FIELD;
    lb_strfree(mode);
    LB_TRY(lb_file_scan_open(self, shared->mode == MODE_WORDS ? &word_class : &line_class, err));
    if (shared->mode == MODE_FIELD) {
        int64_t field = 0;
        LB_TRY(lb_param_int(self, "n", 0, &field, err));
        LB_TRY(lb_param_string(self, "sep", &shared->separator, err));
        if (field < 1 || field > UINT32_MAX || (shared->separator && !*shared->separator))
            return lb_error_set(err, LB_ERR_USAGE, "%s: wrong field number or separator",
                                self->label);
        shared->field = (uint32_t)field;
    }
    return LB_OK;
}

static void text_close(struct lb_op *self)
{
    struct text_shared *shared = self->shared;
    if (shared == NULL)
        return;
    lb_file_scan_close(&shared->scan);
    lb_strfree(shared->separator);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

static lb_status text_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct text_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    lb_file_piece_init(&state->piece, local);
    return LB_OK;
}

static void text_detach(struct lb_op_local *local)
{
    struct text_local *state = local->state;
    lb_file_piece_fini(&state->piece);
    lb_free(state, sizeof *state);
}

/* ---- where a record stands ---- */

/* The byte of the file at which row `row` of the batch begins. */
static const char *find_row(const struct text_shared *shared, struct text_local *state,
                            uint32_t row)
{
    const char *end = state->piece.block + state->piece.used;
    struct lb_view view;
    if (row < state->found_row || state->found_at == NULL) {
        state->found_at = state->batch_start;
        state->found_row = 0;
    }
    const char *cursor = state->found_at;
    for (; state->found_row < row; state->found_row++) {
        if (shared->mode != MODE_WORDS)
            lb_text_lines(&cursor, end, true, &view, 1);
        else
            lb_text_words(&cursor, end, true, &view, 1);
    }
    state->found_at = cursor;
    while (shared->mode == MODE_WORDS && cursor < end && strchr(" \t\n\v\f\r", *cursor) != NULL)
        cursor++;
    return cursor;
}

static lb_status text_locate(const struct lb_batch *batch, uint32_t row, struct lb_origin *origin,
                             struct lb_buf *out, struct lb_error *err)
{
    const struct lb_op_local *local = batch->locate_state;
    struct text_local *state = local->state;
    const char *start = find_row(local->op->shared, state, row);
    const char *end = state->piece.block + state->piece.used;
    const char *newline = memchr(start, '\n', (size_t)(end - start));
    if (newline != NULL)
        end = newline;
    if (end > start && end[-1] == '\r')
        end--;
    return lb_file_piece_locate(&state->piece, start, end, origin, out, err);
}

/* ---- producing ---- */

static lb_status push_views(struct lb_op_local *local, uint32_t n, struct lb_error *err)
{
    struct text_shared *shared = local->op->shared;
    struct text_local *state = local->state;
    struct lb_column column = {.type = LB_STRING, .views = state->views};
    state->found_at = NULL;
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

static lb_status text_push(struct lb_op_local *local, const char **cursor, bool at_end,
                           struct lb_error *err)
{
    struct text_shared *shared = local->op->shared;
    struct text_local *state = local->state;
    const struct lb_file_piece *piece = &state->piece;
    const char *end = piece->block + piece->used;
    bool is_cut = false; /* what stands behind `end` is of the next split */
    if (lb_file_piece_offset(piece, *cursor) >= piece->end)
        return LB_OK;
    if (piece->block_offset + piece->used > piece->end) {
        const char *last = piece->block + (ptrdiff_t)(piece->end - 1 - piece->block_offset);
        if (last < *cursor)
            last = *cursor;
        const char *stop = lb_file_scan_end(&shared->scan, last, (size_t)(end - last));
        is_cut = stop != NULL;
        if (is_cut)
            end = stop + 1;
    }
    for (;;) {
        state->batch_start = *cursor;
        size_t n = shared->mode == MODE_WORDS
                       ? lb_text_words(cursor, end, at_end, state->views, LB_BATCH_ROWS)
                       : lb_text_lines(cursor, end, at_end, state->views, LB_BATCH_ROWS);
        if (n == 0)
            break;
        LB_TRY(push_views(local, (uint32_t)n, err));
    }
    if (is_cut) /* blanks behind the last word may be left */
        *cursor = end;
    return LB_OK;
}

const struct lb_op_class lb_op_scan_text = {
    .name = "scan.text",
    .kind = LB_OP_SOURCE,
    .open = text_open,
    .attach = text_attach,
    .claim = lb_file_scan_claim,
    .progress = lb_file_scan_progress,
    .produce = lb_file_piece_produce,
    .detach = text_detach,
    .close = text_close,
};
