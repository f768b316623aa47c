--- Makes every call of every kind fail once, and for ever, in every job of jobs.lua, and looks at what is left.
--
-- What a failure must be: exit status 5 and a message that says what failed; nothing published (old outputs are as they were), no temporary
-- file, no crash, no leak, within seconds. What recovers from it must give the right result; interrupted and short calls must.
--
-- LUABATCH names the program: a debug or sanitised build. Arguments: a job's name (default: all), and
--   n=N      how many calls of a kind are tried in each way (default 40); the others are left out at random. n=all: every one
--   lua=N    the same for Lua's allocations, of which a job makes tens of thousands
--   kind=K   only calls of this kind
--   few=N    only so many attempts for each job, of any kind
--   seed=N   which of them
--   at=SPEC  only this LUABATCH_FAULT, and tells what came out
--   list     tells the names of the jobs
local jobs = require "tests.fault.jobs"

local options = { n = "40" }
local wanted
for _, argument in ipairs(arg) do
  local name, value = argument:match "^(%w+)=(.*)$"
  if name then options[name] = value else wanted = argument end
end
if wanted == "list" then
  for _, job in ipairs(jobs) do print(job.name) end
  os.exit(true)
end
local function number_of(option) return option == "all" and math.huge or tonumber(option) end
local most = number_of(options.n)
local most_of_lua = number_of(options.lua or options.n)
local seed = tonumber(options.seed) or tonumber(os.getenv("LB_SEED")) or os.time()
math.randomseed(seed)

local SECONDS = 30 -- that an attempt may take
local HANG = 137   -- what timeout makes of it
-- Sanitisers end the process with a status of their own.
local SANITIZER = 99
local environment = ("ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1:exitcode=%d"):format(SANITIZER)
  .. (" UBSAN_OPTIONS=halt_on_error=1:exitcode=%d"):format(SANITIZER)

local function capture(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("a")
  pipe:close()
  return text
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return "" end
  local text = file:read("a")
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local program = capture("realpath " .. (os.getenv("LUABATCH") or "build/debug/luabatch")):gsub("\n", "")
local root = capture("mktemp -d"):gsub("\n", "")

-- Which ways to fail are tried for a kind of call. `transient`: the job must succeed all the same.
local ways = {
  alloc = { "N", "N+" },
  lua = { "N", "N-M", "N+" },
  open = { "N", "N=EMFILE+", { "N=EINTR", transient = true } },
  close = { "N", { "N=EINTR", transient = true } },
  read = { "N", "N=EIO+", { "N=EINTR", transient = true }, { "N=short+", transient = true } },
  pread = { "N", "N=EIO+", { "N=EINTR", transient = true }, { "N=short+", transient = true } },
  write = { "N", "N=ENOSPC+", { "N=EINTR", transient = true }, { "N=EAGAIN", transient = true }, { "N=short+", transient = true } },
  pwrite = { "N", "N=ENOSPC+", "N=EDQUOT", { "N=EINTR", transient = true }, { "N=short+", transient = true } },
  stat = { "N", "N+", { "N=EINTR", transient = true } },
  fsync = { "N", "N=ENOSPC+", { "N=EINTR", transient = true } },
  ftruncate = { "N" },
  rename = { "N", "N=ENOSPC+" },
  link = { "N", "N=EDQUOT+" },
  unlink = { "N" },
  mkdir = { "N", "N=ENOSPC+" },
  rmdir = { "N" },
  thread = { "N", "N+" },
  library = { "N", "N+" },
  fork = { { "N", transient = true } },
}

local kinds = {}
for kind in pairs(ways) do
  if not options.kind or kind == options.kind then kinds[#kinds + 1] = kind end
end
table.sort(kinds)

-- Runs the job in a copy of `base`: what came of it.
local function attempt(job, spec)
  local here = root .. "/" .. job.name
  local loose = ""
  for _, name in ipairs(job.loose or {}) do loose = loose .. (" ! -name %s"):format(name) end
  local script = ([[
cd %s && rm -rf w count && cp -r base w && cd w || exit 1
LUABATCH_FAULT='%scount=../count' TMPDIR="$PWD/tmp" %s timeout -s KILL %d %s --threads 2 %s ../job.lua %s <%s >../stdout 2>../stderr
echo "status $?"
find . -mindepth 1 %s '(' -type f -exec cksum {} + -o -type d -printf '%%p/\n' ')' | LC_ALL=C sort]]):format(
    here, spec and spec .. "," or "", environment, SECONDS, program, job.flags or "", job.args or "", job.stdin or "/dev/null", loose)
  local status, files = capture(script):match("^[^\n]-status (%d+)\n(.*)$")
  local counts = {}
  for kind, n in read(here .. "/count"):gmatch("([%a_]+) (%d+)") do counts[kind] = tonumber(n) end
  return {
    status = tonumber(status), files = files, out = read(here .. "/stdout"), err = read(here .. "/stderr"), counts = counts,
  }
end

local function prepare(job)
  local here = root .. "/" .. job.name
  assert(os.execute(("mkdir -p %s/base/tmp && ln -s ../in %s/in"):format(here, here)))
  for path, content in pairs(job.old or {}) do
    os.execute(("mkdir -p %s/base/$(dirname %s)"):format(here, path))
    write(here .. "/base/" .. path, content)
  end
  write(here .. "/job.lua", job.script)
  local before = attempt({ name = job.name, flags = "--check", args = job.args, stdin = job.stdin })
  local good = attempt(job)
  if good.status ~= 0 then error(job.name .. " fails by itself: " .. good.err, 0) end
  return before, good
end

-- What a run that ends well tells of the records that it left out, if it does not say that it does not know.
local function summary(err)
  local told = err:match "%d+ records? skipped: [^\n]*"
  return told and not told:find("where is not known: out of memory", 1, true) and told or nil
end

-- What is wrong with an attempt, or nil.
local function judge(job, spec, before, good, got, transient)
  if got.status == HANG then return "hangs" end
  if got.status == SANITIZER or got.err:find("Sanitizer") or got.err:find("runtime error:") then return "sanitizer" end
  if got.status > 128 then return "killed by signal " .. got.status - 128 end
  if not got.counts.failed then return "no orderly end, status " .. got.status end
  if got.status == 0 then
    if got.files ~= good.files then return "success with other files" end
    if got.out ~= good.out then return "success with other output" end
    local told = spec:find "^alloc:" and summary(got.err)
    if told and told ~= summary(good.err) then return "success with another summary" end
    return nil
  end
  if got.counts.failed == 0 then return "fails without a fault" end
  if transient then return "does not recover" end
  -- Lua looks for modules by opening files, and does not say why one cannot be opened.
  if got.status == 1 and got.err:find "module '%S+' not found" then return nil end
  if got.status ~= 5 then return "exit status " .. got.status end
  if got.out ~= good.out:sub(1, #got.out) then return "wrong output before the failure" end
  -- What is complete may stand: of two outputs the first; and what was there before Lua had no memory to go on, or before the disk
  -- would not say that a replaced name lasts, if the message tells that; and an output before the report on it could not be written.
  local no_report = false
  for _, name in ipairs(job.loose or {}) do no_report = no_report or got.err:find("cannot write '?" .. name) ~= nil end
  no_report = no_report or got.err:find("what the run took cannot be told", 1, true) ~= nil
  local may_stand = no_report or job.is_two or spec:find("^lua:") or got.err:find("is replaced", 1, true)
  if got.files ~= before.files and not (may_stand and (job.is_two or got.files == good.files)) then return "leaves something" end
  if not got.err:find("luabatch: ") then return "no message" end
  if not got.err:find("memory") and not got.err:find(": ", 11, true) then return "message says too little" end
  return nil
end

local n_attempts, n_wrong = 0, 0
local function try(job, before, good, spec, transient)
  local got = attempt(job, spec)
  local wrong = judge(job, spec, before, good, got, transient)
  n_attempts = n_attempts + 1
  if wrong then
    n_wrong = n_wrong + 1
    print(("WRONG %s %s: %s (status %d)"):format(job.name, spec, wrong, got.status))
    print("    " .. got.err:sub(1, 3000):gsub("\n", "\n    "))
    if wrong == "leaves something" or wrong:find("files") then print(got.files) end
    io.stdout:flush()
  end
  return got
end

local looks = { read = true, pread = true, stat = true }

-- Whether a job must go well though a call of this kind fails in this way.
local function recovers(job, kind, way)
  return type(way) == "table" or job.recovers and way == "N" and looks[kind]
end

-- A rule for LUABATCH_FAULT.
local function spec_of(kind, way, n)
  local pattern = type(way) == "table" and way[1] or way
  return kind .. ":" .. pattern:gsub("^N", n):gsub("-M", "-" .. n + 1)
end

-- A few attempts of any kind.
local function run_few(job, n_wanted)
  local before, good = prepare(job)
  local candidates = {}
  for _, kind in ipairs(kinds) do
    for _, way in ipairs(good.counts[kind] > 0 and ways[kind] or {}) do candidates[#candidates + 1] = { kind, way } end
  end
  for _ = 1, n_wanted do
    local kind, way = table.unpack(candidates[math.random(#candidates)])
    try(job, before, good, spec_of(kind, way, math.random(good.counts[kind])), recovers(job, kind, way))
  end
end

local function run(job)
  local before, good = prepare(job)
  for _, kind in ipairs(kinds) do
    for _, way in ipairs(ways[kind]) do
      local count = good.counts[kind]
      local step = math.max(1, count / (kind == "lua" and most_of_lua or most))
      local n = step > 1 and math.random() * step + 1 or 1
      local reached = true
      while reached and n < 1.2 * count + 10 do
        local spec = spec_of(kind, way, math.floor(n))
        reached = try(job, before, good, spec, recovers(job, kind, way)).counts.failed ~= 0
        n = n + step
      end
    end
  end
end

assert(os.execute("mkdir " .. root .. "/in"))
write(root .. "/setup.lua", jobs.setup)
assert(os.execute(("cd %s/in && %s --quiet ../setup.lua"):format(root, program)))
local known = false
for _, job in ipairs(jobs) do
  if not wanted or wanted == job.name then
    known = true
    if options.at then
      local before, good = prepare(job)
      local got = attempt(job, options.at)
      print(judge(job, options.at, before, good, got) or "as it should be", "status " .. got.status)
      print(got.err .. got.out .. got.files)
    elseif options.few then
      run_few(job, tonumber(options.few))
    else
      run(job)
    end
  end
end
os.execute("rm -rf " .. root)
if not known then error("no job is called " .. tostring(wanted), 0) end
print(("%d attempts, %d wrong (%s, seed %d)"):format(n_attempts, n_wrong, wanted or "all jobs", seed))
os.exit(n_wrong == 0)
