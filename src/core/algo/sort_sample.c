/* Samples of the rows and the splitters made from them.
 *
 * IDEA   Each row has a hash, made of its sequence number and its first key bytes; the sample is
 *        the LB_SORT_SAMPLES rows with the smallest ones. That set depends on the rows alone: not
 *        on which writer got which row, nor on what was spilled when; and the sample of all is
 *        found in the samples of the parts. The splitters are its quantiles. A range's share strays
 *        from 1/n by about sqrt(n / LB_SORT_SAMPLES) of it.
 * COST   A row costs one hash and one compare; n rows bring about LB_SORT_SAMPLES * ln(n /
 *        LB_SORT_SAMPLES) copies. */
#include "core/algo/sort_private.h"

#include <stdlib.h>

static const size_t ITEMS_BYTES = 2 * LB_SORT_SAMPLES * sizeof(struct lb_sort_sampled);

void lb_sort_sample_init(struct lb_sort_sample *sample)
{
    *sample = (struct lb_sort_sample){.limit = UINT64_MAX};
}

/* A key of no bytes has a place too, so that it can be compared like others. */
static size_t copy_bytes(size_t key_size)
{
    return key_size > 0 ? key_size : 1;
}

static void drop_from(struct lb_sort_sample *sample, size_t first)
{
    for (size_t i = first; i < sample->n; i++)
        lb_free(sample->items[i].key, copy_bytes(sample->items[i].key_size));
    if (first < sample->n)
        sample->n = first;
}

void lb_sort_sample_fini(struct lb_sort_sample *sample)
{
    drop_from(sample, 0);
    lb_free(sample->items, sample->items == NULL ? 0 : ITEMS_BYTES);
    lb_sort_sample_init(sample);
}

static int compare_keys(const void *left, const void *right)
{
    const struct lb_sort_sampled *a = left;
    const struct lb_sort_sampled *b = right;
    if (a->partition != b->partition)
        return a->partition < b->partition ? -1 : 1;
    int order = lb_key_compare(a->key, a->key_size, b->key, b->key_size);
    return order != 0 ? order : (a->sequence > b->sequence) - (a->sequence < b->sequence);
}

static int compare_keys_descending(const void *left, const void *right)
{
    const struct lb_sort_sampled *a = left;
    const struct lb_sort_sampled *b = right;
    if (a->partition != b->partition)
        return a->partition < b->partition ? -1 : 1;
    int order = lb_key_compare(b->key, b->key_size, a->key, a->key_size);
    return order != 0 ? order : (a->sequence > b->sequence) - (a->sequence < b->sequence);
}

/* A total order, so that the smallest ones are one set also when hashes collide. */
static int compare_hashes(const void *left, const void *right)
{
    const struct lb_sort_sampled *a = left;
    const struct lb_sort_sampled *b = right;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return compare_keys(a, b);
}

/* Keeps the smallest. */
static void shrink(struct lb_sort_sample *sample)
{
    if (sample->n <= LB_SORT_SAMPLES)
        return;
    qsort(sample->items, sample->n, sizeof *sample->items, compare_hashes);
    drop_from(sample, LB_SORT_SAMPLES);
    sample->limit = sample->items[sample->n - 1].hash;
}

/* Makes room for one more item. */
static lb_status make_room(struct lb_sort_sample *sample, struct lb_error *err)
{
    if (sample->items == NULL) {
        sample->items = lb_alloc(ITEMS_BYTES);
        if (sample->items == NULL)
            return lb_error_memory(err, "the sample of a sort", ITEMS_BYTES);
    }
    if (sample->n == 2 * LB_SORT_SAMPLES)
        shrink(sample);
    return LB_OK;
}

lb_status lb_sort_sample_add(struct lb_sort_sample *sample, uint64_t hash,
                             const struct lb_sort_row *row, size_t key_size, struct lb_error *err)
{
    LB_TRY(make_room(sample, err));
    if (key_size > LB_SORT_SAMPLE_KEY)
        key_size = LB_SORT_SAMPLE_KEY;
    char *copy = lb_alloc(copy_bytes(key_size));
    if (copy == NULL)
        return lb_error_memory(err, "the sample of a sort", copy_bytes(key_size));
    memcpy(copy, row->bytes, key_size);
    sample->items[sample->n++] = (struct lb_sort_sampled){.hash = hash,
                                                          .sequence = row->sequence,
                                                          .partition = row->partition,
                                                          .group_size = row->group_size,
                                                          .key_size = (uint32_t)key_size,
                                                          .key = copy};
    return LB_OK;
}

lb_status lb_sort_sample_merge(struct lb_sort_sample *sample, struct lb_sort_sample *from,
                               struct lb_error *err)
{
    while (from->n > 0) {
        LB_TRY(make_room(sample, err));
        sample->items[sample->n++] = from->items[--from->n];
    }
    return LB_OK;
}

void lb_sort_sample_order(struct lb_sort_sample *sample, const struct lb_sorter_config *config)
{
    shrink(sample);
    if (sample->n > 1)
        qsort(sample->items, sample->n, sizeof *sample->items,
              config->descending ? compare_keys_descending : compare_keys);
}

lb_status lb_sort_sample_split(struct lb_sort_sample *sample, const struct lb_sorter_config *config,
                               uint32_t n_ranges, struct lb_sort_bound **bounds, uint32_t *n_bounds,
                               struct lb_error *err)
{
    *bounds = NULL;
    *n_bounds = 0;
    lb_sort_sample_order(sample, config);
    if (n_ranges > sample->n)
        n_ranges = (uint32_t)sample->n;
    if (n_ranges <= 1)
        return LB_OK;
    size_t bytes = (n_ranges - 1) * sizeof **bounds;
    struct lb_sort_bound *made = lb_alloc_zero(bytes);
    if (made == NULL)
        return lb_error_memory(err, "the ranges of a sort", bytes);
    uint32_t n = 0;
    for (uint32_t i = 1; i < n_ranges; i++) {
        struct lb_sort_sampled *item = &sample->items[sample->n * i / n_ranges];
        const struct lb_sort_bound *last = n > 0 ? &made[n - 1] : NULL;
        /* A cut key stands before all keys that it was cut from; which of them has which sequence
         * number does not matter then. */
        uint64_t sequence =
            config->split_keys && item->key_size < LB_SORT_SAMPLE_KEY ? item->sequence : 0;
        if (last != NULL && last->sequence == sequence && last->key_size == item->key_size &&
            memcmp(last->key, item->key, item->key_size) == 0)
            continue;
        made[n++] = (struct lb_sort_bound){
            .by_key = true, .key_size = item->key_size, .key = item->key, .sequence = sequence};
    }
    struct lb_sort_bound *fitted = lb_realloc(made, bytes, n * sizeof *made);
    if (fitted == NULL) {
        lb_free(made, bytes);
        return lb_error_memory(err, "the ranges of a sort", bytes);
    }
    *bounds = fitted; /* n is at least 1 */
    *n_bounds = n;
    return LB_OK;
}
