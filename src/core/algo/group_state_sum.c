/* sum and avg.
 *
 * STATES 32 bytes, or 16 for a column of integers (struct short_ints): what a random group costs are its cache lines.
 *        KIND_INTS       integers alone, in 128 bits, which 2^64 of them cannot overflow
 *        KIND_ONE_FLOAT  one float, as it is
 *        KIND_FLOATS     floats alone: a struct lb_short_sum
 *        KIND_WIDE       what does not fit the former (both types, more than 2^22 floats): in an array of its own
 * FORMAT of a partial: a byte of enum form, then what it says.
 * WHY NOT 128-bit bins for all floats: 100 000 groups took 63 ns a row for a sum and an average, with these 20. */
#include <math.h>

#include "core/algo/float_sum.h"
#include "core/algo/group_state_private.h"
#include "core/base/sys.h"

enum form {
    FORM_EMPTY,
    FORM_ONE_INT,   /* int64 */
    FORM_INT,       /* int64 sum, uint64 number of values */
    FORM_LONG,      /* int128 sum, uint64 number */
    FORM_ONE_FLOAT, /* double */
    FORM_FLOATS,    /* struct lb_short_sum */
    FORM_WIDE       /* int128 sum, uint64 number of all values, struct lb_float_sum */
};

enum kind { KIND_INTS, KIND_ONE_FLOAT, KIND_FLOATS, KIND_WIDE };

struct sum_state {
    union {
        struct {          /* KIND_INTS */
            uint64_t low; /* of the sum */
            int64_t high;
        };
        double first;               /* KIND_ONE_FLOAT */
        uint64_t slot;              /* KIND_WIDE: in wides */
        struct lb_short_sum short_; /* KIND_FLOATS; its n and owner (enum kind) are used by all */
    };
};

/* A state as fitted to a column of integers: of kind KIND_INTS while the sum has 64 bits, else KIND_WIDE. */
struct short_ints {
    union {
        int64_t sum;   /* KIND_INTS */
        uint64_t slot; /* KIND_WIDE */
    };
    uint32_t n;
    uint8_t spare[3];
    uint8_t owner;
};

struct wide {
    __int128 ints;
    uint64_t n; /* values, but for those in recent */
    uint64_t spare;
    struct lb_float_sum floats;
    struct lb_short_sum recent; /* floats not in floats yet */
};

struct sum_extra {
    struct wide *wides;
    size_t n;
    size_t capacity;
};

enum { KEEP_BYTES = 512 << 10 };

static lb_status sum_open(struct lb_group_state *self, struct lb_error *err)
{
    self->extra = lb_alloc_zero(sizeof(struct sum_extra));
    return self->extra != NULL ? LB_OK : lb_error_memory(err, "a sum", sizeof(struct sum_extra));
}

static void sum_close(struct lb_group_state *self)
{
    struct sum_extra *extra = self->extra;
    lb_free(extra->wides, extra->capacity * sizeof *extra->wides);
    lb_free(extra, sizeof *extra);
    self->extra = NULL;
}

static void sum_forget(struct lb_group_state *self)
{
    struct sum_extra *extra = self->extra;
    extra->n = 0;
    if (extra->capacity * sizeof *extra->wides > KEEP_BYTES) {
        lb_free(extra->wides, extra->capacity * sizeof *extra->wides);
        extra->wides = NULL;
        extra->capacity = 0;
    }
}

static size_t sum_bytes(const struct lb_group_state *self)
{
    const struct sum_extra *extra = self->extra;
    /* As if it had to grow with the next batch. */
    size_t bytes = extra->capacity * sizeof *extra->wides;
    return extra->n + LB_BATCH_ROWS > extra->capacity && extra->n > 0 ? 3 * bytes : bytes;
}

static inline __int128 whole(const struct sum_state *state)
{
    return (__int128)((unsigned __int128)(uint64_t)state->high << 64 | state->low);
}

static inline bool is_long(const struct sum_state *state)
{
    return state->high != (int64_t)state->low >> 63;
}

static void clear_wide(struct wide *wide)
{
    memset(wide, 0, sizeof *wide);
    lb_float_sum_init(&wide->floats);
}

/* The state's values as a wide one. */
static void get_wide(const struct lb_group_state *self, const struct sum_state *state,
                     struct wide *wide)
{
    if (state->short_.owner == KIND_WIDE) {
        *wide = ((const struct sum_extra *)self->extra)->wides[state->slot];
        lb_float_sum_merge_short(&wide->floats, &wide->recent);
        wide->n += wide->recent.n;
        memset(&wide->recent, 0, sizeof wide->recent);
        return;
    }
    clear_wide(wide);
    wide->n = state->short_.n;
    switch ((enum kind)state->short_.owner) {
    case KIND_ONE_FLOAT:
        lb_float_sum_add(&wide->floats, state->first);
        break;
    case KIND_FLOATS:
        lb_float_sum_merge_short(&wide->floats, &state->short_);
        break;
    default:
        wide->ints = whole(state);
    }
}

/* *wide is the state's; it holds until the next call. */
static lb_status make_wide(struct lb_group_state *self, struct sum_state *state, struct wide **wide,
                           struct lb_error *err)
{
    struct sum_extra *extra = self->extra;
    if (state->short_.owner != KIND_WIDE) {
        if (extra->n == extra->capacity) {
            size_t capacity = extra->capacity > 0 ? 2 * extra->capacity : 16;
            struct wide *wides =
                lb_realloc(extra->wides, extra->capacity * sizeof *wides, capacity * sizeof *wides);
            if (wides == NULL)
                return lb_error_memory(err, "sums", capacity * sizeof *wides);
            extra->wides = wides;
            extra->capacity = capacity;
        }
        get_wide(self, state, &extra->wides[extra->n]);
        memset(state, 0, sizeof *state);
        state->slot = extra->n++;
        state->short_.owner = KIND_WIDE;
    }
    *wide = &extra->wides[state->slot];
    return LB_OK;
}

static lb_status add_wide(struct lb_group_state *self, struct sum_state *state,
                          const struct lb_value *value, struct lb_error *err)
{
    struct wide *wide;
    LB_TRY(make_wide(self, state, &wide, err));
    if (value->tag == 'i') {
        wide->ints += value->i;
        wide->n++;
        return LB_OK;
    }
    if (wide->recent.n == LB_SHORT_SUM_MOST) {
        lb_float_sum_merge_short(&wide->floats, &wide->recent);
        wide->n += wide->recent.n;
        memset(&wide->recent, 0, sizeof wide->recent);
    }
    lb_short_sum_add(&wide->recent, value->d);
    return LB_OK;
}

static inline lb_status add_int(struct lb_group_state *self, struct sum_state *state, int64_t value,
                                struct lb_error *err)
{
    if (__builtin_expect(state->short_.owner != KIND_INTS || state->short_.n == UINT32_MAX, 0)) {
        const struct lb_value wide = {.tag = 'i', .i = value};
        return add_wide(self, state, &wide, err);
    }
    uint64_t low = state->low + (uint64_t)value;
    state->high += (value >> 63) + (low < state->low);
    state->low = low;
    state->short_.n++;
    return LB_OK;
}

/* Where the sum of floats is not just one more in a short sum. */
static lb_status add_other_float(struct lb_group_state *self, struct sum_state *state, double value,
                                 struct lb_error *err)
{
    const struct lb_value wide = {.tag = 'd', .d = value};
    if (state->short_.owner == KIND_INTS && state->short_.n == 0) {
        state->first = value;
        state->short_.owner = KIND_ONE_FLOAT;
        state->short_.n = 1;
        return LB_OK;
    }
    if (state->short_.owner != KIND_ONE_FLOAT)
        return add_wide(self, state, &wide, err);
    double first = state->first;
    memset(state, 0, sizeof *state);
    state->short_.owner = KIND_FLOATS;
    lb_short_sum_add(&state->short_, first);
    lb_short_sum_add(&state->short_, value);
    return LB_OK;
}

static inline lb_status add_float(struct lb_group_state *self, struct sum_state *state,
                                  double value, struct lb_error *err)
{
    if (__builtin_expect(state->short_.owner != KIND_FLOATS || state->short_.n == LB_SHORT_SUM_MOST,
                         0))
        return add_other_float(self, state, value, err);
    lb_short_sum_add(&state->short_, value);
    return LB_OK;
}

static lb_status add_value(struct lb_group_state *self, struct sum_state *state,
                           const struct lb_value *value, struct lb_error *err)
{
    return value->tag == 'd' ? add_float(self, state, value->d, err)
                             : add_int(self, state, value->i, err);
}

/* ---- states of 16 bytes ---- */

static inline bool is_fitted(const struct lb_group_state *self)
{
    return self->state_bytes == sizeof(struct short_ints);
}

static uint32_t sum_fit(const struct lb_group_state *self, const struct lb_batch *batch)
{
    bool is_int = batch->columns[self->column].type == LB_INT64;
    return is_int ? sizeof(struct short_ints) : sizeof(struct sum_state);
}

static struct sum_state whole_state(const struct short_ints *ints)
{
    struct sum_state state;
    memset(&state, 0, sizeof state);
    state.low = ints->slot; /* or the sum */
    if (ints->owner == KIND_INTS) {
        state.high = ints->sum >> 63;
        state.short_.n = ints->n;
    }
    state.short_.owner = ints->owner;
    return state;
}

/* Any value. */
static lb_status add_fitted(struct lb_group_state *self, struct short_ints *ints,
                            const struct lb_value *value, struct lb_error *err)
{
    struct sum_state state = whole_state(ints);
    struct wide *wide;
    LB_TRY(add_value(self, &state, value, err));
    if (state.short_.owner == KIND_INTS && !is_long(&state)) {
        ints->sum = (int64_t)state.low;
        ints->n = state.short_.n;
        return LB_OK;
    }
    LB_TRY(make_wide(self, &state, &wide, err));
    ints->slot = state.slot;
    ints->owner = KIND_WIDE;
    return LB_OK;
}

static lb_status add_fitted_ints(struct lb_group_state *self, const struct lb_group_rows *rows,
                                 const struct lb_column *column, struct lb_error *err)
{
    const struct lb_batch *batch = rows->batch;
    uint32_t n = batch->n_selected;
    for (uint32_t i = 0; i < n; i++) {
        int64_t value = column->ints[lb_batch_row(batch, i)], sum;
        struct short_ints *ints = lb_group_slot(self, rows->slots[i]);
        lb_group_call(self, rows->slots, i, n);
        if (__builtin_expect(ints->owner == KIND_INTS && ints->n < UINT32_MAX &&
                                 !__builtin_add_overflow(ints->sum, value, &sum),
                             1)) {
            ints->sum = sum;
            ints->n++;
            continue;
        }
        const struct lb_value any = {.tag = 'i', .i = value};
        LB_TRY(add_fitted(self, ints, &any, err));
    }
    return LB_OK;
}

static lb_status sum_update(struct lb_group_state *self, const struct lb_group_rows *rows,
                            struct lb_error *err)
{
    bool fitted = is_fitted(self);
    const struct lb_batch *batch = rows->batch;
    const struct lb_column *column = &batch->columns[self->column];
    const uint32_t *slots = rows->slots;
    uint32_t n = batch->n_selected;
    if (fitted && column->type == LB_INT64 && column->valid == NULL)
        return add_fitted_ints(self, rows, column, err);
    if (!fitted && column->type == LB_INT64 && column->valid == NULL) {
        for (uint32_t i = 0; i < n; i++) {
            lb_group_call(self, slots, i, n);
            LB_TRY(add_int(self, lb_group_slot(self, slots[i]),
                           column->ints[lb_batch_row(batch, i)], err));
        }
        return LB_OK;
    }
    if (!fitted && column->type == LB_FLOAT64 && column->valid == NULL) {
        for (uint32_t i = 0; i < n; i++) {
            lb_group_call(self, slots, i, n);
            LB_TRY(add_float(self, lb_group_slot(self, slots[i]),
                             column->floats[lb_batch_row(batch, i)], err));
        }
        return LB_OK;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = lb_batch_row(batch, i);
        struct lb_value value = lb_column_value(column, row);
        if (value.tag == 'n')
            continue;
        if (value.tag != 'i' && value.tag != 'd')
            return lb_group_wrong_type(self, batch, row, err);
        void *state = lb_group_slot(self, slots[i]);
        LB_TRY(fitted ? add_fitted(self, state, &value, err) : add_value(self, state, &value, err));
    }
    return LB_OK;
}

static lb_status put_form(struct lb_buf *out, enum form form, const void *data, size_t size,
                          struct lb_error *err)
{
    LB_TRY(lb_buf_append_byte(out, (char)form, err));
    return size > 0 ? lb_buf_append(out, data, size, err) : LB_OK;
}

static lb_status sum_save(struct lb_group_state *self, size_t slot, struct lb_buf *out,
                          struct lb_error *err)
{
    const struct sum_state *state = lb_group_slot(self, slot);
    struct sum_state made;
    struct wide wide;
    if (is_fitted(self)) {
        made = whole_state(lb_group_slot(self, slot));
        state = &made;
    }
    uint64_t n = state->short_.n;
    switch ((enum kind)state->short_.owner) {
    case KIND_ONE_FLOAT:
        return put_form(out, FORM_ONE_FLOAT, &state->first, sizeof state->first, err);
    case KIND_FLOATS:
        return put_form(out, FORM_FLOATS, &state->short_, sizeof state->short_, err);
    case KIND_WIDE:
        get_wide(self, state, &wide);
        LB_TRY(put_form(out, FORM_WIDE, &wide.ints, sizeof wide.ints, err));
        LB_TRY(lb_buf_append(out, &wide.n, sizeof wide.n, err));
        return lb_buf_append(out, &wide.floats, sizeof wide.floats, err);
    case KIND_INTS:
        break;
    }
    if (n == 0)
        return put_form(out, FORM_EMPTY, NULL, 0, err);
    enum form form = is_long(state) ? FORM_LONG : n == 1 ? FORM_ONE_INT : FORM_INT;
    LB_TRY(put_form(out, form, &state->low, sizeof state->low, err));
    if (form == FORM_LONG)
        LB_TRY(lb_buf_append(out, &state->high, sizeof state->high, err));
    return form != FORM_ONE_INT ? lb_buf_append(out, &n, sizeof n, err) : LB_OK;
}

/* Adds a sum of integers. */
static lb_status merge_ints(struct lb_group_state *self, struct sum_state *state, __int128 sum,
                            uint64_t n, struct lb_error *err)
{
    struct wide *wide;
    if (state->short_.owner == KIND_INTS && n <= UINT32_MAX - state->short_.n) {
        sum = (__int128)((unsigned __int128)whole(state) + (unsigned __int128)sum);
        state->low = (uint64_t)sum;
        state->high = (int64_t)(sum >> 64);
        state->short_.n += (uint32_t)n;
        return LB_OK;
    }
    LB_TRY(make_wide(self, state, &wide, err));
    wide->ints = (__int128)((unsigned __int128)wide->ints + (unsigned __int128)sum);
    wide->n += n;
    return LB_OK;
}

static lb_status merge_short(struct lb_group_state *self, struct sum_state *state,
                             const struct lb_short_sum *sum, struct lb_error *err)
{
    struct wide *wide;
    if (state->short_.owner == KIND_INTS && state->short_.n == 0) {
        state->short_ = *sum;
        state->short_.owner = KIND_FLOATS;
        return LB_OK;
    }
    if (state->short_.owner == KIND_FLOATS && sum->n <= LB_SHORT_SUM_MOST - state->short_.n) {
        lb_short_sum_merge(&state->short_, sum);
        return LB_OK;
    }
    LB_TRY(make_wide(self, state, &wide, err));
    lb_float_sum_merge_short(&wide->floats, sum);
    wide->n += sum->n;
    return LB_OK;
}

static lb_status sum_merge(struct lb_group_state *self, const char **cursor, const char *end,
                           struct lb_error *err)
{
    struct sum_state *state = (struct sum_state *)self->states;
    struct lb_value value = {.tag = 'i'};
    struct lb_short_sum floats;
    struct wide more, *wide;
    struct sum_state ints;
    uint64_t n = 1;
    unsigned char form;
    LB_GROUP_LOAD(self, cursor, end, form, err);
    switch ((enum form)form) {
    case FORM_ONE_FLOAT:
        value.tag = 'd';
        LB_GROUP_LOAD(self, cursor, end, value.d, err);
        return add_value(self, state, &value, err);
    case FORM_ONE_INT:
        LB_GROUP_LOAD(self, cursor, end, value.i, err);
        return add_value(self, state, &value, err);
    case FORM_INT:
    case FORM_LONG:
        LB_GROUP_LOAD(self, cursor, end, ints.low, err);
        ints.high = (int64_t)ints.low >> 63;
        if (form == FORM_LONG)
            LB_GROUP_LOAD(self, cursor, end, ints.high, err);
        LB_GROUP_LOAD(self, cursor, end, n, err);
        return merge_ints(self, state, whole(&ints), n, err);
    case FORM_FLOATS:
        LB_GROUP_LOAD(self, cursor, end, floats, err);
        return merge_short(self, state, &floats, err);
    case FORM_WIDE:
        LB_GROUP_LOAD(self, cursor, end, more.ints, err);
        LB_GROUP_LOAD(self, cursor, end, more.n, err);
        LB_GROUP_LOAD(self, cursor, end, more.floats, err);
        LB_TRY(make_wide(self, state, &wide, err));
        wide->ints = (__int128)((unsigned __int128)wide->ints + (unsigned __int128)more.ints);
        wide->n += more.n;
        lb_float_sum_merge(&wide->floats, &more.floats);
        return LB_OK;
    case FORM_EMPTY:
        break;
    }
    return LB_OK;
}

/* ---- results ---- */

/* The sum of a group that has a float, and how many values it has. */
static double float_result(const struct lb_group_state *self, const struct sum_state *state,
                           uint64_t *n)
{
    struct wide wide;
    *n = 1;
    if (state->short_.owner == KIND_ONE_FLOAT)
        return state->first;
    get_wide(self, state, &wide);
    *n = wide.n;
    if (wide.ints != 0) {
        const uint64_t words[2] = {(uint64_t)(wide.ints >> 64), (uint64_t)wide.ints};
        lb_float_sum_add(&wide.floats, ldexp((double)((int64_t)words[0] >> 32), 96));
        lb_float_sum_add(&wide.floats, ldexp((double)(uint32_t)words[0], 64));
        lb_float_sum_add(&wide.floats, ldexp((double)(words[1] >> 32), 32));
        lb_float_sum_add(&wide.floats, (double)(uint32_t)words[1]);
    }
    return lb_float_sum_value(&wide.floats);
}

/* The state's integers, when it has nothing else. */
static bool ints_of(const struct lb_group_state *self, const struct sum_state *state, __int128 *sum,
                    uint64_t *n)
{
    struct wide wide;
    if (state->short_.owner != KIND_INTS && state->short_.owner != KIND_WIDE)
        return false;
    get_wide(self, state, &wide);
    *sum = wide.ints;
    *n = wide.n;
    return wide.floats.top < 0 && wide.floats.seen == 0;
}

static lb_status sum_result(struct lb_group_state *self, struct lb_builder *out,
                            struct lb_error *err)
{
    const struct sum_state *state = (const struct sum_state *)self->states;
    __int128 sum;
    uint64_t n;
    if (!ints_of(self, state, &sum, &n))
        return lb_builder_float(out, float_result(self, state, &n), err);
    if (n == 0)
        return lb_builder_null(out, err);
    if (sum != (int64_t)sum)
        return lb_error_set(err, LB_ERR_DATA,
                            "%s: integer overflow: the sum does not fit 64 bits; add 0.0 to the "
                            "values for a float",
                            self->label);
    return lb_builder_int(out, (int64_t)sum, err);
}

/* sum / n, rounded once. The quotient is made 55 bits long or longer; what is left over only says whether it was exact. */
double lb_group_quotient(__int128 sum, uint64_t n)
{
    unsigned __int128 magnitude = sum < 0 ? -(unsigned __int128)sum : (unsigned __int128)sum;
    unsigned __int128 q = magnitude / n;
    unsigned __int128 rest = magnitude % n;
    int unit = 0;
    while (q < (unsigned __int128)1 << 55 && rest != 0) {
        rest <<= 64;
        q = q << 64 | rest / n;
        rest %= n;
        unit -= 64;
    }
    double value = ldexp((double)(q | (rest != 0)), unit);
    return sum < 0 ? -value : value;
}

static lb_status avg_result(struct lb_group_state *self, struct lb_builder *out,
                            struct lb_error *err)
{
    const struct sum_state *state = (const struct sum_state *)self->states;
    __int128 sum;
    uint64_t n;
    if (ints_of(self, state, &sum, &n))
        return n > 0 ? lb_builder_float(out, lb_group_quotient(sum, n), err)
                     : lb_builder_null(out, err);
    double total = float_result(self, state, &n);
    return lb_builder_float(out, total / (double)n, err);
}

#define SUM_CLASS(text, result_)                                                               \
    {                                                                                          \
        .name = text, .state_bytes = sizeof(struct sum_state), .n_columns = 1,                 \
        .takes = LB_GROUP_TAKES_NUMBERS, .open = sum_open, .fit = sum_fit, .close = sum_close, \
        .update = sum_update, .saves_merged = true, .save = sum_save, .merge = sum_merge,      \
        .result = result_, .forget = sum_forget, .extra_bytes = sum_bytes                      \
    }

const struct lb_group_state_class lb_group_sum = SUM_CLASS("sum", sum_result);
const struct lb_group_state_class lb_group_avg = SUM_CLASS("avg", avg_result);
