/* A set of values with their counts: see value_set.h. */
#include "core/algo/value_set.h"

#include <math.h>

#include "core/algo/group_state_private.h"
#include "core/base/sys.h"
#include "core/column/key.h"

#ifdef LB_TINY
enum { COMPACT_AT = 8, KEEP_BYTES = 1 << 10 };
#else
enum { COMPACT_AT = 4096, KEEP_BYTES = 1 << 20 };
#endif

void lb_value_set_clear(struct lb_value_set *set)
{
    set->n = set->n_compact = 0;
    set->bytes.size = 0;
    if (set->capacity * sizeof *set->items + set->bytes.capacity > KEEP_BYTES)
        lb_value_set_fini(set);
}

void lb_value_set_fini(struct lb_value_set *set)
{
    lb_free(set->items, set->capacity * sizeof *set->items);
    lb_buf_fini(&set->bytes);
    set->items = NULL;
    set->n = set->n_compact = set->capacity = 0;
}

static struct lb_value merged_number(const struct lb_set_item *m)
{
    struct lb_value value = {.tag = (char)m->tag, .i = m->i};
    return value;
}

static int compare_merged(const struct lb_value_set *set, const struct lb_set_item *a,
                          const struct lb_set_item *b)
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
    const char *x = set->bytes.data + a->at, *y = set->bytes.data + b->at;
    if (rank == 4)
        return lb_key_compare(x, a->size, y, b->size);
    uint32_t x_size, y_size;
    memcpy(&x_size, x, 4);
    memcpy(&y_size, y, 4);
    return lb_key_compare(x + 4, x_size, y + 4, y_size);
}

/* Two equal values become one; the one that stands for both does not depend on their order. */
static void unite(const struct lb_value_set *set, struct lb_set_item *into,
                  const struct lb_set_item *more)
{
    uint64_t count = into->count + more->count;
    bool better = false;
    if (lb_group_rank((char)into->tag) == 3) {
        struct lb_value x = merged_number(more), y = merged_number(into);
        better = lb_group_prefers(&x, &y);
    } else if (into->tag == 'l' || into->tag == 'm') {
        const char *x = set->bytes.data + more->at, *y = set->bytes.data + into->at;
        better = lb_key_compare(x, more->size, y, into->size) > 0;
    }
    if (better)
        *into = *more;
    into->count = count;
}

/* Merges the sorted a[0..n) and b[0..m) to out. */
static void merge_sorted(const struct lb_value_set *set, const struct lb_set_item *a, size_t n,
                         const struct lb_set_item *b, size_t m, struct lb_set_item *out)
{
    while (n > 0 && m > 0) {
        if (compare_merged(set, a, b) <= 0) {
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
static struct lb_set_item *sort_merged(const struct lb_value_set *set, struct lb_set_item *items,
                                       struct lb_set_item *scratch, size_t n)
{
    enum { RUN = 8 };
    for (size_t start = 0; start < n; start += RUN) {
        size_t end = start + RUN < n ? start + RUN : n;
        for (size_t i = start + 1; i < end; i++) {
            struct lb_set_item moved = items[i];
            size_t j = i;
            for (; j > start && compare_merged(set, &moved, &items[j - 1]) < 0; j--)
                items[j] = items[j - 1];
            items[j] = moved;
        }
    }
    for (size_t width = RUN; width < n; width *= 2) {
        for (size_t start = 0; start < n; start += 2 * width) {
            size_t middle = start + width < n ? start + width : n;
            size_t end = middle + width < n ? middle + width : n;
            merge_sorted(set, items + start, middle - start, items + middle, end - middle,
                         scratch + start);
        }
        struct lb_set_item *swap = items;
        items = scratch;
        scratch = swap;
    }
    return items;
}

/* Copies the bytes of the values that are left to a buffer without the others'. */
static lb_status drop_bytes(struct lb_value_set *set, struct lb_error *err)
{
    struct lb_buf bytes = {0};
    size_t total = 0;
    for (size_t i = 0; i < set->n; i++)
        total += lb_group_rank((char)set->items[i].tag) >= 4 ? set->items[i].size : 0;
    if (total + total / 2 >= set->bytes.size)
        return LB_OK;
    LB_TRY(lb_buf_reserve(&bytes, total, err));
    for (size_t i = 0; i < set->n; i++) {
        struct lb_set_item *m = &set->items[i];
        if (lb_group_rank((char)m->tag) < 4)
            continue;
        if (m->size > 0)
            memcpy(bytes.data + bytes.size, set->bytes.data + m->at, m->size);
        m->at = bytes.size;
        bytes.size += m->size;
    }
    lb_buf_fini(&set->bytes);
    set->bytes = bytes;
    return LB_OK;
}

lb_status lb_value_set_compact(struct lb_value_set *set, struct lb_error *err)
{
    size_t n = set->n;
    if (n == set->n_compact)
        return LB_OK;
    if (n > 1) {
        struct lb_set_item *scratch = lb_alloc(n * sizeof *scratch);
        if (scratch == NULL)
            return lb_error_memory(err, set->label, n * sizeof *scratch);
        const struct lb_set_item *sorted = sort_merged(set, set->items, scratch, n);
        size_t kept = 0;
        for (size_t i = 0; i < n; i++) {
            if (kept > 0 && compare_merged(set, &set->items[kept - 1], &sorted[i]) == 0)
                unite(set, &set->items[kept - 1], &sorted[i]);
            else
                set->items[kept++] = sorted[i];
        }
        lb_free(scratch, n * sizeof *scratch);
        set->n = kept;
        LB_TRY(drop_bytes(set, err));
    }
    set->n_compact = set->n;
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

lb_status lb_value_set_add(struct lb_value_set *set, const struct lb_value *value, uint64_t count,
                           struct lb_error *err)
{
    if (set->n == set->capacity) {
        if (set->n >= COMPACT_AT)
            LB_TRY(lb_value_set_compact(set, err));
        if (set->n >= set->capacity / 2) {
            size_t old = set->capacity;
            size_t capacity = old > 0 ? 2 * old : 16;
            struct lb_set_item *merged =
                lb_realloc(set->items, old * sizeof *set->items, capacity * sizeof *merged);
            if (merged == NULL)
                return lb_error_memory(err, set->label, capacity * sizeof *merged);
            set->items = merged;
            set->capacity = capacity;
        }
    }
    struct lb_set_item m = {.tag = (uint8_t)value->tag, .count = count};
    if (value->tag == 'i' || value->tag == 'd') {
        m.i = value->i;
        m.order = number_order(value);
    } else if (value->tag == 's') {
        m.at = set->bytes.size;
        m.size = (uint32_t)value->size;
        m.order = string_order(value->data, value->size);
        LB_TRY(lb_buf_append(&set->bytes, value->data, value->size, err));
    } else if (value->tag == 'l' || value->tag == 'm') {
        size_t size, start = set->bytes.size;
        const char *data = lb_value_encoded(value, &size);
        uint32_t key_size = 0;
        LB_TRY(lb_buf_append(&set->bytes, &key_size, 4, err));
        LB_TRY(lb_key_put_encoded(&set->bytes, data, size, false, err));
        key_size = (uint32_t)(set->bytes.size - start - 4);
        memcpy(set->bytes.data + start, &key_size, 4);
        LB_TRY(lb_buf_append(&set->bytes, data, size, err));
        if (set->bytes.size - start > UINT32_MAX)
            return lb_error_set(err, LB_ERR_RESOURCE, "%s: a value is too large", set->label);
        m.at = start;
        m.size = (uint32_t)(set->bytes.size - start);
    }
    set->items[set->n++] = m;
    return LB_OK;
}

struct lb_value lb_value_set_value(const struct lb_value_set *set, const struct lb_set_item *m)
{
    struct lb_value value = merged_number(m);
    const char *data = set->bytes.data;
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
