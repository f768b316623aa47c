/* Shipping functions to a worker's state: round trips, refusals, bytecode, and functions with known meaning. */
#include "worker_fixture.h"

#include "lua_bindings/bytecode.h"
#include "lua_bindings/ship.h"

static int l_unship(lua_State *L)
{
    const struct lb_buf *bytes = lua_touserdata(L, 1);
    struct lb_error err;
    if (lb_lua_unship(L, bytes->data, bytes->size, &err) != LB_OK)
        return luaL_error(L, "%s", err.message);
    return 1;
}

/* Runs the chunk in the user's state; what it returns is shipped and called in the worker, with the
 * arguments 1, 2, 3. The result, as text, is on the worker's stack. */
static const char *ship_and_call(struct fixture *f, const char *chunk)
{
    lua_State *L = f->user;
    lua_settop(L, 0);
    if (luaL_loadbuffer(L, chunk, strlen(chunk), "@job.lua") != LUA_OK ||
        lua_pcall(L, 0, 1, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    struct lb_buf bytes = {0};
    if (lb_lua_ship(L, -1, "map", &bytes, &f->err) != LB_OK) {
        lb_buf_fini(&bytes);
        return f->err.message;
    }
    assert_int_equal(lua_gettop(L), 1);
    lua_State *W = f->lua->L;
    lua_settop(W, 0);
    lua_pushcfunction(W, l_unship);
    lua_pushlightuserdata(W, &bytes);
    lb_status status = lb_lua_call(f->lua, 1, 1, NULL, &f->err);
    lb_buf_fini(&bytes);
    if (status != LB_OK)
        return f->err.message;
    for (int i = 1; i <= 3; i++)
        lua_pushinteger(W, i);
    if (lb_lua_call(f->lua, 3, 1, NULL, &f->err) != LB_OK)
        return f->err.message;
    luaL_tolstring(W, -1, NULL);
    return lua_tostring(W, -1);
}

static struct fixture fixture;

static int setup(void **state)
{
    (void)state;
    memset(&fixture, 0, sizeof fixture);
    fixture.user = fixture_open_user();
    luaL_getsubtable(fixture.user, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    const char *module = "local m = {inner = {}} local calls = 0\n"
                         "function m.count() calls = calls + 1 return calls end\n"
                         "function m.inner.twice(x) return 2 * x end\n"
                         "m.data = {10, 20} return m";
    assert_int_equal(luaL_loadbuffer(fixture.user, module, strlen(module), "@mod.lua"), LUA_OK);
    lua_setfield(fixture.user, -2, "mod");
    lua_settop(fixture.user, 0);
    if (fixture_start(&fixture, 256 << 20) != LB_OK)
        fail_msg("%s", fixture.err.message);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_stop(&fixture);
    lua_close(fixture.user);
    return 0;
}

static void test_round_trips(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"return function(a, b) return a + b end", "3"},
        {"local n, s, b, x = 5, 'five', true, nil\n"
         "return function() return n .. s .. tostring(b) .. tostring(x) end",
         "5fivetruenil"},
        {"local i, d = 1 << 62, 0.1 return function() return math.type(i) .. math.type(d) .. i .. "
         "d end",
         "integerfloat46116860184273879040.1"},
        {"return function(...) return select('#', ...) end", "3"},
        {"local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end\n"
         "return function() return fib(15) end",
         "610"},
        {"local even local function odd(n) if n == 0 then return false end return even(n - 1) end\n"
         "function even(n) if n == 0 then return true end return odd(n - 1) end\n"
         "return function() return even(100) end",
         "true"},
        {"function helper(x) return other(x) + offset end function other(x) return x * 10 end "
         "offset = 4\n"
         "return function(x) return helper(x) end",
         "14"},
        {"config = {list = {1, 2, {deep = 'yes'}}, f = function(x) return x + 1 end}\n"
         "return function(x) return config.list[3].deep .. config.f(x) end",
         "yes2"},
        {"local t = {} t.self = t t.list = {t, t} t[t] = 1\n"
         "return function() return t.self == t and t.list[2] == t and t[t] == 1 end",
         "true"},
        {"local shared = {n = 0} local function bump() shared.n = shared.n + 1 end\n"
         "return function() bump() bump() return shared.n end",
         "2"},
        {"local t = {} local a, b = function() return t end, function() return t end\n"
         "return function() return a() == b() end",
         "true"},
        {"local Class = {} Class.__index = Class function Class:name() return 'object ' .. self.n "
         "end\n"
         "local o = setmetatable({n = 7}, Class) return function() return o:name() end",
         "object 7"},
        {"return function() local n = 0 local function add() n = n + 1 end add() add() return n "
         "end",
         "2"},
        {"return function() local t = {} t.x = 1 t.y = function() t.x = 5 end t.y() return t.x end",
         "5"},
        {"local match = string.match return function() return match('abc', 'b.') end", "bc"},
        {"local str = string return function() return str.rep('ab', 2) end", "abab"},
        {"return function() return ('x'):rep(3) .. tostring(math.pi > 3) .. #table.pack(1, 2) end",
         "xxxtrue2"},
        {"local err = io.stderr return function() return io.type(err) end", "file"},
        {"local mod = require 'mod' return function() mod.count() return mod.count() end", "2"},
        {"local mod = require 'mod' return function(x) return mod.inner.twice(x) end", "2"},
        {"local twice = require('mod').inner.twice return function(x) return twice(x) end", "2"},
        {"local count = require('mod').count return function() return type(count()) end", "number"},
        {"local data = require('mod').data return function() return data[2] == "
         "require('mod').data[2] end",
         "true"},
        {"m = require 'mod' return function() return m.data[1] end", "10"},
        {"local c = require('luabatch.core').counter('shipped') return function() c:add(2) return "
         "c:name() end",
         "shipped"},
        {"hidden = 'seen' return function() local name = 'hid' .. 'den' return _G[name] end",
         "seen"},
        {"hidden = 'seen' return function() local e = _ENV return e['hid' .. 'den'] end", "seen"},
        {"bad = coroutine.create(print) good = 'fine' also = function() return good end\n"
         "return function() local n = 'also' return _G[n]() .. tostring(_G.bad) end",
         "finenil"},
        {"bad = coroutine.create(print) good = 'fine' also = function() return bad or good end\n"
         "return function() local n, b = 'good', 'bad' return _G[n] .. tostring(_G[b]) .. "
         "tostring(also) end",
         "the global 'bad' is a coroutine"},
        {"also = nil bad = coroutine.create(print) good = 'fine'\n"
         "other_bad = function() return bad, good end\n"
         "return function() local n, b, o = 'good', 'bad', 'other_bad'\n"
         "  return _G[n] .. tostring(_G[b]) .. tostring(_G[o]) end",
         "finenilnil"},
        {"print = function(x) return 'mine' .. x end return function() return print(1) end",
         "mine1"},
        {"print = nil return function() return tostring(undefined_thing) end", "nil"},
        {"local _ENV = {f = function(x) return x end, y = 5} return function() return f(y) end",
         "5"},
        {"local function outer() local up = 1 return function() return up end end\n"
         "local a, b = outer(), outer() return function() return a() + b() end",
         "2"},
        {"return string.upper", "1"},
        {"local mt = {__call = function(_, x) return x + 41 end} return setmetatable({}, mt)",
         "42"},
        {"local long = ('x'):rep(100000) return function() return #long end", "100000"},
        {"return load('local t = {' .. ('\"a\",'):rep(300) .. '} return function() return #t "
         "end')()",
         "300"},
        {"local parts = {} for i = 1, 300 do parts[i] = 'local v' .. i .. ' = \"k' .. i .. '\"' "
         "if i % 100 == 0 then parts[i] = parts[i] .. ' end do' end end\n"
         "late = 'late global' return load('return function() do ' .. table.concat(parts, ' ') .. "
         "' end return late end')()",
         "late global"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *got = ship_and_call(&fixture, cases[i][0]);
        if (strncmp(got, "map: ", 5) == 0)
            got += 5;
        if (strncmp(got, cases[i][1], strlen(cases[i][1])) != 0)
            fail_msg("%s\ngave '%s', not '%s'", cases[i][0], got, cases[i][1]);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"local n = 0\nreturn function(x)\n  n = n + x\nend",
         "map: the function at job.lua:2 assigns to the captured variable 'n': each worker would "
         "change "
         "its own copy; use lb.counter"},
        {"local n = 0\nreturn function(x)\n  return function() n = n + x end\nend",
         "map: the function at job.lua:2 assigns to the captured variable 'n'"},
        {"return function(x) total = x end", "map: the function at job.lua:1 assigns to the global "
                                             "'total': each worker would change its own copy"},
        {"local n = 0 local function bump() n = n + 1 end\nreturn function() bump() end",
         "map: the function at job.lua:1 assigns to the captured variable 'n'"},
        {"function set_it() it = 1 end return function() set_it() end",
         "map: the function at job.lua:1 assigns to the global 'it'"},
        {"local co = coroutine.create(print) return function() return co end",
         "map: the captured variable 'co' of the function at job.lua:1 is a coroutine"},
        {"local file = io.tmpfile() return function() return file end",
         "map: the captured variable 'file' of the function at job.lua:1 is a userdata"},
        {"local cfg = {items = {1, 2, io.tmpfile()}} return function() return cfg end",
         "map: the captured variable 'cfg'.items[3] of the function at job.lua:1 is a userdata"},
        {"local it = ('x'):gmatch('.') return function() return it() end",
         "map: the captured variable 'it' of the function at job.lua:1 is a C function that "
         "belongs to no"},
        {"db = io.tmpfile() return function() return db:read() end",
         "map: the global 'db' is a userdata"},
        {"local t = {} for i = 1, 1000 do t = {t} end return function() return t end",
         "map: the captured variable 't'[1][1]"},
        {"return coroutine.wrap(print)",
         "map: the value is a C function that belongs to no loaded module"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *got = ship_and_call(&fixture, cases[i][0]);
        if (strncmp(got, cases[i][1], strlen(cases[i][1])) != 0)
            fail_msg("%s\ngave '%s', not '%s'", cases[i][0], got, cases[i][1]);
        assert_int_equal(fixture.err.status, LB_ERR_USER);
        assert_int_equal(lua_gettop(fixture.user), 1);
    }
}

/* Every prefix and every changed byte of a shipment or dump gives a value or an error. */
static int append_bytes(lua_State *L, const void *data, size_t size, void *out)
{
    (void)L;
    return lb_buf_append(out, data, size, NULL) != LB_OK;
}

static lb_status ignore_use(void *state, enum lb_bytecode_use use, int upvalue, const char *name,
                            size_t name_size, struct lb_error *err)
{
    (void)use;
    (void)upvalue;
    (void)err;
    for (size_t i = 0; name != NULL && i < name_size; i++)
        *(int *)state += name[i];
    return LB_OK;
}

static void test_broken_dumps(void **state)
{
    (void)state;
    random_start("broken dumps");
    lua_State *L = fixture.user;
    lua_settop(L, 0);
    assert_int_equal(
        luaL_loadstring(L, "local a = 1 return function(x, ...) local s = 'text' a = a + x\n"
                           "for i = 1, 10 do print(s, i, a, 1.5, _ENV) end\n"
                           "return function() a = other end, {...} end"),
        LUA_OK);
    struct lb_buf dump = {0};
    assert_int_equal(lua_dump(L, append_bytes, &dump, 0), 0);
    int sum = 0;
    assert_int_equal(lb_bytecode_walk(dump.data, dump.size, ignore_use, &sum, NULL), LB_OK);
    for (size_t n = 0; n < dump.size; n++) {
        char *copy = malloc(n + 1);
        memcpy(copy, dump.data, n);
        assert_int_equal(lb_bytecode_walk(copy, n, ignore_use, &sum, NULL), LB_ERR_INTERNAL);
        free(copy);
    }
    char *copy = malloc(dump.size);
    for (int i = 0; i < 20000; i++) {
        memcpy(copy, dump.data, dump.size);
        for (int j = 0; j < 3; j++)
            copy[random_below((uint32_t)dump.size)] = (char)random_bits();
        lb_status status = lb_bytecode_walk(copy, dump.size, ignore_use, &sum, NULL);
        assert_true(status == LB_OK || status == LB_ERR_INTERNAL);
    }
    free(copy);
    lb_buf_fini(&dump);
}

static void test_broken_shipments(void **state)
{
    (void)state;
    lua_State *L = fixture.user;
    lua_settop(L, 0);
    assert_int_equal(luaL_dostring(L, "local t = {1, 'x', {y = 2.5}} local m = require 'mod'\n"
                                      "return function() return t, m.data, string.rep end"),
                     LUA_OK);
    struct lb_buf bytes = {0};
    assert_int_equal(lb_lua_ship(L, -1, "map", &bytes, &fixture.err), LB_OK);
    lua_State *W = fixture.lua->L;
    for (size_t n = 0; n < bytes.size; n++) {
        struct lb_buf cut = {.data = malloc(n + 1), .size = n};
        memcpy(cut.data, bytes.data, n);
        lua_settop(W, 0);
        lua_pushcfunction(W, l_unship);
        lua_pushlightuserdata(W, &cut);
        assert_int_equal(lb_lua_call(fixture.lua, 1, 1, NULL, &fixture.err), LB_ERR_USER);
        free(cut.data);
    }
    lb_buf_fini(&bytes);
}

/* ---- functions with known meaning ---- */

static const char *recognised(const char *chunk, bool is_group)
{
    lua_State *L = fixture.user;
    lua_settop(L, 0);
    if (luaL_dostring(L, chunk) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    const char *meaning = is_group ? lb_lua_kernel_group(L, -1) : lb_lua_kernel_reduce(L, -1);
    return meaning != NULL ? meaning : "nil";
}

static void test_reduce_kernels(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"return function(a, b) return a + b end", "sum"},
        {"return function(x, y) return y + x end", "sum"},
        {"local function add(a, b) return a + b end local z = 1 return add", "sum"},
        {"return function(a, b)\n\n  return a +\n b end", "sum"},
        {"return math.max", "max"},
        {"return math.min", "min"},
        {"return function(a, b) return math.max(a, b) end", "max"},
        {"return function(a, b) return math.min(a, b) end", "min"},
        {"local x, max = 1, math.max return function(a, b) return max(a, b) end", "max"},
        {"local m = math return function(a, b) return m.min(a, b) end", "min"},
        {"return function(a, b) if a < b then return b end return a end", "max"},
        {"return function(a, b) if a > b then return b else return a end end", "min"},
        {"return function(a) return a end", "first"},
        {"return function(a, _) return a end", "first"},
        {"return function(_, b) return b end", "last"},
        /* near misses */
        {"return function(a, b) return a - b end", "nil"},
        {"return function(a, b) return a + a end", "nil"},
        {"return function(a, b) return a + b + 0 end", "nil"},
        {"return function(a, b) return a + 1 end", "nil"},
        {"return function(a, b, c) return a + b end", "nil"},
        {"return function(a, ...) return a end", "nil"},
        {"return function(a, b) return a .. b end", "nil"},
        {"return function(a, b) return math.max(b, a) end", "nil"},
        {"return function(a, b) return math.max(a, b, 0) end", "nil"},
        {"return function(a, b) return math.fmod(a, b) end", "nil"},
        {"return function(a, b) if a > b then return a end return b end", "nil"},
        {"return function(a, b) if a <= b then return b end return a end", "nil"},
        {"local f = string.rep return function(a, b) return f(a, b) end", "nil"},
        {"local f = function(a, b) return b end return function(a, b) return f(a, b) end", "nil"},
        {"local m = {max = math.min} return function(a, b) return m.max(a, b) end", "nil"},
        {"local _ENV = {math = {max = math.min}} return function(a, b) return math.max(a, b) end",
         "nil"},
        {"return string.rep", "nil"},
        {"return 5", "nil"},
        /* last: it spoils the global for the rest of the state */
        {"local real = math math = {max = real.min, min = real.max}\n"
         "local f = function(a, b) return math.max(a, b) end keep = f return f",
         "nil"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *got = recognised(cases[i][0], false);
        if (strcmp(got, cases[i][1]) != 0)
            fail_msg("%s\nis '%s', not '%s'", cases[i][0], got, cases[i][1]);
    }
}

static void test_group_kernels(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"return function(word, counts, emit) local n = 0 for c in counts do n = n + c end "
         "emit(word, n) end",
         "sum"},
        {"return function(k, vs, emit) local s = 0\n for v in vs do s = v + s end\n return emit(k, "
         "s) end",
         "sum"},
        {"return function(k, vs, emit, task) local s = 0 for v in vs do s = s + v end emit(k, s) "
         "end",
         "sum"},
        {"return function(k, vs, emit) local n = 0 for _ in vs do n = n + 1 end emit(k, n) end",
         "count"},
        {"return function(k, vs, emit) local n = 1 for v in vs do n = n + v end emit(k, n) end",
         "nil"},
        {"return function(k, vs, emit) local n = 0.0 for v in vs do n = n + v end emit(k, n) end",
         "nil"},
        {"return function(k, vs, emit) local n = 0 for v in vs do n = n + 2 end emit(k, n) end",
         "nil"},
        {"return function(k, vs, emit) local n = 0 for v in vs do n = n - v end emit(k, n) end",
         "nil"},
        {"return function(k, vs, emit) local n = 0 for v in vs do n = n + v end emit(n, k) end",
         "nil"},
        {"return function(k, vs, emit) local n = 0 for v in vs do n = n + v end emit(k, n, 1) end",
         "nil"},
        {"return function(k, vs, emit) local n = 0 for _, v in vs do n = n + v end emit(k, n) end",
         "nil"},
        {"return function(k, vs, emit) for v in vs do emit(k, v) end end", "nil"},
        {"return function(a, b) return a + b end", "nil"},
        {"return math.max", "nil"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *got = recognised(cases[i][0], true);
        if (strcmp(got, cases[i][1]) != 0)
            fail_msg("%s\nis '%s', not '%s'", cases[i][0], got, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trips, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_dumps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_shipments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reduce_kernels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_group_kernels, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
