/* The attempts of a run as a Lua value: see attempts.h. */
#include "lua_bindings/attempts.h"

#include "core/exec/run.h"
#include "core/ops/rejects.h"
#include "lua_bindings/errors.h"
#include "lua_bindings/execute.h"

#define ATTEMPTS_TYPE "luabatch.attempts"

struct holder {
    struct lb_attempts attempts;
    bool is_open;
};

struct lb_attempts *lb_lua_to_attempts(lua_State *L, int index)
{
    struct holder *holder = luaL_checkudata(L, index, ATTEMPTS_TYPE);
    if (!holder->is_open)
        luaL_error(L, "the attempts are closed");
    return &holder->attempts;
}

static int l_attempts_begin(lua_State *L)
{
    struct lb_attempts *attempts = lb_lua_to_attempts(L, 1);
    attempts->number = (uint32_t)luaL_checkinteger(L, 2);
    lb_attempts_keep_rejects(attempts, NULL);
    return 0;
}

struct writing {
    struct lb_rejects *rejects;
    struct lb_run *run;
};

static lb_status write_all(void *argument, struct lb_error *err)
{
    struct writing *writing = argument;
    return lb_rejects_write(writing->rejects, writing->run, err);
}

/* Their readers may let them wait: a run without stages hears signals meanwhile, and says in `stop` by what it was stopped, also when all
 * is written. */
static lb_status write_in_run(struct lb_rejects *rejects, const struct lb_run_options *options,
                              struct lb_error *stop, struct lb_error *err)
{
    struct writing writing = {.rejects = rejects};
    LB_TRY(lb_run_new(options, &writing.run, err));
    lb_status status = lb_run_aside(writing.run, write_all, &writing, err);
    stop->status = LB_OK;
    if (lb_run_has_stopped(writing.run, stop) && status != LB_OK)
        *err = *stop;
    lb_run_delete(writing.run);
    return status;
}

/* attempts:write_rejects(options, moved) writes the files of records that the last attempt left out, one too many, in a run with these options
 * (of core.execute); gives the list of their paths and, if a signal came meanwhile, the status for that. moved[path] is where what was
 * to go to a path goes instead. */
static int l_attempts_write_rejects(lua_State *L)
{
    struct lb_attempts *attempts = lb_lua_to_attempts(L, 1);
    struct lb_run_options options = {0};
    struct lb_lua_farewell farewell;
    struct lb_error stop = {0}, err;
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    lua_newtable(L);
    lua_Integer n = 0;
    for (struct lb_rejects *r = attempts->rejects; r != NULL; r = lb_rejects_next(r)) {
        if (lua_getfield(L, 3, lb_rejects_path(r)) == LUA_TSTRING &&
            lb_rejects_redirect(r, lua_tostring(L, -1), &err) != LB_OK)
            return lb_lua_raise(L, &err);
        lua_pop(L, 1);
        lua_pushstring(L, lb_rejects_path(r));
        lua_rawseti(L, 4, ++n);
    }
    if (attempts->rejects != NULL) {
        lb_lua_read_run_options(L, &options);
        options.n_threads = 1;
        lb_lua_read_farewell(L, &options.host, &farewell);
        if (write_in_run(attempts->rejects, &options, &stop, &err) != LB_OK)
            return lb_lua_raise(L, &err);
    }
    lua_settop(L, 4);
    if (stop.status == LB_OK)
        return 1;
    lua_pushinteger(L, stop.status);
    return 2;
}

/* Also __gc. */
static int l_attempts_close(lua_State *L)
{
    struct holder *holder = luaL_checkudata(L, 1, ATTEMPTS_TYPE);
    if (holder->is_open)
        lb_attempts_fini(&holder->attempts);
    holder->is_open = false;
    return 0;
}

static const luaL_Reg methods[] = {{"begin", l_attempts_begin},
                                   {"write_rejects", l_attempts_write_rejects},
                                   {"close", l_attempts_close},
                                   {NULL, NULL}};

int lb_lua_attempts(lua_State *L)
{
    struct holder *holder = lua_newuserdatauv(L, sizeof *holder, 0);
    holder->is_open = false;
    if (luaL_newmetatable(L, ATTEMPTS_TYPE)) {
        lua_pushcfunction(L, l_attempts_close);
        lua_setfield(L, -2, "__gc");
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
    lb_attempts_init(&holder->attempts);
    holder->is_open = true;
    return 1;
}
