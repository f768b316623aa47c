/* Tells the host how far a stage is. */
#include "core/exec/run_private.h"

/* How much of the stage's input was claimed. Of legs that count bytes and others that count pieces the bytes are told. */
static struct lb_progress add_legs(const struct lb_stage *stage)
{
    struct lb_progress pieces = {0}, bytes = {.is_bytes = true};
    uint32_t n_pieces = 0, n_bytes = 0;
    bool is_known = true;
    for (uint32_t i = 0; i < stage->n_legs; i++) {
        const struct lb_op *source = stage->legs[i].ops[0];
        if (stage->legs[i].is_idle)
            continue;
        struct lb_progress leg = {0};
        if (source->class->progress == NULL || !source->class->progress(source, &leg) ||
            leg.done > leg.total)
            is_known = false;
        struct lb_progress *sum = leg.is_bytes ? &bytes : &pieces;
        sum->done += leg.done;
        sum->total += leg.total;
        n_bytes += leg.is_bytes;
        n_pieces += !leg.is_bytes;
    }
    struct lb_progress *told = n_bytes > 0 ? &bytes : &pieces;
    if (!is_known || (n_bytes > 0 && n_pieces > 0))
        told->total = 0;
    return *told;
}

/* Who claims may wait long for input: then the bytes that have come are told, else it is as it was. */
static void tell_input(struct lb_run_private *p, const struct lb_stage *stage,
                       struct lb_progress *progress)
{
    if (uv_mutex_trylock(&p->claiming) == 0) {
        p->claimed = add_legs(stage);
        uv_mutex_unlock(&p->claiming);
    } else {
        uint64_t n_bytes = 0;
        for (uint32_t i = 0; i < stage->n_legs; i++)
            n_bytes += atomic_load(&stage->legs[i].ops[0]->n_bytes);
        if (n_bytes > 0) {
            p->claimed.is_bytes = true;
            p->claimed.done = n_bytes;
        }
    }
    progress->done = p->claimed.done;
    progress->total = p->claimed.total;
    progress->is_bytes = p->claimed.is_bytes;
}

void lb_exec_tell(uv_timer_t *handle)
{
    struct lb_run *run = handle->data;
    struct lb_run_private *p = run->private;
    const struct lb_stage *stage = p->stage;
    if (stage == NULL)
        return;
    uint64_t now = lb_clock_ns();
    struct lb_progress progress = {
        .stage = run->stage,
        .n_stages = run->n_stages,
        .label = stage->sink->label,
        .seconds = 1e-9 * (double)(now - p->stage_start_ns),
        .run_seconds = 1e-9 * (double)(now - p->start_ns),
        .used_bytes = atomic_load(&run->budget->used_bytes),
        .max_bytes = atomic_load(&run->budget->limit_bytes),
        .spilled_bytes = atomic_load(&run->spilled_bytes),
    };
    tell_input(p, stage, &progress);
    for (uint32_t i = 0; i < run->options.n_threads; i++) {
        const struct lb_worker *worker = &p->workers[i];
        progress.n_records += atomic_load_explicit(&worker->n_records, memory_order_relaxed);
        uint64_t since = atomic_load_explicit(&worker->since_ns, memory_order_relaxed);
        double seconds = since != 0 && since < now ? 1e-9 * (double)(now - since) : 0;
        if (seconds > progress.slowest_seconds) {
            progress.slowest_seconds = seconds;
            progress.slowest = i + 1;
        }
    }
    run->options.host.progress(run->options.host.progress_state, &progress);
}
