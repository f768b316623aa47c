-- The progress of a run on standard error.
local support = require "tests.cli.support"

local core = require "luabatch.core"

local ipairs, pairs, select, tonumber = ipairs, pairs, select, tonumber

describe("progress", function()
  after_each(support.clean)

  -- Runs until it is stopped: long enough on any machine. What was written to standard error meanwhile.
  local function stopped(ready, ...)
    local status, out, err = support.signal("INT", ready, ...)
    assert.same({ 130, "" }, { status, out })
    assert.matches("luabatch: interrupted\n$", err)
    return (err:gsub("luabatch: interrupted\n$", ""))
  end
  local slow = "lb.range(1e9):map(function(n) local t = {} for i = 1, 300 do t[i] = n end return #t end):count()"

  it("is told as lines of JSON", function()
    local n, before = 0, -1
    for line in stopped("grep -q done $err", "--progress", "json", "-e", slow):gmatch("[^\n]+") do
      if line:sub(1, 1) == "{" then
        n = n + 1
        assert.truthy(line:find('"action":"count"', 1, true))
        assert.truthy(line:find('"total":1000000000', 1, true))
        local done = tonumber(line:match('"done":(%d+)'))
        assert.is_true(done >= before and done <= 1000000000)
        before = done
        for _, name in ipairs { "stage", "stages", "records", "memory_bytes", "memory_limit_bytes", "spilled_bytes", "run_seconds" } do
          assert.truthy(line:find(('"%s":%%d'):format(name)), name)
        end
      end
    end
    assert.is_true(n >= 1)
  end)

  it("tells the bytes of a pipe while it waits for more", function()
    local told = support.path()
    local _, out = support.shell(([[n=0
      { yes word | head -c 3000000
        until grep -q '"done":3000000,' %s || [ $n = 1200 ]; do sleep 0.05; n=$((n + 1)); done
        echo end; } | luabatch --progress json -e "lb.text('-'):words():count()" 2> %s]]):format(told, told))
    assert.equal("600001\n", out)
    local err = support.read(told)
    local line = err:match('[^\n]*"done":3000000,[^\n]*')
    assert.truthy(line and line:find('"bytes":true', 1, true), err)
    assert.falsy(err:find('"total"', 1, true), err)
    local file = support.file(("word\n"):rep(1000))
    err = stopped("grep -q % $err", "--progress", "always", "-e",
      ("lb.text(%q):map(function(line) while true do end end):count()"):format(file))
    assert.truthy(err:find("^stage 1/1 count  [█]+ 100 %%  [%d.]+ %w+/s"), err)
  end)

  it("is not in a pipe, nor when it is unwanted", function()
    for seconds, option in pairs { [2.6] = "auto", [1] = "never" } do
      local begun = support.path()
      assert.equal("", stopped(("{ [ -e %s ] && sleep %g; }"):format(begun, seconds), "--progress", option, "-e",
        ("lb.range(10):map(function() io.open(%q, 'w'):close() while true do end end):count()"):format(begun)))
    end
  end)

  it("is a line that is drawn when asked for", function()
    local err = stopped("grep -q % $err", "--progress", "always", "-e", slow)
    assert.truthy(err:find("^stage 1/1 count  [█░]+ +%d+ %%"), err)
    assert.is_nil(err:find("\27"))
  end)

  it("fits the terminal: the bar gives way", function()
    local line = require("luabatch.progress").line
    local p = {
      stage = 1, stages = 4, label = "reduce_by_key", total = 100, done = 40, seconds = 2, records = 12000000, memory_bytes = 2^23,
      spilled_bytes = 0,
    }
    local function cells(text) return select(2, core.printable(text, #text)) end
    local whole = line(p)
    assert.matches("  [█░]+  40 %%  ETA 3 s  6.0M records/s  8.0 MiB$", whole)
    assert.equal(whole, line(p, 120))
    for width = cells(whole) - 20, cells(whole) do
      local text = line(p, width)
      assert.equal(width, cells(text))
      assert.equal((whole:gsub("[█░]+", "")), (text:gsub("[█░]+", "")))
    end
  end)

  it("is drawn on a terminal after two seconds, and taken away", function()
    local steps = support.file("expect stage 1/1\nexpect %\nsend \\x03\nexpect interrupted\nend\n")
    local status, out, err = support.shell(("exec python3 tests/cli/terminal.py 120 %s %s -e %s"):format(steps,
      support.quote(support.absolute(support.program)), support.quote(slow)))
    assert.equal(0, status, err)
    assert.truthy(out:find("status 130", 1, true))
    assert.is_true(tonumber(out:match("^(%d+)")) >= 1900)
  end)
end)
