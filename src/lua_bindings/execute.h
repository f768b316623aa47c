/* Running plans from Lua. */
#ifndef LB_LUA_EXECUTE_H
#define LB_LUA_EXECUTE_H

#include "lua_bindings/compat.h"

/* A field of the registry that the program sets: its collector tells the meter when it works. */
#define LB_LUA_METERS_GC_FIELD "luabatch.meters_gc"

/* core.execute(plan, options) -> results, info */
int lb_lua_execute(lua_State *L);
/* core.describe(plan) -> text */
int lb_lua_describe(lua_State *L);

#endif
