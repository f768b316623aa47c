/* The string functions of Lua once more, faster. */
#ifndef LB_LUA_STRINGS_H
#define LB_LUA_STRINGS_H

#include "lua_bindings/compat.h"

/* Replaces find, match, gmatch, gsub, lower and upper in the table `string` of this state (opened
 * before) by functions with the same results and the same errors. Classes and letters are those of
 * the C locale. May raise a memory error. */
void lb_lua_open_strings(lua_State *L);

#endif
