/* Parameters that several operators share. */
#ifndef LB_OPS_PARAMS_H
#define LB_OPS_PARAMS_H

#include "core/io/path.h"
#include "core/ops/op.h"

/* The parameter `paths`, a list of strings, expanded to files. */
lb_status lb_param_paths(const struct lb_op *op, struct lb_file_list *files,
                         struct lb_error *err) LB_MUST_USE;

#endif
