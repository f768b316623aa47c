-- Inputs that are large, odd, or change while they are read.
local lb = require "luabatch"
local support = require "tests.lua.support"
local pcall, tostring, type, ipairs, execute, open = pcall, tostring, type, ipairs, os.execute, io.open

local function message(f)
  local ok, text = pcall(f)
  assert.is_false(ok)
  return type(text) == "table" and tostring(text.message or text) or tostring(text)
end

describe("inputs (seed " .. support.seed .. ")", function()
  after_each(support.clean)

  it("may have 10,000 columns", function()
    local n, names, members, values = 10000, {}, {}, {}
    for i = 1, n do
      names[i], values[i], members[i] = "c" .. i, tostring(i), ('"c%d":%d'):format(i, i)
    end
    local line = table.concat(values, ",") .. "\n"
    local csv = support.file(table.concat(names, ",") .. "\n" .. line:rep(20), ".csv")
    local json = support.file(("{" .. table.concat(members, ",") .. "}\n"):rep(20), ".json")
    local options = { columns = { "c9999", "c2" } }
    assert.same({ c9999 = 9999, c2 = 2 }, lb.csv(csv, options):collect()[20])
    assert.same({ c9999 = 9999, c2 = 2 }, lb.json(json, options):collect()[20])
    assert.equal(20, lb.csv(csv, options):count())
    assert.matches("10000 columns", message(function() lb.csv(csv):count() end))
  end)

  it("may have a field of many megabytes", function()
    local size = 6 * 1024 * 1024
    local long = ("x\n"):rep(math.floor(size / 2))
    local csv = support.file('a,b\n1,"' .. long .. '"\n2,y\n', ".csv")
    local json = support.file('{"a":1,"b":"' .. long:gsub("\n", "\\n") .. '"}\n{"a":2,"b":"y"}\n', ".json")
    for _, ds in ipairs { lb.csv(csv, { types = { a = "integer" } }), lb.json(json) } do
      assert.same({ size, 1 }, ds:map(function(r) return #r.b end):collect())
      assert.equal(3, ds:map(function(r) return r.a end):sum())
    end
  end)

  it("may be empty, only a header, without final newline, with a mark and CRLF", function()
    assert.matches("empty", message(function() lb.csv(support.file("", ".csv")) end))
    assert.same({}, lb.csv(support.file("a,b", ".csv")):collect())
    assert.same({}, lb.csv(support.file("\xef\xbb\xbfa,b\r\n", ".csv")):collect())
    assert.same({ { a = "007", b = 1 } }, lb.csv(support.file("\xef\xbb\xbfa,b\r\n007,1", ".csv")):collect())
    assert.same({ { a = 1 }, { b = 2 } },
      lb.csv(support.file("a,b\n1,\\N\n\\N,2\n", ".csv"), { null = "\\N" }):collect())
    assert.matches("names 'a' twice", message(function() lb.csv(support.file("a,a\n1,2\n", ".csv")) end))
    assert.same({ { column1 = 1, b = 2 } }, lb.csv(support.file(",b\n1,2\n", ".csv")):collect())
  end)

  it("may be compressed under a name that does not say so", function()
    local n = support.size(50000, 800)
    local rows, lines = lb.range(n):map(function(i) return { a = i, b = "x" .. i % 7 } end):select("a", "b"), {}
    for i = 1, n do lines[i] = ('{"a":%d,"b":"x%d"}'):format(i, i % 7) end
    local csv, json, list = support.path(), support.path(), support.path()
    rows:save_csv(csv, { compression = "gzip" })
    rows:save_json(json, { compression = "zstd" })
    lb.from({ "[" .. table.concat(lines, ",") .. "]" }):save_text(list, { compression = "lz4" })
    for _, ds in ipairs { lb.csv(csv), lb.json(json), lb.json(list), lb.csv(csv, { types = { a = "integer" } }) } do
      assert.equal(n * (n + 1) / 2, ds:map(function(r) return r.a end):sum())
    end
    local first, last = "1", ("%d"):format(n)
    for _, compression in ipairs { "gzip", "zstd", "lz4", "bzip2" } do
      local text = support.path()
      lb.range(n):save_text(text, { compression = compression })
      assert.same({ first, last, first, last },
        lb.text({ text, text }):filter(function(line) return line == first or line == last end):collect())
      local file = assert(open(text, "rb"))
      local bytes = file:read "*a"
      file:close()
      local cut = support.file(bytes:sub(1, -6))
      assert.matches(cut .. ": truncated " .. compression .. " data", message(function() lb.text(cut):count() end), 1, true)
      -- Bytes are what these ask for.
      if compression == "gzip" then
        assert.same({ { text, bytes } }, lb.files(text):collect())
        assert.matches("not a file written by save", message(function() lb.read(text):count() end))
      end
    end
    for _, line in ipairs { "BZh9 is how bzip2 begins", "PK", "\31\139", "\31\139 not gzip", "(" } do
      assert.same({ line }, lb.text(support.file(line .. "\n")):collect())
    end
  end)

  it("must not change while they are read", function()
    local lines = {}
    for i = 1, support.size(200000, 40000) do lines[i] = ("%d,%d"):format(i, i) end
    local content = "a,b\n" .. table.concat(lines, "\n") .. "\n"
    local changes = {
      ["was replaced"] = function(path) execute(("cp %s %s.new && mv %s.new %s"):format(path, path, path, path)) end,
      ["has changed"] = function(path) execute(("echo 1,2 >> %s"):format(path)) end,
      ["has changed|ends at byte"] = function(path) execute(("truncate -s 1000 %s"):format(path)) end,
      ["was written to"] = function(path) execute(("touch %s"):format(path)) end,
    }
    for wanted, change in pairs(changes) do
      local path = support.file(content, ".csv")
      local text
      support.with({ threads = 1 }, function()
        text = message(function()
          lb.csv(path):filter(function(r)
            if r.a == 10 then change(path) end
            return true
          end):count()
        end)
      end)
      local found = false
      for one in wanted:gmatch("[^|]+") do found = found or text:find(one, 1, true) ~= nil end
      assert.is_true(found, wanted .. ": " .. text)
    end
  end)
end)
