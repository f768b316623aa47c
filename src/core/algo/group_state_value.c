/* Functions whose result is one of the values: min, max, any_value, first, last, min_by, max_by.
 *
 * MEMORY Strings and tables are copied to an arena; a state that changes its value uses its room again when the new one fits.
 * FORMAT of a partial: the value as the codec has it, nil for none; of first and last a uint64 position in front; of min_by and
 *        max_by the deciding value, and unless that is nil the position and the value. */
#include <math.h>

#include "core/algo/group_state_private.h"
#include "core/base/sys.h"
#include "core/column/key.h"

/* A value of a state. */
struct kept {
    union {
        int64_t i;
        double d;
        char *data; /* a string's bytes, or a table's codec bytes */
    };
    uint32_t size; /* of data */
    uint8_t tag;   /* of the codec; 0: none yet */
    uint8_t room;  /* data has room for 1 << room bytes; 0: no data */
    uint16_t spare;
};

struct value_state {
    struct kept key; /* what decides; of first and last the value */
    uint64_t position;
    struct kept value; /* of min_by and max_by */
};

enum {
    KEY_BYTES = offsetof(struct value_state, position),
    PLACE_BYTES = offsetof(struct value_state, value),
    BY_BYTES = sizeof(struct value_state)
};

struct value_extra {
    struct lb_arena arena;
    struct lb_buf a, b; /* sort keys being compared */
};

#ifdef LB_TINY
enum { ARENA_BYTES = 256 };
#else
enum { ARENA_BYTES = 64 << 10 };
#endif

static lb_status value_open(struct lb_group_state *self, struct lb_error *err)
{
    struct value_extra *extra = self->extra = lb_alloc_zero(sizeof *extra);
    if (extra == NULL)
        return lb_error_memory(err, self->label, sizeof *extra);
    lb_arena_init(&extra->arena, ARENA_BYTES);
    return LB_OK;
}

static void value_close(struct lb_group_state *self)
{
    struct value_extra *extra = self->extra;
    lb_arena_fini(&extra->arena);
    lb_buf_fini(&extra->a);
    lb_buf_fini(&extra->b);
    lb_free(extra, sizeof *extra);
    self->extra = NULL;
}

static void value_forget(struct lb_group_state *self)
{
    struct value_extra *extra = self->extra;
    if (extra->arena.held_bytes > 0)
        lb_arena_reset(&extra->arena);
}

static size_t value_bytes(const struct lb_group_state *self)
{
    return ((const struct value_extra *)self->extra)->arena.held_bytes;
}

static inline struct value_state *state_at(const struct lb_group_state *self, size_t slot)
{
    return lb_group_slot(self, slot);
}

static lb_status keep_bytes(struct lb_group_state *self, struct kept *kept, const char *data,
                            size_t size, struct lb_error *err)
{
    struct value_extra *extra = self->extra;
    if (size > UINT32_MAX / 2)
        return lb_error_set(err, LB_ERR_RESOURCE, "%s: a value of %zu bytes is too large",
                            self->label, size);
    if (kept->room == 0 || size > (size_t)1 << kept->room) {
        uint8_t room = 4;
        while (size > (size_t)1 << room)
            room++;
        char *bytes = lb_arena_alloc(&extra->arena, (size_t)1 << room);
        if (bytes == NULL)
            return lb_error_memory(err, self->label, (size_t)1 << room);
        kept->data = bytes;
        kept->room = room;
    }
    if (size > 0)
        memcpy(kept->data, data, size);
    kept->size = (uint32_t)size;
    return LB_OK;
}

static lb_status keep(struct lb_group_state *self, struct kept *kept, const struct lb_value *value,
                      struct lb_error *err)
{
    size_t size = value->size;
    const char *data = value->data;
    switch (value->tag) {
    case 'l':
    case 'm':
        data = lb_value_encoded(value, &size);
        /* fall through */
    case 's':
        LB_TRY(keep_bytes(self, kept, data, size, err));
        break;
    case 'i':
    case 'd':
        kept->i = value->i; /* or the double's bits */
        kept->room = 0;
        break;
    default:
        kept->room = 0;
    }
    kept->tag = (uint8_t)value->tag;
    return LB_OK;
}

static struct lb_value kept_value(const struct kept *kept)
{
    struct lb_value value = {.tag = kept->tag != 0 ? (char)kept->tag : 'n'};
    const char *cursor = kept->data;
    switch (value.tag) {
    case 'l':
    case 'm':
        lb_codec_next(&cursor, &value);
        break;
    case 's':
        value.data = kept->data;
        value.size = kept->size;
        break;
    default:
        value.i = kept->i;
    }
    return value;
}

static int sign_of(int order)
{
    return (order > 0) - (order < 0);
}

/* The order of two values that are no nils; 0 also for 1 and 1.0. */
static lb_status compare(struct lb_group_state *self, const struct lb_value *a,
                         const struct lb_value *b, int *order, struct lb_error *err)
{
    struct value_extra *extra = self->extra;
    int rank = lb_group_rank(a->tag);
    *order = rank - lb_group_rank(b->tag);
    if (*order != 0 || rank < 3)
        return LB_OK;
    if (rank == 3) {
        *order = lb_group_compare_numbers(a, b);
    } else if (rank == 4) {
        *order = lb_key_compare(a->data, a->size, b->data, b->size);
    } else {
        size_t a_size, b_size;
        const char *a_data = lb_value_encoded(a, &a_size), *b_data = lb_value_encoded(b, &b_size);
        extra->a.size = extra->b.size = 0;
        LB_TRY(lb_key_put_encoded(&extra->a, a_data, a_size, false, err));
        LB_TRY(lb_key_put_encoded(&extra->b, b_data, b_size, false, err));
        *order = lb_key_compare(extra->a.data, extra->a.size, extra->b.data, extra->b.size);
    }
    return LB_OK;
}

static bool is_nan(const struct lb_value *value)
{
    return value->tag == 'd' && isnan(value->d);
}

/* ---- min, max, any_value ---- */

static inline int wanted_sign(const struct lb_group_state *self)
{
    return self->class == &lb_group_max || self->class == &lb_group_max_by ? 1 : -1;
}

/* Whether value takes the place of the one kept. */
static lb_status wins(struct lb_group_state *self, const struct lb_value *value,
                      const struct kept *kept, bool *result, struct lb_error *err)
{
    int order;
    *result = kept->tag == 0;
    if (*result)
        return LB_OK;
    struct lb_value old = kept_value(kept);
    if (is_nan(value) || is_nan(&old)) { /* any other value before NaN */
        *result = is_nan(&old) && (!is_nan(value) || lb_group_prefers(value, &old));
        return LB_OK;
    }
    LB_TRY(compare(self, value, &old, &order, err));
    *result = sign_of(order) == wanted_sign(self);
    if (order != 0)
        return LB_OK;
    size_t size, old_size;
    if (lb_group_rank(value->tag) == 3) {
        *result = lb_group_prefers(value, &old);
    } else if (value->tag == 'l' || value->tag == 'm') { /* {1} and {1.0} */
        const char *data = lb_value_encoded(value, &size);
        const char *old_data = lb_value_encoded(&old, &old_size);
        *result = lb_key_compare(data, size, old_data, old_size) > 0;
    }
    return LB_OK;
}

static lb_status extreme_add(struct lb_group_state *self, struct value_state *state,
                             const struct lb_value *value, struct lb_error *err)
{
    bool better;
    LB_TRY(wins(self, value, &state->key, &better, err));
    return better ? keep(self, &state->key, value, err) : LB_OK;
}

static lb_status extreme_update(struct lb_group_state *self, const struct lb_group_rows *rows,
                                struct lb_error *err)
{
    const struct lb_batch *batch = rows->batch;
    const struct lb_column *column = &batch->columns[self->column];
    int sign = wanted_sign(self);
    bool ints = column->type == LB_INT64 && column->valid == NULL;
    bool floats = column->type == LB_FLOAT64 && column->valid == NULL;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        struct value_state *state = state_at(self, rows->slots[i]);
        struct kept *kept = &state->key;
        lb_group_call(self, rows->slots, i, batch->n_selected);
        if (ints && kept->tag == 'i') {
            int64_t value = column->ints[row];
            if (sign > 0 ? value > kept->i : value < kept->i)
                kept->i = value;
            continue;
        }
        if (floats && kept->tag == 'd') { /* only what is clear: no NaNs, nothing equal */
            double value = column->floats[row];
            if (sign > 0 ? value < kept->d : value > kept->d)
                continue;
        }
        struct lb_value value = lb_column_value(column, row);
        if (value.tag != 'n')
            LB_TRY(extreme_add(self, state, &value, err));
    }
    return LB_OK;
}

static lb_status extreme_save(struct lb_group_state *self, size_t slot, struct lb_buf *out,
                              struct lb_error *err)
{
    struct lb_value value = kept_value(&state_at(self, slot)->key);
    return lb_codec_put_value(out, &value, err);
}

static lb_status extreme_merge(struct lb_group_state *self, const char **cursor, const char *end,
                               struct lb_error *err)
{
    struct lb_value value;
    LB_TRY(lb_codec_get(cursor, end, &value, err));
    return value.tag != 'n' ? extreme_add(self, state_at(self, 0), &value, err) : LB_OK;
}

static lb_status key_result(struct lb_group_state *self, struct lb_builder *out,
                            struct lb_error *err)
{
    struct lb_value value = kept_value(&state_at(self, 0)->key);
    return lb_builder_value(out, &value, err);
}

/* ---- first, last ---- */

static lb_status place_add(struct lb_group_state *self, struct value_state *state,
                           uint64_t position, const struct lb_value *value, struct lb_error *err)
{
    if (state->key.tag != 0 && (self->class == &lb_group_first ? position >= state->position
                                                               : position <= state->position))
        return LB_OK;
    LB_TRY(keep(self, &state->key, value, err));
    state->position = position;
    return LB_OK;
}

static lb_status place_update(struct lb_group_state *self, const struct lb_group_rows *rows,
                              struct lb_error *err)
{
    const struct lb_batch *batch = rows->batch;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        struct lb_value value =
            lb_column_value(&batch->columns[self->column], lb_batch_row(batch, i));
        if (value.tag != 'n')
            LB_TRY(
                place_add(self, state_at(self, rows->slots[i]), rows->position + i, &value, err));
    }
    return LB_OK;
}

static lb_status place_save(struct lb_group_state *self, size_t slot, struct lb_buf *out,
                            struct lb_error *err)
{
    const struct value_state *state = state_at(self, slot);
    LB_TRY(lb_buf_append(out, &state->position, sizeof state->position, err));
    return extreme_save(self, slot, out, err);
}

static lb_status place_merge(struct lb_group_state *self, const char **cursor, const char *end,
                             struct lb_error *err)
{
    uint64_t position;
    struct lb_value value;
    LB_GROUP_LOAD(self, cursor, end, position, err);
    LB_TRY(lb_codec_get(cursor, end, &value, err));
    return value.tag != 'n' ? place_add(self, state_at(self, 0), position, &value, err) : LB_OK;
}

/* ---- min_by, max_by ---- */

static lb_status by_add(struct lb_group_state *self, struct value_state *state, uint64_t position,
                        const struct lb_value *key, const struct lb_value *value,
                        struct lb_error *err)
{
    if (state->key.tag != 0) {
        struct lb_value old = kept_value(&state->key);
        int order;
        if (is_nan(key) || is_nan(&old)) /* any other value before NaN */
            order = (int)is_nan(&old) - (int)is_nan(key);
        else {
            LB_TRY(compare(self, key, &old, &order, err));
            order = sign_of(order) * wanted_sign(self);
        }
        if (order < 0 || (order == 0 && position >= state->position))
            return LB_OK;
    }
    LB_TRY(keep(self, &state->key, key, err));
    LB_TRY(keep(self, &state->value, value, err));
    state->position = position;
    return LB_OK;
}

static lb_status by_update(struct lb_group_state *self, const struct lb_group_rows *rows,
                           struct lb_error *err)
{
    const struct lb_batch *batch = rows->batch;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        struct lb_value key = lb_column_value(&batch->columns[self->column2], row);
        if (key.tag == 'n')
            continue;
        struct lb_value value = lb_column_value(&batch->columns[self->column], row);
        LB_TRY(by_add(self, state_at(self, rows->slots[i]), rows->position + i, &key, &value, err));
    }
    return LB_OK;
}

static lb_status by_save(struct lb_group_state *self, size_t slot, struct lb_buf *out,
                         struct lb_error *err)
{
    const struct value_state *state = state_at(self, slot);
    LB_TRY(extreme_save(self, slot, out, err));
    if (state->key.tag == 0)
        return LB_OK;
    LB_TRY(lb_buf_append(out, &state->position, sizeof state->position, err));
    struct lb_value value = kept_value(&state->value);
    return lb_codec_put_value(out, &value, err);
}

static lb_status by_merge(struct lb_group_state *self, const char **cursor, const char *end,
                          struct lb_error *err)
{
    uint64_t position;
    struct lb_value key, value;
    LB_TRY(lb_codec_get(cursor, end, &key, err));
    if (key.tag == 'n')
        return LB_OK;
    LB_GROUP_LOAD(self, cursor, end, position, err);
    LB_TRY(lb_codec_get(cursor, end, &value, err));
    return by_add(self, state_at(self, 0), position, &key, &value, err);
}

static lb_status by_result(struct lb_group_state *self, struct lb_builder *out,
                           struct lb_error *err)
{
    struct lb_value value = kept_value(&state_at(self, 0)->value);
    return lb_builder_value(out, &value, err);
}

#define VALUE_CLASS(text, bytes, n, prefix, result_)                                               \
    {                                                                                              \
        .name = text, .state_bytes = bytes, .n_columns = n, .open = value_open,                    \
        .close = value_close, .update = prefix##_update, .saves_merged = true,                     \
        .save = prefix##_save, .merge = prefix##_merge, .result = result_, .forget = value_forget, \
        .extra_bytes = value_bytes                                                                 \
    }

const struct lb_group_state_class lb_group_min =
    VALUE_CLASS("min", KEY_BYTES, 1, extreme, key_result);
const struct lb_group_state_class lb_group_max =
    VALUE_CLASS("max", KEY_BYTES, 1, extreme, key_result);
const struct lb_group_state_class lb_group_any_value =
    VALUE_CLASS("any_value", KEY_BYTES, 1, extreme, key_result);
const struct lb_group_state_class lb_group_first =
    VALUE_CLASS("first", PLACE_BYTES, 1, place, key_result);
const struct lb_group_state_class lb_group_last =
    VALUE_CLASS("last", PLACE_BYTES, 1, place, key_result);
const struct lb_group_state_class lb_group_min_by =
    VALUE_CLASS("min_by", BY_BYTES, 2, by, by_result);
const struct lb_group_state_class lb_group_max_by =
    VALUE_CLASS("max_by", BY_BYTES, 2, by, by_result);
