/* Running plans from Lua: a plan table goes in, results come out.
 *
 * MEMORY All that a run holds hangs on one userdata, which is closed at the end and, after an error, by
 *        collection: Lua may raise at any point in between. Stores outlive the run. */
#include "lua_bindings/execute.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/ops/rejects.h"
#include "core/ops/skips.h"
#include "core/plan/plan.h"
#include "lua_bindings/attempts.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/errors.h"
#include "lua_bindings/machine.h"
#include "lua_bindings/ops.h"
#include "lua_bindings/store.h"
#include "lua_bindings/values.h"
#include "lua_bindings/worker_private.h"

#define EXECUTION_TYPE "luabatch.execution"

struct execution {
    struct lb_plan *plan;
    struct lb_run *run;
    struct lb_host host;
    struct lb_lua_sample_sum *samples; /* NULL: not wanted */
    struct lb_buf bytes;               /* the encoded plan, then the description */
    struct lb_error err;
};

static void close_plan(struct execution *x)
{
    lb_plan_delete(x->plan);
    x->plan = NULL;
}

static void close_run(struct execution *x)
{
    lb_run_delete(x->run);
    x->run = NULL;
    lb_lua_host_fini(&x->host);
    lb_lua_sample_sum_delete(x->samples);
    x->samples = NULL;
}

static int l_execution_close(lua_State *L)
{
    struct execution *x = luaL_checkudata(L, 1, EXECUTION_TYPE);
    if (x->plan != NULL)
        close_plan(x);
    close_run(x);
    lb_buf_fini(&x->bytes);
    return 0;
}

static struct execution *push_execution(lua_State *L)
{
    struct execution *x = lua_newuserdatauv(L, sizeof *x, 0);
    memset(x, 0, sizeof *x);
    if (luaL_newmetatable(L, EXECUTION_TYPE)) {
        lua_pushcfunction(L, l_execution_close);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return x;
}

/* Closes what is left now rather than at the next collection, then raises. */
static int fail(lua_State *L, struct execution *x)
{
    struct lb_error err = x->err;
    if (x->plan != NULL)
        close_plan(x);
    close_run(x);
    lb_buf_fini(&x->bytes);
    return lb_lua_raise(L, &err);
}

/* Pushes a copy of the plan at index 1 in which stores are numbers, and the list of these stores. */
static void push_pure_plan(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_getfield(L, 1, "nodes") != LUA_TTABLE)
        luaL_error(L, "bad argument #1 (a plan, a table with nodes, expected)");
    int nodes = lua_gettop(L);
    lua_createtable(L, 0, 1); /* the plan */
    lua_Integer n = luaL_len(L, nodes);
    lua_createtable(L, (int)n, 0); /* its nodes */
    int copies = lua_gettop(L);
    lua_newtable(L); /* stores */
    int stores = lua_gettop(L);
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_geti(L, nodes, i) == LUA_TTABLE && lua_getfield(L, -1, "handle") == LUA_TUSERDATA) {
            if (lb_lua_to_store(L, -1) == NULL)
                luaL_error(L, "plan node %d: the handle is no open store", (int)i);
            lua_rawseti(L, stores, i);
            int node = lua_gettop(L);
            lua_newtable(L);
            lua_pushnil(L);
            while (lua_next(L, node) != 0) {
                lua_pushvalue(L, -2);
                lua_insert(L, -2);
                lua_rawset(L, node + 1);
            }
            lua_pushinteger(L, i);
            lua_setfield(L, -2, "handle");
        } else {
            lua_settop(L, stores + 1);
        }
        lua_rawseti(L, copies, i);
        lua_settop(L, stores);
    }
    lua_pushvalue(L, copies);
    lua_setfield(L, copies - 1, "nodes");
    lua_remove(L, copies); /* plan, stores */
    lua_remove(L, nodes);
}

static lb_status add_handles(lua_State *L, int stores, struct execution *x)
{
    lua_pushnil(L);
    while (lua_next(L, stores) != 0) {
        lb_status status =
            lb_plan_add_handle(x->plan, lua_tointeger(L, -2), lb_lua_to_store(L, -1), &x->err);
        lua_pop(L, 1);
        if (status != LB_OK) {
            lua_pop(L, 1);
            return status;
        }
    }
    return LB_OK;
}

/* Makes x->plan of the plan at index 1, a table or its encoding. */
static lb_status open_plan(lua_State *L, struct execution *x)
{
    if (lua_type(L, 1) == LUA_TSTRING) { /* as info.call had it */
        size_t size;
        const char *data = lua_tolstring(L, 1, &size);
        LB_TRY(lb_codec_verify(data, size, &x->err));
        LB_TRY(lb_buf_append(&x->bytes, data, size, &x->err));
        lb_status status = lb_plan_new(x->bytes.data, x->bytes.size, &x->plan, &x->err);
        x->bytes.size = 0;
        return status;
    }
    push_pure_plan(L);
    int stores = lua_gettop(L);
    lb_status status = lb_lua_encode(L, stores - 1, "plan", &x->bytes, &x->err);
    if (status == LB_OK)
        status = lb_plan_new(x->bytes.data, x->bytes.size, &x->plan, &x->err);
    if (status == LB_OK)
        status = add_handles(L, stores, x);
    x->bytes.size = 0;
    return status;
}

/* An optional positive integer of the options table at index 2. */
static lua_Integer option_integer(lua_State *L, const char *name, lua_Integer fallback,
                                  lua_Integer most)
{
    if (lua_getfield(L, 2, name) != LUA_TNIL) {
        int is_integer;
        lua_Integer value = lua_tointegerx(L, -1, &is_integer);
        if (!is_integer || value < 1 || value > most)
            luaL_error(L, "bad option '%s' (a positive integer expected, got %s)", name,
                       luaL_tolstring(L, -1, NULL));
        fallback = value;
    }
    lua_pop(L, 1);
    return fallback;
}

/* Whether a field of the options table at index 2 is true. */
static bool is_option(lua_State *L, const char *name)
{
    lua_getfield(L, 2, name);
    bool result = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return result;
}

void lb_lua_read_run_options(lua_State *L, struct lb_run_options *options)
{
    if (lua_isnoneornil(L, 2)) {
        lua_settop(L, 1);
        lua_newtable(L);
    }
    luaL_checktype(L, 2, LUA_TTABLE);
    options->n_threads = (uint32_t)option_integer(L, "threads", lb_machine_n_cpus(), 1024);
    lua_Integer memory = (lua_Integer)(lb_machine_memory_bytes() / 10 * 6);
    options->memory_bytes = (size_t)option_integer(L, "memory", memory, LUA_MAXINTEGER);
    options->spill_bytes = (size_t)option_integer(L, "max_spill", 0, LUA_MAXINTEGER);
    options->handle_signals = is_option(L, "signals");
    if (lua_getfield(L, 2, "attempts") != LUA_TNIL)
        options->attempts = lb_lua_to_attempts(L, -1);
    if (lua_getfield(L, 2, "max_errors") != LUA_TNIL) {
        options->limits_skipped = true;
        options->max_skipped = (uint64_t)luaL_checkinteger(L, -1);
    }
    lua_pop(L, 1);
    if (lua_getfield(L, 2, "record_timeout") != LUA_TNIL)
        options->record_timeout_ns = (uint64_t)(luaL_checknumber(L, -1) * 1e9);
    lua_pop(L, 1);
    options->max_instructions = (uint64_t)option_integer(L, "max_instructions", 0, LUA_MAXINTEGER);
    const char *fallback = getenv("TMPDIR");
    if (fallback == NULL || *fallback == '\0')
        fallback = "/tmp";
    if (lua_getfield(L, 2, "tmp") == LUA_TNIL)
        options->tmp_dir = fallback;
    else
        options->tmp_dir = luaL_checkstring(L, -1);
}

static void push_results(lua_State *L, struct execution *x)
{
    uint32_t n = lb_plan_n_results(x->plan);
    lua_createtable(L, 0, (int)n);
    for (uint32_t i = 0; i < n; i++) {
        struct lb_plan_result result = lb_plan_result(x->plan, i);
        lua_createtable(L, 0, 2);
        if (result.store != NULL) {
            struct lb_store **holder = lb_lua_push_store(L);
            *holder = lb_store_ref(result.store);
            lua_setfield(L, -2, "store");
        }
        lua_pushinteger(L, result.n_rows);
        lua_setfield(L, -2, "n");
        lua_rawseti(L, -2, (lua_Integer)result.node);
    }
}

/* Raises { status, message, restart = { node =, columns = { [i] = type } } }. */
static int raise_restart(lua_State *L, int top, struct execution *x)
{
    uint32_t node = 0;
    const char *data = NULL;
    size_t size = 0;
    lua_settop(L, top); /* the execution: what is left of it goes with its collection */
    if (!lb_plan_restart(x->plan, &node, &data, &size))
        return fail(L, x);
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, LB_RESTART);
    lua_setfield(L, -2, "status");
    lua_pushstring(L, x->err.message);
    lua_setfield(L, -2, "message");
    lb_lua_push_encoded(L, data, size);
    lua_pushinteger(L, (lua_Integer)node);
    lua_setfield(L, -2, "node");
    lua_newtable(L); /* the pairs {i, type} as [i] = type */
    if (lua_getfield(L, -2, "columns") == LUA_TTABLE) {
        for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TTABLE; i++) {
            lua_rawgeti(L, -1, 1);
            lua_rawgeti(L, -2, 2);
            lua_rawset(L, -5);
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    lua_setfield(L, -2, "columns");
    lua_setfield(L, -2, "restart");
    close_plan(x);
    close_run(x);
    lb_buf_fini(&x->bytes);
    return lua_error(L);
}

/* Where a run tells its progress: a function at an index of the stack of the state that called. */
struct listener {
    lua_State *L;
    int function;
};

static void set_number(lua_State *L, const char *name, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

static void set_integer(lua_State *L, const char *name, uint64_t value)
{
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

static void set_integer_at(lua_State *L, int table, const char *name, uint64_t value)
{
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, table, name);
}

static int push_progress(lua_State *L)
{
    const struct lb_progress *progress = lua_touserdata(L, 2);
    lua_settop(L, 1);
    lua_createtable(L, 0, 13);
    lua_pushstring(L, progress->label);
    lua_setfield(L, -2, "label");
    set_integer(L, "stage", progress->stage);
    set_integer(L, "stages", progress->n_stages);
    set_number(L, "seconds", progress->seconds);
    set_number(L, "run_seconds", progress->run_seconds);
    set_integer(L, "done", progress->done);
    lua_pushboolean(L, progress->is_bytes);
    lua_setfield(L, -2, "bytes");
    if (progress->total > 0)
        set_integer(L, "total", progress->total);
    set_integer(L, "records", progress->n_records);
    set_integer(L, "memory_bytes", progress->used_bytes);
    set_integer(L, "memory_limit_bytes", progress->max_bytes);
    set_integer(L, "spilled_bytes", progress->spilled_bytes);
    if (progress->slowest != 0) {
        set_integer(L, "slowest_thread", progress->slowest);
        set_number(L, "slowest_seconds", progress->slowest_seconds);
    }
    lua_call(L, 1, 0);
    return 0;
}

/* Calls the function with a table. What it raises is dropped: a drawing must not end the run. */
static void tell_progress(void *state, const struct lb_progress *progress)
{
    struct listener *listener = state;
    lua_State *L = listener->L;
    if (!lua_checkstack(L, 8))
        return;
    lua_pushcfunction(L, push_progress);
    lua_pushvalue(L, listener->function);
    lua_pushlightuserdata(L, (void *)(uintptr_t)progress);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK)
        lua_pop(L, 1);
}

static int push_farewell(lua_State *L)
{
    const struct lb_error *err = lua_touserdata(L, 2);
    lua_settop(L, 1);
    lua_pushinteger(L, err->status);
    lua_pushstring(L, err->message);
    lua_call(L, 2, 0);
    return 0;
}

/* Calls the function with the error's status and message, which is to end the process. If it fails the run waits on. */
static void give_up(void *state, const struct lb_error *err)
{
    struct lb_lua_farewell *farewell = state;
    lua_State *L = farewell->L;
    if (farewell->is_said || !lua_checkstack(L, 8))
        return;
    farewell->is_said = true;
    lua_pushcfunction(L, push_farewell);
    lua_pushvalue(L, farewell->function);
    lua_pushlightuserdata(L, (void *)(uintptr_t)err);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK)
        lua_pop(L, 1);
}

void lb_lua_read_farewell(lua_State *L, struct lb_host *host, struct lb_lua_farewell *farewell)
{
    *farewell = (struct lb_lua_farewell){.L = L, .function = lua_gettop(L) + 1};
    if (lua_getfield(L, 2, "give_up") == LUA_TFUNCTION) {
        host->give_up = give_up;
        host->give_up_state = farewell;
    }
}

static lb_status collect_facts(lua_State *L, int info, struct execution *x)
{
    struct lb_error err;
    x->bytes.size = 0;
    LB_TRY(lb_plan_metrics(x->plan, &x->bytes, &err));
    lb_lua_push_encoded(L, x->bytes.data, x->bytes.size);
    lua_setfield(L, info, "stages");
    if (x->run->options.is_traced) {
        x->bytes.size = 0;
        LB_TRY(lb_run_trace(x->run, &x->bytes, &err));
        lb_lua_push_encoded(L, x->bytes.data, x->bytes.size);
        lua_setfield(L, info, "trace");
    }
    set_integer_at(L, info, "peak_bytes", x->run->peak_bytes);
    set_integer_at(L, info, "threads", x->run->options.n_threads);
    set_integer_at(L, info, "memory_limit_bytes", x->run->options.memory_bytes);
    return LB_OK;
}

/* Adds to the table at `info` what is known of the run while plan and run are there. The run has ended, well
 * perhaps: that some of it is not known does not make it fail. */
static void tell_run(lua_State *L, int info, struct execution *x)
{
    if (collect_facts(L, info, x) == LB_OK)
        return;
    lua_pushliteral(L, "out of memory");
    lua_setfield(L, info, "lacking");
}

/* And what is known when they have ended. */
static void tell_end(lua_State *L, int info, struct execution *x)
{
    close_plan(x); /* operators count what they spilled when they close */
    set_integer_at(L, info, "spilled_bytes", atomic_load(&x->run->spilled_bytes));
    set_integer_at(L, info, "skipped", atomic_load(&x->run->n_skipped));
    struct lb_error err;
    x->bytes.size = 0;
    if (lb_skips_tell(x->run, &x->bytes, &err) == LB_OK) {
        lb_lua_push_encoded(L, x->bytes.data, x->bytes.size);
        lua_setfield(L, info, "skips");
    } else {
        lua_pushstring(L, err.message);
        lua_setfield(L, info, "skips_lacking");
    }
    lb_run_delete(x->run); /* workers hand their samples over when they stop */
    x->run = NULL;
    if (x->samples != NULL) {
        lb_lua_push_samples(L, x->samples);
        lua_setfield(L, info, "samples");
    }
}

/* The option `rejects`, a list of { path, file }: what checkpoints left out. */
static lb_status add_rejects(lua_State *L, struct execution *x)
{
    lb_status status = LB_OK;
    int top = lua_gettop(L);
    if (lua_getfield(L, 2, "rejects") == LUA_TTABLE) {
        for (lua_Integer i = 1; status == LB_OK && lua_rawgeti(L, top + 1, i) == LUA_TTABLE; i++) {
            lua_rawgeti(L, top + 2, 1);
            lua_rawgeti(L, top + 2, 2);
            status = lb_rejects_begin_with(x->run, luaL_checkstring(L, top + 3),
                                           luaL_checkstring(L, top + 4), &x->err);
            lua_settop(L, top + 1);
        }
    }
    lua_settop(L, top);
    if (status != LB_OK)
        (void)!lb_rejects_settle(x->run, false, NULL);
    return status;
}

/* The call of a user function that failed. */
static void tell_call(lua_State *L, int info, const struct execution *x)
{
    const struct lb_buf *plan;
    bool is_cut;
    if (!lb_lua_host_find_call(&x->host, x->err.note, &plan, &is_cut))
        return;
    lua_pushlstring(L, plan->data, plan->size);
    lua_setfield(L, info, "call");
    lua_pushboolean(L, is_cut);
    lua_setfield(L, info, "call_is_cut");
}

int lb_lua_execute(lua_State *L)
{
    if (lb_lua_worker_of(L) != NULL)
        return luaL_error(L, "an action cannot be called in a function that runs in a worker");
    lua_settop(L, 2);
    struct lb_run_options options = {0};
    lb_lua_read_run_options(L, &options);
    if (lua_getfield(L, 2, "info") != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
    int info = lua_gettop(L);
    struct execution *x = push_execution(L);
    if (is_option(L, "sample") && (x->samples = lb_lua_sample_sum_new(&x->err)) == NULL)
        return fail(L, x);
    if (open_plan(L, x) != LB_OK || lb_lua_host_init(L, &x->host, x->samples, &x->err) != LB_OK)
        return fail(L, x);
    if (is_option(L, "keep_calls") && lb_lua_host_keep_calls(&x->host, &x->err) != LB_OK)
        return fail(L, x);
    options.host = x->host;
    options.is_traced = is_option(L, "trace");
    lua_getfield(L, LUA_REGISTRYINDEX, LB_LUA_METERS_GC_FIELD);
    options.meters_gc = x->samples != NULL && lua_toboolean(L, -1);
    lua_pop(L, 1);
    struct listener listener = {.L = L, .function = lua_gettop(L) + 1};
    if (lua_getfield(L, 2, "progress") == LUA_TFUNCTION) {
        options.host.progress = tell_progress;
        options.host.progress_state = &listener;
    }
    struct lb_lua_farewell farewell;
    lb_lua_read_farewell(L, &options.host, &farewell);
    lb_status status = lb_run_new(&options, &x->run, &x->err);
    if (status != LB_OK)
        return fail(L, x);
    status = add_rejects(L, x);
    if (status == LB_OK)
        status = lb_plan_execute(x->plan, x->run, &x->err);
    if (status == LB_RESTART)
        return raise_restart(L, listener.function - 1, x);
    if (status == LB_OK)
        push_results(L, x);
    tell_run(L, info, x);
    tell_end(L, info, x);
    if (status != LB_OK)
        tell_call(L, info, x);
    if (status != LB_OK)
        return fail(L, x);
    lua_pushvalue(L, info);
    close_run(x);
    lb_buf_fini(&x->bytes);
    return 2;
}

int lb_lua_describe(lua_State *L)
{
    lua_settop(L, 1);
    struct execution *x = push_execution(L);
    if (open_plan(L, x) != LB_OK || lb_plan_describe(x->plan, &x->bytes, &x->err) != LB_OK)
        return fail(L, x);
    lua_pushlstring(L, x->bytes.data, x->bytes.size);
    close_plan(x);
    lb_buf_fini(&x->bytes);
    return 1;
}
