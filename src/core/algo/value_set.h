/* A set of values of any type with their counts, in the order of values (column/key.h).
 *
 * CALLS  zero bytes with a label; (add | clear)*; compact, then items; fini.
 * IDEA   An array that is sorted and cut down to distinct values whenever it has doubled: so memory grows with the distinct values.
 *        Of equal ones (1 and 1.0) one stands for all that does not depend on their order. */
#ifndef LB_ALGO_VALUE_SET_H
#define LB_ALGO_VALUE_SET_H

#include "core/base/buf.h"
#include "core/column/codec.h"

struct lb_set_item {
    uint64_t order; /* compares before all else among values of one rank */
    union {
        int64_t i;
        double d;
        size_t at; /* in bytes: a string, or a table: [uint32 key size][sort key][codec bytes] */
    };
    uint64_t count;
    uint32_t size; /* of what is at `at` */
    uint8_t tag;   /* of the codec */
};

struct lb_value_set {
    const char *label; /* for messages; borrowed */
    struct lb_set_item *items;
    size_t n, capacity;
    size_t n_compact; /* the first of them, sorted and distinct */
    struct lb_buf bytes;
};

void lb_value_set_fini(struct lb_value_set *set);
/* Keeps little memory. */
void lb_value_set_clear(struct lb_value_set *set);
/* The value so many times; copies. */
lb_status lb_value_set_add(struct lb_value_set *set, const struct lb_value *value, uint64_t count,
                           struct lb_error *err) LB_MUST_USE;
/* Leaves distinct items in order. */
lb_status lb_value_set_compact(struct lb_value_set *set, struct lb_error *err) LB_MUST_USE;
/* Of an item; points into the set. */
struct lb_value lb_value_set_value(const struct lb_value_set *set, const struct lb_set_item *item);

#endif
