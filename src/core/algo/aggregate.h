/* Aggregate states: what a group accumulates. The core has kernels (count, sum, min, max, first);
 * the Lua bindings add user functions with the same protocol.
 *
 * CALLS  open; then in workers: (update | save | reset)*; or in a merge, per group: load, (merge)*,
 *        then result or, when the merge was not the last one, save_merged; close.
 * STATES A partial state travels as bytes that only the class itself reads (save -> load/merge).
 * ORDER  Results must not depend on how rows were split over workers or flushes: sums of floats are
 *        therefore reproducible (binned; see float_sum.h), `first` is by input order (partials are
 *        merged in ascending sequence). */
#ifndef LB_ALGO_AGGREGATE_H
#define LB_ALGO_AGGREGATE_H

#include "core/algo/group_table.h"
#include "core/base/buf.h"
#include "core/column/batch.h"
#include "core/column/codec.h"

struct lb_aggregate;

struct lb_aggregate_class {
    const char *name; /* as plans name it: "count", "sum", "min", "max", "first", "lua.reduce"... */
    /* Fills self->state. self->class, params, worker are set. */
    lb_status (*open)(struct lb_aggregate *self, struct lb_error *err);
    void (*close)(struct lb_aggregate *self);
    /* Folds the value columns (1..) of each selected row i into found[i]; new entries have
     * state_kind 0. */
    lb_status (*update)(struct lb_aggregate *self, struct lb_group_entry **found,
                        const struct lb_batch *batch, struct lb_error *err);
    /* Appends the partial state of an entry to out. */
    lb_status (*save)(struct lb_aggregate *self, const struct lb_group_entry *entry,
                      struct lb_buf *out, struct lb_error *err);
    /* Forgets all states kept outside the entries. */
    void (*reset)(struct lb_aggregate *self);
    /* Bytes held outside the entries. */
    size_t (*held_bytes)(const struct lb_aggregate *self);
    /* Final merge of one group: start with a partial, fold further ones in, give the result as
     * encoded values, one for each output column after the key. */
    lb_status (*load)(struct lb_aggregate *self, const char *partial, size_t size,
                      struct lb_error *err);
    lb_status (*merge)(struct lb_aggregate *self, const char *partial, size_t size,
                       struct lb_error *err);
    lb_status (*result)(struct lb_aggregate *self, struct lb_buf *out, uint32_t *n_values,
                        struct lb_error *err);
    /* Appends the partial state of the group being merged. */
    lb_status (*save_merged)(struct lb_aggregate *self, struct lb_buf *out, struct lb_error *err);
    /* Optional: true when partials must cover one morsel each, to be merged in input order
     * (functions that are associative but not commutative, `first`). NULL: false. */
    bool (*is_ordered)(const struct lb_aggregate *self);
};

struct lb_aggregate {
    const struct lb_aggregate_class *class;
    struct lb_value params;   /* the plan's parameters of the aggregate: a map, or nil */
    struct lb_worker *worker; /* whose thread this runs in (exec/run.h); kernels do not look at it
                                 */
    const struct lb_buf
        *group; /* in a merge: sort key of the group (column/key.h, open), for messages; or NULL */
    void *state;
};

extern const struct lb_aggregate_class lb_aggregate_none;  /* no state: distinct; result has 0
                                                              values */
extern const struct lb_aggregate_class lb_aggregate_count; /* rows; ignores value columns */
/* sum, min, max mean what `a+b`, `math.min(a,b)`, `math.max(a,b)` fold to on numbers: sum of
 * integers wraps, any float makes the result a float. A value that is not a number fails with
 * LB_ERR_DATA and the message "not a number" so that the operator can name the record; the planner
 * of Lua reducers uses the kernel only through lua.reduce, which falls back. */
extern const struct lb_aggregate_class lb_aggregate_sum;
extern const struct lb_aggregate_class lb_aggregate_min;
extern const struct lb_aggregate_class lb_aggregate_max;
extern const struct lb_aggregate_class lb_aggregate_first;

#endif
