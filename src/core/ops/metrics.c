/* What operators tell of their run; see metrics.h. */
#include "core/ops/metrics.h"

#include <stdlib.h>

#include "core/base/sys.h"
#include "core/column/key.h"

enum {
#ifdef LB_TINY
    GAPS = 3,
#else
    GAPS = 63,
#endif
    MOST_SPREAD = 64,
    HOT_PART = 64, /* a key with more than such a part of the rows is hot */
    MOST_HOT = 10
};

/* ---- heavy keys ---- */

void lb_heat_init(struct lb_heat *heat, bool closed)
{
    *heat = (struct lb_heat){.closed = closed};
    pthread_mutex_init(&heat->lock, NULL);
}

void lb_heat_fini(struct lb_heat *heat)
{
    lb_heavy_fini(&heat->all);
    pthread_mutex_destroy(&heat->lock);
}

lb_status lb_heat_count(struct lb_heat_local *local, const char *key, size_t size,
                        struct lb_error *err)
{
    uint64_t rows = local->gap > 0 ? local->gap : 1;
    local->random = local->random * 1664525u + 1013904223u;
    local->gap = local->until = 1 + (local->random >> 16) % GAPS;
    return lb_heavy_add(&local->seen, key, size, rows, err);
}

bool lb_heat_is_hot(const struct lb_heat_local *local, const struct lb_buf *key)
{
    return lb_heavy_is(&local->seen, key->data, key->size, HOT_PART);
}

lb_status lb_heat_merge(struct lb_heat *heat, struct lb_heat_local *local, struct lb_error *err)
{
    pthread_mutex_lock(&heat->lock);
    lb_status status = lb_heavy_merge(&heat->all, &local->seen, err);
    pthread_mutex_unlock(&heat->lock);
    return status;
}

void lb_heat_local_fini(struct lb_heat_local *local)
{
    lb_heavy_fini(&local->seen);
}

/* ---- facts ---- */

/* One field of a map. */
static lb_status put_name(struct lb_buf *out, const char *name, struct lb_error *err)
{
    return lb_codec_put_string(out, name, strlen(name), err);
}

static lb_status put_count(struct lb_buf *out, const char *name, uint64_t value,
                           struct lb_error *err)
{
    LB_TRY(put_name(out, name, err));
    return lb_codec_put_int(out, (int64_t)value, err);
}

lb_status lb_facts_put_key(struct lb_buf *out, const char *key, size_t size, bool closed,
                           struct lb_error *err)
{
    size_t start = out->size, mark;
    const char *cursor = key, *end = key + size;
    lb_status status = lb_key_decode_next(&cursor, end, closed, out, NULL);
    if (status == LB_OK && cursor == end)
        return LB_OK;
    out->size = start;
    LB_TRY(lb_codec_begin(out, 'l', &mark, err));
    uint32_t n = 0;
    cursor = key;
    for (status = LB_OK; status == LB_OK && cursor < end; n++)
        status = lb_key_decode_next(&cursor, end, true, out, NULL);
    if (status == LB_OK && n > 0) {
        lb_codec_end(out, mark, n);
        return LB_OK;
    }
    out->size = start;
    return lb_codec_put_string(out, size > 0 ? key + 1 : key, size > 0 ? size - 1 : 0, err);
}

static int compare_counts(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* hot = list of { key, rows } */
static lb_status put_hot(struct lb_buf *out, struct lb_heat *heat, struct lb_error *err)
{
    size_t list, mark;
    uint32_t n = 0;
    LB_TRY(put_name(out, "hot", err));
    LB_TRY(lb_codec_begin(out, 'l', &list, err));
    if (heat != NULL)
        lb_heavy_order(&heat->all);
    for (; heat != NULL && n < heat->all.n && n < MOST_HOT; n++) {
        const struct lb_heavy_key *item = &heat->all.keys[n];
        if ((item->count - item->error) * HOT_PART <= heat->all.n_rows)
            break;
        size_t kept = item->key_size < LB_HEAVY_KEY_BYTES ? item->key_size : LB_HEAVY_KEY_BYTES;
        LB_TRY(lb_codec_begin(out, 'm', &mark, err));
        LB_TRY(put_name(out, "key", err));
        LB_TRY(lb_facts_put_key(out, item->key, kept, heat->closed, err));
        LB_TRY(put_count(out, "rows", item->count, err));
        lb_codec_end(out, mark, 2);
    }
    lb_codec_end(out, list, n);
    return LB_OK;
}

/* spread = the sorted counts, or as many of them at even distances. */
static lb_status put_spread(struct lb_buf *out, const uint64_t *counts, uint32_t n,
                            struct lb_error *err)
{
    size_t list;
    uint32_t n_put = n < MOST_SPREAD ? n : MOST_SPREAD;
    LB_TRY(put_name(out, "rows_spread", err));
    LB_TRY(lb_codec_begin(out, 'l', &list, err));
    for (uint32_t i = 0; i < n_put; i++) {
        uint64_t at = n_put > 1 ? (uint64_t)i * (n - 1) / (n_put - 1) : 0;
        LB_TRY(lb_codec_put_int(out, (int64_t)counts[at], err));
    }
    lb_codec_end(out, list, n_put);
    return LB_OK;
}

/* counts: rows of the n partitions, sorted. */
static lb_status put_shuffle(struct lb_buf *out, const struct lb_sorter *sorter,
                             struct lb_heat *heat, const uint64_t *counts, uint32_t n,
                             struct lb_error *err)
{
    size_t mark;
    out->size = 0;
    LB_TRY(lb_codec_begin(out, 'm', &mark, err));
    LB_TRY(put_count(out, "bytes", lb_sorter_row_bytes(sorter), err));
    LB_TRY(put_hot(out, heat, err));
    LB_TRY(put_count(out, "partitions", n, err));
    LB_TRY(put_count(out, "rows", lb_sorter_n_rows(sorter), err));
    LB_TRY(put_count(out, "rows_max", counts[n - 1], err));
    LB_TRY(put_count(out, "rows_median", counts[n / 2], err));
    LB_TRY(put_count(out, "rows_min", counts[0], err));
    LB_TRY(put_spread(out, counts, n, err));
    LB_TRY(put_count(out, "spilled_bytes", lb_sorter_spilled_bytes(sorter), err));
    lb_codec_end(out, mark, 9);
    return LB_OK;
}

lb_status lb_facts_of_shuffle(struct lb_op *op, const struct lb_sorter *sorter,
                              struct lb_heat *heat, struct lb_error *err)
{
    uint32_t n = lb_sorter_n_partitions(sorter);
    uint64_t *counts = lb_alloc(n * sizeof *counts);
    if (counts == NULL)
        return lb_error_memory(err, op->label, n * sizeof *counts);
    for (uint32_t i = 0; i < n; i++)
        counts[i] = lb_sorter_partition_rows(sorter, i);
    qsort(counts, n, sizeof *counts, compare_counts);
    lb_status status = put_shuffle(&op->facts, sorter, heat, counts, n, err);
    if (status != LB_OK)
        op->facts.size = 0; /* no half value */
    lb_free(counts, n * sizeof *counts);
    return status;
}

static lb_status put_pieces(struct lb_buf *out, const struct lb_sort_pieces *pieces, bool closed,
                            struct lb_error *err)
{
    size_t map, list, mark;
    out->size = 0;
    LB_TRY(lb_codec_begin(out, 'm', &map, err));
    LB_TRY(put_name(out, "split", err));
    LB_TRY(lb_codec_begin(out, 'l', &list, err));
    for (uint32_t i = 0; i < pieces->n_splits; i++) {
        struct lb_sort_split *split = &pieces->splits[i];
        LB_TRY(lb_codec_begin(out, 'm', &mark, err));
        LB_TRY(put_name(out, "key", err));
        LB_TRY(lb_facts_put_key(out, split->group, split->group_size, closed, err));
        LB_TRY(put_count(out, "pieces", split->n_pieces, err));
        LB_TRY(put_count(out, "rows", atomic_load(&split->n_rows), err));
        lb_codec_end(out, mark, 3);
    }
    lb_codec_end(out, list, pieces->n_splits);
    lb_codec_end(out, map, 1);
    return LB_OK;
}

lb_status lb_facts_of_pieces(struct lb_op *op, const struct lb_sort_pieces *pieces, bool closed,
                             struct lb_error *err)
{
    lb_status status = put_pieces(&op->facts, pieces, closed, err);
    if (status != LB_OK)
        op->facts.size = 0;
    return status;
}
