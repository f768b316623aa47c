-- The same bytes whatever the threads and the memory: the jobs of tests/soak over a little data, in slow builds some of them (make soak
-- runs all, on more data, in more settings).
local support = require "tests.lua.support"
local check, data, jobs = require "tests.soak.check", require "tests.soak.data", require "tests.soak.jobs"
local runtime = require "luabatch.runtime"

describe("determinism (seed " .. support.seed .. ")", function()
  local folder, paths
  local settings = {
    { threads = 1, memory = 1024 ^ 3 }, { threads = 3, memory = 1024 ^ 3 },
    { threads = 2, memory = 256 * 1024 }, { threads = 8, memory = 256 * 1024 },
  }

  setup(function()
    folder = support.path "/"
    assert(os.execute("mkdir " .. folder))
    paths = data.make(folder, support.seed, support.size(700, 200))
  end)
  teardown(support.clean)

  it("is there for jobs of every kind", function()
    local left = {}
    for i, job in ipairs(jobs) do left[i] = job end
    math.randomseed(support.seed)
    for _ = 1, support.size(#jobs, 6) do
      local job = table.remove(left, math.random(#left))
      assert.is_nil(check.job(job, paths, support.seed, folder .. "out", settings))
    end
  end)

  it("is looked for", function()
    local job = { name = "threads", run = function(_, out)
      local file = assert(io.open(out .. "threads", "wb"))
      file:write(runtime.settings.threads)
      file:close()
    end }
    assert.matches("threads, seed 1, 3 threads, .*differs.*\n.*1c1", check.job(job, paths, 1, folder .. "out", settings))
  end)
end)
