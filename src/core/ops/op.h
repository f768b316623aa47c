/* The operator protocol: what exec knows of operators.
 *
 * A stage is one or more legs (a source, then transforms) that all end in one sink. Morsels of the legs
 * are handed out in input order and numbered 0, 1, 2 ... over the whole stage, leg after leg.
 *
 * CALLS, in this order, S = on the stage's thread alone, W = by each worker, in parallel:
 *   open    S  once before the workers run. self->params, inputs, run are set. Makes self->shared.
 *   attach  W  before the worker's first morsel. Makes local->state.
 *   claim   W  sources only, under the stage's lock: takes the next morsel; *more = false at the end.
 *              May read (a stream's next chunk). What was claimed is kept in local->state.
 *   progress S  sources only, under the stage's lock: how much of its input was claimed.
 *   begin   W  transforms and sinks, before the first push of a morsel: worker->morsel says which.
 *   produce W  sources only: pushes all batches of the claimed morsel to local->next.
 *   push    W  transforms and sinks: one batch, borrowed until it returns. Transforms push on.
 *   end     W  transforms and sinks, in pipeline order, after the last push of a morsel: push on what is held.
 *   combine W  once per worker that attached, after its last morsel: hand local results over; may still push on.
 *   detach  W  frees local->state; called also after failures, but only when local->state is set.
 *   finish  S  once after all workers ended well. Of sinks that publish: as publish.
 *   publish S  sinks: once after all of the stage has finished well: what the world sees of the result, files that get
 *              their names, say. Nothing else may make the run fail after it. On a worker's thread, while that of the stage hears signals.
 *   close   S  frees self->shared; for a sink, when no later stage needs its result any more. Called also after
 *              failures, when open was called.
 * Any of them may be NULL (not needed). After an error no further call but detach and close is made.
 * A push may give LB_ENOUGH: the caller passes it on like an error; exec then goes on with the sink's end and the
 * next morsel, so begin must put every transform right again. */
#ifndef LB_OPS_OP_H
#define LB_OPS_OP_H

#include "core/base/error.h"
#include "core/base/meter.h"
#include "core/column/batch.h"
#include "core/column/codec.h"
#include "core/io/path.h"
#include "core/ops/context.h"

struct lb_op_local;
struct lb_store;

enum lb_op_kind { LB_OP_SOURCE, LB_OP_TRANSFORM, LB_OP_SINK };

struct lb_op {
    const struct lb_op_class *class;
    struct lb_run *run;
    struct lb_value params; /* the plan node: a codec map; lives as long as the plan */
    uint32_t node;          /* 1-based number of the plan node */
    const char *label;      /* for people: "map", "mapper of step 1" */
    struct lb_op *
        *inputs; /* sinks of earlier stages that it reads (a sink: those named by `reads`) */
    uint32_t n_inputs;
    struct lb_store *handle;   /* scan.store: a store from outside the plan, borrowed; or NULL */
    struct lb_file_list files; /* of `paths`, as they are when the run begins; see lb_param_paths */
    bool has_files;
    void *shared;             /* the class's own */
    bool is_open;             /* between open and close */
    _Atomic uint64_t rows_in; /* records pushed to it (a source: by it), added up at detach */
    _Atomic uint64_t time_ns
        [LB_N_TIMES]; /* in its calls, without those to the next operator; added up at detach */
    _Atomic uint64_t spill_written_bytes, spill_read_bytes; /* likewise */
    /* of the files that a source reads, so far, or that a sink wrote, set when the stage ends; 0: there are none */
    _Atomic uint64_t n_bytes;
    _Atomic bool enough; /* sinks: no further morsel is needed */
    bool may_enough;     /* sinks: set by open when the first morsels may be enough */
    uint64_t
        last_morsel; /* sinks: set by finish: those behind it were not needed; UINT64_MAX: all were */
    bool overflowed; /* sinks: set by finish: what it collects did not fit; see "when" in plan.h */
    struct lb_buf restart; /* sources, with LB_RESTART: an encoded map, see lb_plan_restart */
    struct lb_buf
        facts; /* for --stats: what it has to tell of the run, an encoded map; see metrics.h */
    uint64_t n_result; /* sinks: records counted, stored or written; set by finish */
};

struct lb_op_local {
    struct lb_op *op;
    struct lb_worker *worker;
    struct lb_op_local *next; /* NULL for the sink */
    void *state;              /* the class's own */
    uint64_t rows_in;         /* added to the op's at detach */
    struct lb_times times;    /* likewise */
};

struct lb_op_class {
    const char *name; /* as plans name it */
    enum lb_op_kind kind;
    bool
        waits; /* sources: its first claim is made only when all morsels of earlier legs have ended */
    lb_status (*open)(struct lb_op *self, struct lb_error *err);
    lb_status (*attach)(struct lb_op_local *local, struct lb_error *err);
    lb_status (*claim)(struct lb_op_local *local, bool *more, struct lb_error *err);
    /* Sets progress->done, is_bytes and total. False: the total is not known. */
    bool (*progress)(const struct lb_op *self, struct lb_progress *progress);
    lb_status (*begin)(struct lb_op_local *local, struct lb_error *err);
    lb_status (*produce)(struct lb_op_local *local, struct lb_error *err);
    lb_status (*push)(struct lb_op_local *local, const struct lb_batch *batch,
                      struct lb_error *err);
    lb_status (*end)(struct lb_op_local *local, struct lb_error *err);
    lb_status (*combine)(struct lb_op_local *local, struct lb_error *err);
    void (*detach)(struct lb_op_local *local);
    lb_status (*finish)(struct lb_op *self, struct lb_error *err);
    lb_status (*publish)(struct lb_op *self, struct lb_error *err);
    void (*close)(struct lb_op *self);
};

/* Hands a batch to an operator. Empty batches are dropped. Stops with LB_ERR_CANCELLED when the run was told to
 * stop. */
lb_status lb_push(struct lb_op_local *to, const struct lb_batch *batch,
                  struct lb_error *err) LB_MUST_USE;

/* An error (LB_ERR_USER) about one record, with the place where that was read, if it is known. */
lb_status lb_op_fail_at(const struct lb_op *op, const struct lb_batch *batch, uint32_t row,
                        const char *what, struct lb_error *err) LB_MUST_USE;

/* Gives status back. When memory ran out where nobody knew for whom (lb_error_memory), err gets the operator's name. */
lb_status lb_op_named(const struct lb_op *op, lb_status status, struct lb_error *err) LB_MUST_USE;

/* Adds what one thread took for it. Thread-safe. */
void lb_op_add_times(struct lb_op *op, const struct lb_times *times);

/* Calls the class's close once, if open was called. */
void lb_op_close(struct lb_op *op);

/* The registry: the core's classes are there from the start; hosts (the Lua bindings) add theirs before any
 * run. Not thread-safe. */
void lb_op_register(const struct lb_op_class *class);
const struct lb_op_class *lb_op_find(const char *name); /* NULL: unknown */
struct lb_aggregate_class;
void lb_aggregate_register(const struct lb_aggregate_class *class);
const struct lb_aggregate_class *lb_aggregate_find(const char *name);

/* Parameters of a plan node: absent gives the default; a wrong type gives LB_ERR_INTERNAL naming operator and key. */
lb_status lb_param_int(const struct lb_op *op, const char *key, int64_t fallback, int64_t *value,
                       struct lb_error *err) LB_MUST_USE;
lb_status lb_param_bool(const struct lb_op *op, const char *key, bool fallback, bool *value,
                        struct lb_error *err) LB_MUST_USE;
/* Which of the names, NULL-terminated, it is; absent: the first. */
lb_status lb_param_choice(const struct lb_op *op, const char *key, const char *const *names,
                          int *choice, struct lb_error *err) LB_MUST_USE;
/* A list of items of one tag ('b': booleans); absent: empty, unless it must be there. */
lb_status lb_param_list(const struct lb_op *op, const char *key, char tag, bool must,
                        struct lb_value *list, struct lb_error *err) LB_MUST_USE;
/* What these give: LB_ERR_INTERNAL. */
lb_status lb_param_wrong(const struct lb_op *op, const char *key, struct lb_error *err);
/* NUL-terminated copy to be freed with lb_strfree; *value NULL when absent. */
lb_status lb_param_string(const struct lb_op *op, const char *key, char **value,
                          struct lb_error *err) LB_MUST_USE;

#endif
