/* A worker's Lua state: opening, closing, and what it takes over from the state that started the run.
 *
 * CALLS  lb_lua_host_init; per worker thread: worker_start, (calls)*, worker_stop; lb_lua_host_fini.
 * MEMORY The heap (heap.h) reserves in the run's budget. Lua's collector runs incrementally with a long
 *        pause while the heap is small: what user functions make is mostly garbage, and letting a few
 *        megabytes of it pile up costs less than marking the same live data over and over. A large heap
 *        gets the usual pause. When the budget refuses, Lua collects everything before it gives up.
 * THREADS The host's copies are made before the run and only read by workers.
 * WHY NOT malloc: making and dropping a million small tables, closures or strings takes 50, 57 and 173 ns
 *        each with the heap, 70, 76 and 177 ns with malloc, which also could not be accounted for exactly.
 * WHY NOT a pause of 1000: the garbage outgrows the cache (460 ns a string instead of 173).
 * WHY NOT the generational mode: with 25 MB of live data it is twice as fast (0.75 s against 1.45 s for two
 *        million strings), with little live data no faster; it is the younger code, so it must prove itself
 *        first. */
#include "lua_bindings/worker.h"
#include "lua_bindings/commands.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/replay.h"
#include "lua_bindings/safe.h"
#include "lua_bindings/salt.h"

#include <string.h>

#include "core/base/buf.h"
#include "core/base/jail.h"
#include "core/base/meter.h"
#include "core/base/sys.h"
#include "lua_bindings/ship_private.h"
#include "lua_bindings/strings.h"
#include "lua_bindings/worker_private.h"
#include "luabatch.h"

enum {
    HEAP_MINIMUM_BYTES = 4 << 20,
    SMALL_HEAP_BYTES = HEAP_MINIMUM_BYTES, /* up to here the collector takes its time */
    SMALL_HEAP_PAUSE = 400,
    LARGE_HEAP_PAUSE = 200,
    STEP_MULTIPLIER = 200
};

/* An entry of package.preload. */
struct preload {
    char *name;
    lua_CFunction function; /* or, when NULL: */
    struct lb_buf bytecode; /* of a Lua function that captures nothing */
};

struct lua_host {
    char *path; /* package.path, package.cpath */
    char *cpath;
    struct lb_buf options; /* encoded, empty: none */
    struct preload *preloads;
    size_t n_preloads;
    size_t capacity; /* of preloads */
    struct lb_lua_sample_sum *samples;
    struct lb_lua_calls *calls;
};

static const char worker_key = 'w';

struct lb_lua_worker_private *lb_lua_worker_of(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &worker_key);
    struct lb_lua_worker_private *p = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return p;
}

/* The host */

static int append_bytes(lua_State *L, const void *data, size_t size, void *out)
{
    (void)L;
    return lb_buf_append(out, data, size, NULL) != LB_OK;
}

/* Takes over the preload entry (name, function) on top of the stack. Functions with captured values other
 * than the globals are left out: require then looks for a file. */
static lb_status add_preload(lua_State *L, struct lua_host *host, struct lb_error *err)
{
    if (lua_type(L, -2) != LUA_TSTRING || !lb_lua_is_copyable_preload(L, -1))
        return LB_OK;
    if (host->n_preloads == host->capacity) {
        size_t capacity = host->capacity > 0 ? host->capacity * 2 : 16;
        struct preload *grown =
            lb_realloc(host->preloads, host->capacity * sizeof *grown, capacity * sizeof *grown);
        if (grown == NULL)
            return lb_error_memory(err, "package.preload", capacity * sizeof *grown);
        host->preloads = grown;
        host->capacity = capacity;
    }
    struct preload *entry = &host->preloads[host->n_preloads];
    *entry = (struct preload){.name = lb_strdup(lua_tostring(L, -2)),
                              .function = lua_tocfunction(L, -1)};
    if (entry->name == NULL)
        return lb_error_memory(err, "package.preload", 0);
    host->n_preloads++;
    if (entry->function == NULL && lua_dump(L, append_bytes, &entry->bytecode, 0) != 0)
        return lb_error_memory(err, "package.preload", 0);
    return LB_OK;
}

/* The string field `name` of the table on top; NULL when it is none. */
static lb_status copy_field(lua_State *L, const char *name, char **copy, struct lb_error *err)
{
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    *copy = text != NULL ? lb_strdup(text) : NULL;
    lua_pop(L, 1);
    if (text != NULL && *copy == NULL)
        return lb_error_memory(err, name, strlen(text));
    return LB_OK;
}

static lb_status copy_package(lua_State *L, struct lua_host *host, struct lb_error *err)
{
    LB_TRY(copy_field(L, "path", &host->path, err));
    LB_TRY(copy_field(L, "cpath", &host->cpath, err));
    lua_pushliteral(L, "preload");
    lua_rawget(L, -2);
    if (!lua_istable(L, -1))
        return LB_OK;
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        LB_TRY(add_preload(L, host, err));
        lua_pop(L, 1);
    }
    return LB_OK;
}

struct copy_request {
    struct lua_host *host;
    struct lb_error *err;
    lb_status status;
};

static int l_copy_main_state(lua_State *L)
{
    struct copy_request *request = lua_touserdata(L, 1);
    struct lua_host *host = request->host;
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, LUA_LOADLIBNAME);
    if (lua_istable(L, -1))
        request->status = copy_package(L, host, request->err);
    if (request->status != LB_OK)
        return 0;
    if (lua_getfield(L, LUA_REGISTRYINDEX, LB_LUA_OPTIONS_FIELD) == LUA_TSTRING) {
        size_t size;
        const char *data = lua_tolstring(L, -1, &size);
        request->status = lb_buf_append(&host->options, data, size, request->err);
    }
    return 0;
}

static void host_delete(struct lua_host *host)
{
    for (size_t i = 0; i < host->n_preloads; i++) {
        lb_strfree(host->preloads[i].name);
        lb_buf_fini(&host->preloads[i].bytecode);
    }
    lb_lua_calls_delete(host->calls);
    lb_free(host->preloads, host->capacity * sizeof *host->preloads);
    lb_buf_fini(&host->options);
    lb_strfree(host->path);
    lb_strfree(host->cpath);
    lb_free(host, sizeof *host);
}

/* Opening */

static int l_no_exit(lua_State *L)
{
    return luaL_error(L, "os.exit cannot be called in a function that runs in a worker");
}

static void set_package_field(lua_State *L, const char *name, const char *value)
{
    if (value != NULL) {
        lua_pushstring(L, value);
        lua_setfield(L, -2, name);
    }
}

static int l_open_state(lua_State *L)
{
    const struct lua_host *host = lua_touserdata(L, 1);
    struct lb_lua_worker_private *p = lua_touserdata(L, 2);
    lua_pushlightuserdata(L, p);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &worker_key);
    luaL_openlibs(L);
    lb_lua_open_missing(L);
    lb_lua_open_strings(L);
    lb_lua_open_commands(L);
    lb_lua_open_coroutines(L);
    lb_lua_open_debug(L);
    lua_getglobal(L, LUA_OSLIBNAME);
    lua_pushcfunction(L, l_no_exit);
    lua_setfield(L, -2, "exit");

    lua_getglobal(L, LUA_LOADLIBNAME);
    set_package_field(L, "path", host->path);
    set_package_field(L, "cpath", host->cpath);
    lua_getfield(L, -1, "preload");
    for (size_t i = 0; i < host->n_preloads; i++) {
        const struct preload *entry = &host->preloads[i];
        if (entry->function != NULL)
            lua_pushcfunction(L, entry->function);
        else if (luaL_loadbufferx(L, entry->bytecode.data, entry->bytecode.size, entry->name,
                                  "b") != LUA_OK)
            return lua_error(L);
        lua_setfield(L, -2, entry->name);
    }
    lua_pushcfunction(L, luaopen_luabatch_core);
    lua_setfield(L, -2, "luabatch.core");
    if (host->options.size > 0) {
        lua_pushlstring(L, host->options.data, host->options.size);
        lua_setfield(L, LUA_REGISTRYINDEX, LB_LUA_OPTIONS_FIELD);
    }
    if (lb_jail_is_closed())
        lb_lua_make_safe(L);
    lua_settop(L, 0);
    lb_lua_set_pause(L, SMALL_HEAP_PAUSE, STEP_MULTIPLIER);
    return 0;
}

void lb_lua_tune_collector(struct lb_lua_worker_private *p)
{
#if LB_LUAJIT
    if (__builtin_expect(lb_lua_heap_wants_collection(p->heap), 0))
        lua_gc(p->public.L, LUA_GCCOLLECT, 0);
#endif
    bool is_small = p->public.heap_bytes <= SMALL_HEAP_BYTES;
    if (__builtin_expect(is_small == p->has_small_heap, 1))
        return;
    p->has_small_heap = is_small;
    lb_lua_set_pause(p->public.L, is_small ? SMALL_HEAP_PAUSE : LARGE_HEAP_PAUSE, STEP_MULTIPLIER);
}

static void stop_worker(struct lb_worker *worker, void *worker_state)
{
    const struct lua_host *host = worker->run->options.host.state;
    struct lb_lua_worker_private *p = worker_state;
    lb_meter_count_gc(false);
    lb_lua_sampler_stop(p->sampler, host->samples);
    lb_lua_interrupt_fini();
    if (p->public.L != NULL)
        lua_close(p->public.L);
    lb_lua_heap_delete(p->heap);
    lb_lua_counters_fini(p);
    lb_free(p, sizeof *p);
}

static lb_status start_worker(struct lb_worker *worker, void **worker_state, struct lb_error *err)
{
    struct lua_host *host = worker->run->options.host.state;
    struct lb_lua_worker_private *p = lb_alloc_zero(sizeof *p);
    if (p == NULL)
        return lb_error_memory(err, "the Lua state of a worker", sizeof *p);
    p->public.worker = worker;
    p->public.private = p;
    p->has_small_heap = true;
    p->calls = host->calls;
    lb_meter_count_gc(worker->run->options.meters_gc);
    lb_status status = lb_lua_interrupt_init(p, err);
    if (status == LB_OK && host->samples != NULL)
        status = lb_lua_sample_start(p, err);
    if (status == LB_OK)
        status = lb_lua_heap_new(worker->run->budget, HEAP_MINIMUM_BYTES, &p->public.heap_bytes,
                                 &p->heap, err);
    if (status != LB_OK)
        goto fail;
    lua_State *L = lua_newstate(lb_lua_heap_alloc, p->heap);
    if (L == NULL) {
        status = lb_error_memory(err, "the Lua state of a worker", HEAP_MINIMUM_BYTES);
        goto fail;
    }
    p->public.L = L;
#if !LB_LUAJIT
    memcpy(lua_getextraspace(L), &p, sizeof p);
#endif
    lua_pushcfunction(L, l_open_state);
    lua_pushlightuserdata(L, host);
    lua_pushlightuserdata(L, p);
    int lua_status = lua_pcall(L, 2, 0, 0);
    if (lua_status != LUA_OK) {
        const char *message =
            lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "unknown error";
        status = lb_error_set(err, lua_status == LUA_ERRMEM ? LB_ERR_RESOURCE : LB_ERR_INTERNAL,
                              "cannot start the Lua state of a worker: %s", message);
        goto fail;
    }
    *worker_state = p;
    return LB_OK;

fail:
    stop_worker(worker, p);
    return status;
}

static void interrupt_worker(struct lb_worker *worker, void *worker_state)
{
    (void)worker;
    lb_lua_interrupt(worker_state);
}

static bool watch_worker(struct lb_worker *worker, void *worker_state, struct lb_error *err)
{
    return lb_lua_watch(worker_state, worker->run->options.record_timeout_ns, err);
}

static void commit_morsel(struct lb_worker *worker, void *worker_state)
{
    (void)worker;
    lb_lua_counters_commit(worker_state);
}

lb_status lb_lua_host_init(lua_State *L, struct lb_host *host, struct lb_lua_sample_sum *samples,
                           struct lb_error *err)
{
    struct lua_host *state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, "a run", sizeof *state);
    state->samples = samples;
    struct copy_request request = {.host = state, .err = err, .status = LB_OK};
    if (!lua_checkstack(L, 3)) {
        host_delete(state);
        return lb_error_memory(err, "the Lua stack", 0);
    }
    lua_pushcfunction(L, l_copy_main_state);
    lua_pushlightuserdata(L, &request);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        lua_pop(L, 1);
        request.status = lb_error_memory(err, "the settings of a run", 0);
    }
    if (request.status != LB_OK) {
        host_delete(state);
        return request.status;
    }
    *host = (struct lb_host){.state = state,
                             .worker_start = start_worker,
                             .worker_stop = stop_worker,
                             .worker_interrupt = interrupt_worker,
                             .worker_watch = watch_worker,
                             .morsel_commit = commit_morsel,
                             .salt_open = lb_lua_salt_open,
                             .salt_ask = lb_lua_salt_ask,
                             .salt_close = lb_lua_salt_close};
    return LB_OK;
}

lb_status lb_lua_host_keep_calls(struct lb_host *host, struct lb_error *err)
{
    struct lua_host *state = host->state;
    state->calls = lb_lua_calls_new();
    return state->calls != NULL ? LB_OK : lb_error_memory(err, "calls that fail", 0);
}

bool lb_lua_host_find_call(const struct lb_host *host, uint32_t number, const struct lb_buf **plan,
                           bool *is_cut)
{
    const struct lua_host *state = host->state;
    return lb_lua_calls_find(state->calls, number, plan, is_cut);
}

void lb_lua_host_fini(struct lb_host *host)
{
    if (host->state != NULL)
        host_delete(host->state);
    host->state = NULL;
}

lb_status lb_lua_worker(struct lb_worker *worker, struct lb_lua_worker **lua, struct lb_error *err)
{
    void *state = NULL;
    LB_TRY(lb_worker_host(worker, &state, err));
    *lua = &((struct lb_lua_worker_private *)state)->public;
    return LB_OK;
}
