/* Text made safe for a terminal. */
#ifndef LB_PRINTABLE_H
#define LB_PRINTABLE_H

#include "lua_bindings/compat.h"

/* core.printable(text [, cells]) -> text, its width in cells, whether it was cut: see printable.c. */
int lb_lua_printable(lua_State *L);

#endif
