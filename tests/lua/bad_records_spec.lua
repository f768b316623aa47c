-- What is done with records that are none: on_bad = "fail" | "skip" | { to = path }.
local lb = require "luabatch"
local runtime = require "luabatch.runtime"
local support = require "tests.lua.support"
local pcall, tostring, ipairs, type = pcall, tostring, ipairs, type

-- Runs f and gives how many records the engine says it has skipped.
local function skipped(f)
  local before, n = runtime.settings.on_run, 0
  runtime.settings.on_run = function(_, info) n = n + (info.skipped or 0) end
  local ok, problem = pcall(f)
  runtime.settings.on_run = before
  assert.is_true(ok, tostring(problem))
  return n
end

-- Lines of which some are bad; the bad ones with their places.
local function make(n, good, bad)
  local lines, wanted, byte = {}, {}, 0
  for i = 1, n do
    local is_bad = math.random(50) == 1 or i == n
    lines[i] = is_bad and bad(i) or good(i)
    if is_bad then wanted[#wanted + 1] = { line = i, byte = byte, raw = lines[i] } end
    byte = byte + #lines[i] + 1
  end
  return table.concat(lines, "\n") .. "\n", wanted
end

local function check(open, content, wanted, n, suffix)
  local path = support.file(content, suffix)
  local gz = support.path(suffix .. ".gz")
  assert(os.execute(("gzip -c %s > %s"):format(path, gz)))
  for threads = 1, 3 do
    support.with({ threads = threads }, function()
      for _, input in ipairs { path, gz } do
        local to = support.path(".json")
        assert.equal(#wanted, skipped(function() assert.equal(n - #wanted, open(input, "skip"):count()) end))
        assert.equal(#wanted, skipped(function() assert.equal(n - #wanted, open(input, { to = to }):count()) end))
        local rows = #wanted > 0 and lb.json(to):collect() or {}
        assert.equal(#wanted, #rows)
        for i, row in ipairs(rows) do
          assert.same({ wanted[i].line, wanted[i].byte, wanted[i].raw, input }, { row.line, row.byte, row.raw, row.file })
          assert.is_true(#row.kind > 0 and #row.message > 0)
        end
        local ok, problem = pcall(function() open(input, "fail"):count() end)
        assert.is_false(ok)
        local first = (":%d (byte %d): "):format(wanted[1].line, wanted[1].byte)
        if threads == 1 then assert.matches(first, tostring(type(problem) == "table" and problem.message or problem), 1, true) end
      end
    end)
  end
end

describe("bad records (seed " .. support.seed .. ")", function()
  after_each(support.clean)

  it("are not written over what is read", function()
    local content = "a\n1\nx\n"
    local path, link = support.file(content, ".csv"), support.path(".csv")
    local other = support.file("a\n1\n", ".csv")
    assert(os.execute(("ln %s %s"):format(path, link)))
    local function try(to, input)
      return pcall(function()
        local bad = lb.csv(input, { types = { a = "integer" }, on_bad = { to = to } })
        return bad:join(lb.csv(path), { how = "cross" }):count()
      end)
    end
    for _, case in ipairs { { path, path }, { link, path }, { path, other } } do
      local ok, problem = try(case[1], case[2])
      assert.is_false(ok)
      assert.matches("which is read", tostring(type(problem) == "table" and problem.message or problem), 1, true)
      assert.equal(content, support.read(path))
    end
    assert.is_true((try(support.path ".json", path)))
  end)

  it("of csv are counted and written exactly", function()
    local content, wanted = make(6000, function(i) return ("%d,text %d"):format(i, i) end, function(i)
      return ({ "one field", "x,y", '1,"a"b', "1,2,3" })[i % 4 + 1]
    end)
    check(function(path, on_bad)
      return lb.csv(path, { header = false, columns = { "a", "b" }, types = { a = "integer" }, on_bad = on_bad })
    end, content, wanted, 6000, ".csv")
  end)

  it("of json are counted and written exactly", function()
    local content, wanted = make(6000, function(i) return ('{"a":%d,"b":"x%d"}'):format(i, i) end, function(i)
      return ({ "7", '{"a":"x"}', '{"a":1,"b":"', '{"a":1', '{"a":01}', '{"a":1}}' })[i % 6 + 1]
    end)
    check(function(path, on_bad) return lb.json(path, { types = { a = "integer" }, on_bad = on_bad }) end, content, wanted,
      6000, ".json")
  end)

  it("appear with the end of the run alone", function()
    local path, to = support.file("a\n1\n1,2\n3\n", ".csv"), support.path(".json")
    local ds = lb.csv(path, { on_bad = { to = to } })
    assert.is_false((pcall(function() ds:map(function(r) if r.a == 3 then error("no") end return r.a end):collect() end)))
    assert.is_nil(io.open(to))
    assert.same({ { a = 1 }, { a = 3 } }, ds:collect())
    assert.equal(('{"byte":4,"file":"%s","kind":"fields","line":3,"message":"2 fields, not 1","raw":"1,2"}\n'):format(path),
      support.read(to))
    support.read(to)
    assert.same({ { a = 1 } }, lb.csv(support.file("a\n1\n", ".csv"), { on_bad = { to = to } }):collect())
    assert.equal("", support.read(to))
    assert.is_false((pcall(lb.csv, path, { on_bad = { two = to } })))
    assert.is_false((pcall(lb.csv, path, { on_bad = "skipp" })))
  end)
end)
