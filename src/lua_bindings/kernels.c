/* Functions that the engine knows the meaning of.
 *
 * IDEA   The spellings people use are compiled once, reduced to canonical bytecode (bytecode.h), and compared
 *        byte for byte; then what a spelling captures is checked to be the real thing: the globals, the
 *        table `math`, its C functions. Equal code on equal values gives equal results, so a match is a proof.
 * NOTE   `a > b and a or b` is not max: of 1 and 1.0 it takes the second and math.max the first. Spellings are here
 *        only if they agree with math.max and math.min on every pair of numbers.
 * THREADS The tables are made once per process, then only read. */
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "core/base/buf.h"
#include "lua_bindings/bytecode.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/safe.h"
#include "lua_bindings/ship.h"

/* What a spelling needs of its captured variables. */
enum needs {
    NEEDS_NOTHING,
    NEEDS_MATH_IN_GLOBALS,  /* variable 1 is the globals, their `math` has the real function */
    NEEDS_MATH_CAPTURED,    /* variable 1 is a table with the real function */
    NEEDS_FUNCTION_CAPTURED /* variable 1 is the function: math.max or math.min */
};

struct spelling {
    const char *meaning; /* NULL: the captured function decides */
    const char *source;  /* a chunk that returns the function */
    enum needs needs;
};

#define GLOBALS NEEDS_MATH_IN_GLOBALS
#define TABLE NEEDS_MATH_CAPTURED
#define FUNCTION NEEDS_FUNCTION_CAPTURED

static const struct spelling reduce_spellings[] = {
    {"sum", "return function(a, b) return a + b end", 0},
    {"sum", "return function(a, b) return b + a end", 0},
    {"sum", "return function(a, b) local c = a + b return c end", 0},
    {"sum", "return function(a, b) local c = b + a return c end", 0},
    {"sum", "return function(a, b) a = a + b return a end", 0},
    {"max", "return function(a, b) return math.max(a, b) end", GLOBALS},
    {"max", "return function(a, b) return (math.max(a, b)) end", GLOBALS},
    {"max", "local math return function(a, b) return math.max(a, b) end", TABLE},
    {"max", "return function(a, b) if a < b then return b end return a end", 0},
    {"max", "return function(a, b) if a < b then return b else return a end end", 0},
    {"max", "return function(a, b) return a < b and b or a end", 0},
    {"min", "return function(a, b) return math.min(a, b) end", GLOBALS},
    {"min", "return function(a, b) return (math.min(a, b)) end", GLOBALS},
    {"min", "local math return function(a, b) return math.min(a, b) end", TABLE},
    {"min", "return function(a, b) if a > b then return b end return a end", 0},
    {"min", "return function(a, b) if a > b then return b else return a end end", 0},
    {"min", "return function(a, b) return a > b and b or a end", 0},
    {NULL, "local f return function(a, b) return f(a, b) end", FUNCTION},
    {NULL, "local f return function(a, b) return (f(a, b)) end", FUNCTION},
    {"first", "return function(a, b) return a end", 0},
    {"first", "return function(a) return a end", 0},
    {"last", "return function(a, b) return b end", 0},
};

static const struct spelling group_spellings[] = {
    {"sum", "return function(k, v, emit) local n = 0 for x in v do n = n + x end emit(k, n) end",
     0},
    {"sum", "return function(k, v, emit) local n = 0 for x in v do n = x + n end emit(k, n) end",
     0},
    {"sum",
     "return function(k, v, emit) local n = 0 for x in v do n = n + x end return emit(k, n) end",
     0},
    {"sum",
     "return function(k, v, emit) local n = 0 for x in v do n = x + n end return emit(k, n) end",
     0},
    {"sum",
     "return function(k, v, emit, task) local n = 0 for x in v do n = n + x end emit(k, n) end", 0},
    {"count", "return function(k, v, emit) local n = 0 for x in v do n = n + 1 end emit(k, n) end",
     0},
    {"count", "return function(k, v, emit) local n = 0 for x in v do n = 1 + n end emit(k, n) end",
     0},
    {"count",
     "return function(k, v, emit) local n = 0 for x in v do n = n + 1 end return emit(k, n) end",
     0},
    {"count",
     "return function(k, v, emit, task) local n = 0 for x in v do n = n + 1 end emit(k, n) end", 0},
};

enum {
    N_REDUCE = sizeof reduce_spellings / sizeof reduce_spellings[0],
    N_GROUP = sizeof group_spellings / sizeof group_spellings[0]
};

static struct lb_buf reduce_code[N_REDUCE];
static struct lb_buf group_code[N_GROUP];
static uintptr_t real_max, real_min; /* by lb_lua_c_identity */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int append_bytes(lua_State *L, const void *data, size_t size, void *out)
{
    (void)L;
    return lb_buf_append(out, data, size, NULL) != LB_OK;
}

/* The canonical code of the Lua function on top of the stack; false: no memory. */
static bool canonical(lua_State *L, struct lb_buf *code)
{
    struct lb_buf dump = {0};
    bool is_good = lua_dump(L, append_bytes, &dump, 1) == 0 &&
                   lb_bytecode_canonical(dump.data, dump.size, code, NULL) == LB_OK;
    lb_buf_fini(&dump);
    return is_good;
}

static void compile(lua_State *L, const struct spelling *spellings, int n, struct lb_buf *codes)
{
    for (int i = 0; i < n; i++) {
        if (luaL_dostring(L, spellings[i].source) != LUA_OK || !canonical(L, &codes[i]))
            lb_buf_fini(&codes[i]); /* never matches */
        lua_settop(L, 0);
    }
}

static int l_prepare(lua_State *L)
{
    luaL_openlibs(L);
    lua_getglobal(L, LUA_MATHLIBNAME);
    lua_getfield(L, -1, "max");
    real_max = lb_lua_c_identity(L, -1);
    lua_getfield(L, -2, "min");
    real_min = lb_lua_c_identity(L, -1);
    lua_settop(L, 0);
    compile(L, reduce_spellings, N_REDUCE, reduce_code);
    compile(L, group_spellings, N_GROUP, group_code);
    return 0;
}

static void prepare(void)
{
    lua_State *L = luaL_newstate();
    if (L == NULL)
        return;
    lua_pushcfunction(L, l_prepare);
    if (lua_pcall(L, 0, 0, 0) != LUA_OK)
        real_max = real_min = 0;
    lua_close(L);
}

static const char *meaning_of_c(lua_State *L, int index)
{
    uintptr_t function = lb_lua_c_identity(L, index);
    if (function == 0)
        return NULL;
    return function == real_max ? "max" : function == real_min ? "min" : NULL;
}

/* Replaces the value on top by its field; nil when it is no table. Never calls metamethods. */
static void raw_field(lua_State *L, const char *name)
{
    lb_lua_unview(L);
    if (lua_type(L, -1) == LUA_TTABLE) {
        lua_pushstring(L, name);
        lua_rawget(L, -2);
    } else {
        lua_pushnil(L);
    }
    lua_remove(L, -2);
}

static const char *check_captured(lua_State *L, int index, const struct spelling *spelling)
{
    if (spelling->needs == NEEDS_NOTHING)
        return spelling->meaning;
    if (lua_getupvalue(L, index, 1) == NULL)
        return NULL;
    if (spelling->needs == NEEDS_MATH_IN_GLOBALS) {
        lua_pushglobaltable(L);
        bool is_globals = lua_rawequal(L, -1, -2);
        lua_pop(L, 1);
        if (!is_globals)
            return NULL;
        raw_field(L, LUA_MATHLIBNAME);
    }
    if (spelling->needs != NEEDS_FUNCTION_CAPTURED)
        raw_field(L, spelling->meaning);
    const char *meaning = meaning_of_c(L, -1);
    bool agrees =
        meaning != NULL && (spelling->meaning == NULL || strcmp(spelling->meaning, meaning) == 0);
    return agrees ? meaning : NULL;
}

static const char *find(lua_State *L, int index, const struct spelling *spellings, int n,
                        const struct lb_buf *codes)
{
    struct lb_buf code = {0};
    const char *meaning = NULL;
    lua_pushvalue(L, index);
    bool is_known = canonical(L, &code);
    lua_pop(L, 1);
    for (int i = 0; is_known && meaning == NULL && i < n; i++)
        if (codes[i].size == code.size && code.size > 0 &&
            memcmp(codes[i].data, code.data, code.size) == 0)
            meaning = check_captured(L, index, &spellings[i]);
    lb_buf_fini(&code);
    return meaning;
}

struct request {
    bool is_group;
    const char *meaning;
};

static int l_recognise(lua_State *L)
{
    struct request *request = lua_touserdata(L, 2);
    if (lua_iscfunction(L, 1))
        request->meaning = request->is_group ? NULL : meaning_of_c(L, 1);
    else if (request->is_group)
        request->meaning = find(L, 1, group_spellings, N_GROUP, group_code);
    else
        request->meaning = find(L, 1, reduce_spellings, N_REDUCE, reduce_code);
    return 0;
}

static const char *recognise(lua_State *L, int index, bool is_group)
{
    pthread_once(&once, prepare);
    if (lua_type(L, index) != LUA_TFUNCTION || !lua_checkstack(L, 4))
        return NULL;
    struct request request = {.is_group = is_group};
    index = lua_absindex(L, index);
    lua_pushcfunction(L, l_recognise);
    lua_pushvalue(L, index);
    lua_pushlightuserdata(L, &request);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
        lua_pop(L, 1);
        return NULL;
    }
    return request.meaning;
}

const char *lb_lua_kernel_reduce(lua_State *L, int index)
{
    return recognise(L, index, false);
}

const char *lb_lua_kernel_group(lua_State *L, int index)
{
    return recognise(L, index, true);
}
