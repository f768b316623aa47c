/* The table of an aggregate's Lua states, in the task's slot LB_SLOT_STATES, and the memory that they take.
 *
 * MEMORY  What states refer to cannot be known exactly: counted is how much the Lua heap has grown since the table
 *         was made, for states must be flushed before the heap's limit. When the growth has doubled garbage is collected
 *         first, so at most half of the figure is garbage. */
#ifndef LB_LUA_STATES_H
#define LB_LUA_STATES_H

#include "lua_bindings/task.h"

enum { LB_SLOT_STATES = LB_SLOT_FUNCTION + LB_TASK_FUNCTIONS };

struct lb_lua_states {
    lua_Integer n;      /* slots in use, set by the owner; 0: the table is not there */
    size_t heap_before; /* bytes of the Lua heap when it was made */
    size_t collect_at;  /* collect garbage when it has grown by so much */
};

/* Pushes the table, a new one when n is 0. May raise. */
void lb_lua_states_push(struct lb_lua_states *states, struct lb_lua_task *task, lua_State *L);
/* Forgets the states; nothing to do, and no task needed, when there are none. */
void lb_lua_states_reset(struct lb_lua_states *states, struct lb_lua_task *task);
/* Bytes held; may collect garbage. */
size_t lb_lua_states_bytes(struct lb_lua_states *states, struct lb_lua_task *task);

#endif
