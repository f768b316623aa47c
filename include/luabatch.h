/* luabatch as a C library: the Lua module `luabatch.core`, for programs that embed Lua 5.4.
 *
 * A program registers it before it requires the Lua files of lib/lua:
 *     luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
 *     lua_pushcfunction(L, luaopen_luabatch_core);
 *     lua_setfield(L, -2, "luabatch.core"); */
#ifndef LUABATCH_H
#define LUABATCH_H

#ifdef __cplusplus
extern "C" {
#endif

struct lua_State;

/* The version of the interface: 100 * major + minor. */
#define LUABATCH_API_VERSION 1

/* Opens the module: leaves its table on the stack. Raises Lua errors. */
int luaopen_luabatch_core(struct lua_State *L);

#ifdef __cplusplus
}
#endif

#endif
