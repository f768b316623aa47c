/* Sort keys of several columns of a record, each in its own direction: the parameter `keys` of sort and top. */
#ifndef LB_OPS_COLUMN_KEYS_H
#define LB_OPS_COLUMN_KEYS_H

#include "core/ops/op.h"

struct lb_column_keys {
    uint32_t n;
    struct {
        uint32_t column; /* 0-based, of the record */
        bool descending;
    } items[LB_MAX_COLUMNS];
};

/* Reads `keys`, a list of maps {column: 1-based, desc?: bool}. */
lb_status lb_param_column_keys(const struct lb_op *op, struct lb_column_keys *keys,
                               struct lb_error *err) LB_MUST_USE;

/* Appends the key of a row, whose record begins at column `first` of the batch; an absent column is nil. */
lb_status lb_column_keys_put(const struct lb_column_keys *keys, struct lb_buf *out,
                             const struct lb_batch *batch, uint32_t first, uint32_t row,
                             struct lb_error *err) LB_MUST_USE;

#endif
