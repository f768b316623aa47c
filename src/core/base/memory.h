/* How much memory the process has taken, and the most that it may take.
 *
 * IDEA    The budget (budget.h) is a plan: what grows asks first, and spills when it is refused. This is the fact: every block of the allocator
 *         gate (sys.h) is counted, asked for or not, so that no way past a reservation is a way past the limit. Taking more than the most
 *         fails as any allocation does, with an error of status 5. Before that, reservations are refused, too: what can spill makes room for what cannot.
 * BLOCKS  A block counts as what malloc takes for it: many small ones, a script's tables, are a third larger than they were asked to be.
 * MEMORY  For a limit L the process stays within 1.1 L + 64 MiB. Of these 64 MiB OUTSIDE_BYTES are for what is not counted: code, stacks,
 *         libraries, what the C library keeps of freed blocks.
 * THREADS One atomic counter; each thread tells it in steps of STEP_BYTES, and must settle at its end. */
#ifndef LB_BASE_MEMORY_H
#define LB_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LB_MEMORY_LARGE_BYTES = 256 << 10
}; /* malloc gives such blocks back to the kernel when they are freed */

/* From now on; 0: there is none. When it is for ever, later calls do nothing. Not while other threads take memory. */
void lb_memory_limit(size_t limit_bytes, bool is_for_ever);
/* What malloc takes for a block of so many bytes: glibc puts 8 before it, in steps of 16 and at least 32; large ones have pages of their own. */
static inline size_t lb_memory_of_block(size_t bytes)
{
    if (bytes >= LB_MEMORY_LARGE_BYTES)
        return bytes > SIZE_MAX / 2 ? bytes : (bytes + 16 + 4095) & ~(size_t)4095;
    if (bytes <= 24)
        return bytes == 0 ? 0 : 32;
    return (bytes + 8 + 15) & ~(size_t)15;
}

/* Counts bytes that are about to be allocated. False: they would be too many, and are not counted. */
bool lb_memory_take(size_t bytes);
void lb_memory_give(size_t bytes);
/* Whether so many more bytes would leave little room for what cannot be spilled. */
bool lb_memory_is_short(size_t more_bytes);
/* What the thread has not told yet is told: at its end. */
void lb_memory_settle(void);

/* The limit, when the last refusal of lb_memory_take in this thread was its doing and was not asked about yet; else 0. */
size_t lb_memory_refused_by(void);

#endif
