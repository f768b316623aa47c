/* The Lua module luabatch.core: what the Lua library needs of the engine. */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <lz4.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>
#include <zstd.h>

#include "core/base/hash.h"
#include "core/base/memory.h"
#include "core/base/sys.h"
#include "core/column/key.h"
#include "core/expr/expr.h"
#include "core/io/format.h"
#include "core/io/path.h"
#include "core/ops/op.h"
#include "lua_bindings/attempts.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/counter.h"
#include "lua_bindings/errors.h"
#include "lua_bindings/execute.h"
#include "lua_bindings/files.h"
#include "lua_bindings/journal.h"
#include "lua_bindings/machine.h"
#include "lua_bindings/ops.h"
#include "lua_bindings/printable.h"
#include "lua_bindings/row.h"
#include "lua_bindings/safe.h"
#include "lua_bindings/ship.h"
#include "lua_bindings/sniff.h"
#include "lua_bindings/values.h"
#include "lua_bindings/worker_private.h"
#include "luabatch.h"

/* The Makefile says what is built; a build by other means does not know. */
#ifndef LB_COMMIT
#define LB_COMMIT "unknown"
#endif
#ifndef LB_MODE
#define LB_MODE "release"
#endif

#define BUFFER_TYPE "luabatch.buffer"

static pthread_once_t register_once = PTHREAD_ONCE_INIT;

static int l_buffer_gc(lua_State *L)
{
    lb_buf_fini(luaL_checkudata(L, 1, BUFFER_TYPE));
    return 0;
}

/* A buffer that is freed with its userdata, which is pushed: what is in it survives no error. */
static struct lb_buf *push_buffer(lua_State *L)
{
    struct lb_buf *buf = lua_newuserdatauv(L, sizeof *buf, 0);
    memset(buf, 0, sizeof *buf);
    if (luaL_newmetatable(L, BUFFER_TYPE)) {
        lua_pushcfunction(L, l_buffer_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return buf;
}

/* Pushes the bytes as a string and frees them at once. */
static int return_buffer(lua_State *L, struct lb_buf *buf)
{
    lua_pushlstring(L, buf->data != NULL ? buf->data : "", buf->size);
    lb_buf_fini(buf);
    return 1;
}

/* core.encode(value) -> bytes */
static int l_core_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    struct lb_buf *out = push_buffer(L);
    struct lb_error err;
    if (lb_lua_encode(L, 1, "value", out, &err) != LB_OK)
        return lb_lua_raise(L, &err);
    return return_buffer(L, out);
}

/* core.decode(bytes) -> value */
static int l_core_decode(lua_State *L)
{
    size_t size;
    const char *data = luaL_checklstring(L, 1, &size);
    struct lb_error err;
    if (lb_codec_verify(data, size, &err) != LB_OK)
        return lb_lua_raise(L, &err);
    lb_lua_push_encoded(L, data, size);
    return 1;
}

/* Pushes a buffer with the sort key of the value at index. */
static struct lb_buf *push_key(lua_State *L, int index)
{
    struct lb_buf *value = push_buffer(L);
    struct lb_buf *key = push_buffer(L);
    struct lb_error err;
    if (lb_lua_encode(L, index, "value", value, &err) != LB_OK ||
        lb_key_put_encoded(key, value->data, value->size, false, &err) != LB_OK)
        lb_lua_raise(L, &err);
    lb_buf_fini(value);
    return key;
}

/* core.compare(a, b) -> -1, 0 or 1: the order of keys */
static int l_core_compare(lua_State *L)
{
    luaL_checkany(L, 2);
    int order;
    if (lua_type(L, 1) == LUA_TSTRING && lua_type(L, 2) == LUA_TSTRING) {
        size_t a_size, b_size;
        const char *a = lua_tolstring(L, 1, &a_size);
        const char *b = lua_tolstring(L, 2, &b_size);
        order = lb_key_compare(a, a_size, b, b_size);
    } else {
        struct lb_buf *a = push_key(L, 1);
        struct lb_buf *b = push_key(L, 2);
        order = lb_key_compare(a->data, a->size, b->data, b->size);
        lb_buf_fini(a);
        lb_buf_fini(b);
    }
    lua_pushinteger(L, (order > 0) - (order < 0));
    return 1;
}

/* core.ship(fn, what) -> bytes */
static int l_core_ship(lua_State *L)
{
    luaL_checkany(L, 1);
    const char *what = luaL_optstring(L, 2, "function");
    struct lb_buf *out = push_buffer(L);
    struct lb_error err;
    if (lb_lua_ship(L, 1, what, out, &err) != LB_OK)
        return lb_lua_raise(L, &err);
    return return_buffer(L, out);
}

/* core.hold_modules(whether): see ship.h */
static int l_core_hold_modules(lua_State *L)
{
    lb_lua_hold_modules(L, lua_toboolean(L, 1));
    return 0;
}

static lb_status add_read(void *state, const char *name, size_t size, bool is_always,
                          struct lb_error *err)
{
    (void)is_always;
    struct lb_buf *names = state;
    const char *cursor = names->data;
    while (names->size > 0 && cursor < names->data + names->size) {
        struct lb_value known;
        lb_codec_next(&cursor, &known);
        if (known.size == size && memcmp(known.data, name, size) == 0)
            return LB_OK;
    }
    return lb_codec_put_string(names, name, size, err);
}

/* core.row_reads(fn, param) -> list of the names of all fields that fn reads of its parameter of that number (1
 * when not given), in the order of its code; nil when fn may do anything else with it */
static int l_core_row_reads(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_Integer param = luaL_optinteger(L, 2, 1);
    luaL_argcheck(L, param >= 1 && param <= 200, 2, "the number of a parameter expected");
    struct lb_buf *names = push_buffer(L);
    if (!lb_lua_row_reads(L, 1, (int)param, add_read, names))
        return 0;
    const char *cursor = names->data;
    lua_newtable(L);
    for (lua_Integer i = 1; names->size > 0 && cursor < names->data + names->size; i++) {
        lb_lua_push_next(L, &cursor);
        lua_rawseti(L, -2, i);
    }
    return 1;
}

/* core.check_regexp(pattern, flags) -> nil, or what is wrong and at which byte of the pattern (0: in the flags) */
static int l_core_check_regexp(lua_State *L)
{
    size_t size, flags_size, at;
    const char *pattern = luaL_checklstring(L, 1, &size);
    const char *flags = luaL_checklstring(L, 2, &flags_size);
    struct lb_error err;
    lb_status status = lb_expr_check_regexp(pattern, size, flags, flags_size, &at, &err);
    if (status == LB_OK)
        return 0;
    if (status == LB_ERR_RESOURCE)
        return lb_lua_raise(L, &err);
    lua_pushstring(L, err.message);
    lua_pushinteger(L, (lua_Integer)at);
    return 2;
}

/* A constant expression's parts, freed with the userdata that holds them. */
struct constant {
    struct lb_buf program;
    struct lb_expr *expr;
    struct lb_expr_state *state;
};

static void constant_fini(struct constant *constant)
{
    lb_expr_state_delete(constant->state);
    lb_expr_delete(constant->expr);
    lb_buf_fini(&constant->program);
    *constant = (struct constant){0};
}

static int l_constant_gc(lua_State *L)
{
    constant_fini(lua_touserdata(L, 1));
    return 0;
}

enum { MOST_CONSTANT_BYTES = 64 << 10 };

/* core.evaluate(program) -> the value of an expression without columns; the same as JSON, or nil. Raises for long ones */
static int l_core_evaluate(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct constant *constant = lua_newuserdatauv(L, sizeof *constant, 0);
    *constant = (struct constant){0};
    if (luaL_newmetatable(L, "luabatch.constant")) {
        lua_pushcfunction(L, l_constant_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    struct lb_buf *out = push_buffer(L);
    struct lb_error err;
    struct lb_value value;
    struct lb_column column;
    struct lb_batch batch = {.n_rows = 1, .n_selected = 1};
    if (lb_lua_encode(L, 1, "program", &constant->program, &err) != LB_OK)
        return lb_lua_raise(L, &err);
    const char *cursor = constant->program.data;
    lb_codec_next(&cursor, &value);
    if (lb_expr_new(&value, &constant->expr, &err) != LB_OK ||
        lb_expr_state_new(constant->expr, &constant->state, &err) != LB_OK ||
        lb_expr_eval(constant->state, &batch, &column, &err) != LB_OK ||
        lb_codec_put_column(out, &column, 0, &err) != LB_OK) {
        /* Now, not when Lua collects: it does not see how much that may be. */
        constant_fini(constant);
        lb_buf_fini(out);
        return lb_lua_raise(L, &err);
    }
    constant_fini(constant);
    if (out->size > MOST_CONSTANT_BYTES) {
        lb_buf_fini(out);
        return luaL_error(L, "a value too long for a plan");
    }
    lb_lua_push_encoded(L, out->data, out->size);
    struct lb_buf *text = push_buffer(L);
    if (lb_format_encoded(LB_FORMAT_JSON, out->data, out->size, text, &err) == LB_OK)
        lua_pushlstring(L, text->data != NULL ? text->data : "", text->size);
    else
        lua_pushnil(L);
    lua_remove(L, -2);
    return 2;
}

static int push_name(lua_State *L, const char *name)
{
    if (name != NULL)
        lua_pushstring(L, name);
    else
        lua_pushnil(L);
    return 1;
}

/* core.unship(bytes) -> the function that core.ship has made bytes of, with copies of what it captured. Trusts the bytes. */
static int l_core_unship(lua_State *L)
{
    size_t size;
    const char *data = luaL_checklstring(L, 1, &size);
    struct lb_error err;
    if (lb_lua_unship(L, data, size, &err) != LB_OK)
        return lb_lua_raise(L, &err);
    return 1;
}

/* core.kernel_reduce(fn) -> name or nil */
static int l_core_kernel_reduce(lua_State *L)
{
    return push_name(L, lb_lua_kernel_reduce(L, 1));
}

/* core.kernel_group(fn) -> name or nil */
static int l_core_kernel_group(lua_State *L)
{
    return push_name(L, lb_lua_kernel_group(L, 1));
}

/* core.counter(name) -> counter */
static int l_core_counter(lua_State *L)
{
    size_t size;
    const char *name = luaL_checklstring(L, 1, &size);
    lb_lua_push_counter(L, name, size);
    return 1;
}

/* core.counters() -> table of name -> value */
static int l_core_counters(lua_State *L)
{
    lb_lua_push_counters(L);
    return 1;
}

/* core.is_sink(name of an operator): whether a stage ends in it */
static int l_core_is_sink(lua_State *L)
{
    const struct lb_op_class *class = lb_op_find(luaL_checkstring(L, 1));
    lua_pushboolean(L, class != NULL && class->kind == LB_OP_SINK);
    return 1;
}

/* core.options(table) sets the options of the job, which workers get too; core.options() -> table */
static int l_core_options(lua_State *L)
{
    if (!lua_isnoneornil(L, 1)) {
        luaL_checktype(L, 1, LUA_TTABLE);
        struct lb_buf *out = push_buffer(L);
        struct lb_error err;
        if (lb_lua_encode(L, 1, "options", out, &err) != LB_OK)
            return lb_lua_raise(L, &err);
        return_buffer(L, out);
        lua_setfield(L, LUA_REGISTRYINDEX, LB_LUA_OPTIONS_FIELD);
        return 0;
    }
    if (lua_getfield(L, LUA_REGISTRYINDEX, LB_LUA_OPTIONS_FIELD) != LUA_TSTRING) {
        lua_newtable(L);
        return 1;
    }
    size_t size;
    const char *data = lua_tolstring(L, -1, &size);
    lb_lua_push_encoded(L, data, size);
    return 1;
}

static lb_status format_value(lua_State *L, enum lb_format format, struct lb_buf *value,
                              struct lb_buf *out, struct lb_error *err)
{
    value->size = out->size = 0;
    LB_TRY(lb_lua_encode(L, 1, "value", value, err));
    return lb_format_encoded(format, value->data, value->size, out, err);
}

/* core.format(value, "text" | "json" | "csv" | "lua") -> string */
static int l_core_format(lua_State *L)
{
    luaL_checkany(L, 1);
    const char *name = luaL_optstring(L, 2, "text");
    enum lb_format format;
    if (!lb_format_parse_name(name, &format))
        return luaL_argerror(L, 2, "\"text\", \"json\", \"csv\" or \"lua\" expected");
    struct lb_buf *value = push_buffer(L);
    struct lb_buf *out = push_buffer(L);
    struct lb_error err;
    lb_status status = format_value(L, format, value, out, &err);
    if (status == LB_ERR_RESOURCE) { /* what earlier calls left counts until it is collected */
        lua_gc(L, LUA_GCCOLLECT, 0);
        status = format_value(L, format, value, out, &err);
    }
    if (status != LB_OK)
        return lb_lua_raise(L, &err);
    lb_buf_fini(value);
    return return_buffer(L, out);
}

/* core.terminal_size([descriptor]) -> columns, rows; nothing when it (standard output) is no terminal */
static int l_core_terminal_size(lua_State *L)
{
    struct winsize size;
    if (ioctl((int)luaL_optinteger(L, 1, STDOUT_FILENO), TIOCGWINSZ, &size) != 0 ||
        size.ws_col == 0)
        return 0;
    lua_pushinteger(L, size.ws_col);
    lua_pushinteger(L, size.ws_row);
    return 2;
}

/* core.is_terminal(descriptor) */
static int l_core_is_terminal(lua_State *L)
{
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

/* core.clock() -> seconds, on a clock that only goes forward */
static int l_core_clock(lua_State *L)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    lua_pushnumber(L, (lua_Number)now.tv_sec + (lua_Number)now.tv_nsec * 1e-9);
    return 1;
}

static int l_core_cpu_count(lua_State *L)
{
    lua_pushinteger(L, lb_machine_n_cpus());
    return 1;
}

static int l_core_memory_limit(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)lb_machine_memory_bytes());
    return 1;
}

/* core.limit_memory(bytes): as a run does when it begins */
static int l_core_limit_memory(lua_State *L)
{
    lb_memory_limit((size_t)luaL_checkinteger(L, 1), false);
    return 0;
}

/* core.memory_is_short(bytes) -> boolean: whether so many more would be refused, or nearly */
static int l_core_memory_is_short(lua_State *L)
{
    lua_pushboolean(L, lb_memory_is_short((size_t)luaL_checkinteger(L, 1)));
    return 1;
}

/* core.real_path(path) -> string: see lb_path_real */
static int l_core_real_path(lua_State *L)
{
    struct lb_error err;
    char *real;
    const char *path = luaL_checkstring(L, 1);
    struct lb_buf *out = push_buffer(L);
    lb_status status = lb_path_real(path, &real, &err);
    if (status == LB_OK) {
        status = lb_buf_append(out, real, strlen(real), &err);
        lb_strfree(real);
    }
    return status == LB_OK ? return_buffer(L, out) : lb_lua_raise(L, &err);
}

/* core.working_directory() -> string: without links */
static int l_core_working_directory(lua_State *L)
{
    char path[PATH_MAX];
    if (getcwd(path, sizeof path) == NULL) {
        struct lb_error err;
        lb_error_system(&err, errno, "cannot find the working directory");
        return lb_lua_raise(L, &err);
    }
    lua_pushstring(L, path);
    return 1;
}

/* core.is_printed(): whether all that was printed to standard output could be written */
static int l_core_is_printed(lua_State *L)
{
    lua_pushboolean(L, fflush(stdout) == 0 && !ferror(stdout));
    return 1;
}

/* core.hash(bytes) -> 16 hexadecimal digits */
static int l_core_hash(lua_State *L)
{
    size_t size;
    const char *data = luaL_checklstring(L, 1, &size);
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)lb_hash_bytes(data, size));
    lua_pushstring(L, text);
    return 1;
}

static const luaL_Reg functions[] = {{"encode", l_core_encode},
                                     {"decode", l_core_decode},
                                     {"compare", l_core_compare},
                                     {"ship", l_core_ship},
                                     {"hold_modules", l_core_hold_modules},
                                     {"unship", l_core_unship},
                                     {"kernel_reduce", l_core_kernel_reduce},
                                     {"kernel_group", l_core_kernel_group},
                                     {"row_reads", l_core_row_reads},
                                     {"counter", l_core_counter},
                                     {"counters", l_core_counters},
                                     {"options", l_core_options},
                                     {"safe", lb_lua_core_safe},
                                     {"is_sink", l_core_is_sink},
                                     {"format", l_core_format},
                                     {"printable", lb_lua_printable},
                                     {"terminal_size", l_core_terminal_size},
                                     {"is_terminal", l_core_is_terminal},
                                     {"clock", l_core_clock},
                                     {"cpu_count", l_core_cpu_count},
                                     {"memory_limit", l_core_memory_limit},
                                     {"limit_memory", l_core_limit_memory},
                                     {"memory_is_short", l_core_memory_is_short},
                                     {"real_path", l_core_real_path},
                                     {"working_directory", l_core_working_directory},
                                     {"is_printed", l_core_is_printed},
                                     {"hash", l_core_hash},
                                     {"file_hash", lb_lua_file_hash},
                                     {"journal", lb_lua_journal},
                                     {"text_bytes", lb_lua_text_bytes},
                                     {"csv_sniff", lb_lua_csv_sniff},
                                     {"json_sniff", lb_lua_json_sniff},
                                     {"native_names", lb_lua_native_names},
                                     {"hive_parts", lb_lua_hive_parts},
                                     {"csv_type", lb_lua_csv_type},
                                     {"check_regexp", l_core_check_regexp},
                                     {"evaluate", l_core_evaluate},
                                     {"attempts", lb_lua_attempts},
                                     {"execute", lb_lua_execute},
                                     {"describe", lb_lua_describe},
                                     {NULL, NULL}};

/* Once per process. lua_close unloads a module's file, but a signal handler of ours stays with the process: the file must too. */
static void start(void)
{
    Dl_info info;
    if (dladdr((void *)(uintptr_t)&register_once, &info) != 0 && info.dli_fname != NULL)
        (void)!dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
    lb_lua_register_ops();
}

__attribute__((visibility("default"))) int luaopen_luabatch_core(lua_State *L)
{
    pthread_once(&register_once, start);
    luaL_newlib(L, functions);
    luaL_setfuncs(L, lb_lua_file_functions, 0);
    lua_pushliteral(L, LB_VERSION);
    lua_setfield(L, -2, "version");
    lua_pushfstring(L, "commit %s, %s, %s, libuv %s, lz4 %s, zstd %s", LB_COMMIT, LB_MODE,
                    LB_LUA_NAME, uv_version_string(), LZ4_versionString(), ZSTD_versionString());
    lua_setfield(L, -2, "build");
#if LB_LUAJIT
    lb_lua_push_missing(L);
    lua_setfield(L, -2, "missing");
#endif
    return 1;
}
