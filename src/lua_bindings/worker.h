/* A worker's Lua state: opened once per run and thread, memory accounted, interruptible from outside. */
#ifndef LB_LUA_WORKER_H
#define LB_LUA_WORKER_H

#include "core/column/batch.h"
#include "core/ops/context.h"
#include "lua_bindings/compat.h"

struct lb_lua_worker {
    lua_State *L;
    struct lb_worker *worker;
    size_t heap_bytes; /* what Lua holds now, as reserved in the budget */
    /* ... further fields private to worker.c, see there */
    struct lb_lua_worker_private *private;
};

struct lb_lua_sample_sum;

/* Fills the host table for a run started from state L (its package.path, cpath, preloads and options are
 * copied to the workers' states). samples: where the workers hand over what they saw of user code when they stop; NULL: not wanted. */
lb_status lb_lua_host_init(lua_State *L, struct lb_host *host, struct lb_lua_sample_sum *samples,
                           struct lb_error *err) LB_MUST_USE;
void lb_lua_host_fini(struct lb_host *host);
struct lb_buf;
/* Before a run: calls of user functions that fail are kept (replay.h). Afterwards: the one with an error's note. */
lb_status lb_lua_host_keep_calls(struct lb_host *host, struct lb_error *err) LB_MUST_USE;
bool lb_lua_host_find_call(const struct lb_host *host, uint32_t number, const struct lb_buf **plan,
                           bool *is_cut);

/* The worker's state, started when needed. */
lb_status lb_lua_worker(struct lb_worker *worker, struct lb_lua_worker **lua,
                        struct lb_error *err) LB_MUST_USE;

/* Where a call into user code is, for messages: filled before the call, read when it fails. */
struct lb_lua_place {
    const char *label;            /* operator: "map", "mapper of step 1" */
    const struct lb_batch *batch; /* and row: the record, or NULL */
    uint32_t row;
    const char *key; /* encoded key of the group, or NULL */
    size_t key_size;
    uint64_t position; /* 1-based number of the value in its group; 0 unknown */
};

/* Calls function on the stack as lua_pcall does, with a traceback. On failure err has the message in
 * the form of api.md section 6 (status LB_ERR_USER; LB_ERR_RESOURCE when memory ran out; the engine's own error when
 * lb_lua_throw brought one; LB_ERR_CANCELLED when interrupted). `place` may change during the call. Every call into user code goes through here. */
lb_status lb_lua_call(struct lb_lua_worker *lua, int n_args, int n_results,
                      const struct lb_lua_place *place, struct lb_error *err) LB_MUST_USE;
/* A call of one function within lb_lua_call: limits its time and instructions (run options: record_timeout_ns, max_instructions), and with `handles` finds out
 * why it failed. `function` is the stack index of the function, its arguments lie above.
 * begin with handles puts a message handler there, for lua_pcall; end takes it away when the call has succeeded. Without
 * handles end raises when it took too long. */
struct lb_lua_guard {
    int function;
    bool handles;
};
enum { LB_PLACE_BYTES = 160 };
enum lb_lua_outcome { LB_CALL_ENDED, LB_CALL_LATE };
void lb_lua_guard_begin(struct lb_lua_guard *guard, struct lb_lua_worker *lua, lua_State *L,
                        bool handles);
enum lb_lua_outcome lb_lua_guard_end(struct lb_lua_guard *guard, struct lb_lua_worker *lua,
                                     lua_State *L, int status);
/* After a call with handles failed: the message, and the line of user code (where that is not known place stays as it is).
 * The error value is on top, unless it took too long. */
void lb_lua_guard_tell(struct lb_lua_worker *lua, lua_State *L, int status, char *message,
                       size_t message_size, char *place, size_t place_size);
/* After LB_CALL_LATE: "timeout", or "instructions" when it executed too many. */
const char *lb_lua_guard_kind(const struct lb_lua_worker *lua);
/* The engine's own work in between (iterators, emit) does not count; the time begins anew with resume, which gets what
 * pause gave. */
bool lb_lua_guard_pause(struct lb_lua_worker *lua);
void lb_lua_guard_resume(struct lb_lua_worker *lua, bool was_running);

/* From a C function called by Lua: unwinds to the nearest lb_lua_call with this error of the engine. If user code caught it with pcall, that
 * lb_lua_call fails with it all the same when it returns. */
int lb_lua_throw(struct lb_lua_worker *lua, const struct lb_error *err);
/* Before the error of a coroutine is raised in the state that resumed it: the traceback will be the coroutine's. */
void lb_lua_keep_trace(struct lb_lua_worker *lua, lua_State *co);
/* lua_resume for C functions: the same, but an interrupt reaches what runs inside. L is the state that
 * the C function was called with. */
int lb_lua_resume(lua_State *L, lua_State *co, int n_args, int *n_results);

#endif
