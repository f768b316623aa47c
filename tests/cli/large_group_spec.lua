-- The values that functions keep of one group, larger than the memory limit: an error that says which, not a large process.
local support = require "tests.cli.support"

local ipairs, io = ipairs, io
local run, path = support.run, support.path

-- exit status 5, and every text in the message
local function refused(chunk, ...)
  local status, out, err = run("--quiet", "--memory", "8M", "--threads", "2", "-e", chunk)
  assert.equal(5, status, err)
  assert.equal("", out)
  for _, text in ipairs { ... } do assert.truthy(err:find(text, 1, true), err) end
end

describe("a group larger than the memory limit", function()
  after_each(support.clean)

  it("is told by group and function where values are kept", function()
    local name = path ".csv"
    local out = io.open(name, "w")
    out:write "k,a\n"
    for i = 1, 500000 do out:write("hot,", i, "\n") end
    out:close()
    for _, fn in ipairs { "median", "count_distinct", "mode", "collect_list", "collect_set" } do
      refused(("lb.csv(%q):group_by('k'):agg { m = lb.%s 'a' }:select('k'):show()"):format(name, fn),
        'agg: the values that m needs of group "hot" take more than', "--memory")
    end
    local status, found = run("--quiet", "-e", ("print(lb.csv(%q):group_by('k'):agg { m = lb.median 'a' }:first().m)"):format(name))
    assert.equal(0, status)
    assert.equal("250000.5\n", found)
  end)
end)
