-- Delimited text as rows.
local lb = require "luabatch"
local support = require "tests.lua.support"

local function message(f)
  local ok, text = pcall(f)
  assert.is_false(ok)
  return type(text) == "table" and tostring(text.message or text) or tostring(text)
end

local function types(ds)
  local map = {}
  for _, column in ipairs(ds:schema()) do map[column.name] = column.type end
  return map
end

-- A field as a careful writer writes it.
local function field(value)
  if value == nil then return "" end
  local text = tostring(value)
  if text == "" or text:find('[",\r\n]') then return '"' .. text:gsub('"', '""') .. '"' end
  return text
end

describe("csv (seed " .. support.seed .. ")", function()
  after_each(support.clean)

  it("finds types, quotes and nils", function()
    local path = support.file('id,name,price,ok,code\r\n1,"Smith, ""J""",2.5,true,007\r\n2,,,false,12\r\n3,"two\r\nlines",-1e3,,x',
      ".csv")
    local ds = lb.csv(path)
    assert.same({
      { id = 1, name = 'Smith, "J"', price = 2.5, ok = true, code = "007" },
      { id = 2, ok = false, code = "12" },
      { id = 3, name = "two\r\nlines", price = -1000.0, code = "x" },
    }, ds:collect())
    assert.same({ id = "integer", name = "string", price = "float", ok = "boolean", code = "string" }, types(ds))
    assert.equal("integer", math.type(ds:first().id))
    assert.equal(3, ds:count())
  end)

  it("reads back what it wrote, on any number of threads", function()
    local rows = support.list(3000, function(i)
      local text = support.word(4) .. ("\n"):rep(math.random(10) == 1 and 1 or 0) .. (math.random(9) == 1 and '"' or "")
      return { id = i, text = text, x = math.random(2000) / 16 + 1 / 32, n = math.random(4) > 1 and math.random(-9, 9) or nil }
    end)
    local lines = { "id,n,text,x" }
    for _, row in ipairs(rows) do
      lines[#lines + 1] = table.concat({ field(row.id), field(row.n), field(row.text), field(row.x) }, ",")
    end
    local path = support.file(table.concat(lines, "\n") .. "\n", ".csv")
    for threads = 1, 3 do
      support.with({ threads = threads }, function()
        assert.same(rows, lb.csv(path):collect())
        local copy = support.path(".csv")
        lb.csv(path):save_csv(copy)
        assert.is_true(support.read(path) == support.read(copy))
      end)
    end
  end)

  it("widens a column whose last value does not fit, and changes no value", function()
    local lines, n = { "a,b,c" }, support.size(200000, 20000)
    for i = 1, n do lines[#lines + 1] = ("%d,%d,%d"):format(i, i, i) end
    lines[#lines + 1] = "1.5,x07,12345678901234567890"
    local ds = lb.csv(support.file(table.concat(lines, "\n"), ".csv"))
    assert.same({ a = "integer", b = "integer", c = "integer" }, types(ds))
    assert.same({ { a = 1.5, b = "x07", c = "12345678901234567890" } },
      ds:filter(function(r) return r.b == "x07" end):collect())
    assert.same({ a = "float", b = "string", c = "string" }, types(ds))
    assert.same({ { a = 1.0, b = "1", c = "1" } }, ds:where("b = '1'"):collect())
    if support.has_integers then assert.equal("float", math.type(ds:first().a)) end
  end)

  it("does not read columns that nobody reads", function()
    local lines, n = { "a,b,c" }, support.size(200000, 20000)
    for i = 1, n do lines[#lines + 1] = ("%d,%d,%d"):format(i, i, i) end
    lines[#lines + 1] = "7,not a number,x"
    local ds = lb.csv(support.file(table.concat(lines, "\n"), ".csv"))
    assert.equal(n + 1, ds:count())
    assert.equal(n * (n + 1) / 2 + 7, ds:map(function(r) return r.a end):sum())
    assert.equal(1, ds:where("a = " .. n):count())
    assert.same({ { a = n - 1, d = n - 1.0 } }, ds:select("a", { d = function(r) return r.a + 0.0 end })
      :filter(function(r) return r.a == n - 1 end):collect())
    assert.same({ a = "integer", b = "integer", c = "integer" }, types(ds))
    local explain, rules = require "luabatch.explain", require "luabatch.rules"
    local tree = explain.tree(rules.prune(rules.optimise(ds:group_by("a"):agg({ n = lb.sum "c" })._node)))
    assert.matches("reads 2 of 3 columns: a, c", tree)
  end)

  it("takes declared types, nulls and columns", function()
    local path = support.file("id;v;w\n1;NA;1\n2;5;\n3;x;3\n", ".txt")
    assert.same({ { w = 1, id = "1" }, { id = "2" }, { w = 3, id = "3" } },
      lb.csv(path, { sep = ";", columns = { "w", "id" }, types = { id = "string" } }):collect())
    local typed = { sep = ";", null = { "NA", "" }, types = { v = "integer" } }
    assert.matches("v.*x", message(function() lb.csv(path, typed):collect() end))
    typed.on_bad = "skip"
    assert.same({ { id = 1, w = 1 }, { id = 2, v = 5 } }, lb.csv(path, typed):collect())
    assert.equal(2, lb.csv(path, typed):count())
    assert.same({ { id = 1 }, { id = 2 } }, lb.csv(path, typed):select("id"):collect())
    assert.matches("no column 'idd'; did you mean 'id'", message(function()
      lb.csv(path, { sep = ";", types = { idd = "string" } })
    end))
    assert.matches("csv has no option 'headr'; did you mean 'header'", message(function() lb.csv(path, { headr = false }) end))
  end)

  it("takes files without a header, several files, and compressed ones", function()
    local a, b = support.file("1,x\n2,y\n", ".csv"), support.file("3,z\n", ".csv")
    assert.same({ { n = 1, s = "x" }, { n = 2, s = "y" }, { n = 3, s = "z" } },
      lb.csv({ a, b }, { header = false, columns = { "n", "s" } }):collect())
    local tsv = support.file("p\tq\n1\ta,b\n", ".tsv")
    assert.same({ { p = 1, q = "a,b" } }, lb.tsv(tsv):collect())
    local gz = support.path(".csv.gz")
    lb.tsv(tsv):save_csv(gz)
    assert.same({ { p = 1, q = "a,b" } }, lb.csv(gz):collect())
    assert.matches("header", message(function()
      lb.csv({ support.file("a,b\n1,2\n", ".csv"), support.file("a,c\n1,2\n", ".csv") }):collect()
    end))
  end)

  it("agrees with sqlite3", function()
    if not os.execute("command -v sqlite3 > /dev/null 2>&1") then
      pending("the program sqlite3 is not there")
      return
    end
    local lines = { "id,name,amount" }
    for i = 1, 500 do
      lines[#lines + 1] = ("%d,%s,%d"):format(i, field(support.word(2) .. (i % 7 == 0 and ', "q"' or "")), math.random(1000))
    end
    local path, theirs, ours = support.file(table.concat(lines, "\n") .. "\n", ".csv"), support.path(), support.path(".csv")
    assert(os.execute(("sqlite3 -csv -header :memory: '.import --csv %s t' \"select id, name, amount * 2 as twice from t "
      .. "where cast(amount as integer) > 300 order by name, cast(id as integer) desc\" > %s"):format(path, theirs)))
    lb.csv(path):where("amount > 300"):order_by("name", lb.desc "id"):select("id", "name", { twice = "amount * 2" })
      :save_csv(ours)
    assert.equal((support.read(theirs):gsub("\r\n", "\n")), support.read(ours))
  end)

  it("refuses lines that end in a carriage return alone", function()
    for _, header in ipairs { true, false } do
      local ok, problem = pcall(lb.csv, support.file("a,b\r1,2\r3,4\r", ".csv"), { header = header })
      assert.is_false(ok)
      assert.matches("lines end in '\\r' alone", tostring(problem.message), 1, true)
    end
    assert.equal(1, lb.csv(support.file('"a\rx",b\r\n1,2', ".csv")):count())
    assert.equal(0, lb.csv(support.file("a,b\r", ".csv")):count())
  end)

  it("takes as a declared float the integers that it holds exactly", function()
    local function read(text)
      return lb.csv(support.file("a\n" .. text .. "\n", ".csv"), { types = { a = "float" } }):first()
    end
    for text, value in pairs {
      ["9223372036854775808"] = 2.0 ^ 63, ["-18446744073709551616"] = -2.0 ^ 64, ["9007199254740992"] = 2.0 ^ 53,
      ["9007199254740994"] = 2.0 ^ 53 + 2, ["100000000000000000000"] = 1e20,
    } do
      assert.equal(value, read(text).a, text)
    end
    for _, text in ipairs { "9007199254740993", "123456789012345678901", "9223372036854775807" } do
      local ok, problem = pcall(read, text)
      assert.is_false(ok)
      assert.matches(("'%s' is no float, which cannot hold it exactly"):format(text), tostring(problem.message), 1, true)
    end
  end)
end)
