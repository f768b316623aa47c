/* Unpacking a shipped function in a worker's state.
 *
 * GLOBALS Each shipment has an environment of its own, whose missing names are looked up in the worker's
 *        globals: what one operator's job functions call `config` never meets another's. The globals that
 *        its functions read, the library's included, are put into it, so that reading them is one lookup. */
#include <string.h>

#include "core/column/codec.h"
#include "lua_bindings/bytecode.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/counter.h"
#include "lua_bindings/safe.h"
#include "lua_bindings/ship.h"
#include "lua_bindings/ship_private.h"

enum { STACK_SLOTS = 10, MAX_DEPTH = 400 };

struct unshipper {
    lua_State *L;
    const char *at;
    const char *end;
    struct lb_error *err;
    /* stack indices */
    int environment;
    int objects; /* table: number + 1 -> object */
    int owners;  /* table: number of variable + 1 -> a function that captures it... */
    int places;  /* ...and as which of its variables */
    /* state */
    lua_Integer n_objects;
    lua_Integer n_upvalues;
    int depth;
};

static lb_status unship_value(struct unshipper *u);

static lb_status malformed(struct unshipper *u)
{
    return lb_error_set(u->err, LB_ERR_INTERNAL, "a shipped function is malformed");
}

static lb_status take_byte(struct unshipper *u, char *byte)
{
    if (u->at >= u->end)
        return malformed(u);
    *byte = *u->at++;
    return LB_OK;
}

static lb_status take_number(struct unshipper *u, lua_Integer *number)
{
    uint32_t n;
    if ((size_t)(u->end - u->at) < sizeof n)
        return malformed(u);
    memcpy(&n, u->at, sizeof n);
    u->at += sizeof n;
    *number = n;
    return LB_OK;
}

static lb_status take_string(struct unshipper *u, struct lb_value *text)
{
    LB_TRY(lb_codec_get(&u->at, u->end, text, u->err));
    return text->tag == 's' ? LB_OK : malformed(u);
}

static lb_status unship_scalar(struct unshipper *u)
{
    struct lb_value value;
    LB_TRY(lb_codec_get(&u->at, u->end, &value, u->err));
    switch (value.tag) {
    case 'n':
        lua_pushnil(u->L);
        return LB_OK;
    case 'f':
    case 't':
        lua_pushboolean(u->L, value.tag == 't');
        return LB_OK;
    case 'i':
        lb_lua_push_int64(u->L, value.i);
        return LB_OK;
    case 'd':
        lua_pushnumber(u->L, value.d);
        return LB_OK;
    case 's':
        lua_pushlstring(u->L, value.data, value.size);
        return LB_OK;
    default:
        return malformed(u);
    }
}

/* The error of loading something: its Lua error value is on top. */
static lb_status load_error(struct unshipper *u, int lua_status, lb_status status, const char *what,
                            struct lb_value name)
{
    const char *message =
        lua_type(u->L, -1) == LUA_TSTRING ? lua_tostring(u->L, -1) : "unknown error";
    /* require calls the loader protected by nothing, but a module may say it in words of its own. */
    bool is_memory = lua_status == LUA_ERRMEM || strstr(message, "not enough memory") != NULL;
    lb_error_set(u->err, is_memory ? LB_ERR_RESOURCE : status,
                 "%s%.*s cannot be loaded in a worker: %s", what, (int)name.size, name.data,
                 message);
    lua_pop(u->L, 1);
    return u->err->status;
}

static int l_identity(lua_State *L)
{
    lua_settop(L, 1);
    return 1;
}

/* Pushes what safe mode shows of a module, if that is meant: not for its fields, which are the functions themselves. */
static bool push_view(lua_State *L, int n_keys)
{
    const char *name = lua_tostring(L, -1);
    return (n_keys == 0 || strcmp(name, LUA_GNAME) == 0) && lb_lua_push_view(L, name);
}

static lb_status unship_module(struct unshipper *u)
{
    lua_State *L = u->L;
    struct lb_value name;
    LB_TRY(take_string(u, &name));
    char n_keys = 0;
    LB_TRY(take_byte(u, &n_keys));
    if (lb_lua_push_library_globals(L)) {
        lua_getfield(L, -1, "require");
        lua_replace(L, -2);
    } else {
        lua_getglobal(L, "require");
    }
    lua_pushlstring(L, name.data, name.size);
    if (push_view(L, n_keys)) {
        lua_pushcfunction(L, l_identity);
        lua_replace(L, -4);
        lua_replace(L, -2);
    }
    int lua_status = lua_pcall(L, 1, 1, 0);
    if (lua_status != LUA_OK)
        return load_error(u, lua_status, LB_ERR_USER, "module ", name);
    for (int i = 0; i < n_keys; i++) {
        LB_TRY(unship_scalar(u));
        if (lua_type(L, -2) == LUA_TTABLE) {
            lua_rawget(L, -2);
        } else {
            lua_pop(L, 1);
            lua_pushnil(L);
        }
        lua_replace(L, -2);
    }
    if (n_keys > 0 && lua_isnil(L, -1))
        return lb_error_set(
            u->err, LB_ERR_USER,
            "module '%.*s', loaded in a worker, lacks a field that it has in the job",
            (int)name.size, name.data);
    return LB_OK;
}

static lb_status unship_table(struct unshipper *u)
{
    lua_State *L = u->L;
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawseti(L, u->objects, ++u->n_objects);
    for (;;) {
        LB_TRY(unship_value(u));
        if (lua_isnil(L, -1))
            break;
        LB_TRY(unship_value(u));
        lua_rawset(L, -3);
    }
    lua_pop(L, 1);
    LB_TRY(unship_value(u));
    if (lua_istable(L, -1))
        lb_lua_set_metatable(L);
    else
        lua_pop(L, 1);
    return LB_OK;
}

static lb_status unship_upvalue(struct unshipper *u, int function, int i)
{
    lua_State *L = u->L;
    char tag = 0;
    LB_TRY(take_byte(u, &tag));
    if (tag == '=') {
        lua_Integer number = 0;
        LB_TRY(take_number(u, &number));
        if (lua_rawgeti(L, u->owners, number + 1) != LUA_TFUNCTION)
            return malformed(u);
        lua_rawgeti(L, u->places, number + 1);
        lua_upvaluejoin(L, function, i, -2, (int)lua_tointeger(L, -1));
        lua_pop(L, 2);
        return LB_OK;
    }
    lua_Integer number = ++u->n_upvalues;
    lua_pushvalue(L, function);
    lua_rawseti(L, u->owners, number);
    lua_pushinteger(L, i);
    lua_rawseti(L, u->places, number);
    LB_TRY(unship_value(u));
    if (lua_setupvalue(L, function, i) == NULL)
        return malformed(u);
    return LB_OK;
}

#if LB_LUAJIT
/* Machine code cannot be stopped (interrupt.c): what may never end is left to the interpreter. */
static lb_status keep_stoppable(struct unshipper *u, const struct lb_value *dump)
{
    bool has_open_loop;
    LB_TRY(lb_bytecode_has_open_loop(dump->data, dump->size, &has_open_loop, u->err));
    if (has_open_loop)
        luaJIT_setmode(u->L, -1, LUAJIT_MODE_ALLFUNC | LUAJIT_MODE_OFF);
    return LB_OK;
}
#endif

static lb_status unship_function(struct unshipper *u)
{
    lua_State *L = u->L;
    struct lb_value dump;
    LB_TRY(take_string(u, &dump));
    char n = 0;
    LB_TRY(take_byte(u, &n));
    int lua_status = luaL_loadbufferx(L, dump.data, dump.size, "=shipped", "b");
    if (lua_status != LUA_OK)
        return load_error(u, lua_status, LB_ERR_INTERNAL, "a function",
                          (struct lb_value){.data = ""});
#if LB_LUAJIT
    LB_TRY(keep_stoppable(u, &dump));
#endif
    int function = lua_gettop(L);
    lua_pushvalue(L, -1);
    lua_rawseti(L, u->objects, ++u->n_objects);
    for (int i = 1; i <= (unsigned char)n; i++)
        LB_TRY(unship_upvalue(u, function, i));
#if LB_LUAJIT
    LB_TRY(unship_value(u));
    if (!lua_istable(L, -1))
        return malformed(u);
    lua_setfenv(L, function);
#endif
    return LB_OK;
}

static lb_status unship_value(struct unshipper *u)
{
    lua_State *L = u->L;
    if (u->at >= u->end || u->depth >= MAX_DEPTH)
        return malformed(u);
    u->depth++;
    luaL_checkstack(L, STACK_SLOTS, "a shipped function is nested too deep");
    lb_status status = LB_OK;
    lua_Integer number = 0;
    struct lb_value name;
    switch (*u->at++) {
    case 'E':
        lua_pushvalue(L, u->environment);
        break;
    case 'R':
        status = take_number(u, &number);
        if (status == LB_OK && lua_rawgeti(L, u->objects, number + 1) == LUA_TNIL)
            status = malformed(u);
        break;
    case 'M':
        status = unship_module(u);
        break;
    case 'C':
        status = take_string(u, &name);
        if (status == LB_OK)
            lb_lua_push_counter(L, name.data, name.size);
        break;
    case 'T':
        status = unship_table(u);
        break;
    case 'F':
        status = unship_function(u);
        break;
    default:
        u->at--;
        status = unship_scalar(u);
        break;
    }
    u->depth--;
    return status;
}

static void push_environment(lua_State *L)
{
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, LUA_GNAME);
    lua_createtable(L, 0, 1);
    lua_pushglobaltable(L);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

static lb_status unship_all(struct unshipper *u)
{
    lua_State *L = u->L;
    LB_TRY(unship_value(u));
    for (;;) {
        char tag = 0;
        struct lb_value name;
        LB_TRY(take_byte(u, &tag));
        if (tag == '.')
            return LB_OK;
        LB_TRY(take_string(u, &name));
        lua_pushlstring(L, name.data, name.size);
        LB_TRY(unship_value(u));
        lua_rawset(L, u->environment);
    }
}

lb_status lb_lua_unship(lua_State *L, const char *data, size_t size, struct lb_error *err)
{
    struct unshipper u = {.L = L, .at = data, .end = data + size, .err = err};
    luaL_checkstack(L, STACK_SLOTS, NULL);
    if (!lb_lua_shipment_is_known(data, size))
        return lb_error_set(err, LB_ERR_USER, "safe mode takes no functions from outside");
    int top = lua_gettop(L);
    push_environment(L);
    u.environment = top + 1;
    lua_newtable(L);
    u.objects = top + 2;
    lua_newtable(L);
    u.owners = top + 3;
    lua_newtable(L);
    u.places = top + 4;
    lb_status status = unship_all(&u);
    if (status != LB_OK) {
        lua_settop(L, top);
        return status;
    }
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
    return LB_OK;
}
