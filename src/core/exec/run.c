/* The workers of a run and the stages they walk through.
 *
 * IDEA     Threads are started once per run and wait for stages. In a stage every worker claims a morsel under the
 *          stage's lock, pushes it through its own chain of operator locals, and claims the next.
 * FAILURE  The error of the earliest morsel is the run's, whichever thread was faster: an error waits for the morsels before it,
 *          which run on other threads, but no longer than GRACE_MS; then everybody is stopped.
 * THREADS  The two locks of run_private.h. run->stop is set under `lock` and read by anyone.
 * WHY NOT  A task queue with stealing: morsels are small and even, a cursor costs one lock per megabytes of input. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/algo/pattern.h"
#include "core/base/fault.h"
#include "core/base/memory.h"
#include "core/base/sys.h"
#include "core/base/trace.h"
#include "core/exec/run_private.h"

enum {
    PROGRESS_MS = 250,
    GRACE_MS = 1000,
    WATCH_MS = 20,
    LOST_BY_SIGNAL_MS = 500, /* a run that was stopped and does not end is given up */
    LOST_MS = 10000,
    LOOP_DESCRIPTORS = 8,
    LOOP_BYTES = 64 << 10
};

static struct lb_budget process_budget;
static struct lb_budget process_spill_space; /* the same for the bytes of spill files */

/* Each worker's host state is interrupted outside user code's control; see lb_host. Not after a transient error: calls
 * of user functions end first, so that another attempt knows which were made. A signal comes before such an error. */
void lb_exec_stop(struct lb_run *run, const struct lb_error *err, bool is_signal)
{
    struct lb_run_private *p = run->private;
    uv_mutex_lock(&p->lock);
    bool counts = run->stop == 0 || (is_signal && run->error.is_transient);
    if (counts) {
        run->error = *err;
        atomic_store(&run->stop, 1);
    }
    uv_mutex_unlock(&p->lock);
    if (!counts || err->is_transient || run->options.host.worker_interrupt == NULL)
        return;
    for (uint32_t i = 0; i < run->options.n_threads; i++) {
        void *state = __atomic_load_n(&p->workers[i].host_state, __ATOMIC_ACQUIRE);
        if (state != NULL)
            run->options.host.worker_interrupt(&p->workers[i], state);
    }
}

void lb_run_fail(struct lb_run *run, const struct lb_error *err)
{
    lb_exec_stop(run, err, false);
}

void lb_exec_settle_failure(struct lb_run *run, bool now)
{
    struct lb_run_private *p = run->private;
    bool waits = false;
    uv_mutex_lock(&p->lock);
    uint64_t failed = atomic_load(&run->failed_morsel);
    for (uint32_t i = 0; i < run->options.n_threads; i++)
        waits |= atomic_load(&p->workers[i].running) < failed;
    struct lb_error held = p->held;
    uv_mutex_unlock(&p->lock);
    if (failed != UINT64_MAX && (now || !waits))
        lb_run_fail(run, &held);
}

static void on_lost(uv_timer_t *handle)
{
    struct lb_run *run = handle->data;
    run->options.host.give_up(run->options.host.give_up_state, &run->error);
}

/* The run was stopped: it shall not wait for ever for a C function of user code. */
static void expect_end(struct lb_run *run, unsigned milliseconds)
{
    struct lb_run_private *p = run->private;
    if (run->options.host.give_up != NULL && !uv_is_active((uv_handle_t *)&p->lost))
        uv_timer_start(&p->lost, on_lost, milliseconds, 0);
}

static void on_grace(uv_timer_t *handle)
{
    lb_exec_settle_failure(handle->data, true);
    expect_end(handle->data, LOST_MS);
}

static void on_watch(uv_timer_t *handle)
{
    struct lb_run *run = handle->data;
    for (uint32_t i = 0; i < run->options.n_threads; i++) {
        struct lb_worker *worker = &run->private->workers[i];
        void *state = __atomic_load_n(&worker->host_state, __ATOMIC_ACQUIRE);
        struct lb_error err;
        if (state != NULL && run->options.host.worker_watch(worker, state, &err) &&
            run->options.host.give_up != NULL)
            run->options.host.give_up(run->options.host.give_up_state, &err);
    }
}

/* Between stages nobody turns the loop. */
static bool must_stop(void *argument)
{
    struct lb_run *run = argument;
    struct lb_run_private *p = run->private;
    uv_thread_t self = uv_thread_self();
    if (uv_thread_equal(&self, &p->thread))
        uv_run(&p->loop, UV_RUN_NOWAIT);
    return atomic_load(&run->stop) != 0;
}

static bool has_stopped(void *run)
{
    return atomic_load_explicit(&((struct lb_run *)run)->stop, memory_order_relaxed) != 0;
}

static void do_errand(struct lb_run_private *p)
{
    struct lb_errand *errand = p->errand;
    p->errand = NULL;
    uv_mutex_unlock(&p->lock);
    errand->status = errand->function(errand->argument, &errand->err);
    uv_mutex_lock(&p->lock);
    errand->is_done = true;
    uv_async_send(&p->done);
}

static void worker_main(void *argument)
{
    struct lb_worker *worker = argument;
    struct lb_run_private *p = worker->run->private;
    uint64_t seen = 0;
    lb_pattern_ask(has_stopped, worker->run);
    if (worker->trace != NULL)
        lb_meter_trace_spills(&worker->trace[LB_TRACE_SPILLS]);
    uv_mutex_lock(&p->lock);
    for (;;) {
        while (!p->shutdown && p->errand == NULL && (p->stage == NULL || p->stage_number == seen))
            uv_cond_wait(&p->wake, &p->lock);
        if (p->shutdown)
            break;
        if (p->errand != NULL) {
            do_errand(p);
            continue;
        }
        seen = p->stage_number;
        struct lb_stage *stage = p->stage;
        uv_mutex_unlock(&p->lock);
        lb_worker_walk(worker, stage);
        uv_mutex_lock(&p->lock);
        if (--p->n_busy == 0)
            uv_async_send(&p->done);
    }
    uv_mutex_unlock(&p->lock);
    if (worker->host_state != NULL) {
        void *state = worker->host_state;
        __atomic_store_n(&worker->host_state, NULL, __ATOMIC_RELEASE);
        worker->run->options.host.worker_stop(worker, state);
    }
    lb_memory_settle();
}

void lb_exec_stop_by_signal(struct lb_run *run, const struct lb_error *err)
{
    lb_exec_stop(run, err, true);
    uv_timer_stop(&run->private->lost);
    expect_end(run, LOST_BY_SIGNAL_MS);
}

static void on_done(uv_async_t *handle)
{
    uv_stop(handle->loop);
}

static lb_status start_threads(struct lb_run *run, struct lb_error *err)
{
    struct lb_run_private *p = run->private;
    for (uint32_t i = p->n_started; i < run->options.n_threads; i++) {
        int failed = LB_FAULT(THREAD, NULL)
                         ? uv_translate_sys_error(errno)
                         : uv_thread_create(&p->threads[i], worker_main, &p->workers[i]);
        if (failed != 0)
            return lb_error_set(err, LB_ERR_RESOURCE, "cannot start worker thread %u: %s", i + 1,
                                uv_strerror(failed));
        p->n_started++;
    }
    return LB_OK;
}

/* A loop takes descriptors and memory, and libuv ends the process where it finds none for its signals. */
static lb_status check_room(struct lb_error *err)
{
    int fds[LOOP_DESCRIPTORS];
    void *room = lb_alloc(LOOP_BYTES);
    if (room == NULL)
        return lb_error_memory(err, "a run", LOOP_BYTES);
    lb_free(room, LOOP_BYTES);
    int n = 0;
    lb_status status = LB_OK;
    while (n < LOOP_DESCRIPTORS && (fds[n] = lb_sys.open("/dev/null", O_RDONLY, 0)) >= 0)
        n++;
    if (n < LOOP_DESCRIPTORS)
        status = lb_error_system(err, errno, "a run needs %d file descriptors (ulimit -n)",
                                 LOOP_DESCRIPTORS);
    while (n > 0)
        lb_sys.close(fds[--n]);
    return status;
}

/* The loop with all its handles. What is open after a failure lb_run_delete closes. */
static lb_status start_loop(struct lb_run *run, struct lb_error *err)
{
    struct lb_run_private *p = run->private;
    LB_TRY(check_room(err));
    int failed = uv_loop_init(&p->loop);
    if (failed != 0)
        goto fail_loop;
    failed = uv_async_init(&p->loop, &p->done, on_done);
    if (failed != 0) {
        uv_loop_close(&p->loop);
        goto fail_loop;
    }
    /* These cannot fail. */
    uv_timer_init(&p->loop, &p->timer);
    uv_timer_init(&p->loop, &p->grace);
    uv_timer_init(&p->loop, &p->watch);
    uv_timer_init(&p->loop, &p->lost);
    p->is_turning = true;
    p->timer.data = p->grace.data = p->watch.data = p->lost.data = run;
    p->start_ns = lb_clock_ns();
    if (run->options.host.progress != NULL)
        failed = uv_timer_start(&p->timer, lb_exec_tell, PROGRESS_MS, PROGRESS_MS);
    if (failed == 0 && run->options.record_timeout_ns > 0 && run->options.host.worker_watch != NULL)
        failed = uv_timer_start(&p->watch, on_watch, WATCH_MS, WATCH_MS);
    if (failed == 0)
        failed = lb_exec_signals_start(run);
fail_loop:
    if (failed != 0)
        return lb_error_set(err, LB_ERR_RESOURCE, "cannot start a run: %s", uv_strerror(failed));
    return LB_OK;
}

lb_status lb_run_new(const struct lb_run_options *options, struct lb_run **out,
                     struct lb_error *err)
{
    lb_status status = LB_OK; /* which it stays where memory is out */
    struct lb_run *run = lb_alloc_zero(sizeof *run);
    struct lb_run_private *p = lb_alloc_zero(sizeof *p);
    uint32_t n = options->n_threads;
    struct lb_worker *workers = lb_alloc_zero(n * sizeof *workers);
    uv_thread_t *threads = lb_alloc_zero(n * sizeof *threads);
    if (run == NULL || p == NULL || workers == NULL || threads == NULL)
        goto fail_memory;
    run->options = *options;
    run->budget = &process_budget;
    atomic_store(&run->budget->limit_bytes, options->memory_bytes);
    run->budget->heeds_memory = true;
    lb_memory_limit(options->memory_bytes, false);
    atomic_store(&process_spill_space.limit_bytes,
                 options->spill_bytes > 0 ? options->spill_bytes : SIZE_MAX);
    run->spill = (struct lb_spill_place){options->tmp_dir, &process_spill_space};
    /* What kept stores hold from earlier runs counts; their peak does not. */
    atomic_store(&run->budget->peak_bytes, atomic_load(&run->budget->used_bytes));
    run->private = p;
    run->must_stop = must_stop;
    p->thread = uv_thread_self();
    p->workers = workers;
    p->threads = threads;
    for (uint32_t i = 0; i < n; i++)
        workers[i] = (struct lb_worker){.run = run, .index = i, .running = UINT64_MAX};
    if (uv_mutex_init(&p->lock) != 0)
        goto fail_memory;
    if (uv_mutex_init(&p->claiming) != 0)
        goto fail_claiming;
    if (uv_cond_init(&p->wake) != 0)
        goto fail_cond;
    if (uv_cond_init(&p->settled) != 0)
        goto fail_settled;
    status = start_loop(run, err);
    if (status == LB_OK && options->is_traced)
        status = lb_exec_trace_init(run, err);
    if (status == LB_OK)
        status = start_threads(run, err);
    if (status != LB_OK) {
        lb_run_delete(run);
        return status;
    }
    *out = run;
    return LB_OK;

fail_settled:
    uv_cond_destroy(&p->wake);
fail_cond:
    uv_mutex_destroy(&p->claiming);
fail_claiming:
    uv_mutex_destroy(&p->lock);
fail_memory:
    lb_free(threads, n * sizeof *threads);
    lb_free(workers, n * sizeof *workers);
    lb_free(p, sizeof *p);
    lb_free(run, sizeof *run);
    return status != LB_OK ? status : lb_error_memory(err, "a run", sizeof *run);
}

/* One of the class's functions, or NULL; its time is the operator's. */
static lb_status call(struct lb_op *op,
                      lb_status (*function)(struct lb_op *self, struct lb_error *err),
                      struct lb_error *err)
{
    if (function == NULL)
        return LB_OK;
    struct lb_times times = {0};
    struct lb_meter_place before = lb_meter_enter(&times, LB_TIME_C);
    lb_status status = function(op, err);
    lb_meter_leave(before);
    lb_op_add_times(op, &times);
    return lb_op_named(op, status, err);
}

static lb_status open_op(struct lb_run *run, struct lb_op *op, struct lb_error *err)
{
    op->run = run;
    op->is_open = true;
    op->last_morsel = UINT64_MAX;
    return call(op, op->class->open, err);
}

static lb_status open_stage(struct lb_run *run, struct lb_stage *stage, struct lb_error *err)
{
    for (uint32_t i = 0; i < stage->n_legs; i++) {
        struct lb_leg *leg = &stage->legs[i];
        leg->is_idle = false;
        for (uint32_t j = 0; j < leg->n_conditions; j++)
            leg->is_idle |= leg->conditions[j].sink->overflowed != leg->conditions[j].overflowed;
        for (uint32_t j = 0; j < leg->n_ops && !leg->is_idle; j++)
            LB_TRY(open_op(run, leg->ops[j], err));
    }
    return open_op(run, stage->sink, err);
}

/* Hands the stage to the workers and turns the loop until they have left it. */
static lb_status drive(struct lb_run *run, struct lb_stage *stage, struct lb_error *err)
{
    struct lb_run_private *p = run->private;
    uv_mutex_lock(&p->lock);
    p->stage = stage;
    p->stage_number++;
    p->n_busy = run->options.n_threads;
    p->leg = 0;
    p->n_running = 0;
    p->waited = 0;
    p->next_morsel = 0;
    p->stage_start_ns = lb_clock_ns();
    p->claimed = (struct lb_progress){0};
    for (uint32_t i = 0; i < run->options.n_threads; i++)
        atomic_store(&p->workers[i].n_records, 0);
    atomic_store(&run->failed_morsel, UINT64_MAX);
    uv_cond_broadcast(&p->wake);
    uv_mutex_unlock(&p->lock);
    for (;;) {
        uv_run(&p->loop, UV_RUN_DEFAULT);
        uv_mutex_lock(&p->lock);
        bool is_over = p->n_busy == 0;
        uv_mutex_unlock(&p->lock);
        if (is_over)
            break;
        if (atomic_load(&run->stop) != 0)
            expect_end(run, LOST_MS);
        bool has_failed = atomic_load(&run->failed_morsel) != UINT64_MAX;
        if (has_failed && !stage->sink->may_enough && !uv_is_active((uv_handle_t *)&p->grace))
            uv_timer_start(&p->grace, on_grace, GRACE_MS, 0);
    }
    uv_timer_stop(&p->grace);
    uv_timer_stop(&p->lost);
    p->stage = NULL;
    stage->n_morsels = p->next_morsel;
    uint64_t now = lb_clock_ns();
    for (uint32_t i = 0; i < run->options.n_threads; i++)
        stage->idle_ns += now - p->workers[i].left_ns;
    return lb_run_has_stopped(run, err) ? err->status : LB_OK;
}

bool lb_run_has_stopped(struct lb_run *run, struct lb_error *err)
{
    struct lb_run_private *p = run->private;
    uv_mutex_lock(&p->lock);
    bool has = atomic_load(&run->stop) != 0;
    if (has) {
        *err = run->error;
        p->is_told = true;
    }
    uv_mutex_unlock(&p->lock);
    return has;
}

lb_status lb_run_aside(struct lb_run *run,
                       lb_status (*function)(void *argument, struct lb_error *err), void *argument,
                       struct lb_error *err)
{
    struct lb_run_private *p = run->private;
    if (!run->options.handle_signals)
        return function(argument, err);
    struct lb_errand errand = {.function = function, .argument = argument};
    uv_mutex_lock(&p->lock);
    p->errand = &errand;
    uv_cond_signal(&p->wake);
    uv_mutex_unlock(&p->lock);
    for (bool is_done = false; !is_done;) {
        uv_run(&p->loop, UV_RUN_DEFAULT);
        uv_mutex_lock(&p->lock);
        is_done = errand.is_done;
        uv_mutex_unlock(&p->lock);
    }
    uv_timer_stop(&p->lost);
    if (errand.status == LB_OK)
        return LB_OK;
    /* A signal that came meanwhile is heard by the status; the message is that of the error, but for one that comes of it or that
     * another attempt would mend. */
    struct lb_error stop;
    *err = errand.err;
    if (p->signal_ns != 0 && lb_run_has_stopped(run, &stop)) {
        if (err->is_transient || err->status == LB_ERR_CANCELLED)
            *err = stop;
        err->status = stop.status;
    }
    p->is_told = true;
    return err->status;
}

/* An error that waited counts unless the morsels before it were enough. */
static lb_status judge_held(struct lb_run *run, struct lb_stage *stage, struct lb_error *err)
{
    if (!atomic_load(&stage->sink->enough)) {
        *err = run->private->held;
        return err->status;
    }
    for (uint32_t i = 0; i < stage->n_legs; i++)
        stage->legs[i].ops[0]->restart.size = 0;
    return LB_OK;
}

/* What the stage left out; too much of that is an error in place of one that comes after it. */
static lb_status count_skipped(struct lb_run *run, struct lb_stage *stage, lb_status status,
                               struct lb_error *err)
{
    struct lb_error excess;
    uint64_t last = status == LB_OK ? stage->sink->last_morsel : atomic_load(&run->failed_morsel);
    bool may_differ = status == LB_OK || status == LB_ERR_USER || status == LB_ERR_DATA;
    if (lb_skips_end_stage(run, last, &excess) == LB_OK || !may_differ)
        return status;
    *err = excess;
    run->is_excess = true;
    return err->status;
}

static lb_status finish_sink(void *sink, struct lb_error *err)
{
    return call(sink, ((struct lb_op *)sink)->class->finish, err);
}

static lb_status publish_sink(void *sink, struct lb_error *err)
{
    return call(sink, ((struct lb_op *)sink)->class->publish, err);
}

/* Disks and readers may let a sink that publishes wait for long. Once it has begun to, the run ends as that does: a signal that comes
 * meanwhile counts as late, unless the run has to be given up. */
static lb_status publish(struct lb_run *run, struct lb_op *sink, struct lb_error *err)
{
    if (sink->class->publish == NULL)
        return LB_OK;
    return lb_run_has_stopped(run, err) ? err->status : lb_run_aside(run, publish_sink, sink, err);
}

static lb_status run_stage(struct lb_run *run, struct lb_stage *stage, struct lb_error *err)
{
    lb_status status = open_stage(run, stage, err);
    bool is_idle = true;
    for (uint32_t i = 0; i < stage->n_legs; i++)
        is_idle &= stage->legs[i].is_idle;
    if (status == LB_OK && !is_idle)
        status = drive(run, stage, err);
    if (status == LB_OK && atomic_load(&run->failed_morsel) != UINT64_MAX)
        status = judge_held(run, stage, err);
    if (status == LB_OK)
        status = stage->sink->class->publish != NULL
                     ? lb_run_aside(run, finish_sink, stage->sink, err)
                     : finish_sink(stage->sink, err);
    status = count_skipped(run, stage, status, err);
    for (uint32_t i = 0; i < stage->n_legs; i++) {
        for (uint32_t j = 0; j < stage->legs[i].n_ops; j++) {
            struct lb_op *op = stage->legs[i].ops[j];
            if (status == LB_OK && op->is_open)
                status = call(op, op->class->finish, err);
            lb_op_close(op);
        }
    }
    if (status == LB_OK)
        status = publish(run, stage->sink, err);
    return status;
}

lb_status lb_run_stage(struct lb_run *run, struct lb_stage *stage, struct lb_error *err)
{
    struct lb_budget *budget = run->budget;
    uint64_t spilled = atomic_load(&run->spilled_bytes);
    atomic_store(&budget->peak_bytes, atomic_load(&budget->used_bytes));
    stage->start_ns = lb_clock_ns();
    lb_status status = run_stage(run, stage, err);
    stage->stop_ns = lb_clock_ns();
    stage->spilled_bytes = atomic_load(&run->spilled_bytes) - spilled;
    stage->peak_bytes = atomic_load(&budget->peak_bytes);
    if (stage->peak_bytes > run->peak_bytes)
        run->peak_bytes = stage->peak_bytes;
    return status;
}

static void stop_loop(struct lb_run *run)
{
    struct lb_run_private *p = run->private;
    uv_close((uv_handle_t *)&p->done, NULL);
    uv_close((uv_handle_t *)&p->timer, NULL);
    uv_close((uv_handle_t *)&p->grace, NULL);
    uv_close((uv_handle_t *)&p->watch, NULL);
    uv_close((uv_handle_t *)&p->lost, NULL);
    lb_exec_signals_end(run);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    uv_loop_close(&p->loop);
}

void lb_run_delete(struct lb_run *run)
{
    if (run == NULL)
        return;
    struct lb_run_private *p = run->private;
    lb_exec_signals_leave(run);
    uv_mutex_lock(&p->lock);
    p->shutdown = true;
    uv_cond_broadcast(&p->wake);
    uv_mutex_unlock(&p->lock);
    for (uint32_t i = 0; i < p->n_started; i++)
        uv_thread_join(&p->threads[i]);
    if (p->is_turning)
        stop_loop(run);
    int late_signal = p->late_signal;
    uv_cond_destroy(&p->settled);
    uv_cond_destroy(&p->wake);
    uv_mutex_destroy(&p->claiming);
    uv_mutex_destroy(&p->lock);
    lb_exec_trace_fini(run);
    uint32_t n = run->options.n_threads;
    for (uint32_t i = 0; i < n; i++)
        lb_skips_worker_fini(&p->workers[i]);
    lb_skips_fini(run);
    lb_free(p->threads, n * sizeof *p->threads);
    lb_free(p->workers, n * sizeof *p->workers);
    lb_free(p, sizeof *p);
    lb_free(run, sizeof *run);
    if (late_signal != 0)
        raise(late_signal);
}
