/* Stores as Lua values. */
#ifndef LB_LUA_STORE_H
#define LB_LUA_STORE_H

#include "core/ops/store.h"
#include "lua_bindings/compat.h"

/* Pushes an empty holder and returns where to put the store that it is to own, which may be NULL. So a store
 * has an owner before anything can raise. */
struct lb_store **lb_lua_push_store(lua_State *L);
/* The store at index, borrowed; NULL when it is none or closed. */
struct lb_store *lb_lua_to_store(lua_State *L, int index);

#endif
