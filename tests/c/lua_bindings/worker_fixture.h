/* A worker without an engine: a user's Lua state, a run of one worker, and that worker's Lua state. */
#ifndef LB_TESTS_WORKER_FIXTURE_H
#define LB_TESTS_WORKER_FIXTURE_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "../support/support.h"

#include "core/base/budget.h"
#include "core/base/buf.h"
#include "lua_bindings/worker.h"
#include "luabatch.h"

struct fixture {
    lua_State *user;
    struct lb_budget budget;
    struct lb_run run;
    struct lb_worker worker;
    struct lb_lua_worker *lua;
    struct lb_error err;
};

static inline lua_State *fixture_open_user(void)
{
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    luaL_requiref(L, "luabatch.core", luaopen_luabatch_core, 0);
    lua_settop(L, 0);
    return L;
}

/* Starts the worker from the user's state as it is now. */
static inline lb_status fixture_start(struct fixture *f, size_t memory_bytes)
{
    lb_budget_init(&f->budget, memory_bytes);
    f->run = (struct lb_run){.budget = &f->budget};
    f->run.options.memory_bytes = memory_bytes;
    f->run.options.n_threads = 1;
    f->worker = (struct lb_worker){.run = &f->run};
    lb_status status = lb_lua_host_init(f->user, &f->run.options.host, NULL, &f->err);
    if (status == LB_OK)
        status = lb_lua_worker(&f->worker, &f->lua, &f->err);
    return status;
}

static inline void fixture_stop(struct fixture *f)
{
    if (f->worker.host_state != NULL)
        f->run.options.host.worker_stop(&f->worker, f->worker.host_state);
    f->worker.host_state = NULL;
    if (f->run.options.host.state != NULL)
        lb_lua_host_fini(&f->run.options.host);
    assert_int_equal(f->budget.used_bytes, 0);
}

/* Calls the chunk in the worker; its results stay on the stack. */
static inline lb_status fixture_call(struct fixture *f, const char *chunk, int n_results,
                                     const struct lb_lua_place *place)
{
    int status = luaL_loadbuffer(f->lua->L, chunk, strlen(chunk), "@job.lua");
    if (status != LUA_OK)
        fail_msg("%s", lua_tostring(f->lua->L, -1));
    return lb_lua_call(f->lua, 0, n_results, place, &f->err);
}

#endif
