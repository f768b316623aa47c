-- What a run tells of itself: --stats, explain("analyze"), --trace, --report.
local support = require "tests.cli.support"

local ipairs, loadfile, pairs, select, tonumber = ipairs, loadfile, pairs, select, tonumber
local run, shell, quote = support.run, support.shell, support.quote

-- The line of --stats=json as a table, read by the program itself from a file.
local function stats_of(...)
  local status, out, err = run("--stats=json", ...)
  local line = err:match("{[^\n]*}")
  assert.truthy(line, err)
  local copy = support.file("return " .. line:gsub('"([%w_]+)":', "%1="):gsub("%[", "{"):gsub("%]", "}"):gsub("null", "nil"))
  return assert(loadfile(copy))(), status, out
end

local function each_operator(stats, f)
  for _, stage in ipairs(stats.stages) do
    for _, operator in ipairs(stage.operators) do f(operator, stage) end
  end
end

-- Spins for a time of the processor.
local SPIN = "local function spin(s) local e = os.clock() + s while os.clock() < e do end end "

describe("--stats", function()
  after_each(support.clean)

  it("gives each operator its own time, the parts of which add up", function()
    for _, threads in ipairs { "1", "3" } do
      local stats = stats_of("--threads", threads, "-e",
        "return lb.range(20000):map(function(n) return n % 10, n end):reduce_by_key(function(a, b) return a + b end):count()")
      assert.equal(tonumber(threads), stats.threads)
      local sum = 0
      each_operator(stats, function(o)
        assert.is_true(math.abs(o.seconds - o.seconds_c - o.seconds_lua - (o.seconds_gc or 0) - o.seconds_spill - o.seconds_wait) < 1e-6,
          o.op)
        assert.is_true(o.seconds >= 0)
        sum = sum + o.seconds
      end)
      assert.is_true(sum <= (tonumber(threads) + 1) * stats.seconds)
      assert.equal(20000, stats.stages[1].rows_out)
      assert.is_true(stats.stages[1].operators[2].seconds_lua > 0)
      assert.equal(0, stats.stages[1].operators[1].seconds_lua)
    end
  end)

  it("keeps the time of one function from that of the next", function()
    -- What else the machine does takes time from the one or the other: not each time.
    local problem
    for _ = 1, 10 do
      local stats = stats_of("--threads", "1", "-e", SPIN ..
        "return lb.range(2):map(function(n) spin(0.1) return n end):flat_map(function(n, emit) emit(n) spin(0.02) end):count()")
      local of = {}
      each_operator(stats, function(o) of[o.op] = o end)
      local slow, fast, scan = of["lua.map"].seconds_lua, of["lua.flat_map"].seconds_lua, of["scan.range"].seconds
      assert.is_true(slow >= 0.2 and fast >= 0.04)
      problem = (slow <= 2 * fast or scan >= 0.04) and ("%g %g %g"):format(slow, fast, scan)
      if not problem then break end
    end
    assert.falsy(problem)
  end)

  it("tells what a filter behind a join lets through", function()
    local lines = { "n" }
    for n = 1, 1000 do lines[n + 1] = tostring(n) end
    local csv = support.file(table.concat(lines, "\n") .. "\n", ".csv")
    local stats = stats_of("-e", [[
      return lb.csv(arg[1]):join(lb.csv(arg[1]), { on = "n" }):filter(function(row) return row.n % 4 == 0 end):count()]], csv)
    local rows_out
    each_operator(stats, function(o) if o.op == "lua.filter" and not o.idle then rows_out = o.rows_out end end)
    assert.equal(250, rows_out)
  end)

  it("counts bytes of files", function()
    local input, output = support.file(("line\n"):rep(1000)), support.path(".txt")
    local stats = stats_of("-e", ("lb.text(%q):map(string.upper):save_text(%q)"):format(input, output))
    local operators = stats.stages[1].operators
    assert.equal(5000, operators[1].bytes)
    assert.equal(5000, operators[#operators].bytes)
  end)

  it("counts bytes of pipes, of compressed files as they are, and of every format", function()
    local lines = ("word %d\n"):rep(5000)
    local plain, packed, json = support.file(lines), support.path(".gz"), support.file(('{"a":1}\n'):rep(3000))
    local csv, native = support.file("a,b\n" .. ("1,2\n"):rep(3000)), support.path(".lbb")
    local array = support.file("[" .. ('{"a":1},\n'):rep(999) .. '{"a":1}]')
    shell(("gzip -c %s > %s"):format(plain, packed))
    run("-e", ("lb.range(5000):save(%q)"):format(native))
    local function bytes_of(expression, input)
      local line = ("%s --threads 2 --stats=json -e %s"):format("luabatch", quote("return " .. expression .. ":count()"))
      local _, _, err = shell(input and ("cat %s | %s"):format(input, line) or line)
      return tonumber(err:match('"stages":%[.-"bytes":(%d+)'))
    end
    local sizes = {}
    for _, path in ipairs { plain, packed, json, csv, array, native } do sizes[path] = #support.read(path) end
    for _, case in ipairs {
      { plain, "lb.text" }, { packed, "lb.text" }, { json, "lb.json" }, { csv, "lb.csv" }, { array, "lb.json" }, { native, "lb.read" },
      { plain, "lb.files" },
    } do
      assert.equal(sizes[case[1]], bytes_of(("%s(%q)"):format(case[2], case[1])), case[2])
    end
    -- What was read to find names and types counts too, and once.
    assert.equal(sizes[plain], bytes_of('lb.text("-")', plain))
    assert.equal(sizes[json], bytes_of('lb.json("-")', json))
    assert.equal(sizes[csv], bytes_of('lb.csv("-")', csv))
    local both = bytes_of(('lb.text({ "-", %q })'):format(plain), plain)
    assert.equal(2 * sizes[plain], both)
  end)

  it("tells the time of the collector, and does not collect otherwise", function()
    local _, version = run("--version")
    if version:find("LuaJIT", 1, true) then return end
    local job = SPIN .. [[return lb.range(40000):map(function(n)
      local t = {}
      for i = 1, 10 do t[i] = { tostring(n * i) } end
      return #t
    end):map(function(n) return n + 1 end):filter(function(n) return n > 0 end):sum()]]
    local stats, _, out = stats_of("--threads", "2", "-e", job)
    assert.equal("440000\n", out)
    local garbage, lua = 0, 0
    each_operator(stats, function(o)
      garbage, lua = garbage + o.seconds_gc, lua + o.seconds_lua
      if o.op == "scan.range" then assert.equal(0, o.seconds_gc) end
    end)
    assert.is_true(garbage > 0.02 * lua and garbage < 5 * lua, garbage .. " " .. lua)
    local _, _, err = run("--stats", "-e", job)
    assert.truthy(err:find("GC %d+ %%"), err)
    -- A full cycle that user code asks for is the collector's.
    stats = stats_of("--threads", "1", "-e", "return lb.range(300):map(function(n) collectgarbage() return n end):count()")
    each_operator(stats, function(o)
      if o.op == "lua.map" then assert.is_true(o.seconds_gc > o.seconds_lua, o.seconds_gc .. " " .. o.seconds_lua) end
    end)
  end)

  it("tells what went through spill files", function()
    local stats = stats_of("--memory", "8M", "--threads", "2", "-e",
      "return lb.range(300000):map(function(n) return n * 7919 % 300007, ('x'):rep(20) end):group_by_key():count()")
    local written, read, seconds = 0, 0, 0
    each_operator(stats, function(o)
      written, read, seconds = written + o.spill_written_bytes, read + o.spill_read_bytes, seconds + o.seconds_spill
    end)
    assert.is_true(stats.spilled_bytes > 0 and written >= stats.spilled_bytes)
    assert.is_true(read > 0 and seconds > 0)
    assert.is_true(stats.peak_bytes > 1e6)
  end)

  it("fits the terminal, 80 cells where there is none, and tells once of records left out", function()
    local job = [[lb.range(300000):map(function(n) if n == 7 then error "x" end return n % 1009, n end, { on_error = "skip" })
      :group_by_key():map_values(function(v) return #v end):reduce_by_key(function(a, b) return a + b end):]]
    local function check(text, width)
      local n = 0
      for line in text:gmatch("[^\n]+") do
        if not line:find("skipped: ", 1, true) then n = n + 1 assert.is_true(#line <= width, #line .. ": " .. line) end
      end
      assert.is_true(n > 8, text)
    end
    local _, err, out
    _, _, err = run("--memory", "8M", "--stats", "-e", job .. "count()")
    check(err, 80)
    assert.equal(1, select(2, err:gsub("record skipped", "")))
    _, _, err = run("--quiet", "--memory", "8M", "--stats", "-e", job .. "count()")
    assert.equal(1, select(2, err:gsub("record skipped", "")))
    _, out = run("-e", job .. "explain 'analyze'")
    check(out, 80)
    assert.falsy(out:find("of it", 1, true))
    _, out = shell(("script -qec %s /dev/null"):format(quote(("stty cols 200; %s --stats -e %s"):format(quote(support.program),
      quote("return lb.range(9):count()")))))
    assert.truthy(out:find("share  of it\r\n", 1, true) and out:find("C 100 %%\r\n"), out)
  end)

  it("tells of a run that failed, too", function()
    local status, _, err = run("--stats", "-e", "lb.range(5):map(function(n) error('no\\27[1m') end):collect()")
    assert.equal(1, status)
    assert.truthy(err:find("collect: %d+%.%d+ s, "))
    local failed = err:match("\nfailed: ([^\n]*)")
    assert.truthy(failed and failed:find("no", 1, true), err)
    assert.falsy(failed:find("\27", 1, true))
  end)

  it("samples the lines of user code, in coroutines too", function()
    local script = support.file(table.concat({
      "local lb = require 'luabatch'",
      "local function hot(n)",
      "  local s = 0",
      "  for i = 1, 300 do s = s + i % 7 end",
      "  return s + n",
      "end",
      "lb.range(20000):map(hot):count()",
      "lb.range(1000):map(function(n)",
      "  return coroutine.wrap(function()",
      "    local s = 0",
      "    for i = 1, 10000 do s = s + i % 7 end",
      "    return s",
      "  end)()",
      "end):count()",
    }, "\n"), ".lua")
    local _, _, err = run("--stats", script)
    local first = {}
    for share, line in err:gmatch("user code, of %d+ samples:\n *([%d.]+)%%  [^\n]*:(%d+)") do
      first[#first + 1] = line
      assert.is_true(tonumber(share) > 30, err)
    end
    -- The thread sanitizer brings signals late: see below. So does LuaJIT where a loop is compiled: behind it.
    local _, version = run("--version")
    if version:find(", tsan,", 1, true) or version:find(", LuaJIT", 1, true) then
      assert.equal(2, #first)
    else
      assert.same({ "4", "11" }, first)
    end
  end)

  it("does not get in the way of what stops user code, nor of its own hooks", function()
    -- The thread sanitizer hands signals over in calls of the C library only; large strings make some.
    local begun = support.path()
    local ended, _, err = support.signal("INT", "test -e " .. begun, "--stats", "--threads", "2", "-e",
      ("lb.range(8):map(function(n) io.open(%q, 'w'):close() while true do local s = ('x'):rep(1000) end end):count()"):format(begun))
    assert.equal(130, ended, err)
    assert.truthy(err:find("interrupted", 1, true), err)
    local status, out = run("--stats", "--threads", "1", "-e", [[
      return lb.range(3):map(function(n)
        local calls = 0
        debug.sethook(function() calls = calls + 1 end, "", 1000)
        local e = os.clock() + 0.05
        while os.clock() < e do end
        local still = debug.gethook() ~= nil
        debug.sethook()
        return still and calls > 0
      end)]])
    assert.same({ 0, "true\ntrue\ntrue\n" }, { status, out })
  end)
end)

describe("explain('analyze')", function()
  after_each(support.clean)

  it("runs the dataset, drops its records and prints the stages below those that read them", function()
    local status, out = run("-e", [[
      lb.range(1000):map(function(n) return n % 10, n end):reduce_by_key(function(a, b) return a + b end):explain "analyze"]])
    assert.equal(0, status)
    local last, first = out:find("\nstage 2: ", 1, true), out:find("\n  stage 1: ", 1, true)
    assert.truthy(last and first and last < first, out)
    assert.truthy(out:find("lua%.map %(map%) +1000 +1000 "), out)
    assert.truthy(out:find("=> count %(drop%) +10 "), out)
    status, out = run("-e", "lb.range(3):map(function() error 'no' end):explain 'analyze'")
    assert.equal(1, status)
    assert.equal("", out)
  end)
end)

local function check(...)
  local words = { "python3", "tests/cli/check_profile.py" }
  for _, word in ipairs { ... } do words[#words + 1] = quote(word) end
  local status, out, err = shell(table.concat(words, " "))
  assert.equal(0, status, err)
  return out
end

describe("--trace", function()
  after_each(support.clean)

  it("writes trace events of all runs", function()
    local path = support.path(".json")
    local status = run("--memory", "8M", "--threads", "3", "--trace", path, "-e", [[
      lb.range(100000):map(function(n) return n * 7919 % 100003, ("<"):rep(40) end):group_by_key():count()
      lb.range(10):map(function(n) return n end):collect()]])
    assert.equal(0, status)
    local runs = {}
    for stages, records, pieces, spills in check("trace", path):gmatch("%d+ (%d+) (%d+) (%d+) (%d+)\n") do
      runs[#runs + 1] = { stages = stages, records = records, pieces = tonumber(pieces), spills = tonumber(spills) }
    end
    assert.same({ "2", "100000", "1", "10" }, { runs[1].stages, runs[1].records, runs[2].stages, runs[2].records })
    assert.is_true(runs[1].pieces > 1 and runs[1].spills > 0)
  end)

  it("is refused before anything runs when it cannot be written", function()
    local status, out, err, _
    status, out, err = run("--trace", "/nonexistent/t.json", "-e", "print 'ran'")
    assert.same({ 2, "" }, { status, out })
    assert.truthy(err:find("--trace: cannot write '/nonexistent/t.json'", 1, true), err)
    status, _, err = shell("LUABATCH_REPORT=/nonexistent/r.html luabatch -e 'print(1)'")
    assert.equal(2, status)
    assert.truthy(err:find("--report: cannot write", 1, true), err)
  end)
end)

describe("--report", function()
  after_each(support.clean)

  local EVIL = [[<script>alert("1")</script> & 'x']]

  local function make()
    local path = support.path(".html")
    local bad = support.file("a\n1\nx,y\n")
    local script = support.file(([[
      local lb = require "luabatch"
      local evil = %q
      local seen = lb.counter(evil)
      lb.range(5000):map(function(n) seen:add(1) return evil .. n %% 3, n end):group_by_key():save_text(%q)
      lb.csv(%q, { on_bad = "skip" }):collect()
      lb.range(3):map(function() error(evil .. "\255\1", 0) end):collect()]]):format(EVIL, support.path(".txt"), bad), ".lua")
    local status = run("--report", path, script)
    assert.equal(1, status)
    return path, script
  end

  it("is one page that needs nothing else, with all data escaped", function()
    local path, script = make()
    local out = check("report", path, EVIL, "Run 1: save_text", "Run 3: collect", "failed", "Skipped records", "hot key", script,
      "partitions, largest first", "5000")
    assert.equal("3 True\n", out)
  end)

  it("is shown light and dark in a browser", function()
    if shell("command -v chromium") ~= 0 then
      pending("chromium is not installed")
      return
    end
    local path, picture = make(), support.path(".png")
    for scheme, colour in pairs { [0] = "14171c", [1] = "f6f7f9" } do
      local status, _, err = shell(("chromium --headless --no-sandbox --disable-gpu --window-size=1240,2000 --screenshot=%s "
        .. "--blink-settings=preferredColorScheme=%d file://%s"):format(picture, scheme, path))
      assert.equal(0, status, err)
      assert.equal(colour .. "\n", check("pixel", picture))
    end
  end)
end)
