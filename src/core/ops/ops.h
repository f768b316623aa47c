/* The core's operator classes, one or a few to a file; op.c lists them in the registry. */
#ifndef LB_OPS_OPS_H
#define LB_OPS_OPS_H

#include "core/ops/op.h"

extern const struct lb_op_class lb_op_scan_text, lb_op_scan_csv, lb_op_scan_json, lb_op_scan_files,
    lb_op_scan_native, lb_op_scan_range, lb_op_scan_list, lb_op_scan_store, lb_op_scan_sorted,
    lb_op_scan_groups, lb_op_scan_set, lb_op_scan_join, lb_op_scan_cogroup, lb_op_scan_aggregate;
extern const struct lb_op_class lb_op_words, lb_op_fields, lb_op_field, lb_op_grep, lb_op_lower,
    lb_op_project, lb_op_pack, lb_op_tag, lb_op_split_key, lb_op_sample, lb_op_cartesian,
    lb_op_compute, lb_op_where, lb_op_fit, lb_op_pipe, lb_op_file_columns;
extern const struct lb_op_class lb_op_bundle, lb_op_pack_row, lb_op_unpack, lb_op_explode;
extern const struct lb_op_class lb_op_join_build, lb_op_scan_join_hash, lb_op_scan_join_insert,
    lb_op_hash_join, lb_op_scan_join_rest, lb_op_join_probe, lb_op_scan_join_match,
    lb_op_join_order, lb_op_scan_join_ordered;
extern const struct lb_op_class lb_op_group, lb_op_scan_group;
extern const struct lb_op_class lb_op_time_window, lb_op_session;
extern const struct lb_op_class lb_op_window, lb_op_scan_window;
extern const struct lb_op_class lb_op_sort, lb_op_aggregate, lb_op_store_class, lb_op_count,
    lb_op_top, lb_op_write;

#endif
