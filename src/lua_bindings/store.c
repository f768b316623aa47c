/* Stores as Lua values: the results of actions, read chunk by chunk.
 *
 * A cursor keeps its store alive and has a scratch buffer for chunks that lie on disk; both belong to the cursor's
 * userdata, so an error anywhere in between frees them in time. */
#include "lua_bindings/store.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "lua_bindings/compat.h"
#include "lua_bindings/errors.h"
#include "lua_bindings/values.h"

#define STORE_TYPE "luabatch.store"
#define CURSOR_TYPE "luabatch.cursor"

struct cursor {
    struct lb_store *store; /* shared; NULL at the end */
    uint32_t chunk;         /* the next one */
    uint32_t n_left;        /* rows of the current chunk not yet read */
    uint64_t n_read;        /* rows gone to */
    const char *at;
    struct lb_buf scratch;
};

static int l_cursor_gc(lua_State *L)
{
    struct cursor *cursor = luaL_checkudata(L, 1, CURSOR_TYPE);
    lb_store_unref(cursor->store);
    lb_buf_fini(&cursor->scratch);
    cursor->store = NULL;
    return 0;
}

/* Pushes a cursor at the first row. */
static struct cursor *push_cursor(lua_State *L, struct lb_store *store)
{
    struct cursor *cursor = lua_newuserdatauv(L, sizeof *cursor, 0);
    memset(cursor, 0, sizeof *cursor);
    if (luaL_newmetatable(L, CURSOR_TYPE)) {
        lua_pushcfunction(L, l_cursor_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    cursor->store = lb_store_ref(store);
    return cursor;
}

/* Goes to the next row; *more = false at the end. */
static lb_status go_on(struct cursor *cursor, bool *more, struct lb_error *err)
{
    *more = false;
    while (cursor->n_left == 0) {
        if (cursor->store == NULL)
            return LB_OK;
        if (cursor->chunk >= lb_store_n_chunks(cursor->store)) {
            lb_store_unref(cursor->store);
            cursor->store = NULL;
            lb_buf_fini(&cursor->scratch);
            return LB_OK;
        }
        uint64_t first_row;
        size_t size;
        uint32_t chunk = cursor->chunk++;
        lb_store_chunk(cursor->store, chunk, &cursor->n_left, &first_row);
        lb_status status =
            cursor->n_left > 0
                ? lb_store_read(cursor->store, chunk, &cursor->scratch, &cursor->at, &size, err)
                : LB_OK;
        if (status != LB_OK) {
            cursor->n_left = 0;
            return status;
        }
    }
    cursor->n_left--;
    cursor->n_read++;
    *more = true;
    return LB_OK;
}

/* The same; raises when a chunk cannot be read. */
static bool advance(lua_State *L, struct cursor *cursor)
{
    struct lb_error err;
    bool more;
    if (go_on(cursor, &more, &err) != LB_OK)
        lb_lua_raise(L, &err);
    return more;
}

/* Takes the optional list of column names at stack position 2: leaves a list of their own there, or nil. */
static void check_names(lua_State *L)
{
    if (lua_isnil(L, 2))
        return;
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_Integer n = luaL_len(L, 2);
    luaL_argcheck(L, n <= LB_MAX_COLUMNS, 2, "too many names");
    lua_createtable(L, (int)n, 0);
    int own = lua_gettop(L);
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_geti(L, 2, i) != LUA_TSTRING)
            luaL_argerror(L, 2, "a list of names expected");
        lua_rawseti(L, own, i);
    }
    lua_replace(L, 2);
}

/* Pushes the row that advance went to as a table by the names in the list at index; nil columns are absent. */
static void push_named(lua_State *L, struct cursor *cursor, int names)
{
    uint32_t n;
    memcpy(&n, cursor->at, sizeof n);
    cursor->at += sizeof n;
    if (n > lua_rawlen(L, names))
        luaL_error(L, "a record has %d values, but there are %d names", (int)n,
                   (int)lua_rawlen(L, names));
    lua_createtable(L, 0, (int)n);
    for (uint32_t i = 1; i <= n; i++) {
        lua_rawgeti(L, names, (lua_Integer)i);
        lb_lua_push_next(L, &cursor->at);
        lua_rawset(L, -3); /* a nil adds no field */
    }
}

/* Pushes the columns of the row that advance went to. */
static int push_row(lua_State *L, struct cursor *cursor)
{
    uint32_t n;
    memcpy(&n, cursor->at, sizeof n);
    cursor->at += sizeof n;
    luaL_checkstack(L, (int)n, "record too wide");
    for (uint32_t i = 0; i < n; i++)
        lb_lua_push_next(L, &cursor->at);
    return (int)n;
}

/* Goes on in the store that the function at upvalue 3 gives for one that could not be read, where the old one failed. */
static void mend(lua_State *L, struct cursor *cursor, const struct lb_error *err)
{
    if (!err->is_transient || lua_isnil(L, lua_upvalueindex(3)))
        lb_lua_raise(L, err);
    lua_pushvalue(L, lua_upvalueindex(3));
    lb_lua_push_error(L, err);
    lua_call(L, 1, 1);
    struct lb_store *store = lb_lua_to_store(L, -1);
    if (store == NULL)
        luaL_error(L, "no store in place of the damaged one");
    uint64_t n_read = cursor->n_read;
    lb_store_unref(cursor->store);
    cursor->store = lb_store_ref(store);
    cursor->chunk = cursor->n_left = 0;
    cursor->n_read = 0;
    lua_settop(L, 0);
    while (cursor->n_read < n_read && advance(L, cursor)) {
        lua_settop(L, 0);
        (void)push_row(L, cursor);
    }
    lua_settop(L, 0);
}

static int l_cursor_next(lua_State *L)
{
    struct cursor *cursor = lua_touserdata(L, lua_upvalueindex(1));
    struct lb_error err;
    bool more;
    lua_settop(L, 0);
    while (go_on(cursor, &more, &err) != LB_OK)
        mend(L, cursor, &err);
    if (!more)
        return 0;
    if (lua_isnil(L, lua_upvalueindex(2)))
        return push_row(L, cursor);
    push_named(L, cursor, lua_upvalueindex(2));
    return 1;
}

static struct lb_store *check_store(lua_State *L)
{
    struct lb_store **holder = luaL_checkudata(L, 1, STORE_TYPE);
    if (*holder == NULL)
        luaL_error(L, "the store is closed");
    return *holder;
}

/* store:rows(names, mend) -> function that gives the next record's values, or with a list of names the record as a
 * table { name = value }; nothing at the end. mend(error), if given, is called when a spilled record cannot be read back: it gives
 * a store with the same records. */
static int l_store_rows(lua_State *L)
{
    struct lb_store *store = check_store(L);
    lua_settop(L, 3);
    check_names(L);
    push_cursor(L, store);
    lua_insert(L, 2);
    lua_pushcclosure(L, l_cursor_next, 3);
    return 1;
}

/* store:list(names) -> all records: a value each, or a list of values where a record has several; with a list of
 * names a table { name = value } each. */
static int l_store_list(lua_State *L)
{
    struct lb_store *store = check_store(L);
    lua_settop(L, 2);
    check_names(L);
    bool has_names = !lua_isnil(L, 2);
    uint64_t n_rows = lb_store_n_rows(store);
    struct cursor *cursor = push_cursor(L, store);
    lua_createtable(L, n_rows < INT_MAX ? (int)n_rows : INT_MAX, 0);
    int list = lua_gettop(L);
    for (lua_Integer row = 1; advance(L, cursor); row++) {
        if (has_names) {
            push_named(L, cursor, 2);
            lua_rawseti(L, list, row);
            continue;
        }
        uint32_t n;
        memcpy(&n, cursor->at, sizeof n);
        cursor->at += sizeof n;
        if (n == 1) {
            lb_lua_push_next(L, &cursor->at);
        } else {
            lua_createtable(L, (int)n, 0);
            for (uint32_t i = 1; i <= n; i++) {
                lb_lua_push_next(L, &cursor->at);
                lua_rawseti(L, -2, (lua_Integer)i);
            }
        }
        lua_rawseti(L, list, row);
    }
    return 1;
}

static int l_store_count(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)lb_store_n_rows(check_store(L)));
    return 1;
}

/* store:is_damaged() -> boolean: a record could not be read back */
static int l_store_is_damaged(lua_State *L)
{
    lua_pushboolean(L, lb_store_is_damaged(check_store(L)));
    return 1;
}

/* Also __gc and __close. */
static int l_store_close(lua_State *L)
{
    struct lb_store **holder = luaL_checkudata(L, 1, STORE_TYPE);
    lb_store_unref(*holder);
    *holder = NULL;
    return 0;
}

static int l_store_tostring(lua_State *L)
{
    struct lb_store **holder = luaL_checkudata(L, 1, STORE_TYPE);
    char text[40] = "store (closed)";
    if (*holder != NULL)
        snprintf(text, sizeof text, "store (%lld records)", (long long)lb_store_n_rows(*holder));
    lua_pushstring(L, text);
    return 1;
}

static const luaL_Reg methods[] = {{"rows", l_store_rows},   {"list", l_store_list},
                                   {"count", l_store_count}, {"is_damaged", l_store_is_damaged},
                                   {"close", l_store_close}, {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", l_store_close},
                                       {"__close", l_store_close},
                                       {"__len", l_store_count},
                                       {"__tostring", l_store_tostring},
                                       {NULL, NULL}};

struct lb_store **lb_lua_push_store(lua_State *L)
{
    struct lb_store **holder = lua_newuserdatauv(L, sizeof *holder, 0);
    *holder = NULL;
    if (luaL_newmetatable(L, STORE_TYPE)) {
        luaL_setfuncs(L, metamethods, 0);
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
    return holder;
}

struct lb_store *lb_lua_to_store(lua_State *L, int index)
{
    struct lb_store **holder = luaL_testudata(L, index, STORE_TYPE);
    return holder != NULL ? *holder : NULL;
}
