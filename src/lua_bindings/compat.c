/* What LuaJIT lacks of Lua 5.4's API (see compat.h).
 *
 * INT64  There is no function of the C API for cdata. A Lua function, kept in the registry, reads an int64_t at the
 *        address it is given; another tells the type of a cdata, whose bytes lua_topointer gives.
 * USER VALUES of a userdata are the elements of its environment table. */
#include "lua_bindings/compat.h"

#if LB_LUAJIT

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What the function of kind_key gives. */
enum { KIND_INT64 = 1, KIND_UINT64, KIND_DOUBLE };

enum { LUA_TCDATA = 10 };

static const double most_exact = 9007199254740992.0; /* 2^53 */

static bool is_whole(double number)
{
    return number >= -most_exact && number <= most_exact && number == floor(number) &&
           (number != 0 || !signbit(number));
}

bool lb_lua_is_integer(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TNUMBER && is_whole(lua_tonumber(L, index));
}

lua_Integer lb_lua_to_integer(lua_State *L, int index, int *is_integer)
{
    int is_number = 0;
    double number = lua_tonumberx(L, index, &is_number);
    bool is_good =
        is_number != 0 && number >= -0x1p63 && number < 0x1p63 && number == floor(number);
    if (is_integer != NULL)
        *is_integer = is_good;
    return is_good ? (lua_Integer)number : 0;
}

lua_Integer lb_lua_check_integer(lua_State *L, int index)
{
    luaL_checknumber(L, index);
    int is_integer = 0;
    lua_Integer number = lb_lua_to_integer(L, index, &is_integer);
    if (is_integer == 0)
        return luaL_argerror(L, index, "number has no integer representation");
    return number;
}

/* Integers of 64 bits */

static const char read_key = 'r';
static const char kind_key = 'k';

/* Pushes the function in the registry at key, making both on first use. */
static void push_ffi_function(lua_State *L, const char *key)
{
    static const char source[] =
        "local ffi = require 'ffi'\n"
        "local int64, uint64, double = ffi.typeof 'int64_t', ffi.typeof 'uint64_t', ffi.typeof "
        "'double'\n"
        "local pointer = ffi.typeof 'const int64_t *'\n"
        "return function(address) return ffi.cast(pointer, address)[0] end,\n"
        "  function(value)\n"
        "    return ffi.istype(int64, value) and 1 or ffi.istype(uint64, value) and 2\n"
        "      or ffi.istype(double, value) and 3 or 0\n"
        "  end";
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, key) != LUA_TNIL)
        return;
    lua_pop(L, 1);
    luaL_checkstack(L, LUA_MINSTACK, "an integer");
    if (luaL_loadbufferx(L, source, sizeof source - 1, "=[luabatch]/int64", "t") != LUA_OK)
        lua_error(L);
    lua_call(L, 0, 2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &kind_key);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &read_key);
    lua_rawgetp(L, LUA_REGISTRYINDEX, key);
}

void lb_lua_push_int64(lua_State *L, int64_t value)
{
    if (__builtin_expect(value >= -(INT64_C(1) << 53) && value <= INT64_C(1) << 53, 1)) {
        lua_pushnumber(L, (double)value);
        return;
    }
    luaL_checkstack(L, LUA_MINSTACK, "an integer");
    push_ffi_function(L, &read_key);
    lua_pushlightuserdata(L, &value);
    lua_call(L, 1, 1);
}

static int l_kind(lua_State *L)
{
    push_ffi_function(L, &kind_key);
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

enum lb_lua_boxed lb_lua_unbox(lua_State *L, int index, int64_t *integer, double *number)
{
    if (lua_type(L, index) != LUA_TCDATA || !lua_checkstack(L, LUA_MINSTACK))
        return LB_LUA_NOT_BOXED;
    index = lua_absindex(L, index);
    lua_pushcfunction(L, l_kind);
    lua_pushvalue(L, index);
    int kind = lua_pcall(L, 1, 1, 0) == LUA_OK ? (int)lua_tointeger(L, -1) : 0;
    lua_pop(L, 1);
    if (kind == KIND_DOUBLE) {
        memcpy(number, lua_topointer(L, index), sizeof *number);
        return LB_LUA_BOXED_DOUBLE;
    }
    if (kind != KIND_INT64 && kind != KIND_UINT64)
        return LB_LUA_NOT_BOXED;
    memcpy(integer, lua_topointer(L, index), sizeof *integer);
    return kind == KIND_INT64 || *integer >= 0 ? LB_LUA_BOXED_INT64 : LB_LUA_NOT_BOXED;
}

/* Values of userdata */

void lb_lua_get_user_value(lua_State *L, int index, int n)
{
    lua_getfenv(L, index);
    lua_rawgeti(L, -1, n);
    lua_replace(L, -2);
}

void lb_lua_set_user_value(lua_State *L, int index, int n)
{
    lua_getfenv(L, index);
    lua_insert(L, -2);
    lua_rawseti(L, -2, n);
    lua_pop(L, 1);
}

/* Functions of lauxlib and of coroutines */

const char *lb_lua_to_text(lua_State *L, int index, size_t *size)
{
    index = lua_absindex(L, index);
    if (luaL_callmeta(L, index, "__tostring")) {
        if (!lua_isstring(L, -1))
            luaL_error(L, "'__tostring' must return a string");
        return lua_tolstring(L, -1, size);
    }
    switch (lua_type(L, index)) {
    case LUA_TNUMBER:
    case LUA_TSTRING:
        lua_pushvalue(L, index);
        break;
    case LUA_TBOOLEAN:
        lua_pushstring(L, lua_toboolean(L, index) ? "true" : "false");
        break;
    case LUA_TNIL:
        lua_pushliteral(L, "nil");
        break;
    case LUA_TCDATA: /* only the library knows how they look */
        lua_getglobal(L, "tostring");
        lua_pushvalue(L, index);
        lua_call(L, 1, 1);
        break;
    default:
        lua_pushfstring(L, "%s: %p", luaL_typename(L, index), lua_topointer(L, index));
        break;
    }
    return lua_tolstring(L, -1, size);
}

/* Those of LuaJIT's libraries that are not written in C have no address, but a number, which only tostring tells. May raise. */
uintptr_t lb_lua_c_identity(lua_State *L, int index)
{
    static const char head[] = "function: builtin#";
    lua_CFunction function = lua_tocfunction(L, index);
    uintptr_t number = 0;
    if (function != NULL || !lua_iscfunction(L, index))
        return (uintptr_t)function;
    lua_pushvalue(L, index);
    lua_getglobal(L, "tostring");
    lua_insert(L, -2);
    lua_call(L, 1, 1);
    const char *text = lua_tostring(L, -1);
    if (text != NULL && strncmp(text, head, sizeof head - 1) == 0)
        number = strtoul(text + sizeof head - 1, NULL, 10);
    lua_pop(L, 1);
    return number;
}

void lb_lua_get_subtable(lua_State *L, int index, const char *name)
{
    index = lua_absindex(L, index);
    if (lua_getfield(L, index, name) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, index, name);
}

int lb_lua_resume_thread(lua_State *co, int n_args, int *n_results)
{
    int status = (lua_resume)(co, n_args);
    *n_results = status == LUA_OK || status == LUA_YIELD ? lua_gettop(co) : 0;
    return status;
}

/* Functions of Lua 5.4's libraries */

static int l_pack(lua_State *L)
{
    int n = lua_gettop(L);
    lua_createtable(L, n, 1);
    lua_insert(L, 1);
    for (int i = n; i >= 1; i--)
        lua_rawseti(L, 1, i);
    lua_pushinteger(L, n);
    lua_setfield(L, 1, "n");
    return 1;
}

/* What math.type says; NULL for what is no number. */
static const char *math_type(lua_State *L, int index)
{
    int64_t integer;
    double number;
    if (lua_type(L, index) == LUA_TNUMBER)
        return lua_isinteger(L, index) ? "integer" : "float";
    switch (lb_lua_unbox(L, index, &integer, &number)) {
    case LB_LUA_BOXED_INT64:
        return "integer";
    case LB_LUA_BOXED_DOUBLE:
        return "float";
    case LB_LUA_NOT_BOXED:
        break;
    }
    return NULL;
}

static int l_math_type(lua_State *L)
{
    luaL_checkany(L, 1);
    const char *type = math_type(L, 1);
    if (type != NULL)
        lua_pushstring(L, type);
    else
        lua_pushnil(L);
    return 1;
}

static int l_math_tointeger(lua_State *L)
{
    luaL_checkany(L, 1);
    const char *type = math_type(L, 1);
    bool is_integer = type != NULL && strcmp(type, "integer") == 0;
    if (lua_type(L, 1) == LUA_TNUMBER && lua_tonumber(L, 1) == 0) { /* -0.0 too */
        lua_pushinteger(L, 0);
        return 1;
    }
    lua_settop(L, 1);
    if (!is_integer)
        lua_pushnil(L);
    return 1;
}

static void add_missing(lua_State *L, const char *library, const char *name, lua_CFunction function)
{
    lua_getglobal(L, library);
    if (lua_istable(L, -1) && lua_getfield(L, -1, name) == LUA_TNIL) {
        lua_pushcfunction(L, function);
        lua_setfield(L, -3, name);
    }
}

void lb_lua_open_missing(lua_State *L)
{
    int top = lua_gettop(L);
    add_missing(L, LUA_TABLIBNAME, "pack", l_pack);
    add_missing(L, LUA_MATHLIBNAME, "type", l_math_type);
    add_missing(L, LUA_MATHLIBNAME, "tointeger", l_math_tointeger);
    lua_getglobal(L, LUA_TABLIBNAME);
    if (lua_istable(L, -1) && lua_getfield(L, -1, "unpack") == LUA_TNIL) {
        lua_getglobal(L, "unpack");
        lua_setfield(L, -3, "unpack");
    }
    lua_settop(L, top);
}

void lb_lua_push_missing(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"pack", l_pack}, {"type", l_math_type}, {"tointeger", l_math_tointeger}, {NULL, NULL}};
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
}

#endif
