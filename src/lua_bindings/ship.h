/* Function shipping: a Lua function as bytes, to be loaded in another state (design.md section 6).
 *
 * A shipped function carries its bytecode (with debug information), its upvalues and the globals that it and the
 * functions it refers to read; shared upvalues and tables reached twice stay shared within one shipment. Modules (values found in
 * package.loaded, and functions found in those) travel by name and are required again. Counters travel by name.
 * Refused, naming the variable: userdata, coroutines, other C functions, and functions that assign to an upvalue or a global
 * ("function at job.lua:7 assigns to the captured variable 'n': each worker would change its own copy; use lb.counter"). */
#ifndef LB_LUA_SHIP_H
#define LB_LUA_SHIP_H

#include <stdbool.h>

#include "core/base/buf.h"
#include "lua_bindings/compat.h"

/* Ships the function at index. `what` names it in messages ("mapper of step 1"). Does not raise. */
lb_status lb_lua_ship(lua_State *L, int index, const char *what, struct lb_buf *out,
                      struct lb_error *err) LB_MUST_USE;
/* From true to false no module is loaded or changed, and no other chunk begins: what modules hold is looked up once for all
 * functions that are shipped meanwhile. May raise (memory) when told true. */
void lb_lua_hold_modules(lua_State *L, bool holds);
/* Pushes the shipped function in this state. May raise: call it protected. */
lb_status lb_lua_unship(lua_State *L, const char *data, size_t size,
                        struct lb_error *err) LB_MUST_USE;

/* ORDER kernels: the meaning of a function that is known by its bytecode, or NULL.
 * Reduce functions f(a, b): "sum" (a+b, b+a), "max"/"min" (math.max/min itself or a function that calls just that),
 * "first" (returns a), "last" (returns b). Group functions f(key, values, emit) of api.md section 5: "sum" (loop that adds all and
 * emits key, n), "count" (loop that adds 1). Constants, globals (math really is math) and upvalues are checked: replacing never changes a result. */
const char *lb_lua_kernel_reduce(lua_State *L, int index);
const char *lb_lua_kernel_group(lua_State *L, int index);

#endif
