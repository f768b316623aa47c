/* A list of what happened when, of bounded size.
 *
 * IDEA    When the list is full, neighbours of the same kind become one event from the start of the first to the end of the last, as
 *         long as that is shorter than a limit, which doubles until half of the list is free. So a long run is told coarsely,
 *         never cut off.
 * THREADS One thread adds; others read when it has ended. */
#ifndef LB_BASE_TRACE_H
#define LB_BASE_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

struct lb_trace_event {
    uint64_t start_ns, stop_ns; /* of lb_clock_ns */
    uint32_t stage, leg;        /* from 0; only events with the same ones are joined */
    uint32_t n_pieces;          /* events that this one stands for */
    uint64_t n;                 /* records or bytes, added up */
};

struct lb_trace {
    struct lb_trace_event *events; /* in order of their starts */
    size_t n, capacity;
    uint64_t joined_ns; /* events are joined up to this length */
};

lb_status lb_trace_init(struct lb_trace *trace, struct lb_error *err) LB_MUST_USE;
void lb_trace_fini(struct lb_trace *trace);
/* Starts no earlier than the one before. */
void lb_trace_add(struct lb_trace *trace, const struct lb_trace_event *event);

#endif
