/* Tells the meter when Lua's collector works.
 *
 * IDEA    Lua says nowhere how long it collects. But it collects in two functions only, which its other files call: a step after some
 *         kilobytes of new objects, and a full cycle when it is asked for one or memory is refused. The program contains Lua, so
 *         its linker can put these before them (`--wrap` in the Makefile): nothing is asked of Lua and nothing about collecting changes.
 *         Finalisers count as the collector's.
 * WHY NOT a stopped collector and timed steps between calls: other moments, other peaks of memory than in the run that is to be
 *         measured, and one long call would collect nothing. A module cannot do it to the Lua that loads it, nor is LuaJIT's
 *         collector apart from the rest: there the time stays with the functions that make the garbage. */
#include <lua.h>

#if LUA_VERSION_NUM >= 504

#include "core/base/meter.h"

/* The linker's names. */
void __real_luaC_step(lua_State *L);
void __wrap_luaC_step(lua_State *L);
void __real_luaC_fullgc(lua_State *L, int is_emergency);
void __wrap_luaC_fullgc(lua_State *L, int is_emergency);

/* Neither raises: finalisers run protected. */
void __wrap_luaC_step(lua_State *L)
{
    struct lb_meter_place before = lb_meter_enter_gc();
    __real_luaC_step(L);
    lb_meter_leave_gc(before);
}

void __wrap_luaC_fullgc(lua_State *L, int is_emergency)
{
    struct lb_meter_place before = lb_meter_enter_gc();
    __real_luaC_fullgc(L, is_emergency);
    lb_meter_leave_gc(before);
}

#endif
