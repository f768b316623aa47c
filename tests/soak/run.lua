-- Forty jobs and more, each with 1, 2, 3 and 8 threads, little and much memory, over data of several seeds: the same bytes.
--
--   luabatch tests/soak/run.lua [seeds=5] [first=1] [rows=6000] [jobs=PATTERN]
--
-- The last line is `N passed, N failed, 0 skipped`. A failure tells job, seed and setting; its outputs stay in the folder that it names.
package.path = "./?.lua;" .. package.path
local check, data, jobs = require "tests.soak.check", require "tests.soak.data", require "tests.soak.jobs"

local options = { seeds = 5, first = 1, rows = 6000, jobs = "" }
for _, argument in ipairs(arg) do
  local name, value = argument:match "^(%w+)=(.*)$"
  if options[name] == nil then
    io.stderr:write("usage: luabatch tests/soak/run.lua [seeds=5] [first=1] [rows=6000] [jobs=PATTERN]\n")
    os.exit(2)
  end
  if value ~= "" then options[name] = tonumber(value) or value end
end

local settings = {}
for _, memory in ipairs { 1024 ^ 3, 256 * 1024 } do
  for _, threads in ipairs { 1, 2, 3, 8 } do settings[#settings + 1] = { threads = threads, memory = memory } end
end

local base = os.tmpname()
os.remove(base)
assert(os.execute(("mkdir '%s'"):format(base)))
local passed, failed = 0, 0
for seed = options.first, options.first + options.seeds - 1 do
  local folder = ("%s/%d"):format(base, seed)
  assert(os.execute(("mkdir '%s'"):format(folder)))
  local paths = data.make(folder, seed, options.rows)
  local bad_before = failed
  for i, job in ipairs(jobs) do
    if job.name:find(options.jobs) then
      local started = os.time()
      local out = ("%s/out-%d"):format(folder, i)
      local problem = check.job(job, paths, seed, out, settings)
      if problem then
        failed = failed + 1
        print(("FAILED  %s\n  in %s"):format(problem, out))
      else
        passed = passed + 1
        print(("ok      %s, seed %d (%d s)"):format(job.name, seed, os.time() - started))
        os.execute(("rm -rf '%s'"):format(out))
      end
      io.stdout:flush()
    end
  end
  if failed == bad_before then os.execute(("rm -rf '%s'"):format(folder)) end
end
if failed == 0 then os.remove(base) end
print(("%d passed, %d failed, 0 skipped"):format(passed, failed))
os.exit(failed == 0)
