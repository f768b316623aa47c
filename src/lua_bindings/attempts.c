/* The attempts of a run as a Lua value: see attempts.h. */
#include "lua_bindings/attempts.h"

#define ATTEMPTS_TYPE "luabatch.attempts"

struct holder {
    struct lb_attempts attempts;
    bool is_open;
};

struct lb_attempts *lb_lua_to_attempts(lua_State *L, int index)
{
    struct holder *holder = luaL_checkudata(L, index, ATTEMPTS_TYPE);
    if (!holder->is_open)
        luaL_error(L, "the attempts are closed");
    return &holder->attempts;
}

static int l_attempts_begin(lua_State *L)
{
    lb_lua_to_attempts(L, 1)->number = (uint32_t)luaL_checkinteger(L, 2);
    return 0;
}

/* Also __gc. */
static int l_attempts_close(lua_State *L)
{
    struct holder *holder = luaL_checkudata(L, 1, ATTEMPTS_TYPE);
    if (holder->is_open)
        lb_attempts_fini(&holder->attempts);
    holder->is_open = false;
    return 0;
}

static const luaL_Reg methods[] = {
    {"begin", l_attempts_begin}, {"close", l_attempts_close}, {NULL, NULL}};

int lb_lua_attempts(lua_State *L)
{
    struct holder *holder = lua_newuserdatauv(L, sizeof *holder, 0);
    holder->is_open = false;
    if (luaL_newmetatable(L, ATTEMPTS_TYPE)) {
        lua_pushcfunction(L, l_attempts_close);
        lua_setfield(L, -2, "__gc");
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
    lb_attempts_init(&holder->attempts);
    holder->is_open = true;
    return 1;
}
