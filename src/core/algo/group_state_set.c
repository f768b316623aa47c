/* Functions of the distinct values and how often each occurs: count_distinct, collect_set, mode.
 *
 * IDEA   A worker counts (slot, value) in one table (algo/group_table.h) for all groups, under a key of up to 12 bytes for numbers.
 *        Keys may tell values apart that are equal (1 and 1.0): the final merge, which sorts a group's values, makes them one.
 * STATES of a worker: a list of items per slot. Of the final merge: a set (algo/value_set.h).
 * FORMAT of a partial: uint32 number of values; each a count (7 bits a byte, low ones first, high bit: more follows) and the
 *        value as the codec has it.
 *        key in the table: uint32 slot, its top bit set for a float; then 8 bytes of a number; of others a tag of
 *        the codec and bytes, and one more byte when that is not shorter than a number's key. */
#include "core/algo/group_state_private.h"
#include "core/algo/group_table.h"
#include "core/algo/value_set.h"
#include "core/base/sys.h"
#include "core/column/key.h"

enum { NUMBER_KEY_BYTES = 12, HEAD_BYTES = 5 };
static const uint32_t FLOAT_BIT = (uint32_t)1 << 31;

#ifdef LB_TINY
enum { KEEP_BYTES = 1 << 10 };
#else
enum { KEEP_BYTES = 1 << 20 };
#endif

/* A value of a worker's state. */
struct item {
    struct lb_view key; /* long ones lie in the table's arena */
    uint64_t count;
    uint32_t next; /* item number + 1 of the slot's next one; 0: none */
    uint32_t spare;
};

struct set_state {
    uint32_t head; /* as next */
    uint32_t n;
};

struct set_extra {
    bool has_table;
    struct lb_group_table table;
    struct item *items;
    size_t n_items, items_capacity;
    struct lb_buf keys; /* of one batch */
    struct lb_view *views;
    struct lb_group_entry **found;
    uint32_t *slots;
    /* final merge */
    struct lb_value_set values;
};

static lb_status set_open(struct lb_group_state *self, struct lb_error *err)
{
    struct set_extra *extra = self->extra = lb_alloc_zero(sizeof *extra);
    if (extra == NULL)
        return lb_error_memory(err, self->label, sizeof *extra);
    extra->values.label = self->label;
    return LB_OK;
}

static void set_close(struct lb_group_state *self)
{
    struct set_extra *extra = self->extra;
    if (extra->has_table)
        lb_group_table_fini(&extra->table);
    lb_free(extra->items, extra->items_capacity * sizeof *extra->items);
    lb_free(extra->views, LB_BATCH_ROWS * sizeof *extra->views);
    lb_free(extra->found, LB_BATCH_ROWS * sizeof *extra->found);
    lb_free(extra->slots, LB_BATCH_ROWS * sizeof *extra->slots);
    lb_value_set_fini(&extra->values);
    lb_buf_fini(&extra->keys);
    lb_free(extra, sizeof *extra);
    self->extra = NULL;
}

static void set_forget(struct lb_group_state *self)
{
    struct set_extra *extra = self->extra;
    if (extra->n_items > 0) {
        lb_group_table_reset(&extra->table, KEEP_BYTES);
        if (extra->items_capacity * sizeof *extra->items > KEEP_BYTES) {
            lb_free(extra->items, extra->items_capacity * sizeof *extra->items);
            extra->items = NULL;
            extra->items_capacity = 0;
        }
        extra->n_items = 0;
    }
    lb_value_set_clear(&extra->values);
}

static size_t set_bytes(const struct lb_group_state *self)
{
    const struct set_extra *extra = self->extra;
    size_t bytes = extra->items_capacity * sizeof *extra->items;
    if (extra->n_items + LB_BATCH_ROWS > extra->items_capacity && extra->n_items > 0)
        bytes *= 3; /* it is about to double */
    /* Nothing in it: what it keeps is not given back by a flush. */
    return extra->n_items > 0 ? bytes + lb_group_table_next_bytes(&extra->table) : 0;
}

/* ---- workers ---- */

static lb_status ready_table(struct lb_group_state *self, struct lb_error *err)
{
    struct set_extra *extra = self->extra;
    if (extra->has_table)
        return LB_OK;
    extra->views = lb_alloc(LB_BATCH_ROWS * sizeof *extra->views);
    extra->found = lb_alloc(LB_BATCH_ROWS * sizeof *extra->found);
    extra->slots = lb_alloc(LB_BATCH_ROWS * sizeof *extra->slots);
    if (extra->views == NULL || extra->found == NULL || extra->slots == NULL)
        return lb_error_memory(err, self->label, LB_BATCH_ROWS * sizeof *extra->views);
    LB_TRY(lb_group_table_init(&extra->table, err));
    extra->has_table = true;
    return LB_OK;
}

/* The key of a value; one longer than a view takes is at offset *at of extra->keys, which may move. */
static lb_status make_key(struct set_extra *extra, uint32_t slot, const struct lb_value *value,
                          struct lb_view *view, size_t *at, struct lb_error *err)
{
    *at = SIZE_MAX;
    if (value->tag == 'i' || value->tag == 'd') {
        char bytes[NUMBER_KEY_BYTES];
        slot |= value->tag == 'd' ? FLOAT_BIT : 0;
        memcpy(bytes, &slot, 4);
        memcpy(bytes + 4, &value->i, 8);
        lb_view_set(view, bytes, sizeof bytes);
        return LB_OK;
    }
    const char *data = value->data;
    size_t size = 0;
    if (value->tag == 's')
        size = value->size;
    else if (value->tag == 'l' || value->tag == 'm')
        data = lb_value_encoded(value, &size);
    if (size > UINT32_MAX - 64)
        return lb_error_set(err, LB_ERR_RESOURCE, "a value of %zu bytes is too large", size);
    size_t start = extra->keys.size;
    LB_TRY(lb_buf_reserve(&extra->keys, size + HEAD_BYTES + 1, err));
    memcpy(extra->keys.data + start, &slot, 4);
    extra->keys.data[start + 4] = value->tag;
    if (size > 0)
        memcpy(extra->keys.data + start + HEAD_BYTES, data, size);
    size += HEAD_BYTES;
    if (size >= NUMBER_KEY_BYTES)
        extra->keys.data[start + size++] = 0;
    if (size > LB_VIEW_INLINE) {
        *view = (struct lb_view){.size = (uint32_t)size};
        *at = start;
        extra->keys.size += size;
    } else {
        lb_view_set(view, extra->keys.data + start, size);
    }
    return LB_OK;
}

static struct lb_value key_value(const struct lb_view *key)
{
    const char *data = lb_view_data(key);
    struct lb_value value;
    if (key->size == NUMBER_KEY_BYTES) {
        uint32_t slot;
        memcpy(&slot, data, 4);
        memcpy(&value.i, data + 4, 8);
        value.tag = slot & FLOAT_BIT ? 'd' : 'i';
        return value;
    }
    value.tag = data[4];
    if (value.tag == 's') {
        value.data = data + HEAD_BYTES;
        value.size = key->size - HEAD_BYTES - (key->size > NUMBER_KEY_BYTES);
    } else if (value.tag == 'l' || value.tag == 'm') {
        const char *cursor = data + HEAD_BYTES;
        lb_codec_next(&cursor, &value);
    }
    return value;
}

static lb_status new_item(struct lb_group_state *self, struct lb_group_entry *entry, uint32_t slot,
                          struct lb_error *err)
{
    struct set_extra *extra = self->extra;
    struct set_state *state = lb_group_slot(self, slot);
    if (extra->n_items == extra->items_capacity) {
        size_t capacity = extra->items_capacity > 0 ? 2 * extra->items_capacity : 64;
        struct item *items = lb_realloc(extra->items, extra->items_capacity * sizeof *items,
                                        capacity * sizeof *items);
        if (items == NULL)
            return lb_error_memory(err, self->label, capacity * sizeof *items);
        extra->items = items;
        extra->items_capacity = capacity;
    }
    struct item *item = &extra->items[extra->n_items];
    *item = (struct item){.next = state->head};
    memcpy(&item->key, entry, sizeof item->key); /* entries of strings begin with their view */
    entry->state_kind = 1;
    entry->state = (int64_t)extra->n_items++;
    state->head = (uint32_t)extra->n_items;
    state->n++;
    return LB_OK;
}

static lb_status set_update(struct lb_group_state *self, const struct lb_group_rows *rows,
                            struct lb_error *err)
{
    struct set_extra *extra = self->extra;
    const struct lb_batch *batch = rows->batch;
    uint32_t n = 0;
    LB_TRY(ready_table(self, err));
    extra->keys.size = 0;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        struct lb_value value = lb_column_value(&batch->columns[self->column], row);
        if (value.tag == 'n')
            continue;
        size_t at;
        LB_TRY(make_key(extra, rows->slots[i], &value, &extra->views[n], &at, err));
        if (at != SIZE_MAX) /* the buffer may still move */
            extra->views[n].data = (const char *)(uintptr_t)at;
        extra->slots[n++] = rows->slots[i];
    }
    if (n == 0)
        return LB_OK;
    for (uint32_t i = 0; i < n; i++) {
        struct lb_view *view = &extra->views[i];
        if (view->size > LB_VIEW_INLINE)
            lb_view_set(view, extra->keys.data + (uintptr_t)view->data, view->size);
    }
    struct lb_column column = {.type = LB_STRING, .views = extra->views};
    struct lb_batch keys = {.n_rows = n, .n_columns = 1, .n_selected = n, .columns = &column};
    LB_TRY(lb_group_table_find(&extra->table, &keys, false, extra->found, err));
    for (uint32_t i = 0; i < n; i++) {
        struct lb_group_entry *entry = extra->found[i];
        if (entry->state_kind == 0)
            LB_TRY(new_item(self, entry, extra->slots[i], err));
        extra->items[entry->state].count++;
    }
    return LB_OK;
}

static lb_status set_save(struct lb_group_state *self, size_t slot, struct lb_buf *out,
                          struct lb_error *err)
{
    const struct set_extra *extra = self->extra;
    const struct set_state *state = lb_group_slot(self, slot);
    LB_TRY(lb_buf_append(out, &state->n, sizeof state->n, err));
    for (uint32_t at = state->head; at != 0; at = extra->items[at - 1].next) {
        const struct item *item = &extra->items[at - 1];
        uint64_t count = item->count;
        for (; count >= 128; count >>= 7)
            LB_TRY(lb_buf_append_byte(out, (char)(count | 128), err));
        LB_TRY(lb_buf_append_byte(out, (char)count, err));
        struct lb_value value = key_value(&item->key);
        LB_TRY(lb_codec_put_value(out, &value, err));
    }
    return LB_OK;
}

/* ---- the final merge ---- */

static lb_status set_merge(struct lb_group_state *self, const char **cursor, const char *end,
                           struct lb_error *err)
{
    struct set_extra *extra = self->extra;
    uint32_t n;
    LB_GROUP_LOAD(self, cursor, end, n, err);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t count = 0;
        for (unsigned shift = 0;; shift += 7) {
            if (*cursor == end || shift > 63)
                return lb_group_bad_partial(self, err);
            unsigned char byte = (unsigned char)*(*cursor)++;
            count |= (uint64_t)(byte & 127) << shift;
            if (byte < 128)
                break;
        }
        struct lb_value value;
        LB_TRY(lb_codec_get(cursor, end, &value, err));
        LB_TRY(lb_value_set_add(&extra->values, &value, count, err));
    }
    return LB_OK;
}

/* The values twice: while they are sorted, and in the result. */
static size_t set_merged(const struct lb_group_state *self)
{
    const struct lb_value_set *values = &((const struct set_extra *)self->extra)->values;
    return 2 * (values->capacity * sizeof *values->items + values->bytes.capacity);
}

static lb_status distinct_result(struct lb_group_state *self, struct lb_builder *out,
                                 struct lb_error *err)
{
    struct lb_value_set *values = &((struct set_extra *)self->extra)->values;
    LB_TRY(lb_value_set_compact(values, err));
    return lb_builder_int(out, (int64_t)values->n, err);
}

static lb_status set_result(struct lb_group_state *self, struct lb_builder *out,
                            struct lb_error *err)
{
    struct lb_value_set *values = &((struct set_extra *)self->extra)->values;
    struct lb_buf list = {0};
    size_t mark;
    LB_TRY(lb_value_set_compact(values, err));
    if (values->n == 0)
        return lb_builder_null(out, err);
    lb_status status = lb_codec_begin(&list, 'l', &mark, err);
    for (size_t i = 0; status == LB_OK && i < values->n; i++) {
        struct lb_value value = lb_value_set_value(values, &values->items[i]);
        status = lb_codec_put_value(&list, &value, err);
    }
    if (status == LB_OK && list.size > UINT32_MAX)
        status = lb_error_set(err, LB_ERR_RESOURCE, "%s: a list of more than 4 GiB", self->label);
    if (status == LB_OK) {
        lb_codec_end(&list, mark, (uint32_t)values->n);
        status = lb_builder_encoded(out, list.data, list.size, err);
    }
    lb_buf_fini(&list);
    return status;
}

static lb_status mode_result(struct lb_group_state *self, struct lb_builder *out,
                             struct lb_error *err)
{
    struct lb_value_set *values = &((struct set_extra *)self->extra)->values;
    const struct lb_set_item *best = NULL;
    LB_TRY(lb_value_set_compact(values, err));
    for (size_t i = 0; i < values->n; i++)
        if (best == NULL || values->items[i].count > best->count)
            best = &values->items[i];
    if (best == NULL)
        return lb_builder_null(out, err);
    struct lb_value value = lb_value_set_value(values, best);
    return lb_builder_value(out, &value, err);
}

#define SET_CLASS(text, result_)                                                                 \
    {                                                                                            \
        .name = text, .state_bytes = sizeof(struct set_state), .n_columns = 1, .open = set_open, \
        .close = set_close, .update = set_update, .save = set_save, .merge = set_merge,          \
        .result = result_, .forget = set_forget, .extra_bytes = set_bytes,                       \
        .merged_bytes = set_merged                                                               \
    }

const struct lb_group_state_class lb_group_count_distinct =
    SET_CLASS("count_distinct", distinct_result);
const struct lb_group_state_class lb_group_collect_set = SET_CLASS("collect_set", set_result);
const struct lb_group_state_class lb_group_mode = SET_CLASS("mode", mode_result);
