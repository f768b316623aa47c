/* The attempts of a run as a Lua value: core.attempts() for a run, given to each of its core.execute as options.attempts. */
#ifndef LB_LUA_ATTEMPTS_H
#define LB_LUA_ATTEMPTS_H

#include "core/ops/attempts.h"
#include "lua_bindings/compat.h"

/* core.attempts() -> attempts: begin(n) says that attempt n comes next; write_rejects(options, moved); close() */
int lb_lua_attempts(lua_State *L);
/* Raises when the value at index is none, or closed. */
struct lb_attempts *lb_lua_to_attempts(lua_State *L, int index);

#endif
