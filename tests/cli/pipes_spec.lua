-- Rows from standard input and pipes: as from a file, but once.
local cli = require "tests.cli.support"

-- Rows n, n % 7, and in the last column nothing before row `at`, then `value`.
local function csv(n, at, value)
  local lines = { "a,b,c" }
  for i = 1, n do lines[i + 1] = ("%d,%d,%s"):format(i, i % 7, at and i >= at and value or "") end
  return cli.file(table.concat(lines, "\n") .. "\n", ".csv")
end

local function run(line, ...)
  return cli.shell(line:format(...))
end

-- The same from a file, from standard input, by its name, and from a pipe of the shell.
local function same_everywhere(path, option, chunk)
  local status, want, err = run([[luabatch --i%s --ojson -e '%s' '%s']], option, chunk, path)
  assert.same({ 0, "" }, { status, err })
  assert.is_true(#want > 0)
  for _, line in ipairs {
    "cat PATH | luabatch --iFORMAT --ojson -e CHUNK",
    "cat PATH | luabatch --threads 3 --iFORMAT --ojson -e CHUNK -",
    "cat PATH | luabatch --iFORMAT --ojson -e CHUNK /dev/stdin",
    "luabatch --iFORMAT --ojson -e CHUNK <(cat PATH)",
    "luabatch --iFORMAT --ojson -e CHUNK < PATH",
  } do
    assert.same({ 0, want, "" }, { cli.shell((line:gsub("%u%u+", { PATH = path, FORMAT = option, CHUNK = cli.quote(chunk) }))) })
  end
end

describe("rows from pipes", function()
  after_each(cli.clean)

  it("are those of the file", function()
    same_everywhere(csv(100000), "csv", ':where "a > 99990 or a = 1"')
    same_everywhere(csv(3, 2, "x y"), "csv", ':select("c", "a")')
    same_everywhere(cli.file("a\tb\n1\tx\n", ".tsv"), "tsv", ':select("b")')
    local lines = {}
    for i = 1, 50000 do lines[i] = ('{"a":%d,"b":[%d]}'):format(i, i % 3) end
    same_everywhere(cli.file(table.concat(lines, "\n"), ".json"), "json", ':where "a > 49990 or a = 1"')
    same_everywhere(cli.file("[" .. table.concat(lines, ",\n") .. "]", ".json"), "json", ':where "a > 49990 or a = 1"')
  end)

  it("need a declared type when a value comes that the sample does not show", function()
    local path = csv(150000, 140000, "1.5")
    assert.same({ 0, "150000\n", "" }, { run("cat '%s' | luabatch --icsv -e ':count()'", path) })
    local status, _, err = run("cat '%s' | luabatch --icsv -e ':where \"c > 1\"'", path)
    assert.equal(4, status)
    assert.matches("column c: '1.5' is its first value.*record standard input:140001 %(byte %d+%): 140000,0,1.5\n", err)
    assert.matches('standard input cannot be read twice: declare types = { c = "float" }', err, 1, true)
    assert.same({ 0, "10001\n", "" },
      { run([[cat '%s' | luabatch -e 'lb.csv("-", { types = { c = "float" } }):where("c > 1"):count()']], path) })
    -- Nor can a file be read again beside such an input.
    status, _, err = run([[cat '%s' | luabatch -e '
      lb.csv(arg[1]):select("a", "c"):join(lb.csv("-"):select("a"), { on = "a" }):where("c > 1"):count()' '%s']], path, path)
    assert.equal(4, status)
    assert.matches("first value.*record at byte %d+ of .*standard input cannot be read twice", err)
  end)

  it("need declared names that come late in JSON", function()
    local lines = {}
    for i = 1, 150000 do lines[i] = ('{"a":%d%s}'):format(i, i == 140000 and ',"late":"x"' or "") end
    local path = cli.file(table.concat(lines, "\n") .. "\n", ".json")
    local status, _, err = run("cat '%s' | luabatch --ijson -e ':where \"a > 1\"'", path)
    assert.equal(4, status)
    assert.matches("name 'late'.*record standard input:140000 .-{\"a\":140000,\"late\":\"x\"}\n", err)
    assert.matches('declare types = { late = "string" }', err, 1, true)
    assert.same({ 0, '{"a":140000,"late":"x"}\n', "" },
      { run([[cat '%s' | luabatch --ojson -e 'lb.json("-", { types = { late = "string" } }):where "late is not null"']], path) })
  end)

  it("are read once", function()
    local path = csv(10)
    local status, _, err = run([[cat '%s' | luabatch -e 'local d = lb.csv("-") print(d:count(), d:count())']], path)
    assert.equal(2, status)
    assert.matches("standard input was read already; keep its records with cache()", err, 1, true)
    status, _, err = run([[cat '%s' | luabatch -e 'lb.csv("-"):count() print(lb.text("/dev/stdin"):count())']], path)
    assert.equal(2, status)
    assert.matches("/dev/stdin was read already", err, 1, true)
    assert.same({ 0, "10\t10\n", "" },
      { run([[cat '%s' | luabatch -e 'local d = lb.csv("-"):cache() print(d:count(), d:count())']], path) })
  end)

  it("are decompressed by what their first bytes say, also when these come one by one", function()
    local path = csv(500)
    local _, want = run("luabatch --icsv --ojson -e ':where \"a > 490\"' '%s'", path)
    local slowly = [[python3 -c 'import sys, time
data = sys.stdin.buffer.read()
for i in range(len(data)):
    sys.stdout.buffer.write(data[i:i + 1])
    sys.stdout.buffer.flush()']]
    for _, tool in ipairs { "gzip", "zstd -q", "lz4 -q", "bzip2" } do
      for _, by in ipairs { "cat", slowly } do
        for i, line in ipairs {
          "TOOL -c < PATH | BY | luabatch --icsv --ojson -e ':where \"a > 490\"'",
          "luabatch --icsv --ojson -e ':where \"a > 490\"' <(TOOL -c < PATH | BY)",
          "(head -n 5 PATH | TOOL -c; tail -n +6 PATH | TOOL -c) | BY | luabatch --icsv --ojson -e ':where \"a > 490\"'",
        } do
          if by == "cat" or i == 1 then
            line = line:gsub("TOOL", tool):gsub("PATH", path):gsub("BY", function() return by end)
            assert.same({ 0, want, "" }, { cli.shell(line) })
          end
        end
        assert.same({ 0, "501\n", "" }, { run([[%s -c < '%s' | %s | luabatch -e 'lb.text("-"):count()']], tool, path, by) })
      end
      local status, _, err = run([[%s -c < '%s' | head -c -5 | luabatch -e 'lb.text("-"):count()']], tool, path)
      assert.equal(4, status)
      assert.matches("^luabatch: standard input: truncated " .. tool:match("%w+") .. " data at byte %d+\n",
        (err:gsub("\n  its first bytes are [^\n]*", "")))
    end
    -- As pzstd writes, which begins with a frame to be skipped.
    assert.same({ 0, "501\n", "" },
      { run([[(printf '\120\052\115\030\004\0\0\0size'; zstd -qc < '%s') | luabatch -e 'lb.text("-"):count()']], path) })
    -- Text stays text.
    for _, text in ipairs { "BZh9 is how bzip2 begins", "BZh91AY", "PK", "\\037", "\\037\\213 not", "(" } do
      assert.same({ 0, "1\n", "" }, { run([[printf '%s\n' | luabatch -e 'lb.text("-"):count()']], text) })
    end
    assert.same({ 0, "0\n", "" }, { run([[bzip2 < /dev/null | luabatch -e 'lb.text("-"):count()']]) })
  end)

  it("and files are read as they are where `compression` says so", function()
    local head = [[printf '\037\213\010\377 a,b\n1,2\n']]
    assert.same({ 4, "", "luabatch: standard input: damaged gzip data at byte 4: unknown header flags set\n"
      .. '  its first bytes are those of gzip data; compression = "none" reads it as it is\n' },
      { cli.shell(head .. " | luabatch -e 'lb.stdin():count()'") })
    assert.same({ 0, "2\n", "" }, { cli.shell(head .. [[ | luabatch -e 'lb.stdin { compression = "none" }:count()']]) })
    assert.same({ 0, "2\n", "" }, { cli.shell(head .. [[ | luabatch -e 'lb.csv("-", { compression = "none" }):select("b")']]) })
    assert.same({ 0, "1\n", "" }, { cli.shell(([[luabatch -e 'lb.csv(arg[1], { compression = "none" }):count()' <(%s)]]):format(head)) })
    assert.same({ 0, "1\n", "" }, { cli.shell([[echo '{"a":1}' | gzip | luabatch -e 'lb.json("-", { compression = "gzip" })']]) })
    assert.same({ 4, "", "luabatch: standard input: this is not gzip data (byte 0)\n" },
      { cli.shell([[echo a | luabatch -e 'lb.text("-", { compression = "gzip" }):count()']]) })
    -- What waits since its columns were found has been read in one way.
    assert.same({ 0, '(command line):2: standard input is being read with another \'compression\'\na\n-\n1\n', "" },
      { cli.shell([[echo '{"a":1}' | luabatch -e 'local rows = lb.json("-")
        print((select(2, pcall(lb.json, "-", { compression = "none" }))))
        rows:show()']]) })
  end)

  it("of text that begins as compressed data does are files read by all threads", function()
    local path = cli.file("\40\181\47\253 text\n" .. ("0123456789\n"):rep(500000))
    local _, _, stats = run([[luabatch --threads 3 --stats=json -e 'lb.text(arg[1], { compression = "none" }):count()' '%s']], path)
    assert.is_true(tonumber(stats:match '"morsels":(%d+)') > 3)
    assert.equal("500001", stats:match '"rows_in":(%d+)')
  end)

  it("that have a name and no reader yet can be waited for, and the wait ended", function()
    local path = cli.path()
    os.execute(("mkfifo '%s'"):format(path))
    assert.same({ 0, "1\n2\n3\n", "" },
      { run([[(sleep 0.1; luabatch -e 'local n = lb.range(3):save_text(arg[1])' '%s') & cat '%s'; wait]], path, path) })
    local ready = "test -s $out && sleep 0.2"
    local function begun(job) return 'io.stdout:write("begun\\n") io.stdout:flush() ' .. job end
    for i, job in ipairs {
      "lb.range(3):save_text(arg[1])", -- opened by a worker
      "lb.range(0):save_text(arg[1])", -- at the end, as all that have no records
      'lb.from({ { a = 1 } }):where("a > 1"):save_csv(arg[1])',
      'lb.range(0):save_text(arg[1], { compression = "gzip" })',
      'lb.csv(arg[2], { on_bad = { to = arg[1] } }):count()',
    } do
      local bad = cli.file("a\n1,2\n", ".csv")
      assert.same({ 130, "begun\n", "luabatch: interrupted\n" }, { cli.signal("INT", ready, "-e", begun(job), path, bad) })
      if i == 2 then
        assert.same({ 143, "begun\n", "luabatch: interrupted\n" }, { cli.signal("TERM", ready, "-e", begun(job), path, bad) })
        assert.same({ 1, "", "luabatch: the job took more than 0.3 s (--max-time)\n" },
          { cli.run("--max-time", "0.3", "-e", job, path, bad) })
      end
    end
    assert.same({ 0, "", "" },
      { run([[(sleep 0.1; luabatch -e 'local n = lb.range(0):save_text(arg[1])' '%s') & cat '%s'; wait]], path, path) })
    -- One that does not read: what is to be written waits, and hears.
    assert.same({ 124, "", "luabatch: interrupted\n" },
      { run([[sleep 20 < '%s' & timeout -k 10 1 '%s' -e 'lb.range(100000):save_text(arg[1])' '%s'
        status=$?; kill $!; wait $!; exit $status]], path, cli.program, path) }) -- while it is there, the pipe keeps what was written
    -- Of one that reads slowly all arrives.
    assert.same({ 0, "100000\n100000\n", "" },
      { run([[(sleep 0.2; wc -l) < '%s' & luabatch -e 'print(lb.range(100000):save_text(arg[1]))' '%s'; wait]], path, path) })
  end)

  it("to commands end with all that these have started", function()
    local path = cli.path()
    local job = ([[lb.range(3):pipe("trap '' TERM; sleep 600 & echo $! > '%s'; wait"):count()]]):format(path)
    local status, out, err = cli.signal("TERM", ("test -s '%s'"):format(path), "-e", job)
    assert.same({ 143, "", "luabatch: interrupted\n" }, { status, out, err })
    -- Nobody may have asked yet how it ended.
    assert.matches("^Z?$", (select(2, cli.shell(("cut -d ' ' -f 3 /proc/$(cat '%s')/stat"):format(path))):gsub("%s", "")))
  end)

  it("to commands leave these the time to clean up", function()
    local ready, cleaned = cli.path(), cli.path()
    -- The outer shell has no trap and ends at once.
    local inner = ("trap 'sleep 0.03; echo cleaned > %s; exit' TERM; echo > %s; while :; do sleep 0.01; done"):format(cleaned, ready)
    local job = ("lb.range(3):pipe[[sh -c %s; true]]:count()"):format(cli.quote(inner))
    assert.equal(143, (cli.signal("TERM", ("test -s '%s'"):format(ready), "-e", job)))
    assert.equal("cleaned\n", cli.read(cleaned))
  end)

  it("to commands in a chain end together", function()
    local pids = {}
    local steps = {}
    for i = 1, 4 do
      pids[i] = cli.path()
      steps[i] = ([[:pipe("trap '' TERM; echo $$ > '%s'; cat; exec sleep 600")]]):format(pids[i])
    end
    local status, _, err = cli.signal("TERM", "test -s '" .. table.concat(pids, "' -a -s '") .. "'",
      "-e", "lb.range(3)" .. table.concat(steps) .. ":count()")
    assert.same({ 143, "luabatch: interrupted\n" }, { status, err })
    for _, path in ipairs(pids) do assert.equal(1, (cli.shell(("kill -0 $(cat '%s') 2> /dev/null"):format(path)))) end
  end)

  it("to commands end with what the program has no say in", function()
    for signal, code in pairs { KILL = 137, USR1 = 138 } do
      local pid = cli.path()
      local job = ([[lb.range(3):pipe("trap '' TERM; sleep 600 & echo $! > '%s'; wait"):count()]]):format(pid)
      assert.equal(code, (cli.signal(signal, ("test -s '%s'"):format(pid), "-e", job)))
      local _, state = cli.shell(([[n=0
        while state=$(cut -d ' ' -f 3 /proc/$(cat '%s')/stat) && [ "$state" != Z ] && [ $n -lt 600 ]; do sleep 0.05; n=$((n + 1)); done
        echo "$state"]]):format(pid))
      assert.matches("^Z?\n$", state)
    end
  end)

  it("to commands hear how these ended, and signals, whatever the parent left ignored or blocked", function()
    local function left(what, job)
      return cli.shell(("python3 -c 'import os, signal, sys; %s; os.execv(sys.argv[1], sys.argv[1:])' %s -e %s"):format(
        what, cli.quote(cli.program), cli.quote(job)))
    end
    local ignored = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    local status, out, err = left(ignored, 'print(lb.range(3):pipe("cat; exit 3"):count())')
    assert.same({ 1, "" }, { status, out })
    assert.matches("command 'cat; exit 3' ended with status 3", err, 1, true)
    assert.same({ 0, "3\n", "" }, { left(ignored, 'print(lb.range(3):pipe("cat"):count())') })
    for signal, code in pairs { INT = 130, TERM = 143, HUP = 129 } do
      local blocked = ("signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIG%s])"):format(signal)
      assert.same({ code, "", "luabatch: interrupted\n" },
        { left(blocked, ('lb.range(3):pipe("kill -%s $PPID; exec sleep 60"):count()'):format(signal)) })
    end
  end)

  it("to commands have these ask at the terminal", function()
    -- Shows the keys when a command has the terminal, if there are any; prints what came and the exit status.
    local script = cli.file([[
import os, pty, signal, sys
keys, command = sys.argv[1].encode(), sys.argv[2:]
signal.alarm(60)
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
while keys and os.tcgetpgrp(terminal) in (0, pid):
    pass
os.write(terminal, keys)
out = b""
try:
    while data := os.read(terminal, 4096):
        out += data
except OSError:
    pass
print(out.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
]], ".py")
    local function type_keys(keys, line, ...)
      local status, out, err = cli.shell(("python3 '%s' \"$(printf '%s')\" %s"):format(script, keys, line:format(...)))
      assert.same({ 0, "" }, { status, err })
      return out
    end
    local ask = [[pipe("read x < /dev/tty; echo \"$x from $(cat)\"")]]
    local program = cli.quote(cli.program) .. " --progress never --threads 2 -e"
    -- Then the program itself asks. Ctrl-Z stops nobody where no shell could go on with it.
    for _, keys in ipairs { "one\\ntwo\\n.", "\\032one\\ntwo\\n." } do
      assert.matches("one from a, two", type_keys(keys, "%s %s", program,
        cli.quote(('io.write(lb.from{"a"}:%s:collect()[1], ", ", io.read(), "\\n")'):format(ask))), 1, true)
    end
    -- One command writes more than the other takes before its question is answered.
    local two = ('lb.range(100000):coalesce(1):pipe("read x < /dev/tty; cat; read y < /dev/tty"):%s:count()'):format(
      ask:gsub("cat", "wc -l"))
    assert.matches(" 0\n$", type_keys("one\\ntwo\\nthree\\n.", "%s %s", program, cli.quote(two)))
    assert.matches("luabatch: interrupted\r\n 130\n$",
      type_keys("\\003", "%s %s", program, cli.quote(("lb.from{1}:%s:count()"):format(ask))))
    -- What waits for the program was meant, too, as by any Ctrl-C.
    local interrupted = type_keys("\\003", "sh -c %s",
      cli.quote(("%s %s; echo went on"):format(program, cli.quote(("lb.from{1}:%s:count()"):format(ask)))))
    assert.matches("luabatch: interrupted\r\n", interrupted, 1, true)
    assert.not_matches("went on", interrupted, 1, true)
    assert.matches("' wants the terminal, but runs in the background\r\n.* 1\n$", type_keys("", "bash -mc %s",
      cli.quote(("%s %s & wait $!"):format(program, cli.quote(("lb.from{1}:%s:count()"):format(ask))))))
  end)

  it("stand among files", function()
    local path, other = csv(10), csv(4)
    assert.same({ 0, "14\n", "" }, { run("cat '%s' | luabatch --icsv -e ':count()' '%s' -", path, other) })
    assert.same({ 0, "14\n", "" }, { run("cat '%s' | luabatch --icsv -e ':count()' - '%s'", path, other) })
    assert.same({ 0, "4\n", "" }, { run(": | luabatch --icsv -e ':count()' - '%s'", other) })
    local status, _, err = run("printf 'a,c\n' | luabatch --icsv -e ':count()' '%s' -", path)
    assert.equal(4, status)
    assert.matches("standard input: the header names 2 columns, not 3", err, 1, true)
    status, _, err = run(": | luabatch --icsv -e ':count()'")
    assert.equal(4, status)
    assert.matches("standard input: no columns: the input is empty", err, 1, true)
  end)
end)
