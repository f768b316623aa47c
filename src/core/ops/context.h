/* What operators see of the run they are part of: the run, the worker, and the host of the engine. */
#ifndef LB_OPS_CONTEXT_H
#define LB_OPS_CONTEXT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/budget.h"
#include "core/base/error.h"
#include "core/io/spill.h"

struct lb_attempts;
struct lb_worker;
struct lb_value;

/* How far a run is, told while a stage runs. */
struct lb_progress {
    uint32_t stage, n_stages;     /* 1 to n_stages */
    const char *label;            /* of the stage's sink */
    double seconds;               /* since the stage began */
    double run_seconds;           /* since the run began */
    uint64_t done, total;         /* of the stage's input; total 0: not known */
    bool is_bytes;                /* these are bytes, otherwise pieces of some size */
    uint64_t n_records;           /* that sources gave in this stage */
    size_t used_bytes, max_bytes; /* memory, and its limit */
    uint64_t spilled_bytes;       /* by the stages before */
    double slowest_seconds;       /* how long the piece has been worked on that takes longest */
    uint32_t slowest;             /* the worker that does, from 1; 0: none */
};

/* What the host of the engine (the Lua bindings) hangs on workers. */
struct lb_host {
    void *state; /* the host's own */
    /* Called about four times a second by the thread that runs the stages, while a stage runs. May be NULL. */
    void (*progress)(void *progress_state, const struct lb_progress *progress);
    void *progress_state;
    /* Called by a worker's thread when an operator first asks for its host state. */
    lb_status (*worker_start)(struct lb_worker *worker, void **worker_state, struct lb_error *err);
    void (*worker_stop)(struct lb_worker *worker, void *worker_state);
    /* Called from another thread to make user code of this worker stop soon. */
    void (*worker_interrupt)(struct lb_worker *worker, void *worker_state);
    /* Called many times a second by the thread that runs the stages, when record_timeout_ns is set: user code that has
     * worked on one record for longer is to be stopped. True when that does not help: err says where, and the worker never comes
     * back. */
    bool (*worker_watch)(struct lb_worker *worker, void *worker_state, struct lb_error *err);
    /* Called by the thread that runs the stages when user code does not come back that was told to stop: tells err and ends the
     * process. NULL: the run waits. */
    void (*give_up)(void *give_up_state, const struct lb_error *err);
    void *give_up_state;
    /* Adds the host's committed counters of the morsel that has ended well. May be NULL. */
    void (*morsel_commit)(struct lb_worker *worker, void *worker_state);
    /* The user's function of a key that says into how many pieces its records go: `open` takes the parameter `salt` of
     * an operator; `ask` gives 0 for nil; the worker's thread calls all three. */
    lb_status (*salt_open)(struct lb_worker *worker, const struct lb_value *params,
                           const char *label, void **salt, struct lb_error *err);
    lb_status (*salt_ask)(void *salt, const char *key, size_t size, uint32_t *n_pieces,
                          struct lb_error *err);
    void (*salt_close)(void *salt);
};

struct lb_run_options {
    uint32_t n_threads;
    size_t memory_bytes;
    const char *tmp_dir;
    size_t spill_bytes;         /* that spill files may take of the disk; 0: all that there is */
    bool handle_signals;        /* SIGINT, SIGTERM stop the run */
    bool is_traced;             /* lb_run_trace is wanted */
    bool meters_gc;             /* the host's collector tells the meter when it works */
    uint64_t record_timeout_ns; /* that a user function may take for one record; 0: any time */
    uint64_t max_instructions;  /* that a user function may execute for one record; 0: any number */
    bool limits_skipped;        /* the run fails when more records than max_skipped are left out */
    uint64_t max_skipped;
    struct lb_host host;
    struct lb_attempts
        *attempts; /* what it shares with other attempts (attempts.h); NULL: there are none */
};

struct lb_run {
    struct lb_run_options options;
    struct lb_budget *budget;    /* shared by the runs of one process */
    struct lb_spill_place spill; /* its space, too */
    _Atomic int stop;            /* non-zero: everybody gives up; the first error is in error */
    /* Of a stage whose sink may have enough: a morsel with an error, which counts only if the sink needs it. Those behind it give
     * up; UINT64_MAX: none. */
    _Atomic uint64_t failed_morsel;
    size_t peak_bytes;              /* of the budget, in the stages so far */
    _Atomic uint64_t spilled_bytes; /* counted by operators when they close */
    uint32_t stage, n_stages;       /* which one runs, of how many; set by who runs them */
    struct lb_error error;          /* the first failure */
    _Atomic uint64_t n_skipped;     /* records left out, in the stages that have ended (skips.h) */
    bool is_excess;                 /* they are too many, and that is the run's failure */
    struct lb_skips *skips;         /* more about them; NULL: none */
    struct lb_rejects *rejects;     /* the first of those with a file (rejects.h) */
    /* exec's: whether whoever waits for others is to give up. On the thread that runs the stages it hears signals, too. */
    bool (*must_stop)(void *run);
    struct lb_run_private *private; /* exec's own */
};

struct lb_worker {
    struct lb_run *run;
    uint32_t index;  /* 0..n_threads-1 */
    uint64_t morsel; /* number of the current morsel within the stage */
    bool goes_on;    /* set by a source's claim: the next morsel belongs to the same partition */
    char input[512]; /* name of what the source reads now (a file's path), "" unknown */
    /* the path of the file that the source reads now, which lives as long as the source; NULL: it reads none */
    const char *file;
    void *host_state;               /* NULL until lb_worker_host was called */
    struct lb_skips_pending *skips; /* of its morsel (skips.h); NULL: none yet */
    _Atomic uint64_t running;       /* the morsel that it works on; UINT64_MAX: none */
    /* for lb_progress: of this stage */
    _Atomic uint64_t n_records;
    _Atomic uint64_t since_ns; /* when the current morsel was claimed; 0: none */
    uint64_t left_ns;          /* when it left the stage */
    struct lb_trace *trace;    /* its morsels, and its frames of spill files; NULL: not wanted */
};

/* Whether the worker's morsel is not to go on. */
static inline bool lb_worker_must_stop(const struct lb_worker *worker)
{
    const struct lb_run *run = worker->run;
    return atomic_load_explicit(&run->stop, memory_order_relaxed) != 0 ||
           worker->morsel > atomic_load_explicit(&run->failed_morsel, memory_order_relaxed);
}

/* The host state of this worker, started when needed. */
lb_status lb_worker_host(struct lb_worker *worker, void **host_state,
                         struct lb_error *err) LB_MUST_USE;

/* For exec: records that are left out (skips.h). */
/* A morsel, or another attempt at it, begins: what was noted and not committed is forgotten. */
void lb_skips_begin(struct lb_worker *worker);
/* What was noted counts. LB_ERR_DATA when these are too many, and the worker's morsel is then that with which they are; unless
 * may_enough, as then some may not count. */
lb_status lb_skips_commit(struct lb_worker *worker, bool may_enough,
                          struct lb_error *err) LB_MUST_USE;
/* When all workers have left the stage: forgets what was noted behind last_morsel. With is_over: an error when more
 * are left out than may be; its status says whether all were bad data. */
lb_status lb_skips_end_stage(struct lb_run *run, uint64_t last_morsel,
                             struct lb_error *err) LB_MUST_USE;
void lb_skips_worker_fini(struct lb_worker *worker);
void lb_skips_fini(struct lb_run *run);

/* Memory that one worker of a stage may hold for sorting, tables and the like: its part of what the budget
 * has left. */
size_t lb_run_worker_bytes(const struct lb_run *run);

#endif
