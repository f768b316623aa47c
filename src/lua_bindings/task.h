/* What every operator that calls Lua keeps per worker: its functions, its emitter, its error
 * policy, and the table `task` of the current morsel.
 *
 * CALLS   init; (begin, run ..., finish) per morsel or just run; fini.
 * IDEA    One protected call per batch: `run` calls a C function, the body, which loops over the
 *         rows and calls the user's function for each. The body finds its state at stack position
 *         1 and Lua values in the task's slots. When something fails, `place` says which row was
 *         at work.
 * ERRORS  With on_error = "skip" or { to = path } each call of the user's function is protected by itself; a
 *         failed one is counted and left out (what it had emitted before stays), and its record written
 *         to the path (rejects.h). Errors of the engine are never skipped.
 * HELD    An operator that calls several functions, one after the other for many records each, has failures held, and lets them
 *         be told in the order of records: lb_lua_task_hold, lb_lua_task_tell. */
#ifndef LB_LUA_TASK_H
#define LB_LUA_TASK_H

#include "lua_bindings/emit.h"
#include "lua_bindings/replay.h"
#include "lua_bindings/row.h"
#include "lua_bindings/values.h"
#include "lua_bindings/worker.h"

/* Slots of a task. ORDER slots */
enum {
    LB_SLOT_EMIT = 1, /* the function emit */
    LB_SLOT_TABLE,    /* the table `task` */
    LB_SLOT_OWN,      /* the operator's own */
    LB_SLOT_FUNCTION  /* the first function; the others follow */
};

struct lb_lua_task {
    /* configuration */
    struct lb_lua_worker *lua;
    bool skips;        /* on_error is not "fail" */
    bool is_guarded;   /* calls take the longer way: skips, or the time of a record has a limit */
    bool is_beginning; /* the function `init` runs */
    bool is_ending;    /* the function `final` runs */
    bool keeps_calls;  /* those that fail are kept (replay.h) */
    bool holds;        /* what is left out is told later */
    struct lb_rejects *rejects; /* of on_error = { to = path }, else NULL */
    char *label;                /* for messages */
    char verb[64];              /* for what is left out; "": the label */
    /* state */
    struct lb_lua_place place; /* where user code is */
    struct lb_lua_noted noted; /* with keeps_calls: of the call under way */
    struct lb_error noted_err;
    struct lb_buf rejected;       /* those since `run` was called */
    struct lb_buf rejected_value; /* the last one's */
    struct lb_buf held;           /* with holds: failures, see task.c */
    struct lb_buf held_texts;
    uint32_t n_told; /* so many of them are done */
    struct lb_emitter emitter;
    struct lb_lua_row row; /* when on: records are rows; see lb_lua_task_take_rows */
    /* resources */
    int slots; /* registry reference of the table of slots */
};

enum { LB_TASK_FUNCTIONS = 4 };
/* Names the functions among an operator's parameters. */
struct lb_lua_functions {
    const char *names[LB_TASK_FUNCTIONS]; /* NULL: no more */
    unsigned n_required;                  /* the first so many must be there */
};

/* Loads the functions into the worker's state. Usable only after LB_OK; a zeroed task may be given
 * to fini. next: where the emitter pushes; NULL for what does not emit. */
lb_status lb_lua_task_init(struct lb_lua_task *task, struct lb_worker *worker,
                           const struct lb_value *params, const char *label,
                           const struct lb_lua_functions *functions, struct lb_op_local *next,
                           struct lb_error *err) LB_MUST_USE;
void lb_lua_task_fini(struct lb_lua_task *task);
/* After init, for operators that take `names`: when they are given, the function in slot gets a row as its
 * parameter of that number, 1 the first. slot 0: only lb_lua_row_push_table is used. */
lb_status lb_lua_task_take_rows(struct lb_lua_task *task, const struct lb_value *params, int slot,
                                int param, struct lb_error *err) LB_MUST_USE;

/* After init: on_error, and label as the verb of what is left out, are among these parameters; and failures are held. */
lb_status lb_lua_task_hold(struct lb_lua_task *task, const struct lb_value *params,
                           struct lb_error *err) LB_MUST_USE;
/* Tells of the next n failures that are held, of rows of place.batch. */
lb_status lb_lua_task_tell(struct lb_lua_task *task, uint32_t n, struct lb_error *err) LB_MUST_USE;
size_t lb_lua_task_held_bytes(const struct lb_lua_task *task);

/* Calls body(state) protected: state is a light userdata at position 1. emit works meanwhile. */
lb_status lb_lua_task_run(struct lb_lua_task *task, lua_CFunction body, void *state,
                          struct lb_error *err) LB_MUST_USE;

/* A new table `task` for the morsel; then calls the function in slot `init`, if there, with it. */
lb_status lb_lua_task_begin(struct lb_lua_task *task, int init, struct lb_error *err) LB_MUST_USE;
/* Calls final(emit, task) in slot `final`, if there, and pushes what is held. */
lb_status lb_lua_task_finish(struct lb_lua_task *task, int final, struct lb_error *err) LB_MUST_USE;

/* The rest is for bodies and C functions that Lua calls. */

void lb_lua_task_push(const struct lb_lua_task *task, lua_State *L, int slot);
/* Sets the slot to the value on top and pops it. */
void lb_lua_task_set(const struct lb_lua_task *task, lua_State *L, int slot);
/* lua_call by the error policy: false when the record is to be skipped (then nothing is pushed). */
static inline bool lb_lua_task_call(struct lb_lua_task *task, lua_State *L, int n_args,
                                    int n_results);
/* What the function in slot gave is refused with emitter.err's message: raises it, or counts a
 * skipped record. */
void lb_lua_task_refuse(struct lb_lua_task *task, lua_State *L, int slot);
/* Pushes what the user's function gets of a record: its columns, or one row; returns how many values. */
static inline int lb_lua_task_push_record(struct lb_lua_task *task, lua_State *L,
                                          const struct lb_batch *batch, uint32_t row);
/* Pushes the columns of a row from `first` on; returns how many. */
static inline int lb_lua_push_record(lua_State *L, const struct lb_batch *batch, uint32_t first,
                                     uint32_t row);

bool lb_lua_task_call_guarded(struct lb_lua_task *task, lua_State *L, int n_args, int n_results);
/* lua_call of a function that is not called for one record: its failure is never skipped. */
void lb_lua_task_call_strictly(struct lb_lua_task *task, lua_State *L, int n_args, int n_results);

static inline bool lb_lua_task_call(struct lb_lua_task *task, lua_State *L, int n_args,
                                    int n_results)
{
    if (__builtin_expect(task->is_guarded, 0))
        return lb_lua_task_call_guarded(task, L, n_args, n_results);
    lua_call(L, n_args, n_results);
    return true;
}

static inline int lb_lua_push_record(lua_State *L, const struct lb_batch *batch, uint32_t first,
                                     uint32_t row)
{
    for (uint32_t i = first; i < batch->n_columns; i++)
        lb_lua_push_column(L, &batch->columns[i], row);
    return (int)(batch->n_columns - first);
}

static inline int lb_lua_task_push_record(struct lb_lua_task *task, lua_State *L,
                                          const struct lb_batch *batch, uint32_t row)
{
    if (!lb_lua_row_is_on(&task->row))
        return lb_lua_push_record(L, batch, 0, row);
    lb_lua_row_push(&task->row, L, batch, row);
    return 1;
}

#endif
