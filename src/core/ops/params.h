/* Parameters that several operators share. */
#ifndef LB_OPS_PARAMS_H
#define LB_OPS_PARAMS_H

#include "core/io/path.h"
#include "core/ops/op.h"

/* Expands the parameter `paths`, a list of strings, to files, of which `compression` says what they are compressed by, when the run begins, before any stage: what changes later is noticed when it is read (lb_file_check), also where several
 * stages read one file. */
lb_status lb_param_list_paths(struct lb_op *op, struct lb_error *err) LB_MUST_USE;
/* The list that was made then, which it takes; or makes one. */
lb_status lb_param_paths(struct lb_op *op, struct lb_file_list *files,
                         struct lb_error *err) LB_MUST_USE;

#endif
