/* Aggregates of the distinct values of a frame: count_distinct, median, quantile, mode, and the lists.
 *
 * IDEA   The values of a piece are sorted once; the rank of a row's value is its number among the distinct ones. Then a frame
 *        is an array of counts by rank, and a row comes in or goes out by one count. Above the counts lies a tree: for
 *        quantiles it has sums (a Fenwick tree, whose k-th value is found by descent), for mode the greatest count and
 *        where it is. So each row costs O(log n) at most, whatever the frame.
 * PIECES Ranks are made anew for each piece, which therefore must have the whole frames of its rows: LB_NEED_WHOLE. */
#include <math.h>
#include <stdlib.h>

#include "core/algo/window_private.h"
#include "core/base/sys.h"

/* A value of the piece, in order. */
struct sorted {
    struct lb_value value;
    uint32_t row;
};

struct set_state {
    double p; /* of quantile */
    struct sorted *sorted;
    uint32_t *ranks;  /* of row first + i; NO_RANK: nil */
    uint32_t *starts; /* of each rank in sorted, and the end */
    uint64_t *counts; /* by rank */
    uint64_t *tree;
    uint32_t capacity; /* rows that there is room for */
    uint32_t n_sorted;
    uint32_t n_ranks;
    uint32_t n_leaves; /* of mode's tree: a power of two */
    uint64_t n;        /* values in the frame */
    uint64_t n_distinct;
    uint64_t from; /* places in the frame */
    uint64_t to;
    struct lb_buf list;
    uint32_t *picked; /* ranks of a frame */
};

static const uint32_t NO_RANK = UINT32_MAX;

static void set_free(struct set_state *state)
{
    size_t n = state->capacity;
    lb_free(state->sorted, n * sizeof *state->sorted);
    lb_free(state->ranks, n * sizeof *state->ranks);
    lb_free(state->starts, (n + 1) * sizeof *state->starts);
    lb_free(state->counts, n * sizeof *state->counts);
    lb_free(state->tree, (4 * n + 4) * sizeof *state->tree);
    lb_free(state->picked, n * sizeof *state->picked);
    state->sorted = NULL;
    state->ranks = state->starts = state->picked = NULL;
    state->counts = state->tree = NULL;
    state->capacity = 0;
}

static void set_close(struct lb_window_fn *fn)
{
    struct set_state *state = fn->state;
    if (state->capacity > 0)
        set_free(state);
    lb_buf_fini(&state->list);
    lb_free(state, sizeof *state);
}

static lb_status set_open(struct lb_window_fn *fn, struct lb_worker *worker, struct lb_error *err)
{
    (void)worker;
    struct lb_value field;
    struct set_state *state = fn->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, fn->label, sizeof *state);
    state->p = 0.5;
    if (lb_value_field(&fn->params, "p", &field)) {
        state->p = field.tag == 'i' ? (double)field.i : field.tag == 'd' ? field.d : -1;
        if (!(state->p >= 0 && state->p <= 1))
            return lb_error_set(err, LB_ERR_INTERNAL, "plan: window: p is wrong");
    }
    return LB_OK;
}

static size_t set_bytes(const struct lb_window_fn *fn)
{
    const struct set_state *state = fn->state;
    return state->capacity *
           (sizeof *state->sorted + 3 * sizeof *state->ranks + 5 * sizeof *state->counts);
}

static lb_status make_room(struct lb_window_fn *fn, uint32_t n, struct lb_error *err)
{
    struct set_state *state = fn->state;
    if (n <= state->capacity)
        return LB_OK;
    uint32_t capacity = n + n / 2;
    if (state->capacity > 0)
        set_free(state);
    state->sorted = lb_alloc(capacity * sizeof *state->sorted);
    state->ranks = lb_alloc(capacity * sizeof *state->ranks);
    state->starts = lb_alloc(((size_t)capacity + 1) * sizeof *state->starts);
    state->counts = lb_alloc(capacity * sizeof *state->counts);
    state->tree = lb_alloc((4 * (size_t)capacity + 4) * sizeof *state->tree);
    state->picked = lb_alloc(capacity * sizeof *state->picked);
    state->capacity = capacity;
    if (state->sorted != NULL && state->ranks != NULL && state->starts != NULL &&
        state->counts != NULL && state->tree != NULL && state->picked != NULL)
        return LB_OK;
    set_free(state);
    return lb_error_memory(err, fn->label, capacity * sizeof *state->sorted);
}

/* Sort keys have NaN last and all of them equal, as wanted here. Tables, the only values whose comparison may want for
 * memory, are compared by their bytes then. */
static int compare(const void *a, const void *b)
{
    const struct sorted *x = a, *y = b;
    int order = 0;
    if (x->value.tag == 'i' && y->value.tag == 'i')
        order = (x->value.i > y->value.i) - (x->value.i < y->value.i);
    else if (lb_window_compare(&x->value, &y->value, &order, NULL) != LB_OK)
        order = 0;
    return order != 0 ? order : (x->row > y->row) - (x->row < y->row);
}

static bool is_same(const struct lb_value *a, const struct lb_value *b, struct lb_error *err,
                    lb_status *status)
{
    int order = 0;
    *status = lb_window_compare(a, b, &order, err);
    return order == 0;
}

/* Sorts and ranks the values of the rows first..end. */
static lb_status rank_rows(struct lb_window_fn *fn, const struct lb_column *column, uint32_t first,
                           uint32_t end, bool numbers_only, struct lb_error *err)
{
    struct set_state *state = fn->state;
    LB_TRY(make_room(fn, end - first > 0 ? end - first : 1, err));
    state->n_sorted = 0;
    for (uint32_t row = first; row < end; row++) {
        struct lb_value value = lb_column_value(column, row);
        state->ranks[row - first] = NO_RANK;
        if (value.tag == 'n')
            continue;
        if (numbers_only && value.tag != 'i' && value.tag != 'd')
            return lb_window_wrong_type(fn, &value, "a number", err);
        state->sorted[state->n_sorted++] = (struct sorted){value, row - first};
    }
    if (state->n_sorted > 1)
        qsort(state->sorted, state->n_sorted, sizeof *state->sorted, compare);
    state->n_ranks = 0;
    for (uint32_t i = 0; i < state->n_sorted; i++) {
        lb_status status = LB_OK;
        if (i == 0 || !is_same(&state->sorted[i - 1].value, &state->sorted[i].value, err, &status))
            state->starts[state->n_ranks++] = i;
        LB_TRY(status);
        state->ranks[state->sorted[i].row] = state->n_ranks - 1;
    }
    state->starts[state->n_ranks] = state->n_sorted;
    if (state->n_ranks > 0)
        memset(state->counts, 0, state->n_ranks * sizeof *state->counts);
    state->n_leaves = 1;
    while (state->n_leaves < state->n_ranks)
        state->n_leaves *= 2;
    memset(state->tree, 0, 2 * (size_t)state->n_leaves * sizeof *state->tree);
    state->n = state->n_distinct = 0;
    return LB_OK;
}

/* One more (by = 1) or one less (-1) of a rank. */
static void change(struct lb_window_fn *fn, uint32_t rank, int64_t by)
{
    struct set_state *state = fn->state;
    if (rank == NO_RANK)
        return;
    state->n_distinct += by > 0 && state->counts[rank] == 0;
    state->counts[rank] += (uint64_t)by;
    state->n_distinct -= by < 0 && state->counts[rank] == 0;
    state->n += (uint64_t)by;
    if (fn->class == &lb_window_median || fn->class == &lb_window_quantile) {
        for (uint32_t i = rank + 1; i <= state->n_leaves; i += i & -i)
            state->tree[i - 1] += (uint64_t)by;
    } else if (fn->class == &lb_window_mode) {
        uint32_t i = state->n_leaves + rank; /* node i has the children 2i and 2i + 1 */
        state->tree[i] = state->counts[rank];
        for (i /= 2; i > 0; i /= 2) {
            uint64_t left = state->tree[2 * i], right = state->tree[2 * i + 1];
            state->tree[i] = left > right ? left : right;
        }
    }
}

/* The rank of the k-th value of the frame, from 0. */
static uint32_t find(const struct set_state *state, uint64_t k)
{
    uint32_t at = 0;
    for (uint32_t step = state->n_leaves; step > 0; step /= 2) {
        if (at + step <= state->n_leaves && state->tree[at + step - 1] <= k) {
            at += step;
            k -= state->tree[at - 1];
        }
    }
    return at;
}

static double number_of(const struct set_state *state, uint32_t rank)
{
    const struct lb_value *value = &state->sorted[state->starts[rank]].value;
    return value->tag == 'i' ? (double)value->i : value->d;
}

/* Of the equal values of a rank that are in the frame, the one that stands for them: an integer before a float. */
static const struct lb_value *value_of(const struct set_state *state, uint32_t rank,
                                       uint32_t first_row, uint32_t end_row)
{
    const struct lb_value *best = NULL;
    for (uint32_t i = state->starts[rank]; i < state->starts[rank + 1]; i++) {
        const struct sorted *one = &state->sorted[i];
        if (one->row < first_row || one->row >= end_row)
            continue;
        int kind = lb_group_rank(one->value.tag);
        if (best == NULL || (kind == 3 && lb_group_prefers(&one->value, best))) {
            best = &one->value;
        } else if (kind >= 5) {
            size_t size, best_size;
            const char *data = lb_value_encoded(&one->value, &size);
            const char *best_data = lb_value_encoded(best, &best_size);
            if (lb_key_compare(data, size, best_data, best_size) > 0)
                best = &one->value;
        }
        if (kind <= 2 || kind == 4)
            break; /* all are the same */
    }
    return best;
}

static int compare_ranks(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static lb_status put_list(struct lb_window_fn *fn, const struct lb_column *column, uint32_t base,
                          uint32_t first, uint32_t end, struct lb_error *err)
{
    struct set_state *state = fn->state;
    size_t mark;
    uint32_t count = 0;
    state->list.size = 0;
    LB_TRY(lb_codec_begin(&state->list, 'l', &mark, err));
    if (fn->class == &lb_window_collect_list) {
        for (uint32_t row = first; row < end; row++) {
            if (lb_column_value(column, row).tag == 'n')
                continue;
            LB_TRY(lb_codec_put_column(&state->list, column, row, err));
            count++;
        }
    } else {
        uint32_t n = 0;
        for (uint32_t row = first; row < end; row++)
            if (state->ranks[row - base] != NO_RANK)
                state->picked[n++] = state->ranks[row - base];
        if (n > 1)
            qsort(state->picked, n, sizeof *state->picked, compare_ranks);
        for (uint32_t i = 0; i < n; i++) {
            if (i > 0 && state->picked[i] == state->picked[i - 1])
                continue;
            const struct lb_value *value =
                value_of(state, state->picked[i], first - base, end - base);
            LB_TRY(lb_codec_put_value(&state->list, value, err));
            count++;
        }
    }
    if (count == 0)
        return lb_builder_null(&fn->out, err);
    lb_codec_end(&state->list, mark, count);
    return lb_builder_encoded(&fn->out, state->list.data, state->list.size, err);
}

static lb_status put_number(struct lb_window_fn *fn, uint32_t first, uint32_t end,
                            struct lb_error *err)
{
    struct set_state *state = fn->state;
    if (fn->class == &lb_window_count_distinct || fn->class == &lb_window_approx_count_distinct)
        return lb_builder_int(&fn->out, (int64_t)state->n_distinct, err);
    if (state->n == 0)
        return lb_builder_null(&fn->out, err);
    if (fn->class == &lb_window_mode) {
        uint32_t i = 1;
        while (i < state->n_leaves)
            i = state->tree[2 * i] == state->tree[i] ? 2 * i : 2 * i + 1;
        return lb_builder_value(&fn->out, value_of(state, i - state->n_leaves, first, end), err);
    }
    /* As group_state_set.c: between two values on the line between them. */
    double place = (double)(state->n - 1) * state->p;
    uint64_t below = (uint64_t)place;
    double part = place - (double)below;
    uint32_t rank = find(state, below);
    double value = number_of(state, rank);
    if (part > 0) {
        uint32_t next = find(state, below + 1);
        if (next != rank)
            value = lb_group_between(value, number_of(state, next), part);
    }
    return lb_builder_float(&fn->out, value, err);
}

static lb_status set_compute(struct lb_window_fn *fn, const struct lb_window_rows *rows,
                             const struct lb_window_part *part, struct lb_error *err)
{
    struct set_state *state = fn->state;
    const struct lb_column *column = lb_window_column(rows, fn->column);
    bool is_list = fn->class == &lb_window_collect_list || fn->class == &lb_window_collect_set;
    bool numbers = fn->class == &lb_window_median || fn->class == &lb_window_quantile;
    uint64_t base = rows->lo[part->out], last = rows->hi[part->out_end - 1];
    last = last > base ? last : base;
    uint32_t first = lb_window_row(part, base);
    if (fn->class != &lb_window_collect_list)
        LB_TRY(rank_rows(fn, column, first, lb_window_row(part, last), numbers, err));
    state->from = state->to = base;
    for (uint32_t row = part->out; row < part->out_end; row++) {
        uint64_t lo = rows->lo[row], hi = rows->hi[row];
        if (row > part->out && lo == rows->lo[row - 1] && hi == rows->hi[row - 1]) {
            LB_TRY(lb_window_repeat(&fn->out, err));
            continue;
        }
        if (is_list) {
            LB_TRY(
                put_list(fn, column, first, lb_window_row(part, lo), lb_window_row(part, hi), err));
            continue;
        }
        for (; state->to < hi; state->to++)
            change(fn, state->ranks[state->to - base], 1);
        for (; state->from < lo; state->from++)
            if (state->from < state->to)
                change(fn, state->ranks[state->from - base], -1);
        state->to = state->to > lo ? state->to : lo;
        LB_TRY(put_number(fn, (uint32_t)(lo - base), (uint32_t)(hi - base), err));
    }
    return LB_OK;
}

#define SET_CLASS(text)                                                                            \
    {                                                                                              \
        .name = text, .need = LB_NEED_WHOLE, .n_columns = 1, .open = set_open, .close = set_close, \
        .compute = set_compute, .held_bytes = set_bytes                                            \
    }

const struct lb_window_class lb_window_count_distinct = SET_CLASS("count_distinct");
const struct lb_window_class lb_window_approx_count_distinct = SET_CLASS("approx_count_distinct");
const struct lb_window_class lb_window_median = SET_CLASS("median");
const struct lb_window_class lb_window_quantile = SET_CLASS("quantile");
const struct lb_window_class lb_window_mode = SET_CLASS("mode");
const struct lb_window_class lb_window_collect_list = SET_CLASS("collect_list");
const struct lb_window_class lb_window_collect_set = SET_CLASS("collect_set");
