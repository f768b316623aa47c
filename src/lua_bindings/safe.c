/* Safe mode in a Lua state.
 *
 * IDEA   The library's Lua code runs in the same states as the job and needs io, os and debug. So a state has two tables of globals: the
 *        old one stays the environment of the library's chunks, and a new one, which holds a list of harmless functions, becomes the
 *        globals of the state. What is loaded later, the job, can name nothing else; a function keeps its environment wherever it runs.
 *        What the engine holds outside Lua (files, memory, commands) is not a matter of what can be named: see core/base/jail.h.
 * VIEWS  A library's table, `string` say, is shown by an empty table whose __index is the real one: reading is one lookup more, writing
 *        is refused. Methods of strings are found in the real one, which the job cannot reach.
 * METATABLES  The job may see and change only metatables that it has set itself; these are kept in a weak table. All others (of strings,
 *        datasets, userdata, views) are shown as false. A metatable with __gc is refused: Lua runs finalizers with hooks off, so that
 *        one could not be stopped, and at moments that have been the way into more than one sandbox.
 * BYTECODE  load takes text only and string.dump is not there. Functions travel to workers as bytecode that the engine made itself;
 *        each shipment is noted, by a hash whose secret the job cannot know, and no other is unpacked.
 * WHY NOT flags in Lua's tables, as Luau has: it would need a Lua of our own. */
#include "lua_bindings/safe.h"

#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#include "core/base/confine.h"
#include "core/base/jail.h"
#include "core/base/memory.h"
#include "core/base/sys.h"
#include "lua_bindings/errors.h"

#if LB_LUAJIT

int lb_lua_core_safe(lua_State *L)
{
    struct lb_error err;
    (void)lb_error_set(
        &err, LB_ERR_USAGE,
        "safe mode needs Lua 5.4: LuaJIT's FFI and compiled loops cannot be held back");
    return lb_lua_raise(L, &err);
}

void lb_lua_make_safe(lua_State *L)
{
    (void)L;
}

bool lb_lua_push_library_globals(lua_State *L)
{
    (void)L;
    return false;
}

bool lb_lua_is_globals(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    lua_pushglobaltable(L);
    bool is_equal = lua_rawequal(L, index, -1);
    lua_pop(L, 1);
    return is_equal;
}

bool lb_lua_push_view(lua_State *L, const char *name)
{
    (void)L;
    (void)name;
    return false;
}

void lb_lua_unview(lua_State *L)
{
    (void)L;
}

void lb_lua_enter_views(lua_State *L,
                        void (*enter)(lua_State *L, const char *name, const char *key))
{
    (void)L;
    (void)enter;
}

void lb_lua_set_metatable(lua_State *L)
{
    lua_setmetatable(L, -2);
}

#else

/* Fields of the registry, by address. */
static const char library_key = 'l'; /* the library's globals */
static const char views_key = 'v';   /* table: name -> view */
static const char own_key = 'o';     /* table with weak keys: metatable that the job set -> true */

static bool is_safe(lua_State *L)
{
    (void)L;
    return lb_jail_is_closed();
}

bool lb_lua_push_library_globals(lua_State *L)
{
    if (!is_safe(L))
        return false;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &library_key) == LUA_TTABLE)
        return true;
    lua_pop(L, 1); /* a state that is not set up yet */
    return false;
}

bool lb_lua_is_globals(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    lua_pushglobaltable(L);
    bool is_equal = lua_rawequal(L, index, -1);
    lua_pop(L, 1);
    if (!is_equal && lb_lua_push_library_globals(L)) {
        is_equal = lua_rawequal(L, index, -1);
        lua_pop(L, 1);
    }
    return is_equal;
}

/* ---- what the job has instead of some functions; upvalue 1: the table of its own metatables ---- */

/* Whether the value at index has a metatable that the job did not set. Leaves the metatable on the stack when it is the job's. */
static bool is_protected(lua_State *L, int index, bool *has_own)
{
    *has_own = false;
    if (!lua_getmetatable(L, index))
        return false;
    lua_pushvalue(L, -1);
    *has_own = lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL;
    lua_pop(L, *has_own ? 1 : 2);
    return !*has_own;
}

static void check_unprotected(lua_State *L, const char *what)
{
    bool has_own;
    if (is_protected(L, 1, &has_own))
        luaL_error(L, "%s: this table is protected in safe mode", what);
    if (has_own)
        lua_pop(L, 1);
}

static int l_getmetatable(lua_State *L)
{
    bool has_own;
    luaL_checkany(L, 1);
    if (is_protected(L, 1, &has_own))
        lua_pushboolean(L, 0);
    else if (!has_own)
        lua_pushnil(L);
    else
        luaL_getmetafield(L, 1, "__metatable"); /* what it says stands above the metatable */
    return 1;
}

/* The metatable on top becomes that of the table below. */
static void adopt(lua_State *L, int own)
{
    lua_pushliteral(L, "__gc");
    if (lua_rawget(L, -2) != LUA_TNIL)
        luaL_error(L, "a metatable with __gc cannot be used in safe mode");
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, own) == LUA_TNIL) {
        lua_pushvalue(L, -2);
        lua_pushboolean(L, 1);
        lua_rawset(L, own);
    }
    lua_pop(L, 1);
    lua_setmetatable(L, -2);
}

static int l_setmetatable(lua_State *L)
{
    int type = lua_type(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    check_unprotected(L, "setmetatable");
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 2);
    if (type == LUA_TNIL)
        lua_setmetatable(L, 1);
    else
        adopt(L, lua_upvalueindex(1));
    return 1;
}

static int l_rawset(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    check_unprotected(L, "rawset");
    lua_settop(L, 3);
    lua_rawset(L, 1);
    return 1;
}

static int l_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    check_unprotected(L, "next");
    lua_settop(L, 2);
    if (lua_next(L, 1))
        return 2;
    lua_pushnil(L);
    return 1;
}

/* Upvalue 2 is next. */
static int l_pairs(lua_State *L)
{
    bool has_own;
    luaL_checkany(L, 1);
    if (luaL_getmetafield(L, 1, "__pairs") != LUA_TNIL) {
        lua_pushvalue(L, 1);
        lua_call(L, 1, 3);
        return 3;
    }
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_pushvalue(L, 1);
    if (is_protected(L, 1, &has_own)) { /* of a view the names are no secret: a copy */
        lb_lua_unview(L);
        if (lua_rawequal(L, 1, -1))
            return luaL_error(L, "pairs: this table is protected in safe mode");
        lua_newtable(L);
        lua_pushnil(L);
        while (lua_next(L, -3) != 0) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, -4);
        }
        lua_remove(L, -2);
    } else if (has_own) {
        lua_pop(L, 1);
    }
    lua_pushnil(L);
    return 3;
}

/* Upvalue 2 is Lua's own function, which runs in our place. */
static int l_load(lua_State *L)
{
    const char *mode = luaL_optstring(L, 3, "t");
    if (lua_gettop(L) < 3)
        lua_settop(L, 3);
    lua_pushstring(L, strchr(mode, 't') != NULL ? "t" : "none");
    lua_replace(L, 3);
    return lua_tocfunction(L, lua_upvalueindex(2))(L);
}

static int l_collectgarbage(lua_State *L)
{
    if (strcmp(luaL_optstring(L, 1, "collect"), "count") != 0)
        return luaL_error(L, "collectgarbage: only \"count\" can be asked for in safe mode");
    lua_pushnumber(L,
                   (lua_Number)lua_gc(L, LUA_GCCOUNT) + (lua_Number)lua_gc(L, LUA_GCCOUNTB) / 1024);
    return 1;
}

static int l_require(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    if (!lb_lua_push_view(L, name))
        return luaL_error(L, "module '%s' cannot be loaded in safe mode (--safe)", name);
    return 1;
}

static int l_refuse_write(lua_State *L)
{
    return luaL_error(L, "a library's table cannot be changed in safe mode");
}

/* ---- views ---- */

/* Puts a view of the table on top in its place. */
static void make_view(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_refuse_write);
    lua_setfield(L, -2, "__newindex");
    lua_setmetatable(L, -2);
    lua_remove(L, -2);
}

bool lb_lua_push_view(lua_State *L, const char *name)
{
    if (!lb_lua_push_library_globals(L))
        return false;
    if (strcmp(name, LUA_GNAME) == 0) {
        lua_pop(L, 1);
        lua_pushglobaltable(L);
        return true;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &views_key);
    if (lua_getfield(L, -1, name) != LUA_TTABLE && strcmp(name, "luabatch") == 0) {
        lua_pop(L, 1);
        lua_getfield(L, -2, "require");
        lua_pushstring(L, name);
        lua_call(L, 1, 1);
        make_view(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, name);
    }
    bool is_there = lua_istable(L, -1);
    lua_insert(L, -3);
    lua_pop(L, is_there ? 2 : 3);
    return is_there;
}

void lb_lua_unview(lua_State *L)
{
    if (!is_safe(L) || !lua_istable(L, -1) || !lua_getmetatable(L, -1))
        return;
    lua_pushliteral(L, "__newindex");
    bool is_view = lua_rawget(L, -2) == LUA_TFUNCTION && lua_tocfunction(L, -1) == l_refuse_write;
    lua_pop(L, 1);
    if (is_view) {
        lua_pushliteral(L, "__index");
        lua_rawget(L, -2);
        lua_replace(L, -3);
    }
    lua_pop(L, 1);
}

/* Functions of the job's globals that are not those of the library's. */
static const char *const changed[] = {"getmetatable", "setmetatable",   "rawset",  "next", "pairs",
                                      "load",         "collectgarbage", "require", NULL};

void lb_lua_enter_views(lua_State *L,
                        void (*enter)(lua_State *L, const char *name, const char *key))
{
    if (!is_safe(L))
        return;
    lua_pushglobaltable(L);
    int globals = lua_gettop(L);
    for (int i = 0; changed[i] != NULL; i++) {
        lua_pushstring(L, changed[i]);
        lua_rawget(L, globals);
        lua_pushvalue(L, globals - 1);
        lua_insert(L, -2);
        if (lua_iscfunction(L, -1))
            enter(L, LUA_GNAME, changed[i]);
        lua_settop(L, globals);
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &views_key);
    lua_pushnil(L);
    while (lua_next(L, globals + 1) != 0) {
        const char *name = lua_tostring(L, -2);
        lua_pushvalue(L, globals - 1);
        lua_insert(L, -2);
        enter(L, name, NULL);
        lua_settop(L, globals + 2);
    }
    lua_settop(L, globals - 1);
}

void lb_lua_set_metatable(lua_State *L)
{
    if (!is_safe(L)) {
        lua_setmetatable(L, -2);
        return;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &own_key);
    lua_insert(L, -3);
    adopt(L, lua_absindex(L, -3));
    lua_remove(L, -2);
}

/* ---- a state ---- */

/* Copies fields of the table at `from` to the one at `to`. */
static void copy_fields(lua_State *L, int from, int to, const char *const *names)
{
    for (int i = 0; names[i] != NULL; i++) {
        lua_getfield(L, from, names[i]);
        lua_setfield(L, to, names[i]);
    }
}

static void set_function(lua_State *L, int globals, int own, const char *name,
                         lua_CFunction function, const char *second, int second_table)
{
    int n = 1;
    lua_pushvalue(L, own);
    if (second != NULL) {
        lua_getfield(L, second_table, second);
        n++;
    }
    lua_pushcclosure(L, function, n);
    lua_setfield(L, globals, name);
}

void lb_lua_make_safe(lua_State *L)
{
    static const char *const base[] = {"assert",   "error",  "ipairs", "pcall",    "print",
                                       "rawequal", "rawget", "rawlen", "select",   "tonumber",
                                       "tostring", "type",   "xpcall", "_VERSION", NULL};
    static const char *const clock[] = {"time", "clock", "date", "difftime", NULL};
    static const char *const libraries[] = {LUA_STRLIBNAME,  LUA_TABLIBNAME, LUA_MATHLIBNAME,
                                            LUA_UTF8LIBNAME, LUA_COLIBNAME,  NULL};
    int top = lua_gettop(L);
    luaL_checkstack(L, 12, NULL);
    lua_pushglobaltable(L);
    int library = lua_gettop(L);
    lua_pushvalue(L, library);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &library_key);
    lua_getfield(L, library, LUA_STRLIBNAME);
    lua_pushnil(L);
    lua_setfield(L, -2, "dump"); /* ("").dump too */
    lua_pop(L, 1);

    lua_newtable(L);
    int own = lua_gettop(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, own);
    lua_pushvalue(L, own);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &own_key);
    lua_newtable(L);
    int views = lua_gettop(L);
    lua_pushvalue(L, views);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &views_key);

    lua_newtable(L);
    int globals = lua_gettop(L);
    copy_fields(L, library, globals, base);
    set_function(L, globals, own, "getmetatable", l_getmetatable, NULL, 0);
    set_function(L, globals, own, "setmetatable", l_setmetatable, NULL, 0);
    set_function(L, globals, own, "rawset", l_rawset, NULL, 0);
    set_function(L, globals, own, "next", l_next, NULL, 0);
    set_function(L, globals, own, "pairs", l_pairs, "next", globals);
    set_function(L, globals, own, "load", l_load, "load", library);
    set_function(L, globals, own, "collectgarbage", l_collectgarbage, NULL, 0);
    set_function(L, globals, own, "require", l_require, NULL, 0);
    for (int i = 0; libraries[i] != NULL; i++) {
        lua_getfield(L, library, libraries[i]);
        make_view(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, views, libraries[i]);
        lua_setfield(L, globals, libraries[i]);
    }
    lua_newtable(L);
    lua_getfield(L, library, LUA_OSLIBNAME);
    copy_fields(L, lua_gettop(L), lua_gettop(L) - 1, clock);
    lua_pop(L, 1);
    make_view(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, views, LUA_OSLIBNAME);
    lua_setfield(L, globals, LUA_OSLIBNAME);
    lua_pushvalue(L, globals);
    lua_setfield(L, globals, LUA_GNAME);
    lua_pushvalue(L, globals);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_settop(L, top);
}

/* ---- the heap of the job's own state ---- */

/* There is one such state in a process. It may not take what the engine's minimum and the libraries need beyond the limit. */
static struct {
    lua_Alloc alloc;
    void *user_data;
    size_t used_bytes, most_bytes;
} heap;

static void *limited_alloc(void *user_data, void *block, size_t old_size, size_t new_size)
{
    (void)user_data;
    size_t before = block != NULL ? lb_memory_of_block(old_size) : 0;
    size_t after = lb_memory_of_block(new_size);
    if (after > before && after - before > heap.most_bytes - heap.used_bytes)
        return NULL;
    void *moved = heap.alloc(heap.user_data, block, old_size, new_size);
    if (moved != NULL || new_size == 0)
        heap.used_bytes = heap.used_bytes + after > before ? heap.used_bytes + after - before : 0;
    return moved;
}

static void limit_heap(lua_State *L, size_t most_bytes)
{
    heap.alloc = lua_getallocf(L, &heap.user_data);
    heap.used_bytes = (size_t)lua_gc(L, LUA_GCCOUNT) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB);
    heap.most_bytes = most_bytes > heap.used_bytes ? most_bytes : heap.used_bytes;
    lua_setallocf(L, limited_alloc, NULL);
}

/* ---- beginning ---- */

static void allow_all(lua_State *L, const char *field, enum lb_jail_right right)
{
    struct lb_error err;
    if (lua_getfield(L, 1, field) == LUA_TTABLE) {
        lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
        for (lua_Integer i = 1; i <= n; i++) {
            lua_rawgeti(L, -1, i);
            if (lb_jail_allow(right, luaL_checkstring(L, -1), &err) != LB_OK)
                lb_lua_raise(L, &err);
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
}

int lb_lua_core_safe(lua_State *L)
{
    struct lb_error err;
    luaL_checktype(L, 1, LUA_TTABLE);
    allow_all(L, "read", LB_JAIL_READ);
    allow_all(L, "list", LB_JAIL_LIST);
    allow_all(L, "write", LB_JAIL_WRITE);
    allow_all(L, "tmp", LB_JAIL_TMP);
    lua_getfield(L, 1, "memory");
    size_t most_bytes = (size_t)luaL_checkinteger(L, -1);
    lb_memory_limit(most_bytes, true);
    if (lb_jail_close(&err) != LB_OK)
        return lb_lua_raise(L, &err);
    lb_lua_make_safe(L);
    lua_gc(L, LUA_GCCOLLECT);
    limit_heap(L, most_bytes);
    lua_pushglobaltable(L);
    lua_pushstring(L, lb_confine_means());
    return 2;
}

#endif

/* ---- shipments ---- */

static struct {
    pthread_mutex_t lock; /* guards the others */
    bool has_secret;
    char secret[XXH3_SECRET_SIZE_MIN];
    XXH128_hash_t *slots; /* open addressing, a power of two; zero: free */
    size_t n_slots, n_used;
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The place of a hash, or of the free slot where it would be. */
static size_t find_slot(XXH128_hash_t hash)
{
    size_t i = (size_t)hash.low64 & (known.n_slots - 1);
    while ((known.slots[i].low64 | known.slots[i].high64) != 0 &&
           !XXH128_isEqual(known.slots[i], hash))
        i = (i + 1) & (known.n_slots - 1);
    return i;
}

static lb_status grow(struct lb_error *err)
{
    XXH128_hash_t *old = known.slots;
    size_t n_old = known.n_slots, n = n_old > 0 ? 2 * n_old : 64;
    XXH128_hash_t *slots = lb_alloc_zero(n * sizeof *slots);
    if (slots == NULL)
        return lb_error_memory(err, "a function's shipment", n * sizeof *slots);
    known.slots = slots;
    known.n_slots = n;
    for (size_t i = 0; i < n_old; i++)
        if ((old[i].low64 | old[i].high64) != 0)
            known.slots[find_slot(old[i])] = old[i];
    lb_free(old, n_old * sizeof *old);
    return LB_OK;
}

static lb_status note(const char *data, size_t size, struct lb_error *err)
{
    if (!known.has_secret) {
        if (getrandom(known.secret, sizeof known.secret, 0) != sizeof known.secret)
            return lb_error_set(err, LB_ERR_RESOURCE, "no random bytes for safe mode");
        known.has_secret = true;
    }
    if (2 * known.n_used >= known.n_slots)
        LB_TRY(grow(err));
    XXH128_hash_t hash = XXH3_128bits_withSecret(data, size, known.secret, sizeof known.secret);
    size_t i = find_slot(hash);
    known.n_used += (known.slots[i].low64 | known.slots[i].high64) == 0;
    known.slots[i] = hash;
    return LB_OK;
}

lb_status lb_lua_shipment_note(const struct lb_buf *shipment, struct lb_error *err)
{
    if (!lb_jail_is_closed())
        return LB_OK;
    pthread_mutex_lock(&known.lock);
    lb_status status = note(shipment->data, shipment->size, err);
    pthread_mutex_unlock(&known.lock);
    return status;
}

bool lb_lua_shipment_is_known(const char *data, size_t size)
{
    if (!lb_jail_is_closed())
        return true;
    pthread_mutex_lock(&known.lock);
    bool is_known = false;
    if (known.n_slots > 0) {
        XXH128_hash_t hash = XXH3_128bits_withSecret(data, size, known.secret, sizeof known.secret);
        is_known = XXH128_isEqual(known.slots[find_slot(hash)], hash);
    }
    pthread_mutex_unlock(&known.lock);
    return is_known;
}
