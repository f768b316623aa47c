/* What the attempts of one run share: which one it is, and what earlier ones have let out.
 *
 * IDEA    An attempt that a read or write failed, or a damaged spill file, has ended is made again from the inputs. Files and
 *         directories appear at the end, so nothing is left of it there. But bytes of standard output are gone, and functions of foreach
 *         were called: the next attempt compares or counts these, and goes on behind them. That works since records, their
 *         order and the cut into morsels depend on the input alone.
 * THREADS note and take may be called by any worker; the rest by who runs the plan, between attempts. */
#ifndef LB_OPS_ATTEMPTS_H
#define LB_OPS_ATTEMPTS_H

#include <pthread.h>

#include "core/base/buf.h"
#include "core/io/output.h"

/* The calls that foreach has made in one morsel. */
struct lb_called {
    uint64_t morsel;
    uint64_t n_records; /* the first so many records of the morsel were passed on */
    struct lb_buf
        failed; /* uint64_t each: those of them, from 0, whose call failed and was skipped: they fail again */
    struct lb_buf counted; /* what the calls added to counters; the host's own format */
};

struct lb_rejects;

struct lb_attempts {
    uint32_t number; /* of the current one, from 1 */
    struct lb_delivery output;
    struct lb_rejects *rejects; /* of one that failed since it left out too many: for its files */
    pthread_mutex_t lock;       /* guards what follows */
    struct lb_called *called;
    size_t n_called, capacity;
};

void lb_attempts_init(struct lb_attempts *attempts);
void lb_attempts_fini(struct lb_attempts *attempts);
/* Takes them, in place of those before. */
void lb_attempts_keep_rejects(struct lb_attempts *attempts, struct lb_rejects *rejects);
/* Takes the buffers of `called`. What was noted of the morsel before is replaced. */
lb_status lb_attempts_note(struct lb_attempts *attempts, struct lb_called *called,
                           struct lb_error *err) LB_MUST_USE;
/* What earlier attempts noted of a morsel, which is to be noted again; the buffers become the caller's. n_records 0: nothing. */
struct lb_called lb_attempts_take(struct lb_attempts *attempts, uint64_t morsel);
void lb_called_fini(struct lb_called *called);

#endif
