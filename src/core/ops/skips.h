/* Records that a run leaves out: how many, where and why.
 *
 * IDEA    A worker notes them for its morsel; they count when that has ended well, once, and only if the result needs the
 *         morsel: behind a limit nothing counts. So the numbers are the same for any number of threads.
 *         They are told by verb, kind and place (a file, a line of the job), with the first of each in the order of the input.
 * LIMIT   With options.limits_skipped the run fails when more than max_skipped are left out. The records that are too many are
 *         found in the order of the input as well.
 * REPLAY  The host may say how a record can be tried again, in bytes of its own; those of the first of each are kept and told.
 * CALLS   by exec (context.h): begin, then commit, for each morsel; end_stage for each stage; settle at the end. */
#ifndef LB_OPS_SKIPS_H
#define LB_OPS_SKIPS_H

#include "core/base/buf.h"
#include "core/column/batch.h"
#include "core/io/spill.h"
#include "core/ops/context.h"

struct lb_rejects;

struct lb_skip {
    const char *verb;  /* label of the operator */
    const char *kind;  /* a word */
    const char *place; /* a file, or a line of user code; "": not known */
    const char *message;
    struct lb_origin origin; /* of the record; file NULL: not known */
    struct lb_buf call;      /* the host's: how to try it again; empty: not known */
    bool call_is_cut;
};

/* Whether it is the first of its verb, kind and place in the worker's morsel. */
bool lb_skips_is_first(const struct lb_worker *worker, const struct lb_skip *skip);
/* Notes one record of the worker's morsel; takes skip->call, also when it fails. */
lb_status lb_skips_note(struct lb_worker *worker, struct lb_skip *skip,
                        struct lb_error *err) LB_MUST_USE;
/* For rejects.c: a frame of records that goes with the worker's morsel. */
lb_status lb_skips_keep(struct lb_worker *worker, struct lb_rejects *rejects,
                        const struct lb_frame *frame, struct lb_error *err) LB_MUST_USE;

/* Appends an encoded list of { n, verb, kind, place, message, file?, line?, byte?, call?,
 * call_is_cut? } in the order of the first of each. */
lb_status lb_skips_tell(struct lb_run *run, struct lb_buf *out, struct lb_error *err) LB_MUST_USE;
#endif
