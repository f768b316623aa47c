/* The operators that call Lua, on real workers, against what plain Lua computes. */
#include "run_ops.h"

static void test_map(void **state)
{
    (void)state;
    check_lua(
        "is(through(each{1, 2.5, 'x', true}, {op = 'lua.map', fn = function(v) return v, v end}),\n"
        "   {{1, 1}, {2.5, 2.5}, {'x', 'x'}, {true, true}})\n"
        "is(through(each{1, 2}, {op = 'lua.map', fn = function() end}), {{}, {}})\n" /* {nil} */
        "is(through({{'a', 1}, {'b', 2}}, {op = 'lua.map', fn = function(k, v) return v, k, {k, x "
        "= nil} end}),\n"
        "   {{1, 'a', {'a'}}, {2, 'b', {'b'}}})\n"
        "is(through({{'a', 1, 2}, {'b', {3}, 4}}, {op = 'lua.map_values', fn = function(x, y) "
        "return y, x end}),\n"
        "   {{'a', 2, 1}, {'b', 4, {3}}})\n"
        /* wide, mixed, long strings, nested tables: everything at random, with rows not selected */
        "math.randomseed(seed)\n"
        "local function value(depth)\n"
        "  local kind = math.random(depth > 2 and 6 or 8)\n"
        "  if kind == 1 then return math.random(-5, 5) elseif kind == 2 then return math.random() "
        "end\n"
        "  if kind == 3 then return math.random() < 0.5 elseif kind == 4 then return "
        "('x'):rep(math.random(0, 40)) end\n"
        "  if kind == 5 then return math.mininteger elseif kind == 6 then return 'k' .. "
        "math.random(9) end\n"
        "  local t = {}\n"
        "  for i = 1, math.random(3) do t[kind == 7 and i or 'f' .. i] = value(depth + 1) end\n"
        "  return t\n"
        "end\n"
        "for round = 1, 20 do\n"
        "  local records, width = {}, math.random(30)\n"
        "  for i = 1, math.random(3 * math.min(BATCH_ROWS, 200)) do\n"
        "    records[i] = {}\n"
        "    for j = 1, width do records[i][j] = value(1) end\n"
        "  end\n"
        "  local out = run{morsels = {records}, sparse = round % 2 == 0, stages = {{{op = "
        "'lua.map', fn = function(...) return ... end}}}}\n"
        "  is(flat(out), records)\n"
        "end\n");
}

static void test_flat_map(void **state)
{
    (void)state;
    check_lua(
        "local lines = each{'a b', '', 'c', 'd e f'}\n"
        "local words = each{'a', 'b', 'c', 'd', 'e', 'f'}\n"
        "is(through(lines, {op = 'lua.flat_map', fn = function(l, emit) for w in l:gmatch('%a') do "
        "emit(w) end end}), words)\n"
        "is(through(lines, {op = 'lua.flat_map', fn = function(l) local t = {} for w in "
        "l:gmatch('%a') do t[#t + 1] = w end return t end}), words)\n"
        "is(through({{'k', 2}, {'m', 0}, {{1}, 1}}, {op = 'lua.flat_map_values', fn = function(n, "
        "emit) for i = 1, n do emit(i, 'v') end end}),\n"
        "   {{'k', 1, 'v'}, {'k', 2, 'v'}, {{1}, 1, 'v'}})\n"
        "is(through({{'k', 2}}, {op = 'lua.flat_map_values', fn = function(n) return {n, {n}} "
        "end}), {{'k', 2}, {'k', {2}}})\n"
        "local m = fails('a number %(a list', each{1}, {op = 'lua.flat_map', fn = function(v) "
        "return v end})\n"
        "assert(m:find('chunk:%d+: what the function gave') and m:find('in flat_map') and "
        "m:find('record input.txt:1'), m)\n"
        "fails('no list', each{1}, {op = 'lua.flat_map', fn = function(v) return {a = 1} end})\n"
        "fails('emit: value.x%[1%] is a function', each{1}, {op = 'lua.flat_map', fn = function(v, "
        "emit) emit({x = {print}}) end})\n"
        "fails('values in one record', each{1}, {op = 'lua.flat_map', fn = function(v, emit) "
        "emit(table.unpack({}, 1, 251)) end})\n"
        /* many more records than a batch holds, long strings; into a second operator that emits too */
        "local big, want = {}, {}\n"
        "for i = 1, 50 do big[i] = {i} for j = 1, i * 7 do want[#want + 1] = {(i .. 'x'):rep(j), "
        "j, 'second'} end end\n"
        "is(through(big, {op = 'lua.flat_map', fn = function(i, emit) for j = 1, i * 7 do emit((i "
        ".. 'x'):rep(j), j) end end},\n"
        "   {op = 'lua.flat_map', fn = function(s, j, emit) emit(s, j, 'second') end}), want)\n"
        /* records of different width */
        "is(through(each{1, 2, 3}, {op = 'lua.flat_map', fn = function(v, emit) if v == 1 then "
        "emit() elseif v == 2 then emit(1, 2, 3) else emit('x') end end}),\n"
        "   {{nil}, {1, 2, 3}, {'x'}})\n");
}

static void test_emit_misuse(void **state)
{
    (void)state;
    check_lua(
        /* kept beyond its task, across operators and in coroutines */
        "fails('emit called outside its task', each{1, 2},\n"
        "  {op = 'lua.flat_map', fn = function(v, emit) table.kept = emit emit(v) end},\n"
        "  {op = 'lua.map', fn = function(v) table.kept(v) end})\n"
        "local out = run{morsels = {each{1}}, stages = {{{op = 'lua.flat_map', fn = function(v, "
        "emit)\n"
        "  local co = coroutine.wrap(function() for i = 1, 3000 do emit(i) if i % 100 == 0 then "
        "coroutine.yield() end end return 'end' end)\n"
        "  while co() ~= 'end' do end end},\n"
        "  {op = 'lua.map', fn = function(v) return -v end}}}}\n"
        "assert(#flat(out) == 3000 and flat(out)[3000][1] == -3000)\n"
        /* errors from below come through emit, even when caught */
        "local out, message, status = run{morsels = {each{1}}, stages = {{\n"
        "  {op = 'lua.flat_map', fn = function(v, emit) for i = 1, 10000 do pcall(emit, i) end "
        "end},\n"
        "  sink = {op = 'test.collect', fail_at = 20}}}}\n"
        "assert(out == nil and message == 'the disk is full' and status == 5, message)\n"
        "local message = fails('below', each{1}, {op = 'lua.flat_map', fn = function(v, emit) for "
        "i = 1, 10000 do emit(i) end end},\n"
        "  {op = 'lua.map', fn = function(v) if v == 3000 then error('below') end end})\n"
        "assert(message:find('in map') and message:find('record input.txt:1'), message)\n");
}

static void test_filter(void **state)
{
    (void)state;
    check_lua("local records, want = {}, {}\n"
              "for i = 1, 5000 do records[i] = {i, i * 2} if i % 3 == 0 then want[#want + 1] = {i, "
              "i * 2} end end\n"
              "local even = {op = 'lua.filter', fn = function(k) return k % 3 == 0 end}\n"
              "is(through(records, even), want)\n"
              "is(flat(run{morsels = {records}, sparse = true, stages = {{even, even}}}), want)\n"
              "is(through(records, {op = 'lua.foreach', fn = function(k, v) assert(v == 2 * k) "
              "end}), records)\n"
              "for i, r in ipairs(want) do want[i] = {r[1] % 7, r[1], r[2]} end\n"
              "is(through(records, even, {op = 'lua.key_by', fn = function(k, v) return k % 7 "
              "end}), want)\n"
              "for i, r in ipairs(want) do want[i] = {r[2] % 5, r[2], r[3]} end\n"
              "is(through(records, even, {op = 'lua.partition', n = 5, fn = function(k, n) return "
              "(k % n) + 0.0 end}), want)\n"
              "fails('a float %(the number', each{1}, {op = 'lua.partition', n = 5, fn = "
              "function(k, n) return 0.5 end})\n"
              "fails('a string %(the number', each{1}, {op = 'lua.partition', n = 5, fn = "
              "function(k, n) return '1' end})\n"
              "fails('key is a function', each{1}, {op = 'lua.key_by', fn = function(k, n) return "
              "print end})\n"
              "is(through(each{'x'}, {op = 'lua.key_by', fn = function() end}), {{nil, 'x'}})\n");
}

static void test_skip(void **state)
{
    (void)state;
    check_lua(
        "take_skipped()\n"
        "local records, want = {}, {}\n"
        "for i = 1, 3000 do records[i] = {i % 3 == 0 and 'bad' or i} end\n"
        "for i = 1, 3000 do if i % 3 ~= 0 then want[#want + 1] = {i + 1} end end\n"
        "local function add(v) return v + 1 end\n"
        "is(through(records, {op = 'lua.map', on_error = 'skip', fn = add}), want)\n"
        "local n, told = take_skipped()\n"
        "assert(n == 1000 and #told == 1 and told[1].n == 1000 and told[1].verb == 'map', n)\n"
        "assert(told[1].message:find('attempt to add') and told[1].kind == 'error')\n"
        "assert(told[1].message:find(told[1].place, 1, true) == 1, told[1].place)\n"
        "assert(take_skipped() == 0)\n"
        "is(#through(records, {op = 'lua.key_by', on_error = 'skip', fn = add}), 2000)\n"
        "is(#through(records, {op = 'lua.key_by', on_error = 'skip', fn = function(v) return v == "
        "'bad' and print or v end}), 2000)\n"
        "is(#through(records, {op = 'lua.map', on_error = 'skip', fn = function(v) return v == "
        "'bad' and {print} or v end}), 2000)\n"
        "is(#through(records, {op = 'lua.filter', on_error = 'skip', fn = add}), 2000)\n"
        "is(#through(records, {op = 'lua.foreach', on_error = 'skip', fn = add}), 2000)\n"
        "is(#through(records, {op = 'lua.flat_map', on_error = 'skip', fn = function(v, emit) "
        "emit(v + 1) end}), 2000)\n"
        "is(#through(records, {op = 'lua.flat_map', on_error = 'skip', fn = function(v, emit) "
        "emit(v == 'bad' and print or v) end}), 2000)\n"
        "is(#through(records, {op = 'lua.mapper', on_error = 'skip', fn = function(_, v, emit) "
        "emit(v + 1) end}), 2000)\n"
        "assert(take_skipped() == 8000)\n"
        /* what is the engine's is not skipped */
        "local out, message = run{morsels = {each{1}}, stages = {{\n"
        "  {op = 'lua.flat_map', on_error = 'skip', fn = function(v, emit) for i = 1, 10000 do "
        "emit(i) end end},\n"
        "  sink = {op = 'test.collect', fail_at = 20}}}}\n"
        "assert(message == 'the disk is full' and take_skipped() == 0, message)\n"
        "fails('on_error is neither', each{1}, {op = 'lua.map', on_error = 'perhaps', fn = add})\n"
        "fails('has no function .fn.', each{1}, {op = 'lua.map'})\n");
}

static void test_mapper(void **state)
{
    (void)state;
    check_lua(
        "local morsels = {}\n"
        "for m = 1, 9 do morsels[m] = {} for i = 1, m * 500 do morsels[m][i] = {i} end end\n"
        "local out = assert(run{threads = 3, morsels = morsels, stages = {{{op = 'lua.mapper',\n"
        "  init = function(task) task.n = 0 assert(task.attempt == 1 and task.input == "
        "'input.txt') end,\n"
        "  fn = function(key, value, emit, task) assert(key == nil) task.n = task.n + value if "
        "value % 1000 == 0 then emit('at', value) end end,\n"
        "  final = function(emit, task) emit(task.index, task.n) end}}}})\n"
        "for m = 1, 9 do\n"
        "  local n, want = m * 500, {}\n"
        "  for i = 1000, n, 1000 do want[#want + 1] = {'at', i} end\n"
        "  want[#want + 1] = {m, n * (n + 1) // 2}\n"
        "  is(out[m], want)\n"
        "end\n"
        "is(through({{'k', 1, 'x'}}, {op = 'lua.mapper', fn = function(...) select(4, "
        "...)(select('#', ...), (...)) end}), {{5, 'k'}})\n"
        "local m = fails('mapper broke', {{'k', 1}, {'k', 2}}, {op = 'lua.mapper', fn = "
        "function(k, v) if v == 2 then error('mapper broke') end end})\n"
        "assert(m:find('record input.txt:2') and m:find('in mapper'), m)\n"
        "fails('init broke', each{1}, {op = 'lua.mapper', fn = print, init = function() "
        "error('init broke') end})\n"
        "fails('final broke', each{1}, {op = 'lua.mapper', fn = function() end, final = function() "
        "error('final broke') end})\n"
        /* the sink has enough of each morsel: the next one is whole again */
        "local out = assert(run{morsels = morsels, stages = {{\n"
        "  {op = 'lua.mapper', fn = function(_, v, emit) for i = 1, 10 do emit(v) end end}, sink = "
        "{op = 'test.collect', enough = 15}}}})\n"
        "for m = 1, 9 do assert(#out[m] == 15 and out[m][11][1] == 2) end\n");
}

static void test_map_partitions(void **state)
{
    (void)state;
    check_lua(
        "local morsels = {}\n"
        "for m = 1, 7 do morsels[m] = {} for i = 1, (m - 1) * 1000 do morsels[m][i] = {i, m} end "
        "end\n"
        "local function both(fn, threads) return assert(run{threads = threads, morsels = morsels, "
        "stages = {{{op = 'lua.map_partitions', fn = fn}}}}) end\n"
        "local function sum(iterator, emit, index)\n"
        "  local n = 0\n"
        "  for i, m in iterator do assert(m == index) n = n + i if i % 700 == 0 then emit('at', i) "
        "end end\n"
        "  emit(index, n)\n"
        "end\n"
        "for threads = 1, 2 do\n"
        "  local out = both(sum, threads)\n"
        "  for m = 1, 7 do\n"
        "    local n, want = (m - 1) * 1000, {}\n"
        "    for i = 700, n, 700 do want[#want + 1] = {'at', i} end\n"
        "    want[#want + 1] = {m, n * (n + 1) // 2}\n"
        "    is(out[m], want)\n"
        "  end\n"
        "end\n"
        /* returns early; never reads; reads through pcall */
        "is(#flat(both(function(it, emit) for i = 1, 3 do emit((it())) end end)), 21)\n"
        "is(#flat(both(function(it, emit) emit('x') end)), 7)\n"
        "is(#flat(both(function(it, emit) pcall(function() for i in it do emit(i) end end) end)), "
        "21000)\n"
        "local function one(fn, pattern) return fails(pattern, morsels[7], {op = "
        "'lua.map_partitions', fn = fn}) end\n"
        "one(function(it) coroutine.wrap(it)() end, 'another coroutine')\n"
        "one(function(it) coroutine.yield(1) end, 'must not yield')\n"
        "local m = one(function(it) for i in it do if i == 5001 then error('part') end end end, "
        "'part')\n"
        "assert(m:find('stack traceback') and m:find('record input.txt:5001') and m:find('in "
        "map_partitions'), m)\n"
        /* nil in front */
        "fails('a for loop would end', {{1}, {nil, 2}, {3}}, {op = 'lua.map_partitions', fn = "
        "function(it) for _ in it do end end})\n"
        "is(through({{1}, {nil, 2}, {3}}, {op = 'lua.map_partitions', fn = function(it, emit)\n"
        "  while true do local t = table.pack(it()) if t.n == 0 then break end emit(t.n, t[2]) end "
        "end}), {{2}, {2, 2}, {2}})\n"
        /* an iterator that is kept is dead afterwards */
        "fails('iterator called outside', each{1}, {op = 'lua.map_partitions', fn = function(it, "
        "emit) table.kept = it emit(1) emit(2) end},\n"
        "  {op = 'lua.map', fn = function() return 1 end}, {op = 'lua.mapper', fn = function() "
        "end, final = function() table.kept() end})\n"
        /* two of them, one upon the other, with emit pushing while both run */
        "is(#through(morsels[7], {op = 'lua.map_partitions', fn = function(it, emit) for i in it "
        "do emit(i) emit(-i) end end},\n"
        "  {op = 'lua.map_partitions', fn = function(it, emit) for i in it do if i > 0 then "
        "emit(i) end end end}), 6000)\n"
        "local out, message = run{morsels = {morsels[7]}, stages = {{\n"
        "  {op = 'lua.map_partitions', fn = function(it, emit) for i in it do pcall(emit, i) end "
        "end},\n"
        "  sink = {op = 'test.collect', fail_at = 4000}}}}\n"
        "assert(message == 'the disk is full', message)\n");
}

static void test_fold(void **state)
{
    (void)state;
    check_lua(
        "local morsels, want = {}, {}\n"
        "for m = 1, 6 do morsels[m] = {} for i = 1, m == 3 and 0 or m * 1000 do morsels[m][i] = "
        "{i, m} end end\n"
        "local out = assert(run{threads = 2, morsels = morsels, stages = {{{op = 'lua.fold',\n"
        "  create = function(i, m) return {i, m} end, step = function(s, i, m) s[1] = s[1] + i "
        "return s end}}}})\n"
        "for m = 1, 6 do is(out[m], m == 3 and {} or {{{m * 1000 * (m * 1000 + 1) // 2, m}}}) end\n"
        "is(through(each{1, 2, 3}, {op = 'lua.fold', create = function() end, step = function(s, "
        "v) end}), {{nil}})\n"
        "is(through(each{1, 'x', 3}, {op = 'lua.fold', on_error = 'skip', create = function(v) "
        "return v end, step = function(s, v) return s + v end}), {{4}})\n"
        "fails('value is a function', each{1}, {op = 'lua.fold', create = function() return print "
        "end, step = print})\n");
}

/* Groups through the sort sink, compared with tables. */
static void test_groups(void **state)
{
    (void)state;
    check_lua("math.randomseed(seed)\n"
              "local keys = {'apple', 'a long key of more than twelve bytes', 7, 7.5, true, false, "
              "{1, 'x'}, {a = 1}, -3}\n"
              "local morsels, want, order = {}, {}, 0\n"
              "for m = 1, 8 do\n"
              "  morsels[m] = {}\n"
              "  for i = 1, math.random(0, 3000) do\n"
              "    local key = math.random() < 0.5 and keys[math.random(#keys)] or 'k' .. "
              "math.random(500)\n"
              "    order = order + 1\n"
              "    morsels[m][i] = {key, order, 'v' .. order}\n"
              "    local name = text(key)\n"
              "    want[name] = want[name] or {}\n"
              "    table.insert(want[name], order)\n"
              "  end\n"
              "end\n"
              "for _, memory in ipairs{64 << 20, 1 << 20} do\n"
              "  for threads = FEWEST_THREADS, 2 do\n"
              "    local out = assert(run{threads = threads, memory = memory, morsels = morsels, "
              "stages = {\n"
              "      {{op = 'lua.map', fn = function(...) return ... end}, sink = {op = 'sort', by "
              "= 'hash', partitions = 5, key = 'first', keep_key = true}},\n"
              "      {{op = 'lua.groups', init = function(task) task.groups = 0 end,\n"
              "        fn = function(key, values, emit, task)\n"
              "          task.groups = task.groups + 1\n"
              "          local all = {}\n"
              "          for n, s in values do assert(s == 'v' .. n) all[#all + 1] = n end\n"
              "          assert(select('#', values()) == 0)\n"
              "          emit(key, all)\n"
              "        end,\n"
              "        final = function(emit, task) assert(task.input == nil) emit('groups', "
              "task.groups) end}}}})\n"
              "    local got, groups = {}, 0\n"
              "    assert(#out == 5)\n"
              "    for p = 1, 5 do\n"
              "      local last = table.remove(out[p])\n"
              "      assert(last[1] == 'groups' and last[2] == #out[p])\n"
              "      for _, r in ipairs(out[p]) do got[text(r[1])] = r[2] end\n"
              "    end\n"
              "    is(got, want)\n"
              "  end\n"
              "end\n");
}

static const char groups_prelude[] =
    "function groups(records, fn, more)\n"
    "  local node = {op = 'lua.groups', fn = fn}\n"
    "  for k, v in pairs(more or {}) do node[k] = v end\n"
    "  local out, message = run{morsels = {records}, stages = {{sink = {op = 'sort', by = 'hash', "
    "key = 'first', keep_key = true}}, {node}}}\n"
    "  return out and flat(out), message\n"
    "end\n";

static void test_groups_edges(void **state)
{
    (void)state;
    char chunk[8192];
    snprintf(
        chunk, sizeof chunk, "%s%s", groups_prelude,
        "local records = {}\n"
        "for i = 1, 3000 do records[i] = {'k' .. i % 3, i} end\n"
        /* not read to the end, not read at all */
        "is(groups(records, function(k, values, emit) emit(k, (values())) end), {{'k0', 3}, {'k1', "
        "1}, {'k2', 2}})\n"
        "is(groups(records, function(k, values, emit) emit(k) end), {{'k0'}, {'k1'}, {'k2'}})\n"
        /* kept too long */
        "local out, message = groups(records, function(k, values, emit) if table.kept then "
        "table.kept() end table.kept = values end)\n"
        "assert(message:find('values of a group are gone') and message:find('key \"k1\"'), "
        "message)\n"
        /* where it fails */
        "local out, message = groups(records, function(k, values, emit) for v in values do if v == "
        "2002 then error('reducer broke') end end end)\n"
        "assert(message:find('reducer broke') and message:find('in groups') and message:find('key "
        "\"k1\", value 668 of'), message)\n"
        /* skipping groups */
        "take_skipped()\n"
        "is(groups(records, function(k, values, emit) if k == 'k1' then values() error('x') end "
        "emit(k) end, {on_error = 'skip'}), {{'k0'}, {'k2'}})\n"
        "assert(take_skipped() == 1)\n"
        /* nil values */
        "local out, message = groups({{'a', 1}, {'a', nil}, {'a', 2}}, function(k, values) for v "
        "in values do end end)\n"
        "assert(message:find('a for loop would end at this value') and message:find('value 2 of'), "
        "message)\n"
        "is(groups({{'a', 1}, {'a', nil}, {'a', 2}}, function(k, values, emit)\n"
        "  local n = 0 while select('#', values()) > 0 do n = n + 1 end emit(k, n) end), {{'a', "
        "3}})\n"
        "is(groups(each{'a', 'b', 'a'}, function(k, values, emit)\n"
        "  local n = 0 while select('#', values()) > 0 do n = n + 1 end emit(k, n) end), {{'a', "
        "2}, {'b', 1}})\n"
        /* wide values, in a coroutine */
        "local wide = {'key'} for i = 2, 200 do wide[i] = i end\n"
        "is(groups({wide, wide}, function(k, values, emit) local co = coroutine.wrap(function() "
        "emit(k, values()) emit(k, values()) end) co() end), {wide, wide})\n"
        "local out, message = run{morsels = {records}, stages = {{sink = {op = 'test.collect'}}, "
        "{{op = 'lua.groups', fn = print}}}}\n"
        "assert(message:find('stands on no sort'), message)\n");
    check_lua(chunk);
}

static void test_combine(void **state)
{
    (void)state;
    check_lua(
        "math.randomseed(seed)\n"
        "local function job(distinct, memory, threads)\n"
        "  local morsels, want, n = {}, {}, 0\n"
        "  for m = 1, 6 do\n"
        "    morsels[m] = {}\n"
        "    for i = 1, math.random(0, 4000) do\n"
        "      local key = math.random(distinct)\n"
        "      if key % 3 == 0 then key = 'k' .. key elseif key % 3 == 1 then key = {key} end\n"
        "      n = n + 1\n"
        "      morsels[m][i] = {key, tostring(n)}\n"
        "      want[text(key)] = (want[text(key)] or '') .. ',' .. n\n"
        "    end\n"
        "  end\n"
        "  local function join(key, values, emit) local all = {} for v in values do all[#all + 1] "
        "= v end emit(key, table.concat(all, ',')) end\n"
        "  local counted = assert(run{threads = threads, memory = memory, morsels = morsels, "
        "stages = {{{op = 'lua.combine', fn = join,\n"
        "    init = function(task) task.began = true end, final = function(emit, task) "
        "assert(task.began) end}}}})\n"
        "  local out = assert(run{threads = threads, memory = memory, morsels = morsels, stages = "
        "{\n"
        "    {{op = 'lua.combine', fn = join}, sink = {op = 'sort', by = 'hash', partitions = 3, "
        "key = 'first', keep_key = true}},\n"
        "    {{op = 'lua.groups', fn = join}}}})\n"
        "  local got = {}\n"
        "  for _, r in ipairs(flat(out)) do assert(got[text(r[1])] == nil) got[text(r[1])] = ',' "
        ".. r[2] end\n"
        "  is(got, want)\n"
        "  return n, #flat(counted)\n"
        "end\n"
        "local n, left = job(10, 256 << 20, 1)\n"
        "assert(left <= (BATCH_ROWS > 7 and 60 or n), left)\n"
        "job(10, 1 << 20, 2) job(1000000, 256 << 20, 2) job(1000, 4 << 20, 1) job(1000000, 1 << "
        "20, 2)\n"
        "local m = fails('combiner broke', {{'a', 1}, {'b', 2}}, {op = 'lua.combine', fn = "
        "function(k, values) if k == 'b' then values() error('combiner broke') end end})\n"
        "assert(m:find('key \"b\", value 1 of'), m)\n");
}

int main(void)
{
    random_start("test_ops");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_flat_map),
        cmocka_unit_test(test_emit_misuse),
        cmocka_unit_test(test_filter),
        cmocka_unit_test(test_skip),
        cmocka_unit_test(test_mapper),
        cmocka_unit_test(test_map_partitions),
        cmocka_unit_test(test_fold),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_groups_edges),
        cmocka_unit_test(test_combine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
