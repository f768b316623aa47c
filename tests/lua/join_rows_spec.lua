-- Joins of rows, against nested loops.
local lb = require "luabatch"
local core = require "luabatch.core"
local support = require "tests.lua.support"
local tonumber, select, table_sort = tonumber, select, table.sort

local HOWS = { "inner", "left", "right", "full", "semi", "anti" }
local MEGABYTE = 1024 ^ 2

local function maybe(value) return math.random(6) > 1 and value or nil end

-- Kinds of keys: a function that makes one from a small number.
local key_kinds = {
  ["small integers"] = function(n) return n end,
  ["far integers"] = function(n) return (n - 6) * 1234567890123 end,
  ["integers and floats"] = function(n) return math.random(2) == 1 and n or n + 0.0 end,
  floats = function(n) return n == 3 and 0 / 0 or n / 4 end,
  ["short strings"] = function(n) return "k" .. n end,
  ["long strings"] = function(n) return ("a key that is long "):rep(2) .. n end,
  ["mixed values"] = function(n) return n % 3 == 0 and tostring(n) or n % 3 == 1 and n or n % 2 == 0 end,
  lists = function(n) return { n % 3, "x" .. n } end,
}

local function random_rows(n, name, key, values)
  return support.list(n, function(i)
    local k = maybe(math.random(12))
    return { [name] = k and key(k), v = i, [values] = maybe(support.word(3)) }
  end)
end

-- 1 and 1.0 are one key, and so are two NaN.
local function same_key(a, b) return a ~= nil and b ~= nil and core.compare(a, b) == 0 end

-- What a join gives, in its order: that of the left rows, then right ones without a match.
local function naive(how, left, right, same)
  local out, matched = {}, {}
  for _, l in ipairs(left) do
    local n = 0
    for j, r in ipairs(right) do
      if same(l, r) then
        n, matched[j] = n + 1, true
        if how ~= "semi" and how ~= "anti" then
          out[#out + 1] = { k = l.k, v = l.v, a = l.a, v_right = r.v, b = r.b }
        end
      end
    end
    local keep = how == "semi" and n > 0 or (how == "anti" or how == "left" or how == "full") and n == 0
    if keep then out[#out + 1] = l end
  end
  for j, r in ipairs(right) do
    if (how == "right" or how == "full") and not matched[j] then
      out[#out + 1] = { k = r.key, v_right = r.v, b = r.b }
    end
  end
  return out
end

-- Rows as texts that tell integers from floats.
local function texts(rows)
  local list = {}
  for i, row in ipairs(rows) do list[i] = core.format(row, "lua") end
  return list
end

local function sorted(list)
  table_sort(list)
  return list
end

local function dataset(rows, ...)
  local names = { ... }
  return lb.from(rows):map(function(r) return r end):select(table.unpack(names))
end

-- Runs f with each of these settings.
local function under(settings, f)
  for _, one in ipairs(settings) do support.with(one, f) end
end

local quick = support.settings { { threads = 1 }, { threads = 3, memory = 4 * MEGABYTE } }

describe("joins of rows (seed " .. support.seed .. ")", function()
  for title, key in pairs(key_kinds) do
    it("by " .. title, function()
      local left, right = random_rows(90, "k", key, "a"), random_rows(70, "key", key, "b")
      local a, b = dataset(left, "k", "v", "a"), dataset(right, "key", "v", "b")
      local function same(l, r) return same_key(l.k, r.key) end
      for _, how in ipairs(HOWS) do
        local wanted = texts(naive(how, left, right, same))
        for _, strategy in ipairs { "auto", "broadcast", "hash", "merge" } do
          under(quick, function()
            local got = texts(a:join(b, { on = { left = "k", right = "key" }, how = how, strategy = strategy }):collect())
            if strategy == "merge" then
              assert.same(sorted { table.unpack(wanted) }, sorted(got))
            else
              assert.same(wanted, got, how .. " " .. strategy)
            end
          end)
        end
      end
    end)
  end

  it("of empty sides", function()
    local some, none = dataset({ { k = 1, v = 1 } }, "k", "v"), dataset({ { k = 1, v = 1 } }, "k", "v"):where "v > 1"
    local counts = {}
    for _, how in ipairs(HOWS) do
      for _, strategy in ipairs { "auto", "hash", "merge" } do
        local function n(x, y) return x:join(y, { on = "k", how = how, strategy = strategy }):count() end
        counts[#counts + 1] = ("%s %d %d %d"):format(how, n(some, none), n(none, some), n(none, none))
      end
    end
    local function three(text) return text, text, text end
    local wanted = {}
    for _, text in ipairs { "inner 0 0 0", "left 1 0 0", "right 0 1 0", "full 1 1 0", "semi 0 0 0", "anti 1 0 0" } do
      local one, two, last = three(text)
      wanted[#wanted + 1], wanted[#wanted + 2], wanted[#wanted + 3] = one, two, last
    end
    assert.same(wanted, counts)
  end)

  -- Rows of files, so that several morsels and threads take part, and the memory does not do.
  local function csv_file(n, keys, padding)
    local lines = { "key,v,text" }
    for i = 1, n do
      lines[i + 1] = ("%s,%d,%s%s"):format(maybe(math.random(keys)) or "", i, support.word(20), padding or "")
    end
    return support.file(table.concat(lines, "\n"), ".csv")
  end

  it("give the same bytes for any threads and memory", function()
    local keys = support.size(3000, 900)
    local left = lb.csv(csv_file(support.size(4000, 1200), keys))
    local right = lb.csv(csv_file(support.size(5000, 1500), keys))
    local path = support.path(".csv")
    for _, how in ipairs(HOWS) do
      local first
      for _, run in ipairs { { 1, "broadcast" }, { 3, "broadcast", 4 * MEGABYTE }, { 2, "hash" } } do
        support.with({ threads = run[1], memory = run[3] }, function()
          left:join(right, { on = "key", how = how, strategy = run[2] }):save_csv(path, { mode = "overwrite" })
          local content = support.read(path)
          first = first or content
          assert.is_true(content == first, how .. " " .. run[2])
        end)
      end
    end
    support.clean()
  end)

  it("find out while running that a side does not fit the memory", function()
    local left, right = lb.csv(csv_file(900, 300)), lb.csv(csv_file(support.size(12000, 6000), 300, ("padding "):rep(50)))
    local spilled, first = {}, nil
    support.with({ on_run = function(_, info) spilled[#spilled + 1] = info.spilled_bytes end }, function()
      under({ { threads = 2, memory = 1024 * MEGABYTE }, { threads = 1, memory = MEGABYTE } }, function()
        local rows = left:join(right, { on = "key", how = "full", strategy = "broadcast" })
        local sum = core.format(rows:agg { n = lb.count(), a = lb.sum "v", b = lb.sum "v_right", c = lb.count "text_right" }:first(), "lua")
        first = first or sum
        assert.equal(first, sum)
      end)
    end)
    assert.is_true(spilled[2] > 500000, "the second run spilled")
    support.clean()
  end)

  it("keep the morsels, too", function()
    local left, right = lb.csv(csv_file(3000, 900)), lb.csv(csv_file(4000, 3000))
    local first
    for _, how in ipairs { "inner", "full" } do
      first = nil
      under({ { threads = 2 }, { threads = 3, memory = 4 * MEGABYTE } }, function()
        local parts = left:join(right, { on = "key", how = how, strategy = "broadcast" }):map_partitions(function(records, emit)
          local n = 0
          for _ in records do n = n + 1 end
          emit(n)
        end):collect()
        first = first or parts
        assert.same(first, parts)
      end)
    end
    support.clean()
  end)

  it("build the side with the smaller files", function()
    local small, large = lb.csv(csv_file(300, 200)), lb.csv(csv_file(1500, 400))
    for _, how in ipairs(HOWS) do
      local by_auto = texts(small:join(large, { on = "key", how = how }):collect())
      local by_right = texts(small:join(large, { on = "key", how = how, strategy = "broadcast" }):collect())
      assert.same(sorted(by_right), sorted { table.unpack(by_auto) })
      under({ { threads = 3, memory = 4 * MEGABYTE } }, function()
        assert.same(by_auto, texts(small:join(large, { on = "key", how = how }):collect()))
      end)
    end
    -- In order of the large side, which streams past.
    local order = small:join(large, { on = "key" }):select("v_right"):collect()
    for i = 2, #order do assert.is_true(order[i - 1].v_right <= order[i].v_right) end
    support.clean()
  end)

  it("agree with sqlite3", function()
    if not os.execute("command -v sqlite3 >/dev/null 2>&1") then pending "sqlite3 is not there" return end
    local left, right = csv_file(3000, 900), csv_file(2000, 900)
    local script = support.file((".import --csv %s l0\n.import --csv %s r0\n.mode csv\n"):format(left, right) .. [[
create table l as select nullif(key,'')+0 key, v+0 v, text from l0 where 1;
create table r as select nullif(key,'')+0 key, v+0 v, text from r0 where 1;
update l set key = null where rowid in (select l0.rowid from l0 where l0.key = '');
update r set key = null where rowid in (select r0.rowid from r0 where r0.key = '');
select l.v, r.v from l left join r on l.key = r.key order by l.rowid, r.rowid;
]])
    local pipe = assert(io.popen("sqlite3 :memory: < " .. script))
    local wanted = {}
    for line in pipe:lines() do
      local a, b = line:match("^(%d+),(%d*)")
      wanted[#wanted + 1] = { tonumber(a), tonumber(b) }
    end
    pipe:close()
    assert.is_true(#wanted > 3000)
    local got = {}
    for i, r in ipairs(lb.csv(left):left_join(lb.csv(right), { on = "key" }):collect()) do got[i] = { r.v, r.v_right } end
    assert.same(wanted, got)
    support.clean()
  end)

  it("of one key with very many rows stop where no more is wanted", function()
    local size = support.size(100000, 5000)
    local a = lb.range(size):map(function(n) return { k = 1, a = n } end):select("k", "a")
    local b = lb.range(size):map(function(n) return { k = 1.0, b = n } end):select("k", "b")
    for strategy, memory in pairs { auto = 1024 * MEGABYTE, hash = 4 * MEGABYTE } do
      support.with({ threads = 2, memory = memory }, function()
        local rows = a:join(b, { on = "k", strategy = strategy }):limit(5000):collect()
        assert.equal(5000, #rows)
        for i, r in ipairs(rows) do
          assert.equal(1, r.a)
          assert.equal(i, r.b)
        end
      end)
    end
    local few, many = a:where "a <= 3", b:where "b <= 5000"
    assert.equal(15000, few:join(many, { on = "k", strategy = "hash" }):count())
    assert.equal(15000, few:join(many, { on = "k" }):count())
    assert.equal(15000, many:join(few, { on = "k", strategy = "hash", salt = 5 }):count())
  end)

  it("cut heavy keys as salt says, with the same result", function()
    local rows = support.list(600, function(i) return { k = i % 10 < 8 and "hot" or "k" .. i % 50, v = i } end)
    local left = dataset(rows, "k", "v")
    local right = dataset(support.list(40, function(i) return { k = i <= 5 and "hot" or "k" .. i, w = i } end), "k", "w")
    for _, how in ipairs { "inner", "full", "semi" } do
      local wanted = texts(left:join(right, { on = "k", how = how }):collect())
      local function of_key(key) return key == "hot" and 8 or nil end
      for _, salt in ipairs { "auto", 1, 7, of_key, false } do
        for _, strategy in ipairs { "hash", "auto" } do
          assert.same(wanted, texts(left:join(right, { on = "k", how = how, strategy = strategy, salt = salt }):collect()))
        end
      end
    end
  end)

  it("by several columns of the same names", function()
    local a = support.list(80, function(i) return { x = maybe(i % 4), y = support.word(2), a = i } end)
    local b = support.list(60, function(i) return { y = support.word(2), x = i % 5, b = i } end)
    local wanted = {}
    for _, p in ipairs(a) do
      for _, q in ipairs(b) do
        if p.x == q.x and p.y == q.y then wanted[#wanted + 1] = { x = p.x, y = p.y, a = p.a, b = q.b } end
      end
    end
    local left, right = dataset(a, "a", "x", "y"), dataset(b, "b", "x", "y")
    for _, strategy in ipairs { "auto", "hash" } do
      local joined = left:join(right, { on = { "x", "y" }, strategy = strategy })
      assert.same(texts(wanted), texts(joined:collect()))
      assert.same({ "a", "x", "y", "b" }, (function()
        local names = {}
        for i, column in ipairs(joined:schema()) do names[i] = column.name end
        return names
      end)())
    end
    assert.same(texts(wanted), texts(left:left_join(right, { on = { "x", "y" } }):drop_nil("b"):collect()))
  end)

  it("by a function of the row", function()
    local left = dataset(support.list(50, function(i) return { name = maybe(support.word(3)), a = i } end), "name", "a")
    local right = dataset(support.list(30, function(i) return { label = support.word(3):upper(), b = i } end), "label", "b")
    local wanted = {}
    for _, l in ipairs(left:collect()) do
      for _, r in ipairs(right:collect()) do
        if l.name and l.name:upper() == r.label then
          wanted[#wanted + 1] = { name = l.name, a = l.a, label = r.label, b = r.b }
        end
      end
    end
    local function key(r) return r.name and r.name:upper() end
    for _, strategy in ipairs { "auto", "hash", "merge" } do
      local joined = left:join(right, { on = { left = key, right = "label" }, strategy = strategy }):collect()
      assert.same(sorted(texts(wanted)), sorted(texts(joined)))
    end
    local numbers = dataset({ { n = 1 }, { n = 2 }, { n = 3 } }, "n")
    local halves = numbers:join(numbers, { on = function(r) return (r.n - r.n % 2) / 2 end })
    assert.same({ { n = 1, n_right = 1 }, { n = 2, n_right = 2 }, { n = 2, n_right = 3 }, { n = 3, n_right = 2 },
      { n = 3, n_right = 3 } }, halves:collect())
  end)

  it("make records with combine", function()
    local left = dataset({ { k = 1, a = 1 }, { k = 2, a = 2 }, { a = 3 } }, "k", "a")
    local right = dataset({ { k = 2, b = "x" }, { k = 3, b = "y" } }, "k", "b")
    local function combine(l, r) return (l and l.a or "-") .. (r and r.b or "-") end
    local wanted = {
      inner = { "2x" }, left = { "1-", "2x", "3-" }, right = { "2x", "-y" }, full = { "1-", "2x", "3-", "-y" },
      semi = { "2-" }, anti = { "1-", "3-" },
    }
    for how, list in pairs(wanted) do
      for _, strategy in ipairs { "auto", "hash" } do
        assert.same(list, left:join(right, { on = "k", how = how, strategy = strategy, combine = combine }):collect())
      end
    end
    assert.same({ "1x", "1y", "2x", "2y", "3x", "3y" }, left:join(right, { how = "cross", combine = combine }):collect())
    local rows = left:join(right, { on = "k", combine = function(l, r) return { sum = l.a + l.k, b = r.b } end })
    -- What a later function reads of the combined records is no column of either side.
    for _, strategy in ipairs { "hash", "merge" } do
      local same = left:join(right, { on = "k", strategy = strategy, combine = function(l, r) return { sum = l.a + l.k, b = r.b } end })
      assert.same({ 4 }, same:map(function(row) return row.sum end):collect())
    end
    assert.same({ { sum = 4, b = "x" } }, rows:collect())
  end)

  it("feed joins, and stand on them", function()
    local a = dataset({ { k = 1, a = 1 }, { k = 2, a = 2 } }, "k", "a")
    local b = dataset({ { k = 2, b = 1 }, { k = 2, b = 2 } }, "k", "b")
    local c = dataset({ { b = 2, c = 5 } }, "b", "c")
    for _, one in ipairs { "auto", "hash" } do
      for _, two in ipairs { "auto", "hash", "merge" } do
        local joined = a:join(b, { on = "k", how = "full", strategy = one }):join(c, { on = "b", how = "left", strategy = two })
        assert.same({ { a = 1, k = 1 }, { a = 2, k = 2, b = 1 }, { a = 2, b = 2, c = 5, k = 2 } },
          joined:order_by("a", "b"):collect())
        assert.same({ { n = 3, sum = 5 } }, joined:agg { n = lb.count(), sum = lb.sum "c" }:collect())
      end
    end
    local self = a:join(a, { on = "k" })
    assert.same({ { k = 1, a = 1, a_right = 1 }, { k = 2, a = 2, a_right = 2 } }, self:collect())
  end)

  it("cross", function()
    local a, b = { { x = 1 }, { x = 2 } }, { { x = "p" }, { x = "q" } }
    assert.same({ { x = 1, x_right = "p" }, { x = 1, x_right = "q" }, { x = 2, x_right = "p" }, { x = 2, x_right = "q" } },
      lb.from(a):join(lb.from(b), { how = "cross" }):collect())
  end)

  it("refuse wrong options", function()
    local function message(f) return tostring(select(2, pcall(f))) end
    local a, b = dataset({ { k = 1, v = 1 } }, "k", "v"), dataset({ { key = 1, v = 1 } }, "key", "v")
    assert.matches("needs the option 'on'", message(function() a:join(b) end))
    assert.matches("there is no column 'kee'; did you mean 'key'", message(function()
      a:join(b, { on = { left = "k", right = "kee" } })
    end))
    assert.matches("bad option 'how'", message(function() a:join(b, { on = "v", how = "outer" }) end))
    assert.matches("bad option 'strategy' of join .'auto', 'broadcast', 'hash', 'merge' expected", message(function()
      a:join(b, { on = "v", strategy = "sort" })
    end))
    assert.matches("bad option 'salt'", message(function() a:join(b, { on = "v", salt = "x" }) end))
    assert.matches("bad option 'combine'", message(function() a:join(b, { on = "v", combine = 1 }) end))
    assert.matches("'on_error' is about 'combine'", message(function() a:join(b, { on = "v", on_error = "skip" }) end))
    assert.matches("names 2 and 1 columns", message(function()
      a:join(b, { on = { left = { "k", "v" }, right = "key" } })
    end))
    assert.matches("names 2 and 1 columns", message(function()
      a:join(b, { on = { left = { "k", "v" }, right = function(r) return r.v end } })
    end))
    assert.matches("a function of the row", message(function() a:join(b, { on = 5 }) end))
    assert.matches("join has no option 'strategie'; did you mean 'strategy'", message(function()
      a:join(b, { on = "v", strategie = "hash" })
    end))
    assert.matches("a cross join has no 'on'", message(function() a:join(b, { on = "v", how = "cross" }) end))
  end)

  it("refuses keys whose types are never equal", function()
    local left = support.file("id,v\n1,a\n2,b\n", ".csv")
    local right = support.file("k,w\n1,x\n007,y\n", ".csv")
    local function joined(types, how)
      return lb.csv(left, { types = types }):join(lb.csv(right), { on = { left = "id", right = "k" }, how = how })
    end
    for _, how in ipairs { "inner", "left", "full", "anti" } do
      local ok, problem = pcall(function() joined(nil, how):count() end)
      assert.is_false(ok)
      assert.matches("join: 'id' is integer on the left, 'k' is string on the right", tostring(problem), 1, true)
      assert.matches("cast(id as string)", tostring(problem), 1, true)
    end
    assert.equal(1, joined({ id = "string" }):count())
    assert.equal(1, lb.csv(left):with_columns({ id = "cast(id as string)" })
      :join(lb.csv(right), { on = { left = "id", right = "k" } }):count())
    -- What only the sample says to be an integer is looked at to its end.
    local lines = { "id,v" }
    for n = 1, support.size(300000, 20000) do lines[#lines + 1] = n .. ",a" end
    lines[#lines + 1] = "007,late"
    left = support.file(table.concat(lines, "\n") .. "\n", ".csv")
    assert.equal(2, joined():count())
  end)

  it("gives the left row's key as it is, whichever side is kept", function()
    local left = support.file("id,v\n4,1\n", ".csv")
    local lines = { "k,w" }
    for i = 1, 50 do lines[#lines + 1] = ("%d.0,%d"):format(i, i) end
    local right = support.file(table.concat(lines, "\n") .. "\n", ".csv")
    for _, strategy in ipairs { "auto", "broadcast", "hash", "merge" } do
      for _, how in ipairs { "inner", "left", "right", "full", "semi" } do
        local row = lb.csv(left):join(lb.csv(right), { on = { left = "id", right = "k" }, how = how, strategy = strategy })
          :where("v = 1"):first()
        assert.equal("integer", math.type(row.id), strategy .. " " .. how)
      end
    end
  end)

  it("gives numbers back from disk as they were", function()
    local values = {
      0, -1, 1, 127, 128, 1099511627776, math.maxinteger, math.mininteger, 0.0, -0.0, 0.01, -0.07, 12.34, 0.29, 1.005, 0.1 + 0.2,
      99999999999.99, 1e15, 1e300, 5e-324, 2.0 ^ 53, 1 / 0, -1 / 0, 0 / 0, "text", false,
    }
    local rows = {}
    for i, value in ipairs(values) do rows[i] = { k = i, value = value } end
    for _ = 1, 200 do rows[#rows + 1] = { k = #rows + 1, value = (math.random(0, 2000000) - 1000000) / 100 } end
    for _, how in ipairs { "inner", "full" } do
      local right = lb.from(rows):select("k", { other = "value" })
      local joined = lb.from(rows):join(right, { on = "k", how = how, strategy = "hash" }):collect()
      assert.equal(#rows, #joined)
      for i, row in ipairs(joined) do
        local expected = ("%s %q"):format(math.type(rows[i].value), rows[i].value)
        assert.equal(expected, ("%s %q"):format(math.type(row.value), row.value))
        assert.equal(expected, ("%s %q"):format(math.type(row.other), row.other))
      end
    end
  end)
end)
