/* The terminal, for the program's interactive mode. */
#ifndef LB_TERMINAL_H
#define LB_TERMINAL_H

#include <lua.h>

/* Opens the module luabatch.terminal and pushes its table; terminal.c says what each function is. */
int luaopen_luabatch_terminal(lua_State *L);

#endif
