--- User code that never returns, in Lua or in a function of C: what ends it, and what is left then.
local support = require "tests.cli.support"

local assert, ipairs, os, pairs = assert, ipairs, os, pairs
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

  it("does not hold back a signal", function()
    local script = file("return require('luabatch').range(3):map(function() table.move({}, 1, 1 << 60, 1) end)", ".lua")
    for name, expected in pairs { TERM = 143, INT = 130 } do
      -- Jobs in the background of a shell that is no terminal's have SIGINT ignored.
      local status, _, err = support.shell(([[python3 -c 'import signal, subprocess, sys, time
p = subprocess.Popen(sys.argv[1:])
time.sleep(0.7)
p.send_signal(signal.SIG%s)
sys.exit(p.wait(20))' %s %s]]):format(name, support.quote(support.absolute(support.program)), script))
      assert.same({ expected, "luabatch: interrupted\n" }, { status, err })
    end
  end)
end)
