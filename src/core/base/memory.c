/* The count of memory taken; memory.h has the idea. */
#include "core/base/memory.h"

#include <stdatomic.h>
#include <stdint.h>

enum {
    STEP_BYTES = 64 << 10,
    ALLOWED_BYTES = 64 << 20, /* beyond 1.1 limits */
    OUTSIDE_BYTES = 20 << 20, /* of these: not counted here */
    URGENT_BYTES = 20 << 20   /* before the end: no more reservations */
};

#define NO_LIMIT (INT64_MAX / 2) /* what is held may be below zero for a moment */

static _Atomic int64_t held_bytes;
static _Atomic int64_t most_bytes = NO_LIMIT;
static _Atomic size_t limit_bytes;
static bool is_fixed;

static __thread int64_t untold_bytes;
static __thread bool is_refused;

void lb_memory_limit(size_t limit, bool is_for_ever)
{
    if (is_fixed)
        return;
    is_fixed = is_for_ever;
    bool is_none = limit == 0 || limit > INT64_MAX / 4;
    atomic_store(&limit_bytes, limit);
    atomic_store(&most_bytes, is_none
                                  ? NO_LIMIT
                                  : (int64_t)(limit + limit / 10) + ALLOWED_BYTES - OUTSIDE_BYTES);
}

/* Tells what is untold; the count then. */
static int64_t tell(void)
{
    int64_t more = untold_bytes;
    untold_bytes = 0;
    return atomic_fetch_add_explicit(&held_bytes, more, memory_order_relaxed) + more;
}

bool lb_memory_take(size_t bytes)
{
    if (bytes < STEP_BYTES && untold_bytes < STEP_BYTES) {
        untold_bytes += (int64_t)bytes;
        return true;
    }
    int64_t most = atomic_load_explicit(&most_bytes, memory_order_relaxed);
    if (bytes > INT64_MAX / 4 || (int64_t)bytes > most - tell()) {
        is_refused = true;
        return false;
    }
    untold_bytes = (int64_t)bytes;
    tell();
    return true;
}

void lb_memory_give(size_t bytes)
{
    untold_bytes -= (int64_t)bytes;
    if (untold_bytes < -STEP_BYTES)
        tell();
}

bool lb_memory_is_short(size_t more_bytes)
{
    int64_t most = atomic_load_explicit(&most_bytes, memory_order_relaxed);
    int64_t held = atomic_load_explicit(&held_bytes, memory_order_relaxed);
    return more_bytes > INT64_MAX / 4 || (int64_t)more_bytes > most - URGENT_BYTES - held;
}

void lb_memory_settle(void)
{
    tell();
}

size_t lb_memory_refused_by(void)
{
    bool was = is_refused;
    is_refused = false;
    return was ? atomic_load(&limit_bytes) : 0;
}
