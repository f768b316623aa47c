/* What worker.c, call.c, interrupt.c and counter.c share about a worker's Lua state. */
#ifndef LB_LUA_WORKER_PRIVATE_H
#define LB_LUA_WORKER_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "lua_bindings/heap.h"
#include "lua_bindings/samples.h"
#include "lua_bindings/worker.h"

/* The innermost of the calls into user code that are under way. */
struct lb_lua_frame {
    struct lb_lua_frame *outer;
    const void *boundary; /* activation of the C function that made the call; NULL: none */
    const struct lb_lua_place *place;
};

/* What the message handler found out, until lb_lua_call makes an error of it. It lies here and not in
 * Lua so that telling of an error needs no memory. */
struct lb_lua_failure {
    bool is_set;
    bool has_trace; /* traceback is that of a coroutine whose error is raised once more */
    bool is_guards; /* of a guard's handler, which found a message and a place, but no traceback */
    bool is_memory; /* a "not enough memory" that came through a coroutine */
    char place[LB_PLACE_BYTES]; /* "job.lua:7", "": not known */
    char message[4096];
    char traceback[2560];
};

struct lb_lua_worker_private {
    struct lb_lua_worker public;
    struct lb_lua_heap *heap;
    pthread_t thread; /* the worker's; set before anybody can interrupt */
    lua_State
        *volatile running;    /* the thread of Lua that user code runs in; NULL: no user code runs.
                                   * Read by the signal handler on this same thread */
    _Atomic bool interrupted; /* set by worker_interrupt, never cleared */
    /* A call whose time is limited: it has a number, and began then; 0: none is under way. */
    _Atomic uint64_t call, call_start_ns;
    uint64_t watched_ns;        /* when it was last looked at; the watching thread's */
    uint64_t late_since_ns;     /* when it was told to stop; the watching thread's */
    _Atomic uint64_t late_call; /* the one that has taken too long; set by another thread */
    uint64_t told_call;         /* the one of which failure says so */
    uint64_t instructions_left; /* of the call under way, where their number is limited */
    uint64_t spent_call;        /* the one that had none left; it is late_call then, too */
    bool has_thrown;            /* `thrown` is on its way to the nearest lb_lua_call */
    bool has_small_heap;        /* the collector's settings, see worker.c */
    struct lb_error thrown;
    struct lb_lua_calls *calls; /* where calls that failed are kept (replay.h); NULL: not wanted */
    struct lb_lua_sampler *sampler; /* NULL: not wanted. Set before user code runs */
    struct lb_lua_frame *frame;
    struct lb_lua_failure failure;
    int64_t *pending; /* counter.c: by counter number, added since the last commit */
    uint32_t n_pending;
};

/* The worker that a state belongs to; NULL for the user's own state. */
struct lb_lua_worker_private *lb_lua_worker_of(lua_State *L);
/* The same for a state that is a worker's. */
static inline struct lb_lua_worker_private *lb_lua_private_of(lua_State *L)
{
#if LB_LUAJIT
    return lb_lua_worker_of(L);
#else
    struct lb_lua_worker_private *p;
    memcpy(&p, lua_getextraspace(L), sizeof p);
    return p;
#endif
}

/* worker.c: suits the collector to the size of the heap. Cheap when nothing changed. */
void lb_lua_tune_collector(struct lb_lua_worker_private *p);

/* interrupt.c */
/* Makes this thread stoppable by lb_lua_interrupt, for `p`; NULL: no longer. */
lb_status lb_lua_interrupt_init(struct lb_lua_worker_private *p, struct lb_error *err) LB_MUST_USE;
void lb_lua_interrupt_fini(void);
/* Makes p->sampler, for this thread. */
lb_status lb_lua_sample_start(struct lb_lua_worker_private *p, struct lb_error *err) LB_MUST_USE;
/* From any thread. */
void lb_lua_interrupt(struct lb_lua_worker_private *p);
/* Makes whatever Lua code runs next in L raise the marker again and again. */
void lb_lua_hook(lua_State *L);
/* Whether the call under way has taken too long. */
static inline bool lb_lua_is_late(const struct lb_lua_worker_private *p)
{
    return atomic_load_explicit(&p->call_start_ns, memory_order_relaxed) != 0 &&
           atomic_load_explicit(&p->late_call, memory_order_relaxed) ==
               atomic_load_explicit(&p->call, memory_order_relaxed);
}
/* Whether user code is to stop. */
static inline bool lb_lua_is_stopping(const struct lb_lua_worker_private *p)
{
    return atomic_load_explicit(&p->interrupted, memory_order_relaxed) || p->has_thrown ||
           lb_lua_is_late(p);
}
/* Stops the call under way if it has taken too long. From another thread, several times a second. True when it was told to and has not:
 * it is in a C function. Then its thread will stay where it is, even when that returns, and err says where that is. */
bool lb_lua_watch(struct lb_lua_worker_private *p, uint64_t timeout_ns, struct lb_error *err);
/* call_start_ns of such a call. */
#define LB_LUA_GIVEN_UP 1
/* For the worker's thread, when the call goes on after all. Does not return if it was given up. */
void lb_lua_halt_if_given_up(struct lb_lua_worker_private *p, uint64_t call_start_ns);
/* Whether the number of instructions of a call is limited. */
static inline bool lb_lua_counts(const struct lb_lua_worker_private *p)
{
    return p->public.worker->run->options.max_instructions > 0;
}
/* Begins to count those of the call that begins in L. */
void lb_lua_count(struct lb_lua_worker_private *p, lua_State *L);
/* call.c: what is told of that call. From the watching thread, while the worker's stays where it is. */
void lb_lua_tell_stuck(struct lb_lua_worker_private *p, struct lb_error *err);
/* call.c: failure gets what is to be told of the call that took too long, which runs in L. */
void lb_lua_tell_late(struct lb_lua_worker_private *p, lua_State *L);
/* Puts the stoppable resume, wrap and close into the table `coroutine`. May raise. LuaJIT's hooks are those of all
 * threads of a state: its own functions will do. */
void lb_lua_open_coroutines(lua_State *L);
/* Puts a debug.sethook that respects this hook into the table `debug`. May raise. */
void lb_lua_open_debug(lua_State *L);
/* The error value that stands for "see thrown, interrupted": a light userdata. */
void lb_lua_push_marker(lua_State *L);
bool lb_lua_is_marker(lua_State *L, int index);

/* counter.c */
void lb_lua_counters_commit(struct lb_lua_worker_private *p);
void lb_lua_counters_fini(struct lb_lua_worker_private *p);
/* What the morsel has added so far, as int64_t by the counters' numbers; the second adds to `sum` what came since such a copy, the
 * third adds a sum to the morsel's. */
lb_status lb_lua_counters_copy(const struct lb_lua_worker_private *p, struct lb_buf *pending,
                               struct lb_error *err) LB_MUST_USE;
lb_status lb_lua_counters_since(const struct lb_lua_worker_private *p, const struct lb_buf *before,
                                struct lb_buf *sum, struct lb_error *err) LB_MUST_USE;
lb_status lb_lua_counters_add(struct lb_lua_worker_private *p, const struct lb_buf *sum,
                              struct lb_error *err) LB_MUST_USE;

/* The registry's field of the job's options, as one encoded value. */
#define LB_LUA_OPTIONS_FIELD "luabatch.options"

#endif
