/* Looking up the keys of batches in the table of a hash join: all keys of a batch are made first, then all places are called into the
 * cache, then they are looked at. */
#include "core/algo/join_index.h"
#include "core/column/codec.h"
#include "core/column/key.h"

static const uint64_t NOWHERE = UINT64_MAX;

void lb_join_probe_fini(struct lb_join_probe *probe)
{
    lb_buf_fini(&probe->bytes);
}

/* The integer that a value equals, if any. */
static inline bool int_of(const struct lb_column *column, uint32_t row, int64_t *key)
{
    if (!lb_column_is_valid(column, row))
        return false;
    if (column->type == LB_INT64) {
        *key = column->ints[row];
        return true;
    }
    if (column->type == LB_FLOAT64)
        return lb_float_as_int(column->floats[row], key);
    if (column->type != LB_ANY)
        return false;
    struct lb_value value;
    const char *cursor = lb_view_data(&column->views[row]);
    lb_codec_next(&cursor, &value);
    if (value.tag == 'i')
        *key = value.i;
    return value.tag == 'i' || (value.tag == 'd' && lb_float_as_int(value.d, key));
}

static void find_dense(const struct lb_join_table *table, struct lb_join_probe *probe,
                       const struct lb_batch *batch, const struct lb_column *column,
                       uint32_t *first)
{
    uint64_t *places = probe->places;
    if (column->type == LB_INT64 && column->valid == NULL) {
        for (uint32_t i = 0; i < batch->n_selected; i++)
            places[i] = (uint64_t)column->ints[lb_batch_row(batch, i)] - (uint64_t)table->least;
    } else {
        for (uint32_t i = 0; i < batch->n_selected; i++) {
            int64_t key = 0;
            places[i] = int_of(column, lb_batch_row(batch, i), &key)
                            ? (uint64_t)key - (uint64_t)table->least
                            : NOWHERE;
        }
    }
    /* The loads do not depend on each other: the processor has many of them under way. */
    for (uint32_t i = 0; i < batch->n_selected; i++)
        first[i] = places[i] < table->range ? table->heads[places[i]] : 0;
}

static void find_ints(const struct lb_join_table *table, struct lb_join_probe *probe,
                      const struct lb_batch *batch, const struct lb_column *column, uint32_t *first)
{
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        int64_t key = 0;
        probe->places[i] = NOWHERE;
        if (!int_of(column, lb_batch_row(batch, i), &key))
            continue;
        uint64_t hash = lb_join_hash_int(key);
        uint32_t part = lb_join_part(table, hash);
        probe->hashes[i] = (uint64_t)key;
        probe->places[i] = (uint64_t)part << 56 | lb_join_slot_of(table, hash, part);
        __builtin_prefetch(&table->slots[probe->places[i] & (NOWHERE >> 8)]);
    }
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        first[i] = 0;
        if (probe->places[i] == NOWHERE)
            continue;
        uint32_t part = (uint32_t)(probe->places[i] >> 56);
        size_t s = probe->places[i] & (NOWHERE >> 8);
        while (table->slots[s].head != 0 && table->slots[s].key != probe->hashes[i])
            s = s + 1 < table->part_slots[part + 1] ? s + 1 : table->part_slots[part];
        first[i] = table->slots[s].head;
    }
}

/* The keys of the batch as views; those that match nothing have the size LB_JOIN_NIL_KEY. */
static lb_status make_views(const struct lb_join_table *table, struct lb_join_probe *probe,
                            const struct lb_batch *batch, const struct lb_column *const *columns,
                            struct lb_error *err)
{
    bool strings = lb_join_has_string_keys(table);
    if (strings && columns[0]->type != LB_ANY) {
        for (uint32_t i = 0; i < batch->n_selected; i++) {
            uint32_t row = lb_batch_row(batch, i);
            if (columns[0]->type == LB_STRING && lb_column_is_valid(columns[0], row))
                probe->views[i] = columns[0]->views[row];
            else
                probe->views[i].size = LB_JOIN_NIL_KEY;
        }
        return LB_OK;
    }
    if (strings) {
        for (uint32_t i = 0; i < batch->n_selected; i++) {
            uint32_t row = lb_batch_row(batch, i);
            struct lb_value value = lb_column_value(columns[0], row);
            if (value.tag == 's')
                lb_view_set(&probe->views[i], value.data, value.size);
            else
                probe->views[i].size = LB_JOIN_NIL_KEY;
        }
        return LB_OK;
    }
    probe->bytes.size = 0;
    probe->ends[0] = 0;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        bool is_nil = false;
        LB_TRY(lb_join_put_key(&probe->bytes, columns, table->n_keys, lb_batch_row(batch, i),
                               &is_nil, err));
        probe->ends[i + 1] = probe->bytes.size;
        probe->views[i].size = is_nil ? LB_JOIN_NIL_KEY : 0;
    }
    for (uint32_t i = 0; i < batch->n_selected; i++)
        if (probe->views[i].size != LB_JOIN_NIL_KEY)
            lb_view_set(&probe->views[i], probe->bytes.data + probe->ends[i],
                        probe->ends[i + 1] - probe->ends[i]);
    return LB_OK;
}

static void find_views(const struct lb_join_table *table, struct lb_join_probe *probe,
                       const struct lb_batch *batch, uint32_t *first)
{
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        probe->places[i] = NOWHERE;
        if (probe->views[i].size == LB_JOIN_NIL_KEY)
            continue;
        uint64_t hash = lb_join_hash_view(&probe->views[i]);
        uint32_t part = lb_join_part(table, hash);
        probe->hashes[i] = hash;
        probe->places[i] = (uint64_t)part << 56 | lb_join_slot_of(table, hash, part);
        __builtin_prefetch(&table->slots[probe->places[i] & (NOWHERE >> 8)]);
    }
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        if (probe->places[i] == NOWHERE)
            continue;
        const struct lb_join_slot *slot = &table->slots[probe->places[i] & (NOWHERE >> 8)];
        if (slot->head != 0 && slot->key == probe->hashes[i])
            __builtin_prefetch(&table->key_views[slot->head - 1]);
    }
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        first[i] = 0;
        if (probe->places[i] == NOWHERE)
            continue;
        uint32_t part = (uint32_t)(probe->places[i] >> 56);
        size_t s = probe->places[i] & (NOWHERE >> 8);
        while (table->slots[s].head != 0 &&
               (table->slots[s].key != probe->hashes[i] ||
                !lb_view_equal(&probe->views[i], &table->key_views[table->slots[s].head - 1])))
            s = s + 1 < table->part_slots[part + 1] ? s + 1 : table->part_slots[part];
        first[i] = table->slots[s].head;
    }
}

lb_status lb_join_table_find(const struct lb_join_table *table, struct lb_join_probe *probe,
                             const struct lb_batch *batch, const uint32_t *columns, uint32_t *first,
                             struct lb_error *err)
{
    static const struct lb_column absent = {.type = LB_NULL};
    const struct lb_column *keys[LB_MAX_COLUMNS];
    for (uint32_t i = 0; i < table->n_keys; i++)
        keys[i] = columns[i] < batch->n_columns ? &batch->columns[columns[i]] : &absent;
    if (table->n_rows == 0 || keys[0]->type == LB_NULL) {
        memset(first, 0, batch->n_selected * sizeof *first);
        return LB_OK;
    }
    if (table->kind == LB_JOIN_DENSE) {
        find_dense(table, probe, batch, keys[0], first);
    } else if (table->kind == LB_JOIN_INTEGER) {
        find_ints(table, probe, batch, keys[0], first);
    } else {
        LB_TRY(make_views(table, probe, batch, keys, err));
        find_views(table, probe, batch, first);
    }
    return LB_OK;
}
