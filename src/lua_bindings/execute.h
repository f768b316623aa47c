/* Running plans from Lua. */
#ifndef LB_LUA_EXECUTE_H
#define LB_LUA_EXECUTE_H

#include "core/ops/context.h"
#include "lua_bindings/compat.h"

/* A field of the registry that the program sets: its collector tells the meter when it works. */
#define LB_LUA_METERS_GC_FIELD "luabatch.meters_gc"

/* What says goodbye when a run has to be given up. */
struct lb_lua_farewell {
    lua_State *L;
    int function; /* where it is on the stack */
    bool is_said;
};

/* Reads the table of options at index 2; without one, that becomes an empty table. Leaves the strings it borrows on the stack. */
void lb_lua_read_run_options(lua_State *L, struct lb_run_options *options);
/* Its field give_up(status, message), which is to end the process, if it is there. Borrows `farewell`; what it reads stays on the stack. */
void lb_lua_read_farewell(lua_State *L, struct lb_host *host, struct lb_lua_farewell *farewell);

/* core.execute(plan, options) -> results, info */
int lb_lua_execute(lua_State *L);
/* core.describe(plan) -> text */
int lb_lua_describe(lua_State *L);

#endif
