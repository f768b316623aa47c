/* Lua 5.4 and LuaJIT under one set of names: the bindings are written for Lua 5.4, and what LuaJIT has not, or has
 * otherwise, is made up for here. With Lua 5.4 nothing of this costs anything.
 *
 * NUMBERS LuaJIT has doubles only. An integer of the engine comes to Lua as a number where that is exact (up to 2^53),
 *        else as LuaJIT's int64_t. From Lua, a number without a fraction of up to 2^53 is an integer (but
 *        -0.0, which is none), any other a float; int64_t, and uint64_t below 2^63, are integers, and a double of
 *        the FFI is a float whatever its value. */
#ifndef LB_LUA_COMPAT_H
#define LB_LUA_COMPAT_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a value is that has none of the types of Lua 5.4. */
enum lb_lua_boxed { LB_LUA_NOT_BOXED, LB_LUA_BOXED_INT64, LB_LUA_BOXED_DOUBLE };

#if LUA_VERSION_NUM == 504

#define LB_LUAJIT 0
#define LB_LUA_NAME LUA_RELEASE

static inline void lb_lua_push_int64(lua_State *L, int64_t value)
{
    lua_pushinteger(L, value);
}

static inline enum lb_lua_boxed lb_lua_unbox(lua_State *L, int index, int64_t *integer,
                                             double *number)
{
    (void)L, (void)index, (void)integer, (void)number;
    return LB_LUA_NOT_BOXED;
}

/* Identifies a C function, the same in all states; 0: it is none. */
static inline uintptr_t lb_lua_c_identity(lua_State *L, int index)
{
    return (uintptr_t)lua_tocfunction(L, index);
}

/* Identifies an active function among those of its thread. */
static inline const void *lb_lua_activation(const lua_Debug *ar)
{
    return ar->i_ci;
}

static inline bool lb_lua_is_tail_call(const lua_Debug *ar)
{
    return ar->istailcall;
}

static inline void lb_lua_set_pause(lua_State *L, int pause, int step_multiplier)
{
    lua_gc(L, LUA_GCINC, pause, step_multiplier, 0);
}

static inline void lb_lua_open_missing(lua_State *L)
{
    (void)L;
}

#elif LUA_VERSION_NUM == 501 && __has_include(<luajit.h>)

#include <luajit.h>

#define LB_LUAJIT 1
#define LB_LUA_NAME LUAJIT_VERSION
#define LUA_GNAME "_G"
#define LUA_LOADED_TABLE "_LOADED"
#define LUA_PRELOAD_TABLE "_PRELOAD"
#define LUA_MAXINTEGER INT64_MAX
typedef size_t lua_Unsigned;

/* May raise. */
void lb_lua_push_int64(lua_State *L, int64_t value);
enum lb_lua_boxed lb_lua_unbox(lua_State *L, int index, int64_t *integer, double *number);
/* Adds to the libraries of a state of our own what jobs for Lua 5.4 use most: table.pack, table.unpack, math.type,
 * math.tointeger. */
void lb_lua_open_missing(lua_State *L);
/* Pushes a table of those that are C functions, by their names. */
void lb_lua_push_missing(lua_State *L);

bool lb_lua_is_integer(lua_State *L, int index);
lua_Integer lb_lua_to_integer(lua_State *L, int index, int *is_integer);
lua_Integer lb_lua_check_integer(lua_State *L, int index);
uintptr_t lb_lua_c_identity(lua_State *L, int index);
void lb_lua_get_user_value(lua_State *L, int index, int n);
void lb_lua_set_user_value(lua_State *L, int index, int n);
const char *lb_lua_to_text(lua_State *L, int index, size_t *size);
void lb_lua_get_subtable(lua_State *L, int index, const char *name);
int lb_lua_resume_thread(lua_State *co, int n_args, int *n_results);

static inline const void *lb_lua_activation(const lua_Debug *ar)
{
    return (const void *)(uintptr_t)((ar->i_ci & 0xffff) + 1); /* place of the frame in the stack */
}

static inline bool lb_lua_is_tail_call(const lua_Debug *ar)
{
    (void)ar;
    return false;
}

static inline void lb_lua_set_pause(lua_State *L, int pause, int step_multiplier)
{
    lua_gc(L, LUA_GCSETPAUSE, pause);
    lua_gc(L, LUA_GCSETSTEPMUL, step_multiplier);
}

/* The user values are the elements of the userdata's environment table. */
static inline void *lb_lua_new_userdata(lua_State *L, size_t size, int n_values)
{
    void *data = lua_newuserdata(L, size);
    if (n_values > 0) {
        lua_createtable(L, n_values, 0);
        lua_setfenv(L, -2);
    }
    return data;
}

static inline int lb_lua_abs_index(lua_State *L, int index)
{
    return index > 0 || index <= LUA_REGISTRYINDEX ? index : lua_gettop(L) + index + 1;
}

static inline int lb_lua_get_field(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    return lua_type(L, -1);
}

static inline int lb_lua_raw_get(lua_State *L, int index)
{
    lua_rawget(L, index);
    return lua_type(L, -1);
}

static inline int lb_lua_raw_get_i(lua_State *L, int index, lua_Integer i)
{
    lua_rawgeti(L, index, (int)i);
    return lua_type(L, -1);
}

static inline int lb_lua_get_i(lua_State *L, int index, lua_Integer i)
{
    index = lb_lua_abs_index(L, index);
    lua_pushinteger(L, i);
    lua_gettable(L, index);
    return lua_type(L, -1);
}

static inline int lb_lua_raw_get_p(lua_State *L, int index, const void *key)
{
    index = lb_lua_abs_index(L, index);
    lua_pushlightuserdata(L, (void *)(uintptr_t)key);
    return lb_lua_raw_get(L, index);
}

static inline void lb_lua_raw_set_p(lua_State *L, int index, const void *key)
{
    index = lb_lua_abs_index(L, index);
    lua_pushlightuserdata(L, (void *)(uintptr_t)key);
    lua_insert(L, -2);
    lua_rawset(L, index);
}

#define lua_absindex lb_lua_abs_index
#define lua_getfield lb_lua_get_field
#define lua_rawget lb_lua_raw_get
#define lua_rawgeti lb_lua_raw_get_i
#define lua_geti lb_lua_get_i
#define lua_rawgetp lb_lua_raw_get_p
#define lua_rawsetp lb_lua_raw_set_p
#define lua_rawlen lua_objlen
#define lua_isinteger lb_lua_is_integer
#define lua_tointegerx lb_lua_to_integer
#define lua_newuserdatauv lb_lua_new_userdata
#define lua_getiuservalue lb_lua_get_user_value
#define lua_setiuservalue lb_lua_set_user_value
#define lua_pushglobaltable(L) lua_pushvalue(L, LUA_GLOBALSINDEX)
#define lua_dump(L, writer, data, strip) lua_dump(L, writer, data)
#define lua_resume(co, from, n_args, n_results) lb_lua_resume_thread(co, n_args, n_results)
#define luaL_len(L, index) ((lua_Integer)lua_objlen(L, index))
#undef luaL_checkinteger
#define luaL_checkinteger lb_lua_check_integer
#define luaL_optinteger(L, index, fallback) \
    (lua_isnoneornil(L, index) ? (fallback) : lb_lua_check_integer(L, index))
#define luaL_tolstring lb_lua_to_text
#define luaL_getsubtable lb_lua_get_subtable

#else
#error "luabatch needs Lua 5.4 or LuaJIT 2.1"
#endif

#endif
