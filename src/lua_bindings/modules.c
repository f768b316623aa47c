/* Which module a value belongs to, so that it can travel by name. */
#include <stdlib.h>
#include <string.h>

#include "lua_bindings/compat.h"
#include "lua_bindings/safe.h"
#include "lua_bindings/ship.h"
#include "lua_bindings/ship_private.h"

/* Tables with more entries are data, not a module's interface. */
enum { MAX_ENTRIES = 2000 };

bool lb_lua_is_copyable_preload(lua_State *L, int index)
{
    if (!lua_isfunction(L, index))
        return false;
    const char *first = lua_getupvalue(L, index, 1);
    if (first == NULL)
        return true;
    lua_pop(L, 1);
    if (LB_LUAJIT || lua_iscfunction(L, index) || strcmp(first, "_ENV") != 0)
        return false;
    if (lua_getupvalue(L, index, 2) == NULL)
        return true;
    lua_pop(L, 1);
    return false;
}

/* A string that the table it comes from keeps alive. */
struct name {
    const char *data;
    size_t size;
};

static int compare_names(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    size_t size = x->size < y->size ? x->size : y->size;
    int order = memcmp(x->data, y->data, size);
    return order != 0 ? order : (x->size > y->size) - (x->size < y->size);
}

void lb_lua_push_sorted_names(lua_State *L, int index)
{
    size_t n = 0, i = 0;
    luaL_checkstack(L, 6, NULL);
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1))
        n += lua_type(L, -2) == LUA_TSTRING;
    struct name *names = lua_newuserdatauv(L, (n + 1) * sizeof *names, 0);
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING && i < n) {
            names[i].data = lua_tolstring(L, -2, &names[i].size);
            i++;
        }
    }
    qsort(names, i, sizeof *names, compare_names);
    lua_createtable(L, (int)i, 0);
    for (size_t k = 0; k < i; k++) {
        lua_pushlstring(L, names[k].data, names[k].size);
        lua_rawseti(L, -2, (lua_Integer)k + 1);
    }
    lua_remove(L, -2);
}

static bool is_standard(const char *name)
{
    static const char *const names[] = {
        LUA_GNAME,
        LUA_COLIBNAME,
        LUA_TABLIBNAME,
        LUA_IOLIBNAME,
        LUA_OSLIBNAME,
        LUA_STRLIBNAME,
#if LB_LUAJIT
        LUA_BITLIBNAME,
        LUA_JITLIBNAME,
        LUA_FFILIBNAME,
#else
        LUA_UTF8LIBNAME,
#endif
        LUA_MATHLIBNAME,
        LUA_DBLIBNAME,
        LUA_LOADLIBNAME,
        NULL
    };
    for (int i = 0; names[i] != NULL; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* Whether package.searchpath finds the name in the string field `path` of the table on top. */
static bool is_found(lua_State *L, int package, const char *name, const char *path)
{
    if (lua_getfield(L, package, "searchpath") != LUA_TFUNCTION) {
        lua_pop(L, 1);
        return false;
    }
    lua_pushstring(L, name);
    lua_getfield(L, package, path);
    bool is_there = lua_pcall(L, 2, 1, 0) == LUA_OK && lua_type(L, -1) == LUA_TSTRING;
    lua_pop(L, 1);
    return is_there;
}

bool lb_lua_is_loadable(lua_State *L, int index)
{
    const char *name = lua_tostring(L, index);
    if (is_standard(name) || strcmp(name, "luabatch") == 0 || strncmp(name, "luabatch.", 9) == 0)
        return true;
    luaL_checkstack(L, 6, NULL);
    int top = lua_gettop(L);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    bool is_there = false;
    if (lua_getfield(L, -1, LUA_LOADLIBNAME) == LUA_TTABLE) {
        int package = lua_gettop(L);
        if (lua_getfield(L, package, "preload") == LUA_TTABLE) {
            lua_pushstring(L, name);
            lua_rawget(L, -2);
            is_there = lb_lua_is_copyable_preload(L, -1);
        }
        is_there =
            is_there || is_found(L, package, name, "path") || is_found(L, package, name, "cpath");
    }
    lua_settop(L, top);
    return is_there;
}

static bool has_identity(lua_State *L, int index)
{
    int type = lua_type(L, index);
    return type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA ||
           type == LUA_TLIGHTUSERDATA || type == LUA_TTHREAD;
}

/* Enters the value on top, which stays, reached as the (up to two) keys at key1 and key2 of module `name` (stack
 * indices; 0: none), unless it is there already. */
static void enter(lua_State *L, int modules, int name, int key1, int key2)
{
    lua_pushvalue(L, -1);
    if (lua_rawget(L, modules) == LUA_TNIL) {
        lua_pushvalue(L, -2);
        lua_createtable(L, 3, 0);
        int at = 1;
        lua_pushvalue(L, name);
        lua_rawseti(L, -2, at++);
        for (int i = 0; i < 2; i++) {
            int key = i == 0 ? key1 : key2;
            if (key != 0) {
                lua_pushvalue(L, key);
                lua_rawseti(L, -2, at++);
            }
        }
        lua_rawset(L, modules);
    }
    lua_pop(L, 1);
}

/* What safe mode shows in place of a module or one of its functions: the value on top, the modules below it. */
static void enter_view(lua_State *L, const char *name, const char *key)
{
    int value = lua_gettop(L);
    lua_pushstring(L, name);
    lua_pushstring(L, key != NULL ? key : "");
    lua_pushvalue(L, value);
    enter(L, value - 1, value + 1, key != NULL ? value + 2 : 0, 0);
}

static bool is_key(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TSTRING || lua_isinteger(L, index);
}

/* Enters what the table at `table` holds, to `depth` levels. of_globals: only C functions. */
static void enter_fields(lua_State *L, int modules, int name, int table, int outer_key, int depth,
                         bool of_globals)
{
    luaL_checkstack(L, 12, NULL);
    int left = MAX_ENTRIES;
    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        int key = lua_gettop(L) - 1;
        if (left-- == 0) {
            lua_pop(L, 2);
            return;
        }
        bool counts = is_key(L, key) && has_identity(L, -1);
        if (of_globals)
            counts = counts && lua_iscfunction(L, -1);
        if (counts && depth > 1) {
            if (lua_type(L, -1) == LUA_TTABLE)
                enter_fields(L, modules, name, lua_gettop(L), key, depth - 1, false);
        } else if (counts) {
            if (outer_key != 0)
                enter(L, modules, name, outer_key, key);
            else
                enter(L, modules, name, key, 0);
        }
        lua_pop(L, 1);
    }
}

/* Sets field `source` of the table at index for each chunk that is running. */
static void note_running_chunks(lua_State *L, int index)
{
    lua_Debug ar;
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "S", &ar);
        if (strcmp(ar.what, "main") == 0) {
            lua_pushboolean(L, 1);
            lua_setfield(L, index, ar.source);
        }
    }
}

/* Its address is the registry's key of { index of modules, running chunks } while modules are held. */
static const char held;

void lb_lua_hold_modules(lua_State *L, bool holds)
{
    luaL_checkstack(L, 4, NULL);
    if (holds) {
        lua_createtable(L, 2, 0);
        lua_newtable(L);
        note_running_chunks(L, lua_gettop(L));
        lua_rawseti(L, -2, 2);
    } else {
        lua_pushnil(L);
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, &held);
}

bool lb_lua_is_of_running_chunk(lua_State *L, int index)
{
    lua_Debug function;
    luaL_checkstack(L, 4, NULL);
    int top = lua_gettop(L);
    lua_pushvalue(L, index);
    lua_getinfo(L, ">S", &function);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &held) == LUA_TTABLE) {
        lua_rawgeti(L, -1, 2);
    } else {
        lua_newtable(L);
        note_running_chunks(L, lua_gettop(L));
    }
    bool is_running = lua_getfield(L, -1, function.source) != LUA_TNIL;
    lua_settop(L, top);
    return is_running;
}

static void make_index(lua_State *L)
{
    lua_newtable(L);
    int modules = lua_gettop(L);
    lb_lua_enter_views(L, enter_view);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    int loaded = lua_gettop(L);
    /* Shorter ways first: the modules, their fields, the fields of those. */
    lb_lua_push_sorted_names(L, loaded);
    int names = lua_gettop(L);
    int n_names = (int)lua_rawlen(L, names);
    for (int depth = 0; depth <= 2; depth++) {
        for (int i = 1; i <= n_names; i++) {
            lua_rawgeti(L, names, i);
            int name = lua_gettop(L);
            lua_pushvalue(L, name);
            lua_rawget(L, loaded);
            bool is_globals = false;
            bool counts = has_identity(L, -1);
            if (counts)
                is_globals = strcmp(lua_tostring(L, name), LUA_GNAME) == 0;
            if (counts && depth == 0 && !is_globals) {
                enter(L, modules, name, 0, 0);
            } else if (counts && depth > 0 && lua_type(L, -1) == LUA_TTABLE &&
                       (depth == 1 || !is_globals)) {
                enter_fields(L, modules, name, name + 1, 0, depth, is_globals);
            }
            lua_settop(L, names);
        }
    }
    lua_settop(L, modules);
}

void lb_lua_push_module_index(lua_State *L)
{
    luaL_checkstack(L, 12, NULL);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &held) != LUA_TTABLE) {
        lua_pop(L, 1);
        make_index(L);
        return;
    }
    if (lua_rawgeti(L, -1, 1) == LUA_TNIL) {
        lua_pop(L, 1);
        make_index(L);
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, 1);
    }
    lua_remove(L, -2);
}
