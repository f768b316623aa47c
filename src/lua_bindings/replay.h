/* Calls of user functions that failed, kept so that they can be made again: --replay-dir.
 *
 * IDEA    What is kept is a plan of its own: a list of the records that the call saw, and the operator with its functions as
 *         they were shipped. Running it makes the call again, in the same way.
 *         - of a function of records: the record; of mapper_init one that is nil;
 *         - of a function of groups or partitions: what its iterator had given, up to a bound;
 *         - of other functions (reductions, aggregates, salt): the arguments, for lua.map.
 *         Not kept: mapper_final and reducer_final, which depend on the whole task, and functions of frames.
 * NOTED   What iterators give and the arguments are encoded before each call, in noted; records are there anyway.
 * THREADS Kept by the workers under a lock; an error carries the number of its call (lb_error: note). */
#ifndef LB_LUA_REPLAY_H
#define LB_LUA_REPLAY_H

#include "core/base/buf.h"
#include "core/column/codec.h"
#include "lua_bindings/compat.h"

struct lb_lua_task;
struct lb_lua_functions;
struct lb_lua_calls;

enum lb_lua_keeping {
    LB_KEEP_NOTHING,
    LB_KEEP_RECORD,
    LB_KEEP_GROUP,
    LB_KEEP_PARTITION,
    LB_KEEP_ARGUMENTS
};

/* Of a task. */
struct lb_lua_noted {
    enum lb_lua_keeping keeping;
    struct lb_value params; /* of its operator */
    const struct lb_lua_functions *functions;
    int function;          /* LB_KEEP_ARGUMENTS: the slot of the function called; 0: not known */
    struct lb_buf records; /* encoded lists, or of arguments one */
    uint32_t n_records;
    bool is_cut; /* there were more records than are kept */
};

/* Finds out what is to be kept of the calls of an operator with these parameters. */
void lb_lua_noted_init(struct lb_lua_noted *noted, const struct lb_value *params,
                       const struct lb_lua_functions *functions);
void lb_lua_noted_fini(struct lb_lua_noted *noted);
void lb_lua_noted_reset(struct lb_lua_noted *noted);
/* Notes what an iterator is about to give: the n values on top of the stack, of the group with the key at hand. */
void lb_lua_note_values(struct lb_lua_task *task, lua_State *L, int n);
/* And the record at hand. */
void lb_lua_note_record(struct lb_lua_task *task);
/* Notes a call: the function at index, its arguments above. */
void lb_lua_note_call(struct lb_lua_task *task, lua_State *L, int function);
/* After a call failed with err (LB_ERR_USER): keeps it, and puts its number into err. Without memory nothing is kept. */
void lb_lua_keep_call(struct lb_lua_task *task, struct lb_error *err);

struct lb_lua_calls *lb_lua_calls_new(void); /* NULL: no memory */
void lb_lua_calls_delete(struct lb_lua_calls *calls);
/* The plan of the call with a number, and whether records are missing; false: there is none. */
bool lb_lua_calls_find(struct lb_lua_calls *calls, uint32_t number, const struct lb_buf **plan,
                       bool *is_cut);

#endif
