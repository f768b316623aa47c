/* What the workers of a traced run did when; FORMAT see lb_run_trace. */
#include "core/base/trace.h"

#include <string.h>

#include "core/base/sys.h"
#include "core/column/codec.h"
#include "core/exec/run_private.h"

lb_status lb_exec_trace_init(struct lb_run *run, struct lb_error *err)
{
    for (uint32_t i = 0; i < run->options.n_threads; i++) {
        struct lb_worker *worker = &run->private->workers[i];
        worker->trace = lb_alloc_zero(LB_N_TRACES * sizeof *worker->trace);
        if (worker->trace == NULL)
            return lb_error_memory(err, "a trace", LB_N_TRACES * sizeof *worker->trace);
        for (int k = 0; k < LB_N_TRACES; k++)
            LB_TRY(lb_trace_init(&worker->trace[k], err));
    }
    return LB_OK;
}

void lb_exec_trace_fini(struct lb_run *run)
{
    for (uint32_t i = 0; i < run->options.n_threads; i++) {
        struct lb_worker *worker = &run->private->workers[i];
        for (int k = 0; worker->trace != NULL && k < LB_N_TRACES; k++)
            lb_trace_fini(&worker->trace[k]);
        lb_free(worker->trace, LB_N_TRACES * sizeof *worker->trace);
        worker->trace = NULL;
    }
}

static lb_status put_count(struct lb_buf *out, const char *name, uint64_t value,
                           struct lb_error *err)
{
    LB_TRY(lb_codec_put_string(out, name, strlen(name), err));
    return lb_codec_put_int(out, (int64_t)value, err);
}

static lb_status put_seconds(struct lb_buf *out, const char *name, uint64_t ns,
                             struct lb_error *err)
{
    LB_TRY(lb_codec_put_string(out, name, strlen(name), err));
    return lb_codec_put_float(out, 1e-9 * (double)ns, err);
}

static lb_status put_events(struct lb_buf *out, const struct lb_trace *trace, struct lb_error *err)
{
    size_t list, map;
    LB_TRY(lb_codec_begin(out, 'l', &list, err));
    for (size_t i = 0; i < trace->n; i++) {
        const struct lb_trace_event *event = &trace->events[i];
        LB_TRY(lb_codec_begin(out, 'm', &map, err));
        LB_TRY(put_count(out, "leg", event->leg, err));
        LB_TRY(put_count(out, "n", event->n, err));
        LB_TRY(put_count(out, "pieces", event->n_pieces, err));
        LB_TRY(put_count(out, "stage", event->stage, err));
        LB_TRY(put_seconds(out, "start", event->start_ns, err));
        LB_TRY(put_seconds(out, "stop", event->stop_ns, err));
        lb_codec_end(out, map, 6);
    }
    lb_codec_end(out, list, (uint32_t)trace->n);
    return LB_OK;
}

lb_status lb_run_trace(const struct lb_run *run, struct lb_buf *out, struct lb_error *err)
{
    size_t list, map;
    uint32_t n = run->options.is_traced ? run->options.n_threads : 0;
    LB_TRY(lb_codec_begin(out, 'l', &list, err));
    for (uint32_t i = 0; i < n; i++) {
        const struct lb_trace *trace = run->private->workers[i].trace;
        LB_TRY(lb_codec_begin(out, 'm', &map, err));
        LB_TRY(lb_codec_put_string(out, "morsels", 7, err));
        LB_TRY(put_events(out, &trace[LB_TRACE_MORSELS], err));
        LB_TRY(lb_codec_put_string(out, "spills", 6, err));
        LB_TRY(put_events(out, &trace[LB_TRACE_SPILLS], err));
        lb_codec_end(out, map, 2);
    }
    lb_codec_end(out, list, n);
    return LB_OK;
}
