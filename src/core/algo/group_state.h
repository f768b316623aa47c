/* Aggregate functions over columns, with SQL's rules: nils are passed over, no values give nil (a count 0).
 *
 * CALLS  init; then in workers: (update | save | reset)*; or in a final merge, per group: clear, (merge)+, result;
 *        fini.
 * IDEA   Groups are numbered from 0 (slots) by the caller. A function has a state per slot, in an array of its own or beside
 *        those of others (group_records.h), and goes over a whole batch at once, with loops of its own for typed columns.
 * STATES A state of zero bytes is that of a group without values. What does not fit its fixed size is in memory
 *        shared by all states of one struct, which reset frees.
 * ORDER  Results depend on the set of (position, value) alone, never on how rows were spread over workers and flushes:
 *        a position is the row's place in the input, and `first` is the value of the lowest one.
 * FORMAT A partial state is bytes that only its class reads; it knows its own end, so partials stand side by side.
 *
 * FUNCTIONS (parameters of the plan's map: fn, column (1-based), column2, and those named here)
 *   count             rows; with a column its values
 *   sum               integers exactly, LB_ERR_DATA when the result leaves 64 bits; any float makes it a float, by algo/float_sum.h
 *   avg               float; of integers alone the exact quotient, rounded once
 *   min max any_value numbers by value (NaN only when there is nothing else), then strings, lists, maps as in key.h;
 *                     any_value is the least one
 *   first last        by position
 *   min_by max_by     column where column2 is least or greatest; of equals the first by position; may be nil
 *   count_distinct collect_set (in key order) mode (of equals the least) median quantile (p: 0 to 1)
 *                     exact; memory grows with the distinct values. The latter two interpolate and give a float
 *   approx_count_distinct  HyperLogLog of 4096 registers: standard error 1.6 %
 *   variance stddev   of a sample (nil below two values); population: true divides by n. See group_state_moment.c
 *   corr              Pearson's, of column and column2 where neither is nil; nil when one of them is constant
 *   collect_list      by position
 *   bool_and bool_or */
#ifndef LB_ALGO_GROUP_STATE_H
#define LB_ALGO_GROUP_STATE_H

#include "core/base/buf.h"
#include "core/column/batch.h"
#include "core/column/builder.h"
#include "core/column/codec.h"

enum { LB_NO_COLUMN = UINT32_MAX };

struct lb_group_state_class;
struct lb_worker;

struct lb_group_state {
    const struct lb_group_state_class *class;
    /* configuration */
    char label[64];         /* for people: parameter `label`, or the function's name */
    uint32_t column;        /* 0-based, or LB_NO_COLUMN */
    uint32_t column2;       /* likewise */
    double p;               /* of quantile */
    bool population;        /* of variance and stddev */
    struct lb_value params; /* all of them, for classes of hosts */
    struct lb_worker
        *worker; /* whose thread this runs in; NULL: parameters are looked at, no rows */
    /* state */
    char *states;         /* the state of slot 0; those not used yet are zero */
    size_t stride;        /* bytes from one slot to the next */
    size_t capacity;      /* slots there is room for; not in records */
    size_t n_slots;       /* slots in use */
    bool is_in_record;    /* the states lie in records (group_records.h), which own them */
    uint32_t state_bytes; /* of one; the class's, unless it fitted them to a type */
    uint32_t offset;      /* in records */
    void *extra;          /* the class's own */
};

/* The rows of an update: selected row i belongs to group slots[i] and has position `position + i`. */
struct lb_group_rows {
    const struct lb_batch *batch;
    const uint32_t *slots; /* n_selected of them */
    uint64_t position;
};

/* params: a codec map as in FUNCTIONS, and what a host's function (the user's own aggregates) takes; borrowed until fini. An
 * unknown function or wrong parameter is LB_ERR_INTERNAL. worker: for classes of hosts. After a failure only fini. */
lb_status lb_group_state_init(struct lb_group_state *state, const struct lb_value *params,
                              struct lb_worker *worker, struct lb_error *err) LB_MUST_USE;
void lb_group_state_fini(struct lb_group_state *state);
/* Adds a host's function; before any run, not thread-safe. */
void lb_group_state_register(const struct lb_group_state_class *class);
/* Folds the rows in; all slots are below n_slots. A value of a wrong type is LB_ERR_DATA, naming the record. */
lb_status lb_group_state_update(struct lb_group_state *state, size_t n_slots,
                                const struct lb_group_rows *rows, struct lb_error *err) LB_MUST_USE;
/* For who leaves out rows that update would refuse: whether any of the batch may be one; LB_ERR_DATA, as from update, of
 * a row that is one. The state has no part in it, only the parameters. */
bool lb_group_state_may_refuse(const struct lb_group_state *state, const struct lb_batch *batch);
lb_status lb_group_state_check(const struct lb_group_state *state, const struct lb_batch *batch,
                               uint32_t row, struct lb_error *err) LB_MUST_USE;
/* Appends the partial state of a slot that update or merge was told of. */
lb_status lb_group_state_save(struct lb_group_state *state, size_t slot, struct lb_buf *out,
                              struct lb_error *err) LB_MUST_USE;
/* Whether the rows of a group must all come to one slot of this state, in order of their positions; partials may come
 * to a merge in any order. */
bool lb_group_state_is_ordered(const struct lb_group_state *state);
/* Whether a group being merged can be saved as slot 0, for another merge. */
bool lb_group_state_saves_merged(const struct lb_group_state *state);
/* Forgets all states; keeps little memory. */
void lb_group_state_reset(struct lb_group_state *state);
size_t lb_group_state_held_bytes(const struct lb_group_state *state);

/* Final merge: one group at a time. */
lb_status lb_group_state_clear(struct lb_group_state *state, struct lb_error *err) LB_MUST_USE;
/* Folds in the partial at *cursor and moves the cursor behind it. */
lb_status lb_group_state_merge(struct lb_group_state *state, const char **cursor, const char *end,
                               struct lb_error *err) LB_MUST_USE;
/* What the values of the group being merged take, and will take for the result; 0 for functions whose states do not grow
 * with their values. */
size_t lb_group_state_merged_bytes(const struct lb_group_state *state);
/* The function's name. */
const char *lb_group_state_name(const struct lb_group_state *state);
/* Appends the result as one row. */
lb_status lb_group_state_result(struct lb_group_state *state, struct lb_builder *out,
                                struct lb_error *err) LB_MUST_USE;

#endif
