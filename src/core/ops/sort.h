/* Rows of the sort sink, as the sources that stand on it read them.
 *
 * FORMAT  payload of a row = for each column of the record one codec value (column/codec.h), except that the tag byte
 *         'K' stands for "the string that is this row's sort key": then bytes[0] is LB_KEY_STRING and the string is
 *         bytes[1 .. group_size). With `sides` the key byte at group_size is 255 - side: a group
 *         begins with its rows of the highest side. */
#ifndef LB_OPS_SORT_H
#define LB_OPS_SORT_H

#include "core/algo/sorter.h"
#include "core/column/builder.h"
#include "core/ops/op.h"

/* The sorter of an open sort or aggregate operator; borrowed until it is closed. */
struct lb_sorter *lb_sort_op_sorter(const struct lb_op *sink);
/* Whether the keys of its groups are closed ones, see column/key.h. */
bool lb_sort_op_is_closed(const struct lb_op *sink);

/* How many columns the record of a row has. */
uint32_t lb_sort_row_width(const struct lb_sort_row *row);
/* Appends the record of a row to the builder as one row; strings are borrowed from the row. */
lb_status lb_sort_row_decode(const struct lb_sort_row *row, struct lb_batch_builder *builder,
                             struct lb_error *err) LB_MUST_USE;

/* The side of a row of a sort with `sides`. */
static inline uint32_t lb_sort_row_side(const struct lb_sort_row *row)
{
    return 255u - (unsigned char)row->bytes[row->group_size];
}

/* Same group: same partition and same first group_size bytes of the key. */
static inline bool lb_sort_row_same_group(const struct lb_sort_row *a, const struct lb_sort_row *b)
{
    return a->partition == b->partition && a->group_size == b->group_size &&
           memcmp(a->bytes, b->bytes, a->group_size) == 0;
}

/* The value at *cursor of a row's payload: a string view for 'K' and strings, else the encoded value
 * (then *is_string is false). Moves the cursor behind it. */
static inline void lb_sort_row_value(const struct lb_sort_row *row, const char **cursor,
                                     bool *is_string, const char **data, size_t *size)
{
    if (**cursor == 'K') {
        *is_string = true;
        *data = row->bytes + 1;
        *size = row->group_size - 1;
        *cursor += 1;
        return;
    }
    struct lb_value value;
    const char *start = *cursor;
    lb_codec_next(cursor, &value);
    *is_string = value.tag == 's';
    *data = *is_string ? value.data : start;
    *size = *is_string ? value.size : (size_t)(*cursor - start);
}

#endif
