/* Rows for Lua functions: what functions read of them, the shared row and rows of their own. */
#include "run_ops.h"

/* What core.row_reads finds, for functions of the parameter r, against what is written next to them. */
static void test_reads(void **state)
{
    (void)state;
    check_lua(
        "local function check(code, want, param)\n"
        "  local fn = assert(load('local up, emit = 1, print ' .. code))()\n"
        "  local got = core.row_reads(fn, param)\n"
        "  got = got and table.concat(got, ',') or 'all'\n"
        "  if got ~= want then error(code .. '\\n  got ' .. got .. ', want ' .. want, 2) end\n"
        "end\n"
        /* nothing but reads */
        "check('return function(r) return r.x end', 'x')\n"
        "check('return function(r) return r.x, r.y, r.x end', 'x,y')\n"
        "check('return function(r) return r[\"x y\"] end', 'x y')\n"
        "check('return function(r) return r.age >= 18 and r.country == \"SE\" end', "
        "'age,country')\n"
        "check('return function(r) return r.a.b.c end', 'a')\n"
        "check('return function(r) return r.list[1], #r.list, r.list[r.i] end', 'list,i')\n"
        "check('return function(r) return -r.a + 1 - r.b * 2 .. r.c // 3 << r.d end', 'a,b,c,d')\n"
        "check('return function(r) return r.name:upper():sub(1, r.n) end', 'name,n')\n"
        "check('return function(r) local a, b = r.a, r.b if a then a = b end return {a, x = b} "
        "end', 'a,b')\n"
        "check('return function(r) return print(r.a), up, _G.r end', 'a')\n"
        "check('return function(r) r.a.b = r.c end', 'a,c')\n"
        "check('return function() return 1 end', '')\n"
        "check('return function(r) return 1 end', '')\n"
        "check('return function(r) return end', '')\n"
        "check('return function(r) if up then return end return r.x end', 'x')\n"
        "check('return function(a, r) return a, a.q end', '', 2)\n"
        "check('return function(a, r) a = r.x return a end', 'x', 2)\n"
        "check('return function(a, r, b) b(a, r.y) return a, b end', 'y', 2)\n"
        "check('return function(a, r) return a end', '', 3)\n"
        "check('return function(r, ...) return r.x, ... end', 'x')\n"
        "check('return function(r) local n = 0 for i = 1, r.n do n = n + i * r.k end return n "
        "end', 'n,k')\n"
        "check('return function(r) local n = 0 while n < r.n do n = n + r.s end repeat n = n - r.t "
        "until n < r.u return n end', 'n,s,t,u')\n"
        "check('return function(r) local i = 0 ::top:: i = i + r.a if i < r.b then goto top end "
        "return i end', 'a,b')\n"
        "check('return function(r) for k, v in pairs(r.t) do if k == r.k then return v end end "
        "end', 't,k')\n"
        "check('return function(r) local r = r.x return r, r.y end', 'x')\n"
        "check('return function(r) local x = r.x return function() return x end end', 'x')\n"
        "check('return function(r) local x = r.x return function(r) return r, x end end', 'x')\n"
        "check('return function(r) do local a <close> = nil end local c <const> = r.c return c "
        "end', 'c')\n"
        "check('return function(r, emit) emit(r.x, r.y, (r.z)) return emit(r.w) end', 'x,y,z,w')\n"
        /* anything else */
        "for _, body in ipairs{'return r', 'return (r)', 'return 1, r', 'return r, 1', 'return "
        "r.x, r', 'local s = r return s.x',\n"
        "    'return r[up]', 'return r[1]', 'return r[r.x]', 'r.x = 1', 'r[1] = 2', 'r[up] = 3', "
        "'emit(r)', 'return emit(r)',\n"
        "    'return emit(1, r)', 'return {r}', 'return {a = r}', 'up = r', 'up.a = r', 'up[1] = "
        "r', 'up[2.5] = r', 'up[emit] = r',\n"
        "    'up[r] = 1', 'return up[r]', 'return #r', 'return -r', 'return not r', 'return ~r', "
        "'return r + 1', 'return 1 + r', 'return r .. 1',\n"
        "    'return 1 .. r', 'return up + r', 'return r + up', 'return r & 1', 'return r >> 1', "
        "'return 1 << r', 'return r == up', 'return up == r', 'return r == 1',\n"
        "    'return r == \"a\"', 'return r < 1', 'return 1 < r', 'return r <= up', 'return "
        "r:f()', 'return up:f(r)', 'return up.x(r)', 'return r()', 'r = nil', 'r = up',\n"
        "    'r = r.x return r', 'for k in pairs(r) do end', 'for i = 1, r do end', 'for k in r do "
        "end', 'while r do emit() end',\n"
        "    'if r then return 1 end', 'return r and r.x', 'return r or 1', 'return up and r', "
        "'return function() return r end',\n"
        "    'return function() return r.x end', 'return function() return function() return r.x "
        "end end',\n"
        "    'up(function() r = 1 end)', 'local s <close> = r', 'goto done do emit(1) end ::done:: "
        "return r',\n"
        "    'for i = 1, 2 do up[i] = function() return r.x end end', 'local t = {} t.x, t.y = 1, "
        "r',\n"
        "    'return r[\"a name that is longer than the forty bytes of a short string\"]'} do\n"
        "  check('return function(r) ' .. body .. ' end', 'all')\n"
        "  check('return function(a, r, b) ' .. body .. ' end', 'all', 2)\n"
        "  check('return function(a, r, ...) ' .. body .. ' end', 'all', 2)\n"
        "end\n"
        "check('return function(...) local r = ... return r.x end', 'all')\n"
        "check('return function(a, ...) return ... end', 'all', 2)\n"
        "check('return print', 'all')\n"
        "check('return string.upper', 'all')\n"
        /* names beyond the 256 constants that an instruction can name */
        "local code = {}\n"
        "for i = 1, 300 do code[i] = 'up = r.f' .. i .. ' ' end\n"
        "check('return function(r) ' .. table.concat(code) .. ' end', 'all')\n"
        "assert(core.row_reads(load(string.dump(function(r) return r.a end, true)))[1] == 'a')\n"
        "assert(not pcall(core.row_reads, 1) and not pcall(core.row_reads, print, 0))\n");
}

/* Every register operand of random expressions: where r is mentioned bare, it is seen. */
static void test_reads_random(void **state)
{
    (void)state;
    check_lua(
        "math.randomseed(seed)\n"
        "local function expression(depth, bare)\n"
        "  local kind = depth > 4 and math.random(3) or math.random(12)\n"
        "  local function e() return expression(depth + 1, bare) end\n"
        "  if kind == 1 then return 'r.f' .. math.random(9) end\n"
        "  if kind == 2 then return bare and math.random(4) == 1 and 'r' or 'a' end\n"
        "  if kind == 3 then return '3' end\n"
        "  if kind == 4 then return '(' .. e() .. ' + ' .. e() .. ')' end\n"
        "  if kind == 5 then return '(' .. e() .. ' .. ' .. e() .. ')' end\n"
        "  if kind == 6 then return 'g(' .. e() .. ', ' .. e() .. ')' end\n"
        "  if kind == 7 then return '{' .. e() .. ', x = ' .. e() .. ', [' .. e() .. '] = ' .. e() "
        ".. '}' end\n"
        "  if kind == 8 then return '(' .. e() .. ' and ' .. e() .. ' or ' .. e() .. ')' end\n"
        "  if kind == 9 then return '(' .. e() .. ' < ' .. e() .. ')' end\n"
        "  if kind == 10 then return '(g)(' .. e() .. ')[' .. e() .. ']' end\n"
        "  if kind == 11 then return '(not ' .. e() .. ')' end\n"
        "  return 'g:m(' .. e() .. ')'\n"
        "end\n"
        "for i = 1, 3000 do\n"
        "  local code = expression(1, i % 2 == 0)\n"
        "  local is_bare = code:find('%f[%w_]r%f[^%w_.]') ~= nil\n"
        "  local names, n = {}, 0\n"
        "  for name in code:gmatch('r%.(f%d)') do if not names[name] then names[name] = true n = n "
        "+ 1 end end\n"
        "  local fn = assert(load('local g return function(a, r) ' .. (i % 3 == 0 and 'local x = ' "
        "or 'return ') .. code .. ' end'))()\n"
        "  local got = core.row_reads(fn, 2)\n"
        "  if is_bare and got then error(code) end\n"
        "  if not is_bare then\n"
        "    if not got or #got > n then error(code) end\n"
        "    for _, name in ipairs(got) do assert(names[name], code) end\n"
        "  end\n"
        "end\n");
}

/* The shared row against rows of their own, for all types and nils, with and without selection. */
static void test_rows(void **state)
{
    (void)state;
    check_lua(
        "math.randomseed(seed)\n"
        "local names = {'i', 'f', 's', 'long', 'b', 't', 'n', 'mixed'}\n"
        "for round = 1, 30 do\n"
        "  local records = {}\n"
        "  for i = 1, math.random(400) do\n"
        "    local r = {i, i / 4, 's' .. i, ('long' .. i):rep(9), i % 2 == 0, {a = i, l = {i, "
        "'l'}}, i, i % 3 == 0 and 'text' or i % 3}\n"
        "    records[i] = r\n"
        "    if round > 1 then\n"
        "      for j = 2, 8 do if math.random(round) > 4 then r[j] = nil end end\n"
        "    end\n"
        "    r[7] = nil\n"
        "  end\n"
        /* an encoded list keeps holes only up to its last value: the last column is never nil */
        "  for _, r in ipairs(records) do r[8] = r[8] or 'm' end\n"
        "  local read = function(r) return r.i, r.f, r.s, r.long, r.b, r.t, r.n, r.mixed end\n"
        "  local late = function(r) if r.i > 0 then return r.i, r.f, r.s, r.long, r.b, r.t, r.n, "
        "r.mixed, r.s, r.t, r.long end end\n"
        "  local some = function(r) if r.i % 2 == 0 then return r.i, r.s, r.t else return r.i, "
        "r.long end end\n"
        "  local own = function(r) local a = r return a.i, a.f, a.s, a.long, a.b, a.t, a.n, "
        "a.mixed end\n"
        "  assert(core.row_reads(read) and core.row_reads(late) and core.row_reads(some) and not "
        "core.row_reads(own))\n"
        "  local plain = flat(run{morsels = {records}, stages = {{{op = 'lua.map', fn = "
        "function(...) return ... end}}}})\n"
        "  for _, sparse in ipairs{false, true} do\n"
        "    local function map(fn) return flat(assert(run{morsels = {records}, sparse = sparse, "
        "stages = {{{op = 'lua.map', fn = fn, names = names}}}})) end\n"
        "    is(map(read), plain)\n"
        "    is(map(own), plain)\n"
        "    local want = {}\n"
        "    for i, r in ipairs(plain) do want[i] = {table.unpack(r, 1, 8)} want[i][9], "
        "want[i][10], want[i][11] = r[3], r[6], r[4] end\n"
        "    is(map(late), want)\n"
        "    for i, r in ipairs(plain) do if i % 2 == 0 then want[i] = {r[1], r[3], r[6]} else "
        "want[i] = {r[1], r[4]} end end\n"
        "    is(map(some), want)\n"
        "  end\n"
        "end\n"
        /* rows of their own may be kept, changed and given back; nobody sees a later row through an old one */
        "is(through({{1, 'a'}, {2, 'b'}, {3, 'c'}}, {op = 'lua.map', names = {'n', 's'}, fn = "
        "function(r) table.last, r.before = r, table.last and table.last.n r.n = r.n * 2 return r "
        "end}),\n"
        "  {{{n = 2, s = 'a'}}, {{n = 4, s = 'b', before = 2}}, {{n = 6, s = 'c', before = 4}}})\n"
        /* more and fewer columns than names */
        "is(through({{1, 2, 3}}, {op = 'lua.map', names = {'a', 'b', 'c', 'd'}, fn = function(r) "
        "return r.c, r.d end}), {{3}})\n"
        "is(through({{1, 2, 3}}, {op = 'lua.map', names = {'a', 'b'}, fn = function(r) local s = r "
        "return s end}), {{{a = 1, b = 2}}})\n"
        "is(through({{1}, {2}}, {op = 'lua.map', names = {'a'}, fn = function(r) return 5 end}), "
        "{{5}, {5}})\n");
}

static void test_operators(void **state)
{
    (void)state;
    check_lua(
        "local names = {'id', 'age', 'name'}\n"
        "local people = {}\n"
        "for i = 1, 3000 do people[i] = {i, i * 7 % 90, 'p' .. i % 50} end\n"
        "local function pick(f) local out = {} for i, p in ipairs(people) do out[#out + 1] = f(p, "
        "i) end return out end\n"
        "local adults = pick(function(p) return p[2] >= 18 and p or nil end)\n"
        "is(through(people, {op = 'lua.filter', names = names, fn = function(r) return r.age >= 18 "
        "end}), adults)\n"
        "is(through(people, {op = 'lua.filter', names = names, fn = function(r) local s = r return "
        "s.age >= 18 end}), adults)\n"
        "is(flat(run{morsels = {people}, sparse = true, stages = {{{op = 'lua.filter', names = "
        "names, fn = function(r) return r.age >= 18 and r.name ~= 'x' end},\n"
        "  {op = 'lua.filter', names = names, fn = function(r) return r.age >= 18 end}}}}), "
        "adults)\n"
        "is(through(people, {op = 'lua.foreach', names = names, fn = function(r) assert(r.id and "
        "r.name == 'p' .. r.id % 50) end}), people)\n"
        "is(through(people, {op = 'lua.flat_map', names = names, fn = function(r, emit) if r.age > "
        "80 then emit(r.name, r.id) emit(r.name, -r.id) end end}),\n"
        "  (function() local out = {} for _, p in ipairs(people) do if p[2] > 80 then out[#out + "
        "1] = {p[3], p[1]} out[#out + 1] = {p[3], -p[1]} end end return out end)())\n"
        "is(through(people, {op = 'lua.key_by', names = names, fn = function(r) return r.name "
        "end}), pick(function(p) return {p[3], p[1], p[2], p[3]} end))\n"
        "is(through(people, {op = 'lua.partition', n = 5, names = names, fn = function(r, n) "
        "return r.id % n end}), pick(function(p) return {p[1] % 5, p[1], p[2], p[3]} end))\n"
        "is(through(people, {op = 'lua.mapper', names = names, fn = function(k, r, emit, task) "
        "assert(k == nil and task.index == 1) emit(r.name, r.age) end}),\n"
        "  pick(function(p) return {p[3], p[2]} end))\n"
        "is(through(people, {op = 'lua.mapper', names = names, fn = function(_, r, emit) local s = "
        "r emit(s.name, s) end}),\n"
        "  pick(function(p) return {p[3], {id = p[1], age = p[2], name = p[3]}} end))\n"
        "is(through(people, {op = 'lua.map_partitions', names = names, fn = function(next, emit) "
        "local all = {} for r in next do all[#all + 1] = r end for _, r in ipairs(all) do "
        "emit(r.id, r) end end}),\n"
        "  pick(function(p) return {p[1], {id = p[1], age = p[2], name = p[3]}} end))\n"
        "local n = 0 for _, p in ipairs(people) do n = n + p[2] end\n"
        "is(through(people, {op = 'lua.fold', names = names, create = function(r) return r.age "
        "end, step = function(n, r) return n + r.age end}), {{n}})\n"
        "is(through(people, {op = 'lua.fold', names = names, create = function(r) return r end, "
        "step = function(first, r) first.age = first.age + r.age return first end}),\n"
        "  {{{id = 1, name = 'p1', age = n}}})\n"
        /* several threads and morsels */
        "local morsels = {}\n"
        "for m = 1, 20 do morsels[m] = {table.move(people, 1 + m * 10, 100 + m * 10, 1, {})} "
        "morsels[m] = morsels[m][1] end\n"
        "local out = assert(run{threads = 3, morsels = morsels, stages = {{{op = 'lua.map', names "
        "= names, fn = function(r) return r.id, r.name end}}}})\n"
        "for m = 1, 20 do for i = 1, 100 do is(out[m][i], {morsels[m][i][1], morsels[m][i][3]}) "
        "end end\n"
        /* rows that map makes */
        "is(through(people, {op = 'lua.map', names = names, out_names = {'name', 'next', 'none'}, "
        "fn = function(r) return {next = r.id + 1, name = r.name} end}),\n"
        "  pick(function(p) return {p[3], p[1] + 1} end))\n"
        "fails('a row with the field .nxt., which is no column', people, {op = 'lua.map', names = "
        "names, out_names = {'name', 'next'}, fn = function(r) return {nxt = r.id + 1} end})\n"
        "fails('a row with a number as a key', people, {op = 'lua.map', names = names, out_names = "
        "{'name', 'next'}, fn = function(r) return {5} end})\n"
        "fails('gave: nil %(one row', people, {op = 'lua.map', names = names, out_names = {'name', "
        "'next'}, fn = function(r) return nil end})\n"
        "fails('gave: not one value', people, {op = 'lua.map', names = names, out_names = {'name', "
        "'next'}, fn = function(r) end})\n");
}

static void test_errors(void **state)
{
    (void)state;
    check_lua("local names = {'id', 'age', 'first name'}\n"
              "local people = {{1, 20, 'a'}, {2, 30, 'b'}}\n"
              "local m = fails('a row has no column .aeg.; did you mean .age..', people, {op = "
              "'lua.filter', names = names, fn = function(r) return r.aeg > 18 end})\n"
              "assert(m:find('chunk:%d+: a row') and m:find('in filter') and m:find('record "
              "input.txt:1'), m)\n"
              "fails('no column .AGE.; did you mean .age.', people, {op = 'lua.filter', names = "
              "names, fn = function(r) return r.AGE end})\n"
              "fails('no column .first_name.; did you mean .first name.', people, {op = "
              "'lua.filter', names = names, fn = function(r) return r.first_name end})\n"
              "fails('no column .colour.; it has id, age, first name', people, {op = 'lua.filter', "
              "names = names, fn = function(r) return r.colour end})\n"
              "fails('arithmetic on a nil value %(field .first name.%)', {{1, 2, nil, 4}}, {op = "
              "'lua.filter', names = {'id', 'age', 'first name', 'x'}, fn = function(r) return "
              "r['first name'] + 1 end})\n"
              "is(through(people, {op = 'lua.filter', on_error = 'skip', names = names, fn = "
              "function(r) if r.id == 1 then return r.nothing end return true end}), {people[2]})\n"
              "assert(take_skipped() == 1)\n"
              "is(through(people, {op = 'lua.filter', names = {}, fn = function(r) return 1 end}), "
              "people)\n"
              "fails('no column .x.; it has no columns', people, {op = 'lua.filter', names = {}, "
              "fn = function(r) return r.x end})\n"
              "fails('names is no list', people, {op = 'lua.filter', names = 'id', fn = "
              "function(r) return r.id end})\n"
              "fails('name 1 of names is no string', people, {op = 'lua.filter', names = {1}, fn = "
              "function(r) return r.id end})\n");
}

static void test_compute(void **state)
{
    (void)state;
    check_lua(
        "local names = {'id', 'age', 'name'}\n"
        "local people = {}\n"
        "for i = 1, 2500 do people[i] = {i, i * 7 % 90, 'p' .. i % 50} end\n"
        "local function compute(...) local o = {op = 'lua.compute', names = names, fns = {...}} "
        "for i, f in ipairs(o.fns) do o.fns[i] = core.ship(f) end return o end\n"
        "local want = {}\n"
        "for i, p in ipairs(people) do want[i] = {p[1], p[2], p[3], p[2] + 1, p[3]:upper(), {id = "
        "p[1], age = -1, name = p[3]}, p[2] > 50 and p[3] or nil, p[1] + p[2]} end\n"
        "local fns = {function(r) return r.age + 1 end, function(r) return r.name:upper() end, "
        "function(r) r.age = -1 return r end,\n"
        "  function(r) if r.age > 50 then return r.name end end, function(r) local s = r return "
        "s.id + s.age end}\n"
        "is(through(people, compute(table.unpack(fns))), want)\n"
        "is(flat(run{morsels = {people}, sparse = true, stages = {{compute(table.unpack(fns))}}}), "
        "want)\n"
        /* skipped records; rows that an earlier operator left out */
        "local odd = {}\n"
        "for i, p in ipairs(people) do if i % 2 == 1 and p[2] % 5 ~= 0 then odd[#odd + 1] = {p[1], "
        "p[2], p[3], 'x' .. p[1], p[2]} end end\n"
        "local c = compute(function(r) return 'x' .. r.id end, function(r) if r.age % 5 == 0 then "
        "error('five') end return r.age end)\n"
        "c.on_error = 'skip'\n"
        "is(through(people, {op = 'lua.filter', names = names, fn = function(r) return r.id % 2 == "
        "1 end}, c), odd)\n"
        "assert(take_skipped() > 0)\n"
        "local c = compute(function(r) return r.age > 18 and print end)\n"
        "c.on_error, c.as = 'skip', {'adult'}\n"
        "local out = through(people, c)\n"
        "for _, r in ipairs(out) do assert(r[2] <= 18 and r[4] == false) end\n"
        "local _, told = take_skipped()\n"
        "local message = told[1].message\n"
        "assert(message:find('adult is a function'), message)\n"
        "local m = fails('no column .ag.; did you mean .age.', people, compute(function(r) return "
        "r.ag end))\n"
        "assert(m:find('in compute'), m)\n"
        "fails('fns is no list', people, {op = 'lua.compute', names = names})\n"
        "fails('function 1 is none', people, {op = 'lua.compute', names = names, fns = {1}})\n"
        /* without names: the values of the record */
        "local c = compute(function(a, b) return a + b end) c.names = nil\n"
        "is(through({{1, 2}, {3, 4}}, c), {{1, 2, 3}, {3, 4, 7}})\n"
        "local wide = {} for i = 1, 249 do wide[i] = i end\n"
        "fails('a record of 251 values', {wide}, compute(function() return 1 end, function() "
        "return 2 end))\n");
}

/* Stores give rows when they get names. */
static void test_store(void **state)
{
    (void)state;
    check_lua(
        "local rows, want = {}, {}\n"
        "for i = 1, 3000 do rows[i] = {i, i % 3 == 0 and 'three' or i / 2, {i}} want[i] = {a = i, "
        "['b c'] = rows[i][2], t = {i}} end\n"
        "local results = core.execute({nodes = {{op = 'scan.list', rows = rows}, {op = 'store', "
        "inputs = {1}, result = true}}}, {threads = 2})\n"
        "local store = results[2].store\n"
        "local names = {'a', 'b c', 't'}\n"
        "is(store:list(names), want)\n"
        "is(store:list{'a', 'b c', 't', 'none'}, want)\n"
        "is(store:list(), rows)\n"
        "local n = 0\n"
        "local nxt = store:rows(names)\n"
        "names[1] = 'changed'\n"
        "for row in nxt do n = n + 1 is(row, want[n]) end\n"
        "assert(n == 3000 and select('#', nxt()) == 0)\n"
        "local a, b, c = store:rows()()\n"
        "assert(a == 1 and b == 0.5 and c[1] == 1)\n"
        "for _, wrong in ipairs{5, {1, 2, 3}, {'a', 'b'}, {{}}} do\n"
        "  local ok, message = pcall(store.list, store, wrong)\n"
        "  assert(not ok and tostring(message):find('names') or tostring(message):find('table "
        "expected'), message)\n"
        "end\n"
        /* nil columns are absent */
        "local results = core.execute{nodes = {{op = 'scan.list', rows = {{1, nil, 3}, {4, 5, "
        "6}}}, {op = 'store', inputs = {1}, result = true}}}\n"
        "is(results[2].store:list{'a', 'b', 'c'}, {{a = 1, c = 3}, {a = 4, b = 5, c = 6}})\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),  cmocka_unit_test(test_reads_random),
        cmocka_unit_test(test_rows),   cmocka_unit_test(test_operators),
        cmocka_unit_test(test_errors), cmocka_unit_test(test_compute),
        cmocka_unit_test(test_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
