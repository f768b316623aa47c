/* What the files of group_state share: the class of a function, reading of values, and values kept in states. */
#ifndef LB_ALGO_GROUP_STATE_PRIVATE_H
#define LB_ALGO_GROUP_STATE_PRIVATE_H

#include <math.h>

#include "core/algo/group_state.h"
#include "core/base/arena.h"

struct lb_group_state_class {
    const char *name;
    uint32_t
        state_bytes;    /* of one slot; a multiple of 8; zero bytes are the state without values */
    uint32_t n_columns; /* that it must have: 0 (one may be given), 1 or 2 */
    enum {
        LB_GROUP_TAKES_ALL,
        LB_GROUP_TAKES_NUMBERS,
        LB_GROUP_TAKES_BOOLEANS
    } takes; /* beside nil; of others update says lb_group_wrong_type */
    /* The bytes of a state for columns like these, when less will do: state_bytes says which it is. Any batch may still
     * come. Not called for merges. NULL: always the same. */
    uint32_t (*fit)(const struct lb_group_state *self, const struct lb_batch *batch);
    /* Makes and frees extra; both NULL when there is none. */
    lb_status (*open)(struct lb_group_state *self, struct lb_error *err);
    void (*close)(struct lb_group_state *self);
    lb_status (*update)(struct lb_group_state *self, const struct lb_group_rows *rows,
                        struct lb_error *err);
    lb_status (*save)(struct lb_group_state *self, size_t slot, struct lb_buf *out,
                      struct lb_error *err);
    bool
        saves_merged; /* save of slot 0 gives what was merged, too, in any order; else merges can only be had at the end */
    /* Into slot 0. */
    lb_status (*merge)(struct lb_group_state *self, const char **cursor, const char *end,
                       struct lb_error *err);
    lb_status (*result)(struct lb_group_state *self, struct lb_builder *out, struct lb_error *err);
    /* See lb_group_state_is_ordered; NULL: no. */
    bool (*is_ordered)(const struct lb_group_state *self);
    /* Forgets what is in extra, and how much that is; NULL when there is none. */
    void (*forget)(struct lb_group_state *self);
    size_t (*extra_bytes)(const struct lb_group_state *self);
    /* See lb_group_state_merged_bytes; NULL: little, whatever the group. */
    size_t (*merged_bytes)(const struct lb_group_state *self);
};

extern const struct lb_group_state_class lb_group_sum, lb_group_avg, lb_group_variance,
    lb_group_stddev, lb_group_corr, lb_group_min, lb_group_max, lb_group_any_value, lb_group_first,
    lb_group_last, lb_group_min_by, lb_group_max_by, lb_group_count_distinct, lb_group_collect_set,
    lb_group_mode, lb_group_median, lb_group_quantile, lb_group_approx_count_distinct,
    lb_group_collect_list;

/* "total: a string where a number is wanted", and where the row came from, if that is known, on a line of its own. */
lb_status lb_group_wrong_type(const struct lb_group_state *self, const struct lb_batch *batch,
                              uint32_t row, struct lb_error *err);
lb_status lb_group_bad_partial(const struct lb_group_state *self, struct lb_error *err);

/* nil < false < true < numbers < strings < lists < maps, as in key.h */
static inline int lb_group_rank(char tag)
{
    switch (tag) {
    case 'f':
        return 1;
    case 't':
        return 2;
    case 'i':
    case 'd':
        return 3;
    case 's':
        return 4;
    case 'l':
        return 5;
    case 'm':
        return 6;
    default:
        return 0;
    }
}

/* The number between two others at this part of their distance, which itself may be beyond a double. */
static inline double lb_group_between(double a, double b, double part)
{
    double distance = b - a;
    return isfinite(distance) || isinf(a) || isinf(b) ? a + distance * part
                                                      : a * (1 - part) + b * part;
}

/* Exact order of two numbers; 1 and 1.0 are equal, NaN is above all and equal to itself. */
int lb_group_compare_numbers(const struct lb_value *a, const struct lb_value *b);
/* Of equal numbers: whether a is to stand for both: an integer before a float, -0.0 before 0.0. */
bool lb_group_prefers(const struct lb_value *a, const struct lb_value *b);
/* sum / n, rounded once; n is not 0. */
double lb_group_quotient(__int128 sum, uint64_t n);

/* The state of a slot. */
static inline void *lb_group_slot(const struct lb_group_state *self, size_t slot)
{
    return self->states + slot * self->stride;
}

enum { LB_GROUP_AHEAD = 24 };

/* Calls the state of a later row into the cache: groups come at random. */
static inline void lb_group_call(const struct lb_group_state *self, const uint32_t *slots,
                                 uint32_t i, uint32_t n)
{
    size_t slot = slots[i + LB_GROUP_AHEAD < n ? i + LB_GROUP_AHEAD : n - 1];
    __builtin_prefetch(self->states + slot * self->stride, 1);
    if (self->state_bytes > 64)
        __builtin_prefetch(self->states + slot * self->stride + 64, 1);
}

#define LB_GROUP_LOAD(self, cursor, end, what, err)     \
    do {                                                \
        if ((size_t)((end) - *(cursor)) < sizeof(what)) \
            return lb_group_bad_partial(self, err);     \
        memcpy(&(what), *(cursor), sizeof(what));       \
        *(cursor) += sizeof(what);                      \
    } while (0)

#endif
