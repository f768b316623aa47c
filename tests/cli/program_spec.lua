-- The program: how it takes scripts and options, what it prints, and its exit statuses.
local cli = require "tests.cli.support"
local run, shell, file = cli.run, cli.shell, cli.file

local WORDS = [[
local lb = require "luabatch"
return lb.job {
  options = { min = 1, upper = false },
  mapper = function(_, line, emit)
    for w in line:gmatch("%a+") do
      if #w >= lb.options.min then emit(lb.options.upper and w:upper() or w:lower(), 1) end
    end
  end,
  combiner = function(word, counts, emit) local n = 0 for c in counts do n = n + c end emit(word, n) end,
  reducer = function(word, counts, emit) local n = 0 for c in counts do n = n + c end emit(word, n) end,
}
]]

local function sorted_lines(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line end
  table.sort(lines)
  return lines
end

describe("scripts", function()
  after_each(cli.clean)

  it("run as with lua, with arg", function()
    local script = file("print(arg[0] ~= nil, arg[1], arg[2], #arg, ...)\n")
    local status, out, err = run(script, "a", "--threads")
    assert.same({ 0, "true\ta\t--threads\t2\ta\t--threads\n", "" }, { status, out, err })
  end)

  it("may begin with #! and come from standard input", function()
    assert.same({ 0, "5\n", "" }, { run(file("#!/usr/bin/env luabatch\nprint(2 + 3)\n")) })
    assert.same({ 0, "x\n", "" }, { shell "echo 'print(arg[1])' | luabatch - x" })
    assert.same({ 0, "y\n", "" }, { shell "echo 'print(\"y\")' | luabatch" })
  end)

  it("return a dataset, which is printed", function()
    local script = file("local lb = require 'luabatch' return lb.from_pairs{{'a', 1}, {'b', {x = 2}}}")
    assert.same({ 0, 'a\t1\nb\t{"x":2}\n', "" }, { run(script) })
    assert.same({ 0, '["a",1]\n["b",{"x":2}]\n', "" }, { run("--output-format", "json", script) })
    assert.same({ 0, 'a,1\nb,"{""x"":2}"\n', "" }, { run("--output-format=csv", script) })
    assert.same({ 0, '"a", 1\n"b", {x=2}\n', "" }, { run("--output-format=lua", script) })
  end)

  it("may exit by themselves", function()
    assert.equal(3, (run("-e", "os.exit(3)")))
    assert.equal(0, (run("-e", "os.exit(true)")))
    assert.equal(7, (run("-e", "os.exit('0x107')")))
    assert.equal(255, (run("-e", "os.exit(-1.0)")))
    for argument, problem in pairs {
      ["{}"] = "number expected, got table", ["1.5"] = "number has no integer representation", ["'a'"] = "number expected, got string",
    } do
      local status, _, err = run("-e", "\nos.exit(" .. argument .. ")")
      assert.equal(1, status)
      assert.equal("luabatch: (command line):2: bad argument #1 to 'exit' (" .. problem .. ")", err:match "^[^\n]*")
    end
  end)

  it("print before what the engine writes", function()
    local _, out = run(file("print('head') return require('luabatch').range(2)"))
    assert.equal("head\n1\n2\n", out)
  end)
end)

describe("-e", function()
  after_each(cli.clean)

  it("shows what an expression gives", function()
    assert.same({ 0, "3\n", "" }, { run("-e", "1 + 2") })
    assert.same({ 0, "1\ta\tnil\ttrue\n", "" }, { run("-e", "1, 'a', nil, true") })
    assert.same({ 0, "1\n2\n", "" }, { run("-e", "{1, 2}") })
    assert.same({ 0, "a\t1\nb\t2\n", "" }, { run("-e", "{b = 2, a = 1}") })
    assert.same({ 0, "1\n", "" }, { run("-e", "setmetatable({ 1 }, { __metatable = 5 })") })
    assert.same({ 0, "shown\n", "" },
      { run("-e", "setmetatable({ 1 }, { __metatable = 5, __tostring = function() return 'shown' end })") })
    assert.same({ 0, "x\t1\ny\t2\n", "" }, { run("-e", "{{'x', 1}, {'y', 2}}") })
    assert.same({ 0, "1\n2\n3\n", "" }, { run("-e", "lb.range(3)") })
    assert.same({ 0, "1\n", "" }, { run("-e", "return 1") })
    assert.same({ 0, "hi\n", "" }, { run("-e", "local a = 'hi' print(a)") })
    assert.same({ 0, "nil\n", "" }, { run("-e", "nil") })
    assert.same({ 0, "[1,2]\n", "" }, { run("--output-format=json", "-e", "{{1, 2}}") })
    assert.same({ 0, "400000\n", "" }, { shell("luabatch --memory 4M -e 'lb.range(400000):collect()' | wc -l; exit ${PIPESTATUS[0]}") })
  end)

  it("runs the example of the manual", function()
    local text = file("b a b c\nb a\n")
    assert.same({ 0, "b\t3\na\t2\nc\t1\n", "" },
      { run("-e", "lb.text(arg[1]):words():value_counts():top(5, function(w, n) return n end)", text) })
  end)

  it("shows every result, nil too, and strings as they are", function()
    assert.same({ 0, "1\tnil\n", "" }, { run("-e", "1, nil") })
    assert.same({ 0, "nil\tnil\n", "" }, { run("-e", "nil, nil") })
    assert.same({ 0, "[1,null]\n", "" }, { run("--output-format=json", "-e", "1, nil") })
    assert.same({ 0, "a\tb\n", "" }, { run("-e", "'a\\tb'") })
    assert.same({ 0, "a\tb\nc\n", "" }, { run("-e", "{'a\\tb', 'c'}") })
    assert.same({ 0, "", "" }, { run("-e", "-- nothing") })
  end)

  it("says where it was misused", function()
    local chunk = cli.on_luajit and "function 'command_line_expression'" or "main chunk"
    assert.same({ 1, "", "luabatch: (command line):1: bad argument 'n' to range (integer expected, got string)\n"
      .. "  stack traceback:\n    (command line):1: in " .. chunk .. "\n" }, { run("-e", "lb.range('x')") })
    assert.same({ 1, "", "luabatch: (command line):2: bad argument 'f' to map (function expected, got nil)\n"
      .. "  stack traceback:\n    (command line):2: in " .. chunk .. "\n" }, { run("-e", "\nlb.range(3):map()") })
    local _, _, err = run("-e", "return lb.range('x')")
    assert.equal("luabatch: (command line): bad argument 'n' to range (integer expected, got string)\n", err)
    _, _, err = run("-e", "lb.from(arg)", "a")
    assert.truthy(err:find("^luabatch: %(command line%):1: bad argument 'list' to from %(a list has no key %-?%d+; "), err)
    assert.same({ 0, "a\n", "" }, { run("-e", "lb.from{table.unpack(arg)}", "a") })
    local script = file("local lb = require 'luabatch'\nreturn lb.range('x')\n", ".lua")
    _, _, err = run(script)
    assert.equal("luabatch: " .. script .. ": bad argument 'n' to range (integer expected, got string)\n", err)
  end)

  it("takes -l before", function()
    assert.same({ 0, "table\n", "" }, { run("-l", "luabatch", "-e", "type(luabatch)") })
    local status, _, err = run("-l", "no_such_module", "-e", "1")
    assert.equal(1, status)
    assert.truthy(err:find("^luabatch: module 'no_such_module' not found"))
  end)
end)

describe("jobs", function()
  after_each(cli.clean)

  it("read the inputs named, or standard input", function()
    local job = file(WORDS, ".lua")
    local a, b = file("A b a\n"), file("b c")
    local status, out, err = run(job, a, b)
    assert.same({ 0, "" }, { status, err })
    assert.same({ "a\t2", "b\t2", "c\t1" }, sorted_lines(out))
    status, out = shell(("printf 'x y x' | luabatch '%s'"):format(job))
    assert.equal(0, status)
    assert.same({ "x\t2", "y\t1" }, sorted_lines(out))
    status, out = shell(("printf 'x' | luabatch '%s' '%s' -"):format(job, b))
    assert.equal(0, status)
    assert.same({ "b\t1", "c\t1", "x\t1" }, sorted_lines(out))
  end)

  it("have options of their own", function()
    local job, a = file(WORDS, ".lua"), file("A bb ccc\n")
    assert.same({ "BB\t1", "CCC\t1" }, sorted_lines(select(2, run(job, "--min=2", "--upper", a))))
    assert.same({ "ccc\t1" }, sorted_lines(select(2, run(job, a, "--min", "3"))))
    local status, _, err = run(job, "--mim=2", a)
    assert.equal(2, status)
    assert.equal("luabatch: unknown option --mim; did you mean '--min'?\n", err)
    status, _, err = run(job, "--min=two", a)
    assert.equal(2, status)
    assert.equal("luabatch: option --min of the job: a number expected, got 'two'\n", err)
    for _, option in ipairs { "--help", "-h" } do
      local help_status, out = run(job, option)
      assert.equal(0, help_status)
      assert.truthy(out:find("--min=1", 1, true))
    end
  end)

  it("have options that --no- turns off, by either spelling", function()
    local job = file([[
local lb = require "luabatch"
return lb.job {
  options = { dry_run = false, keep_all = true },
  mapper = function(_, line, emit) emit(line, lb.options.dry_run, lb.options.keep_all) end,
}
]], ".lua")
    local a = file("z\n")
    assert.same({ 0, "z\tfalse\tfalse\n", "" }, { run(job, "--no-dry-run", "--no-keep-all", a) })
    assert.same({ 0, "z\ttrue\tfalse\n", "" }, { run(job, "--dry-run", "--no-keep_all", a) })
  end)

  it("that are plain tables are no jobs", function()
    for _, text in ipairs { "return { mapper = function() end }", "return { steps = { { reducer = print } } }" } do
      local job = file(text, ".lua")
      assert.same({ 1, "", "luabatch: " .. job .. " returns a plain table, which is no job; write: return lb.job{...}\n" },
        { run(job) })
    end
    assert.same({ 0, "steps\t3\n", "" }, { run("-e", "{ steps = 3 }") })
  end)

  it("take options of the program too", function()
    local job, a, output = file(WORDS, ".lua"), file("z\n"), cli.path ".tsv"
    assert.equal(0, (run(job, a, "--threads", "1", "--output=" .. output)))
    assert.equal("z\t1\n", cli.read(output))
  end)

  it("without their input exit with 2", function()
    local status, out, err = run(file(WORDS), "/nonexistent/input")
    assert.equal(2, status)
    assert.equal("", out)
    assert.truthy(err:find("^luabatch: .*/nonexistent/input"))
  end)
end)

describe("options", function()
  after_each(cli.clean)

  it("--version, --help, no arguments on a terminal", function()
    local status, out = run("--version")
    assert.equal(0, status)
    assert.truthy(out:find("^luabatch %d+%.%d+%.%d+ %("))
    status, out = run("--help")
    assert.equal(0, status)
    assert.truthy(out:find("--memory SIZE", 1, true))
  end)

  it("unknown ones are answered with the nearest", function()
    assert.same({ 2, "", "luabatch: unknown option --treads; did you mean '--threads'?\n" }, { run("--treads=2", "-e", "1") })
    assert.same({ 2, "", "luabatch: unknown option -z\n" }, { run("-z") })
    assert.same({ 2, "", "luabatch: option --threads: a number of threads from 1 to 1024 expected, got 'x'\n" },
      { run("--threads", "x", "-e", "1") })
    assert.same({ 2, "", "luabatch: option --memory: a size such as 512M or 2G expected, got 'much'\n" },
      { run("--memory=much", "-e", "1") })
    assert.same({ 2, "", "luabatch: option --memory: a size such as 512M or 2G expected, got '32'; did you mean '32M'?\n" },
      { run("--memory", "32", "-e", "1") })
    assert.same({ 2, "", '{"message":"unknown option -z","status":2}\n' }, { run("-z", "--errors", "json") })
    assert.same({ 2, "", '{"message":"unknown option -z","status":2}\n' }, { shell "LUABATCH_ERRORS=json luabatch -z" })
    assert.same({ 2, "", "luabatch: option --threads wants a value\n" }, { run("--threads") })
    assert.same({ 2, "", "luabatch: option --quiet takes no value\n" }, { run("--quiet=yes") })
    local status, _, err = run("--output-format=jsn", "-e", "1")
    assert.equal(2, status)
    assert.truthy(err:find("did you mean 'json'?", 1, true))
  end)

  it("come from the environment, and the command line wins", function()
    assert.same({ 0, "[1,2]\n", "" }, { shell "LUABATCH_OUTPUT_FORMAT=json luabatch -e '{{1, 2}}'" })
    assert.same({ 0, "1\t2\n", "" },
      { shell "LUABATCH_OUTPUT_FORMAT=json luabatch --output-format=text -e '{{1, 2}}'" })
    local status, _, err = shell "LUABATCH_THREADS=many luabatch -e 1"
    assert.equal(2, status)
    assert.truthy(err:find("LUABATCH_THREADS", 1, true))
  end)

  it("--output writes a file or a directory, and replaces it", function()
    local path = cli.path()
    assert.same({ 0, "", "" }, { run("--output", path, "-e", "lb.range(3)") })
    assert.equal("1\n2\n3\n", cli.read(path))
    assert.same({ 0, "", "" }, { run("--output", path, "-e", "lb.range(2)") })
    assert.equal("1\n2\n", cli.read(path))
    assert.same({ 0, "", "" }, { run("--output", path, "-e", "{'x'}") })
    assert.equal("x\n", cli.read(path))
    local dir = cli.path "/"
    assert.equal(0, (run("--output", dir, "-e", "lb.range(2)")))
    assert.equal("", cli.read(dir .. "_SUCCESS"))
  end)

  it("--output writes tables and scalars as it writes datasets", function()
    local packed = cli.path ".gz"
    assert.same({ 0, "", "" }, { run("--output", packed, "-e", "{{'x', 1}, {'y', {2}}}") })
    assert.same({ 0, "x\t1\ny\t[2]\n", "" }, { shell(("gzip -dc '%s'"):format(packed)) })
    local dir = cli.path "/"
    assert.same({ 0, "", "" }, { run("--output", dir, "--output-format=json", "-e", "{'x', 1}") })
    assert.equal('"x"\n1\n', cli.read(dir .. "part-00000.json"))
    local path = file "old"
    assert.same({ 0, "", "" }, { run("--output", path, "-e", "1, nil, 'a\\tb'") })
    assert.equal("1\tnil\ta\tb\n", cli.read(path))
    local nothing = cli.path ".txt"
    assert.same({ 0, "1\n", ("luabatch: the chunk returns no dataset and no job: nothing is written to %s\n"):format(nothing) },
      { run("--output", nothing, "-e", "print(1)") })
    assert.same({ 0, "1\n", "" }, { run("--quiet", "--output", nothing, "-e", "print(1)") })
    assert.is_nil(io.open(nothing))
    local status, _, err = run("--output", "/nonexistent/x", "-e", "1")
    assert.equal(2, status)
    assert.truthy(err:find("/nonexistent", 1, true), err)
  end)

  it("--check plans and runs nothing", function()
    local marker = cli.path()
    local status, out = run("--check", "-e",
      ("lb.range(3):foreach(function() io.open('%s', 'w') end) print('not reached')"):format(marker))
    assert.equal(0, status)
    assert.truthy(out:find("plan of foreach", 1, true))
    assert.is_nil(out:find("not reached", 1, true))
    assert.is_nil(io.open(marker))
    status, out = run("--check", file(WORDS, ".lua"), file("x"))
    assert.equal(0, status)
    assert.truthy(out:find("mapper of step 1", 1, true))
    assert.equal(2, (run("--check", file(WORDS, ".lua"), "/nonexistent")))
    assert.equal(3, (run("--check", file("return )"))))
  end)

  it("--stats and --explain go to standard error", function()
    local status, out, err = run("--stats", "-e",
      "local c = lb.counter 'seen' return lb.range(3):map(function(n) c:add(1) return n end)")
    assert.same({ 0, "1\n2\n3\n" }, { status, out })
    assert.truthy(err:find("peak memory", 1, true))
    assert.truthy(err:find("counter seen: 3", 1, true))
    status, out, err = run("--stats=json", "-e", "lb.range(3):count()")
    assert.same({ 0, "3\n" }, { status, out })
    assert.truthy(err:find('"action":"count"', 1, true))
    assert.truthy(err:find('"counters":{}', 1, true))
    err = select(3, run("--stats=json", "-e", "lb.range(3):foreach(function() lb.counter('seen'):add(1) end)"))
    assert.truthy(err:find('"counters":{"seen":3}', 1, true), err)
    status, out, err = run("--explain", "-e", "lb.range(3):count()")
    assert.same({ 0, "3\n" }, { status, out })
    assert.truthy(err:find("logical plan", 1, true))
  end)
end)

describe("exit statuses", function()
  after_each(cli.clean)

  it("come with the line of the job for a missing input, or a save that fails", function()
    local script = file([[
      local lb = require "luabatch"
      if arg[1] == "save" then
        local ds = lb.range(3):sort_by()
        ds:save_text(arg[2])
        return
      end
      local ds = lb[arg[1] ]("/nonexistent/lb.in")
      local other = lb.text(arg[0])
      other:union(ds:map(tostring)):count()]], ".lua")
    for _, source in ipairs { "text", "files", "read", "csv", "tsv", "json" } do
      assert.same({ 2, "", ("luabatch: %s:7: no such file: /nonexistent/lb.in\n"):format(script) }, { run(script, source) })
    end
    assert.same({ 2, "", ("luabatch: %s:4: %s exists (mode = \"overwrite\" replaces it)\n"):format(script, script) },
      { run(script, "save", script) })
    assert.same({ 2, "", ("luabatch: %s:4: cannot write '/nonexistent/lb/x': No such file or directory\n"):format(script) },
      { run(script, "save", "/nonexistent/lb/x") })
    local _, _, err = run("--errors", "json", script, "text")
    assert.truthy(err:find(('"file":"%s","line":7,'):format(script), 1, true), err)
    local folder = cli.path()
    local empty, link = folder .. "/empty", folder .. "/links/to"
    shell(("mkdir -p %s %s/links; ln -s nothing %s"):format(empty, folder, link))
    for path, message in pairs {
      [folder .. "/*.nope"] = ("no input matches '%s/*.nope'"):format(folder),
      [empty] = ("no input files in directory '%s'"):format(empty),
      [folder .. "/links"] = ("no such file: %s; it is a symbolic link to nothing"):format(link),
      [folder .. "/lin[k]s/*"] = ("no such file: %s; it is a symbolic link to nothing"):format(link),
      [folder .. "/gone"] = ("no such file: %s/gone"):format(folder),
    } do
      for _, rest in ipairs { "count()", "map(tostring):checkpoint('c'):count()", "map(tostring):checkpoint('c'):save_text('never')" } do
        local job = file(('local lb = require "luabatch"\nlocal ok = lb.text(arg[0])\nok:union(lb.text(arg[1])\n):%s'):format(rest), ".lua")
        assert.same({ 2, "", ("luabatch: %s:3: %s\n"):format(job, message) }, { run(job, path) }, rest)
      end
    end
    assert.same({ 2, "", ("luabatch: no input matches '%s/*.nope'\n"):format(folder) }, { run("--itext", folder .. "/*.nope") })
    -- What the command line names has no line.
    assert.same({ 2, "", "luabatch: no such file: /nonexistent/lb.in\n" }, { run("--icsv", "-e", ":count()", "/nonexistent/lb.in") })
  end)

  it("1: the job raised", function()
    local script = file("local lb = require 'luabatch'\n\nerror('out of cheese')\n", ".lua")
    local status, out, err = run(script)
    assert.same({ 1, "" }, { status, out })
    assert.truthy(err:find("luabatch: " .. script .. ":3: out of cheese\n", 1, true))
    assert.truthy(err:find("stack traceback", 1, true))
    assert.is_nil(err:find("%[luabatch%]"))
  end)

  it("1: a function raised what looks like an error of the output", function()
    for _, message in ipairs { "never.txt is not here", "cannot write me" } do
      local chunk = ("lb.range(3):map(function() error(%q, 0) end):save_text('never.txt')"):format(message)
      local status, _, err = run("-e", chunk)
      assert.same({ 1, ("luabatch: %s\n"):format(message) }, { status, err:match("^[^\n]*\n") })
    end
  end)

  it("1: a function raised, with line, step and record", function()
    local script = file([[
return require "luabatch".job {
  mapper = function(_, line, emit)
    local amount = tonumber(line)
    emit("sum", amount + 1)
  end,
}
]], ".lua")
    local input = file("1\n2\nx\n4\n", ".csv")
    local status, out, err = run(script, input)
    assert.same({ 1, "" }, { status, out })
    local problem = cli.on_luajit and "local 'amount' (a nil value)" or "a nil value (local 'amount')"
    assert.truthy(err:find(("luabatch: %s:4: attempt to perform arithmetic on %s\n"):format(script, problem), 1, true), err)
    assert.truthy(err:find("\n  in mapper of step 1\n", 1, true), err)
    assert.truthy(err:find(("\n  record %s:3 (byte 4): x\n"):format(input), 1, true), err)
    status, out, err = run("--errors=json", script, input)
    assert.same({ 1, "" }, { status, out })
    assert.truthy(err:find('"in":"mapper of step 1"', 1, true), err)
    assert.truthy(err:find('"line":4', 1, true), err)
    local _, n = err:gsub("\n", "")
    assert.equal(1, n)
  end)

  it("1: a reducer raised, with its key", function()
    local status, _, err = run("-e", [[
      lb.from_pairs{{"a", 1}, {"b", 2}}:reduce_groups(function(key, values, emit)
        if key == "b" then error("no b please") end
      end)]])
    assert.equal(1, status)
    assert.truthy(err:find("no b please", 1, true))
    assert.truthy(err:find("reduce_groups", 1, true))
    assert.truthy(err:find('"?b"?'), err)
  end)

  it("2: wrong usage or a missing file", function()
    local status, _, err = run("/nonexistent.lua")
    assert.equal(2, status)
    assert.equal("luabatch: cannot open /nonexistent.lua: No such file or directory\n", err)
    assert.equal(2, (run("-e", "lb.text('/nonexistent/x'):count()")))
    local path = file("old\n")
    status, _, err = run("-e", ("lb.range(1):save_text('%s')"):format(path))
    assert.equal(2, status)
    assert.truthy(err:find(path, 1, true))
    assert.equal("old\n", cli.read(path))
  end)

  it("3: the script does not compile", function()
    local script = file("local x = = 1\n", ".lua")
    local status, _, err = run(script)
    assert.equal(3, status)
    assert.truthy(err:find("luabatch: " .. script .. ":1: unexpected symbol near '='", 1, true))
    assert.equal(3, (run("-e", "1 +")))
  end)

  it("4: bad input data", function()
    local path = cli.path ".gz"
    os.execute(("seq 100000 | gzip | head -c 1000 > '%s'"):format(path))
    local status, out, err = run("-e", "lb.text(arg[1])", path)
    assert.equal(4, status)
    assert.truthy(err:find("truncated", 1, true))
    assert.truthy(err:find("byte 1000", 1, true), err)
    assert.is_not_nil(out)
  end)

  it("5: a full device", function()
    if not io.open("/dev/full", "w") then return end
    for _, chunk in ipairs {
      "lb.range(100000)", "print(1)", "{1, 2}", "print(1) os.exit()", "print(1) os.exit(0)", "print(1) os.exit(true, true)",
      'print(1) os.exit("0")', "print(1) os.exit(256)", "print(1) os.exit(-512.0)", "for i = 1, 1e5 do print(i) end os.exit(0)",
    } do
      local status, _, err = shell(("luabatch -e %s > /dev/full"):format(cli.quote(chunk)))
      assert.equal(5, status, chunk)
      assert.truthy(err:find("No space left on device", 1, true), err)
    end
    assert.same({ 3, "", "" }, { shell "luabatch -e 'print(1) os.exit(3)' > /dev/full" })
  end)

  it("141: the reader is gone, silently", function()
    for _, chunk in ipairs { "lb.range(10^8)", "for i = 1, math.huge do print(i) end" } do
      local status, out, err = shell(("luabatch -e %s | head -n 2; exit ${PIPESTATUS[0]}"):format(cli.quote(chunk)))
      assert.same({ 141, "1\n2\n", "" }, { status, out, err })
    end
  end)

  -- A function that never ends, and makes a file when it begins.
  local function endless()
    local begun = cli.path()
    return "test -e " .. begun, ("lb.range(10):map(function() io.open(%q, 'w'):close() while true do end end):count()"):format(begun)
  end

  it("130, 143 and 129: interrupted, also in an endless loop", function()
    for signal, want in pairs { INT = 130, TERM = 143, HUP = 129 } do
      local ready, chunk = endless()
      assert.same({ want, "", "luabatch: interrupted\n" }, { cli.signal(signal, ready, "-e", chunk) })
    end
  end)

  it("130: interrupted, though the script catches that and tries again and again", function()
    local ready, chunk = endless()
    assert.same({ 130, "", "luabatch: interrupted\n" },
      { cli.signal("INT", ready, "-e", ("while true do pcall(function() %s end) end"):format(chunk)) })
  end)

  it("130: interrupted, also by a signal that comes twice at once", function()
    -- To the process and to its group, as timeout(1) sends it.
    for _ = 1, 5 do
      local ready, chunk = endless()
      assert.same({ 130, "", "luabatch: interrupted\n" }, { cli.signal("INT INT", ready, "-e", chunk) })
    end
  end)

  it("130: interrupted while commands run, unless the script's own make something else of that", function()
    local begun = cli.path()
    local in_functions = "lb.range(%d):repartition(2):map(function(n) os.execute(%q) return n end):count()"
    local ended, trapped = "touch %s; sleep 60", "trap 'exit 0' INT; touch %s; sleep 60"
    for _, case in ipairs {
      { in_functions:format(4, ended:format(begun)), 130, "", "luabatch: interrupted\n" },
      { ("os.execute(%q) print(4)"):format(ended:format(begun)), 130, "", "" },
      { in_functions:format(4, trapped:format(begun)), 130, "", "luabatch: interrupted\n" },
      { ("os.execute(%q) print(4)"):format(trapped:format(begun)), 0, "4\n", "" },
    } do
      os.remove(begun)
      -- To the group, as a terminal does.
      local got = { shell(([[
        setsid %s --threads 2 -e %s & pid=$! n=0
        until [ -e %s ] || [ $n = 1200 ]; do sleep 0.05; n=$((n + 1)); done
        kill -INT -- -$pid
        wait $pid]]):format(cli.quote(cli.program), cli.quote(case[1]), begun)) }
      assert.same({ case[2], case[3], case[4] }, got, case[1])
    end
  end)

  it("130: interrupted while commands run that do not hear of it, within a second", function()
    local begun, kept = cli.path(), cli.path()
    for _, case in ipairs {
      { "INT $pid", "touch %s; exec sleep 60" }, -- to the program alone
      { "INT -- -$pid", "trap '' INT; touch %s; sleep 60" }, -- to the group
      { "INT -- -$pid", "touch %s; if [ -e " .. kept .. " ]; then exec sleep 61; fi; touch " .. kept .. "; trap '' INT; sleep 62" },
    } do
      os.remove(begun)
      local chunk = ("lb.range(8):repartition(2):map(function(n) os.execute(%q) return n end):count()"):format(case[2]:format(begun))
      local status, out, err = shell(([[
        setsid %s --threads 2 -e %s & pid=$! n=0
        until [ -e %s ] || [ $n = 1200 ]; do sleep 0.05; n=$((n + 1)); done
        sleep 0.2
        kill -%s
        begin=$(date +%%s%%N)
        wait $pid
        status=$?
        echo $(( ($(date +%%s%%N) - begin) / 1000000 ))
        kill -KILL -- -$pid 2> /dev/null
        exit $status]]):format(cli.quote(cli.program), cli.quote(chunk), begun, case[1]))
      assert.same({ 130, "luabatch: interrupted\n" }, { status, err }, case[2])
      assert.is_true(tonumber(out) < 5000, out)
    end
  end)

  it("143: the script has many short runs", function()
    local begun = cli.path()
    for _ = 1, 10 do
      os.remove(begun)
      assert.equal(143, (cli.signal("TERM", "test -e " .. begun, "-e",
        ("while true do pcall(function() lb.range(1):count() end) io.open(%q, 'w'):close() end"):format(begun))))
    end
  end)

  it("0: SIGHUP was ignored, as nohup has it", function()
    local begun, gone = cli.path(), cli.path()
    assert.same({ 0, "1\n", "" }, { shell(([[
      nohup %s -e 'lb.range(1):map(function(n)
        io.open("%s", "w"):close()
        repeat local go = io.open("%s") until go
        return n
      end)' & n=0
      until [ -e %s ] || [ $n = 1200 ]; do sleep 0.05; n=$((n + 1)); done
      kill -HUP $!
      touch %s
      wait $!]]):format(cli.quote(cli.program), begun, gone, begun, gone)) })
  end)
end)

describe("examples", function()
  after_each(cli.clean)

  it("read several inputs", function()
    local log = "examples/data/access.log"
    -- What is counted stands first in the one and last in the other.
    for name, number in pairs { top_urls = "%d+%f[\t]", log_bytes_by_status = "%d+%f[\n]" } do
      local job = "examples/" .. name .. ".lua"
      local _, once = run(job, log)
      local status, twice = run(job, log, log)
      assert.equal(0, status)
      local function doubled(n) return ("%d"):format(2 * n) end
      assert.equal((once:gsub(number, doubled)), twice)
    end
    local a, b = file(("x\n"):rep(1000)), file(("xyz\n"):rep(1000))
    local status, out = run("examples/sample_and_histogram.lua", a, b)
    assert.equal(0, status)
    assert.truthy(out:find("from 1 to 3", 1, true), out)
  end)
end)

describe("parts", function()
  after_each(cli.clean)

  it("of --output are the job's reducers", function()
    local job = file([[
return require "luabatch".job {
  reducers = 26,
  partitioner = function(key) return key:byte() - 97 end,
  mapper = function(_, line, emit) emit(line, 1) end,
  reducer = function(key, values, emit) for _ in values do emit(key, 1) end end,
}
]], ".lua")
    local dir = cli.path "/"
    assert.same({ 0, "", "" }, { run("--output", dir, job, file("b\nz\nb\n")) })
    assert.equal("b\t1\nb\t1\n", cli.read(dir .. "part-00001.txt"))
    assert.equal("", cli.read(dir .. "part-00024.txt"))
    assert.equal("z\t1\n", cli.read(dir .. "part-00025.txt"))
    assert.is_nil(io.open(dir .. "part-00026.txt"))
  end)
end)
