/* Counters: process-wide numbers by name, to which workers add what they have committed. */
#ifndef LB_LUA_COUNTER_H
#define LB_LUA_COUNTER_H

#include <stddef.h>

#include "lua_bindings/compat.h"

/* Pushes the counter of that name, making it when it is new. Raises only for want of memory. */
void lb_lua_push_counter(lua_State *L, const char *name, size_t size);
/* The name of the counter at index (borrowed, lives for ever), or NULL when it is no counter. */
const char *lb_lua_counter_name(lua_State *L, int index, size_t *size);
/* Pushes a table of all counters: name -> committed value. */
void lb_lua_push_counters(lua_State *L);

#endif
