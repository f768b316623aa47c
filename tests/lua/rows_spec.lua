-- Verbs of rows, against loops over the list of rows.
local lb = require "luabatch"
local support = require "tests.lua.support"

local function random_rows(n)
  return support.list(n, function(i)
    local row = { id = i, word = support.word(3), n = math.random(-5, 5) }
    if math.random(4) == 1 then row.n = nil end
    if math.random(5) == 1 then row.word = nil end
    if math.random(3) == 1 then row.x = math.random() end
    return row
  end)
end

local function copy(row, changes)
  local result = {}
  for k, v in pairs(row) do result[k] = v end
  for k, v in pairs(changes or {}) do result[k] = v end
  return result
end

describe("values as rows of one column", function()
  after_each(support.clean)

  it("has lines, words, fields and values", function()
    local path = support.file("b a\nc\n\na b a\n")
    local lines = lb.text(path)
    assert.same({ { line = "b a" }, { line = "a b a" } }, lines:where("line like '%b%'"):collect())
    local short = lines:grep("%a"):filter(function(l) return #l < 5 end)
    assert.same({ { n = 3 }, { n = 1 } }, short:select({ n = "length(line)" }):collect())
    assert.same({ { word = "a", count = 3 }, { word = "b", count = 2 }, { word = "c", count = 1 } },
      lines:words():group_by("word"):count():order_by(lb.desc "count"):collect())
    assert.same({ { field = "c" } }, lines:field(1):where("field = 'c'"):collect())
    assert.same({ total = 55 }, lb.range(10):agg({ total = lb.sum "value" }):first())
    assert.same({ 6, 8, 10 }, lb.range(10):where("value % 2 = 0 and value > 4"):map(function(r) return r.value end):collect())
    assert.same({ { value = "x", twice = "xx" } }, lb.from({ "x", "y" }):with_columns({ twice = "value || value" }):limit(1):collect())
    assert.equal(0, lb.text(support.file ""):where("length(line) > 0"):count())
  end)

  it("leaves tables as they are", function()
    assert.same({ { a = 1 }, { a = 2 } }, lb.from({ { a = 1 }, { a = 2 } }):map(function(r) return r end):select("a"):collect())
    assert.same({}, lb.from({}):select("a"):collect())
    assert.error_matches(function() lb.range(3):map(function(i) return i end):where("value > 1") end,
      'where: the columns are not known here; name them first with select')
    assert.error_matches(function() lb.range(3):select("a") end, "select: there is no column 'a'; the column is value")
    local fields = lb.text(support.file "a b\n"):fields()
    assert.error_matches(function() fields:where("a = 1") end, "where needs rows, and a record is the fields")
  end)

  it("says which columns there are", function()
    assert.error_matches(function() lb.from({ { ab = 1, cd = 2 } }):order_by("xyzxyz") end,
      "there is no column 'xyzxyz'; the columns are ab, cd")
    assert.error_matches(function() lb.from({ { ab = 1, cd = 2 } }):where("xyzxyz > 1") end,
      "there is no column 'xyzxyz'; the columns are ab, cd")
  end)
end)

local function mapped(rows, f)
  local list = {}
  for _, row in ipairs(rows) do list[#list + 1] = f(row) end
  return list
end

-- Rows as texts in order, to compare what a shuffle gave.
local function texts(rows)
  local core = require "luabatch.core"
  local list = {}
  for i, row in ipairs(rows) do list[i] = core.format(row, "json") end
  table.sort(list)
  return list
end

describe("rows (seed " .. support.seed .. ")", function()
  local rows = random_rows(600)
  local ds = lb.from(rows)
  after_each(support.clean)

  it("are made of tables, and come back as tables", function()
    assert.same(rows, ds:collect())
    assert.same(rows[1], ds:first())
    assert.same({ rows[1], rows[2] }, ds:take(2))
    assert.equal(600, ds:count())
    local i = 0
    for row in ds:iterate() do
      i = i + 1
      assert.same(rows[i], row)
    end
    assert.equal(600, i)
    assert.same({
      { name = "id", type = "integer" }, { name = "n", type = "integer" }, { name = "word", type = "string" },
      { name = "x", type = "float" },
    }, ds:schema())
  end)

  it("are given to functions as one table", function()
    assert.same(mapped(rows, function(r) return r.id * 2 end), ds:map(function(r) return r.id * 2 end):collect())
    assert.same(mapped(rows, function(r) return (r.n or 0) > 0 and r or nil end),
      ds:filter(function(r) return (r.n or 0) > 0 end):collect())
    assert.same(mapped(rows, function(r) return { r.id % 7, r } end),
      ds:key_by(function(r) return r.id % 7 end):collect())
    assert.equal(600 * 601 / 2, ds:map(function(r) return r.id end):reduce(function(a, b) return a + b end))
    assert.equal(600, ds:aggregate(0, function(n, r) return n + (r.id and 1 or 0) end, function(a, b) return a + b end))
  end)

  it("select, rename, drop", function()
    assert.same(mapped(rows, function(r) return { id = r.id, n = r.n } end), ds:select("n", "id"):collect())
    assert.same({ "n", "id" }, mapped(ds:select("n", "id"):schema(), function(c) return c.name end))
    assert.same(mapped(rows, function(r) return { id = r.id, twice = r.id * 2 } end),
      ds:select("id", { twice = function(r) return r.id * 2 end }):collect())
    assert.same(mapped(rows, function(r) return { key = r.id, n = r.n, word = r.word } end),
      ds:rename({ id = "key" }):drop("x"):collect())
    assert.same(rows, ds:select("*"):collect())
  end)

  it("compute with SQL", function()
    assert.same(mapped(rows, function(r) return copy(r, { m = r.n and r.n + 1 }) end),
      ds:with_columns({ m = "n + 1" }):collect())
    assert.same(mapped(rows, function(r) return r.n and r.n > 2 and r or nil end), ds:where("n > 2"):collect())
    assert.same(mapped(rows, function(r) return copy(r, { n = r.n or 0, word = r.word or "it's" }) end),
      ds:fill_nil({ n = 0, word = "it's" }):collect())
    assert.same(mapped(rows, function(r) return r.n and r.word and r or nil end),
      ds:drop_nil("n", "word"):collect())
    assert.same(mapped(rows, function(r) return r.n and r.word and r.x and r or nil end), ds:drop_nil():collect())
    assert.same(mapped(rows, function(r) return r.id > 590 and { id = r.id, s = r.id + 1 } or nil end),
      ds:select("id", { s = function(r) return r.id + 1 end }):where("id > 590"):collect())
  end)

  it("explode and drop_duplicates", function()
    local lists = support.list(50, function(i)
      return { id = i, items = i % 5 > 0 and support.list(i % 5, function(k) return k * i end) or nil }
    end)
    local wanted = {}
    for _, row in ipairs(lists) do
      for _, item in ipairs(row.items or {}) do wanted[#wanted + 1] = { id = row.id, items = item } end
    end
    assert.same(wanted, lb.from(lists):explode("items"):collect())
    local seen, first = {}, {}
    for _, row in ipairs(rows) do
      local key = tostring(row.n) .. "/" .. tostring(row.word)
      if not seen[key] then
        seen[key] = true
        first[#first + 1] = row
      end
    end
    assert.same(texts(first), texts(ds:drop_duplicates("n", "word"):collect()))
    assert.same(texts(rows), texts(ds:drop_duplicates():collect()))
  end)

  it("order_by several columns", function()
    local sorted = { table.unpack(rows) }
    local function less(a, b)
      if a.word ~= b.word then
        if a.word == nil or b.word == nil then return a.word == nil end
        return a.word < b.word
      end
      if a.n ~= b.n then
        if a.n == nil or b.n == nil then return b.n == nil end
        return a.n > b.n
      end
      return a.id < b.id
    end
    table.sort(sorted, less)
    assert.same(sorted, ds:order_by("word", lb.desc "n"):collect())
    for threads = 1, 3, 2 do
      support.with({ threads = threads }, function()
        assert.same({ table.unpack(sorted, 1, 5) }, ds:order_by("word", lb.desc "n"):limit(5):collect())
      end)
    end
    assert.same(ds:order_by(lb.desc "word", lb.desc "n"):take(9), ds:order_by(lb.desc "word", lb.desc "n"):limit(9):collect())
    local plain = ds:order_by(lb.desc "word", lb.desc "n"):collect()
    assert.same({ table.unpack(plain, 1, 9) }, ds:order_by(lb.desc "word", lb.desc "n"):take(9))
    assert.same(rows[600], ds:sort_by(function(r) return -r.id end):first())
  end)

  it("sets of rows go by name", function()
    local other = ds:limit(100):select("x", "word", "n", "id")
    assert.same(texts({ table.unpack(rows, 1, 100) }), texts(ds:intersection(other):collect()))
    assert.same(texts({ table.unpack(rows, 101) }), texts(ds:subtract(other):collect()))
    assert.equal(700, ds:union(other):count())
    assert.same(texts(rows), texts(ds:union(other):distinct():collect()))
    assert.same(rows[1], ds:union(other):collect()[601])
  end)

  it("survive cache, repartition and a save", function()
    local kept = ds:select("id", "n"):cache()
    assert.same(kept:collect(), ds:select("id", "n"):collect())
    assert.same(kept:collect(), ds:repartition(3):coalesce(1):order_by("id"):select("id", "n"):collect())
    kept:uncache()
    local path = support.path(".lbb")
    assert.equal(600, ds:save(path))
    assert.same(rows, lb.read(path):collect())
    assert.same(mapped(rows, function(r) return { id = r.id } end), lb.read(path):select("id"):collect())
  end)

  it("are saved by column", function()
    local path = support.path(".csv")
    lb.from({ { a = 1, b = 'x "y", z' }, { a = 2.5 }, { b = "plain" } }):save_csv(path)
    assert.equal('a,b\n1,"x ""y"", z"\n2.5,\n,plain\n', support.read(path))
    path = support.path(".json")
    lb.from({ { a = 1, b = "x" }, { a = 2.5 } }):save_json(path)
    assert.equal('{"a":1,"b":"x"}\n{"a":2.5,"b":null}\n', support.read(path))
  end)

  it("have a line of names in each file", function()
    local directory = support.path("/")
    local small = ds:limit(20):select("id", "n")
    small:repartition(2):save_csv(directory)
    local n = 0
    for i = 0, 1 do
      local text = support.read(("%spart-%05d.csv"):format(directory, i))
      assert.equal("id,n\n", text:sub(1, 5))
      n = n + select(2, text:gsub("\n", "")) - 1
    end
    assert.equal(20, n)
    assert.equal(20, lb.csv(directory):count())
    local path, empty = support.path(".csv"), support.path(".csv.gz")
    small:limit(1):save_csv(path)
    small:limit(1):save_csv(path, { mode = "append" })
    assert.equal(3, lb.text(path):count())
    small:limit(1):save_csv(path, { mode = "overwrite", header = false })
    assert.equal(1, lb.text(path):count())
    small:where("id < 0"):save_csv(empty)
    assert.same({ "id,n" }, lb.text(empty):collect())
    for threads = 1, 3 do
      support.with({ threads = threads }, function()
        ds:select("id", "n", "word"):save_csv(path, { mode = "overwrite" })
        assert.same(ds:select("id", "n", "word"):collect(), lb.csv(path):collect())
      end)
    end
  end)

  it("refuse what is not there, with the nearest name", function()
    local function message(f)
      local ok, text = pcall(f)
      assert.is_false(ok)
      return tostring(text)
    end
    assert.matches("select: there is no column 'wrd'; did you mean 'word'%?", message(function() ds:select("wrd") end))
    assert.matches("order_by: there is no column 'idd'; did you mean 'id'%?", message(function() ds:order_by("idd") end))
    assert.matches("where: .*wrd.*word", message(function() ds:where("wrd = 'a'") end))
    assert.matches("no verb 'gruop_by'; did you mean 'group_by'", message(function() ds:gruop_by("id") end))
    assert.matches("reduce_by_key needs pairs, and these are rows", message(function() ds:reduce_by_key(function(a) return a end) end))
    assert.matches("the columns are not known here", message(function() lb.range(3):map(function(i) return i end):where("a > 1") end))
    assert.matches("no table with string keys", message(function() lb.range(3):map(function(i) return i end):select("a"):collect() end))
    assert.matches("rows_spec.lua:%d+: ", message(function() ds:rename({ nope = "x" }) end))
  end)

  it("explain names the columns that are read", function()
    local explain = require "luabatch.explain"
    local tree = explain.tree(ds:order_by("word", lb.desc "n"):select("id", { m = "n + 1" })._node)
    assert.matches("select id, m = n %+ 1", tree)
    assert.matches("order_by by word, n desc", tree)
  end)
end)
