/* The user's function of a key that says into how many pieces its records go; see lb_host in ops/context.h. */
#include "lua_bindings/salt.h"

#include <limits.h>
#include <stdio.h>

#include "core/base/sys.h"
#include "core/ops/op.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/task.h"

struct salt {
    struct lb_lua_task task;
    const char *key; /* asked about, encoded */
    uint32_t n_pieces;
};

lb_status lb_lua_salt_open(struct lb_worker *worker, const struct lb_value *params,
                           const char *label, void **out, struct lb_error *err)
{
    static const struct lb_lua_functions functions = {{"salt"}, 1};
    struct salt *salt = lb_alloc_zero(sizeof *salt);
    if (salt == NULL)
        return lb_error_memory(err, label, sizeof *salt);
    char of[200];
    snprintf(of, sizeof of, "salt of %s", label);
    lb_status status = lb_lua_task_init(&salt->task, worker, params, of, &functions, NULL, err);
    if (status != LB_OK) {
        lb_lua_salt_close(salt);
        return status;
    }
    salt->task.skips = false; /* that is about records */
    *out = salt;
    return LB_OK;
}

void lb_lua_salt_close(void *own)
{
    struct salt *salt = own;
    lb_lua_task_fini(&salt->task);
    lb_free(salt, sizeof *salt);
}

static int l_salt_ask(lua_State *L)
{
    struct salt *salt = lua_touserdata(L, 1);
    const char *cursor = salt->key;
    lb_lua_task_push(&salt->task, L, LB_SLOT_FUNCTION);
    lb_lua_push_next(L, &cursor);
    lb_lua_task_call_strictly(&salt->task, L, 1, 1);
    int is_integer = 0;
    lua_Integer n = lua_tointegerx(L, -1, &is_integer);
    bool is_number = lua_type(L, -1) == LUA_TNUMBER && is_integer;
    if (lua_isnil(L, -1))
        n = 0;
    else if (!is_number || n < 1)
        return luaL_error(L, "the function gave %s; a whole number of at least 1, or nil, expected",
                          luaL_tolstring(L, -1, NULL));
    salt->n_pieces = n > INT_MAX ? INT_MAX : (uint32_t)n;
    return 0;
}

lb_status lb_lua_salt_ask(void *own, const char *key, size_t size, uint32_t *n_pieces,
                          struct lb_error *err)
{
    struct salt *salt = own;
    salt->key = key;
    salt->task.place.key = key;
    salt->task.place.key_size = size;
    LB_TRY(lb_lua_task_run(&salt->task, l_salt_ask, salt, err));
    *n_pieces = salt->n_pieces;
    return LB_OK;
}
