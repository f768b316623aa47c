/* min and max over frames, by a queue of the rows that can still become the best.
 *
 * IDEA   A row that is no better than a later one of the frame never counts again: it is dropped when that one comes. So
 *        the queue goes from the best to the worst and each row enters and leaves it once. Of a frame with an open
 *        beginning no row ever leaves, and the best alone is kept.
 * ORDER  of values as in group_state_value.c: numbers by value, NaN only when there is nothing else; of equal ones that
 *        which lb_group_prefers says. */
#include <math.h>

#include "core/algo/window_private.h"
#include "core/base/sys.h"

struct candidate {
    uint64_t place;
    struct lb_value value; /* borrows from the block */
};

struct extreme_state {
    struct candidate *queue; /* first..end, a piece of an array */
    size_t first;
    size_t end;
    size_t capacity;
    uint64_t to;         /* places before it were taken in */
    struct lb_buf saved; /* value of the best, between pieces */
};

static lb_status extreme_open(struct lb_window_fn *fn, struct lb_worker *worker,
                              struct lb_error *err)
{
    (void)worker;
    fn->state = lb_alloc_zero(sizeof(struct extreme_state));
    return fn->state != NULL ? LB_OK
                             : lb_error_memory(err, fn->label, sizeof(struct extreme_state));
}

static void extreme_close(struct lb_window_fn *fn)
{
    struct extreme_state *state = fn->state;
    lb_free(state->queue, state->capacity * sizeof *state->queue);
    lb_buf_fini(&state->saved);
    lb_free(state, sizeof *state);
}

static size_t extreme_bytes(const struct lb_window_fn *fn)
{
    const struct extreme_state *state = fn->state;
    return state->capacity * sizeof *state->queue;
}

static bool is_nan(const struct lb_value *value)
{
    return value->tag == 'd' && isnan(value->d);
}

/* Whether a stands before b in the queue even if b comes later. */
static lb_status wins(const struct lb_window_fn *fn, const struct lb_value *a,
                      const struct lb_value *b, bool *result, struct lb_error *err)
{
    int sign = fn->class == &lb_window_max ? 1 : -1;
    int order;
    if (a->tag == 'i' && b->tag == 'i') {
        *result = sign > 0 ? a->i > b->i : a->i < b->i;
        return LB_OK;
    }
    if (is_nan(a) || is_nan(b)) {
        *result = !is_nan(a) || (is_nan(b) && lb_group_prefers(a, b));
        return LB_OK;
    }
    if (a->tag == 'd' && b->tag == 'd' && a->d != b->d) {
        *result = sign > 0 ? a->d > b->d : a->d < b->d;
        return LB_OK;
    }
    LB_TRY(lb_window_compare(a, b, &order, err));
    *result = sign > 0 ? order > 0 : order < 0;
    if (order == 0 && lb_group_rank(a->tag) == 3) {
        *result = lb_group_prefers(a, b);
    } else if (order == 0 && (a->tag == 'l' || a->tag == 'm')) {
        size_t a_size, b_size;
        const char *a_data = lb_value_encoded(a, &a_size);
        const char *b_data = lb_value_encoded(b, &b_size);
        *result = lb_key_compare(a_data, a_size, b_data, b_size) > 0;
    }
    return LB_OK;
}

static lb_status take(struct lb_window_fn *fn, uint64_t place, const struct lb_value *value,
                      bool is_open, struct lb_error *err)
{
    struct extreme_state *state = fn->state;
    while (state->end > state->first) {
        bool better;
        LB_TRY(wins(fn, &state->queue[state->end - 1].value, value, &better, err));
        if (better && is_open)
            return LB_OK;
        if (better)
            break;
        state->end--;
    }
    if (state->end == state->first)
        state->first = state->end = 0;
    if (state->end == state->capacity && state->first > state->capacity / 2) {
        memmove(state->queue, state->queue + state->first,
                (state->end - state->first) * sizeof *state->queue);
        state->end -= state->first;
        state->first = 0;
    }
    if (state->end == state->capacity) {
        size_t capacity = state->capacity > 0 ? 2 * state->capacity : 16;
        struct candidate *queue =
            lb_realloc(state->queue, state->capacity * sizeof *queue, capacity * sizeof *queue);
        if (queue == NULL)
            return lb_error_memory(err, fn->label, capacity * sizeof *queue);
        state->queue = queue;
        state->capacity = capacity;
    }
    state->queue[state->end++] = (struct candidate){place, *value};
    return LB_OK;
}

/* The queue's values are where the new piece has them; what the piece has no more was saved. */
static void renew(struct extreme_state *state, const struct lb_column *column,
                  const struct lb_window_part *part)
{
    for (size_t i = state->first; i < state->end; i++) {
        struct candidate *candidate = &state->queue[i];
        if (candidate->place >= part->before) {
            candidate->value = lb_column_value(column, lb_window_row(part, candidate->place));
        } else {
            const char *cursor = state->saved.data;
            lb_codec_next(&cursor, &candidate->value);
        }
    }
}

static lb_status extreme_compute(struct lb_window_fn *fn, const struct lb_window_rows *rows,
                                 const struct lb_window_part *part, struct lb_error *err)
{
    struct extreme_state *state = fn->state;
    const struct lb_column *column = lb_window_column(rows, fn->column);
    if (part->begins) {
        state->first = state->end = 0;
        state->to = 0;
    } else {
        renew(state, column, part);
    }
    for (uint32_t row = part->out; row < part->out_end; row++) {
        uint64_t lo = rows->lo[row], hi = rows->hi[row];
        if (row > part->out && lo == rows->lo[row - 1] && hi == rows->hi[row - 1]) {
            LB_TRY(lb_window_repeat(&fn->out, err));
            continue;
        }
        for (state->to = state->to > lo ? state->to : lo; state->to < hi; state->to++) {
            struct lb_value value = lb_column_value(column, lb_window_row(part, state->to));
            if (value.tag != 'n')
                LB_TRY(take(fn, state->to, &value, rows->from_is_open, err));
        }
        while (state->first < state->end && state->queue[state->first].place < lo)
            state->first++;
        if (state->first == state->end)
            LB_TRY(lb_builder_null(&fn->out, err));
        else
            LB_TRY(lb_builder_value(&fn->out, &state->queue[state->first].value, err));
    }
    if (part->n_total > 0 && lb_window_place(part, part->end) == part->n_total &&
        part->out_end == part->end)
        return LB_OK;
    if (state->first < state->end && rows->from_is_open) {
        struct lb_buf saved = {0};
        lb_status status = lb_codec_put_value(&saved, &state->queue[state->first].value, err);
        lb_buf_fini(&state->saved);
        state->saved = saved;
        return status;
    }
    return LB_OK;
}

#define EXTREME_CLASS(text)                                                             \
    {                                                                                   \
        .name = text, .need = LB_NEED_FRAME, .n_columns = 1, .open = extreme_open,      \
        .close = extreme_close, .compute = extreme_compute, .held_bytes = extreme_bytes \
    }

const struct lb_window_class lb_window_min = EXTREME_CLASS("min");
const struct lb_window_class lb_window_max = EXTREME_CLASS("max");
