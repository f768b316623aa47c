/* Window functions of places: row_number to ntile, lag and lead, and first, last, nth_value of the frame. What an
 * open frame's beginning held is remembered, for its rows may be gone when later pieces come. */
#include "core/algo/window_private.h"
#include "core/base/sys.h"

/* ---- ranks ---- */

struct rank_state {
    uint64_t rank;  /* place of the first of the current row's peers, from 1 */
    uint64_t dense; /* number of peer groups so far */
};

static lb_status rank_open(struct lb_window_fn *fn, struct lb_worker *worker, struct lb_error *err)
{
    (void)worker;
    fn->state = lb_alloc_zero(sizeof(struct rank_state));
    return fn->state != NULL ? LB_OK : lb_error_memory(err, fn->label, sizeof(struct rank_state));
}

static void rank_close(struct lb_window_fn *fn)
{
    lb_free(fn->state, sizeof(struct rank_state));
}

static lb_status row_number_compute(struct lb_window_fn *fn, const struct lb_window_rows *rows,
                                    const struct lb_window_part *part, struct lb_error *err)
{
    (void)rows;
    uint64_t place = lb_window_place(part, part->out);
    for (uint32_t row = part->out; row < part->out_end; row++)
        LB_TRY(lb_builder_int(&fn->out, (int64_t)++place, err));
    return LB_OK;
}

/* Goes on to the row, which must be the one after the last. */
static void step(struct rank_state *state, const struct lb_window_rows *rows,
                 const struct lb_window_part *part, uint32_t row)
{
    uint64_t place = lb_window_place(part, row);
    if (place == 0)
        *state = (struct rank_state){0};
    if (place == 0 || !rows->is_peer[row]) {
        state->rank = place + 1;
        state->dense++;
    }
}

static lb_status rank_compute(struct lb_window_fn *fn, const struct lb_window_rows *rows,
                              const struct lb_window_part *part, struct lb_error *err)
{
    struct rank_state *state = fn->state;
    bool is_dense = fn->class == &lb_window_dense_rank;
    for (uint32_t row = part->out; row < part->out_end; row++) {
        step(state, rows, part, row);
        LB_TRY(lb_builder_int(&fn->out, (int64_t)(is_dense ? state->dense : state->rank), err));
    }
    return LB_OK;
}

static lb_status percent_compute(struct lb_window_fn *fn, const struct lb_window_rows *rows,
                                 const struct lb_window_part *part, struct lb_error *err)
{
    struct rank_state *state = fn->state;
    for (uint32_t row = part->out; row < part->out_end; row++) {
        step(state, rows, part, row);
        double value =
            part->n_total > 1 ? (double)(state->rank - 1) / (double)(part->n_total - 1) : 0.0;
        LB_TRY(lb_builder_float(&fn->out, value, err));
    }
    return LB_OK;
}

static lb_status cume_dist_compute(struct lb_window_fn *fn, const struct lb_window_rows *rows,
                                   const struct lb_window_part *part, struct lb_error *err)
{
    uint32_t end = part->out; /* behind the row's peers */
    for (uint32_t row = part->out; row < part->out_end; row++) {
        if (end <= row)
            for (end = row + 1; end < part->end && rows->is_peer[end];)
                end++;
        double value = (double)lb_window_place(part, end) / (double)part->n_total;
        LB_TRY(lb_builder_float(&fn->out, value, err));
    }
    return LB_OK;
}

/* The first n_total % n buckets get one row more. */
static lb_status ntile_compute(struct lb_window_fn *fn, const struct lb_window_rows *rows,
                               const struct lb_window_part *part, struct lb_error *err)
{
    (void)rows;
    uint64_t n = (uint64_t)fn->n;
    uint64_t small = part->n_total / n, n_large = part->n_total % n;
    for (uint32_t row = part->out; row < part->out_end; row++) {
        uint64_t place = lb_window_place(part, row);
        uint64_t bucket = place < n_large * (small + 1)
                              ? place / (small + 1)
                              : n_large + (place - n_large * (small + 1)) / small;
        LB_TRY(lb_builder_int(&fn->out, (int64_t)bucket + 1, err));
    }
    return LB_OK;
}

#define RANK_CLASS(text, need_, compute_)                                                        \
    {                                                                                            \
        .name = text, .need = need_, .open = rank_open, .close = rank_close, .compute = compute_ \
    }

const struct lb_window_class lb_window_row_number =
    RANK_CLASS("row_number", LB_NEED_ROW, row_number_compute);
const struct lb_window_class lb_window_rank = RANK_CLASS("rank", LB_NEED_ROW, rank_compute);
const struct lb_window_class lb_window_dense_rank =
    RANK_CLASS("dense_rank", LB_NEED_ROW, rank_compute);
const struct lb_window_class lb_window_percent_rank =
    RANK_CLASS("percent_rank", LB_NEED_TOTAL, percent_compute);
const struct lb_window_class lb_window_cume_dist =
    RANK_CLASS("cume_dist", LB_NEED_ALL, cume_dist_compute);
const struct lb_window_class lb_window_ntile = {
    .name = "ntile", .need = LB_NEED_TOTAL, .has_n = true, .least_n = 1, .compute = ntile_compute};

/* ---- lag and lead ---- */

static lb_status put(struct lb_window_fn *fn, const struct lb_column *column, uint32_t row,
                     struct lb_error *err)
{
    struct lb_value value = lb_column_value(column, row);
    switch (value.tag) { /* a block's strings outlive its results */
    case 'i':
        return lb_builder_int(&fn->out, value.i, err);
    case 'd':
        return lb_builder_float(&fn->out, value.d, err);
    case 's':
        return lb_builder_view(&fn->out, value.data, value.size, err);
    default:
        return lb_builder_value(&fn->out, &value, err);
    }
}

static lb_status shift_compute(struct lb_window_fn *fn, const struct lb_window_rows *rows,
                               const struct lb_window_part *part, struct lb_error *err)
{
    const struct lb_column *column = lb_window_column(rows, fn->column);
    bool is_lead = fn->class == &lb_window_lead;
    uint64_t n = (uint64_t)fn->n;
    for (uint32_t row = part->out; row < part->out_end; row++) {
        bool is_there = is_lead ? n < part->end - row : n <= row - part->first;
        if (is_there)
            LB_TRY(put(fn, column, is_lead ? row + (uint32_t)n : row - (uint32_t)n, err));
        else
            LB_TRY(lb_builder_value(&fn->out, &fn->fallback, err));
    }
    return LB_OK;
}

const struct lb_window_class lb_window_lag = {
    .name = "lag", .need = LB_NEED_NEAR, .n_columns = 1, .has_n = true, .compute = shift_compute};
const struct lb_window_class lb_window_lead = {.name = "lead",
                                               .need = LB_NEED_NEAR,
                                               .n_columns = 1,
                                               .is_near_ahead = true,
                                               .has_n = true,
                                               .compute = shift_compute};

/* ---- first, last, nth_value ---- */

static lb_status place_open(struct lb_window_fn *fn, struct lb_worker *worker, struct lb_error *err)
{
    (void)worker;
    fn->state = lb_alloc_zero(sizeof(struct lb_buf));
    return fn->state != NULL ? LB_OK : lb_error_memory(err, fn->label, sizeof(struct lb_buf));
}

static void place_close(struct lb_window_fn *fn)
{
    lb_buf_fini(fn->state);
    lb_free(fn->state, sizeof(struct lb_buf));
}

static lb_status place_compute(struct lb_window_fn *fn, const struct lb_window_rows *rows,
                               const struct lb_window_part *part, struct lb_error *err)
{
    const struct lb_column *column = lb_window_column(rows, fn->column);
    struct lb_buf *saved = fn->state; /* of the frame that begins with the partition, encoded */
    bool is_last = fn->class == &lb_window_last;
    uint64_t nth = fn->class == &lb_window_nth_value ? (uint64_t)fn->n - 1 : 0;
    uint64_t end = lb_window_place(part, part->end);
    if (!is_last && rows->from_is_open && nth >= part->before && nth < end) {
        saved->size = 0;
        LB_TRY(lb_codec_put_column(saved, column, lb_window_row(part, nth), err));
    }
    for (uint32_t row = part->out; row < part->out_end; row++) {
        uint64_t lo = rows->lo[row], hi = rows->hi[row];
        if (hi - lo <= nth) {
            LB_TRY(lb_builder_null(&fn->out, err));
            continue;
        }
        uint64_t place = is_last ? hi - 1 : lo + nth;
        if (place >= part->before)
            LB_TRY(put(fn, column, lb_window_row(part, place), err));
        else
            LB_TRY(lb_builder_encoded(&fn->out, saved->data, saved->size, err));
    }
    return LB_OK;
}

const struct lb_window_class lb_window_first = {.name = "first",
                                                .need = LB_NEED_FRAME,
                                                .n_columns = 1,
                                                .open = place_open,
                                                .close = place_close,
                                                .compute = place_compute};
const struct lb_window_class lb_window_last = {.name = "last",
                                               .need = LB_NEED_FRAME,
                                               .n_columns = 1,
                                               .open = place_open,
                                               .close = place_close,
                                               .compute = place_compute};
const struct lb_window_class lb_window_nth_value = {.name = "nth_value",
                                                    .need = LB_NEED_FRAME,
                                                    .n_columns = 1,
                                                    .has_n = true,
                                                    .least_n = 1,
                                                    .open = place_open,
                                                    .close = place_close,
                                                    .compute = place_compute};
