/* The space-saving sketch; see heavy_hitters.h.
 *
 * IDEA   Counters lie in a binary heap by count, and are found through a small open table of their places. A key that
 *        rises in the heap moves the places of few others. The table is cleared of one key by moving up those behind it
 *        that would be missed (Knuth, volume 3, 6.4, algorithm R). */
#include "core/algo/heavy_hitters.h"

#include <stdlib.h>

#include "core/base/hash.h"
#include "core/base/sys.h"
#include "core/column/key.h"

enum { SLOTS = 512 }; /* a power of 2, four times the keys */

static size_t kept_bytes(size_t size)
{
    return size < LB_HEAVY_KEY_BYTES ? size : LB_HEAVY_KEY_BYTES;
}

void lb_heavy_fini(struct lb_heavy_hitters *heavy)
{
    for (uint32_t i = 0; i < heavy->n; i++)
        lb_free(heavy->keys[i].key, kept_bytes(heavy->keys[i].key_size) + 1);
    if (heavy->keys != NULL) {
        lb_free(heavy->keys, LB_HEAVY_KEYS * sizeof *heavy->keys);
        lb_free(heavy->slots, SLOTS);
    }
    *heavy = (struct lb_heavy_hitters){0};
}

static lb_status make_keys(struct lb_heavy_hitters *heavy, struct lb_error *err)
{
    size_t bytes = LB_HEAVY_KEYS * sizeof *heavy->keys;
    heavy->keys = lb_alloc_zero(bytes);
    heavy->slots = lb_alloc_zero(SLOTS);
    if (heavy->keys != NULL && heavy->slots != NULL)
        return LB_OK;
    if (heavy->keys != NULL)
        lb_free(heavy->keys, bytes);
    if (heavy->slots != NULL)
        lb_free(heavy->slots, SLOTS);
    heavy->keys = NULL;
    heavy->slots = NULL;
    return lb_error_memory(err, "the counters of heavy keys", bytes);
}

static bool is_key(const struct lb_heavy_key *item, uint64_t hash, const char *key, size_t size)
{
    return item->hash == hash && item->key_size == size &&
           memcmp(item->key, key, kept_bytes(size)) == 0;
}

/* The slot that names keys[i]. */
static uint32_t slot_of(const struct lb_heavy_hitters *heavy, uint32_t i)
{
    uint32_t slot = (uint32_t)heavy->keys[i].hash & (SLOTS - 1);
    while (heavy->slots[slot] != i + 1)
        slot = (slot + 1) & (SLOTS - 1);
    return slot;
}

static void swap(struct lb_heavy_hitters *heavy, uint32_t a, uint32_t b)
{
    uint32_t slot_a = slot_of(heavy, a), slot_b = slot_of(heavy, b);
    struct lb_heavy_key item = heavy->keys[a];
    heavy->keys[a] = heavy->keys[b];
    heavy->keys[b] = item;
    heavy->slots[slot_a] = (uint8_t)(b + 1);
    heavy->slots[slot_b] = (uint8_t)(a + 1);
}

static void sift_down(struct lb_heavy_hitters *heavy, uint32_t i)
{
    for (;;) {
        uint32_t least = i, left = 2 * i + 1, right = left + 1;
        if (left < heavy->n && heavy->keys[left].count < heavy->keys[least].count)
            least = left;
        if (right < heavy->n && heavy->keys[right].count < heavy->keys[least].count)
            least = right;
        if (least == i)
            return;
        swap(heavy, i, least);
        i = least;
    }
}

static void sift_up(struct lb_heavy_hitters *heavy, uint32_t i)
{
    for (; i > 0 && heavy->keys[i].count < heavy->keys[(i - 1) / 2].count; i = (i - 1) / 2)
        swap(heavy, i, (i - 1) / 2);
}

static void drop_slot(struct lb_heavy_hitters *heavy, uint32_t empty)
{
    uint32_t slot = empty;
    for (;;) {
        slot = (slot + 1) & (SLOTS - 1);
        if (heavy->slots[slot] == 0)
            break;
        uint32_t home = (uint32_t)heavy->keys[heavy->slots[slot] - 1].hash & (SLOTS - 1);
        /* It may move when its home is not between the hole and itself. */
        if (((slot - home) & (SLOTS - 1)) >= ((slot - empty) & (SLOTS - 1))) {
            heavy->slots[empty] = heavy->slots[slot];
            empty = slot;
        }
    }
    heavy->slots[empty] = 0;
}

/* The counter of a key, or LB_HEAVY_KEYS. */
static uint32_t find_key(const struct lb_heavy_hitters *heavy, uint64_t hash, const char *key,
                         size_t size)
{
    uint32_t slot = (uint32_t)hash & (SLOTS - 1);
    for (; heavy->slots != NULL && heavy->slots[slot] != 0; slot = (slot + 1) & (SLOTS - 1)) {
        uint32_t i = heavy->slots[slot] - 1u;
        if (is_key(&heavy->keys[i], hash, key, size))
            return i;
    }
    return LB_HEAVY_KEYS;
}

bool lb_heavy_is(const struct lb_heavy_hitters *heavy, const char *key, size_t size, uint64_t part)
{
    if (size == 0)
        key = ""; /* it may have no address */
    uint32_t i = find_key(heavy, lb_hash_bytes(key, size), key, size);
    return i < LB_HEAVY_KEYS &&
           (heavy->keys[i].count - heavy->keys[i].error) * part > heavy->n_rows;
}

static lb_status count_key(struct lb_heavy_hitters *heavy, uint64_t hash, const char *key,
                           size_t size, uint64_t rows, uint64_t error, struct lb_error *err)
{
    if (heavy->keys == NULL)
        LB_TRY(make_keys(heavy, err));
    uint32_t i = find_key(heavy, hash, key, size);
    if (i < LB_HEAVY_KEYS) {
        heavy->keys[i].count += rows;
        heavy->keys[i].error += error;
        sift_down(heavy, i);
        return LB_OK;
    }
    size_t kept = kept_bytes(size);
    char *copy = lb_alloc(kept + 1);
    if (copy == NULL)
        return lb_error_memory(err, "the counters of heavy keys", kept + 1);
    memcpy(copy, key, kept);
    i = 0;
    struct lb_heavy_key *item = &heavy->keys[0];
    if (heavy->n < LB_HEAVY_KEYS) {
        i = heavy->n++;
        item = &heavy->keys[i];
    } else {
        drop_slot(heavy, slot_of(heavy, 0));
        lb_free(item->key, kept_bytes(item->key_size) + 1);
        rows += item->count;
        error += item->count;
    }
    *item = (struct lb_heavy_key){
        .hash = hash, .count = rows, .error = error, .key_size = (uint32_t)size, .key = copy};
    uint32_t slot = (uint32_t)hash & (SLOTS - 1);
    while (heavy->slots[slot] != 0)
        slot = (slot + 1) & (SLOTS - 1);
    heavy->slots[slot] = (uint8_t)(i + 1);
    sift_up(heavy, i);
    sift_down(heavy, i);
    return LB_OK;
}

lb_status lb_heavy_add(struct lb_heavy_hitters *heavy, const char *key, size_t size, uint64_t rows,
                       struct lb_error *err)
{
    heavy->n_rows += rows;
    if (size == 0)
        key = ""; /* it may have no address */
    return count_key(heavy, lb_hash_bytes(key, size), key, size, rows, 0, err);
}

/* A key that only one of the two has may have had as many rows in the other as its smallest counter says. */
lb_status lb_heavy_merge(struct lb_heavy_hitters *heavy, const struct lb_heavy_hitters *from,
                         struct lb_error *err)
{
    uint64_t here = heavy->n == LB_HEAVY_KEYS ? heavy->keys[0].count : 0;
    uint64_t there = from->n == LB_HEAVY_KEYS ? from->keys[0].count : 0;
    struct lb_heavy_hitters sum = {.n_rows = heavy->n_rows + from->n_rows};
    lb_status status = LB_OK;
    /* All keys of both; those of the greater counts are kept. */
    struct lb_heavy_key *all = lb_alloc_zero(2 * LB_HEAVY_KEYS * sizeof *all);
    if (all == NULL)
        return lb_error_memory(err, "the counters of heavy keys", 2 * LB_HEAVY_KEYS * sizeof *all);
    uint32_t n = 0;
    for (uint32_t i = 0; i < heavy->n; i++) {
        all[n] = heavy->keys[i];
        all[n].count += there;
        all[n++].error += there;
    }
    for (uint32_t i = 0; i < from->n; i++) {
        const struct lb_heavy_key *item = &from->keys[i];
        uint32_t k = 0;
        while (k < heavy->n && !is_key(&all[k], item->hash, item->key, item->key_size))
            k++;
        if (k < heavy->n) {
            all[k].count += item->count - there;
            all[k].error += item->error - there;
        } else {
            all[n] = *item;
            all[n].count += here;
            all[n++].error += here;
        }
    }
    struct lb_heavy_hitters order = {.keys = all, .n = n};
    lb_heavy_order(&order);
    for (uint32_t i = 0; status == LB_OK && i < n && i < LB_HEAVY_KEYS; i++)
        status = count_key(&sum, all[i].hash, all[i].key, all[i].key_size, all[i].count,
                           all[i].error, err);
    lb_free(all, 2 * LB_HEAVY_KEYS * sizeof *all);
    if (status != LB_OK) {
        lb_heavy_fini(&sum);
        return status;
    }
    lb_heavy_fini(heavy);
    *heavy = sum;
    return LB_OK;
}

static int compare(const void *left, const void *right)
{
    const struct lb_heavy_key *a = left, *b = right;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    int order = lb_key_compare(a->key, kept_bytes(a->key_size), b->key, kept_bytes(b->key_size));
    return order != 0 ? order : (a->key_size > b->key_size) - (a->key_size < b->key_size);
}

void lb_heavy_order(struct lb_heavy_hitters *heavy)
{
    if (heavy->n > 1)
        qsort(heavy->keys, heavy->n, sizeof *heavy->keys, compare);
}
