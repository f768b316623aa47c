/* What ship.c, ship_frame.c, modules.c and unship.c share: the bytes of a shipment.
 *
 * FORMAT  shipment = value, then for each global: 'G' string value, then '.'
 *   value = a scalar in the codec of column/codec.h ('n' 'f' 't' 'i' 'd' 's')
 *         | 'E'                              the globals, in the worker the environment of this shipment
 *         | 'R' u32                          the object of that number again
 *         | 'M' string, byte n, n scalars    what require gives for the name, then indexed n times
 *         | 'C' string                       the counter of that name
 *         | 'T' (value value)* 'n' metatable a table; keys and values until a nil; metatable or nil
 *         | 'F' string, byte n, n upvalues   a Lua function: its dump and what it captures; LuaJIT: then its
 *                                            environment, a value
 *   upvalue = '=' u32                        the same variable as the one of that number
 *           | '+' value                      a variable of its own, which gets the next number
 * Tables and functions get numbers 0, 1... in the order in which they start. Strings are codec values. The string keys of a
 * table come last, sorted, so that a shipment is the same in every process. */
#ifndef LB_LUA_SHIP_PRIVATE_H
#define LB_LUA_SHIP_PRIVATE_H

#include <stdbool.h>

#include "lua_bindings/compat.h"

/* ship_frame.c: where a value was found. */

enum { LB_SHIP_DEPTH = 180 /* of tables and functions in each other */, LB_SHIP_WHERE_BYTES = 100 };

enum lb_ship_step { LB_SHIP_FIELD, LB_SHIP_UPVALUE, LB_SHIP_GLOBAL };

/* How the value being packed is reached from the one around it. */
struct lb_ship_frame {
    const struct lb_ship_frame *outer;
    enum lb_ship_step kind;
    const char *name;  /* variable, or string key */
    lua_Integer index; /* LB_SHIP_FIELD with name NULL: integer key, or 0 for other keys */
    char where[LB_SHIP_WHERE_BYTES]; /* LB_SHIP_UPVALUE: the function, "job.lua:7" */
};

/* Writes where the function at index was defined, "job.lua:7": LB_SHIP_WHERE_BYTES at most. */
void lb_lua_ship_locate(lua_State *L, int index, char *where);
/* Writes "the captured variable 'x'.list[3] of the function at job.lua:7"; NULL is the value itself. */
void lb_lua_ship_describe(const struct lb_ship_frame *frame, char *text, size_t size);

/* modules.c: finding values in loaded modules. All may raise (memory). */

/* Pushes a list of the keys of the table at index that are strings, in order of bytes: lua_next has another order in every process,
 * and what is shipped must be the same bytes. */
void lb_lua_push_sorted_names(lua_State *L, int index);
/* Pushes a table: value -> { module name, key, key } for everything that modules hold within two levels. */
void lb_lua_push_module_index(lua_State *L);
/* Whether the Lua function at index was defined in a chunk that is running now: the job itself, whose
 * functions are never taken for a module's, wherever they were put. */
bool lb_lua_is_of_running_chunk(lua_State *L, int index);
/* Whether a worker's require finds the module; `index` is where the name is. */
bool lb_lua_is_loadable(lua_State *L, int index);
/* Whether the package.preload function at index can be copied to workers: captures nothing but globals. */
bool lb_lua_is_copyable_preload(lua_State *L, int index);

#endif
