/* What a worker does in a stage: it claims morsels and pushes them through its own chain of operator locals.
 *
 * STATES   of its round: claim -> begin -> produce -> end -> (commit) -> claim ... -> combine -> detach
 * THREADS  Each worker's own, but for the locks of lb_run_private (run_private.h). */
#include <uv.h>

#include "core/base/sys.h"
#include "core/base/trace.h"
#include "core/exec/run_private.h"

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
    struct lb_times claiming; /* waiting for the turn to claim */
};

/* One of the class's functions, or NULL; its time is the operator's. */
static lb_status call(struct lb_op_local *local,
                      lb_status (*function)(struct lb_op_local *local, struct lb_error *err),
                      struct lb_error *err)
{
    if (function == NULL)
        return LB_OK;
    struct lb_meter_place before = lb_meter_enter(&local->times, LB_TIME_C);
    lb_status status = function(local, err);
    lb_meter_leave(before);
    return lb_op_named(local->op, status, err);
}

static lb_status attach(struct lb_op_local *local, struct lb_error *err)
{
    return call(local, local->op->class->attach, err);
}

/* Takes the next morsel of the stage; *leg says of which leg. What is not the source's time is waiting. */
static lb_status claim_next(struct round *round, bool *more, uint32_t *leg, struct lb_error *err)
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
        struct lb_meter_place before = lb_meter_enter(&source->times, LB_TIME_C);
        status = lb_op_named(source->op, source->op->class->claim(source, more, err), err);
        lb_meter_leave(before);
        if (status != LB_OK) {
            round->worker->morsel = p->next_morsel;
            break;
        }
        if (*more) {
            round->worker->morsel = p->next_morsel++;
            atomic_store(&round->worker->running, round->worker->morsel);
            p->n_running++;
            *leg = current;
            break;
        }
        p->leg++;
    }
    uv_mutex_unlock(&p->claiming);
    return status;
}

static lb_status claim(struct round *round, bool *more, uint32_t *leg, struct lb_error *err)
{
    struct lb_meter_place before = lb_meter_enter(&round->claiming, LB_TIME_WAIT);
    lb_status status = claim_next(round, more, leg, err);
    lb_meter_leave(before);
    return status;
}

static lb_status run_morsel(struct round *round, uint32_t leg, struct lb_error *err)
{
    struct chain *chain = &round->chains[leg];
    uint32_t n_ops = round->stage->legs[leg].n_ops;
    lb_skips_begin(round->worker);
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
        LB_TRY(call(local, local->op->class->begin, err));
    uint64_t before = source->next->rows_in;
    lb_status status = call(source, source->op->class->produce, err);
    source->rows_in += source->next->rows_in - before;
    struct lb_op_local *local = source->next;
    while (local != NULL && (status == LB_OK || status == LB_ENOUGH)) {
        /* After LB_ENOUGH only the sink needs to know that the morsel is over. */
        if (status == LB_OK || local->next == NULL) {
            lb_status ended = call(local, local->op->class->end, err);
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
    return lb_skips_commit(round->worker, round->stage->sink->may_enough, err);
}

static lb_status combine(struct round *round, struct lb_error *err)
{
    for (uint32_t i = 0; i < round->stage->n_legs; i++) {
        struct chain *chain = &round->chains[i];
        for (uint32_t j = 0; chain->has_rest && j < round->stage->legs[i].n_ops; j++) {
            struct lb_op_local *local = &chain->locals[j];
            lb_status status = call(local, local->op->class->combine, err);
            if (status != LB_OK && status != LB_ENOUGH)
                return status;
        }
    }
    if (round->has_sink)
        LB_TRY(call(&round->sink, round->sink.op->class->combine, err));
    return lb_skips_commit(round->worker, round->stage->sink->may_enough, err);
}

static void detach(struct lb_op_local *local)
{
    atomic_fetch_add(&local->op->rows_in, local->rows_in);
    if (local->op->class->detach != NULL && local->state != NULL) {
        struct lb_meter_place before = lb_meter_enter(&local->times, LB_TIME_C);
        local->op->class->detach(local);
        lb_meter_leave(before);
    }
    local->state = NULL;
    lb_op_add_times(local->op, &local->times);
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

/* An error must not depend on which thread was faster, and where the first records may be enough, one behind them must not
 * count: the earliest morsel's error waits until those before it have ended. True: it waits, and the worker is done. */
static bool hold_failure(struct round *round, lb_status status, const struct lb_error *err)
{
    struct lb_worker *worker = round->worker;
    struct lb_run *run = worker->run;
    struct lb_run_private *p = run->private;
    atomic_store(&worker->running, UINT64_MAX);
    if (atomic_load(&run->stop) != 0)
        return false;
    bool is_behind = worker->morsel > atomic_load(&run->failed_morsel);
    bool can_wait = status == LB_ERR_USER || status == LB_ERR_DATA || status == LB_RESTART;
    if (err->is_transient && !round->stage->sink->may_enough)
        return false; /* another attempt follows: nobody will see the error */
    if (!can_wait && !(status == LB_ERR_CANCELLED && is_behind))
        return false;
    uv_mutex_lock(&p->lock);
    if (can_wait && worker->morsel < atomic_load(&run->failed_morsel)) {
        p->held = *err;
        p->held.status = status;
        atomic_store(&run->failed_morsel, worker->morsel);
    }
    uv_mutex_unlock(&p->lock);
    if (!round->stage->sink->may_enough)
        uv_async_send(&p->done);
    return true;
}

static void settle_failure(struct round *round)
{
    struct lb_run *run = round->worker->run;
    if (!round->stage->sink->may_enough && atomic_load(&run->failed_morsel) != UINT64_MAX)
        lb_exec_settle_failure(run, false);
}

/* A morsel has ended, well or not. */
static void end_morsel(struct round *round)
{
    struct lb_run_private *p = round->worker->run->private;
    atomic_store(&round->worker->running, UINT64_MAX);
    settle_failure(round);
    uv_mutex_lock(&p->claiming);
    if (--p->n_running == 0)
        uv_cond_broadcast(&p->settled);
    uv_mutex_unlock(&p->claiming);
}

/* Runs a morsel and tells how long it took. */
static lb_status run_timed(struct round *round, uint32_t leg, struct lb_error *err)
{
    struct lb_worker *worker = round->worker;
    uint64_t start = lb_clock_ns();
    atomic_store_explicit(&worker->since_ns, start, memory_order_relaxed);
    uint64_t before = round->chains[leg].locals[0].rows_in;
    lb_status status = run_morsel(round, leg, err);
    uint64_t n_records = round->chains[leg].locals[0].rows_in - before;
    atomic_fetch_add_explicit(&worker->n_records, n_records, memory_order_relaxed);
    atomic_store_explicit(&worker->since_ns, 0, memory_order_relaxed);
    if (worker->trace != NULL)
        lb_trace_add(&worker->trace[LB_TRACE_MORSELS],
                     &(struct lb_trace_event){.start_ns = start,
                                              .stop_ns = lb_clock_ns(),
                                              .stage = worker->run->stage,
                                              .leg = leg + 1,
                                              .n = n_records,
                                              .n_pieces = 1});
    return status;
}

static lb_status walk(struct round *round, struct lb_error *err)
{
    LB_TRY(round_init(round, err));
    for (;;) {
        bool more = false;
        uint32_t leg = 0;
        lb_status status = claim(round, &more, &leg, err);
        if (status != LB_OK && hold_failure(round, status, err)) {
            settle_failure(round);
            return LB_OK;
        }
        LB_TRY(status);
        if (!more)
            break;
        status = run_timed(round, leg, err);
        bool is_held = status != LB_OK && hold_failure(round, status, err);
        end_morsel(round);
        if (is_held)
            return LB_OK;
        LB_TRY(status);
    }
    return combine(round, err);
}

void lb_worker_walk(struct lb_worker *worker, struct lb_stage *stage)
{
    struct round round = {.stage = stage, .worker = worker};
    struct lb_error *err = lb_alloc(sizeof *err);
    if (err == NULL) {
        struct lb_error oom;
        lb_error_memory(&oom, "an error message", sizeof *err);
        lb_run_fail(worker->run, &oom);
        worker->left_ns = lb_clock_ns();
        return;
    }
    err->status = LB_OK;
    err->is_transient = false;
    err->note = 0;
    err->message[0] = '\0';
    lb_status status = walk(&round, err);
    if (status != LB_OK) {
        err->status = status;
        lb_run_fail(worker->run, err);
    }
    round_fini(&round);
    atomic_fetch_add_explicit(&stage->claim_ns, round.claiming.ns[LB_TIME_WAIT],
                              memory_order_relaxed);
    worker->left_ns = lb_clock_ns();
    lb_free(err, sizeof *err);
}
