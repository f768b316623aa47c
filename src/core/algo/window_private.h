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
