/* os.execute that does not swallow Ctrl-C. */
#ifndef LB_LUA_COMMANDS_H
#define LB_LUA_COMMANDS_H

#include "lua_bindings/compat.h"

/* Replaces os.execute in this state (its libraries are open) by a function with the same results: in a worker signals are heard
 * meanwhile; in the script SIGINT that ended the command ends the job. May raise a memory error. */
void lb_lua_open_commands(lua_State *L);

#endif
