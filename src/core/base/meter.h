/* Where a thread's time goes.
 *
 * CALLS   before = lb_meter_enter(times, kind); ... lb_meter_leave(before), nested as calls are.
 * IDEA    A thread has one stopwatch and one place that its time is added to. Entering another place first adds what
 *         has passed to the one before, so that each place gets its own time and not that of what it called. It costs
 *         a clock read on entering and one on leaving: for batches and frames, not for records.
 * THREADS The stopwatch is the thread's own; so is `times` while it is entered. */
#ifndef LB_BASE_METER_H
#define LB_BASE_METER_H

#include <stdbool.h>
#include <stdint.h>

/* ORDER times */
enum lb_time {
    LB_TIME_C,
    LB_TIME_LUA,   /* in user code, with what brings values to it and back */
    LB_TIME_GC,    /* in the collector of the host's language, where the host says when */
    LB_TIME_SPILL, /* writing and reading spill files, with compression */
    LB_TIME_WAIT,  /* for input */
    LB_N_TIMES
};

struct lb_times {
    uint64_t ns[LB_N_TIMES];
    uint64_t written_bytes, read_bytes; /* of spill files */
};

struct lb_meter_place {
    struct lb_times *times; /* NULL: nobody wants to know */
    enum lb_time kind;
};

struct lb_trace;

/* times NULL: the same as before, for another kind. */
struct lb_meter_place lb_meter_enter(struct lb_times *times, enum lb_time kind);
void lb_meter_leave(struct lb_meter_place before);

/* lb_meter_enter and leave around one frame of a spill file; the traffic is counted, and noted in the thread's trace. */
struct lb_meter_place lb_meter_enter_spill(void);
void lb_meter_leave_spill(struct lb_meter_place before, uint64_t written_bytes,
                          uint64_t read_bytes);
/* Where the frames of this thread are noted; NULL: nowhere. */
void lb_meter_trace_spills(struct lb_trace *trace);

/* lb_meter_enter around the collector's work, for threads that asked for it: it comes often. Others get a place that
 * lb_meter_leave_gc knows. */
struct lb_meter_place lb_meter_enter_gc(void);
void lb_meter_leave_gc(struct lb_meter_place before);
/* Whether this thread counts it. */
void lb_meter_count_gc(bool counts);

/* Of a clock that only goes on. */
uint64_t lb_clock_ns(void);

#endif
