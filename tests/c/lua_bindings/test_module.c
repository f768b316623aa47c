/* The module in several Lua states of one process: side by side, one after the other, on two threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>

#include "lua_bindings/compat.h"
#include "luabatch.h"

static lua_State *open_state(void)
{
    lua_State *L = luaL_newstate();
    assert_non_null(L);
    luaL_openlibs(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, luaopen_luabatch_core);
    lua_setfield(L, -2, "luabatch.core");
    lua_pop(L, 1);
    int status =
        luaL_dostring(L, "package.path = 'lib/lua/?.lua;lib/lua/?/init.lua;' .. package.path");
    assert_int_equal(status, LUA_OK);
    return L;
}

static lua_Integer evaluate(lua_State *L, const char *code)
{
    if (luaL_dostring(L, code) != LUA_OK)
        fail_msg("%s", luaL_tolstring(L, -1, NULL));
    lua_Integer result = lua_tointeger(L, -1);
    lua_settop(L, 0);
    return result;
}

static const char job[] = "local lb, k = require 'luabatch', 3\n"
                          "return lb.range(10000):map(function(n) return n % 7, n * k end)\n"
                          "  :reduce_by_key(function(a, b) return a + b end):values():sum()";

static void test_states_side_by_side(void **state)
{
    (void)state;
    lua_State *a = open_state(), *b = open_state();
    assert_int_equal(evaluate(a, job), 150015000);
    assert_int_equal(evaluate(b, job), 150015000);
    assert_int_equal(evaluate(b, "kept = require('luabatch').range(5):cache() return kept:count()"),
                     5);
    lua_close(a);
    assert_int_equal(evaluate(b, "return kept:sum()"), 15);
    lua_close(b);
    for (int i = 0; i < 3; i++) {
        a = open_state();
        assert_int_equal(evaluate(a, job), 150015000);
        lua_close(a);
    }
}

static void *run_thread(void *result)
{
    lua_State *L = open_state();
    for (int i = 0; i < 5; i++)
        *(lua_Integer *)result += evaluate(L, job);
    lua_close(L);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* libuv is not instrumented: a descriptor that it closed seems to be still in use when it is given out again */
#endif
    pthread_t threads[3];
    lua_Integer results[3] = {0};
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_thread, &results[i]), 0);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(results[i], 5 * 150015000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_states_side_by_side),
                                       cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
