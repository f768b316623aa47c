/* What scan.join_match gives and join_order takes: (place, record), an integer and a string.
 *
 * FORMAT  place: (morsel of the probe side, position), as in join_shuffle.h; build rows by themselves have places in morsels
 *         behind those.
 *         record: a byte of what there is; the values of the probe row's columns; its matches: build rows one after the
 *         other, each n_columns values and, with a rest, its number; or the u32 number of a group on disk (join_build.h):
 *         the build rows of a key that are too many. The columns of both sides are those that the outputs take. */
#ifndef LB_OPS_JOIN_ORDER_H
#define LB_OPS_JOIN_ORDER_H

#include "core/ops/op.h"

enum { LB_JOIN_HAS_PROBE = 1, LB_JOIN_HAS_ROWS = 2, LB_JOIN_HAS_GROUP = 4 };

/* The parameter `columns`: how many values a build row has. */
lb_status lb_join_param_width(const struct lb_op *op, uint32_t *n_columns,
                              struct lb_error *err) LB_MUST_USE;

#endif
