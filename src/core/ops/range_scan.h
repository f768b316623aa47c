/* What all sources over a sorter's ranges share: a range is a morsel, a cursor walks it, groups are told apart by their
 * key, records leave in batches. Of a sort with `pieces` a morsel is a piece of a partition (algo/sort_pieces.h).
 *
 * SALT   the parameter `salt`: absent: large partitions are cut, at the borders of groups or, where the source can, within
 *        them; false: none is; an integer: groups are cut into so many pieces; a string: a user's function of the key
 *        that says into how many, see lb_host. How often depends on what the sample of the rows shows of a group.

 * CALLS  lb_range_open_op, lb_range_attach, lb_range_claim, lb_range_detach, lb_range_close_op stand in the
 *        class; in produce: lb_range_begin, then per row lb_range_next (and lb_range_enter), at the end lb_range_end. */
#ifndef LB_OPS_RANGE_SCAN_H
#define LB_OPS_RANGE_SCAN_H

#include "core/algo/sort_pieces.h"
#include "core/ops/sort.h"

/* What a source allows to be cut. */
enum lb_range_cuts { LB_CUT_NOTHING, LB_CUT_GROUPS, LB_CUT_TAILS, LB_CUT_HEADS };

struct lb_range_shared {
    struct lb_sorter *sorter;      /* borrowed from the sink */
    uint32_t next_range;           /* guarded by the stage's lock */
    enum lb_range_cuts cuts;       /* set by the class's open */
    bool closed;                   /* the groups' keys are, see column/key.h */
    bool headless;                 /* see algo/sort_pieces.h; set by the class's open */
    struct lb_sort_pieces *pieces; /* NULL: a morsel is a range; made by the first claim */
    int kind; /* the class's own: which of the names given to lb_range_open_op */
};

struct lb_range_local {
    uint32_t range;                    /* claimed: number of the range or piece */
    const struct lb_sort_piece *piece; /* NULL: a range */
    struct lb_sort_cursor *cursor;     /* of the claimed range */
    struct lb_batch_builder builder;
    size_t seen_bytes;   /* of rows since the last flush; see lb_range_see */
    struct lb_buf group; /* the current group's key bytes */
    uint32_t partition;  /* and partition */
    bool in_group;
    void *own; /* the class's own; freed by it */
};

/* kinds: names that the parameter `kind` may have, NULL-terminated; NULL: no such parameter. */
lb_status lb_range_open_op(struct lb_op *self, const char *const *kinds,
                           struct lb_error *err) LB_MUST_USE;
/* `finish` of a source that may cut keys. */
lb_status lb_range_finish_op(struct lb_op *self, struct lb_error *err) LB_MUST_USE;
void lb_range_close_op(struct lb_op *self);
lb_status lb_range_attach(struct lb_op_local *local, struct lb_error *err) LB_MUST_USE;
lb_status lb_range_claim(struct lb_op_local *local, bool *more, struct lb_error *err) LB_MUST_USE;
bool lb_range_progress(const struct lb_op *self, struct lb_progress *progress);
void lb_range_detach(struct lb_op_local *local);

/* For sources with a local state of their own: the next range or piece, and a cursor over one. op->shared
 * begins with a struct lb_range_shared. */
lb_status lb_range_take(struct lb_op_local *local, uint32_t *range, bool *more,
                        struct lb_error *err) LB_MUST_USE;
lb_status lb_range_cursor(const struct lb_op *op, uint32_t range, struct lb_sort_cursor **cursor,
                          struct lb_error *err) LB_MUST_USE;

/* Whether a row is of the group that its piece begins or ends within, and to be counted there. */
bool lb_range_counts(const struct lb_op *op, uint32_t range, const struct lb_sort_row *row);
void lb_range_add_rows(const struct lb_op *op, uint32_t range, uint64_t n_rows);

/* Opens the cursor of the claimed range. */
lb_status lb_range_begin(struct lb_op_local *local, struct lb_error *err) LB_MUST_USE;
/* Pushes what the builder holds; rows of the cursor seen before, but for the newest, may go then. */
lb_status lb_range_flush(struct lb_op_local *local, struct lb_error *err) LB_MUST_USE;
/* Counts a row of the cursor, whose strings the builder may borrow. True: it is time to flush, or to release the cursor if nothing
 * was built. Not when memory says so, see LB_BATCH_STRING_BYTES. */
static inline bool lb_range_see(struct lb_range_local *state, const struct lb_sort_row *row)
{
    state->seen_bytes += (size_t)row->key_size + row->payload_size;
    return state->seen_bytes >= LB_BATCH_STRING_BYTES;
}
/* Flushes and closes the cursor. */
lb_status lb_range_end(struct lb_op_local *local, struct lb_error *err) LB_MUST_USE;
/* *is_new: the row begins another group than the one before; the group is noted (copied). */
lb_status lb_range_enter(struct lb_range_local *state, const struct lb_sort_row *row, bool *is_new,
                         struct lb_error *err) LB_MUST_USE;

/* Appends the value columns of a row (all but the key) to out as one encoded value: nil for none, several as a
 * list. */
lb_status lb_range_put_value(const struct lb_sort_row *row, struct lb_buf *out,
                             struct lb_error *err) LB_MUST_USE;
/* Reserves what the list of a group takes in memory beyond a little; *charged: so far, to be released at detach. */
lb_status lb_range_charge(struct lb_op_local *local, const struct lb_buf *list, size_t *charged,
                          struct lb_error *err) LB_MUST_USE;
/* Appends the key of a row, its first column, to the builder's column; copies. */
lb_status lb_range_put_key(const struct lb_sort_row *row, struct lb_builder *column,
                           struct lb_error *err) LB_MUST_USE;

/* Appends a group's sort key as JSON, for a message; nothing when it cannot. */
void lb_range_tell_key(const struct lb_buf *group, bool closed, struct lb_buf *out);

#endif
