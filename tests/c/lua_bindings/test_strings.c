/* The replaced string functions against Lua's own: two states, the same calls, all results and
 * messages compared. */
#include "../support/support.h"

#include <lauxlib.h>
#include <lualib.h>

#include "core/algo/byteset.h"
#include "lua_bindings/strings.h"

/* Other cases each time, fewer in checked builds, which take many times as long for a case. */
#ifdef LB_DEBUG
enum { SLOWER = 20 };
#else
enum { SLOWER = 4 };
#endif

/* ---- one call in two states, results as text ---- */

/* show(...) writes values so that types, bytes and floats are told apart. Every function is called
 * often enough that the pattern gets compiled on the way, and every round must say the same. */
static const char prelude[] =
    "local function show(...)\n"
    "  local out = {}\n"
    "  for i = 1, select('#', ...) do\n"
    "    local v = select(i, ...)\n"
    "    local t = math.type(v) or type(v)\n"
    "    out[i] = t .. ':' .. (t == 'string' and ('%q'):format(v) or tostring(v))\n"
    "  end\n"
    "  return table.concat(out, ' ')\n"
    "end\n"
    "local function all(s, p, i)\n"
    "  local out, n = {}, 0\n"
    "  for a, b, c in s:gmatch(p, i) do\n"
    "    n = n + 1\n"
    "    out[n] = show(a, b, c)\n"
    "    if n > 400 then break end\n"
    "  end\n"
    "  return table.concat(out, ';')\n"
    "end\n"
    "local map = {a = 'X', b = false, ab = 12, ['1'] = 1.5, [''] = 'E', A = {}}\n"
    "local function pick(...)\n"
    "  local a = ...\n"
    "  if a == 'b' then return nil end\n"
    "  if a == 'aa' then return {} end\n"
    "  return '<' .. show(...) .. '>'\n"
    "end\n"
    "local calls = {\n"
    "  function(s, p) return s:match(p) end,\n"
    "  function(s, p, i) return s:match(p, i) end,\n"
    "  function(s, p) return s:find(p) end,\n"
    "  function(s, p, i) return s:find(p, i) end,\n"
    "  function(s, p, i) return s:find(p, i, true) end,\n"
    "  function(s, p) return all(s, p) end,\n"
    "  function(s, p, i) return all(s, p, i) end,\n"
    "  function(s, p, i, r) return s:gsub(p, r) end,\n"
    "  function(s, p, i, r) return s:gsub(p, r, i) end,\n"
    "  function(s, p) return s:gsub(p, pick) end,\n"
    "  function(s, p) return s:gsub(p, map) end,\n"
    "  function(s) return s:lower(), s:upper() end,\n"
    "}\n"
    "function probe(s, p, i, r)\n"
    "  local out = {}\n"
    "  for round = 1, 2 do\n"
    "    for k, f in ipairs(calls) do\n"
    "      local text = k .. ' ' .. show(pcall(f, s, p, i, r))\n"
    "      if round == 1 then out[k] = text\n"
    "      elseif out[k] ~= text then return 'round ' .. round .. ': ' .. out[k] .. ' / ' .. text "
    "end\n"
    "    end\n"
    "  end\n"
    "  return table.concat(out, '\\n')\n"
    "end\n"
    "function answer(code) return show(pcall(assert(load(code, '=code')))) end\n";

static lua_State *stock;
static lua_State *replaced;

static void *plain_alloc(void *data, void *pointer, size_t old_size, size_t new_size)
{
    (void)data;
    (void)old_size;
    if (new_size == 0) {
        free(pointer);
        return NULL;
    }
    return realloc(pointer, new_size);
}

static lua_State *open_state(bool is_replaced)
{
    lua_State *L = lua_newstate(plain_alloc, NULL);
    assert_non_null(L);
    luaL_openlibs(L);
    if (is_replaced)
        lb_lua_open_strings(L);
    if (luaL_dostring(L, prelude))
        fail_msg("%s", lua_tostring(L, -1));
    return L;
}

static int open_states(void **state)
{
    (void)state;
    stock = open_state(false);
    replaced = open_state(true);
    return 0;
}

static int close_states(void **state)
{
    (void)state;
    lua_close(stock);
    lua_close(replaced);
    return 0;
}

struct text {
    char data[600];
    size_t size;
};

static void add(struct text *text, const char *bytes, size_t size)
{
    assert_true(text->size + size <= sizeof text->data);
    memcpy(text->data + text->size, bytes, size);
    text->size += size;
}

static void add_byte(struct text *text, char byte)
{
    add(text, &byte, 1);
}

static const char *probe(lua_State *L, const struct text *subject, const struct text *pattern,
                         lua_Integer init, const struct text *replacement)
{
    lua_settop(L, 0);
    lua_getglobal(L, "probe");
    lua_pushlstring(L, subject->data, subject->size);
    lua_pushlstring(L, pattern->data, pattern->size);
    lua_pushinteger(L, init);
    lua_pushlstring(L, replacement->data, replacement->size);
    if (lua_pcall(L, 4, 1, 0) != LUA_OK)
        fail_msg("probe: %s", lua_tostring(L, -1));
    return lua_tostring(L, -1);
}

static void show_bytes(const char *name, const struct text *text)
{
    print_message("%s: \"", name);
    for (size_t i = 0; i < text->size; i++) {
        uint8_t byte = (uint8_t)text->data[i];
        print_message(byte >= 32 && byte < 127 ? "%c" : "\\x%02x", byte);
    }
    print_message("\"\n");
}

static void compare(const struct text *subject, const struct text *pattern, lua_Integer init,
                    const struct text *replacement)
{
    const char *expected = probe(stock, subject, pattern, init, replacement);
    const char *got = probe(replaced, subject, pattern, init, replacement);
    if (strcmp(expected, got) == 0)
        return;
    show_bytes("subject", subject);
    show_bytes("pattern", pattern);
    show_bytes("replacement", replacement);
    print_message("init: %lld\n--- Lua\n%s\n--- ours\n%s\n", (long long)init, expected, got);
    fail();
}

/* ---- random subjects and patterns ---- */

static const char letters[] = "aaaaaabbbbbcA1 \0.-]%^$([\xe9\n,=";

static char random_letter(void)
{
    return letters[random_below(sizeof letters - 1)];
}

static void random_subject(struct text *text, uint32_t max_size)
{
    uint32_t size = random_below(max_size + 1);
    text->size = 0;
    while (text->size < size) {
        if (random_below(8) == 0) { /* a run, so that blocks of the vector code are crossed */
            char letter = random_letter();
            for (uint32_t n = random_below(max_size / 4 + 1); n > 0 && text->size < size; n--)
                add_byte(text, letter);
        } else {
            add_byte(text, random_letter());
        }
    }
}

static void add_set(struct text *text)
{
    static const char *const parts[] = {"a",   "b",  "a-c",       "%a", "%d", "%W", "b-a",
                                        "-",   "%-", "%]",        "^",  "1",  " ",  "c-",
                                        "%s-", "]",  "\xe0-\xff", "%",  ".",  "A-Z"};
    add_byte(text, '[');
    if (random_below(3) == 0)
        add_byte(text, '^');
    for (uint32_t n = 1 + random_below(3); n > 0; n--) {
        const char *part = parts[random_below(sizeof parts / sizeof parts[0])];
        add(text, part, strlen(part));
    }
    if (random_below(12) == 0)
        add_byte(text, '\0');
    if (random_below(40) != 0)
        add_byte(text, ']');
}

static void add_single(struct text *text)
{
    static const char classes[] = "acdglpsuwxzACDGLPSUWXZ.%]-yQ\0";
    switch (random_below(8)) {
    case 0:
    case 1:
        add_byte(text, '%');
        add_byte(text, classes[random_below(sizeof classes - 1)]);
        break;
    case 2:
        add_set(text);
        break;
    case 3:
        add_byte(text, '.');
        break;
    case 4:
        add_byte(text, random_letter());
        break;
    default:
        add_byte(text, "ab"[random_below(2)]);
        break;
    }
}

/* Mostly well-formed; few repetitions, because Lua's time may be exponential in their number. */
static void random_pattern(struct text *text, uint32_t max_items, uint32_t max_repetitions)
{
    uint32_t n_open = 0, n_captures = 0, n_repetitions = 0;
    text->size = 0;
    if (random_below(5) == 0)
        add_byte(text, '^');
    for (uint32_t n = random_below(max_items + 1); n > 0; n--) {
        switch (random_below(24)) {
        case 0:
        case 1:
            add_byte(text, '(');
            n_open++;
            n_captures++;
            break;
        case 2:
        case 3:
            if (n_open > 0 || random_below(10) == 0) {
                add_byte(text, ')');
                n_open -= n_open > 0;
            }
            break;
        case 4:
            add(text, "()", 2);
            n_captures++;
            break;
        case 5:
            add(text, "%b", 2);
            add_byte(text, "a(ab\0"[random_below(5)]);
            if (random_below(20) != 0)
                add_byte(text, "b)ba"[random_below(4)]);
            break;
        case 6:
            add(text, "%f", 2);
            if (random_below(30) != 0)
                add_set(text);
            break;
        case 7:
            if (n_captures > 0 || random_below(10) == 0) {
                add_byte(text, '%');
                add_byte(text, (char)('0' + random_below(n_captures + 2)));
            }
            break;
        case 8:
            if (random_below(4) == 0)
                add_byte(text, "$^%*+-?)]"[random_below(9)]);
            break;
        default:
            add_single(text);
            if (n_repetitions < max_repetitions && random_below(2) == 0) {
                add_byte(text, "*+-?+*"[random_below(6)]);
                n_repetitions++;
            }
        }
    }
    while (n_open > 0 && random_below(30) != 0) {
        add_byte(text, ')');
        n_open--;
    }
    if (random_below(4) == 0)
        add_byte(text, '$');
}

static void random_replacement(struct text *text)
{
    static const char *const parts[] = {"x", "%0", "%1", "%2", "%%", "", "yz", "%9", "%a"};
    text->size = 0;
    for (uint32_t n = random_below(4); n > 0; n--) {
        uint32_t i = random_below(random_below(10) == 0 ? 9 : 7);
        add(text, parts[i], strlen(parts[i]));
    }
}

static void compare_random(uint32_t n_cases, uint32_t max_size, uint32_t max_items,
                           uint32_t max_repetitions)
{
    struct text subject, pattern, replacement;
    for (uint32_t i = 0; i < n_cases; i++) {
        if (i % 4 == 0)
            random_pattern(&pattern, max_items, max_repetitions);
        random_subject(&subject, max_size);
        random_replacement(&replacement);
        compare(&subject, &pattern, (lua_Integer)random_below(2 * max_size + 6) - max_size - 3,
                &replacement);
    }
}

static void test_random(void **state)
{
    (void)state;
    random_start("strings");
    for (int level = 0; level <= 2; level++) {
        lb_byteset_limit_kernels(level);
        compare_random(14000 / SLOWER, 14, 9, 5);
        compare_random(2000 / SLOWER, 30, 14, 4);
        compare_random(1000 / SLOWER, 500, 6, 2);
        compare_random(1000 / SLOWER, 300, 3, 1);
    }
}

/* ---- chosen cases ---- */

static void compare_code(const char *code)
{
    lua_State *states[2] = {stock, replaced};
    const char *answers[2];
    for (int i = 0; i < 2; i++) {
        lua_settop(states[i], 0);
        lua_getglobal(states[i], "answer");
        lua_pushstring(states[i], code);
        if (lua_pcall(states[i], 1, 1, 0) != LUA_OK)
            fail_msg("%s: %s", code, lua_tostring(states[i], -1));
        answers[i] = lua_tostring(states[i], -1);
    }
    if (strcmp(answers[0], answers[1]) != 0)
        fail_msg("%s\n--- Lua\n%s\n--- ours\n%s", code, answers[0], answers[1]);
}

static void test_arguments(void **state)
{
    (void)state;
    static const char *const names[] = {"find", "match", "gmatch", "gsub", "lower", "upper"};
    static const char *const forms[] = {
        "return string.%s()",
        "local s = 'x' return s:%s()",
        "local s = 'x' return s.%s(nil, 'x')",
        "return string.%s({}, 'x', 'y')",
        "return string.%s('x', {}, 'y')",
        "return string.%s('x', true)",
        "return string.%s(io.stdout, 'x')",
        "return pcall(string.%s, nil, 'x')",
        "return pcall(string.%s, 'x', nil)",
        "local f = string.%s return f('x', print)",
        "local t = setmetatable({}, {__index = string}) return t:%s('x')",
        "local r = string.%s(1232, 23) return type(r) == 'function' and (r() or 'none') or r",
        "local r = string.%s('1232', 2) return type(r) == 'function' and (r() or 'none') or r",
        "local r = string.%s('a23.5', 3.5, 1) return type(r) == 'function' and (r() or 'none') or "
        "r",
        "local r = string.%s('abc', 'b', 1.5) return type(r) == 'function' and (r() or 'none') or "
        "r",
        "local r = string.%s('abc', 'b', 2.0) return type(r) == 'function' and (r() or 'none') or "
        "r",
        "local r = string.%s('abc', 'b', '2') return type(r) == 'function' and (r() or 'none') or "
        "r",
        "local r = string.%s('abc', 'b', 'x') return type(r) == 'function' and (r() or 'none') or "
        "r",
        "local r = string.%s('abc', 'b', nil, true) return type(r) == 'function' and (r() or "
        "'none') or r",
        "local r = string.%s('abc', 'b', {}) return type(r) == 'function' and (r() or 'none') or r",
        "local r = string.%s('abc', 'b', 'c', 'd') return type(r) == 'function' and (r() or "
        "'none') or r",
        "local r = string.%s('abc', 'b', 'c', -1) return type(r) == 'function' and (r() or 'none') "
        "or r",
        "local r = string.%s('abc', 'b', 'c', 0) return type(r) == 'function' and (r() or 'none') "
        "or r",
        "local r = string.%s('abc', 'b', math.mininteger) return type(r) == 'function' and (r() or "
        "'none') or r",
        "local r = string.%s('abc', '', math.maxinteger) return type(r) == 'function' and (r() or "
        "'none') or r",
        "local r = string.%s('abc', '', 4) return type(r) == 'function' and (r() or 'none') or r",
        "local r = string.%s('abc', '', 5) return type(r) == 'function' and (r() or 'none') or r",
        "return select('#', string.%s('abc', 'b', 'c', 'd', 'e', 'f'))",
    };
    char code[300];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        for (size_t j = 0; j < sizeof forms / sizeof forms[0]; j++) {
            snprintf(code, sizeof code, forms[j], names[i]);
            compare_code(code);
            compare_code(code);
            compare_code(code);
        }
    }
}

static void test_chosen(void **state)
{
    (void)state;
    static const char *const codes[] = {
        "return ('a'):rep(300):match(('a?'):rep(250))",
        "return ('a'):rep(300):match(('a*'):rep(199))",
        "return ('a'):rep(300):match(('a*'):rep(200))",
        "return ('a'):rep(300):match(('a*'):rep(201))",
        "return ('b'):rep(300):match(('a*'):rep(300))",
        "return ('b'):rep(300):match(('a-'):rep(300) .. 'b')",
        "return ('a'):rep(300):match(('()'):rep(32))",
        "return ('a'):rep(300):match(('()'):rep(33))",
        "return ('a'):rep(300):match(('('):rep(32) .. 'a+' .. (')'):rep(32))",
        "return ('a'):rep(300):match('(' .. ('a?'):rep(197) .. ')')",
        "return ('a'):rep(300):match('(' .. ('a?'):rep(198) .. ')')",
        "return ('x'):rep(2000):find('.-y')",
        "return #('x'):rep(100000):gsub('x', 'yy')",
        "return ('key = value'):match('^(%w+)%s*=%s*(%w+)$')",
        "return ('THE (quick) fox'):find('%((%a+)%)')",
        "return ('THE (quick) fox'):gsub('%f[%a]%a+', function(w) return w:lower() end)",
        "return ('  trim  '):match('^%s*(.-)%s*$')",
        "return ('hello world'):gsub('o', {o = '0'}, 1)",
        "return ('hello'):gsub('', '-')",
        "return ('hello'):gsub('x*', '-')",
        "return ('abc'):gsub('%w', '%%%0')",
        "return ('abc'):gsub('b', '%')",
        "return ('abc'):gsub('b', '%1%2')",
        "return ('abc'):gsub('()b', '%1')",
        "return ('abc'):gsub('()b', {[2] = 'two'})",
        "return ('abc'):gsub('b', function() error('inside') end)",
        "return type(select(2, pcall(string.gsub, 'abc', 'b', function() error({}) end)))",
        "return ('abc'):gsub('b', 5), ('abc'):gsub('b', 5.5)",
        "return ('abc'):find('b', -1), ('abc'):find('b', -2), ('abc'):find('', 10), "
        "('abc'):find('', 4)",
        "return ('a\\0b'):find('\\0'), ('a\\0b'):find('%z'), ('a\\0b'):find('[\\0]'), "
        "('a\\0b'):match('\\0(.)')",
        "return ('a.b'):find('.', 1, true), ('a.b'):find('.', 2, true), ('a+b'):find('+', 1, 1)",
        "local it = ('ab cd'):gmatch('%a+') return it(), it(), it(), it()",
        "local it = ('ab cd'):gmatch('(%a)(%a)') return select(2, it()), it(), it(), it()",
        "local it = ('ab cd'):gmatch('()') return it(), it(), it(), it(), it(), it(), it()",
        "local it = ('^a^a'):gmatch('^a') return it(), it(), it()",
        "local it = ('ab^c'):gmatch('^*b') return it(), it(), it()",
        "return ('^*b'):match('^*b'), ('*b'):match('^*b'), ('**b'):match('^**b')",
        "local it = ('ab cd'):gmatch('%a+', 2) return it(), it(), it()",
        "local it = ('ab cd'):gmatch('%a+', -1) return it(), it(), it()",
        "local it = ('ab cd'):gmatch('%a+', 60) return it(), it(), it()",
        "local it = ('ab cd'):gmatch('%') return it()",
        "local it = ('ab cd'):gmatch('x%') return it()",
        "return ('abc'):match('x('), ('abc'):match('x['), ('abc'):match('x%')",
        "return ('\\xc4BC'):lower(), ('\\xe4bc'):upper(), (''):lower(), ('Z'):lower(), "
        "('@[`{'):upper()",
        "return ('AbC'):rep(100):lower(), ('xyz'):rep(100):upper(), ('xyz'):rep(100):lower()",
        "return (12):lower(), (1e300):upper(), (1e100):lower()",
        "return getmetatable('').__index == string, ('x').find == string.find",
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        for (int round = 0; round < 3; round++) /* by then the pattern is compiled */
            compare_code(codes[i]);
    }
}

/* Every byte in every class, alone and as a set. */
static void test_classes(void **state)
{
    (void)state;
    compare_code("local out = {} for c = 0, 255 do for b = 0, 255 do\n"
                 "local p = '%' .. string.char(c)\n"
                 "if not p:find('[%%bf0-9]', 2) then\n"
                 "out[#out + 1] = string.char(b):find(p) and 1 or 0 end end end\n"
                 "return table.concat(out)");
    compare_code("local out = {} for c in ('acdglpsuwxz'):gmatch('.') do for b = 0, 255 do\n"
                 "out[#out + 1] = string.char(b):match('[%' .. c .. ']') and 1 or 0\n"
                 "out[#out + 1] = string.char(b):match('[^%' .. c:upper() .. 'a]') and 1 or 0\n"
                 "end end return table.concat(out)");
    compare_code("local all = {} for b = 0, 255 do all[#all + 1] = string.char(b) end\n"
                 "all = table.concat(all) return all:lower(), all:upper(), all:lower():upper()");
}

/* More patterns than slots, collections in the middle of everything, iterators that outlive their
 * slot. */
static void test_lifetimes(void **state)
{
    (void)state;
    static const char *const modes[] = {"incremental", "generational"};
    for (int i = 0; i < 2; i++) {
        char code[1500];
        snprintf(
            code, sizeof code,
            "collectgarbage('%s')\n"
            "local out, its = {}, {}\n"
            "setmetatable({}, {__gc = function() out.gone = ('late'):match('l(.)t') end})\n"
            "for round = 1, 3 do for i = 1, 1500 do\n"
            "  local p = '(%%a+)' .. i .. '[%%d=]*'\n"
            "  for k = 1, 3 do out[#out + 1] = ('ab' .. i .. '=1'):match(p) or 'none' end\n"
            "  if i %% 50 == 0 then\n"
            "    its[#its + 1] = ('x' .. i .. ' y' .. i):rep(3):gmatch(p)\n"
            "    its[#its + 1] = ('xx yy'):gmatch('[xyz' .. i .. ']+')\n"
            "  end\n"
            "  if i %% 97 == 0 then collectgarbage() end\n"
            "  out[#out + 1] = ('a-b' .. i):gsub('%%' .. 'a', function(w)\n"
            "    for j = 1, 3 do ('q'):match('q' .. (i * 7 + j)) end\n"
            "    if i %% 211 == 0 then collectgarbage() end\n"
            "    return w:upper() .. ('z1'):gsub('%%d', '%%0%%0') end)\n"
            "end end\n"
            "collectgarbage()\n"
            "for _, it in ipairs(its) do out[#out + 1] = tostring(it()) .. tostring(it()) end\n"
            "collectgarbage('incremental')\n"
            "return table.concat(out, ','), out.gone",
            modes[i]);
        compare_code(code);
    }
}

/* ---- memory ---- */

static long allocations_left; /* -1: without end */

static void *failing_alloc(void *data, void *pointer, size_t old_size, size_t new_size)
{
    if (new_size > 0 && (pointer == NULL || new_size > old_size)) {
        if (allocations_left == 0)
            return NULL;
        if (allocations_left > 0)
            allocations_left--;
    }
    return plain_alloc(data, pointer, old_size, new_size);
}

static int open_protected(lua_State *L)
{
    luaL_openlibs(L);
    lb_lua_open_strings(L);
    return 0;
}

/* Every allocation of Lua fails once; then every allocation of ours. Neither leaks, and ours
 * change no result. */
static void test_memory(void **state)
{
    (void)state;
    static const char code[] =
        "local n = 0 for i = 1, 3 do\n"
        "for w in ('some words = 12'):gmatch('%a+') do n = n + #w:upper() end\n"
        "for k, v in ('some words = 12'):gmatch('(%a+) *= *(%d+)') do n = n + #k + v end\n"
        "n = n + #(('x'):rep(2000):gsub('x(x)', '%1')) + ('abc'):find('[bc]') + "
        "#('ab'):match('(b?)$') end\n"
        "return n";
    luaL_loadstring(stock, code);
    lua_call(stock, 0, 1);
    lua_Integer expected = lua_tointeger(stock, -1);
    bool reached = true;
    for (long fail_at = 0; reached; fail_at++) {
        checked_start(-1);
        allocations_left = -1;
        lua_State *L = lua_newstate(failing_alloc, NULL);
        luaL_openlibs(L);
        allocations_left = fail_at;
        lua_pushcfunction(L, open_protected);
        bool failed = lua_pcall(L, 0, 0, 0) != LUA_OK || luaL_dostring(L, code);
        reached = failed;
        if (!failed)
            assert_int_equal(lua_tointeger(L, -1), expected);
        lua_close(L);
        checked_stop();
    }
    reached = true;
    for (long fail_at = 0; reached; fail_at++) {
        lua_State *L = luaL_newstate();
        luaL_openlibs(L);
        checked_start(fail_at);
        lb_lua_open_strings(L);
        lb_lua_open_strings(L); /* a second time does nothing */
        if (luaL_dostring(L, code))
            fail_msg("%s", lua_tostring(L, -1));
        assert_int_equal(lua_tointeger(L, -1), expected);
        lua_close(L);
        reached = checked_stop();
    }
}

/* Finalizers that run while the state closes still have working strings. */
static void test_close(void **state)
{
    (void)state;
    lua_State *L = open_state(false);
    static const char code[] =
        "setmetatable({}, {__gc = function() for i = 1, 3 do seen(('a1b2'):gsub('%d', '-')) end\n"
        "for w in ('x yy'):gmatch('%a+') do seen(w) end if keep then seen(keep()) end end})\n"
        "for i = 1, 3 do ('a1b2'):gsub('%d', '-') end keep = ('later on'):gmatch('%a+')\n";
    lua_pushcfunction(L, open_protected);
    lua_call(L, 0, 0);
    if (luaL_dostring(L, "function seen() end") || luaL_dostring(L, code))
        fail_msg("%s", lua_tostring(L, -1));
    lua_close(L);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments), cmocka_unit_test(test_chosen),
        cmocka_unit_test(test_classes),   cmocka_unit_test(test_lifetimes),
        cmocka_unit_test(test_random),    cmocka_unit_test(test_memory),
        cmocka_unit_test(test_close),
    };
    return cmocka_run_group_tests(tests, open_states, close_states);
}
