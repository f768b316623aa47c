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
        settings.memory = 2 << 20
        assert(settings.memory == 2 << 20)
        print(pcall(fill, 100))
        settings.memory = 1 << 30
        fill(100)
        print(lb.csv(arg[1]):count(), lb.range(10000):map(function(i) return i % 7, 1 end):group_by_key():count())
        kept = {}
        collectgarbage()
      end]]
    out:close()
    local status, found, err = run("--quiet", name, support.file("a,b\n1,2\n", ".csv"))
    assert.same({ 0, ("false\tnot enough memory\n1\t7\n"):rep(2), "" }, { status, found, err })
  end)
end)
