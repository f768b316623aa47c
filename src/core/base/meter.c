/* The stopwatch of a thread; see meter.h. */
#include "core/base/meter.h"

#include <stddef.h>
#include <time.h>

#include "core/base/trace.h"

static _Thread_local struct {
    struct lb_meter_place place;
    uint64_t since_ns; /* what was before is counted */
    struct lb_trace *spills;
    bool counts_gc;
} meter __attribute__((tls_model("initial-exec")));

uint64_t lb_clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void turn_to(struct lb_meter_place place)
{
    uint64_t now = lb_clock_ns();
    if (meter.place.times != NULL)
        meter.place.times->ns[meter.place.kind] += now - meter.since_ns;
    meter.since_ns = now;
    meter.place = place;
}

struct lb_meter_place lb_meter_enter(struct lb_times *times, enum lb_time kind)
{
    struct lb_meter_place before = meter.place;
    if (times == NULL)
        times = before.times;
    if (times != NULL)
        turn_to((struct lb_meter_place){times, kind});
    return before;
}

void lb_meter_leave(struct lb_meter_place before)
{
    if (meter.place.times != NULL)
        turn_to(before);
}

struct lb_meter_place lb_meter_enter_spill(void)
{
    return lb_meter_enter(NULL, LB_TIME_SPILL);
}

void lb_meter_leave_spill(struct lb_meter_place before, uint64_t written_bytes, uint64_t read_bytes)
{
    struct lb_times *times = meter.place.times;
    if (times == NULL)
        return;
    uint64_t start = meter.since_ns;
    times->written_bytes += written_bytes;
    times->read_bytes += read_bytes;
    lb_meter_leave(before);
    if (meter.spills != NULL)
        lb_trace_add(meter.spills, &(struct lb_trace_event){.start_ns = start,
                                                            .stop_ns = meter.since_ns,
                                                            .n = written_bytes + read_bytes,
                                                            .n_pieces = 1});
}

struct lb_meter_place lb_meter_enter_gc(void)
{
    return meter.counts_gc ? lb_meter_enter(NULL, LB_TIME_GC)
                           : (struct lb_meter_place){NULL, LB_TIME_GC};
}

void lb_meter_leave_gc(struct lb_meter_place before)
{
    if (before.times != NULL)
        lb_meter_leave(before);
}

void lb_meter_count_gc(bool counts)
{
    meter.counts_gc = counts;
}

void lb_meter_trace_spills(struct lb_trace *trace)
{
    meter.spills = trace;
}
