/* A run: one execution of a plan by a set of workers under one memory budget.
 *
 * CALLS  lb_run_new; lb_run_stage for each stage in order; lb_run_delete (then the workers stop).
 * THREADS Each worker is one thread that lives as long as the run. While a stage runs, and while its sink publishes, the calling thread turns
 *        a libuv loop (signals, the end of the stage). The first error stops everybody: run->stop is set, user code is
 *        interrupted, and lb_run_stage returns that first error after all workers have left the stage. */
#ifndef LB_EXEC_RUN_H
#define LB_EXEC_RUN_H

#include "core/ops/context.h"
#include "core/ops/op.h"

/* A leg runs only when the sink, of an earlier stage, overflowed or did not. */
struct lb_condition {
    const struct lb_op *sink;
    bool overflowed;
};

/* A leg of a stage: ops[0] is the source, the others transforms. */
struct lb_leg {
    struct lb_op **ops;
    uint32_t n_ops;
    struct lb_condition *conditions;
    uint32_t n_conditions;
    bool is_idle; /* set by lb_run_stage: a condition does not hold; its operators are not opened */
};

struct lb_stage {
    struct lb_leg *legs;
    uint32_t n_legs;
    struct lb_op *sink;
    /* set by lb_run_stage, also when it fails */
    uint64_t start_ns, stop_ns; /* of lb_clock_ns; 0: it did not run */
    uint64_t n_morsels;
    _Atomic uint64_t claim_ns; /* that workers waited for their turn to claim */
    uint64_t idle_ns;          /* that workers waited for others to leave the stage */
    size_t peak_bytes;         /* of the budget */
    uint64_t spilled_bytes;    /* by its legs; what a sink spilled is in its facts */
};

lb_status lb_run_new(const struct lb_run_options *options, struct lb_run **run,
                     struct lb_error *err) LB_MUST_USE;
/* Runs one stage: opens the operators of its legs and its sink, ends with the sink finished and the legs' operators
 * closed. The sink stays open for later stages: the caller closes it (lb_op_close). */
lb_status lb_run_stage(struct lb_run *run, struct lb_stage *stage,
                       struct lb_error *err) LB_MUST_USE;
void lb_run_delete(struct lb_run *run); /* NULL allowed */
/* Calls the function, which may take long, on a thread of the run while the calling one, that of the stages, hears signals. Between
 * stages. In a run that does not handle signals this is just the call. */
lb_status lb_run_aside(struct lb_run *run,
                       lb_status (*function)(void *argument, struct lb_error *err), void *argument,
                       struct lb_error *err) LB_MUST_USE;
/* Whether the run was stopped; then *err says by what. For who ends because of that. */
bool lb_run_has_stopped(struct lb_run *run, struct lb_error *err);

/* Appends an encoded list with a map for each worker of a traced run: { morsels, spills }, each a list of
 * { n, pieces, leg, stage, start, stop }: stages and legs from 1, times in seconds of lb_clock_ns, n records, or bytes of spills. */
lb_status lb_run_trace(const struct lb_run *run, struct lb_buf *out,
                       struct lb_error *err) LB_MUST_USE;

/* Stops the run from any thread with this error, unless it has one already. */
void lb_run_fail(struct lb_run *run, const struct lb_error *err);
/* Stops the process's run that handles signals, as SIGTERM would. From any thread. False: there is none. */
bool lb_run_terminate(void);

#endif
