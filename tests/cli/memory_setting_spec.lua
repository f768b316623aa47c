-- The memory limit of a process that changes it between its runs, and what is left after one that had too little.
local support = require "tests.cli.support"

local run, path, io = support.run, support.path, io

describe("settings.memory", function()
  after_each(support.clean)

  it("holds at once when it is lowered and when it is raised again", function()
    local name = path ".lua"
    local out = io.open(name, "w")
    out:write [[
      local lb = require "luabatch"
      local settings = require("luabatch.runtime").settings
      local kept = {}
      local function fill(n) for i = 1, n do kept[#kept + 1] = ("x"):rep(1000000) .. i end end
      for _ = 1, 2 do
        settings.memory = 2 * 1024 ^ 2
        assert(settings.memory == 2 * 1024 ^ 2)
        print(pcall(fill, 100))
        settings.memory = 1024 ^ 3
        fill(100)
        print(lb.csv(arg[1]):count(), lb.range(10000):map(function(i) return i % 7, 1 end):group_by_key():count())
        kept = {}
        collectgarbage()
      end
      settings.memory = 2 * 1024 ^ 2
      settings.memory = nil
      fill(100)]]
    out:close()
    local status, found, err = run("--quiet", name, support.file("a,b\n1,2\n", ".csv"))
    assert.same({ 0, ("false\tnot enough memory\n1\t7\n"):rep(2), "" }, { status, found, err })
  end)
end)

describe("a script that goes on after it ran out of memory", function()
  after_each(support.clean)

  it("has all of it again, whatever had taken it", function()
    local name = path ".lua"
    local out = io.open(name, "w")
    out:write [[
      local lb = require "luabatch"
      local mb = lb.range(60):map(function(i) return i % 2, ("x"):rep(1000000) .. i end)
      local fails = {
        function() return #mb:values():collect() end,
        function() return mb:group_by_key():count() end,
        function() return mb:reduce_by_key(function(a, b) return a .. b end):count() end,
        function()
          return lb.range(3):map(function() local t = {} for i = 1, 60 do t[i] = ("x"):rep(1000000) .. i end return #t end):count()
        end,
        function() local t = {} for i = 1, 200 do t[i] = ("x"):rep(1000000) .. i end end,
      }
      local n = 0
      for i, f in ipairs(fails) do
        local ok, message = pcall(f)
        if ok then error("case " .. i .. " has enough memory: " .. tostring(message)) end
        assert(lb.range(50000):sort_by(function(v) return -v end):first() == 50000)
        assert(lb.range(50000):map(function(v) return v, 1 end):reduce_by_key(function(a, b) return a + b end):count() == 50000)
        n = n + 1
      end
      print(n)]]
    out:close()
    assert.same({ 0, "5\n", "" }, { run("--quiet", "--memory", "12M", "--threads", "2", name) })
  end)
end)
