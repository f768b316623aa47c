/* What run.c, worker.c and progress.c share of a run. */
#ifndef LB_EXEC_RUN_PRIVATE_H
#define LB_EXEC_RUN_PRIVATE_H

#include <signal.h>
#include <uv.h>

#include "core/exec/run.h"

/* signals.c: as many signals end a run. */
enum { LB_RUN_SIGNALS = 3 };

/* What a worker does between stages for the run's thread (lb_run_aside). */
struct lb_errand {
    lb_status (*function)(void *argument, struct lb_error *err);
    void *argument;
    lb_status status;
    struct lb_error err;
    bool is_done;
};

/* `claiming` guards leg, next_morsel, n_running, waited and the claim calls of the sources, which may wait long for input.
 * `lock` guards the other fields and run->error, and is never held while anything waits. */
struct lb_run_private {
    uv_mutex_t claiming;
    uv_mutex_t lock;
    uv_cond_t wake; /* a stage begins, an errand, or shutdown */
    uv_thread_t *threads;
    struct lb_worker *workers;
    uint32_t n_started; /* threads that exist */
    bool shutdown;
    struct lb_errand *errand; /* that no worker has begun; or NULL */
    /* the stage that runs */
    struct lb_stage *stage;
    uint64_t stage_number; /* so that a worker joins each stage once */
    uint32_t n_busy;       /* workers that have not left the stage */
    uint32_t leg;          /* being claimed from */
    struct lb_error held;  /* the error of run->failed_morsel; set together with it */
    uint32_t n_running;    /* morsels that have been claimed and not ended */
    uint32_t waited;       /* leg + 1 whose source waited for the legs before it; 0: none */
    uv_cond_t settled;     /* n_running is 0 */
    uint64_t next_morsel;
    struct lb_progress claimed; /* what progress.c knew last: done, total, is_bytes */
    /* the calling thread's loop */
    uv_thread_t thread;
    uv_loop_t loop;
    uv_timer_t timer;                  /* for progress */
    uv_timer_t watch;                  /* for user code that takes too long */
    uv_timer_t grace;                  /* for the morsels before one that failed */
    uv_timer_t lost;                   /* for workers that have to come back from user code */
    uint64_t start_ns, stage_start_ns; /* of lb_clock_ns */
    uv_async_t
        done; /* sent by the last worker to leave a stage, after an errand, and when a morsel failed */
    uv_signal_t signals[LB_RUN_SIGNALS];
    uint32_t n_watched; /* of the signals: these are open */
    bool is_turning;    /* the loop and its other handles are open */
    uint64_t signal_ns; /* when the first signal was seen; 0: none */
    int signal_number;  /* which it was */
    bool is_told;       /* the run has an error, what stopped it or another */
    bool is_over;       /* no stage comes any more */
    int late_signal;    /* that was seen then, to be raised again; or 0 */
    struct sigaction
        before[LB_RUN_SIGNALS]; /* what the process did on them, which it shall do again */
};

/* worker.c: one worker's part of a stage, from its first claim to detaching. Its failure fails the run. */
void lb_worker_walk(struct lb_worker *worker, struct lb_stage *stage);

/* run.c: stops the run, from any thread; see its definition. The other by the run's thread, which was told to end. */
void lb_exec_stop(struct lb_run *run, const struct lb_error *err, bool is_signal);
void lb_exec_stop_by_signal(struct lb_run *run, const struct lb_error *err);

/* signals.c: watches the signals from now on; an error of libuv or 0. The other closes what is open of it, and leaves the process
 * with what it did on them before. It turns the loop, whose other handles are closing by then. */
int lb_exec_signals_start(struct lb_run *run);
void lb_exec_signals_end(struct lb_run *run);
/* signals.c: lb_run_terminate does not find the run any more. Before its workers end. */
void lb_exec_signals_leave(struct lb_run *run);

/* run.c: the held error becomes the run's when no morsel before it runs any more, or `now`. Any thread. */
void lb_exec_settle_failure(struct lb_run *run, bool now);

/* progress.c: by the stage's thread, while it turns its loop; handle->data is the run. */
void lb_exec_tell(uv_timer_t *handle);

/* The lists of events that a worker of a traced run has. */
enum { LB_TRACE_MORSELS, LB_TRACE_SPILLS, LB_N_TRACES };

/* trace.c: gives the workers their lists, before they start; and frees them. */
lb_status lb_exec_trace_init(struct lb_run *run, struct lb_error *err) LB_MUST_USE;
void lb_exec_trace_fini(struct lb_run *run);

#endif
