-- The interactive mode, driven on a pseudo-terminal.
local support = require "tests.cli.support"

local tonumber, table, io = tonumber, table, io

describe("the REPL", function()
  after_each(support.clean)

  -- Runs steps (see terminal.py) with a state directory of its own. Gives the milliseconds of each expect, the status.
  local function drive(steps, options)
    options = options or {}
    local state = options.state or support.path()
    local file = support.file(table.concat(steps, "\n") .. "\n")
    local status, out, err = support.shell(("export XDG_STATE_HOME=%s TERM=xterm LC_ALL=C.UTF-8 %s\n"
      .. "exec python3 tests/cli/terminal.py %d %s %s %s"):format(support.quote(state), options.environment or "",
      options.columns or 100, file, support.quote(support.absolute(support.program)), options.arguments or ""))
    assert.equal(0, status, err)
    local times = {}
    for ms in ("\n" .. out):gmatch("\n(%d+)%f[\n]") do times[#times + 1] = tonumber(ms) end
    return times, tonumber(out:match("status (%-?%d+)")), state
  end

  it("starts at once, evaluates and ends", function()
    -- What else the machine does takes time as well: not each time.
    local first
    for _ = 1, 10 do
      first = drive({ "expect 1> ", "send \\x04", "end" })[1]
      if first < 250 then break end -- 50 when nothing else runs
    end
    assert.is_true(first < 250, "the first prompt took " .. first .. " ms")
    local _, status = drive {
      "expect 1> ", "send 1 + 1\\n", "expect 2> ", "send _ * 10, 'x'\\n", "expect 20", 'expect "x"',
      "expect 3> ", "send _1 + _2\\n", "expect 22", "send =7 * 6\\n", "expect 42", "send :quit\\n", "end",
    }
    assert.equal(0, status)
  end)

  it("goes on with lines that are not complete, and tells errors", function()
    drive {
      "expect 1> ", "send for i = 1, 2 do\\n", "expect | ", "send print(i * 7) end\\n", "expect 14", "expect 2> ",
      "send lb.range(3)\\n", "expect 3 rows", "send t = {\\n", "expect | ", "send }\\n", "expect 4> ",
      "send 1 +* 2\\n", "expect error: [4]:1: unexpected symbol", "send do error('boom') end\\n", "expect error: [4]:1: boom",
      "send error({})\\n", "expect error: (error value)", "send nil + 1\\n", "expect arithmetic on a nil value", "send \\x04", "end",
    }
  end)

  it("goes on after failures of every kind, and gives right results", function()
    local good, bad = support.file("a,b\n1,2\n3,4\n", ".csv"), support.file("a,b\n1,2\n\"3,4\n", ".csv")
    local steps = { "expect 1> ", ("send good = lb.csv('%s')\\n"):format(good), "expect 2> " }
    local function fails(line, message, key)
      steps[#steps + 1] = "send " .. line .. "\\n"
      if key then steps[#steps + 1] = "send " .. key end
      steps[#steps + 1] = "expect error: "
      steps[#steps + 1] = "expect " .. message
      steps[#steps + 1] = "send '<' .. lb.range(1000):map(function(n) return n % 7, n end):group_by_key():map(function(_, l) return #l end)"
        .. ":sum() .. '>'\\n"
      steps[#steps + 1] = "expect <1000>"
      steps[#steps + 1] = "send '<' .. good:order_by('a'):collect()[2].b .. '>'\\n"
      steps[#steps + 1] = "expect <4>"
    end
    fails("lb.csv('nothere.csv'):count()", "no such file: nothere.csv")
    fails(("lb.csv('%s'):count()"):format(bad), "a quoted field is not closed")
    fails("lb.range(9999):map(function(n) if n == 777 then error('boo') end return n end):count()", "boo")
    fails("lb.range(8):map(function(n) while true do end end):count()", "interrupted", "\\x03")
    fails("while true do end", "interrupted", "\\x03")
    fails("big = {} while true do big[#big + 1] = ('x'):rep(1e6) .. #big end", "out of memory: the script's own Lua values hold")
    fails("big = nil lb.range(9):map(function(n) local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end end):count()",
      "needs more memory")
    fails("lb.range(9e4):map(function(n) return n, tostring(n):rep(200) end):group_by_key():count()", "--max-spill")
    fails("lb.range(9):save_text('/nonexistent/x')", "/nonexistent")
    fails("c = lb.range(9):map(function(n) error('cc') end):cache() c:count()", "cc")
    fails("c:count()", "cc")
    steps[#steps + 1], steps[#steps + 2] = "send \\x04", "end"
    local _, status = drive(steps, { columns = 200, arguments = "--memory 32M --max-spill 100K --threads 2" })
    assert.equal(0, status)
  end)

  it("shows the first rows of a dataset in a box that fits the window", function()
    local path = support.file("id,name,note\n1,Ann,\n2,,\"a long text that goes on and on and on and on\"\n3,nil,\t\27[31m\n", ".csv")
    drive({
      "expect 1> ", ("send rows = lb.csv('%s')\\n"):format(path), "expect 2> ", "send rows\\n", "expect ┌",
      "expect id │", "expect integer │ string", "expect nil", 'expect "nil"', "expect \\t\\x1b[31m", "expect 3 rows × 3 columns",
      "send lb.range(100)\\n", "expect first 10 rows × 1 column", "send \\x04", "end",
    }, { columns = 40 })
  end)

  it("never sends control characters of data or messages to the terminal", function()
    drive {
      "expect 1> ", [[send 'a\\x1b]0;evil\\x07b\\x9b31m'\n]], [[expect "a\x1b]0;evil\x07b\x9b31m"]],
      [[send error('x\\x1b[2J\\r')\n]], [[expect x\x1b[2J\r]],
      [[send lb.from { '\\x1b[2J' }\n]], [[expect \x1b[2J]], "expect 1 row", "send \\x04", "end",
    }
  end)

  it("breaks help between words", function()
    drive({
      "expect 1> ", "send :help plot\\n", "expect SVG file. Points and", "expect     bins are counted", "expect 1> ", "send :help\\n",
      "expect is", "expect   luabatch, `_` the last result", "send \\x04", "end",
    }, { columns = 72 })
  end)

  it("completes names, verbs, columns and files", function()
    local path = support.file("identity,amount\n1,2\n", ".csv")
    drive {
      "expect 1> ", ("send rows = lb.csv '%s'\\n"):format(path), "expect 2> ", "send rows:group_b\\t", "expect group_by",
      "send (\\x22iden\\t", "expect identity", "send \\x22)\\n", "expect 3> ", "send lb.appr\\t", "expect lb.approx_count_distinct",
      "send \\x03", "expect 3> ", ("send io.open('%s\\t"):format(path:sub(1, -5)), "expect " .. path, "send ').close\\x03", "expect 3> ",
      "send :expl\\t", "expect :explain ", "send rows\\n", "expect scan", "send \\x04", "end",
    }
  end)

  it("is interrupted without ending", function()
    local times, status = drive {
      "expect 1> ", "send kept = 5\\n", "expect 2> ", "send while true do end\\n", "send \\x03", "expect interrupted",
      "send lb.range(1e12):map(function(x) return x + 1 end):sum()\\n", "send \\x03", "expect interrupted",
      "send while true do end\\n", "send \\x03", "expect interrupted", "send kept\\n", "expect 5", "send half a li\\x03",
      "expect ^C", "expect 6> ", "send \\x04", "end",
    }
    assert.equal(0, status)
    assert.is_true(times[4] < 1000 and times[6] < 1000) -- 200 ms when nothing else runs
  end)

  it("has commands", function()
    local path = support.file("answer = 42\nreturn answer + 1\n", ".lua")
    drive {
      "expect 1> ", "send :help\\n", "expect :explain", "expect :time", "send :help group_by\\n", "expect ds:group_by(",
      "send :help grup_by\\n", "expect did you mean 'group_by'?", "send :help substring\\n",
      "expect substr(s, from, n)", "send :nothing\\n", "expect there is no command :nothing",
      "send :load " .. path .. "\\n", "expect 43", "send answer\\n", "expect 42", "send :stats\\n", "expect nothing has run yet",
      "send :time lb.range(10):count()\\n", "expect 10", "expect  s", "send :stats\\n", "expect count:",
      "send :schema lb.from{{a=1}}\\n", "expect integer", "send :explain 5\\n", "expect a dataset expected, got number",
      "send :history 2\\n", "expect :explain 5", "send :quit\\n", "end",
    }
  end)

  it("keeps the history for its user only", function()
    local _, _, state = drive {
      "expect 1> ", "send x = 'first\\n", "expect error", "send y = {\\n", "expect | ", "send 7}\\n", "expect 2> ",
      "send \\x04", "end",
    }
    local mode = io.popen("stat -c %a " .. state .. "/luabatch/history"):read("a")
    assert.equal("600\n", mode)
    drive({
      "expect 1> ", "send \\x10", "expect 7}", "send \\x03", "expect 1> ", "send :history\\n", "expect x = 'first", "send \\x04",
      "end",
    }, { state = state })
  end)

  it("goes on after a script, with its globals", function()
    local path = support.file("kept = 6 * 7\nlb = require 'luabatch'\nerror 'half way'\n", ".lua")
    local _, status = drive({ "expect half way", "expect 1> ", "send kept\\n", "expect 42", "send \\x04", "end" },
      { arguments = "-i " .. path })
    assert.equal(0, status)
  end)

  it("wants a terminal", function()
    local status, _, err = support.run("-i")
    assert.equal(2, status)
    assert.equal("luabatch: -i: standard input is not a terminal\n", err)
  end)

  it("gives the terminal back when a signal ends it, at the prompt and in a run", function()
    local status, out, err = support.shell(("python3 tests/cli/signals.py %s 4"):format(support.quote(support.absolute(support.program))))
    assert.same({ 0, "" }, { status, err })
    local lines, took = out:match("^(.*\n)([%d.]+)\n$")
    assert.equal("SIGTERM prompt 143 restored\nSIGHUP prompt 129 restored\nSIGTERM run 143 restored\nSIGHUP run 129 restored\n", lines)
    assert.is_true(tonumber(took) <= 2, took)
  end)
end)
