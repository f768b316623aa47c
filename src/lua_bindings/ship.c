/* Packing a function with all it needs.
 *
 * IDEA   A walk over the values that a function reaches: its captured variables, and the globals that its
 *        bytecode (and that of the functions inside it) reads by name; those of the functions among these, and so on.
 *        What a loaded module holds travels as the module's name. Globals wait in a list until the
 *        value that needs them is written, so that recursion stays as deep as the data is.
 * GLOBALS A function that uses _ENV or _G as a value may read any global: then all of the job's globals
 *        that can travel do.
 * ERRORS The walk runs in one protected call; `refuse` leaves it by a Lua error after filling err. Nothing
 *        that needs freeing is held then: the output belongs to the caller.
 * FORMAT See ship_private.h. */
#include "lua_bindings/ship.h"

#include <string.h>

#include "core/column/codec.h"
#include "lua_bindings/bytecode.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/counter.h"
#include "lua_bindings/safe.h"
#include "lua_bindings/ship_private.h"

enum { MAX_UPVALUES = 255, STACK_SLOTS = 12 };

struct shipper {
    lua_State *L;
    const char *what;
    struct lb_buf *out;
    struct lb_error *err;
    lb_status status;
    /* stack indices */
    int root;
    int globals;  /* the globals table */
    int objects;  /* table: table or function -> number */
    int upvalues; /* table: id of a captured variable -> number */
    int names;    /* table: name -> true, and the list of names to pack */
    int modules;  /* table of modules.c, or false until it is needed */
    /* state */
    lua_Integer n_objects;
    lua_Integer n_upvalues;
    lua_Integer n_names;
    bool needs_all_globals;
    int depth;
};

static void ship_value(struct shipper *s, int index, const struct lb_ship_frame *frame);

static int give_up(struct shipper *s, lb_status status)
{
    s->status = status;
    lua_pushnil(s->L);
    return lua_error(s->L);
}

static void must(struct shipper *s, lb_status status)
{
    if (__builtin_expect(status != LB_OK, 0))
        give_up(s, status);
}

static void put_byte(struct shipper *s, char byte)
{
    must(s, lb_buf_append_byte(s->out, byte, s->err));
}

static void put_number(struct shipper *s, lua_Integer number)
{
    uint32_t n = (uint32_t)number;
    must(s, lb_buf_append(s->out, &n, sizeof n, s->err));
}

static void refuse(struct shipper *s, const struct lb_ship_frame *frame, const char *problem)
{
    char subject[600];
    lb_lua_ship_describe(frame, subject, sizeof subject);
    give_up(s, lb_error_set(s->err, LB_ERR_USER, "%s: %s %s", s->what, subject, problem));
}

/* Bytecode */

struct visit {
    struct shipper *s;
    int function;
    int environment; /* LuaJIT: number of the environment, behind the captured variables; else -1 */
    bool uses_environment;
    bool is_globals[MAX_UPVALUES + 1]; /* the captured variable holds the globals */
};

static void add_name(struct shipper *s, const char *name, size_t size)
{
    lua_State *L = s->L;
    lua_pushlstring(L, name, size);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, s->names) == LUA_TNIL) {
        lua_pushvalue(L, -2);
        lua_pushboolean(L, 1);
        lua_rawset(L, s->names);
        lua_pushvalue(L, -2);
        lua_rawseti(L, s->names, ++s->n_names);
    }
    lua_pop(L, 2);
}

static bool is_text(const char *text, size_t size, const char *other)
{
    return size == strlen(other) && memcmp(text, other, size) == 0;
}

static lb_status on_use(void *state, enum lb_bytecode_use use, int upvalue, const char *name,
                        size_t name_size, struct lb_error *err)
{
    struct visit *visit = state;
    struct shipper *s = visit->s;
    bool is_globals = upvalue <= MAX_UPVALUES && visit->is_globals[upvalue];
    visit->uses_environment |= upvalue == visit->environment;
    char where[LB_SHIP_WHERE_BYTES];
    switch (use) {
    case LB_USE_READ:
        s->needs_all_globals |= is_globals;
        return LB_OK;
    case LB_USE_READ_FIELD:
        if (is_globals && name != NULL) {
            s->needs_all_globals |= is_text(name, name_size, "_G") ||
                                    (LB_LUAJIT && is_text(name, name_size, "getfenv"));
            add_name(s, name, name_size);
        }
        return LB_OK;
    case LB_USE_WRITE_FIELD:
        if (!is_globals)
            return LB_OK;
        lb_lua_ship_locate(s->L, visit->function, where);
        return lb_error_set(
            err, LB_ERR_USER,
            "%s: the function at %s assigns to the global '%.*s': each worker would "
            "change its own copy; use lb.counter, or a local variable",
            s->what, where, (int)name_size, name != NULL ? name : "?");
    case LB_USE_WRITE: {
        const char *variable = lua_getupvalue(s->L, visit->function, upvalue + 1);
        if (variable != NULL)
            lua_pop(s->L, 1);
        lb_lua_ship_locate(s->L, visit->function, where);
        return lb_error_set(err, LB_ERR_USER,
                            "%s: the function at %s assigns to the captured variable '%s': each "
                            "worker would change its own copy; use lb.counter",
                            s->what, where, variable != NULL ? variable : "?");
    }
    }
    return LB_OK;
}

static int append_bytes(lua_State *L, const void *data, size_t size, void *out)
{
    (void)L;
    return lb_buf_append(out, data, size, NULL) != LB_OK;
}

/* Writes the dump as a codec string and looks what the code uses. Returns the number of upvalues. */
static int ship_code(struct shipper *s, int index, bool *uses_environment)
{
    lua_State *L = s->L;
    size_t at = s->out->size;
    must(s, lb_codec_put_string(s->out, "", 0, s->err));
    size_t start = s->out->size;
    lua_pushvalue(L, index);
    if (lua_dump(L, append_bytes, s->out, 0) != 0)
        give_up(s, lb_error_memory(s->err, "a function's bytecode", 0));
    lua_pop(L, 1);
    if (s->out->size - start > UINT32_MAX)
        give_up(s, lb_error_set(s->err, LB_ERR_USER, "%s: the function is too large", s->what));
    uint32_t size = (uint32_t)(s->out->size - start);
    memcpy(s->out->data + at + 1, &size, sizeof size);

    struct visit visit = {.s = s, .function = index, .environment = -1};
    int n = 0;
    while (n < MAX_UPVALUES && lua_getupvalue(L, index, n + 1) != NULL) {
        visit.is_globals[n++] = lb_lua_is_globals(L, -1);
        lua_pop(L, 1);
    }
#if LB_LUAJIT
    lua_getfenv(L, index);
    visit.environment = n;
    visit.is_globals[n] = lua_rawequal(L, -1, s->globals);
    lua_pop(L, 1);
#endif
    must(s, lb_bytecode_walk(s->out->data + start, size, on_use, &visit, s->err));
    *uses_environment = visit.uses_environment;
    return n;
}

static void ship_function(struct shipper *s, int index, const struct lb_ship_frame *outer)
{
    lua_State *L = s->L;
    put_byte(s, 'F');
    bool uses_environment = false;
    int n = ship_code(s, index, &uses_environment);
    put_byte(s, (char)n);
    struct lb_ship_frame frame = {.outer = outer, .kind = LB_SHIP_UPVALUE};
    lb_lua_ship_locate(L, index, frame.where);
    for (int i = 1; i <= n; i++) {
        void *id = lua_upvalueid(L, index, i);
        if (lua_rawgetp(L, s->upvalues, id) != LUA_TNIL) {
            put_byte(s, '=');
            put_number(s, lua_tointeger(L, -1));
            lua_pop(L, 1);
            continue;
        }
        lua_pop(L, 1);
        lua_pushinteger(L, s->n_upvalues++);
        lua_rawsetp(L, s->upvalues, id);
        frame.name = lua_getupvalue(L, index, i);
        put_byte(s, '+');
        ship_value(s, lua_gettop(L), &frame);
        lua_pop(L, 1);
    }
#if LB_LUAJIT
    /* One that is not used does not travel, as Lua 5.4 then captures none. */
    if (uses_environment)
        lua_getfenv(L, index);
    else
        lua_pushvalue(L, s->globals);
    frame.name = "environment";
    ship_value(s, lua_gettop(L), &frame);
    lua_pop(L, 1);
#endif
}

/* Tables, modules, values */

static void ship_named_fields(struct shipper *s, int index, struct lb_ship_frame *frame)
{
    lua_State *L = s->L;
    lb_lua_push_sorted_names(L, index);
    int names = lua_gettop(L);
    lua_Integer n = (lua_Integer)lua_rawlen(L, names);
    frame->index = 0;
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, names, i);
        lua_pushvalue(L, -1);
        lua_rawget(L, index);
        frame->name = lua_tostring(L, -2);
        ship_value(s, names + 1, frame);
        ship_value(s, names + 2, frame);
        lua_settop(L, names);
    }
    lua_settop(L, names - 1);
    frame->name = NULL;
}

static void ship_table(struct shipper *s, int index, const struct lb_ship_frame *outer)
{
    lua_State *L = s->L;
    struct lb_ship_frame frame = {.outer = outer, .kind = LB_SHIP_FIELD};
    bool has_names = false;
    put_byte(s, 'T');
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        int value = lua_gettop(L);
        bool is_name = lua_type(L, value - 1) == LUA_TSTRING;
        has_names |= is_name;
        if (!is_name) {
            frame.index = lua_isinteger(L, value - 1) ? lua_tointeger(L, value - 1) : 0;
            ship_value(s, value - 1, &frame);
            ship_value(s, value, &frame);
        }
        lua_pop(L, 1);
    }
    if (has_names)
        ship_named_fields(s, index, &frame);
    put_byte(s, 'n');
    if (lua_getmetatable(L, index)) {
        frame.name = "(metatable)";
        ship_value(s, lua_gettop(L), &frame);
        lua_pop(L, 1);
    } else {
        put_byte(s, 'n');
    }
}

/* Writes the value as part of a module, if it is one that workers can load. */
static bool ship_module(struct shipper *s, int index)
{
    lua_State *L = s->L;
    if (!lua_istable(L, s->modules)) {
        lb_lua_push_module_index(L);
        lua_replace(L, s->modules);
    }
    lua_pushvalue(L, index);
    if (lua_rawget(L, s->modules) != LUA_TTABLE) {
        lua_pop(L, 1);
        return false;
    }
    int path = lua_gettop(L);
    lua_rawgeti(L, path, 1);
    bool is_lua = lua_isfunction(L, index) && !lua_iscfunction(L, index);
    if ((is_lua && lb_lua_is_of_running_chunk(L, index)) || !lb_lua_is_loadable(L, path + 1)) {
        lua_settop(L, path - 1);
        return false;
    }
    size_t size;
    const char *name = lua_tolstring(L, -1, &size);
    put_byte(s, 'M');
    must(s, lb_codec_put_string(s->out, name, size, s->err));
    int n_keys = (int)lua_rawlen(L, path) - 1;
    put_byte(s, (char)n_keys);
    for (int i = 0; i < n_keys; i++) {
        if (lua_rawgeti(L, path, i + 2) == LUA_TSTRING) {
            name = lua_tolstring(L, -1, &size);
            must(s, lb_codec_put_string(s->out, name, size, s->err));
        } else {
            must(s, lb_codec_put_int(s->out, lua_tointeger(L, -1), s->err));
        }
        lua_pop(L, 1);
    }
    lua_settop(L, path - 1);
    return true;
}

static void ship_object(struct shipper *s, int index, const struct lb_ship_frame *frame)
{
    lua_State *L = s->L;
    luaL_checkstack(L, STACK_SLOTS, NULL);
    if (lb_lua_is_globals(L, index)) {
        put_byte(s, 'E');
        return;
    }
    lua_pushvalue(L, index);
    if (lua_rawget(L, s->objects) != LUA_TNIL) {
        put_byte(s, 'R');
        put_number(s, lua_tointeger(L, -1));
        lua_pop(L, 1);
        return;
    }
    lua_pop(L, 1);
    if (ship_module(s, index))
        return;
    size_t size;
    const char *counter = lb_lua_counter_name(L, index, &size);
    if (counter != NULL) {
        put_byte(s, 'C');
        must(s, lb_codec_put_string(s->out, counter, size, s->err));
        return;
    }
    switch (lua_type(L, index)) {
    case LUA_TTABLE:
        break;
    case LUA_TFUNCTION:
        if (!lua_iscfunction(L, index))
            break;
        refuse(s, frame,
               "is a C function that belongs to no loaded module: it cannot travel to workers");
        break;
    case LUA_TTHREAD:
        refuse(s, frame, "is a coroutine: it cannot travel to workers");
        break;
    default:
        refuse(s, frame, "is a userdata: it cannot travel to workers");
        break;
    }
    if (s->depth >= LB_SHIP_DEPTH)
        refuse(s, frame, "is nested too deep to travel to workers");
    lua_pushvalue(L, index);
    lua_pushinteger(L, s->n_objects++);
    lua_rawset(L, s->objects);
    s->depth++;
    if (lua_type(L, index) == LUA_TTABLE)
        ship_table(s, index, frame);
    else
        ship_function(s, index, frame);
    s->depth--;
}

static void ship_value(struct shipper *s, int index, const struct lb_ship_frame *frame)
{
    lua_State *L = s->L;
    int64_t integer;
    double number;
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        must(s, lb_codec_put_nil(s->out, s->err));
        return;
    case LUA_TBOOLEAN:
        must(s, lb_codec_put_bool(s->out, lua_toboolean(L, index), s->err));
        return;
    case LUA_TNUMBER:
        if (lua_isinteger(L, index))
            must(s, lb_codec_put_int(s->out, lua_tointeger(L, index), s->err));
        else
            must(s, lb_codec_put_float(s->out, lua_tonumber(L, index), s->err));
        return;
    case LUA_TSTRING: {
        size_t size;
        const char *data = lua_tolstring(L, index, &size);
        if (size > UINT32_MAX)
            refuse(s, frame, "is a string of more than 4 GiB");
        must(s, lb_codec_put_string(s->out, data, size, s->err));
        return;
    }
    default:
        switch (lb_lua_unbox(L, index, &integer, &number)) {
        case LB_LUA_BOXED_INT64:
            must(s, lb_codec_put_int(s->out, integer, s->err));
            return;
        case LB_LUA_BOXED_DOUBLE:
            must(s, lb_codec_put_float(s->out, number, s->err));
            return;
        case LB_LUA_NOT_BOXED:
            ship_object(s, index, frame);
            return;
        }
    }
}

/* Globals */

static void ship_global(struct shipper *s, int name)
{
    lua_State *L = s->L;
    lua_pushvalue(L, name);
    if (lua_rawget(L, s->globals) != LUA_TNIL) {
        size_t size;
        const char *text = lua_tolstring(L, name, &size);
        struct lb_ship_frame frame = {.kind = LB_SHIP_GLOBAL, .name = text};
        put_byte(s, 'G');
        must(s, lb_codec_put_string(s->out, text, size, s->err));
        ship_value(s, lua_gettop(L), &frame);
    }
    lua_pop(L, 1);
}

static void ship_named_globals(struct shipper *s, lua_Integer from)
{
    for (lua_Integer i = from; i <= s->n_names; i++) {
        lua_rawgeti(s->L, s->names, i);
        ship_global(s, lua_gettop(s->L));
        lua_pop(s->L, 1);
    }
}

/* Removes the entries of the table that are numbers from `from` on. */
static void prune(lua_State *L, int table, lua_Integer from)
{
    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        bool is_newer = lua_isinteger(L, -1) && lua_tointeger(L, -1) >= from;
        lua_pop(L, 1);
        if (is_newer) {
            lua_pushvalue(L, -1);
            lua_pushnil(L);
            lua_rawset(L, table);
        }
    }
}

/* Arguments: the shipper, then its six tables at the same indices as in the outer call, then a name. Packs
 * one global and the globals that it needs in turn. */
static int l_ship_optional(lua_State *L)
{
    struct shipper *s = lua_touserdata(L, 1);
    lua_Integer from = s->n_names + 1;
    ship_global(s, lua_gettop(L));
    ship_named_globals(s, from);
    return 0;
}

/* Packs every global of the job that can travel. One that cannot leaves no trace. */
static void ship_all_globals(struct shipper *s)
{
    lua_State *L = s->L;
    luaL_checkstack(L, STACK_SLOTS, NULL);
    lb_lua_push_sorted_names(L, s->globals);
    int list = lua_gettop(L);
    lua_Integer n_globals = (lua_Integer)lua_rawlen(L, list);
    for (lua_Integer k = 1; k <= n_globals; k++) {
        lua_settop(L, list);
        lua_rawgeti(L, list, k);
        int name = lua_gettop(L);
        lua_pushvalue(L, name);
        if (lua_rawget(L, s->names) != LUA_TNIL)
            continue;
        lua_settop(L, name);
        struct shipper before = *s;
        size_t size = s->out->size;
        struct lb_error ignored;
        s->err = &ignored;
        lua_pushcfunction(L, l_ship_optional);
        for (int i = 1; i <= s->modules; i++)
            lua_pushvalue(L, i);
        lua_pushvalue(L, name);
        int status = lua_pcall(L, s->modules + 1, 0, 0);
        s->err = before.err;
        if (status == LUA_OK)
            continue;
        lua_pop(L, 1);
        if (status == LUA_ERRMEM)
            give_up(s, lb_error_memory(s->err, "the globals of the job", 0));
        prune(L, s->objects, before.n_objects);
        prune(L, s->upvalues, before.n_upvalues);
        for (lua_Integer i = before.n_names + 1; i <= s->n_names; i++) {
            lua_rawgeti(L, s->names, i);
            lua_pushnil(L);
            lua_rawset(L, s->names);
            lua_pushnil(L);
            lua_rawseti(L, s->names, i);
        }
        *s = before;
        s->out->size = size;
    }
    lua_settop(L, list - 1);
}

static int l_ship(lua_State *L)
{
    struct shipper *s = lua_touserdata(L, 1);
    luaL_checkstack(L, STACK_SLOTS, NULL);
    s->L = L;
    s->root = 2;
    lua_pushglobaltable(L);
    s->globals = lua_gettop(L);
    lua_newtable(L);
    s->objects = lua_gettop(L);
    lua_newtable(L);
    s->upvalues = lua_gettop(L);
    lua_newtable(L);
    s->names = lua_gettop(L);
    lua_pushboolean(L, 0);
    s->modules = lua_gettop(L);
    ship_value(s, s->root, NULL);
    ship_named_globals(s, 1);
    if (s->needs_all_globals)
        ship_all_globals(s);
    put_byte(s, '.');
    return 0;
}

/* Unpacking trusts what was noted. */
static lb_status note(const struct lb_buf *out, size_t from, struct lb_error *err)
{
    struct lb_buf shipment = {.data = out->data + from, .size = out->size - from};
    return lb_lua_shipment_note(&shipment, err);
}

lb_status lb_lua_ship(lua_State *L, int index, const char *what, struct lb_buf *out,
                      struct lb_error *err)
{
    struct shipper s = {.what = what, .out = out, .err = err, .status = LB_OK};
    index = lua_absindex(L, index);
    if (!lua_checkstack(L, 3))
        return lb_error_memory(err, "the Lua stack", 0);
    size_t before = out->size;
    lua_pushcfunction(L, l_ship);
    lua_pushlightuserdata(L, &s);
    lua_pushvalue(L, index);
    if (lua_pcall(L, 2, 0, 0) == LUA_OK)
        return note(out, before, err);
    if (s.status == LB_OK)
        s.status =
            lb_error_set(err, LB_ERR_RESOURCE, "%s: not enough memory to pack the function", what);
    lua_pop(L, 1);
    out->size = before;
    return s.status;
}
