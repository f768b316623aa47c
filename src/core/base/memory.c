/* The count of memory taken; memory.h has the idea. */
#include "core/base/memory.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum {
    STEP_BYTES = 64 << 10,
    ALLOWED_BYTES = 64 << 20, /* beyond 1.1 limits */
    OUTSIDE_BYTES = 20 << 20, /* of these: not counted here */
    URGENT_BYTES = 20 << 20,  /* before the end: no more reservations */
    LOOK_BYTES = 4 << 20,     /* taken by a thread between two looks at what malloc keeps */
    KEPT_BYTES = 8 << 20 /* that malloc may keep more than it did after it was told to give back */
};

#define NO_LIMIT (INT64_MAX / 2) /* what is held may be below zero for a moment */

static _Atomic int64_t held_bytes;
static _Atomic int64_t most_bytes = NO_LIMIT;
static _Atomic size_t limit_bytes;
static bool is_fixed;
static int statm =
    -1; /* kept open: safe mode lets nothing more be opened, and there may be no descriptors left */

static _Atomic int64_t kept_bytes = OUTSIDE_BYTES; /* resident but not held, after the last trim */

static __thread int64_t untold_bytes;
static __thread int64_t taken_bytes; /* since the last look */
static __thread bool is_refused;

void lb_memory_limit(size_t limit, bool is_for_ever)
{
    if (is_fixed)
        return;
    is_fixed = is_for_ever;
    bool is_none = limit == 0 || limit > INT64_MAX / 4;
    if (!is_none && statm == -1)
        statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
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

/* 0 when it is not known. Not through lb_sys: safe mode's jail and faults are about what a job does. */
static int64_t resident_bytes(void)
{
    char text[64];
    long long pages = 0;
    ssize_t n = statm == -1 ? -1 : pread(statm, text, sizeof text - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return sscanf(text, "%*d %lld", &pages) == 1 ? pages * sysconf(_SC_PAGESIZE) : 0;
}

/* Blocks of growing sizes leave holes in malloc's heap that no later one fits: held by nobody, but resident. Their pages go back. */
static void look(int64_t held)
{
    int64_t kept = atomic_load_explicit(&kept_bytes, memory_order_relaxed);

    taken_bytes = 0;
    if (resident_bytes() - held < kept + KEPT_BYTES)
        return;
    malloc_trim(0);
    kept = resident_bytes() - held;
    atomic_store_explicit(&kept_bytes, kept > OUTSIDE_BYTES ? kept : OUTSIDE_BYTES,
                          memory_order_relaxed);
}

bool lb_memory_take(size_t bytes)
{
    if (bytes < STEP_BYTES && untold_bytes < STEP_BYTES) {
        untold_bytes += (int64_t)bytes;
        return true;
    }
    int64_t most = atomic_load_explicit(&most_bytes, memory_order_relaxed);
    int64_t held = atomic_load_explicit(&held_bytes, memory_order_relaxed) + untold_bytes;
    if (bytes > INT64_MAX / 4 || (int64_t)bytes > most - held) {
        is_refused =
            true; /* and untold remains, so that asking again, after a collection that gave nothing, ends here */
        return false;
    }
    taken_bytes += (int64_t)bytes + STEP_BYTES;
    untold_bytes += (int64_t)bytes;
    held = tell();
    if (taken_bytes > LOOK_BYTES && held > most / 2)
        look(held);
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
