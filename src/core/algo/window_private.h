/* What the files of window functions share. */
#ifndef LB_ALGO_WINDOW_PRIVATE_H
#define LB_ALGO_WINDOW_PRIVATE_H

#include "core/algo/group_state_private.h"
#include "core/algo/window.h"
#include "core/column/key.h"

extern const struct lb_window_class lb_window_row_number, lb_window_rank, lb_window_dense_rank,
    lb_window_percent_rank, lb_window_cume_dist, lb_window_ntile, lb_window_lag, lb_window_lead,
    lb_window_first, lb_window_last, lb_window_nth_value;
extern const struct lb_window_class lb_window_count, lb_window_sum, lb_window_avg;
extern const struct lb_window_class lb_window_min, lb_window_max;
extern const struct lb_window_class lb_window_count_distinct, lb_window_approx_count_distinct,
    lb_window_median, lb_window_quantile, lb_window_mode, lb_window_collect_list,
    lb_window_collect_set;
extern const struct lb_window_class lb_window_any_aggregate; /* any other of group_state.h */

/* A range key; ORDER of kinds is not that of rows: nil and NaN may stand at either end. */
struct lb_range_key {
    enum { RANGE_NIL, RANGE_NAN, RANGE_INT, RANGE_FLOAT } kind;
    int64_t i;
    double d; /* of integers too */
};

/* window_frames.c: the keys of a block's rows, for LB_FRAME_RANGE; there must be room. */
lb_status lb_window_read_keys(struct lb_window *window, const struct lb_batch *block,
                              struct lb_error *err) LB_MUST_USE;
/* Times are sorted as text: of several zones or forms they may not stand in the order of time, and frames would be wrong. */
lb_status lb_window_check_order(const struct lb_window *window, const struct lb_batch *block,
                                const struct lb_window_part *part,
                                struct lb_error *err) LB_MUST_USE;
/* lo and hi of the part's rows; ends at the first row whose frame may go on behind an open part. */
void lb_window_find_frames(struct lb_window *window, struct lb_window_part *part,
                           const uint8_t *is_peer, bool is_open);

/* The block's row at a place of the partition. */
static inline uint32_t lb_window_row(const struct lb_window_part *part, uint64_t place)
{
    return part->first + (uint32_t)(place - part->before);
}

static inline uint64_t lb_window_place(const struct lb_window_part *part, uint32_t row)
{
    return part->before + (row - part->first);
}

static inline const struct lb_column *lb_window_column(const struct lb_window_rows *rows,
                                                       uint32_t column)
{
    static const struct lb_column absent = {.type = LB_NULL};
    return column < rows->batch.n_columns ? &rows->batch.columns[column] : &absent;
}

/* "avg_7d: a string where a number is wanted" */
lb_status lb_window_wrong_type(const struct lb_window_fn *fn, const struct lb_value *value,
                               const char *wanted, struct lb_error *err);

/* Appends what a builder got last once more. */
lb_status lb_window_repeat(struct lb_builder *out, struct lb_error *err) LB_MUST_USE;

/* The order of two values that are no nils, as sort keys have it (NaN last). */
lb_status lb_window_compare(const struct lb_value *a, const struct lb_value *b, int *order,
                            struct lb_error *err) LB_MUST_USE;

#endif
