/* Lua values through codec bytes and columns and back, and what is refused. */
#include "../support/support.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "core/column/codec.h"
#include "lua_bindings/values.h"

static struct lb_error err;

/* Pushes a random value; shares nothing. */
static void push_random(lua_State *L, int depth)
{
    luaL_checkstack(L, 10, NULL);
    switch (random_below(depth < 4 ? 9 : 7)) {
    case 0:
        lua_pushnil(L);
        return;
    case 1:
        lua_pushboolean(L, (int)random_below(2));
        return;
    case 2:
        lua_pushinteger(L, (lua_Integer)(random_bits() >> random_below(64)));
        return;
    case 3:
        lua_pushnumber(L, (double)(int64_t)random_bits() / (1 + random_below(1000)));
        return;
    case 4:
        lua_pushnumber(L, (double)random_below(5)); /* 2.0 must not become 2 */
        return;
    case 5:
    case 6: {
        char text[40];
        size_t size = random_below(sizeof text);
        for (size_t i = 0; i < size; i++)
            text[i] = (char)random_below(256);
        lua_pushlstring(L, text, size);
        return;
    }
    case 7: {
        lua_newtable(L);
        int n = (int)random_below(8);
        bool backwards = random_below(2) == 0;
        for (int i = 1; i <= n; i++) {
            push_random(L, depth + 1);
            if (lua_isnil(L, -1)) {
                lua_pop(L, 1);
                lua_pushboolean(L, 1);
            }
            lua_rawseti(L, -2, backwards ? n + 1 - i : i);
        }
        return;
    }
    default: {
        lua_newtable(L);
        uint32_t n = random_below(random_below(10) == 0 ? 100 : 8);
        for (uint32_t i = 0; i < n; i++) {
            lua_pushfstring(L, "k%d", (int)random_below(1000));
            push_random(L, depth + 1);
            lua_rawset(L, -3);
        }
        return;
    }
    }
}

static bool same(lua_State *L, int a, int b)
{
    if (lua_type(L, a) != lua_type(L, b))
        return false;
    if (lua_type(L, a) == LUA_TNUMBER)
        return lua_isinteger(L, a) == lua_isinteger(L, b) && lua_compare(L, a, b, LUA_OPEQ);
    if (lua_type(L, a) != LUA_TTABLE)
        return lua_rawequal(L, a, b);
    luaL_checkstack(L, 10, NULL);
    int n = 0;
    lua_pushnil(L);
    while (lua_next(L, a) != 0) {
        lua_pushvalue(L, -2);
        lua_rawget(L, b);
        if (!same(L, lua_gettop(L) - 1, lua_gettop(L)))
            return false;
        lua_pop(L, 2);
        n++;
    }
    lua_pushnil(L);
    while (lua_next(L, b) != 0) {
        lua_pop(L, 1);
        n--;
    }
    return n == 0;
}

static void test_round_trips(void **state)
{
    (void)state;
    random_start("values");
    lua_State *L = luaL_newstate();
    struct lb_buf bytes = {0};
    for (int i = 0; i < 20000; i++) {
        lua_settop(L, 0);
        push_random(L, 0);
        bytes.size = 0;
        assert_int_equal(lb_lua_encode(L, 1, "value", &bytes, &err), LB_OK);
        assert_int_equal(lua_gettop(L), 1);
        assert_int_equal(lb_codec_verify(bytes.data, bytes.size, &err), LB_OK);
        lb_lua_push_encoded(L, bytes.data, bytes.size);
        assert_int_equal(lua_gettop(L), 2);
        assert_true(same(L, 1, 2));
        const char *cursor = bytes.data;
        lb_lua_push_next(L, &cursor);
        assert_ptr_equal(cursor, bytes.data + bytes.size);
    }
    lb_buf_fini(&bytes);
    lua_close(L);
}

static void test_columns(void **state)
{
    (void)state;
    random_start("columns");
    lua_State *L = luaL_newstate();
    struct lb_builder builder;
    lb_builder_init(&builder);
    for (int round = 0; round < 300; round++) {
        lua_settop(L, 0);
        luaL_checkstack(L, 100, NULL);
        lb_builder_reset(&builder);
        int n = 1 + (int)random_below(LB_BATCH_ROWS < 40 ? LB_BATCH_ROWS : 40);
        bool is_mixed = random_below(2) == 0;
        for (int i = 1; i <= n; i++) {
            if (is_mixed)
                push_random(L, 2);
            else if (random_below(5) == 0)
                lua_pushnil(L);
            else
                lua_pushinteger(L, i);
            assert_int_equal(lb_lua_append(L, -1, "value", &builder, &err), LB_OK);
        }
        struct lb_column column = lb_builder_finish(&builder);
        for (int i = 1; i <= n; i++) {
            lb_lua_push_column(L, &column, (uint32_t)i - 1);
            assert_true(same(L, i, n + 1));
            lua_settop(L, n);
        }
    }
    lb_builder_fini(&builder);
    lua_close(L);
}

/* table["name i"] = i, or nil. */
static void set_field(lua_State *L, int table, const char *name, int i, bool remove)
{
    lua_pushfstring(L, "%s %d", name, i);
    if (remove)
        lua_pushnil(L);
    else
        lua_pushinteger(L, i);
    lua_rawset(L, table);
}

static void test_equal_maps_have_equal_bytes(void **state)
{
    (void)state;
    random_start("maps");
    lua_State *L = luaL_newstate();
    struct lb_buf a = {0}, b = {0};
    for (int round = 0; round < 200; round++) {
        lua_settop(L, 0);
        lua_newtable(L);
        lua_newtable(L);
        int n = (int)random_below(60);
        int step = 1 + 2 * (int)random_below(20);
        for (int i = 0; i < n; i++)
            set_field(L, 1, "key", i, false);
        for (int i = 0; i < n; i++) { /* the same in another order, with some churn */
            set_field(L, 2, "key", n - 1 - i, false);
            set_field(L, 2, "gone", step * i, false);
        }
        for (int i = 0; i < n; i++)
            set_field(L, 2, "gone", step * i, true);
        a.size = b.size = 0;
        assert_int_equal(lb_lua_encode(L, 1, "a", &a, &err), LB_OK);
        assert_int_equal(lb_lua_encode(L, 2, "b", &b, &err), LB_OK);
        assert_int_equal(a.size, b.size);
        assert_memory_equal(a.data, b.data, a.size);
    }
    lb_buf_fini(&a);
    lb_buf_fini(&b);
    lua_close(L);
}

static void test_refusals(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"print", "value is a function"},
        {"{items = {1, 2, {callback = print}}}", "value.items[3].callback is a function"},
        {"{['odd key'] = coroutine.create(print)}", "value[\"odd key\"] is a coroutine"},
        {"{a = io.stdout}", "value.a is a userdata"},
        {"{a = setmetatable({}, {})}", "value.a has a metatable"},
        {"setmetatable({}, {})", "value has a metatable"},
        {"(function() local t = {x = {}} t.x.y = t return t end)()",
         "value.x.y is a table that contains itself"},
        {"{a = {1, 2, x = 3}}", "value.a mixes list elements and string keys"},
        {"{x = 3, [1] = 1}", "value mixes list elements and string keys"},
        {"{[1.5] = 1}",
         "value has the number 1.5 as a key: only lists 1..n and string keys can be stored"},
        {"{[0] = 1}",
         "value has the number 0 as a key: only lists 1..n and string keys can be stored"},
        {"{a = {[true] = 1}}",
         "value.a has a boolean as a key: only lists 1..n and string keys can be stored"},
        {"{[1] = 1, [1000000] = 2}", "value is a list with large gaps: use strings as keys"},
        {"(function() local t = 1 for i = 1, 101 do t = {t} end return t end)()", NULL},
    };
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    struct lb_buf bytes = {0};
    struct lb_builder builder;
    lb_builder_init(&builder);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lua_settop(L, 0);
        lua_pushfstring(L, "return %s", cases[i][0]);
        if (luaL_dostring(L, lua_tostring(L, 1)) != LUA_OK)
            fail_msg("%s", lua_tostring(L, -1));
        for (int way = 0; way < 2; way++) {
            lb_status status = way == 0 ? lb_lua_encode(L, 2, "value", &bytes, &err)
                                        : lb_lua_append(L, 2, "value", &builder, &err);
            assert_int_equal(status, LB_ERR_USER);
            if (cases[i][1] != NULL)
                assert_string_equal(err.message, cases[i][1]);
            else
                assert_non_null(strstr(err.message, "is nested more than 100 tables deep"));
            assert_int_equal(lua_gettop(L), 2);
        }
    }
    /* Shared, not cyclic; holes; 100 deep. */
    assert_int_equal(luaL_dostring(L, "local s = {1} local t = {s, nil, s, nil, {}} local d = 1\n"
                                      "for i = 1, 100 do d = {d} end return t, d"),
                     LUA_OK);
    assert_int_equal(lb_lua_encode(L, -2, "value", &bytes, &err), LB_OK);
    assert_int_equal(lb_lua_encode(L, -1, "value", &bytes, &err), LB_OK);
    lb_builder_fini(&builder);
    lb_buf_fini(&bytes);
    lua_close(L);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    lua_State *L = luaL_newstate();
    assert_int_equal(
        luaL_dostring(L, "local t = {} for i = 1, 40 do t['k' .. i * 7 % 41] = {i, {x = i}} end\n"
                         "return t"),
        LUA_OK);
    bool reached = true;
    for (long n = 0; reached; n++) {
        checked_start(n);
        struct lb_buf bytes = {0};
        lb_status status = lb_lua_encode(L, 1, "value", &bytes, &err);
        lb_buf_fini(&bytes);
        reached = checked_stop();
        assert_int_equal(status, reached ? LB_ERR_RESOURCE : LB_OK);
        assert_int_equal(lua_gettop(L), 1);
    }
    lua_close(L);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_equal_maps_have_equal_bytes),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
