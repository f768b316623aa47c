/* Bounded lists of events; see trace.h. */
#include "core/base/trace.h"

#include <stdbool.h>

#include "core/base/sys.h"

#ifdef LB_TINY
enum { MOST_EVENTS = 16 };
#else
enum { MOST_EVENTS = 4096 };
#endif
static const uint64_t FIRST_JOINED_NS = 1000, LONGEST_JOINED_NS = (uint64_t)1 << 42;

lb_status lb_trace_init(struct lb_trace *trace, struct lb_error *err)
{
    *trace = (struct lb_trace){.capacity = MOST_EVENTS};
    trace->events = lb_alloc(MOST_EVENTS * sizeof *trace->events);
    return trace->events != NULL
               ? LB_OK
               : lb_error_memory(err, "a trace", MOST_EVENTS * sizeof *trace->events);
}

void lb_trace_fini(struct lb_trace *trace)
{
    lb_free(trace->events, trace->capacity * sizeof *trace->events);
    *trace = (struct lb_trace){0};
}

static bool join(const struct lb_trace *trace, struct lb_trace_event *last,
                 const struct lb_trace_event *event)
{
    if (last->stage != event->stage || last->leg != event->leg ||
        event->stop_ns - last->start_ns > trace->joined_ns)
        return false;
    last->stop_ns = event->stop_ns;
    last->n_pieces += event->n_pieces;
    last->n += event->n;
    return true;
}

static void squeeze(struct lb_trace *trace)
{
    size_t kept = 0;
    for (size_t i = 1; i < trace->n; i++)
        if (!join(trace, &trace->events[kept], &trace->events[i]))
            trace->events[++kept] = trace->events[i];
    trace->n = kept + 1;
}

void lb_trace_add(struct lb_trace *trace, const struct lb_trace_event *event)
{
    if (trace->n > 0 && join(trace, &trace->events[trace->n - 1], event))
        return;
    if (trace->n == trace->capacity) {
        /* What is left when even an hour is one event are changes of stage and leg. */
        while (trace->n > trace->capacity / 2 && trace->joined_ns < LONGEST_JOINED_NS) {
            trace->joined_ns = trace->joined_ns > 0 ? trace->joined_ns * 2 : FIRST_JOINED_NS;
            squeeze(trace);
        }
    }
    /* A plan of thousands of stages is told by the first ones. */
    if (trace->n < trace->capacity)
        trace->events[trace->n++] = *event;
}
