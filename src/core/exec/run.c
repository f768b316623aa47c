/* The workers of a run and the stages they walk through.
 *
 * IDEA     Threads are started once per run and wait for stages. In a stage every worker claims a morsel under the
 *          stage's lock, pushes it through its own chain of operator locals, and claims the next.
 * STATES   of a worker's round: claim -> begin -> produce -> end -> (commit) -> claim ... -> combine -> detach
 * THREADS  `claiming` guards leg, next_morsel, n_running, waited and the claim calls of the sources, which may wait long for input.
 *          `lock` guards the other fields of lb_run_private and run->error, and is never held while anything waits.
 *          run->stop is set under it and read by anyone.
 * WHY NOT  A task queue with stealing: morsels are small and even, a cursor costs one lock per megabytes of input. */
#include "core/exec/run.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "core/base/sys.h"

/* A leg's operator locals in one worker, and whether they are attached. */
struct chain {
    struct lb_op_local *locals; /* the leg's operators in order */
    bool has_source;            /* the source is attached */
    bool has_rest;              /* the transforms are */
};

/* What one worker has of the stage. */
struct round {
    struct lb_stage *stage;
    struct lb_worker *worker;
    struct chain *chains; /* one for each leg */
    struct lb_op_local sink;
    bool has_sink;
};

struct lb_run_private {
    uv_mutex_t claiming;
    uv_mutex_t lock;
    uv_cond_t wake; /* a stage begins, or shutdown */
    uv_thread_t *threads;
    struct lb_worker *workers;
    uint32_t n_started; /* threads that exist */
    bool shutdown;
    /* the stage that runs */
    struct lb_stage *stage;
    uint64_t stage_number; /* so that a worker joins each stage once */
    uint32_t n_busy;       /* workers that have not left the stage */
    uint32_t leg;          /* being claimed from */
    struct lb_error
        held; /* the error of run->failed_morsel; guarded by claiming, as this is for writers */
    uint32_t n_running; /* morsels that have been claimed and not ended */
    uint32_t waited;    /* leg + 1 whose source waited for the legs before it; 0: none */
    uv_cond_t settled;  /* n_running is 0 */
    uint64_t next_morsel;
    /* the calling thread's loop */
    uv_loop_t loop;
    uv_timer_t timer; /* for progress */
    double started, stage_started;
    uv_async_t done; /* sent by the last worker to leave a stage */
    uv_signal_t signals
        [3]; /* SIGINT, SIGTERM, SIGHUP: noticed while a stage runs, held back between stages */
    int n_signals;              /* signals seen so far */
    struct sigaction before[3]; /* what the process did on them, which it shall do again */
};

enum { PROGRESS_MS = 250 };

static struct lb_budget process_budget;

static const int handled_signals[] = {SIGINT, SIGTERM, SIGHUP};

/* Each worker's host state is interrupted outside user code's control; see lb_host. */
void lb_run_fail(struct lb_run *run, const struct lb_error *err)
{
    struct lb_run_private *p = run->private;
    uv_mutex_lock(&p->lock);
    bool is_first = run->stop == 0;
    if (is_first) {
        run->error = *err;
        atomic_store(&run->stop, 1);
    }
    uv_mutex_unlock(&p->lock);
    if (!is_first || run->options.host.worker_interrupt == NULL)
        return;
    for (uint32_t i = 0; i < run->options.n_threads; i++) {
        void *state = __atomic_load_n(&p->workers[i].host_state, __ATOMIC_ACQUIRE);
        if (state != NULL)
            run->options.host.worker_interrupt(&p->workers[i], state);
    }
}

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static lb_status attach(struct lb_op_local *local, struct lb_error *err)
{
    return local->op->class->attach != NULL ? local->op->class->attach(local, err) : LB_OK;
}

/* Takes the next morsel of the stage; *leg says of which leg. */
static lb_status claim(struct round *round, bool *more, uint32_t *leg, struct lb_error *err)
{
    struct lb_run *run = round->worker->run;
    struct lb_run_private *p = run->private;
    struct lb_stage *stage = round->stage;
    uv_mutex_lock(&p->claiming);
    lb_status status = LB_OK;
    *more = false;
    while (p->leg < stage->n_legs && !atomic_load(&stage->sink->enough) &&
           atomic_load(&run->failed_morsel) == UINT64_MAX) {
        uint32_t current = p->leg;
        struct chain *chain = &round->chains[current];
        if (stage->legs[current].is_idle) {
            p->leg++;
            continue;
        }
        if (chain->locals[0].op->class->waits && p->waited != current + 1) {
            if (p->n_running > 0)
                uv_cond_wait(&p->settled, &p->claiming);
            else
                p->waited = current + 1;
            continue;
        }
        if (!chain->has_source) {
            /* May be slow (it starts a Lua state): not under the lock. The leg may have moved on. */
            uv_mutex_unlock(&p->claiming);
            chain->has_source = true;
            status = attach(&chain->locals[0], err);
            if (status != LB_OK)
                return status;
            uv_mutex_lock(&p->claiming);
            continue;
        }
        if (atomic_load(&run->stop) != 0) {
            status = lb_error_set(err, LB_ERR_CANCELLED, "cancelled");
            break;
        }
        struct lb_op_local *source = &chain->locals[0];
        round->worker->goes_on = false;
        status = source->op->class->claim(source, more, err);
        if (status != LB_OK)
            break;
        if (*more) {
            round->worker->morsel = p->next_morsel++;
            p->n_running++;
            *leg = current;
            break;
        }
        p->leg++;
    }
    uv_mutex_unlock(&p->claiming);
    return status;
}

static lb_status run_morsel(struct round *round, uint32_t leg, struct lb_error *err)
{
    struct chain *chain = &round->chains[leg];
    uint32_t n_ops = round->stage->legs[leg].n_ops;
    if (!chain->has_rest) {
        chain->has_rest = true;
        for (uint32_t i = 1; i < n_ops; i++)
            LB_TRY(attach(&chain->locals[i], err));
    }
    if (!round->has_sink) {
        round->has_sink = true;
        LB_TRY(attach(&round->sink, err));
    }
    struct lb_op_local *source = &chain->locals[0];
    for (struct lb_op_local *local = source->next; local != NULL; local = local->next)
        if (local->op->class->begin != NULL)
            LB_TRY(local->op->class->begin(local, err));
    uint64_t before = source->next->rows_in;
    lb_status status = source->op->class->produce(source, err);
    source->rows_in += source->next->rows_in - before;
    struct lb_op_local *local = source->next;
    while (local != NULL && (status == LB_OK || status == LB_ENOUGH)) {
        /* After LB_ENOUGH only the sink needs to know that the morsel is over. */
        if (local->op->class->end != NULL && (status == LB_OK || local->next == NULL)) {
            lb_status ended = local->op->class->end(local, err);
            if (ended != LB_OK)
                status = ended;
            if (local->next == NULL)
                break;
        }
        local = local->next;
    }
    if (status != LB_OK && status != LB_ENOUGH)
        return status;
    struct lb_host *host = &round->worker->run->options.host;
    if (host->morsel_commit != NULL && round->worker->host_state != NULL)
        host->morsel_commit(round->worker, round->worker->host_state);
    return LB_OK;
}

static lb_status combine(struct round *round, struct lb_error *err)
{
    for (uint32_t i = 0; i < round->stage->n_legs; i++) {
        struct chain *chain = &round->chains[i];
        for (uint32_t j = 0; chain->has_rest && j < round->stage->legs[i].n_ops; j++) {
            struct lb_op_local *local = &chain->locals[j];
            if (local->op->class->combine != NULL) {
                lb_status status = local->op->class->combine(local, err);
                if (status != LB_OK && status != LB_ENOUGH)
                    return status;
            }
        }
    }
    if (round->has_sink && round->sink.op->class->combine != NULL)
        LB_TRY(round->sink.op->class->combine(&round->sink, err));
    return LB_OK;
}

static void detach(struct lb_op_local *local)
{
    atomic_fetch_add(&local->op->rows_in, local->rows_in);
    if (local->op->class->detach != NULL && local->state != NULL)
        local->op->class->detach(local);
    local->state = NULL;
}

static void round_fini(struct round *round)
{
    for (uint32_t i = 0; round->chains != NULL && i < round->stage->n_legs; i++) {
        struct chain *chain = &round->chains[i];
        uint32_t n_ops = round->stage->legs[i].n_ops;
        for (uint32_t j = 0; chain->locals != NULL && j < n_ops; j++)
            if (j == 0 ? chain->has_source : chain->has_rest)
                detach(&chain->locals[j]);
        lb_free(chain->locals, n_ops * sizeof *chain->locals);
    }
    lb_free(round->chains, round->stage->n_legs * sizeof *round->chains);
    if (round->has_sink)
        detach(&round->sink);
}

static lb_status round_init(struct round *round, struct lb_error *err)
{
    struct lb_stage *stage = round->stage;
    round->sink = (struct lb_op_local){.op = stage->sink, .worker = round->worker};
    round->chains = lb_alloc_zero(stage->n_legs * sizeof *round->chains);
    if (round->chains == NULL)
        return lb_error_memory(err, "operators of a worker", stage->n_legs * sizeof *round->chains);
    for (uint32_t i = 0; i < stage->n_legs; i++) {
        uint32_t n_ops = stage->legs[i].n_ops;
        struct lb_op_local *locals = lb_alloc_zero(n_ops * sizeof *locals);
        if (locals == NULL)
            return lb_error_memory(err, "operators of a worker", n_ops * sizeof *locals);
        round->chains[i].locals = locals;
        for (uint32_t j = 0; j < n_ops; j++)
            locals[j] = (struct lb_op_local){.op = stage->legs[i].ops[j],
                                             .worker = round->worker,
                                             .next = j + 1 < n_ops ? &locals[j + 1] : &round->sink};
    }
    return LB_OK;
}

/* Where the first records may be enough, an error behind them must not count, nor may it depend on which thread was
 * faster: the earliest morsel's error waits until those before it have ended. True: it waits, and the worker is done. */
static bool hold_failure(struct round *round, lb_status status, const struct lb_error *err)
{
    const struct lb_worker *worker = round->worker;
    struct lb_run *run = worker->run;
    struct lb_run_private *p = run->private;
    if (!round->stage->sink->may_enough || atomic_load(&run->stop) != 0)
        return false;
    bool is_behind = worker->morsel > atomic_load(&run->failed_morsel);
    bool can_wait = status == LB_ERR_USER || status == LB_ERR_DATA || status == LB_RESTART;
    if (!can_wait && !(status == LB_ERR_CANCELLED && is_behind))
        return false;
    uv_mutex_lock(&p->claiming);
    if (can_wait && worker->morsel < atomic_load(&run->failed_morsel)) {
        p->held = *err;
        p->held.status = status;
        atomic_store(&run->failed_morsel, worker->morsel);
    }
    uv_mutex_unlock(&p->claiming);
    return true;
}

/* A morsel has ended, well or not. */
static void end_morsel(struct round *round)
{
    struct lb_run_private *p = round->worker->run->private;
    uv_mutex_lock(&p->claiming);
    if (--p->n_running == 0)
        uv_cond_broadcast(&p->settled);
    uv_mutex_unlock(&p->claiming);
}

static lb_status walk(struct round *round, struct lb_error *err)
{
    LB_TRY(round_init(round, err));
    for (;;) {
        bool more = false;
        uint32_t leg = 0;
        LB_TRY(claim(round, &more, &leg, err));
        if (!more)
            break;
        struct lb_worker *worker = round->worker;
        atomic_store_explicit(&worker->since_ns, (uint64_t)(now_seconds() * 1e9),
                              memory_order_relaxed);
        uint64_t before = round->chains[leg].locals[0].rows_in;
        lb_status status = run_morsel(round, leg, err);
        atomic_fetch_add_explicit(&worker->n_records, round->chains[leg].locals[0].rows_in - before,
                                  memory_order_relaxed);
        atomic_store_explicit(&worker->since_ns, 0, memory_order_relaxed);
        bool is_held = status != LB_OK && hold_failure(round, status, err);
        end_morsel(round);
        if (is_held)
            return LB_OK;
        LB_TRY(status);
    }
    return combine(round, err);
}

static void walk_stage(struct lb_worker *worker, struct lb_stage *stage)
{
    struct round round = {.stage = stage, .worker = worker};
    struct lb_error *err = lb_alloc(sizeof *err);
    if (err == NULL) {
        struct lb_error oom;
        lb_error_memory(&oom, "an error message", sizeof *err);
        lb_run_fail(worker->run, &oom);
        return;
    }
    err->status = LB_OK;
    err->message[0] = '\0';
    lb_status status = walk(&round, err);
    if (status != LB_OK) {
        err->status = status;
        lb_run_fail(worker->run, err);
    }
    round_fini(&round);
    lb_free(err, sizeof *err);
}

static void worker_main(void *argument)
{
    struct lb_worker *worker = argument;
    struct lb_run_private *p = worker->run->private;
    uint64_t seen = 0;
    uv_mutex_lock(&p->lock);
    for (;;) {
        while (!p->shutdown && (p->stage == NULL || p->stage_number == seen))
            uv_cond_wait(&p->wake, &p->lock);
        if (p->shutdown)
            break;
        seen = p->stage_number;
        struct lb_stage *stage = p->stage;
        uv_mutex_unlock(&p->lock);
        walk_stage(worker, stage);
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
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct lb_run *run = handle->data;
    if (++run->private->n_signals > 1 && number == SIGINT)
        _exit(LB_ERR_CANCELLED); /* spill files are unlinked already */
    struct lb_error err;
    lb_error_set(&err, number == SIGINT ? LB_ERR_CANCELLED : LB_ERR_TERMINATED, "interrupted");
    lb_run_fail(run, &err);
}

/* Tells the host how far the stage is. */
static void on_timer(uv_timer_t *handle)
{
    struct lb_run *run = handle->data;
    struct lb_run_private *p = run->private;
    const struct lb_stage *stage = p->stage;
    if (stage == NULL)
        return;
    double now = now_seconds();
    struct lb_progress progress = {
        .stage = run->stage,
        .n_stages = run->n_stages,
        .label = stage->sink->label,
        .seconds = now - p->stage_started,
        .run_seconds = now - p->started,
        .used_bytes = atomic_load(&run->budget->used_bytes),
        .max_bytes = atomic_load(&run->budget->limit_bytes),
        .spilled_bytes = atomic_load(&run->spilled_bytes),
    };
    /* Who claims may wait long for input: then this is not known for now. */
    if (uv_mutex_trylock(&p->claiming) == 0) {
        bool is_known = true;
        for (uint32_t i = 0; i < stage->n_legs && is_known; i++) {
            const struct lb_op *source = stage->legs[i].ops[0];
            is_known =
                source->class->progress != NULL && source->class->progress(source, &progress);
        }
        if (!is_known)
            progress.done = progress.total = 0;
        uv_mutex_unlock(&p->claiming);
    }
    for (uint32_t i = 0; i < run->options.n_threads; i++) {
        const struct lb_worker *worker = &p->workers[i];
        progress.n_records += atomic_load_explicit(&worker->n_records, memory_order_relaxed);
        uint64_t since = atomic_load_explicit(&worker->since_ns, memory_order_relaxed);
        double seconds = since != 0 ? now - 1e-9 * (double)since : 0;
        if (seconds > progress.slowest_seconds) {
            progress.slowest_seconds = seconds;
            progress.slowest = i + 1;
        }
    }
    run->options.host.progress(run->options.host.progress_state, &progress);
}

static void on_done(uv_async_t *handle)
{
    uv_stop(handle->loop);
}

static lb_status start_threads(struct lb_run *run, struct lb_error *err)
{
    struct lb_run_private *p = run->private;
    for (uint32_t i = p->n_started; i < run->options.n_threads; i++) {
        int failed = uv_thread_create(&p->threads[i], worker_main, &p->workers[i]);
        if (failed != 0)
            return lb_error_set(err, LB_ERR_RESOURCE, "cannot start worker thread %u: %s", i + 1,
                                uv_strerror(failed));
        p->n_started++;
    }
    return LB_OK;
}

lb_status lb_run_new(const struct lb_run_options *options, struct lb_run **out,
                     struct lb_error *err)
{
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
    /* What kept stores hold from earlier runs counts; their peak does not. */
    atomic_store(&run->budget->peak_bytes, atomic_load(&run->budget->used_bytes));
    run->private = p;
    p->workers = workers;
    p->threads = threads;
    for (uint32_t i = 0; i < n; i++)
        workers[i] = (struct lb_worker){.run = run, .index = i};
    if (uv_mutex_init(&p->lock) != 0)
        goto fail_memory;
    if (uv_mutex_init(&p->claiming) != 0)
        goto fail_claiming;
    if (uv_cond_init(&p->wake) != 0)
        goto fail_cond;
    if (uv_cond_init(&p->settled) != 0)
        goto fail_settled;
    if (uv_loop_init(&p->loop) != 0)
        goto fail_loop;
    uv_async_init(&p->loop, &p->done, on_done);
    uv_timer_init(&p->loop, &p->timer);
    p->timer.data = run;
    p->started = now_seconds();
    if (options->host.progress != NULL)
        uv_timer_start(&p->timer, on_timer, PROGRESS_MS, PROGRESS_MS);
    for (int i = 0; i < 3; i++) {
        uv_signal_init(&p->loop, &p->signals[i]);
        p->signals[i].data = run;
        sigaction(handled_signals[i], NULL, &p->before[i]);
        if (options->handle_signals)
            uv_signal_start(&p->signals[i], on_signal, handled_signals[i]);
    }
    lb_status status = start_threads(run, err);
    if (status != LB_OK) {
        lb_run_delete(run);
        return status;
    }
    *out = run;
    return LB_OK;

fail_loop:
    uv_cond_destroy(&p->settled);
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
    return lb_error_memory(err, "a run", sizeof *run);
}

static lb_status open_op(struct lb_run *run, struct lb_op *op, struct lb_error *err)
{
    op->run = run;
    op->is_open = true;
    return op->class->open != NULL ? op->class->open(op, err) : LB_OK;
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
    p->stage_started = now_seconds();
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
    }
    p->stage = NULL;
    stage->n_morsels = p->next_morsel;
    if (run->stop != 0) {
        *err = run->error;
        return err->status;
    }
    return LB_OK;
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

lb_status lb_run_stage(struct lb_run *run, struct lb_stage *stage, struct lb_error *err)
{
    double start = now_seconds();
    uint64_t spilled = atomic_load(&run->spilled_bytes);
    lb_status status = open_stage(run, stage, err);
    bool is_idle = true;
    for (uint32_t i = 0; i < stage->n_legs; i++)
        is_idle &= stage->legs[i].is_idle;
    if (status == LB_OK && !is_idle)
        status = drive(run, stage, err);
    if (status == LB_OK && atomic_load(&run->failed_morsel) != UINT64_MAX)
        status = judge_held(run, stage, err);
    if (status == LB_OK && stage->sink->class->finish != NULL)
        status = stage->sink->class->finish(stage->sink, err);
    for (uint32_t i = 0; i < stage->n_legs; i++) {
        for (uint32_t j = 0; j < stage->legs[i].n_ops; j++) {
            struct lb_op *op = stage->legs[i].ops[j];
            if (status == LB_OK && op->is_open && op->class->finish != NULL)
                status = op->class->finish(op, err);
            lb_op_close(op);
        }
    }
    stage->seconds = now_seconds() - start;
    stage->spilled_bytes = atomic_load(&run->spilled_bytes) - spilled;
    return status;
}

static void ignore_close(uv_handle_t *handle)
{
    (void)handle;
}

void lb_run_delete(struct lb_run *run)
{
    if (run == NULL)
        return;
    struct lb_run_private *p = run->private;
    uv_mutex_lock(&p->lock);
    p->shutdown = true;
    uv_cond_broadcast(&p->wake);
    uv_mutex_unlock(&p->lock);
    for (uint32_t i = 0; i < p->n_started; i++)
        uv_thread_join(&p->threads[i]);
    uv_close((uv_handle_t *)&p->done, ignore_close);
    uv_close((uv_handle_t *)&p->timer, ignore_close);
    for (int i = 0; i < 3; i++)
        uv_close((uv_handle_t *)&p->signals[i], ignore_close);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    uv_loop_close(&p->loop);
    /* libuv leaves the default action, which ends the process; an interactive one has its own. */
    for (int i = 0; run->options.handle_signals && i < 3; i++)
        sigaction(handled_signals[i], &p->before[i], NULL);
    uv_cond_destroy(&p->settled);
    uv_cond_destroy(&p->wake);
    uv_mutex_destroy(&p->claiming);
    uv_mutex_destroy(&p->lock);
    uint32_t n = run->options.n_threads;
    lb_free(p->threads, n * sizeof *p->threads);
    lb_free(p->workers, n * sizeof *p->workers);
    lb_free(p, sizeof *p);
    lb_free(run, sizeof *run);
}
