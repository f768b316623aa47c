/* Partial states as rows and records; see partials.h. */
#include "core/ops/partials.h"

#include "core/base/hash.h"

lb_status lb_partials_add(struct lb_sort_writer *writer, uint32_t n_partitions, uint64_t sequence,
                          const struct lb_buf *key, size_t payload_size,
                          const struct lb_heat_local *heat, char **payload, const struct lb_op *op,
                          struct lb_error *err)
{
    if (payload_size > UINT32_MAX || key->size >= UINT32_MAX)
        return lb_error_set(err, LB_ERR_RESOURCE, "%s: a state of more than 4 GiB", op->label);
    bool cut = heat != NULL;
    uint32_t size = (uint32_t)key->size;
    uint32_t partition = 0;
    if (n_partitions > 1)
        partition = (uint32_t)(lb_hash_bytes(key->data, size) % n_partitions);
    struct lb_sort_row *row = NULL;
    LB_TRY(lb_sort_writer_add(writer, partition, sequence, size + cut, size, (uint32_t)payload_size,
                              &row, err));
    memcpy(row->bytes, key->data, size);
    if (cut)
        row->bytes[size] = (char)0xFF;
    if (cut && lb_heat_is_hot(heat, key))
        lb_sort_writer_prefer(writer);
    *payload = row->bytes + size + cut;
    return LB_OK;
}

lb_status lb_partials_take(struct lb_sort_writer *writer, uint32_t n_partitions, uint64_t *sequence,
                           const struct lb_batch *batch, const struct lb_op *op,
                           struct lb_error *err)
{
    bool good = batch->n_columns == 2 && batch->columns[0].type == LB_STRING &&
                batch->columns[1].type == LB_STRING;
    if (!good)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: records are no partial states",
                            op->label);
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t at = lb_batch_row(batch, i);
        const struct lb_view *key = &batch->columns[0].views[at];
        const struct lb_view *state = &batch->columns[1].views[at];
        struct lb_buf bytes = {.data = (char *)lb_view_data(key), .size = key->size};
        char *payload = NULL;
        LB_TRY(lb_partials_add(writer, n_partitions, (*sequence)++, &bytes, state->size, NULL,
                               &payload, op, err));
        if (state->size > 0)
            memcpy(payload, lb_view_data(state), state->size);
    }
    return LB_OK;
}

lb_status lb_partials_put(struct lb_batch_builder *builder, const struct lb_buf *key,
                          const struct lb_buf *payload, struct lb_error *err)
{
    struct lb_builder *column = NULL;
    LB_TRY(lb_batch_builder_column(builder, 0, &column, err));
    LB_TRY(lb_builder_string(column, key->data, key->size, err));
    LB_TRY(lb_batch_builder_column(builder, 1, &column, err));
    LB_TRY(lb_builder_string(column, payload->data, payload->size, err));
    return lb_batch_builder_end_row(builder, 0, err);
}
