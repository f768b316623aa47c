/* Tells the host how far a stage is. */
#include "core/exec/run_private.h"

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
        double seconds = since != 0 && since < now ? 1e-9 * (double)(now - since) : 0;
        if (seconds > progress.slowest_seconds) {
            progress.slowest_seconds = seconds;
            progress.slowest = i + 1;
        }
    }
    run->options.host.progress(run->options.host.progress_state, &progress);
}
