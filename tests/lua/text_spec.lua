-- Text: lines as io.lines gives them, and the native helpers against the Lua functions that they stand for.
local lb = require "luabatch"
local support = require "tests.lua.support"
-- busted gives specs an environment of its own, which cannot travel: functions capture what they use.
local select = select

local function random_line()
  local bytes = {}
  for i = 1, math.random(0, 60) do
    local kind = math.random(6)
    bytes[i] = kind == 1 and " " or kind == 2 and "\t" or kind == 3 and string.char(math.random(128, 255))
      or string.char(math.random(65, 122))
  end
  return table.concat(bytes)
end

describe("text (seed " .. support.seed .. ")", function()
  after_each(support.clean)

  it("gives lines: CRLF is one newline, a last line without newline counts", function()
    assert.same({ "a", "", "b", "c\rd", "e" }, lb.text(support.file "a\n\r\nb\r\nc\rd\ne"):collect())
    assert.same({ "a" }, lb.text(support.file "a\n"):collect())
    assert.same({}, lb.text(support.file ""):collect())
    assert.same({ "" }, lb.text(support.file "\n"):collect())
    assert.same({ "a\0b" }, lb.text(support.file "a\0b"):collect())
  end)

  it("reads long lines and many lines in order", function()
    local lines = support.list(5000, random_line)
    lines[77] = ("x"):rep(3000000)
    local path = support.file(table.concat(lines, "\n") .. "\n")
    local got = lb.text(path):collect()
    assert.equal(#lines, #got)
    for i, line in ipairs(lines) do
      if line ~= got[i] then error("line " .. i .. " differs") end
    end
  end)

  it("reads lists of files, globs and directories", function()
    local dir = support.path "/"
    assert(os.execute("mkdir '" .. dir .. "'"))
    for _, name in ipairs { "b.txt", "a.txt", "_no", ".no" } do
      local file = assert(io.open(dir .. name, "w"))
      file:write(name, "\n")
      file:close()
    end
    assert.same({ "a.txt", "b.txt" }, lb.text(dir):collect())
    assert.same({ "a.txt", "b.txt" }, lb.text(dir .. "*.txt"):collect())
    assert.same({ "b.txt", "a.txt", "b.txt" }, lb.text({ dir .. "b.txt", dir .. "?.txt" }):collect())
    assert.same({ { dir .. "a.txt", "a.txt\n" } }, lb.files(dir .. "a.txt"):collect())
  end)

  it("reads compressed files", function()
    local plain = support.file(("line of text\n"):rep(1000))
    for command, extension in pairs { gzip = ".gz", bzip2 = ".bz2" } do
      local path = support.path(extension)
      assert(os.execute(("%s -c '%s' > '%s' && %s -c '%s' >> '%s'"):format(command, plain, path, command, plain, path)))
      assert.equal(2000, lb.text(path):count())
    end
  end)

  it("a truncated file is an error", function()
    local plain, path = support.file(("some line\n"):rep(10000)), support.path ".gz"
    assert(os.execute(("gzip -c '%s' | head -c 200 > '%s'"):format(plain, path)))
    local ok, err = pcall(function() return lb.text(path):count() end)
    assert.is_false(ok)
    assert.equal(4, err.status)
    assert.truthy(tostring(err):find("truncated", 1, true))
  end)

  it("no match is an error with status 2", function()
    local ok, err = pcall(function() return lb.text("/nonexistent/*.txt"):count() end)
    assert.is_false(ok)
    assert.equal(2, err.status)
  end)

  it("words, field, fields, grep, lower mean the Lua function", function()
    local lines = support.list(800, random_line)
    -- Read back, for a line may end in "\r".
    local path = support.file(table.concat(lines, "\n") .. "\n")
    lines = {}
    for line in io.lines(path) do lines[#lines + 1] = line:gsub("\r$", "") end
    local words, thirds, fields, found, lower, tabbed = {}, {}, {}, {}, {}, {}
    for i, line in ipairs(lines) do
      local list = {}
      for word in line:gmatch("%S+") do
        words[#words + 1] = word
        list[#list + 1] = word
      end
      thirds[i] = list[3] or false
      fields[i] = list
      if line:find("[a-c]%u") then found[#found + 1] = line end
      lower[i] = line:lower()
      tabbed[i] = (line .. "\t"):match("^[^\t]*\t([^\t]*)\t") or false
    end
    local function present(v) return v or false end
    for _, ds in ipairs { lb.text(path), lb.text(path):filter(function() return true end) } do
      assert.same(words, ds:words():collect())
      assert.same(thirds, ds:field(3):map(present):collect())
      assert.same(tabbed, ds:field(2, "\t"):map(present):collect())
      assert.same(found, ds:grep("[a-c]%u"):collect())
      assert.same(lower, ds:lower():collect())
      assert.same(fields, ds:fields():map(function(...)
        local list = {}
        for i = 1, select("#", ...) do list[i] = (select(i, ...)) end
        return list
      end):collect())
    end
  end)

  it("fields gives each record its own length", function()
    local lines = support.list(500, function()
      local words = support.list(math.random(0, 9), function() return support.word() end)
      return table.concat(words, " ")
    end)
    local path = support.file(table.concat(lines, "\n") .. "\n")
    local want = {}
    for i, line in ipairs(lines) do
      local n = 0
      for _ in line:gmatch("%S+") do n = n + 1 end
      want[i] = math.max(n, 1) -- a record has at least one value, nil if need be
    end
    assert.same(want, lb.text(path):fields():map(function(...) return select("#", ...) end):collect())
  end)

  it("fails with the record where a record is no text", function()
    for what, value in pairs { number = 7, boolean = true, table = { 1 } } do
      for _, verb in ipairs { "words", "lower", "fields" } do
        local ds = lb.from { value, value }
        local ok, problem = pcall(function() return ds[verb](ds):collect() end)
        assert.is_false(ok)
        assert.truthy(tostring(problem):find(("%s: string expected, got %s"):format(verb, what), 1, true), tostring(problem))
      end
    end
  end)

  local type = type -- busted's environment does not travel
  local function is_string(v) return type(v) == "string" end

  -- A column of mixed values, whose strings have a length that is inline in views, encoded or not, and a longer one.
  local function mixed(n)
    local list = {}
    for i = 1, n do
      local kind = math.random(6)
      if kind == 1 then list[i] = i
      elseif kind == 2 then list[i] = i + 0.5
      elseif kind == 3 then list[i] = i % 2 == 0
      elseif kind == 4 then list[i] = { support.word(), i }
      elseif kind == 5 then list[i] = support.word():upper():sub(1, math.random(0, 7))
      else list[i] = (support.word() .. " "):rep(math.random(0, 6)) .. "\tB c" end
    end
    return list
  end

  it("takes the strings that are left of mixed values", function()
    local list = mixed(3000)
    local want = { words = {}, lower = {}, field = {}, grep = {}, fields = {} }
    for _, v in ipairs(list) do
      if type(v) == "string" then
        local first
        for word in v:gmatch "%S+" do
          first = first or word
          table.insert(want.words, word)
        end
        table.insert(want.lower, v:lower())
        table.insert(want.field, first or false)
        table.insert(want.fields, first or false)
        if v:find "[a-c]" then table.insert(want.grep, v) end
      end
    end
    local strings = lb.from(list):filter(is_string)
    local function present(v) return v or false end
    assert.same(want.words, strings:words():collect())
    assert.same(want.lower, strings:lower():collect())
    assert.same(want.grep, strings:grep("[a-c]"):collect())
    assert.same(want.field, strings:field(1):map(present):collect())
    assert.same(want.fields, strings:fields():map(present):collect())
  end)

  it("names the record and its type where mixed values hold another", function()
    local path = support.file("x y\n7\nz\n")
    local function fails(ds, ...)
      for _, verb in ipairs { "words", "lower", "fields" } do
        local ok, problem = pcall(function() return ds[verb](ds):collect() end)
        assert.is_false(ok)
        for _, part in ipairs { ... } do
          assert.truthy(tostring(problem):find(part, 1, true), tostring(problem))
        end
      end
    end
    fails(lb.text(path):map(function(l) return l == "7" and 7 or l end), "got number", path .. ":2 (byte 4): 7")
    fails(lb.text(path):map(function(l) return l == "7" and {} or l end), "got table", path .. ":2 (byte 4): 7")
    fails(lb.from { "a", true, "b" }, "got boolean", "record true")
    fails(lb.from { "a", { "q", 1.5 }, "b" }, "got table", 'record {"q",1.5}')
  end)
end)
