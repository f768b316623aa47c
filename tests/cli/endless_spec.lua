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
    local words, begun = {}, path()
    for i, code in ipairs {
      ("lb.range(3):map(function() io.open(%q, 'w'):close() table.move({}, 1, 1 << 60, 1) end):repartition(2):save_text(%q)")
        :format(begun, folder .. "out/"),
      "lb.range(300000):foreach(function(n) print(n) end)",
      "lb.range(300000)",
    } do
      words[i] = support.quote(code)
    end
    local soonest = math.huge
    for name, expected in pairs { TERM = 143, INT = 130, HUP = 129 } do
      -- Jobs in the background of a shell that is no terminal's have SIGINT ignored. Standard output is a pipe that stays full.
      os.remove(begun)
      local status, out, err = support.shell(([=[python3 -c 'import os, fcntl, signal, struct, subprocess, sys, termios, time
def size(pipe): return struct.unpack("i", fcntl.ioctl(pipe[0], termios.FIONREAD, bytes(4)))[0]
start = time.monotonic()
subprocess.run([sys.argv[1], "-e", "-- nothing"])
start = time.monotonic() - start
begun, codes = sys.argv[2], sys.argv[3:]
pipes = [os.pipe() for code in codes]
jobs = [subprocess.Popen([sys.argv[1], "--threads", "2", "-e", code], stdout=pipe[1]) for code, pipe in zip(codes, pipes)]
while all(job.poll() is None for job in jobs) and not (os.path.exists(begun) and min(map(size, pipes[1:])) > 60000): time.sleep(0.01)
sent = time.monotonic()
for job in jobs:
    job.send_signal(signal.SIG%s)
print([job.wait(60) for job in jobs])
print(time.monotonic() - sent - 10 * start)' %s %s %s]=]):format(name, support.quote(support.absolute(support.program)), begun,
        table.concat(words, " ")))
      assert.same({ 0, ("luabatch: interrupted\n"):rep(#words) }, { status, err })
      local ended, seconds = out:match("^(.-)\n(.*)\n$")
      assert.equal(("[%d, %d, %d]"):format(expected, expected, expected), ended)
      soonest = math.min(soonest, tonumber(seconds))
    end
    -- A machine that does much else wakes nobody at once: what it takes to start the program is let pass, ten times.
    assert.is_true(soonest < (support.program:find("release", 1, true) and 1 or 5), soonest)
    assert.same({ 0, "", "" }, { support.shell("ls -A " .. folder) })
  end)

  it("ends with --max-time, also when a run begins or ends at that moment", function()
    for _, code in ipairs {
      "while true do pcall(function() lb.range(1):count() end) end", "lb.range(1):map(function() while true do end end):count()",
    } do
      for _ = 1, 15 do
        local seconds = ("%.4f"):format(math.random() * 0.1)
        local status, out, err = run("--max-time", seconds, "-e", code)
        assert.same({ 1, "" }, { status, out }, err)
        assert.matches("^luabatch: the job took more than [%d.e-]+ s %(%-%-max%-time%)\n$", err)
      end
    end
  end)
end)
