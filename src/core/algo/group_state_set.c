/* Functions of the distinct values and how often each occurs: count_distinct, collect_set, mode.
 *
 * IDEA   A worker counts (slot, value) in one table (algo/group_table.h) for all groups, under a key of up to 12 bytes for numbers.
 *        Keys may tell values apart that are equal (1 and 1.0): the final merge, which sorts a group's values, makes them one.
 * STATES of a worker: a list of items per slot. Of the final merge: an array of values, sorted and cut down to distinct ones
 *        whenever it has doubled, so memory grows with the distinct values of one group.
 * FORMAT of a partial: uint32 number of values; each a count (7 bits a byte, low ones first, high bit: more follows) and the
 *        value as the codec has it.
 *        key in the table: uint32 slot, its top bit set for a float; then 8 bytes of a number; of others a tag of
 *        the codec and bytes, and one more byte when that is not shorter than a number's key. */
#include <math.h>

#include "core/algo/group_state_private.h"
#include "core/algo/group_table.h"
#include "core/base/sys.h"
#include "core/column/key.h"

enum { NUMBER_KEY_BYTES = 12, HEAD_BYTES = 5 };
static const uint32_t FLOAT_BIT = (uint32_t)1 << 31;

#ifdef LB_TINY
enum { COMPACT_AT = 8, KEEP_BYTES = 1 << 10 };
#else
enum { COMPACT_AT = 4096, KEEP_BYTES = 1 << 20 };
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

/* A value of the final merge. */
struct merged {
    uint64_t order; /* compares before all else among values of one rank */
    union {
        int64_t i;
        double d;
        size_t at; /* in bytes: a string, or a table: [uint32 key size][sort key][codec bytes] */
    };
    uint64_t count;
    uint32_t size; /* of what is at `at` */
    uint8_t tag;
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
    struct merged *merged;
    size_t n_merged, merged_capacity;
    size_t n_compact; /* the first of them, sorted and distinct */
    struct lb_buf bytes;
};

static lb_status set_open(struct lb_group_state *self, struct lb_error *err)
{
    self->extra = lb_alloc_zero(sizeof(struct set_extra));
    return self->extra != NULL ? LB_OK
                               : lb_error_memory(err, self->label, sizeof(struct set_extra));
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
    lb_free(extra->merged, extra->merged_capacity * sizeof *extra->merged);
    lb_buf_fini(&extra->keys);
    lb_buf_fini(&extra->bytes);
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
    extra->n_merged = extra->n_compact = 0;
    extra->bytes.size = 0;
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
        data = lb_group_encoded(value, &size);
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
    struct set_state *state = (struct set_state *)self->states + slot;
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
        struct lb_value value = lb_group_value(&batch->columns[self->column], row);
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
    const struct set_state *state = (const struct set_state *)self->states + slot;
    LB_TRY(lb_buf_append(out, &state->n, sizeof state->n, err));
    for (uint32_t at = state->head; at != 0; at = extra->items[at - 1].next) {
        const struct item *item = &extra->items[at - 1];
        uint64_t count = item->count;
        for (; count >= 128; count >>= 7)
            LB_TRY(lb_buf_append_byte(out, (char)(count | 128), err));
        LB_TRY(lb_buf_append_byte(out, (char)count, err));
        struct lb_value value = key_value(&item->key);
        LB_TRY(lb_group_put_value(out, &value, err));
    }
    return LB_OK;
}

/* ---- the final merge ---- */

static struct lb_value merged_number(const struct merged *m)
{
    struct lb_value value = {.tag = (char)m->tag, .i = m->i};
    return value;
}

static int compare_merged(const struct set_extra *extra, const struct merged *a,
                          const struct merged *b)
{
    int rank = lb_group_rank((char)a->tag), order = rank - lb_group_rank((char)b->tag);
    if (order != 0)
        return order;
    if (a->order != b->order)
        return a->order < b->order ? -1 : 1;
    if (rank == 3) {
        struct lb_value x = merged_number(a), y = merged_number(b);
        return lb_group_compare_numbers(&x, &y);
    }
    if (rank < 4)
        return 0;
    const char *x = extra->bytes.data + a->at, *y = extra->bytes.data + b->at;
    if (rank == 4)
        return lb_key_compare(x, a->size, y, b->size);
    uint32_t x_size, y_size;
    memcpy(&x_size, x, 4);
    memcpy(&y_size, y, 4);
    return lb_key_compare(x + 4, x_size, y + 4, y_size);
}

/* Two equal values become one; the one that stands for both does not depend on their order. */
static void unite(const struct set_extra *extra, struct merged *into, const struct merged *more)
{
    uint64_t count = into->count + more->count;
    bool better = false;
    if (lb_group_rank((char)into->tag) == 3) {
        struct lb_value x = merged_number(more), y = merged_number(into);
        better = lb_group_prefers(&x, &y);
    } else if (into->tag == 'l' || into->tag == 'm') {
        const char *x = extra->bytes.data + more->at, *y = extra->bytes.data + into->at;
        better = lb_key_compare(x, more->size, y, into->size) > 0;
    }
    if (better)
        *into = *more;
    into->count = count;
}

/* Merges the sorted a[0..n) and b[0..m) to out. */
static void merge_sorted(const struct set_extra *extra, const struct merged *a, size_t n,
                         const struct merged *b, size_t m, struct merged *out)
{
    while (n > 0 && m > 0) {
        if (compare_merged(extra, a, b) <= 0) {
            *out++ = *a++;
            n--;
        } else {
            *out++ = *b++;
            m--;
        }
    }
    memcpy(out, a, n * sizeof *a);
    memcpy(out + n, b, m * sizeof *b);
}

/* Sorts runs bottom-up; returns where the result is: items or scratch. */
static struct merged *sort_merged(const struct set_extra *extra, struct merged *items,
                                  struct merged *scratch, size_t n)
{
    enum { RUN = 8 };
    for (size_t start = 0; start < n; start += RUN) {
        size_t end = start + RUN < n ? start + RUN : n;
        for (size_t i = start + 1; i < end; i++) {
            struct merged moved = items[i];
            size_t j = i;
            for (; j > start && compare_merged(extra, &moved, &items[j - 1]) < 0; j--)
                items[j] = items[j - 1];
            items[j] = moved;
        }
    }
    for (size_t width = RUN; width < n; width *= 2) {
        for (size_t start = 0; start < n; start += 2 * width) {
            size_t middle = start + width < n ? start + width : n;
            size_t end = middle + width < n ? middle + width : n;
            merge_sorted(extra, items + start, middle - start, items + middle, end - middle,
                         scratch + start);
        }
        struct merged *swap = items;
        items = scratch;
        scratch = swap;
    }
    return items;
}

/* Copies the bytes of the values that are left to a buffer without the others'. */
static lb_status drop_bytes(struct set_extra *extra, struct lb_error *err)
{
    struct lb_buf bytes = {0};
    size_t total = 0;
    for (size_t i = 0; i < extra->n_merged; i++)
        total += lb_group_rank((char)extra->merged[i].tag) >= 4 ? extra->merged[i].size : 0;
    if (total + total / 2 >= extra->bytes.size)
        return LB_OK;
    LB_TRY(lb_buf_reserve(&bytes, total, err));
    for (size_t i = 0; i < extra->n_merged; i++) {
        struct merged *m = &extra->merged[i];
        if (lb_group_rank((char)m->tag) < 4)
            continue;
        if (m->size > 0)
            memcpy(bytes.data + bytes.size, extra->bytes.data + m->at, m->size);
        m->at = bytes.size;
        bytes.size += m->size;
    }
    lb_buf_fini(&extra->bytes);
    extra->bytes = bytes;
    return LB_OK;
}

static lb_status compact(struct lb_group_state *self, struct lb_error *err)
{
    struct set_extra *extra = self->extra;
    size_t n = extra->n_merged;
    if (n == extra->n_compact)
        return LB_OK;
    if (n > 1) {
        struct merged *scratch = lb_alloc(n * sizeof *scratch);
        if (scratch == NULL)
            return lb_error_memory(err, self->label, n * sizeof *scratch);
        const struct merged *sorted = sort_merged(extra, extra->merged, scratch, n);
        size_t kept = 0;
        for (size_t i = 0; i < n; i++) {
            if (kept > 0 && compare_merged(extra, &extra->merged[kept - 1], &sorted[i]) == 0)
                unite(extra, &extra->merged[kept - 1], &sorted[i]);
            else
                extra->merged[kept++] = sorted[i];
        }
        lb_free(scratch, n * sizeof *scratch);
        extra->n_merged = kept;
        LB_TRY(drop_bytes(extra, err));
    }
    extra->n_compact = extra->n_merged;
    return LB_OK;
}

/* The greatest double that is not above the number, as a word that orders as it does. */
static uint64_t number_order(const struct lb_value *value)
{
    double d = value->tag == 'd' ? value->d : (double)value->i;
    uint64_t bits;
    if (value->tag == 'i' && (d >= 9223372036854775808.0 || (int64_t)d > value->i))
        d = nextafter(d, -INFINITY);
    d = isnan(d) ? (double)NAN : d + 0.0;
    memcpy(&bits, &d, 8);
    return bits ^ ((uint64_t)((int64_t)bits >> 63) | 0x8000000000000000ULL);
}

static uint64_t string_order(const char *data, size_t size)
{
    uint64_t order = 0;
    memcpy(&order, data, size < 8 ? size : 8);
    return __builtin_bswap64(order);
}

static lb_status add_merged(struct lb_group_state *self, const struct lb_value *value,
                            uint64_t count, struct lb_error *err)
{
    struct set_extra *extra = self->extra;
    if (extra->n_merged == extra->merged_capacity) {
        if (extra->n_merged >= COMPACT_AT)
            LB_TRY(compact(self, err));
        if (extra->n_merged >= extra->merged_capacity / 2) {
            size_t old = extra->merged_capacity;
            size_t capacity = old > 0 ? 2 * old : 16;
            struct merged *merged =
                lb_realloc(extra->merged, old * sizeof *extra->merged, capacity * sizeof *merged);
            if (merged == NULL)
                return lb_error_memory(err, self->label, capacity * sizeof *merged);
            extra->merged = merged;
            extra->merged_capacity = capacity;
        }
    }
    struct merged m = {.tag = (uint8_t)value->tag, .count = count};
    if (value->tag == 'i' || value->tag == 'd') {
        m.i = value->i;
        m.order = number_order(value);
    } else if (value->tag == 's') {
        m.at = extra->bytes.size;
        m.size = (uint32_t)value->size;
        m.order = string_order(value->data, value->size);
        LB_TRY(lb_buf_append(&extra->bytes, value->data, value->size, err));
    } else if (value->tag == 'l' || value->tag == 'm') {
        size_t size, start = extra->bytes.size;
        const char *data = lb_group_encoded(value, &size);
        uint32_t key_size = 0;
        LB_TRY(lb_buf_append(&extra->bytes, &key_size, 4, err));
        LB_TRY(lb_key_put_encoded(&extra->bytes, data, size, false, err));
        key_size = (uint32_t)(extra->bytes.size - start - 4);
        memcpy(extra->bytes.data + start, &key_size, 4);
        LB_TRY(lb_buf_append(&extra->bytes, data, size, err));
        if (extra->bytes.size - start > UINT32_MAX)
            return lb_error_set(err, LB_ERR_RESOURCE, "%s: a value is too large", self->label);
        m.at = start;
        m.size = (uint32_t)(extra->bytes.size - start);
    }
    extra->merged[extra->n_merged++] = m;
    return LB_OK;
}

static lb_status set_merge(struct lb_group_state *self, const char **cursor, const char *end,
                           struct lb_error *err)
{
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
        LB_TRY(add_merged(self, &value, count, err));
    }
    return LB_OK;
}

static struct lb_value merged_value(const struct set_extra *extra, const struct merged *m)
{
    struct lb_value value = merged_number(m);
    const char *data = extra->bytes.data;
    if (m->tag == 's') {
        value.data = data + m->at;
        value.size = m->size;
    } else if (m->tag == 'l' || m->tag == 'm') {
        uint32_t key_size;
        memcpy(&key_size, data + m->at, 4);
        const char *cursor = data + m->at + 4 + key_size;
        lb_codec_next(&cursor, &value);
    }
    return value;
}

static lb_status distinct_result(struct lb_group_state *self, struct lb_builder *out,
                                 struct lb_error *err)
{
    LB_TRY(compact(self, err));
    return lb_builder_int(out, (int64_t)((struct set_extra *)self->extra)->n_merged, err);
}

static lb_status set_result(struct lb_group_state *self, struct lb_builder *out,
                            struct lb_error *err)
{
    struct set_extra *extra = self->extra;
    struct lb_buf list = {0};
    size_t mark;
    LB_TRY(compact(self, err));
    if (extra->n_merged == 0)
        return lb_builder_null(out, err);
    lb_status status = lb_codec_begin(&list, 'l', &mark, err);
    for (size_t i = 0; status == LB_OK && i < extra->n_merged; i++) {
        struct lb_value value = merged_value(extra, &extra->merged[i]);
        status = lb_group_put_value(&list, &value, err);
    }
    if (status == LB_OK && list.size > UINT32_MAX)
        status = lb_error_set(err, LB_ERR_RESOURCE, "%s: a list of more than 4 GiB", self->label);
    if (status == LB_OK) {
        lb_codec_end(&list, mark, (uint32_t)extra->n_merged);
        status = lb_builder_encoded(out, list.data, list.size, err);
    }
    lb_buf_fini(&list);
    return status;
}

static lb_status mode_result(struct lb_group_state *self, struct lb_builder *out,
                             struct lb_error *err)
{
    struct set_extra *extra = self->extra;
    const struct merged *best = NULL;
    LB_TRY(compact(self, err));
    for (size_t i = 0; i < extra->n_merged; i++)
        if (best == NULL || extra->merged[i].count > best->count)
            best = &extra->merged[i];
    if (best == NULL)
        return lb_builder_null(out, err);
    struct lb_value value = merged_value(extra, best);
    return lb_group_build_value(out, &value, err);
}

#define SET_CLASS(text, result_)                                                                 \
    {                                                                                            \
        .name = text, .state_bytes = sizeof(struct set_state), .n_columns = 1, .open = set_open, \
        .close = set_close, .update = set_update, .save = set_save, .merge = set_merge,          \
        .result = result_, .forget = set_forget, .extra_bytes = set_bytes                        \
    }

const struct lb_group_state_class lb_group_count_distinct =
    SET_CLASS("count_distinct", distinct_result);
const struct lb_group_state_class lb_group_collect_set = SET_CLASS("collect_set", set_result);
const struct lb_group_state_class lb_group_mode = SET_CLASS("mode", mode_result);
