/* Aggregates whose functions are Lua's, through the aggregate sink and its source, against plain Lua. */
#include "run_ops.h"

static const char prelude[] =
    "math.randomseed(seed)\n"
    /* Random pairs in morsels, and for each key the list of its values in order. */
    "function pairs_of(n_morsels, n, distinct, value)\n"
    "  local morsels, lists = {}, {}\n"
    "  for m = 1, n_morsels do\n"
    "    morsels[m] = {}\n"
    "    for i = 1, math.random(0, n) do\n"
    "      local key = math.random(distinct)\n"
    "      if key % 3 == 0 then key = 'k' .. key elseif key % 7 == 0 then key = {key} end\n"
    "      local v = value(key)\n"
    "      morsels[m][i] = {key, v}\n"
    "      local name = text(key)\n"
    "      lists[name] = lists[name] or {n = 0}\n"
    "      lists[name].n = lists[name].n + 1\n"
    "      lists[name][lists[name].n] = v\n"
    "    end\n"
    "  end\n"
    "  return morsels, lists\n"
    "end\n"
    "function fold(lists, fn)\n"
    "  local out = {}\n"
    "  for k, l in pairs(lists) do local s = l[1] for i = 2, l.n do s = fn(s, l[i]) end out[k] = s "
    "end\n"
    "  return out\n"
    "end\n"
    "function aggregate(morsels, node, threads, memory)\n"
    "  node.op, node.partitions = 'aggregate', 4\n"
    "  local out, message = run{threads = threads, memory = memory, morsels = morsels, stages = "
    "{{sink = node}, {{op = 'scan.aggregate'}}}}\n"
    "  if not out then return nil, message end\n"
    "  local got = {}\n"
    "  for _, r in ipairs(flat(out)) do assert(got[text(r[1])] == nil) got[text(r[1])] = r[2] end\n"
    "  return got\n"
    "end\n"
    "function settings() local i, list = 0, {{2, 256 << 20}, {2, 1 << 20}, {1, 256 << 20}, {1, 1 "
    "<< 20}}\n"
    "  if FEWEST_THREADS == 2 then list = {list[1], list[2]} end\n"
    "  return function() i = i + 1 if list[i] then return list[i][1], list[i][2] end end end\n";

static void check(const char *chunk)
{
    char *whole = malloc(strlen(prelude) + strlen(chunk) + 1);
    assert_non_null(whole);
    strcpy(whole, prelude);
    strcat(whole, chunk);
    check_lua(whole);
    free(whole);
}

static void test_reduce(void **state)
{
    (void)state;
    check(
        "local function add(a, b) return a + b end\n"
        "local function join(a, b) return a .. ',' .. b end\n"
        "local function list(a, b) for _, v in ipairs(b) do a[#a + 1] = v end return a end\n"
        "local numbers, sums = pairs_of(7, 3000, 300, function() return math.random(1000) end)\n"
        "local n = 0\n"
        "local strings, texts = pairs_of(7, 1000, 300, function() n = n + 1 return 'v' .. n end)\n"
        "local tables, tests = pairs_of(5, 500, 100, function() n = n + 1 return {n} end)\n"
        "for threads, memory in settings() do\n"
        "  is(aggregate(numbers, {aggregate = 'lua.reduce', fn = add}, threads, memory), "
        "fold(sums, add))\n"
        "  is(aggregate(numbers, {aggregate = 'lua.reduce', fn = add, commutative = true}, "
        "threads, memory), fold(sums, add))\n"
        "  is(aggregate(numbers, {aggregate = 'lua.reduce', fn = add, kernel = 'sum'}, threads, "
        "memory), fold(sums, add))\n"
        "  is(aggregate(numbers, {aggregate = 'lua.reduce', fn = math.max, kernel = 'max'}, "
        "threads, memory), fold(sums, math.max))\n"
        "  is(aggregate(numbers, {aggregate = 'lua.reduce', fn = function(a, b) return b end, "
        "kernel = 'last'}, threads, memory),\n"
        "    fold(sums, function(a, b) return b end))\n"
        "  is(aggregate(strings, {aggregate = 'lua.reduce', fn = join}, threads, memory), "
        "fold(texts, join))\n"
        "  is(aggregate(strings, {aggregate = 'lua.reduce', fn = function(a) return a end, kernel "
        "= 'first'}, threads, memory),\n"
        "    fold(texts, function(a) return a end))\n"
        "  is(aggregate(tables, {aggregate = 'lua.reduce', fn = list}, threads, memory),\n"
        "    fold(tests, function(a, b) local c = {table.unpack(a)} return list(c, b) end))\n"
        "end\n");
}

/* Some keys see only numbers, others strings of digits too: the kernel must give way without a trace. */
static void test_kernel_gives_way(void **state)
{
    (void)state;
    check("local function add(a, b) return a + b end\n"
          "local function mixed(key)\n"
          "  if type(key) == 'string' and math.random() < 0.01 then return "
          "tostring(math.random(50)) end\n"
          "  return math.random() < 0.02 and math.random(9) + 0.5 or math.random(50)\n"
          "end\n"
          "for round = FEWEST_THREADS, 3 do\n"
          "  local morsels, lists = pairs_of(6, 2000, 60, mixed)\n"
          "  for threads, memory in settings() do\n"
          "    is(aggregate(morsels, {aggregate = 'lua.reduce', fn = add, kernel = 'sum'}, "
          "threads, memory), fold(lists, add))\n"
          "  end\n"
          "end\n"
          "is(aggregate({{{'a', {1}}, {'b', 1}, {'b', 2}}}, {aggregate = 'lua.reduce', fn = add, "
          "kernel = 'sum'}), {['\"a\"'] = {1}, ['\"b\"'] = 3})\n"
          "is(aggregate({{{'a', nil}, {'a', 1}}, {{'a', 2}}}, {aggregate = 'lua.reduce', fn = "
          "function(a, b) return (a or 0) + (b or 0) end, kernel = 'sum'}),\n"
          "  {['\"a\"'] = 3})\n"
          "local out, message = aggregate({{{'a', 1}, {'a', {}}}}, {aggregate = 'lua.reduce', fn = "
          "add, kernel = 'sum'})\n"
          "assert(message:find('arithmetic on a table value') and message:find('in reduce_by_key') "
          "and message:find('record input.txt:2'), message)\n");
}

static void test_combine_by_key(void **state)
{
    (void)state;
    check("local n = 0\n"
          "local morsels, lists = pairs_of(7, 1000, 200, function() n = n + 1 return n end)\n"
          "local node = {aggregate = 'lua.combine_by_key', label = 'lists', create = function(v) "
          "return {v} end,\n"
          "  merge_value = function(s, v) s[#s + 1] = v return s end,\n"
          "  merge_combiners = function(a, b) for i = 1, #b do a[#a + 1] = b[i] end return a end}\n"
          "for _, l in pairs(lists) do l.n = nil end\n"
          "for threads, memory in settings() do is(aggregate(morsels, node, threads, memory), "
          "lists) end\n"
          /* several values make a list */
          "is(aggregate({{{'a', 1, 2}, {'a', 3, 4}}}, {aggregate = 'lua.reduce', fn = function(a, "
          "b) return {a[1] + b[1], a[2] + b[2]} end, kernel = 'sum'}),\n"
          "  {['\"a\"'] = {4, 6}})\n"
          "local function broken(name)\n"
          "  local copy = {} for k, v in pairs(node) do copy[k] = v end\n"
          "  copy[name] = function() error(string.format('broke')) end\n"
          "  local out, message = aggregate(morsels, copy)\n"
          "  assert(message:find('broke') and message:find('in lists'), message)\n"
          "end\n"
          "broken('create') broken('merge_value') broken('merge_combiners')\n"
          "node.create, node.merge_value = function(v) return print end, function(s) return s end\n"
          "local out, message = aggregate(morsels, node)\n"
          "assert(message:find('lists: state is a function'), message)\n");
}

static void test_skip(void **state)
{
    (void)state;
    check("take_skipped()\n"
          "local bad = {{{'a', 1}, {'a', {}}, {'b', {}}, {'a', 2}}, {{'b', {}}, {'b', 2}, {'a', "
          "4}}}\n"
          "local function add(a, b) return a + b end\n"
          "local function plus(v) return v + 0 end\n"
          "for threads = 1, 2 do\n"
          "  is(aggregate({bad[1]}, {aggregate = 'lua.reduce', fn = add, kernel = 'sum', on_error "
          "= 'skip'}, threads), {['\"a\"'] = 3, ['\"b\"'] = {}})\n"
          "  is(aggregate(bad, {aggregate = 'lua.combine_by_key', create = plus, merge_value = "
          "add, merge_combiners = add, on_error = 'skip'}, threads),\n"
          "    {['\"a\"'] = 7, ['\"b\"'] = 2})\n"
          "end\n"
          "assert(take_skipped() == 2 * (1 + 3))\n"
          "is(aggregate({{{'a', {}}}}, {aggregate = 'lua.combine_by_key', create = plus, "
          "merge_value = add, merge_combiners = add, on_error = 'skip'}), {})\n");
}

/* States that hold much more than their entries: they must be flushed, not pile up. */
static void test_large_states(void **state)
{
    (void)state;
    check("local records = {}\n"
          "for i = 1, 20000 do records[i] = {i % 50, ('x'):rep(200)} end\n"
          "local got = aggregate({records, records}, {aggregate = 'lua.combine_by_key', create = "
          "function(v) return {v} end,\n"
          "  merge_value = function(s, v) s[#s + 1] = v return s end,\n"
          "  merge_combiners = function(a, b) for i = 1, #b do a[#a + 1] = b[i] end return a end}, "
          "1, 12 << 20)\n"
          "for k = 0, 49 do assert(#got[tostring(k)] == 800) end\n");
}

int main(void)
{
    random_start("test_ops_aggregate");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reduce),         cmocka_unit_test(test_kernel_gives_way),
        cmocka_unit_test(test_combine_by_key), cmocka_unit_test(test_skip),
        cmocka_unit_test(test_large_states),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
