/* The aggregate kernels of numbers: sum, min, max.
 *
 * STATES of an entry (state_kind): NEW; INT, the state is an integer; FLOAT, it is the bits of a
 *        double; for sums also SLOT, it is the number of a struct sum_slot: made only by the second
 *        value of a group that has a float.
 * PARTIAL its first byte is the state_kind, then 8 bytes, or the slot.
 * ORDER  The result depends on the set of values alone. Where the Lua fold depends on their order,
 *        one of its possible results is fixed: NaN is passed over by min and max unless all are
 *        NaN; of equal numbers an integer wins over a float, and -0.0 is below 0.0. Integers are
 *        summed apart and wrap; when there is a float too, that wrapped sum is added to the sum of
 *        floats, which rounds once. */
#include <math.h>

#include "core/algo/aggregate.h"
#include "core/algo/advise.h"
#include "core/algo/float_sum.h"
#include "core/base/number.h"
#include "core/base/sys.h"
#include "core/column/key.h"

enum { STATE_NEW = 0, STATE_INT, STATE_FLOAT, STATE_SLOT };

struct number {
    bool is_float;
    union {
        int64_t i;
        double d;
    };
};

static int64_t double_bits(double value)
{
    int64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double bits_double(int64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static struct number entry_number(uint8_t state_kind, int64_t state)
{
    struct number number = {.is_float = state_kind == STATE_FLOAT};
    if (number.is_float)
        number.d = bits_double(state);
    else
        number.i = state;
    return number;
}

static lb_status not_a_number(struct lb_error *err)
{
    return lb_error_set(err, LB_ERR_DATA, "not a number");
}

/* The number in the value column of a row. */
static lb_status get_number(const struct lb_batch *batch, uint32_t row, struct number *number,
                            struct lb_error *err)
{
    const struct lb_column *column = &batch->columns[1];
    if (batch->n_columns < 2 || !lb_column_is_valid(column, row))
        return not_a_number(err);
    if (column->type == LB_INT64) {
        *number = (struct number){.i = column->ints[row]};
        return LB_OK;
    }
    if (column->type == LB_FLOAT64) {
        *number = (struct number){.is_float = true, .d = column->floats[row]};
        return LB_OK;
    }
    if (column->type != LB_ANY)
        return not_a_number(err);
    const char *cursor = lb_view_data(&column->views[row]);
    struct lb_value value;
    lb_codec_next(&cursor, &value);
    if (value.tag == 'i')
        *number = (struct number){.i = value.i};
    else if (value.tag == 'd')
        *number = (struct number){.is_float = true, .d = value.d};
    else
        return not_a_number(err);
    return LB_OK;
}

static lb_status put_number(struct lb_buf *out, const struct number *number, struct lb_error *err)
{
    return number->is_float ? lb_codec_put_float(out, number->d, err)
                            : lb_codec_put_int(out, number->i, err);
}

static lb_status put_partial(struct lb_buf *out, uint8_t state_kind, const void *state, size_t size,
                             struct lb_error *err)
{
    LB_TRY(lb_buf_append_byte(out, (char)state_kind, err));
    return lb_buf_append(out, state, size, err);
}

static lb_status bad_partial(size_t size, struct lb_error *err)
{
    return lb_error_set(err, LB_ERR_INTERNAL, "a partial number of %zu bytes", size);
}

/* ---- sum ---- */

struct sum_slot {
    struct lb_float_sum floats;
    uint64_t ints;   /* their sum, which wraps */
    uint64_t n_ints; /* 0: there were none; else the sum counts */
};

struct sum_state {
    struct sum_slot *slots;
    size_t n_slots;
    size_t capacity;
    struct sum_slot current; /* the group being merged */
    bool has_float;          /* in current */
};

static lb_status sum_open(struct lb_aggregate *self, struct lb_error *err)
{
    self->state = lb_alloc_zero(sizeof(struct sum_state));
    return self->state != NULL ? LB_OK : lb_error_memory(err, "a sum", sizeof(struct sum_state));
}

static void sum_close(struct lb_aggregate *self)
{
    struct sum_state *state = self->state;
    if (state == NULL)
        return;
    lb_free(state->slots, state->capacity * sizeof *state->slots);
    lb_free(state, sizeof *state);
    self->state = NULL;
}

static void sum_reset(struct lb_aggregate *self)
{
    struct sum_state *state = self->state;
    state->n_slots = 0;
}

static size_t sum_held(const struct lb_aggregate *self)
{
    const struct sum_state *state = self->state;
    return state->capacity * sizeof *state->slots;
}

static void slot_init(struct sum_slot *slot)
{
    lb_float_sum_init(&slot->floats);
    slot->ints = 0;
    slot->n_ints = 0;
}

static inline void slot_add(struct sum_slot *slot, struct number number)
{
    if (number.is_float) {
        lb_float_sum_add(&slot->floats, number.d);
    } else {
        slot->ints += (uint64_t)number.i;
        slot->n_ints = 1;
    }
}

/* Gives an entry a slot with what it has so far. */
static lb_status make_slot(struct sum_state *state, struct lb_group_entry *entry,
                           struct lb_error *err)
{
    if (state->n_slots == state->capacity) {
        size_t capacity = state->capacity == 0 ? 256 : 2 * state->capacity;
        struct sum_slot *slots =
            lb_realloc(state->slots, state->capacity * sizeof *slots, capacity * sizeof *slots);
        if (slots == NULL)
            return lb_error_memory(err, "sums", capacity * sizeof *slots);
        lb_advise_huge(slots, capacity * sizeof *slots);
        state->slots = slots;
        state->capacity = capacity;
    }
    struct sum_slot *slot = &state->slots[state->n_slots];
    slot_init(slot);
    slot_add(slot, entry_number(entry->state_kind, entry->state));
    entry->state_kind = STATE_SLOT;
    entry->state = (int64_t)state->n_slots++;
    return LB_OK;
}

static inline lb_status sum_add(struct sum_state *state, struct lb_group_entry *entry,
                                struct number number, struct lb_error *err)
{
    if (entry->state_kind == STATE_NEW) {
        entry->state_kind = number.is_float ? STATE_FLOAT : STATE_INT;
        entry->state = number.is_float ? double_bits(number.d) : number.i;
        return LB_OK;
    }
    if (entry->state_kind == STATE_INT && !number.is_float) {
        entry->state = (int64_t)((uint64_t)entry->state + (uint64_t)number.i);
        return LB_OK;
    }
    if (entry->state_kind != STATE_SLOT)
        LB_TRY(make_slot(state, entry, err));
    slot_add(&state->slots[entry->state], number);
    return LB_OK;
}

static lb_status sum_update(struct lb_aggregate *self, struct lb_group_entry **found,
                            const struct lb_batch *batch, struct lb_error *err)
{
    struct sum_state *state = self->state;
    const struct lb_column *column = batch->n_columns > 1 ? &batch->columns[1] : NULL;
    bool plain = column != NULL && column->valid == NULL;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        struct number number;
        if (plain && column->type == LB_INT64)
            number = (struct number){.i = column->ints[row]};
        else if (plain && column->type == LB_FLOAT64)
            number = (struct number){.is_float = true, .d = column->floats[row]};
        else
            LB_TRY(get_number(batch, row, &number, err));
        LB_TRY(sum_add(state, found[i], number, err));
    }
    return LB_OK;
}

static lb_status sum_save(struct lb_aggregate *self, const struct lb_group_entry *entry,
                          struct lb_buf *out, struct lb_error *err)
{
    const struct sum_state *state = self->state;
    if (entry->state_kind == STATE_SLOT)
        return put_partial(out, STATE_SLOT, &state->slots[entry->state], sizeof *state->slots, err);
    return put_partial(out, entry->state_kind, &entry->state, sizeof entry->state, err);
}

static lb_status sum_merge(struct lb_aggregate *self, const char *partial, size_t size,
                           struct lb_error *err)
{
    struct sum_state *state = self->state;
    if (size == 1 + sizeof(struct sum_slot) && partial[0] == STATE_SLOT) {
        struct sum_slot slot;
        memcpy(&slot, partial + 1, sizeof slot);
        lb_float_sum_merge(&state->current.floats, &slot.floats);
        state->current.ints += slot.ints;
        state->current.n_ints |= slot.n_ints;
        state->has_float = true;
        return LB_OK;
    }
    int64_t bits;
    if (size != 1 + sizeof bits)
        return bad_partial(size, err);
    memcpy(&bits, partial + 1, sizeof bits);
    struct number number = entry_number((uint8_t)partial[0], bits);
    slot_add(&state->current, number);
    state->has_float = state->has_float || number.is_float;
    return LB_OK;
}

static lb_status sum_load(struct lb_aggregate *self, const char *partial, size_t size,
                          struct lb_error *err)
{
    struct sum_state *state = self->state;
    slot_init(&state->current);
    state->has_float = false;
    return sum_merge(self, partial, size, err);
}

static lb_status sum_result(struct lb_aggregate *self, struct lb_buf *out, uint32_t *n_values,
                            struct lb_error *err)
{
    const struct sum_state *state = self->state;
    *n_values = 1;
    if (!state->has_float)
        return lb_codec_put_int(out, (int64_t)state->current.ints, err);
    struct lb_float_sum sum = state->current.floats;
    if (state->current.n_ints > 0)
        lb_float_sum_add_int(&sum, (int64_t)state->current.ints);
    return lb_codec_put_float(out, lb_float_sum_value(&sum), err);
}

static lb_status sum_save_merged(struct lb_aggregate *self, struct lb_buf *out,
                                 struct lb_error *err)
{
    const struct sum_state *state = self->state;
    if (state->has_float)
        return put_partial(out, STATE_SLOT, &state->current, sizeof state->current, err);
    int64_t ints = (int64_t)state->current.ints;
    return put_partial(out, STATE_INT, &ints, sizeof ints, err);
}

const struct lb_aggregate_class lb_aggregate_sum = {.name = "sum",
                                                    .open = sum_open,
                                                    .close = sum_close,
                                                    .update = sum_update,
                                                    .save = sum_save,
                                                    .reset = sum_reset,
                                                    .held_bytes = sum_held,
                                                    .load = sum_load,
                                                    .merge = sum_merge,
                                                    .result = sum_result,
                                                    .save_merged = sum_save_merged};

/* ---- min and max ---- */

/* Whether `a` takes the place of `b`; sign is 1 for max, -1 for min. A total order but for NaN. */
static bool wins(struct number a, struct number b, int sign)
{
    if (a.is_float && isnan(a.d))
        return false;
    if (b.is_float && isnan(b.d))
        return true;
    int order;
    if (!a.is_float && !b.is_float) {
        order = (a.i > b.i) - (a.i < b.i);
    } else if (a.is_float && b.is_float) {
        order = (a.d > b.d) - (a.d < b.d);
        if (order == 0)
            order = (signbit(b.d) != 0) - (signbit(a.d) != 0);
    } else {
        order = a.is_float ? -lb_compare_int_float(b.i, a.d) : lb_compare_int_float(a.i, b.d);
        if (order == 0)
            return !a.is_float;
    }
    return order * sign > 0;
}

static lb_status extreme_open(struct lb_aggregate *self, struct lb_error *err)
{
    self->state = lb_alloc_zero(sizeof(struct number)); /* the group being merged */
    return self->state != NULL ? LB_OK : lb_error_memory(err, "a number", sizeof(struct number));
}

static void extreme_close(struct lb_aggregate *self)
{
    if (self->state != NULL)
        lb_free(self->state, sizeof(struct number));
    self->state = NULL;
}

static void extreme_reset(struct lb_aggregate *self)
{
    (void)self;
}

static size_t extreme_held(const struct lb_aggregate *self)
{
    (void)self;
    return 0;
}

static int extreme_sign(const struct lb_aggregate *self)
{
    return self->class == &lb_aggregate_max ? 1 : -1;
}

static lb_status extreme_update(struct lb_aggregate *self, struct lb_group_entry **found,
                                const struct lb_batch *batch, struct lb_error *err)
{
    int sign = extreme_sign(self);
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        struct lb_group_entry *entry = found[i];
        struct number number;
        LB_TRY(get_number(batch, lb_batch_row(batch, i), &number, err));
        if (entry->state_kind != STATE_NEW &&
            !wins(number, entry_number(entry->state_kind, entry->state), sign))
            continue;
        entry->state_kind = number.is_float ? STATE_FLOAT : STATE_INT;
        entry->state = number.is_float ? double_bits(number.d) : number.i;
    }
    return LB_OK;
}

static lb_status extreme_save(struct lb_aggregate *self, const struct lb_group_entry *entry,
                              struct lb_buf *out, struct lb_error *err)
{
    (void)self;
    return put_partial(out, entry->state_kind, &entry->state, sizeof entry->state, err);
}

static lb_status read_partial(const char *partial, size_t size, struct number *number,
                              struct lb_error *err)
{
    int64_t bits;
    if (size != 1 + sizeof bits)
        return bad_partial(size, err);
    memcpy(&bits, partial + 1, sizeof bits);
    *number = entry_number((uint8_t)partial[0], bits);
    return LB_OK;
}

static lb_status extreme_load(struct lb_aggregate *self, const char *partial, size_t size,
                              struct lb_error *err)
{
    return read_partial(partial, size, self->state, err);
}

static lb_status extreme_merge(struct lb_aggregate *self, const char *partial, size_t size,
                               struct lb_error *err)
{
    struct number *current = self->state;
    struct number number;
    LB_TRY(read_partial(partial, size, &number, err));
    if (wins(number, *current, extreme_sign(self)))
        *current = number;
    return LB_OK;
}

static lb_status extreme_result(struct lb_aggregate *self, struct lb_buf *out, uint32_t *n_values,
                                struct lb_error *err)
{
    *n_values = 1;
    return put_number(out, self->state, err);
}

static lb_status extreme_save_merged(struct lb_aggregate *self, struct lb_buf *out,
                                     struct lb_error *err)
{
    const struct number *current = self->state;
    int64_t bits = current->is_float ? double_bits(current->d) : current->i;
    return put_partial(out, current->is_float ? STATE_FLOAT : STATE_INT, &bits, sizeof bits, err);
}

#define EXTREME_CLASS(variable, its_name)        \
    const struct lb_aggregate_class variable = { \
        .name = its_name,                        \
        .open = extreme_open,                    \
        .close = extreme_close,                  \
        .update = extreme_update,                \
        .save = extreme_save,                    \
        .reset = extreme_reset,                  \
        .held_bytes = extreme_held,              \
        .load = extreme_load,                    \
        .merge = extreme_merge,                  \
        .result = extreme_result,                \
        .save_merged = extreme_save_merged,      \
    }
EXTREME_CLASS(lb_aggregate_min, "min");
EXTREME_CLASS(lb_aggregate_max, "max");
