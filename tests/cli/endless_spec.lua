--- User code that never returns, in Lua or in a function of C: what ends it, and what is left then.
local support = require "tests.cli.support"

local assert, ipairs, math, os, pairs, tonumber = assert, ipairs, math, os, pairs, tonumber
local run, file, path, read = support.run, support.file, support.path, support.read

describe("user code without end", function()
  after_each(support.clean)

  it("inside a pattern is stopped like any other", function()
    for _, code in ipairs {
      [[string.find(("a"):rep(40), ("a*"):rep(20) .. "b")]],
      [[(("a"):rep(3000)):gsub((".-"):rep(20) .. "b", "")]],
      [[(("a"):rep(3000)):match((".?"):rep(40) .. "b")]],
      [[(("a"):rep(3000)):gmatch(("(a*)"):rep(20) .. "b")()]],
      [[pcall(string.find, ("a"):rep(400), ("a-"):rep(190) .. "b")]],
      [[coroutine.wrap(function() while true do pcall(string.find, ("a"):rep(999), ("a-"):rep(20) .. "b") end end)()]],
    } do
      local to, start = path ".json", os.time()
      local chunk = ("lb.range(5):map(function(v) if v == 3 then %s end return v end, { on_error = { to = %q } }):count()")
      local status, out, err = run("--threads", "2", "--record-timeout", "0.2", "-e", chunk:format(code, to))
      assert.same({ 0, "4\n" }, { status, out }, err)
      assert.matches('"kind":"timeout".*"raw":3,"verb":"map"}\n$', read(to))
      assert.is_true(os.time() - start < 20)
    end
  end)

  it("inside another function of C ends the program, which names the record and leaves nothing", function()
    local input, folder = file("a\nb\nc\n"), path "/"
    assert(os.execute("mkdir " .. folder))
    local chunk = ([[lb.text(%q):map(function(v)
      if v == "b" then table.move({}, 1, 1 << 60, 1) end
      return v
    end, { on_error = "skip" }):save_text(%q, { mode = "overwrite" })]]):format(input, folder .. "out")
    for _, form in ipairs { "text", "json" } do
      local out = file("old\n")
      os.rename(out, folder .. "out")
      local status, _, err = run("--threads", "2", "--errors", form, "--record-timeout", "0.2", "-e", chunk)
      assert.equal(1, status)
      assert.matches("line%):2: the function took more than 0.2 s for one record %(%-%-record%-timeout%) and cannot be stopped, "
        .. "as 'move' does not return", err)
      assert.matches(form == "json" and '"record":"[^"]*:2 %(byte 2%): b"' or "\n  in map\n  record [^\n]*:2 %(byte 2%): b\n$", err)
      assert.equal("old\n", read(folder .. "out"))
      assert.same({ 0, "out\n", "" }, { support.shell("ls -A " .. folder) })
    end
  end)

  it("does not hold back a signal, nor does a pipe that nobody reads", function()
    local folder = path "/"
    assert(os.execute("mkdir " .. folder))
    local words = {}
    for i, code in ipairs {
      ("lb.range(3):map(function() table.move({}, 1, 1 << 60, 1) end):repartition(2):save_text(%q)"):format(folder .. "out/"),
      "lb.range(300000):foreach(function(n) print(n) end)",
      "lb.range(300000)",
    } do
      words[i] = support.quote(code)
    end
    local soonest = 20
    for name, expected in pairs { TERM = 143, INT = 130, HUP = 129 } do
      -- Jobs in the background of a shell that is no terminal's have SIGINT ignored. Standard output is a pipe that stays full.
      local status, out, err = support.shell(([=[python3 -c 'import os, signal, subprocess, sys, time
pipes = [os.pipe() for code in sys.argv[2:]]
jobs = [subprocess.Popen([sys.argv[1], "--threads", "2", "-e", code], stdout=pipe[1]) for code, pipe in zip(sys.argv[2:], pipes)]
time.sleep(1)
sent = time.monotonic()
for job in jobs:
    job.send_signal(signal.SIG%s)
print([job.wait(20) for job in jobs])
print(time.monotonic() - sent)' %s %s]=]):format(name, support.quote(support.absolute(support.program)), table.concat(words, " ")))
      assert.same({ 0, ("luabatch: interrupted\n"):rep(#words) }, { status, err })
      local ended, seconds = out:match("^(.-)\n(.*)\n$")
      assert.equal(("[%d, %d, %d]"):format(expected, expected, expected), ended)
      soonest = math.min(soonest, tonumber(seconds))
    end
    -- A machine that does much else may not wake at once.
    assert.is_true(soonest < (support.program:find("release", 1, true) and 1 or 5), soonest)
    assert.same({ 0, "", "" }, { support.shell("ls -A " .. folder) })
  end)
end)
