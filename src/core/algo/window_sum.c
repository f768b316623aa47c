/* count, sum and avg over frames: rows come in at one end and are taken out at the other, O(1) each.
 *
 * IDEA   Taking out needs sums that lose nothing. Integers are summed in 128 bits, floats in algo/exact_sum.h. So the result is the
 *        frame's exact sum, rounded once, whatever was in it before: it does not depend on how a partition was
 *        cut. (A float plus and minus another is not itself again, hence no plain doubles.) The sums of
 *        group_state.h keep 80 bits below the largest value, so of values that differ by less they are the same. */
#include "core/algo/exact_sum.h"
#include "core/algo/window_private.h"
#include "core/base/sys.h"

struct sum_state {
    uint64_t from; /* the places from..to are in */
    uint64_t to;
    uint64_t n_ints;
    uint64_t n_floats;
    __int128 ints;
    struct lb_exact_sum floats;
};

static lb_status sum_open(struct lb_window_fn *fn, struct lb_worker *worker, struct lb_error *err)
{
    (void)worker;
    struct sum_state *state = fn->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, fn->label, sizeof *state);
    lb_exact_sum_init(&state->floats);
    return LB_OK;
}

static void sum_close(struct lb_window_fn *fn)
{
    lb_free(fn->state, sizeof(struct sum_state));
}

static inline void add_int(struct sum_state *state, int64_t value, int sign)
{
    state->ints += sign > 0 ? (__int128)value : -(__int128)value;
    state->n_ints += (uint64_t)(int64_t)sign;
}

static inline void add_float(struct sum_state *state, double value, int sign)
{
    if (sign > 0)
        lb_exact_sum_add(&state->floats, value);
    else
        lb_exact_sum_remove(&state->floats, value);
    state->n_floats += (uint64_t)(int64_t)sign;
}

/* Takes a row in (sign 1) or out (-1). */
static inline lb_status change(struct lb_window_fn *fn, const struct lb_column *column,
                               uint32_t row, int sign, struct lb_error *err)
{
    struct sum_state *state = fn->state;
    if (column->type == LB_FLOAT64 && column->valid == NULL) {
        add_float(state, column->floats[row], sign);
        return LB_OK;
    }
    if (column->type == LB_INT64 && column->valid == NULL) {
        add_int(state, column->ints[row], sign);
        return LB_OK;
    }
    struct lb_value value = lb_column_value(column, row);
    if (value.tag == 'n')
        return LB_OK;
    if (fn->class == &lb_window_count)
        state->n_ints += (uint64_t)(int64_t)sign;
    else if (value.tag == 'i')
        add_int(state, value.i, sign);
    else if (value.tag == 'd')
        add_float(state, value.d, sign);
    else
        return lb_window_wrong_type(fn, &value, "a number", err);
    return LB_OK;
}

static lb_status put(struct lb_window_fn *fn, struct lb_error *err)
{
    struct sum_state *state = fn->state;
    uint64_t n = state->n_ints + state->n_floats;
    bool is_avg = fn->class == &lb_window_avg;
    if (fn->class == &lb_window_count)
        return lb_builder_int(&fn->out, (int64_t)n, err);
    if (n == 0)
        return lb_builder_null(&fn->out, err);
    if (state->n_floats > 0) {
        double sum = lb_exact_sum_value(&state->floats, state->ints);
        return lb_builder_float(&fn->out, is_avg ? sum / (double)n : sum, err);
    }
    __int128 sum = state->ints;
    const int64_t exact = (int64_t)1 << 53;
    if (is_avg)
        return lb_builder_float(&fn->out,
                                sum > -exact && sum < exact && n < (uint64_t)exact
                                    ? (double)(int64_t)sum / (double)n
                                    : lb_group_quotient(sum, n),
                                err);
    if (sum != (int64_t)sum)
        return lb_error_set(err, LB_ERR_DATA,
                            "%s: integer overflow: the sum does not fit 64 bits; add 0.0 to the "
                            "values for a float",
                            fn->label);
    return lb_builder_int(&fn->out, (int64_t)sum, err);
}

static lb_status sum_compute(struct lb_window_fn *fn, const struct lb_window_rows *rows,
                             const struct lb_window_part *part, struct lb_error *err)
{
    struct sum_state *state = fn->state;
    if (fn->class == &lb_window_count && fn->column == LB_NO_COLUMN) {
        for (uint32_t row = part->out; row < part->out_end; row++)
            LB_TRY(lb_builder_int(&fn->out, (int64_t)(rows->hi[row] - rows->lo[row]), err));
        return LB_OK;
    }
    const struct lb_column *column = lb_window_column(rows, fn->column);
    if (part->begins) {
        memset(state, 0, offsetof(struct sum_state, floats));
        lb_exact_sum_init(&state->floats);
    }
    for (uint32_t row = part->out; row < part->out_end; row++) {
        uint64_t lo = rows->lo[row], hi = rows->hi[row];
        if (row > part->out && lo == rows->lo[row - 1] && hi == rows->hi[row - 1]) {
            LB_TRY(lb_window_repeat(&fn->out, err));
            continue;
        }
        for (; state->from < lo && state->from < state->to; state->from++)
            LB_TRY(change(fn, column, lb_window_row(part, state->from), -1, err));
        if (state->from < lo)
            state->from = state->to = lo;
        for (; state->to < hi; state->to++)
            LB_TRY(change(fn, column, lb_window_row(part, state->to), 1, err));
        LB_TRY(put(fn, err));
    }
    return LB_OK;
}

#define SUM_CLASS(text, n_columns_)                                                     \
    {                                                                                   \
        .name = text, .need = LB_NEED_FRAME, .n_columns = n_columns_, .open = sum_open, \
        .close = sum_close, .compute = sum_compute                                      \
    }

const struct lb_window_class lb_window_count = SUM_CLASS("count", 0);
const struct lb_window_class lb_window_sum = SUM_CLASS("sum", 1);
const struct lb_window_class lb_window_avg = SUM_CLASS("avg", 1);
