/* Sort keys of several columns. */
#include "core/ops/column_keys.h"

#include "core/column/key.h"

lb_status lb_param_column_keys(const struct lb_op *op, struct lb_column_keys *keys,
                               struct lb_error *err)
{
    struct lb_value list, item, field;
    bool good = lb_value_field(&op->params, "keys", &list) && list.tag == 'l' && list.count > 0 &&
                list.count <= LB_MAX_COLUMNS;
    const char *cursor = good ? list.data : NULL;
    keys->n = 0;
    for (uint32_t i = 0; good && i < list.count; i++) {
        lb_codec_next(&cursor, &item);
        good = item.tag == 'm' && lb_value_field(&item, "column", &field) && field.tag == 'i' &&
               field.i >= 1 && field.i <= LB_MAX_COLUMNS;
        if (!good)
            break;
        keys->items[keys->n].column = (uint32_t)(field.i - 1);
        keys->items[keys->n++].descending =
            lb_value_field(&item, "desc", &field) && field.tag == 't';
    }
    return good ? LB_OK
                : lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: parameter 'keys' is wrong",
                               op->class->name);
}

/* The columns' keys one after the other: closed, so that each decides before the next. Of a descending one the
 * bytes are inverted, for which a closed key is prefix-free. */
lb_status lb_column_keys_put(const struct lb_column_keys *keys, struct lb_buf *out,
                             const struct lb_batch *batch, uint32_t first, uint32_t row,
                             struct lb_error *err)
{
    static const struct lb_column absent = {.type = LB_NULL};
    for (uint32_t i = 0; i < keys->n; i++) {
        size_t start = out->size;
        uint32_t column = first + keys->items[i].column;
        LB_TRY(lb_key_put_column(out, column < batch->n_columns ? &batch->columns[column] : &absent,
                                 row, true, err));
        for (size_t j = start; keys->items[i].descending && j < out->size; j++)
            out->data[j] = (char)~out->data[j];
    }
    return LB_OK;
}
