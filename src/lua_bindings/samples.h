/* Which lines of user code the workers' time goes to.
 *
 * IDEA    A timer of the worker's processor time sends the signal of interrupt.c some hundred times a second; its handler
 *         gives the running Lua thread a hook, which meets the next instruction or return, notes the line, and takes itself away.
 *         Between two samples nothing is slower.
 * THREADS Each worker counts on its own and hands over when it stops.
 * WHY NOT a count hook: while there is one, Lua 5.4 leaves its fast path at each instruction. */
#ifndef LB_LUA_SAMPLES_H
#define LB_LUA_SAMPLES_H

#include <pthread.h>
#include <time.h>

#include "core/base/error.h"
#include "lua_bindings/compat.h"

enum {
    LB_SAMPLE_LINES = 1024
}; /* a power of two; samples of further lines are counted without one */

struct lb_lua_sample_line {
    char source[LUA_IDSIZE]; /* "" where nothing is */
    int line;
    uint64_t n;
};

/* Of a worker, or of a run. */
struct lb_lua_samples {
    struct lb_lua_sample_line lines[LB_SAMPLE_LINES]; /* hashed, open addressing */
    uint32_t n_lines;
    uint64_t n, n_elsewhere; /* all, and those of lines that had no place */
};

/* The samples of a run, and the lock for it. */
struct lb_lua_sample_sum {
    pthread_mutex_t lock;
    struct lb_lua_samples samples;
};

struct lb_lua_sampler {
    struct lb_lua_samples samples;
    timer_t timer;
};

/* Begins to send `signal_number` to this thread. */
lb_status lb_lua_sampler_start(int signal_number, struct lb_lua_sampler **sampler,
                               struct lb_error *err) LB_MUST_USE;
/* Stops, and hands over. NULL allowed. */
void lb_lua_sampler_stop(struct lb_lua_sampler *sampler, struct lb_lua_sample_sum *sum);
/* Notes where L is; from a hook. */
void lb_lua_sample(struct lb_lua_sampler *sampler, lua_State *L, lua_Debug *ar);

struct lb_lua_sample_sum *lb_lua_sample_sum_new(struct lb_error *err);
void lb_lua_sample_sum_delete(struct lb_lua_sample_sum *sum); /* NULL allowed */
/* Pushes { n =, elsewhere =, lines = list of { source, line, n } }, the most frequent lines first. */
void lb_lua_push_samples(lua_State *L, const struct lb_lua_sample_sum *sum);

#endif
