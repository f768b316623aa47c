/* The emitter: what Lua functions return or emit becomes batches that are pushed downstream.
 *
 * CALLS   init; push_closure; then per batch of input: set parent, is_open = true; in Lua:
 *         emit(...) and lb_emitter_add; flush; is_open = false; fini (after the closure was
 *         disarmed).
 * IDEA    A record of nils, booleans, numbers and strings is appended with two loops over its
 *         values and no call into the builder as long as the columns keep their types: the hottest
 *         path of a mapper. Whatever else comes is encoded before anything is appended, so a
 *         refused value leaves no half record behind.
 * MEMORY  A batch is pushed when it is full or holds FLUSH_BYTES of strings, in the middle of the
 *         user's function if need be. Operators further down then run on the same Lua thread,
 *         above it.
 * ERRORS  A push that fails unwinds the user's function with lb_lua_throw. */
#ifndef LB_LUA_EMIT_H
#define LB_LUA_EMIT_H

#include "core/column/builder.h"
#include "core/ops/op.h"
#include "lua_bindings/worker.h"

struct lb_emitter {
    /* configuration */
    struct lb_lua_worker *lua;
    struct lb_op_local *next; /* where batches go */
    bool keeps_key;           /* column 0 of the parent's row goes in front of every record */
    /* state */
    const struct lb_batch *parent; /* what the records are made from, or NULL */
    uint32_t parent_row;
    bool is_open;       /* user code that may emit is running, and no push */
    bool has_failed;    /* an error of the engine is on its way up */
    uint64_t n_records; /* ever added */
    size_t held_bytes;  /* of strings and tables in out */
    /* resources */
    struct lb_batch_builder out;
    struct lb_buf scratch; /* encoded tables of one record */
    struct lb_error err;   /* for C functions that Lua calls: the stack is no place for it */
};

void lb_emitter_init(struct lb_emitter *e, struct lb_lua_worker *lua, struct lb_op_local *next);
void lb_emitter_fini(struct lb_emitter *e);
/* Forgets what was not pushed: a new morsel begins. */
void lb_emitter_reset(struct lb_emitter *e);

/* Pushes the function emit; disarm makes the one at index harmless once the emitter is gone. */
void lb_emitter_push_closure(struct lb_emitter *e, lua_State *L);
void lb_emitter_disarm(lua_State *L, int index);

/* Adds the record of the n values at stack positions first, first + 1 ... May push. False when one
 * of them is no value: then nothing was added and e->err.message says what it is. Errors of the
 * engine unwind: call it from a C function that Lua called. */
bool lb_emitter_add(struct lb_emitter *e, lua_State *L, int first, int n);

/* Pushes what is held. */
lb_status lb_emitter_flush(struct lb_emitter *e, struct lb_error *err) LB_MUST_USE;

/* Unwinds with e->err, given this status, to the lb_lua_call around. */
int lb_emitter_throw(struct lb_emitter *e, lb_status status);

#endif
