/* One number for each group of a worker, for aggregates that care for the order of rows.
 *
 * A key may have several numbers: one in each table of group_key.h, and one for 1 and one for 1.0. Most states do not mind, for
 * their partials are brought together in any case. But where merging must be in order the rows of a key may not be divided among
 * two states of one worker, whose rows would lie between each other. Here the sort keys of new numbers are looked up, and
 * rows of a number that means a known group get that one's; its own slot stays without rows.
 * CALLS  init; (map | reset)*; fini. */
#ifndef LB_OPS_GROUP_ALIAS_H
#define LB_OPS_GROUP_ALIAS_H

#include "core/algo/group_table.h"

struct lb_group_alias {
    const uint32_t *columns; /* of the key, 0-based; borrowed */
    uint32_t n_columns;
    struct lb_group_table table; /* sort key -> number, as an entry's state */
    uint32_t *numbers;           /* what each number stands for */
    size_t n;                    /* numbers seen */
    size_t capacity;
    bool has_aliases; /* some number stands for another */
    /* of a batch */
    struct lb_buf keys;
    struct lb_view *views;         /* LB_BATCH_ROWS */
    uint32_t *fresh;               /* likewise: new numbers */
    struct lb_group_entry **found; /* likewise */
};

lb_status lb_group_alias_init(struct lb_group_alias *alias, const uint32_t *columns,
                              uint32_t n_columns, struct lb_error *err) LB_MUST_USE;
void lb_group_alias_fini(struct lb_group_alias *alias);
void lb_group_alias_reset(struct lb_group_alias *alias, size_t keep_bytes);
/* Bytes it would hold after growing for one more batch. */
size_t lb_group_alias_next_bytes(const struct lb_group_alias *alias);
/* groups: the numbers of the selected rows, all below n_groups; those of earlier batches were given here too. */
lb_status lb_group_alias_map(struct lb_group_alias *alias, const struct lb_batch *batch,
                             uint32_t *groups, size_t n_groups, struct lb_error *err) LB_MUST_USE;

#endif
