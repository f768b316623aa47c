-- A few random moments of tests/fault/kill.py, which says what is killed and what must be there afterwards; `make soak` takes hundreds.
local support = require "tests.cli.support"
local tonumber, os, math = tonumber, os, math

local effort = tonumber(os.getenv "LB_EFFORT") or 1

describe("a job that is killed", function()
  after_each(support.clean)

  it("leaves the old output or the new one, and goes on", function()
    -- Sanitised builds take longer; what is measured is that they end.
    local status, out, err = support.shell(("python3 tests/fault/kill.py %s --kills %d --signals %d --rows 3000 --slow 8"):format(
      support.quote(support.program), math.max(7, math.floor(28 * effort)), math.max(6, math.floor(14 * effort))))
    assert.equal(0, status, out .. err)
    assert.truthy(out:find(" passed, 0 failed, 0 skipped\n", 1, true), out)
  end)
end)
