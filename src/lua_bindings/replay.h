/* Calls of user functions that failed, kept so that they can be made again: --replay-dir.
 *
 * IDEA    What is kept is a plan of its own: a list of the records that the call saw, and the operator with its functions as
 *         they were shipped. Running it makes the call again, in the same way.
 *         - of a function of records: the record; of mapper_init one that is nil;
 *         - of a function of groups or partitions: what its iterator had given, up to a bound;
 *         - of other functions (reductions, aggregates, salt): the arguments, for lua.map.
 *         - of mapper_final and reducer_final: all records or groups of the task, up to a bound;
 *         - of functions of frames: the frame, for lua.frame.
 * NOTED   What iterators give and the arguments are encoded before each call, in noted; where there is a `final`, all that the
 *         task saw. Records and frames are there anyway.
 * SKIPPED Of calls that are left out the first of each kind in a morsel goes to skips.h, which finds the first of the run.
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
    LB_KEEP_ARGUMENTS,
    LB_KEEP_FRAME
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
    /* Of a task with a `final`: what it saw before the records. */
    bool keeps_task, earlier_is_cut;
    struct lb_buf earlier;
    uint32_t n_earlier;
    /* LB_KEEP_FRAME: rows of a batch; NULL: no call is under way. */
    const struct lb_batch *frame;
    uint32_t frame_first, frame_n;
};

/* Finds out what is to be kept of the calls of an operator with these parameters. */
void lb_lua_noted_init(struct lb_lua_noted *noted, const struct lb_value *params,
                       const struct lb_lua_functions *functions);
void lb_lua_noted_fini(struct lb_lua_noted *noted);
/* Forgets the records of the call before, and what the task saw before. */
void lb_lua_noted_reset(struct lb_lua_noted *noted);
void lb_lua_noted_begin(struct lb_lua_noted *noted);
/* With keeps_task, when a call has ended: its record, or group, is one that the task saw. */
void lb_lua_note_done(struct lb_lua_task *task);
/* Notes what an iterator is about to give: the n values on top of the stack, of the group with the key at hand. */
void lb_lua_note_values(struct lb_lua_task *task, lua_State *L, int n);
/* And the record at hand. */
void lb_lua_note_record(struct lb_lua_task *task);
/* Notes a call: the function at index, its arguments above. */
void lb_lua_note_call(struct lb_lua_task *task, lua_State *L, int function);
/* After a call failed with err (LB_ERR_USER): keeps it, and puts its number into err. Without memory nothing is kept. */
void lb_lua_keep_call(struct lb_lua_task *task, struct lb_error *err);
/* After a call failed that is left out: the plan of it, to be finished by the caller; empty when there is none. */
void lb_lua_make_call(struct lb_lua_task *task, struct lb_buf *plan, bool *is_cut);

struct lb_lua_calls *lb_lua_calls_new(void); /* NULL: no memory */
void lb_lua_calls_delete(struct lb_lua_calls *calls);
/* The plan of the call with a number, and whether records are missing; false: there is none. */
bool lb_lua_calls_find(struct lb_lua_calls *calls, uint32_t number, const struct lb_buf **plan,
                       bool *is_cut);

#endif
