/* Errors of the engine as Lua errors. */
#include "lua_bindings/errors.h"

#include "lua_bindings/compat.h"

#define ERROR_TYPE "luabatch.error"

static int l_error_tostring(lua_State *L)
{
    lua_getfield(L, 1, "message");
    return 1;
}

void lb_lua_push_error(lua_State *L, const struct lb_error *err)
{
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, err->status);
    lua_setfield(L, -2, "status");
    lua_pushstring(L, err->message);
    lua_setfield(L, -2, "message");
    if (err->is_transient) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, "transient");
    }
    if (luaL_newmetatable(L, ERROR_TYPE)) {
        lua_pushcfunction(L, l_error_tostring);
        lua_setfield(L, -2, "__tostring");
    }
    lua_setmetatable(L, -2);
}

int lb_lua_raise(lua_State *L, const struct lb_error *err)
{
    lb_lua_push_error(L, err);
    return lua_error(L);
}
