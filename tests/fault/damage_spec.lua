-- Damage of spill files: whatever frame is damaged, and however, the job gives what it gives without; and says that it began again.
--
-- Runs a program built with fault points (MODE=debug, asan or tsan). LB_EFFORT: 1 damages 12 frames of each job in each way,
-- 100 nearly all of them.
local support = require "tests.cli.support"
local tonumber, table, math, os, ipairs, tostring = tonumber, table, math, os, ipairs, tostring

local effort = tonumber(os.getenv "LB_EFFORT") or 1
local seed = tonumber(os.getenv "LB_SEED") or os.time()
local ways = { "frame_flip", "frame_cut", "frame_foreign", "pread", "pwrite" }

-- Each spills under 64 KiB with the tiny limits of these builds. They write to standard output, in order.
local jobs = {
  { "sort", [[pairs_of():map(function(k, v) return v, k end):sort_by_key():save_text "-"]] },
  { "sort descending", [[rows():order_by(lb.desc "v", "k"):save_csv "-"]] },
  { "groups for Lua", [[pairs_of():reduce_groups(function(k, values, emit)
      local n = 0 for v in values do n = n + v end emit(k, n) end):save_text "-"]] },
  { "group lists", [[pairs_of():group_by_key():save_json "-"]] },
  { "aggregate", [[rows():group_by("v"):agg { n = lb.count(), s = lb.sum "k", m = lb.median "k" }:save_csv "-"]] },
  { "count", [[pairs_of():values():value_counts():save_text "-"]] },
  { "reduce", [[pairs_of():map(function(k, v) return v, k end):reduce_by_key(function(a, b) return a > b and a or b end)
      :save_text "-"]] },
  { "distinct", [[pairs_of():distinct():save_text "-"]] },
  { "join of rows", [[rows():join(rows():select("k", { w = "v" }), { on = "k", how = "inner" })
      :where "v < 40":save_csv "-"]] },
  { "merged join", [[rows():join(rows():select("v", { x = "k * 2" }):drop_duplicates("v"), { on = "v", strategy = "merge" })
      :save_csv "-"]] },
  { "join of pairs", [[pairs_of():join(pairs_of():filter(function(k, v) return v % 50 == 0 end)):save_text "-"]] },
  { "skewed", [[pairs_of():map(function(k, v) return k % 10 == 0 and v or "hot", { v, k } end)
      :aggregate_by_key({}, function(s, v) s[#s + 1] = v return s end, function(a, b)
        for _, v in ipairs(b) do a[#a + 1] = v end return a end):map_values(function(s) return #s, s[1][1] end):save_text "-"]] },
  { "window", [[rows():window { partition_by = "k", order_by = { "v" }, rows = { -2, 0 }, a = lb.avg "v", n = lb.row_number() }
      :order_by("k", "v"):save_csv "-"]] },
  { "cache", [[local kept = pairs_of():map(function(k, v) return v, k end):cache()
      local n = kept:count() kept:save_text "-" kept:filter(function(v) return v > 100 end):save_text "-" print(n, kept:count())]] },
  { "iterate", [[for v, k in pairs_of():map(function(k, v) return v, k end):sort_by_key():iterate() do print(v, k) end]] },
  { "collect", [[for _, pair in ipairs(pairs_of():collect()) do print(pair[1], pair[2]) end]] },
  { "foreach", [[local c = lb.counter "seen" local sum = lb.counter "sum"
      pairs_of():map(function(k, v) return v, k end):sort_by_key():foreach(function(v) c:add(1) sum:add(v) end)
      print(c:value(), sum:value())]] },
  { "side file", [[lb.text(input):map(function(l) if l:find "7" then error("no", 0) end return l end, { on_error = { to = out } })
      :save_text "-" io.write(io.open(out, "rb"):read "a")]] },
  { "file", [[rows():order_by("v", "k"):save_json(out, { mode = "overwrite" }) io.write(io.open(out, "rb"):read "a")]] },
}

local prelude = [[local lb = require "luabatch" local input, out = arg[1], arg[2]
  local function pair(l) local k, v = l:match "(%d+),(%d+)" return tonumber(k), tonumber(v) end
  local function pairs_of() return lb.text(input):map(pair) end
  local function rows() return lb.csv(input, { columns = { "k", "v" }, header = false, types = { k = "integer", v = "integer" } }) end
]]

local has_faults = support.shell "LUABATCH_FAULT=nothing luabatch -e 1" == 2

describe("a damaged spill file", function()
  local input, out
  setup(function()
    math.randomseed(seed)
    local lines = {}
    for i = 1, 1500 do lines[i] = ("%d,%d"):format(math.random(1, 300), math.random(1, 2000)) end
    input, out = support.file(table.concat(lines, "\n") .. "\n", ".csv"), support.path()
  end)
  teardown(support.clean)

  local function run(job, fault, threads)
    local script = support.file(prelude .. job[2], ".lua")
    local status, output, message = support.shell(("LUABATCH_FAULT=%s,count=%s.count luabatch --memory 64K --threads %d %s %s %s"):format(
      fault, out, threads, script, input, out))
    return status, output, (message:gsub("luabatch: %d+ records? skipped: [^\n]*\n", ""))
  end

  local function counts()
    local result = {}
    for kind, n in support.read(out .. ".count"):gmatch "([%w_]+) (%d+)" do result[kind] = tonumber(n) end
    return result
  end

  for _, job in ipairs(jobs) do
    it("does not change the records of: " .. job[1], function()
      if not has_faults then return pending "no fault points in this build" end
      local status, wanted, message = run(job, "alloc:1000000000", 1)
      assert.same({ 0, "" }, { status, message })
      local n = counts()
      assert.is_true(n.frame_flip > 0, "the job does not spill")
      -- An output that cannot be written is an error, and not for another attempt.
      for _, way in ipairs(job[1]:find "file" and { "frame_flip", "frame_cut", "frame_foreign", "pread" } or ways) do
        for _ = 1, math.max(1, math.floor(3 * effort)) do
          local fault = ("%s:%d"):format(way, math.random(n[way]))
          local threads = math.random(3)
          local told = ("LB_SEED=%d %s, %d threads: "):format(seed, fault, threads)
          local got_status, got, got_message = run(job, fault, threads)
          local failed = counts().failed
          assert.same(told .. "0", told .. tostring(got_status) .. (got_status ~= 0 and got_message or ""))
          assert.is_true(got == wanted, told .. "other records\n" .. got_message)
          -- A frame that nobody reads back is not missed.
          assert.is_true(got_message == "" or got_message:find("begins again (attempt 2 of 4): ", 1, true) ~= nil, told .. got_message)
          assert.is_true(failed == 1 or threads > 1, told .. "nothing was damaged")
        end
      end
    end)
  end

  it("is an error when it happens again and again", function()
    if not has_faults then return pending "no fault points in this build" end
    local status, output, message = run(jobs[1], "frame_flip:1+", 2)
    assert.same({ 5, "" }, { status, output })
    assert.matches("attempt 4 of 4", message, 1, true)
    assert.matches("luabatch: spill file damaged at byte %d+: wrong [%w ]+ %(in '/", message)
  end)

  it("cannot be mended where standard input was read", function()
    if not has_faults then return pending "no fault points in this build" end
    local status, output, message = support.shell(
      "seq 3000 | LUABATCH_FAULT=frame_flip:3 luabatch --memory 64K -e 'lb.stdin():sort_by():save_text \"-\"'")
    assert.same({ 5, "" }, { status, output })
    assert.matches("damaged at byte .*\n  standard input cannot be read twice, so the run did not begin again", message)
  end)

  it("does not print again what is printed, and notices when it would be other", function()
    if not has_faults then return pending "no fault points in this build" end
    local status, output, message = support.shell(([[luabatch --memory 64K --threads 1 -e '
      lb.text("%s"):map(function(l) return os.clock() end):save_text "-" return' | wc -l]]):format(input))
    assert.same({ 0, "1500\n", "" }, { status, output, message })
    local last
    for n = 2, 20, 3 do
      local failed, _, told = support.shell(([[LUABATCH_FAULT=pread:%d=EIO luabatch --memory 64K --threads 1 -e '
        lb.text("%s"):map(function(l) return os.clock() end):save_text "-"']]):format(n, input))
      if failed ~= 0 then last = told end
    end
    assert.is_string(last)
    assert.matches("standard output: the repeated attempt gives other bytes than the %d+ that are out already", last)
  end)
end)
