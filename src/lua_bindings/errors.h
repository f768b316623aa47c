/* Errors of the engine as Lua errors: a table { status = integer, message = string, transient? = true } with __tostring;
 * transient: another attempt may go well. */
#ifndef LB_LUA_ERRORS_H
#define LB_LUA_ERRORS_H

#include "core/base/error.h"
#include "lua_bindings/compat.h"

void lb_lua_push_error(lua_State *L, const struct lb_error *err);
/* Raises; hold nothing that needs freeing. Returns an int so that callers can `return` it. */
int lb_lua_raise(lua_State *L, const struct lb_error *err);

#endif
