--- Checkpoints and --resume: what is used again and what is not, and that nothing is used wrongly.
local support = require "tests.cli.support"
local assert, ipairs, math, os, io, select, string, table, tonumber = assert, ipairs, math, os, io, select, string, table, tonumber

local seed = tonumber(os.getenv("LB_SEED")) or os.time()
math.randomseed(seed)
local effort = tonumber(os.getenv("LB_EFFORT")) or 1

local folder, sh, write

-- A place with a job of three checkpoints of different shapes, side files, counters and two outputs.
local job = [[
local lb = require "luabatch"
local weights = { one = 1, two = 2, three = 3, four = 4, five = { deep = true } }
local computed, kept = lb.counter "computed", lb.counter "kept"
local rows = lb.csv("in.csv", { types = { v = "integer" }, on_bad = { to = "bad.jsonl" } })
  :filter(function(r) computed:add(1) return r.v % LIMIT ~= 0 and weights.one == 1 end):checkpoint("rows")
local pairs_ = rows:map(function(r) return r.k, { r.v, r.v / 2, tostring(r.v), r.v > 5 } end):checkpoint("pairs")
local sums = pairs_:map_values(function(t) kept:add(1) if t[1] == 13 then error "thirteen" end return t[1] end, { on_error = "skip" })
  :reduce_by_key(function(a, b) return a + b end):checkpoint("sums")
rows:save_json("rows.json", { mode = MODE })
if os.getenv "STOP" == "1" then os.exit(9) end
sums:sort_by_key():save_csv("sums.csv", { mode = MODE })
pairs_:map(function(k, t) return k, t[3] end):save_text("pairs/", { mode = MODE })
print(computed:value(), kept:value())
if os.getenv "STOP" == "2" then error "stop" end
]]

local function write_job(limit, mode)
  write("job.lua", (job:gsub("LIMIT", limit or "7"):gsub("MODE", ("%q"):format(mode or "overwrite"))))
end

local function results()
  local _, out = sh "cat rows.json sums.csv pairs/part* bad.jsonl | md5sum"
  return out
end

local function journal()
  local _, out = sh "ls .luabatch-checkpoints/job.lua-*/journal"
  return folder .. "/" .. out:match("[^\n]+")
end

describe("a job with checkpoints", function()
  local expected, printed

  before_each(function()
    folder, sh, write = support.folder "-checkpoints"
    local lines = { "k,v" }
    for i = 1, 500 do lines[#lines + 1] = ("k%d,%s"):format(i % 17, i % 100 == 50 and "bad" or tostring(i % 97)) end
    write("in.csv", table.concat(lines, "\n") .. "\n")
    write_job()
    local status, out = sh "luabatch --quiet job.lua"
    assert.equal(0, status)
    expected, printed = results(), out
    sh "rm -rf rows.json sums.csv pairs bad.jsonl"
  end)
  after_each(support.clean)

  it("removes them when it has ended well", function()
    local _, out = sh "luabatch job.lua; ls -A"
    assert.is_nil(out:find("checkpoints", 1, true))
    assert.equal(expected, results())
  end)

  it("goes on from them, with the same output, files of bad records, and counts", function()
    assert.equal(1, (sh "STOP=2 luabatch --quiet job.lua"))
    sh "rm -rf rows.json sums.csv pairs bad.jsonl"
    local status, out, err = sh "luabatch --resume --stats=json job.lua"
    assert.same({ 0, printed, expected }, { status, out, results() })
    for _, name in ipairs { "rows", "sums" } do
      assert.truthy(err:find(("checkpoint '%s': resumed"):format(name), 1, true))
    end
    assert.is_nil(err:find("checkpoint '[%a]+' is computed"))
    assert.truthy(err:find('"action":"checkpoint rows"[^\n]*"resumed":true'))
    local _, listing = sh "ls -A"
    assert.is_nil(listing:find("checkpoints", 1, true))
  end)

  it("does not do finished saves again, even where their mode would refuse or repeat them", function()
    for _, mode in ipairs { "error", "append" } do
      sh "rm -rf rows.json sums.csv pairs bad.jsonl"
      write_job(nil, mode)
      assert.equal(9, (sh "STOP=1 luabatch --quiet job.lua"))
      local status, out, err = sh "luabatch --resume job.lua"
      assert.same({ 0, printed, expected }, { status, out, results() })
      assert.truthy(err:find("rows.json is written already", 1, true))
    end
  end)

  it("passes over lines that are none, though their hashes are right", function()
    local core = require "luabatch.core"
    local values = {
      "null", "true", "-1", "0", "1e300", "9223372036854775807", '""', '"x"', '".."', '"../rows.json"', "[]", "{}", "[1]", '["x"]',
      '{"path":1}', '[{"path":"x"}]', '"end"', '"checkpoint"', '"save"', '"begin"', ("["):rep(200),
    }
    assert.equal(1, (sh "STOP=2 luabatch --quiet job.lua"))
    sh "rm -rf before; mkdir before; cp -r .luabatch-checkpoints rows.json sums.csv pairs bad.jsonl before"
    -- One value of a line is another, or has another name, or is gone with all that follows.
    local function change(text)
      local places = {}
      for from, to in text:gmatch('()"[%a_]+":()') do places[#places + 1] = { from, to } end
      for from, to in text:gmatch('[%[{,:]()"[^"]*"()') do places[#places + 1] = { from, to } end
      for from, to in text:gmatch("[%[{,:]()%-?[%d.]+()") do places[#places + 1] = { from, to } end
      for from, to in text:gmatch("()%b[]()") do places[#places + 1] = { from, to } end
      for from, to in text:gmatch("[,:]()%b{}()") do places[#places + 1] = { from, to } end
      local from, to = table.unpack(places[math.random(#places)])
      local is_key = text:sub(to - 1, to - 1) == ":"
      return text:sub(1, from - 1) .. (is_key and '"other":' or values[math.random(#values)]) .. text:sub(to)
    end
    for _ = 1, math.max(5, math.floor(16 * effort)) do
      sh "rm -rf .luabatch-checkpoints rows.json sums.csv pairs bad.jsonl; cp -r before/. ."
      local name, lines = journal(), {}
      for line in io.lines(name) do lines[#lines + 1] = line:sub(18) end
      local changed
      for _ = 1, math.random(3) do
        local i = math.random(#lines)
        lines[i] = change(lines[i])
        changed = (changed or "") .. lines[i] .. "\n"
      end
      local file = assert(io.open(name, "wb"))
      for _, line in ipairs(lines) do file:write(core.hash(line), " ", line, "\n") end
      file:close()
      local status, _, err = sh "luabatch --resume job.lua"
      assert.falsy(err:find("attempt to", 1, true) or err:find("bad argument", 1, true), changed .. err)
      assert.same({ 0, expected }, { status, results() }, changed .. err)
      assert.equal(0, (sh "[ ! -e .luabatch-checkpoints ]"))
    end
  end)

  it("believes a line of the journal no more than fits the plan", function()
    local core = require "luabatch.core"
    local function forge(what, by)
      local name, lines, n = journal(), {}, 0
      for line in io.lines(name) do
        local changed, is_changed = line:sub(18):gsub(what, by)
        lines[#lines + 1], n = changed, n + is_changed
      end
      assert.is_true(n > 0)
      local file = assert(io.open(name, "wb"))
      for _, line in ipairs(lines) do file:write(core.hash(line), " ", line, "\n") end
      file:close()
    end
    for _, to in ipairs { "other.jsonl", "[", "rows.json" } do
      assert.equal(1, (sh "STOP=2 luabatch --quiet job.lua"))
      forge('"to":"bad.jsonl"', ('"to":%q'):format(to))
      local status, out, err = sh "rm -rf rows.json sums.csv pairs bad.jsonl; luabatch --resume job.lua"
      assert.same({ 0, printed, expected }, { status, out, results() }, err)
      assert.truthy(err:find("checkpoint 'rows' is computed anew: it left out records to files that its plan does not name", 1, true), err)
      assert.equal("", (select(2, sh "ls -d '[' other.jsonl 2> /dev/null; true")))
    end
    assert.equal(1, (sh "STOP=2 luabatch --quiet job.lua"))
    forge('"skips":%b[]', '"skips":[]')
    local status, _, err = sh "luabatch --resume job.lua"
    assert.equal(0, status)
    assert.truthy(err:find("luabatch: 5 records skipped\n", 1, true), err)
  end)

  it("computes anew what stands on a file that was replaced by one of the same size and time", function()
    write("one.lua", [[
      local lb = require "luabatch"
      print(lb.text("one.txt"):checkpoint("one"):first())
      if os.getenv "STOP" then error "stop" end]])
    assert.equal(1, (sh "echo a > one.txt; STOP=1 luabatch --quiet one.lua"))
    local status, out, err = sh "echo b > two.txt; touch -r one.txt two.txt; mv two.txt one.txt; luabatch --resume one.lua"
    assert.same({ 0, "b\n" }, { status, out })
    assert.truthy(err:find("one.txt has changed", 1, true), err)
  end)

  it("takes os.exit for an end like any other: a good one without a status, or with that of success", function()
    local exits = { [""] = true, ["true"] = true, ["0"] = true, ["'0'"] = true, ["256"] = true, ["1"] = false, ["false"] = false }
    for argument, is_good in pairs(exits) do
      write("exit.lua", ('local lb = require "luabatch" lb.range(3):checkpoint("three"):count() os.exit(%s)'):format(argument))
      assert.equal(is_good and 0 or 1, (sh "luabatch --quiet exit.lua"))
      assert.equal(is_good and 2 or 0, (sh "ls -d .luabatch-checkpoints; a=$?; rm -rf .luabatch-checkpoints; exit $a"))
    end
  end)

  it("starts anew without --resume", function()
    sh "STOP=2 luabatch --quiet job.lua"
    local status, out, err = sh "luabatch job.lua"
    assert.same({ 0, printed, expected }, { status, out, results() })
    assert.is_nil(err:find("resumed", 1, true))
  end)

  it("computes anew what an input, the plan or an option has changed", function()
    sh "STOP=2 luabatch --quiet job.lua"
    sh "sed -i s/k3,4$/k3,5/ in.csv"
    local _, _, err = sh "STOP=2 luabatch --resume job.lua"
    assert.truthy(err:find("checkpoint 'rows' is computed anew: in.csv has changed", 1, true))
    write_job "5"
    _, _, err = sh "luabatch --resume job.lua"
    assert.truthy(err:find("checkpoint 'rows' is computed anew: its plan is another now", 1, true))
    local resumed = results()
    sh "luabatch --quiet job.lua"
    assert.equal(results(), resumed)
    assert.not_equal(expected, resumed)
  end)

  it("is for one run at a time", function()
    write("slow.lua", [[
local lb = require "luabatch"
local d = lb.range(10):checkpoint("d")
print(d:count())
if not os.getenv "QUICK" then
  io.stdout:flush()
  os.execute "touch ready; while [ ! -e go ]; do sleep 0.05; done"
end
]])
    local status, out, err = sh [[luabatch slow.lua & while [ ! -e ready ]; do sleep 0.05; done
QUICK=1 luabatch slow.lua; first=$?
QUICK=1 luabatch --checkpoint-dir other slow.lua; second=$?
touch go; wait; exit $((first * 10 + second))]]
    assert.same({ 20, "10\n10\n" }, { status, out })
    assert.truthy(err:find("another run of this job", 1, true))
  end)

  it("works for a job of steps, and for every type of value", function()
    write("steps.lua", [[
local lb = require "luabatch"
return lb.job { checkpoint = true, steps = {
  { mapper = function(_, line, emit) for w in line:gmatch("%w+") do emit(w, { w, #w, #w / 3, false }) end end },
  { reducer = function(key, values, emit) local n = 0 for v in values do n = n + v[2] end emit(key, n)
    if os.getenv "STOP" then error "stop" end end },
} }
]])
    local _, out = sh "luabatch steps.lua in.csv"
    assert.equal(1, (sh "STOP=1 luabatch --quiet steps.lua in.csv"))
    local status, again, err = sh "luabatch --resume steps.lua in.csv"
    assert.same({ 0, out }, { status, again })
    assert.truthy(err:find("checkpoint 'step 1': resumed", 1, true))
  end)

  it("keeps the columns that only the killed run had found", function()
    local lines = {}
    for i = 1, 3000 do lines[i] = ('{"a":%d}'):format(i) end
    lines[2900] = '{"a":1.5,"late":"x"}'
    write("in.json", table.concat(lines, "\n") .. "\n")
    write("late.lua", [[
local lb = require "luabatch"
local d = lb.json("in.json"):checkpoint("d")
d:save_csv("late.csv", { mode = "overwrite" })
if os.getenv "STOP" then os.exit(9) end
]])
    assert.equal(9, (sh "STOP=1 luabatch --quiet late.lua; s=$?; mv late.csv first.csv; exit $s"))
    local status, _, err = sh "luabatch --resume late.lua && cmp first.csv late.csv && grep -c x late.csv"
    assert.equal(0, status, err)
    assert.truthy(err:find("resumed", 1, true))
  end)

  it("never uses damaged journals or data wrongly", function()
    io.stderr:write(("seed %d\n"):format(seed))
    sh "STOP=2 luabatch --quiet job.lua"
    sh "cp -a .luabatch-checkpoints intact"
    local _, list = sh "cd intact; find . -type f -size +0 | sort"
    local files = {}
    for file in list:gmatch("[^\n]+") do files[#files + 1] = file end
    assert.is_true(#files >= 5)
    local n_resumed = 0
    for round = 1, math.max(6, math.floor(16 * effort)) do
      sh "rm -rf .luabatch-checkpoints rows.json sums.csv pairs bad.jsonl && cp -a intact .luabatch-checkpoints"
      -- The journal in every second round: else each file in its turn.
      local path = round % 2 == 0 and journal() or folder .. "/.luabatch-checkpoints/" .. files[math.floor(round / 2) % #files + 1]
      local bytes = support.read(path)
      local at = math.random(#bytes)
      local kind = math.random(4)
      if kind == 1 then
        bytes = bytes:sub(1, at - 1)
      elseif kind == 2 then
        local byte, bit = bytes:byte(at), 2 ^ math.random(0, 7)
        byte = math.floor(byte / bit) % 2 == 0 and byte + bit or byte - bit
        bytes = bytes:sub(1, at - 1) .. string.char(math.floor(byte)) .. bytes:sub(at + 1)
      elseif kind == 3 then
        bytes = bytes:sub(1, at) .. bytes:sub(math.max(1, at - 50))
      else
        bytes = bytes:sub(1, at - 1) .. bytes:sub(at + math.random(30))
      end
      local file = assert(io.open(path, "wb"))
      file:write(bytes)
      file:close()
      local status, out, err = sh "luabatch --resume job.lua"
      assert.same({ 0, printed, expected }, { status, out, results() }, ("seed %d, round %d, %s"):format(seed, round, path))
      if err:find("resumed", 1, true) then n_resumed = n_resumed + 1 end
    end
    -- Damage to one of them leaves the others good.
    assert.is_true(n_resumed > 0)
  end)

  it("speaks of finished checkpoints only where there are some, and leaves no empty folder", function()
    write("none.lua", [[require("luabatch").range(3):map(function() error "no" end):checkpoint("none"):count()]])
    local status, _, err = sh "luabatch none.lua"
    assert.equal(1, status)
    assert.falsy(err:find("finished checkpoints", 1, true), err)
    local _, left = sh "ls -A | grep checkpoints; true"
    assert.equal("", left)
  end)

  it("that was killed when they were being removed has none, and its saves hold", function()
    write_job(nil, "append")
    local status, out, err = sh "STOP=2 luabatch --quiet job.lua"
    assert.same({ 1, printed, expected }, { status, out, results() }, err)
    local folder_of_job = journal():match("^(.*)/")
    local function add_end(where)
      sh(([[luabatch -e 'local journal = require("luabatch.core").journal(%q) journal:lines() journal:append { kind = "end" }']])
        :format(where))
    end
    add_end(folder_of_job)
    sh(("rm %s/sums-*/part-00000.lbb"):format(folder_of_job))
    status, out, err = sh "STOP=2 luabatch --resume job.lua"
    assert.same({ 1, printed }, { status, out })
    assert.matches("\nluabatch: finished saves are listed in [^\n]+: %-%-resume does not repeat them\n$", err)
    assert.falsy(err:find("finished checkpoints", 1, true), err)
    status, out, err = sh "luabatch --resume --stats=json job.lua"
    assert.same({ 0, printed, expected }, { status, out, results() }, err)
    for _, path in ipairs { "rows.json", "sums.csv", "pairs/" } do
      assert.truthy(err:find(path .. " is written already", 1, true), err)
    end
    assert.falsy(err:find("resumed, ", 1, true), err)
    assert.same({ 0, "", "" }, { sh "ls -A | grep checkpoints; true" })
    -- What is computed from then on counts as finished.
    write("ask.lua", [[
      local lb = require "luabatch"
      print(lb.range(5):checkpoint("five"):count())
      if os.getenv "STOP" then error "stop" end]])
    assert.equal(1, (sh "STOP=1 luabatch --quiet ask.lua"))
    local _, five = sh "ls -d $PWD/.luabatch-checkpoints/ask.lua-*"
    add_end(five:match("[^\n]+"))
    status, out, err = sh "STOP=1 luabatch --resume ask.lua"
    assert.same({ 1, "5\n" }, { status, out })
    assert.truthy(err:find("checkpoint 'five' is computed anew: the job had ended", 1, true), err)
    status, out, err = sh "luabatch --resume ask.lua"
    assert.same({ 0, "5\n" }, { status, out })
    assert.truthy(err:find("checkpoint 'five': resumed, 5 records", 1, true), err)
  end)

  it("removes what a killed process left beside a save that is finished", function()
    assert.equal(9, (sh "STOP=1 luabatch --quiet job.lua"))
    sh "mkdir .rows.json.luabatch-abcdef; touch .rows.json.luabatch-abcdef/part-00000.txt .other.luabatch-abcdef"
    assert.equal(0, (sh "luabatch --resume job.lua"))
    assert.same({ 0, ".other.luabatch-abcdef\n", "" }, { sh "ls -A | grep '^[.]'" })
  end)

  it("says when there is nothing to resume", function()
    local status, out, err = sh "luabatch --resume job.lua"
    assert.same({ 0, printed, expected }, { status, out, results() })
    assert.truthy(err:find("luabatch: nothing to resume: no finished checkpoint of this job (the same script, arguments and directory)"
      .. " is in .luabatch-checkpoints\n", 1, true), err)
    assert.same({ 0, "3\n", "luabatch: nothing to resume: the job makes no checkpoint\n" }, {
      sh "luabatch --resume -e 'lb.range(3):count()'" })
    assert.same({ 0, "3\n", "" }, { sh "luabatch --resume --quiet -e 'lb.range(3):count()'" })
    assert.same({ 0, "3\n", "" }, { sh "luabatch --resume --quiet -e 'lb.range(3):checkpoint(\"three\"):count()'" })
  end)

  it("keeps them when its time is over, and says so", function()
    write("late.lua", [[
      local lb = require "luabatch"
      lb.range(3):map(function(n) return n end):checkpoint("three"):map(function(n) while n do end end):count()
    ]])
    local status, out, err = sh "luabatch --max-time 1 late.lua"
    assert.same({ 1, "" }, { status, out }, err)
    assert.matches("^luabatch: the job took more than 1 s %(%-%-max%-time%)\n"
      .. "luabatch: finished checkpoints are kept in [^\n]+: %-%-resume goes on from them\n$", err)
  end)

  it("keeps them when what it printed cannot be written", function()
    write("print.lua", [[print(require("luabatch").range(5):checkpoint("five"):count())]])
    local status, _, err = sh "luabatch print.lua > /dev/full"
    assert.same({ 5, "luabatch: cannot write to standard output: No space left on device\n" }, { status, err })
    status, _, err = sh "luabatch --resume print.lua"
    assert.equal(0, status)
    assert.truthy(err:find("checkpoint 'five': resumed", 1, true), err)
  end)

  it("makes anew what leaves out more than --max-errors allows", function()
    write("skips.lua", [[
      local lb = require "luabatch"
      local kept = lb.range(10):filter(function(n) if n % 3 == 0 then error "no" end return true end, { on_error = "skip" })
        :checkpoint "kept"
      print(kept:count())
      if os.getenv "STOP" then error "stop" end]])
    assert.equal(1, (sh "STOP=1 luabatch --max-errors 3 skips.lua"))
    local status, out, err = sh "luabatch --resume --max-errors 2 skips.lua"
    assert.same({ 1, "" }, { status, out })
    assert.truthy(err:find("checkpoint 'kept' is computed anew: it leaves out 3 records, and --max-errors allows 2", 1, true), err)
    assert.equal(1, (sh "STOP=1 luabatch --max-errors 3 skips.lua"))
    status, out, err = sh "luabatch --resume --max-errors 3 skips.lua"
    assert.same({ 0, "7\n" }, { status, out })
    assert.truthy(err:find("checkpoint 'kept': resumed, 7 records", 1, true), err)
  end)

  it("knows the job by its directory, however that was entered", function()
    write("place.lua", [[
      print(require("luabatch").range(3):checkpoint("three"):count())
      if os.getenv and os.getenv "STOP" then error "stop" end]])
    sh "ln -s . link; mkdir other; cp place.lua other"
    local program = support.quote(support.absolute(support.program))
    local starts = {
      "cd link && luabatch --resume place.lua", "env -C link " .. program .. " --resume place.lua",
      "cd /; env -C $OLDPWD " .. program .. " --resume place.lua", "env -i " .. program .. " --resume place.lua",
      "luabatch --resume --safe --checkpoint-dir .luabatch-checkpoints place.lua",
    }
    for _, start in ipairs(starts) do
      assert.equal(1, (sh "STOP=1 luabatch place.lua"))
      local status, out, err = sh(start)
      assert.same({ 0, "3\n", "luabatch: checkpoint 'three': resumed, 3 records\n" }, { status, out, err })
    end
    assert.equal(1, (sh "STOP=1 luabatch --checkpoint-dir kept place.lua"))
    local _, _, err = sh "cd other && luabatch --resume --checkpoint-dir ../kept place.lua"
    assert.truthy(err:find("nothing to resume", 1, true), err)
  end)
end)
