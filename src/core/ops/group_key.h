/* Keys of groups: found in a worker's tables, carried through the sorter, turned back to columns.
 *
 * CALLS  init; (find | (begin, (next, save)*) | reset)*; fini.
 * IDEA   A worker has two tables, which number groups together. Batches of integers and short strings go to the packed
 *        one (algo/packed_table.h). The general one (algo/group_table.h) has one string per key: the sort keys of its columns
 *        (column/key.h) side by side, closed unless there is only one, then what sort keys do not tell; one
 *        column alone is the table's key as it is. A key may be in both; and either way it goes into the sorter as its
 *        sort key, which brings groups together and orders them by their columns.
 * KEYS   1 and 1.0 are one key but may be two entries of a worker's table: the sorter brings them together, and
 *        lb_group_key_merge chooses column by column what stands for both: an integer before a float, -0.0 before 0.0, of
 *        tables the greatest encoding. Such a choice does not depend on the order of rows.
 * FORMAT details: one byte of enum lb_key_form per column; when one of them is LB_FORM_TABLE, then a uint32 size and so many
 *        bytes: per table a uint32 size of its sort key and its codec value.
 *        entry of several columns: sort key, tables, [uint32 size of tables, when there is one], forms. */
#ifndef LB_OPS_GROUP_KEY_H
#define LB_OPS_GROUP_KEY_H

#include "core/algo/group_table.h"
#include "core/algo/packed_table.h"
#include "core/column/builder.h"

/* ORDER: of equal numbers the lower form stands for all. */
enum lb_key_form {
    LB_FORM_NIL,
    LB_FORM_FALSE,
    LB_FORM_TRUE,
    LB_FORM_INT,
    LB_FORM_MINUS_ZERO,
    LB_FORM_FLOAT,
    LB_FORM_STRING,
    LB_FORM_TABLE
};

struct lb_group_keys {
    const uint32_t *columns;          /* 0-based; borrowed */
    uint32_t n;                       /* at least 1 */
    size_t n_groups;                  /* numbers given since the reset */
    struct lb_group_records *records; /* borrowed; used up to n_groups after a find */
    struct lb_packed_table packed;
    struct lb_group_table table; /* an entry's state is the group's number */
    struct lb_buf bytes;         /* keys of several columns, of one batch */
    struct lb_buf tables;        /* of one row */
    struct lb_buf encoded;       /* a key of one column */
    struct lb_view *views;       /* LB_BATCH_ROWS, when n > 1 */
    struct lb_group_entry **found;
};

lb_status lb_group_keys_init(struct lb_group_keys *keys, struct lb_group_records *records,
                             const uint32_t *columns, uint32_t n, struct lb_error *err) LB_MUST_USE;
void lb_group_keys_fini(struct lb_group_keys *keys);
/* Forgets all groups but not the records; keeps at most keep_bytes of memory. */
void lb_group_keys_reset(struct lb_group_keys *keys, size_t keep_bytes);
/* Bytes it would hold after growing for one more batch, without the records. */
size_t lb_group_keys_next_bytes(const struct lb_group_keys *keys);
/* The numbers of the selected rows' groups. *must_reset: nothing was done; flush and reset first, then call again. */
lb_status lb_group_keys_find(struct lb_group_keys *keys, const struct lb_batch *batch,
                             uint32_t *groups, bool *must_reset, struct lb_error *err) LB_MUST_USE;
/* Without a look for equal keys: each row becomes a group. There is none yet, and reset must come before the next find. *done:
 * false when nothing was done, as these keys can only be found. */
lb_status lb_group_keys_list(struct lb_group_keys *keys, const struct lb_batch *batch,
                             uint32_t *groups, bool *done, struct lb_error *err) LB_MUST_USE;

/* Goes through all groups; start with zero bytes. */
struct lb_group_at {
    size_t next;
    bool in_table;                      /* the general one */
    size_t group;                       /* its number */
    const struct lb_group_entry *entry; /* NULL: it is in the packed table */
};
bool lb_group_keys_next(const struct lb_group_keys *keys, struct lb_group_at *at);
/* Appends the group's sort key and its details. */
lb_status lb_group_keys_save(struct lb_group_keys *keys, const struct lb_group_at *at,
                             struct lb_buf *sort_key, struct lb_buf *details,
                             struct lb_error *err) LB_MUST_USE;

/* The size of n columns' details. */
size_t lb_group_key_details_size(const char *details, uint32_t n);
/* Of two details of one sort key: `into` gets the better one of each column. */
void lb_group_key_merge(char *into, const char *other, uint32_t n);
/* Appends the columns of a key as columns 0.. of the row being built. */
lb_status lb_group_key_decode(const char *sort_key, size_t sort_key_size, const char *details,
                              uint32_t n, struct lb_batch_builder *builder,
                              struct lb_error *err) LB_MUST_USE;

#endif
