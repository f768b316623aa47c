/* What the Lua library does with files: inputs by their patterns, outputs, and files that it writes itself. */
#ifndef LB_LUA_FILES_H
#define LB_LUA_FILES_H

#include "lua_bindings/compat.h"

extern const luaL_Reg lb_lua_file_functions[]; /* of the module luabatch.core */

#endif
