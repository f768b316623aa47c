/* Worker states: calls and their errors, interrupts, memory, counters, and what is taken over. */
#include "worker_fixture.h"

#include <pthread.h>
#include <unistd.h>

#include "lua_bindings/heap.h"

static void check_message(const struct fixture *f, const char *expected)
{
    assert_string_equal(f->err.message, expected);
}

static lb_status locate_row(const struct lb_batch *batch, uint32_t row, struct lb_origin *origin,
                            struct lb_buf *out, struct lb_error *err)
{
    (void)origin;
    (void)batch;
    return lb_buf_printf(out, err, "record purchases.csv:%u (byte %u): 88122,u-1042", row + 1,
                         row * 9);
}

/* ---- calls ---- */

static void start(struct fixture *f, size_t memory_bytes)
{
    memset(f, 0, sizeof *f);
    f->user = fixture_open_user();
    if (fixture_start(f, memory_bytes) != LB_OK)
        fail_msg("%s", f->err.message);
}

static void stop(struct fixture *f)
{
    fixture_stop(f);
    lua_close(f->user);
}

static void test_results(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 64 << 20);
    lua_State *L = f.lua->L;
    lua_pushinteger(L, 77);
    assert_int_equal(fixture_call(&f, "return 1, 'two', nil", LUA_MULTRET, NULL), LB_OK);
    assert_int_equal(lua_gettop(L), 4);
    assert_int_equal(lua_tointeger(L, 2), 1);
    assert_string_equal(lua_tostring(L, 3), "two");
    assert_int_equal(lua_tointeger(L, 1), 77);
    lua_settop(L, 1);
    assert_int_equal(fixture_call(&f, "error('x')", 1, NULL), LB_ERR_USER);
    assert_int_equal(lua_gettop(L), 1);
    stop(&f);
}

static void test_messages(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 512 << 20); /* enough for a stack overflow to come first */
    struct lb_batch batch = {.n_rows = 10, .n_columns = 1, .n_selected = 10, .locate = locate_row};
    struct lb_lua_place place = {.label = "mapper of step 1", .batch = &batch, .row = 6};
    assert_int_equal(fixture_call(&f,
                                  "local function inner(amount)\n"
                                  "  return amount + 1\n"
                                  "end\n"
                                  "local x = inner(nil)\n"
                                  "return x",
                                  0, &place),
                     LB_ERR_USER);
    check_message(&f, "job.lua:2: attempt to perform arithmetic on a nil value (local 'amount')\n"
                      "  in mapper of step 1\n"
                      "  record purchases.csv:7 (byte 54): 88122,u-1042\n"
                      "  stack traceback:\n"
                      "    job.lua:2: in local 'inner'\n"
                      "    job.lua:4: in main chunk");

    const char key[] = "s\1\0\0\0x";
    struct lb_lua_place group = {.label = "reducer", .key = key, .key_size = 6, .position = 3};
    assert_int_equal(fixture_call(&f, "error('no ' .. 1, 0)", 0, &group), LB_ERR_USER);
    check_message(&f,
                  "no 1\n  in reducer\n  key \"x\", value 3 of its group\n"
                  "  stack traceback:\n    [C]: in function 'error'\n    job.lua:1: in main chunk");

    static const char *const objects[][2] = {
        {"error()", "nil"},
        {"error(12)", "12"},
        {"error({})", "{}"},
        {"error({print})", "(error object is a table value)"},
        {"error(setmetatable({}, {__tostring = function() return 'told' end}))", "told"},
        {"error(setmetatable({}, {__tostring = function() error('again') end}))",
         "(error object is a table value whose __tostring fails)"},
    };
    for (size_t i = 0; i < sizeof objects / sizeof objects[0]; i++) {
        assert_int_equal(fixture_call(&f, objects[i][0], 0, NULL), LB_ERR_USER);
        assert_memory_equal(f.err.message, objects[i][1], strlen(objects[i][1]));
        assert_int_equal(f.err.message[strlen(objects[i][1])], '\n');
    }
    assert_int_equal(fixture_call(&f, "local function f() return 1 + f() end return f()", 0, NULL),
                     LB_ERR_USER);
    assert_non_null(strstr(f.err.message, "stack overflow"));
    assert_int_equal(fixture_call(&f, "os.exit(0)", 0, NULL), LB_ERR_USER);
    assert_non_null(strstr(f.err.message, "os.exit cannot be called"));
    assert_int_equal(fixture_call(&f, "return 1", 0, NULL), LB_OK);
    stop(&f);
}

/* ---- errors of the engine below user code ---- */

static lb_status thrown_status;

static int l_throw(lua_State *L)
{
    struct fixture *f = lua_touserdata(L, lua_upvalueindex(1));
    struct lb_error err;
    lb_error_set(&err, thrown_status, "disk full");
    return lb_lua_throw(f->lua, &err);
}

/* Calls user code from below user code. */
static int l_nest(lua_State *L)
{
    struct fixture *f = lua_touserdata(L, lua_upvalueindex(1));
    struct lb_error err;
    lua_State *main = f->lua->L;
    luaL_checkstack(main, 2, NULL);
    lua_getglobal(main, "nested");
    if (lb_lua_call(f->lua, 0, 0, NULL, &err) != LB_OK)
        return lb_lua_throw(f->lua, &err);
    return 0;
}

static void add_function(struct fixture *f, const char *name, lua_CFunction function)
{
    lua_pushlightuserdata(f->lua->L, f);
    lua_pushcclosure(f->lua->L, function, 1);
    lua_setglobal(f->lua->L, name);
}

static void test_throw(void **state)
{
    (void)state;
    static const char *const chunks[] = {
        "throw()",
        "pcall(throw)",
        "error(setmetatable({}, {__tostring = throw}))",
        "pcall(error, setmetatable({}, {__tostring = throw})) throw()",
        "while true do pcall(throw) end",
        "xpcall(throw, function(e) return e end) while true do end",
        "coroutine.wrap(throw)()",
        "local ok = coroutine.resume(coroutine.create(throw)) while true do end",
        "coroutine.wrap(function() pcall(throw) coroutine.yield(1) while true do end end)()",
    };
    struct fixture f;
    start(&f, 64 << 20);
    add_function(&f, "throw", l_throw);
    add_function(&f, "nest", l_nest);
    for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
        thrown_status = i % 2 == 0 ? LB_ERR_RESOURCE : LB_ENOUGH;
        assert_int_equal(fixture_call(&f, chunks[i], 0, NULL), thrown_status);
        check_message(&f, "disk full");
        assert_int_equal(fixture_call(&f, "local n = 0 for i = 1, 1000 do n = n + i end", 0, NULL),
                         LB_OK);
    }
    thrown_status = LB_ERR_RESOURCE;
    assert_int_equal(fixture_call(&f, "nested = throw nest()", 0, NULL), LB_ERR_RESOURCE);
    check_message(&f, "disk full");
    assert_int_equal(fixture_call(&f,
                                  "nested = function() error('deep', 0) end\n"
                                  "coroutine.wrap(function() nest() end)()",
                                  0, NULL),
                     LB_ERR_USER);
    check_message(&f, "deep\n  stack traceback:\n    [C]: in function 'error'\n"
                      "    job.lua:1: in function <job.lua:1>");
    assert_int_equal(
        fixture_call(&f, "nested = function() end coroutine.wrap(nest)() return 1", 0, NULL),
        LB_OK);
    stop(&f);
}

/* ---- interrupts ---- */

struct interrupter {
    struct fixture *f;
    struct timespec when;
};

static double seconds_between(const struct timespec *from, const struct timespec *to)
{
    return (double)(to->tv_sec - from->tv_sec) + 1e-9 * (double)(to->tv_nsec - from->tv_nsec);
}

static void *interrupt_soon(void *argument)
{
    struct interrupter *i = argument;
    usleep(20000);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &i->when); /* not what other processes take */
    i->f->run.options.host.worker_interrupt(&i->f->worker, i->f->worker.host_state);
    return NULL;
}

static void test_interrupt(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* it holds signals back until the thread calls into the C library */
#endif
    static const char *const chunks[] = {
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(pcall, pcall, error) end",
        "local function f() pcall(f) f() end f()",
        "coroutine.wrap(function() while true do end end)()",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "while true do pcall(coroutine.wrap(function() coroutine.wrap(function()\n"
        "  while true do end end)() end)) end",
        "local co = coroutine.wrap(function() while true do coroutine.yield(1) end end)\n"
        "while true do co() end",
        "repeat until xpcall(function() while true do end end, function() end)",
        "for i in function() return 1 end do string.rep('x', 10) end",
        "table.sort({1, 2, 3, 4, 5}, function() while true do end end)",
        "local c <close> = setmetatable({}, {__close = function() while true do end end})",
        "local co = coroutine.create(function()\n"
        "  local c <close> = setmetatable({}, {__close = function() while true do end end})\n"
        "  coroutine.yield() end)\n"
        "coroutine.resume(co) coroutine.close(co)",
        "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end})\n"
        "while true do pcall(function() return t[1] end) end",
        "error(setmetatable({}, {__tostring = function() while true do end end}))",
    };
    for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
        struct fixture f;
        start(&f, 64 << 20);
        struct interrupter interrupter = {.f = &f};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, &interrupter), 0);
        assert_int_equal(fixture_call(&f, chunks[i], 0, NULL), LB_ERR_CANCELLED);
        struct timespec end;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
        pthread_join(thread, NULL);
        double seconds = seconds_between(&interrupter.when, &end);
        if (seconds > 0.2)
            fail_msg("%s: stopped after %.3f s", chunks[i], seconds);
        assert_int_equal(fixture_call(&f, "return 1", 0, NULL), LB_ERR_CANCELLED);
        stop(&f);
    }
}

static void test_stopped_run(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 64 << 20);
    f.run.stop = 1;
    assert_int_equal(fixture_call(&f, "while true do end", 0, NULL), LB_ERR_CANCELLED);
    assert_int_equal(lua_gettop(f.lua->L), 0);
    stop(&f);
}

/* Coroutines in a worker do what they do elsewhere. */
static const char coroutine_script[] =
    "local log = {}\n"
    "local function note(...) log[#log + 1] = table.concat({...}, ' ') end\n"
    "local function show(...)\n"
    "  local t = table.pack(...)\n"
    "  for i = 1, t.n do t[i] = type(t[i]) == 'thread' and 'thread' or tostring(t[i]) end\n"
    "  note(table.unpack(t, 1, t.n))\n"
    "end\n"
    "local co = coroutine.create(function(a, b) local c = coroutine.yield(a + b) return c, 'end' "
    "end)\n"
    "show(coroutine.resume(co, 1, 2)) show(coroutine.resume(co, 'x')) show(coroutine.resume(co))\n"
    "show(pcall(coroutine.resume, 1))\n"
    "show(pcall(coroutine.wrap(function() error('a') end)))\n"
    "show(pcall(coroutine.wrap(function() error({}, 0) end)) == false)\n"
    "local w = coroutine.wrap(function() return 1 end) w() show(pcall(w))\n"
    "show(coroutine.resume(coroutine.running()))\n"
    "local outer outer = coroutine.create(function() return coroutine.resume(outer) end)\n"
    "show(coroutine.resume(outer))\n"
    "local closed = coroutine.create(function()\n"
    "  local x <close> = setmetatable({}, {__close = function(_, e) note('closing', tostring(e)) "
    "end})\n"
    "  coroutine.yield(1) end)\n"
    "coroutine.resume(closed) show(coroutine.close(closed), coroutine.status(closed))\n"
    "local bad = coroutine.create(function()\n"
    "  local x <close> = setmetatable({}, {__close = function() error('in close', 0) end})\n"
    "  coroutine.yield(1) end)\n"
    "coroutine.resume(bad) show(coroutine.close(bad))\n"
    "show(pcall(coroutine.close, coroutine.running()))\n"
    "local wrapped = coroutine.wrap(function()\n"
    "  local x <close> = setmetatable({}, {__close = function(_, e) note('close', tostring(e)) "
    "end})\n"
    "  error('wrapped') end)\n"
    "show(pcall(wrapped))\n"
    "local function deep(n) if n == 0 then return 'bottom' end\n"
    "  return coroutine.wrap(function() return deep(n - 1) end)() end\n"
    "show(deep(50))\n"
    "show((pcall(deep, 1000)))\n"
    "show(select('#', coroutine.resume(coroutine.create(function(...) return ... end),\n"
    "  table.unpack({}, 1, 200))))\n"
    "return table.concat(log, '\\n')";

static void test_coroutines(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 64 << 20);
    assert_int_equal(
        luaL_loadbuffer(f.user, coroutine_script, strlen(coroutine_script), "@job.lua"), LUA_OK);
    if (lua_pcall(f.user, 0, 1, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(f.user, -1));
    if (fixture_call(&f, coroutine_script, 1, NULL) != LB_OK)
        fail_msg("%s", f.err.message);
    assert_string_equal(lua_tostring(f.lua->L, -1), lua_tostring(f.user, -1));
    stop(&f);
}

/* ---- memory ---- */

static void test_memory(void **state)
{
    (void)state;
    static const char *const chunks[] = {
        "local t = {} for i = 1, 1e8 do t[i] = {i} end",
        "local s = 'x' for i = 1, 40 do s = s .. s end",
        "coroutine.wrap(function() local t = {} for i = 1, 1e8 do t[i] = {i} end end)()",
        "error(setmetatable({}, {__tostring = function() return ('x'):rep(1 << 30) end}))",
    };
    struct fixture f;
    start(&f, 12 << 20);
    struct lb_lua_place place = {.label = "map"};
    for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
        assert_int_equal(fixture_call(&f, chunks[i], 0, &place), LB_ERR_RESOURCE);
        assert_non_null(
            strstr(f.err.message, "map: the Lua heap of a worker needs more memory: it has "));
        assert_true(f.budget.peak_bytes <= 12 << 20);
        assert_int_equal(fixture_call(&f, "collectgarbage() return 1", 0, NULL), LB_OK);
    }
    /* What was asked for, not what the heap has. */
    assert_int_equal(fixture_call(&f, "return ('x'):rep(1 << 30)", 0, &place), LB_ERR_RESOURCE);
    assert_non_null(
        strstr(f.err.message, " and asks for 1024.0 MiB more (the memory limit is 12.0"));
    assert_int_equal(
        fixture_call(&f, "for i = 1, 3e5 do local s = ('x'):rep(i % 300) .. i end", 0, &place),
        LB_OK);
    stop(&f);
}

static void test_minimum_is_forced(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 64 << 10);
    assert_int_equal(fixture_call(&f, "return ('x'):rep(100000)", 0, NULL), LB_OK);
    stop(&f);
}

/* A heap against a table of what must be in each block. */
static void test_heap(void **state)
{
    (void)state;
    enum { N = 400 };
    random_start("heap");
    static struct {
        unsigned char *block;
        size_t size;
        unsigned char fill;
    } blocks[N];
    for (int round = 0; round < 4; round++) {
        struct lb_budget budget;
        size_t reserved = 0;
        struct lb_lua_heap *heap;
        lb_budget_init(&budget, 2 << 20);
        checked_start(round == 3 ? 20 : -1);
        assert_int_equal(lb_lua_heap_new(&budget, round == 0 ? 0 : 1 << 20, &reserved, &heap, NULL),
                         LB_OK);
        memset(blocks, 0, sizeof blocks);
        for (int step = 0; step < 60000; step++) {
            uint32_t i = random_below(N);
            size_t size = random_below(8) == 0 ? random_below(40000) : random_below(300);
            if (random_below(4) == 0)
                size = 0;
            size_t old = blocks[i].size;
            unsigned char *block = lb_lua_heap_alloc(heap, blocks[i].block, old, size);
            if (size == 0) {
                assert_null(block);
                blocks[i].block = NULL;
                blocks[i].size = 0;
                continue;
            }
            if (block == NULL) {
                assert_true(old == 0 || size > old);
                continue;
            }
            assert_int_equal((uintptr_t)block % 16, 0);
            for (size_t j = 0; j < (old < size ? old : size); j++)
                assert_int_equal(block[j], blocks[i].fill);
            blocks[i].block = block;
            blocks[i].size = size;
            blocks[i].fill = (unsigned char)step;
            memset(block, step & 0xff, size);
            assert_true(budget.used_bytes == reserved);
            assert_true(reserved <= 2 << 20);
        }
        for (int i = 0; i < N; i++)
            if (blocks[i].size > 0)
                lb_lua_heap_alloc(heap, blocks[i].block, blocks[i].size, 0);
        lb_lua_heap_delete(heap);
        assert_int_equal(budget.used_bytes, 0);
        checked_stop();
    }
}

/* Large blocks that must become small while no page can be had. */
static void test_heap_shrinks_without_memory(void **state)
{
    (void)state;
    enum { N = 40 };
    struct lb_budget budget;
    size_t reserved = 0;
    struct lb_lua_heap *heap;
    unsigned char *blocks[N];
    lb_budget_init(&budget, 256 << 10); /* one region never fits beside the blocks */
    assert_int_equal(lb_lua_heap_new(&budget, 0, &reserved, &heap, NULL), LB_OK);
    for (int i = 0; i < N; i++) {
        blocks[i] = lb_lua_heap_alloc(heap, NULL, 0, 1000);
        assert_non_null(blocks[i]);
        memset(blocks[i], i, 1000);
    }
    for (int i = 0; i < N; i++) {
        assert_null(lb_lua_heap_alloc(heap, NULL, 0, 32));
        blocks[i] = lb_lua_heap_alloc(heap, blocks[i], 1000, 100 + (size_t)i);
        assert_non_null(blocks[i]);
    }
    for (int i = 0; i < N; i += 2) { /* in place, back to large, and away */
        blocks[i] = lb_lua_heap_alloc(heap, blocks[i], 100 + (size_t)i, 90);
        assert_non_null(blocks[i]);
        blocks[i] = lb_lua_heap_alloc(heap, blocks[i], 90, 600);
        assert_non_null(blocks[i]);
        assert_int_equal(blocks[i][89], i);
        lb_lua_heap_alloc(heap, blocks[i], 600, 0);
    }
    for (int i = 1; i < N; i += 2) {
        assert_int_equal(blocks[i][99], i);
        lb_lua_heap_alloc(heap, blocks[i], 100 + (size_t)i, 0);
    }
    lb_lua_heap_delete(heap);
    assert_int_equal(budget.used_bytes, 0);
}

static void test_start_fails(void **state)
{
    (void)state;
    bool reached = true;
    for (long n = 0; reached; n++) {
        struct fixture f;
        memset(&f, 0, sizeof f);
        f.user = fixture_open_user();
        checked_start(n);
        lb_status status = fixture_start(&f, 64 << 20);
        if (status == LB_OK) {
            status = fixture_call(&f, "local t = {} for i = 1, 1000 do t[i] = {('x'):rep(i)} end",
                                  0, NULL);
            assert_true(status == LB_OK || status == LB_ERR_RESOURCE);
        } else {
            assert_int_equal(status, LB_ERR_RESOURCE);
        }
        fixture_stop(&f);
        reached = checked_stop();
        lua_close(f.user);
        if (n > 3000)
            break;
        if (n > 60) /* the many growing strings: every 37th will do */
            n += 36;
    }
}

/* ---- what is taken over, counters ---- */

static int l_preloaded(lua_State *L)
{
    lua_pushliteral(L, "from C");
    return 1;
}

static void test_taken_over(void **state)
{
    (void)state;
    struct fixture f;
    memset(&f, 0, sizeof f);
    f.user = fixture_open_user();
    luaL_getsubtable(f.user, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(f.user, l_preloaded);
    lua_setfield(f.user, -2, "in_c");
    lua_settop(f.user, 0);
    if (luaL_dostring(
            f.user,
            "package.path = '/nowhere/?.lua;' .. package.path\n"
            "package.preload.in_lua = function(name) return {name = name, type = type(1)} end\n"
            "local captured = 1\n"
            "package.preload.not_here = function() return captured end\n"
            "require('luabatch.core').options{date = '2024-01-01', n = 3}") != LUA_OK)
        fail_msg("%s", lua_tostring(f.user, -1));
    if (fixture_start(&f, 64 << 20) != LB_OK)
        fail_msg("%s", f.err.message);
    if (fixture_call(
            &f,
            "assert(package.path:find('/nowhere/', 1, true) == 1)\n"
            "assert(require('in_c') == 'from C')\n"
            "assert(require('in_lua').name == 'in_lua' and require('in_lua').type == 'number')\n"
            "assert(not pcall(require, 'not_here'))\n"
            "local core = require('luabatch.core')\n"
            "assert(core.options().date == '2024-01-01' and core.options().n == 3)\n"
            "assert(not pcall(core.execute, {nodes = {}}))",
            0, NULL) != LB_OK)
        fail_msg("%s", f.err.message);
    stop(&f);
}

static int64_t counter_value(struct fixture *f)
{
    assert_int_equal(
        luaL_dostring(f->user, "return require('luabatch.core').counter('lines'):value()"), LUA_OK);
    int64_t value = lua_tointeger(f->user, -1);
    lua_settop(f->user, 0);
    return value;
}

static void test_counters(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 64 << 20);
    const char *add =
        "local c = require('luabatch.core').counter('lines') for i = 1, 10 do c:add(i) end\n"
        "require('luabatch.core').counter('others'):add()";
    struct lb_host *host = &f.run.options.host;
    assert_int_equal(fixture_call(&f, add, 0, NULL), LB_OK);
    assert_int_equal(counter_value(&f), 0);
    host->morsel_commit(&f.worker, f.worker.host_state);
    assert_int_equal(counter_value(&f), 55);
    host->morsel_commit(&f.worker, f.worker.host_state);
    assert_int_equal(counter_value(&f), 55);
    assert_int_equal(fixture_call(&f, add, 0, NULL), LB_OK); /* never committed */
    assert_int_equal(luaL_dostring(f.user,
                                   "local c = require('luabatch.core').counter('lines')\n"
                                   "c:add(5) assert(c:value() == 60 and c:name() == 'lines')\n"
                                   "assert(require('luabatch.core').counters().others == 1)"),
                     LUA_OK);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),     cmocka_unit_test(test_messages),
        cmocka_unit_test(test_throw),       cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_stopped_run), cmocka_unit_test(test_coroutines),
        cmocka_unit_test(test_memory),      cmocka_unit_test(test_minimum_is_forced),
        cmocka_unit_test(test_heap),        cmocka_unit_test(test_heap_shrinks_without_memory),
        cmocka_unit_test(test_start_fails), cmocka_unit_test(test_taken_over),
        cmocka_unit_test(test_counters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
