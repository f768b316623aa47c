-- JSON as rows.
local lb = require "luabatch"
local support = require "tests.lua.support"
local tonumber, type, ipairs, pairs, tostring, pcall = tonumber, type, ipairs, pairs, tostring, pcall

local function message(f)
  local ok, text = pcall(f)
  assert.is_false(ok)
  return type(text) == "table" and tostring(text.message or text) or tostring(text)
end

local function json(content, options)
  return lb.json(support.file(content, ".json"), options)
end

local function types(ds)
  local map = {}
  for _, column in ipairs(ds:schema()) do map[column.name] = column.type end
  return map
end

local function names(ds)
  local list = {}
  for i, column in ipairs(ds:schema()) do list[i] = column.name end
  return list
end

-- A naive writer of JSON; `gap` makes what may stand between two marks.
local function quoted(text, escapes)
  return '"' .. text:gsub('[%c"\\a-z]', function(c)
    return (not c:match("%a") or escapes and math.random(8) == 1) and ("\\u%04x"):format(c:byte()) or c
  end) .. '"'
end

local function written(value, gap, escapes)
  if value == nil then return "null" end
  if type(value) == "string" then return quoted(value, escapes) end
  if type(value) == "number" then
    return math.type(value) == "float" and ("%.17g"):format(value):gsub("^(-?%d+)$", "%1.0") or tostring(value)
  end
  if type(value) ~= "table" then return tostring(value) end
  local parts, is_map = {}, false
  for key in pairs(value) do is_map = is_map or type(key) == "string" end
  if is_map then
    for key, item in pairs(value) do
      parts[#parts + 1] = gap() .. quoted(key, escapes) .. gap() .. ":" .. gap() .. written(item, gap, escapes)
    end
  else
    for i, item in ipairs(value) do parts[i] = gap() .. written(item, gap, escapes) end
  end
  return (is_map and "{" or "[") .. table.concat(parts, gap() .. ",") .. gap() .. (is_map and "}" or "]")
end

local letters = { "a", "b", '"', "\\", "{", "}", "[", "]", ",", ":", "\n", "\t", "é", " ", "\\\\", "😀" }

local function random_text()
  local parts = {}
  for i = 1, math.random(0, 12) do parts[i] = letters[math.random(#letters)] end
  return table.concat(parts)
end

local function random_value(depth)
  local kind = math.random(depth > 0 and 7 or 5)
  if kind == 1 then return math.random(-1000, 1000) end
  if kind == 2 then return math.random(-1000, 1000) / 8 + 1 / 16 end
  if kind == 3 then return math.random(2) == 1 end
  if kind <= 5 then return random_text() end
  local value = {}
  for i = 1, math.random(1, 3) do
    value[kind == 6 and i or "k" .. i] = random_value(depth - 1)
  end
  return value
end

describe("json (seed " .. support.seed .. ")", function()
  after_each(support.clean)

  it("finds types, nested values and nils", function()
    local ds = json('{"id":1,"x":1.0,"ok":true,"s":"a","tags":["p",{"q":null}],"n":null}\r\n\n'
      .. '{ "id" : 2 , "x" : -2.5e1, "geo": {"b":[1,2.0],"a":"x"}, "s": "\\u00e9\\ud83d\\ude00\\n" } \n{"s":"","id":3}')
    assert.same({
      { id = 1, x = 1.0, ok = true, s = "a", tags = { "p", {} } },
      { id = 2, x = -25.0, geo = { b = { 1, 2.0 }, a = "x" }, s = "é😀\n" },
      { id = 3, s = "" },
    }, ds:collect())
    assert.same({ "id", "x", "ok", "s", "tags", "n", "geo" }, names(ds))
    assert.same({ id = "integer", x = "float", ok = "boolean", s = "string", tags = "any", n = "any", geo = "any" }, types(ds))
    if support.has_integers then assert.equal("float", math.type(ds:first().x)) end
    assert.equal("integer", math.type(ds:take(2)[2].geo.b[1]))
    assert.equal(3, ds:count())
  end)

  it("reads lines and arrays alike, whatever the blanks, the threads and the compression", function()
    local rows = support.list(math.random(1500), function(i)
      local row = { id = i, text = random_text(), any = random_value(3) }
      if math.random(5) == 1 then row.some = math.random(9) end
      if math.random(5) == 1 then row.nested = { { a = { i } } } end
      return row
    end)
    local function tight() return "" end
    local blanks = { "", " ", "\t ", "\r" }
    local function loose() return blanks[math.random(#blanks)] end
    local function pretty() return math.random(3) == 1 and "\r\n  " or loose() end
    local lines, elements = {}, {}
    for i, row in ipairs(rows) do
      lines[i] = written(row, i % 3 == 0 and loose or tight, i % 5 == 0) .. (i % 7 == 0 and "\n" or "")
      elements[i] = written(row, pretty, i % 5 == 0)
    end
    local all_lines = table.concat(lines, math.random(2) == 1 and "\n" or "\r\n") .. (math.random(2) == 1 and "\n" or "")
    local array = pretty() .. "[" .. pretty() .. table.concat(elements, pretty() .. "," .. pretty()) .. "]\n "
    local paths = {
      support.file(all_lines, ".json"), support.file("\xef\xbb\xbf" .. all_lines, ".json"), support.file(array, ".json"),
    }
    for _, text in ipairs { all_lines, array } do
      local path = support.path(".json.gz")
      local pipe = assert(io.popen("gzip -c > " .. path, "w"))
      pipe:write(text)
      pipe:close()
      paths[#paths + 1] = path
    end
    for _, path in ipairs(paths) do
      for threads = 1, 3, 2 do
        support.with({ threads = threads }, function()
          assert.same(rows, lb.json(path):collect())
          assert.equal(#rows, lb.json(path):count())
          assert.equal(#rows * (#rows + 1) / 2, lb.json(path):map(function(r) return r.id end):sum())
        end)
      end
    end
  end)

  it("widens a column whose last value does not fit, and changes no value", function()
    local lines = {}
    for i = 1, support.size(50000, 8000) do lines[i] = ('{"a":%d,"b":%d,"c":%d,"d":"x"}'):format(i, i, i) end
    lines[#lines + 1] = '{"a":1.5,"b":"07","c":12345678901234567890,"d":[1]}'
    local ds = json(table.concat(lines, "\n"))
    assert.same({ a = "integer", b = "integer", c = "integer", d = "string" }, types(ds))
    assert.same({ { a = 1.5, b = "07", c = "12345678901234567890", d = { 1 } } },
      ds:filter(function(r) return r.b == "07" end):collect())
    assert.same({ a = "float", b = "any", c = "any", d = "any" }, types(ds))
    if support.has_integers then assert.equal("float", math.type(ds:first().a)) end
    assert.equal("integer", math.type(ds:first().b))
  end)

  it("makes a column of a name that comes late", function()
    local lines, n = {}, support.size(50000, 5000)
    for i = 1, n do lines[i] = ('{"a":%-60d}'):format(i) end
    lines[n - 2000] = '{"a":30000,"z":true}'
    lines[#lines + 1] = '{"a":0,"late":"x","b":{"c":1}}'
    local path = support.file(table.concat(lines, "\n"), ".json")
    local last = { a = 0, b = { c = 1 }, late = "x" }
    for threads = 1, 3 do
      support.with({ threads = threads }, function()
        local ds = lb.json(path)
        assert.same({ "a" }, names(ds))
        assert.same(last, ds:collect()[n + 1])
        assert.same({ "a", "b", "late", "z" }, names(ds))
        local more = lb.json(path):with_columns { d = "a * 2" }:where "a = 0"
        assert.same({ { a = 0, b = { c = 1 }, d = 0, late = "x" } }, more:collect())
        assert.same({ "a", "d", "b", "late", "z" }, names(more))
        local csv = support.path(".csv")
        lb.json(path):rename { a = "k" }:filter(function(r) return r.late ~= nil or r.z end):save_csv(csv)
        assert.equal('k,b,late,z\n30000,,,true\n0,"{""c"":1}",x,\n', support.read(csv))
        assert.same({ { last.late } }, lb.json(path):filter(function(r) return r.late end):map(function(r) return { r.late } end)
          :collect())
      end)
    end
    assert.same({ { a = 0 } }, lb.json(path, { columns = { "a" } }):where("a = 0"):collect())
    assert.same({ { late = "x" } }, lb.json(path, { columns = { "late" } }):where("late is not null"):collect())
  end)

  it("passes over members that nobody reads", function()
    local ds = json('{"a":1,"b":tru}\n{"a":2,"b":"\\q"}\n', { columns = { "a" } })
    assert.equal(3, ds:map(function(r) return r.a end):sum())
    assert.matches("no value of JSON", message(function() json('{"b":1}\n{"b":tru}\n'):collect() end))
  end)

  it("takes declared types", function()
    local path = support.file('{"id":1,"v":007}\n{"id":2,"v":"x"}\n{"id":3.0,"v":12345678901234567890}\n', ".json")
    assert.same({ { id = "2" }, { id = "3.0" } },
      lb.json(path, { columns = { "id" }, types = { id = "string" } }):where("id <> '1'"):collect())
    assert.matches("column v: '\"x\"': not an integer.-:2 %(byte 15%)",
      message(function() json('{"id":1,"v":7}\n{"id":2,"v":"x"}', { types = { v = "integer" } }):collect() end))
    assert.matches("no column 'idd'; did you mean 'id'", message(function() lb.json(path, { types = { idd = "string" } }) end))
    assert.matches("json has no option 'colums'; did you mean 'columns'", message(function() lb.json(path, { colums = {} }) end))
  end)

  it("refuses what is no JSON, and says where", function()
    local deep = ("["):rep(100) .. ("]"):rep(100)
    for text, wanted in pairs {
      ['{"a":01}'] = "no value of JSON", ['{"a":+1}'] = "no value", ['{"a":.5}'] = "no value", ['{"a":1.}'] = "no value",
      ['{"a":NaN}'] = "no value", ['{"a":-}'] = "no value", ['{"a":1e}'] = "no value", ['{"a":True}'] = "no value",
      ['{"a":"\\x"}'] = "unknown escape", ['{"a":"\\u12g4"}'] = "four hexadecimal", ['{"a":"\\ud800"}'] = "surrogate",
      ['{"a":"\\udc00"}'] = "surrogate", ['{"a":"\1"}'] = "control character", ['{"a":["\t"]}'] = "control character",
      ['{"a":1} x'] = "behind the object", ['{"a":1}{"a":2}'] = "behind the object", ['{"a" 1}'] = "':' is expected",
      ['{"a":1,}'] = "a name in double quotes", ["{'a':1}"] = "a name in double quotes", ['{"a":1 "b":2}'] = "',' or '}'",
      ['{"a":"x}'] = "not closed", ['{"a":[1}'] = "another kind", ['{"a":{"b":1}'] = "not closed", ['{"a"'] = "expected",
      ['{"a":1,"a":2}'] = "a name twice", ['{"a":{"b":1,"b":2}}'] = "a name twice", ['{"a":[1,]}'] = "a value is expected",
      ['{"a":[1 2]}'] = "',' or ']'", ["7"] = "no object", ['"x"'] = "no object", ["null"] = "no object",
      ['{"a":' .. deep .. "}"] = "100 deep", ['{"a":}'] = "a value is expected", ["}"] = "no object",
    } do
      local content = '{"a":0}\n{"a":"s"}\n\n' .. text .. '\n{"a":1}\n'
      local got = message(function() json(content):collect() end)
      assert.matches(wanted, got, 1, true)
      assert.matches(":4 (byte 19)", got, 1, true)
      assert.same({ { a = 0 }, { a = "s" }, { a = 1 } }, json(content, { on_bad = "skip" }):collect())
    end
    for text, wanted in pairs {
      ['[{"a":1} {"a":2}]'] = "',' or ']'", ['[{"a":1},]'] = "an object is expected", ['[{"a":1}'] = "not closed",
      ['[{"a":1}] x'] = "behind the array", ['[{"a":1},{"a":'] = "not closed", ['[{"a":1},{"b":2]'] = "not closed",
    } do
      assert.matches(wanted, message(function() json(text, { on_bad = "skip", columns = { "a" } }):collect() end), 1, true)
    end
    assert.same({ { a = 1 }, { a = 2 } }, json('[{"a":1}, 7, {"a":2}, [], {"a" 3}]', { on_bad = "skip" }):collect())
    assert.matches("no columns", message(function() json("") end))
    assert.matches("no columns", message(function() json("[]") end))
    assert.same({}, json("", { columns = { "a" }, types = { a = "integer" } }):collect())
  end)

  it("keeps numbers as they are", function()
    local values = json('{"v":[9223372036854775807,-9223372036854775808,9223372036854775808,0,-0,1.0,1e2,0.1,1e400,5e-324,1E-400]}')
      :collect()[1].v
    assert.same({ support.maxinteger, support.mininteger, "9223372036854775808", 0, -0.0, 1.0, 100.0, 0.1, "1e400", 5e-324, "1E-400" },
      values)
    local kinds = {}
    for i, value in ipairs(values) do kinds[i] = math.type(value) or "string" end
    local whole = support.has_integers and "float" or "integer"
    assert.equal(("integer integer string integer float %s %s float string float string"):format(whole, whole), table.concat(kinds, " "))
    local lines, wanted = {}, {}
    for i = 1, 500 do
      local x = math.random() * 10.0 ^ math.random(-20, 20)
      lines[i] = ('{"x":%s}'):format(("%." .. math.random(1, 17) .. "g"):format(x))
      wanted[i] = tonumber(lines[i]:match(":(.*)}"))
    end
    for i, row in ipairs(json(table.concat(lines, "\n")):collect()) do assert.is_true(row.x == wanted[i]) end
  end)

  it("says what is wrong when the first record is no record", function()
    for text, wanted in pairs {
      ["{'a':1}"] = "a name in double quotes is expected",
      ['{"a":1,}'] = "a name in double quotes is expected",
      ['{"a":1} {"a":2}'] = "something stands behind the object",
      ['{\n"a": 1\n}'] = "a name in double quotes is expected",
      ['{"a":01}'] = "01",
      ['{"a":NaN}'] = "NaN",
      ["[1]"] = "the record is no object",
    } do
      local path = support.file(text .. "\n", ".json")
      local ok, problem = pcall(function() return lb.json(path):collect() end)
      assert.is_false(ok, text)
      problem = tostring(type(problem) == "table" and problem.message or problem)
      assert.matches(wanted, problem, 1, true)
      assert.matches(path .. ":1 (byte ", problem, 1, true)
    end
    local ok, problem = pcall(lb.json, support.file("{}\n", ".json"))
    assert.is_false(ok)
    assert.matches("no record is an object with members", tostring(problem.message), 1, true)
  end)
end)
