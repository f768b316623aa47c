/* Transforms that give records their windows of time, which a group then has as a key: time_window and session.
 *
 *  time_window  column, columns, size, every?, offset?. Window k is [offset + k * every, offset + k * every + size). A record
 *               goes on once for each window that its time falls into, with the window's start as one more column behind the
 *               `columns` that records have; in order of the starts. A time is a number of seconds or ISO 8601 text. Records without
 *               a time go nowhere. Without `every` windows lie side by side (tumbling).
 *  session      columns, gap. On records (key, time, columns...) in order of key and time, where a morsel has all
 *               records of a key. A record belongs to the session of the one before if it has its key and comes less than `gap` behind it.
 *               Goes on as columns..., start of its session, time.
 *
 * NUMBERS  Where the parameters and the time are integers all is exact; else it is computed in doubles, by the very expressions
 *          above, and the window of a time is one that contains it by its printed bounds. The start of window k + 1 is then the
 *          end of a tumbling window k. */
#include <math.h>

#include "core/base/sys.h"
#include "core/column/builder.h"
#include "core/column/codec.h"
#include "core/column/key.h"
#include "core/expr/expr.h"
#include "core/ops/ops.h"

/* Beyond this many windows from 0 a double cannot tell them apart any more. */
static const double MAX_WINDOW = 4503599627370496.0; /* 2^52 */

struct number {
    bool is_integer;
    int64_t i;
    double d; /* also of an integer */
};

struct window_shared {
    uint32_t column;    /* 0-based; time_window */
    uint32_t n_columns; /* that records have */
    bool is_integer;    /* all parameters are */
    bool tumbles;
    struct number size, every, offset; /* size is the gap of a session */
};

struct window_local {
    struct lb_builder starts;
    struct lb_batch_builder rows; /* of windows that overlap */
    struct lb_column columns[LB_MAX_COLUMNS];
    uint32_t *select;
    uint32_t select_capacity;
    /* session: the record before */
    struct lb_buf key, next_key;
    bool has_last;
    struct number last, start;
};

/* The windows of one time. */
struct windows {
    bool is_integer;
    uint64_t n;
    int64_t first_start; /* is_integer: where the first begins; */
    double first;        /* else its number */
};

static struct number integer(int64_t i)
{
    return (struct number){true, i, (double)i};
}

/* ---- opening and closing ---- */

static lb_status param_number(const struct lb_op *self, const char *key, bool must_be_positive,
                              struct number *number, struct lb_error *err)
{
    struct lb_value field;
    *number = integer(0);
    if (lb_value_field(&self->params, key, &field)) {
        if (field.tag == 'i')
            *number = integer(field.i);
        else if (field.tag == 'd' && isfinite(field.d))
            *number = (struct number){false, 0, field.d};
        else
            return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: wrong %s", self->label, key);
    }
    if (must_be_positive && !(number->d > 0))
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: wrong %s", self->label, key);
    return LB_OK;
}

static lb_status open_shared(struct lb_op *self, const char *size, struct lb_error *err)
{
    int64_t column = 0, columns = 0;
    struct window_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    LB_TRY(lb_param_int(self, "column", 1, &column, err));
    LB_TRY(lb_param_int(self, "columns", 0, &columns, err));
    LB_TRY(param_number(self, size, true, &shared->size, err));
    if (column < 1 || columns < column || columns + 2 > LB_MAX_COLUMNS)
        return lb_error_set(err, LB_ERR_USAGE, "%s: %lld columns", self->label, (long long)columns);
    shared->column = (uint32_t)column - 1;
    shared->n_columns = (uint32_t)columns;
    return LB_OK;
}

static lb_status window_open(struct lb_op *self, struct lb_error *err)
{
    struct lb_value field;
    LB_TRY(open_shared(self, "size", err));
    struct window_shared *shared = self->shared;
    shared->tumbles = !lb_value_field(&self->params, "every", &field);
    LB_TRY(param_number(self, "offset", false, &shared->offset, err));
    LB_TRY(param_number(self, shared->tumbles ? "size" : "every", true, &shared->every, err));
    shared->is_integer =
        shared->size.is_integer && shared->every.is_integer && shared->offset.is_integer;
    return LB_OK;
}

static lb_status session_open(struct lb_op *self, struct lb_error *err)
{
    return open_shared(self, "gap", err);
}

static void window_close(struct lb_op *self)
{
    lb_free(self->shared, sizeof(struct window_shared));
    self->shared = NULL;
}

static lb_status window_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct window_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    lb_builder_init(&state->starts);
    lb_batch_builder_init(&state->rows);
    return LB_OK;
}

static void window_detach(struct lb_op_local *local)
{
    struct window_local *state = local->state;
    lb_builder_fini(&state->starts);
    lb_batch_builder_fini(&state->rows);
    lb_free(state->select, state->select_capacity * sizeof *state->select);
    lb_buf_fini(&state->key);
    lb_buf_fini(&state->next_key);
    lb_free(state, sizeof *state);
}

static lb_status window_begin(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    ((struct window_local *)local->state)->has_last = false;
    return LB_OK;
}

/* ---- times ---- */

/* The number or text in a column; *is_there is false for nil. */
static lb_status read_time(const struct lb_op *op, const struct lb_batch *batch,
                           const struct lb_column *column, uint32_t row, struct number *time,
                           bool *is_there, struct lb_error *err)
{
    struct lb_value value = lb_column_value(column, row);
    int64_t seconds = 0;
    double fraction = 0;
    *is_there = value.tag != 'n';
    if (value.tag == 'i') {
        *time = integer(value.i);
        return LB_OK;
    }
    if (value.tag == 'd' && isfinite(value.d)) {
        *time = (struct number){false, 0, value.d};
        return LB_OK;
    }
    if (value.tag == 's' && lb_time_seconds(value.data, value.size, &seconds, &fraction)) {
        *time = fraction == 0 ? integer(seconds)
                              : (struct number){false, 0, (double)seconds + fraction};
        return LB_OK;
    }
    return *is_there ? lb_op_fail_at(op, batch, row,
                                     "no time (a number of seconds, or text such as 2024-01-31 or "
                                     "2024-01-31T12:30:00)",
                                     err)
                     : LB_OK;
}

/* ---- windows ---- */

static __int128 floor_divide(__int128 a, __int128 b)
{
    __int128 q = a / b;
    return q * b > a ? q - 1 : q;
}

static double start_of(const struct window_shared *shared, double k)
{
    return k * shared->every.d + shared->offset.d;
}

/* False: too far away. */
static bool find_windows(const struct window_shared *shared, const struct number *time,
                         struct windows *windows)
{
    if (shared->is_integer && time->is_integer) {
        __int128 every = shared->every.i, from = (__int128)time->i - shared->offset.i;
        __int128 last = floor_divide(from, every);
        __int128 first = shared->tumbles ? last : floor_divide(from - shared->size.i, every) + 1;
        __int128 first_start = first * every + shared->offset.i;
        __int128 end = last * every + shared->offset.i + shared->size.i;
        windows->is_integer = true;
        windows->first_start = (int64_t)first_start;
        windows->n = last >= first ? (uint64_t)(last - first) + 1 : 0;
        return first_start >= INT64_MIN && end <= INT64_MAX;
    }
    double t = time->d, from = t - shared->offset.d;
    double last = floor(from / shared->every.d);
    windows->is_integer = false;
    if (!(fabs(last) < MAX_WINDOW))
        return false;
    while (start_of(shared, last) > t)
        last--;
    while (start_of(shared, last + 1) <= t)
        last++;
    double first = last;
    if (!shared->tumbles) {
        first = floor((from - shared->size.d) / shared->every.d) + 1;
        if (!(fabs(first) < MAX_WINDOW))
            return false;
        while (start_of(shared, first - 1) + shared->size.d > t)
            first--;
        while (start_of(shared, first) + shared->size.d <= t)
            first++;
    }
    windows->first = first;
    windows->n = last >= first ? (uint64_t)(last - first) + 1 : 0;
    return true;
}

static lb_status put_start(const struct window_shared *shared, const struct windows *windows,
                           uint64_t i, struct lb_builder *out, struct lb_error *err)
{
    if (windows->is_integer)
        return lb_builder_int(out, windows->first_start + (int64_t)i * shared->every.i, err);
    return lb_builder_float(out, start_of(shared, windows->first + (double)i), err);
}

static lb_status windows_of(struct lb_op_local *local, const struct lb_batch *batch,
                            const struct lb_column *times, uint32_t row, struct windows *windows,
                            bool *is_there, struct lb_error *err)
{
    struct number time;
    LB_TRY(read_time(local->op, batch, times, row, &time, is_there, err));
    if (*is_there && !find_windows(local->op->shared, &time, windows))
        return lb_op_fail_at(local->op, batch, row, "the time is too far away", err);
    return LB_OK;
}

/* Room for a selection of n rows. */
static lb_status ready_select(struct lb_op_local *local, uint32_t n, struct lb_error *err)
{
    struct window_local *state = local->state;
    if (n <= state->select_capacity)
        return LB_OK;
    uint32_t *grown = lb_realloc(state->select, state->select_capacity * sizeof *grown,
                                 (size_t)n * sizeof *grown);
    if (grown == NULL)
        return lb_error_memory(err, local->op->label, (size_t)n * sizeof *grown);
    state->select = grown;
    state->select_capacity = n;
    return LB_OK;
}

/* Windows side by side: columns go on as they are, with one more. */
static lb_status push_tumbling(struct lb_op_local *local, const struct lb_batch *batch,
                               struct lb_error *err)
{
    const struct window_shared *shared = local->op->shared;
    struct window_local *state = local->state;
    struct lb_column times = lb_batch_column(batch, shared->column);
    uint32_t n = 0;
    LB_TRY(ready_select(local, batch->n_selected, err));
    lb_builder_reset(&state->starts);
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        struct windows windows;
        bool is_there = false;
        LB_TRY(windows_of(local, batch, &times, row, &windows, &is_there, err));
        if (!is_there)
            continue;
        while (state->starts.n_rows < row)
            LB_TRY(lb_builder_null(&state->starts, err));
        LB_TRY(put_start(shared, &windows, 0, &state->starts, err));
        state->select[n++] = row;
    }
    while (state->starts.n_rows < batch->n_rows)
        LB_TRY(lb_builder_null(&state->starts, err));
    for (uint32_t i = 0; i < shared->n_columns; i++)
        state->columns[i] = lb_batch_column(batch, i);
    state->columns[shared->n_columns] = lb_builder_finish(&state->starts);
    struct lb_batch out = lb_batch_same_rows(batch, state->columns, shared->n_columns + 1);
    out.select = n < batch->n_rows ? state->select : NULL;
    out.n_selected = n;
    return lb_push(local->next, &out, err);
}

static lb_status flush(struct lb_op_local *local, const struct lb_batch *parent,
                       struct lb_error *err)
{
    struct lb_batch_builder *rows = &((struct window_local *)local->state)->rows;
    if (rows->n_rows > 0)
        LB_TRY(lb_push(local->next, lb_batch_builder_finish(rows, parent), err));
    lb_batch_builder_reset(rows);
    return LB_OK;
}

static lb_status push_sliding(struct lb_op_local *local, const struct lb_batch *batch,
                              struct lb_error *err)
{
    const struct window_shared *shared = local->op->shared;
    struct window_local *state = local->state;
    struct lb_column times = lb_batch_column(batch, shared->column);
    lb_batch_builder_reset(&state->rows);
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        struct windows windows = {.n = 0};
        bool is_there = false;
        LB_TRY(windows_of(local, batch, &times, row, &windows, &is_there, err));
        uint64_t n = is_there ? windows.n : 0;
        for (uint64_t k = 0; k < n; k++) {
            struct lb_builder *column = NULL;
            for (uint32_t j = 0; j < shared->n_columns; j++) {
                struct lb_column from = lb_batch_column(batch, j);
                LB_TRY(lb_batch_builder_column(&state->rows, j, &column, err));
                LB_TRY(lb_builder_column(column, &from, row, err));
            }
            LB_TRY(lb_batch_builder_column(&state->rows, shared->n_columns, &column, err));
            LB_TRY(put_start(shared, &windows, k, column, err));
            LB_TRY(lb_batch_builder_end_row(&state->rows, row, err));
            if (lb_batch_builder_is_full(&state->rows))
                LB_TRY(flush(local, batch, err));
        }
    }
    return flush(local, batch, err);
}

static lb_status window_push(struct lb_op_local *local, const struct lb_batch *batch,
                             struct lb_error *err)
{
    const struct window_shared *shared = local->op->shared;
    return shared->tumbles ? push_tumbling(local, batch, err) : push_sliding(local, batch, err);
}

/* ---- sessions ---- */

/* Whether `time` begins another session than the one whose last time is given. */
static bool is_apart(const struct number *last, const struct number *gap, const struct number *time)
{
    if (last->is_integer && gap->is_integer && time->is_integer)
        return (__int128)time->i - last->i >= gap->i;
    return time->d >= last->d + gap->d;
}

static lb_status session_push(struct lb_op_local *local, const struct lb_batch *batch,
                              struct lb_error *err)
{
    const struct window_shared *shared = local->op->shared;
    struct window_local *state = local->state;
    struct lb_column keys = lb_batch_column(batch, 0), times = lb_batch_column(batch, 1);
    lb_builder_reset(&state->starts);
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        struct number time;
        bool is_there = false;
        LB_TRY(read_time(local->op, batch, &times, row, &time, &is_there, err));
        if (!is_there)
            return lb_op_fail_at(local->op, batch, row, "no time", err);
        state->next_key.size = 0;
        LB_TRY(lb_key_put_column(&state->next_key, &keys, row, false, err));
        if (!state->has_last || is_apart(&state->last, &shared->size, &time) ||
            state->key.size != state->next_key.size ||
            memcmp(state->key.data, state->next_key.data, state->key.size) != 0)
            state->start = time;
        struct lb_buf other = state->key;
        state->key = state->next_key;
        state->next_key = other;
        state->last = time;
        state->has_last = true;
        while (state->starts.n_rows < row)
            LB_TRY(lb_builder_null(&state->starts, err));
        LB_TRY(state->start.is_integer ? lb_builder_int(&state->starts, state->start.i, err)
                                       : lb_builder_float(&state->starts, state->start.d, err));
    }
    while (state->starts.n_rows < batch->n_rows)
        LB_TRY(lb_builder_null(&state->starts, err));
    for (uint32_t i = 0; i < shared->n_columns; i++)
        state->columns[i] = lb_batch_column(batch, i + 2);
    state->columns[shared->n_columns] = lb_builder_finish(&state->starts);
    state->columns[shared->n_columns + 1] = times;
    struct lb_batch out = lb_batch_same_rows(batch, state->columns, shared->n_columns + 2);
    return lb_push(local->next, &out, err);
}

const struct lb_op_class lb_op_time_window = {
    .name = "time_window",
    .kind = LB_OP_TRANSFORM,
    .open = window_open,
    .attach = window_attach,
    .push = window_push,
    .detach = window_detach,
    .close = window_close,
};

const struct lb_op_class lb_op_session = {
    .name = "session",
    .kind = LB_OP_TRANSFORM,
    .open = session_open,
    .attach = window_attach,
    .begin = window_begin,
    .push = session_push,
    .detach = window_detach,
    .close = window_close,
};
