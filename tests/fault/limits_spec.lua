-- Disks that are full, small or read-only, few descriptors, standard descriptors that are full or closed, inputs that change while they
-- are read. What must come of it: the whole result, or exit status 5 (4 for inputs) with a message that names the file; never half an
-- output, and nothing left behind.
--
-- Runs in any build. LB_EFFORT: 1 tries 5 limits of each kind, 8 all 40.
local support = require "tests.cli.support"
local tonumber, tostring, math, os, io, ipairs, pairs, select, pcall = tonumber, tostring, math, os, io, ipairs, pairs, select, pcall

local effort = tonumber(os.getenv "LB_EFFORT") or 1
local seed = tonumber(os.getenv "LB_SEED") or os.time()

-- What a job waits with until it may go on, and others until it has begun to wait. Not for ever.
local WAITS = "n=0; touch begun; until [ -e go ] || [ $n = 1200 ]; do sleep 0.05; n=$((n + 1)); done"
local HAS_BEGUN = "n=0; until [ -e begun ] || [ $n = 1200 ]; do sleep 0.05; n=$((n + 1)); done;"

describe("limits", function()
  local folder

  local function shell(line, ...)
    return support.shell(("cd '%s' || exit 99\n"):format(folder) .. (select("#", ...) > 0 and line:format(...) or line))
  end

  setup(function()
    math.randomseed(seed)
    support.program = support.absolute(support.program)
    folder = support.path()
    os.execute("mkdir " .. folder)
    assert.same({ 0, "", "" }, { shell [[
      seq 1 20000 | awk '{ print ($1 * 7919) % 20001 "," $1 % 50 }' > input.txt
      sed 1i'a,b' input.txt > input.csv
      mkdir tmp]] })
  end)
  teardown(support.clean)

  -- Jobs that write `out` (a file or a folder) where they stand, and what they need of the disk.
  local writers = {
    text = [[lb.text "../input.txt":save_text("out", { mode = "overwrite" })]],
    sorted = [[lb.text "../input.txt":sort_by():save_text("out", { mode = "overwrite" })]],
    gzip = [[lb.text "../input.txt":save_text("out", { mode = "overwrite", compression = "gzip" })]],
    native = [[lb.csv "../input.csv":save("out", { mode = "overwrite" })]],
    parts = [[lb.csv "../input.csv":repartition(3):save_csv("out/", { mode = "overwrite" })]],
    folders = [[lb.csv "../input.csv":save_json("out/", { mode = "overwrite", partition_by = { "b" } })]],
    append = [[lb.text "../input.txt":save_text("out", { mode = "append" })]],
    ["side file"] = [[lb.text "../input.txt":map(function(l) if l:find "1" then error "no" end return l end,
      { on_error = { to = "out" } }):count()]],
  }

  -- Runs each writer with less and less room; `room(kb)` gives the shell's words before the program.
  local function squeeze(name, job, room, small)
    local place = folder .. "/" .. small
    local ok_status, _, problem = shell("cd %s && mkdir -p ../whole && cd ../whole && rm -rf out && luabatch --quiet --memory 2M -e %s",
      small, support.quote(job))
    assert.same({ 0, "" }, { ok_status, problem })
    local failed, n = 0, math.max(4, math.floor(5 * effort))
    for i = 1, n do
      local kb = i == 1 and 1 or math.floor(4 + 400 * (i - 1) / n)
      local told = ("LB_SEED=%d %s with %d KB: "):format(seed, name, kb)
      shell("cd %s && rm -rf out && %s", small, job:find '"out/"' and "true" or "printf 'old,1\\n' > out")
      local status, _, message = shell("%s", room(kb, ("cd %s && luabatch --quiet --memory 2M --tmp . -e %s"):format(small,
        support.quote(job))))
      local _, left = shell("cd %s && ls -A | grep -v '^out$'", small)
      assert.same(told, told .. left)
      if status == 0 then
        local compare = job:find '"append"' and "sed 1d %s/out | diff whole/out - | head -5" or "diff -r whole/out %s/out | head -5"
        local same, difference = shell(compare, small)
        assert.same({ 0, told }, { same, told .. difference })
      else
        failed = failed + 1
        assert.same(told .. "5", told .. status .. (status ~= 5 and message or ""))
        assert.is_true(message:find "^luabatch: [^\n]-cannot write [^\n]*: File too large\n$" ~= nil
          or message:find "^luabatch: [^\n]-cannot [^\n]*: No space left on device\n$" ~= nil, told .. message)
        local old = io.open(place .. "/out")
        assert.same(told .. (job:find '"out/"' and "nil" or "old,1"), told .. tostring(old and old:read "l"))
        if old then old:close() end
      end
    end
    assert.is_true(failed > 0, name .. ": nothing was too small")
  end

  for name, job in pairs(writers) do
    it("of a file's size: " .. name, function()
      shell "mkdir -p small"
      -- The output of the shell is a file, too.
      squeeze(name, job, function(kb, line)
        return ("( ulimit -f %d; %s 2>&1 >/dev/null ) | cat >&2; exit ${PIPESTATUS[0]}"):format(kb, line)
      end, "small")
    end)
  end

  it("of a small file system", function()
    if shell "[ $(id -u) = 0 ] && mkdir -p disk && mount -t tmpfs -o size=64k none disk && umount disk" ~= 0 then
      return pending "no right to mount"
    end
    for name, job in pairs(writers) do
      shell "mount -t tmpfs -o size=8M none disk"
      local ok, problem = pcall(squeeze, name, job, function(kb, line)
        return ("mount -o remount,size=%dk disk && %s"):format(kb, line)
      end, "disk")
      shell "umount disk"
      if not ok then error(problem, 0) end
    end
  end)

  it("of what spill files may take (--max-spill)", function()
    local jobs = {
      [[lb.text "input.txt":sort_by():count()]],
      [[lb.text "input.txt":map(function(l) return l, 1 end):group_by_key():count()]],
      [[lb.csv "input.csv":group_by "a":agg{ n = lb.count() }:count()]],
      [[lb.csv "input.csv":join(lb.csv "input.csv", { on = "a" }):count()]],
      [[lb.csv "input.csv":cache():count()]],
    }
    for _, job in ipairs(jobs) do
      local words = ("luabatch --quiet --threads 2 --memory 100K --tmp tmp --max-spill %%s -e %s"):format(support.quote(job))
      local enough, lines = shell(words:format "1G")
      assert.same({ 0, 0 }, { enough, lines == "" and 1 or 0 }, job)
      local status, output, message = shell(words:format "5K")
      assert.same({ 5, "" }, { status, output }, job)
      assert.matches("spill files in 'tmp' would take more than the 5.0 KiB that %-%-max%-spill allows", message)
    end
  end)

  it("of what the system gives, less than the window of zstd data wants", function()
    -- The address sanitizer takes terabytes of addresses for itself, and has a limit of its own.
    local _, version = support.run "--version"
    local less = version:find(", asan,", 1, true) and "export ASAN_OPTIONS=allocator_may_return_null=1:max_allocation_size_mb=1000"
      or "ulimit -v 1500000"
    -- A frame's head: a window of 2 GiB; then its last block, as it is.
    local status, _, message = shell([[printf '\050\265\057\375\000\250\051\000\000a\nb\nc' > window.zst
      ]] .. less .. [[; luabatch --threads 1 -e 'lb.text "window.zst":count()']])
    assert.equal(5, status, message)
    assert.matches("window.zst: out of memory: its zstd data wants a window of up to 2 GiB", message, 1, true)
  end)

  it("of descriptors", function()
    local jobs = {
      [[lb.text "input.txt":sort_by():save_text("few", { mode = "overwrite" })]],
      [[lb.csv "input.csv":join(lb.csv "input.csv":select("a", { c = "b" }), { on = "a" }):count()]],
      [[lb.csv "input.csv":group_by("b"):agg { n = lb.count() }:count()]],
      [[local a = lb.csv "input.csv" a:join(a, { on = "b", how = "full", strategy = "hash" }):limit(20000):count()]],
      [[lb.text "input.txt":pipe "cat":count()]],
    }
    local good = 0
    for _, n in ipairs { 5, 6, 8, 10, 12, 14, 16, 18, 20, 24, 32, 64, 256 } do
      for _, job in ipairs(jobs) do
        local status, _, message = shell("ulimit -n %d; luabatch --threads 3 --memory 1M -e %s", n, support.quote(job))
        local told = ("ulimit -n %d, %s: "):format(n, job)
        if status == 0 then
          good = good + 1
        else
          assert.same(told .. "5", told .. status .. (status ~= 5 and message or ""))
          assert.matches("Too many open files", message)
        end
        assert.is_true(status == 0 or n < 32, told .. message) -- however many runs are merged
      end
    end
    assert.is_true(good > #jobs)
  end)

  it("of where temporary files go", function()
    local job = support.quote [[lb.text "input.txt":sort_by():save_text("elsewhere", { mode = "overwrite" })]]
    for place, wanted in pairs {
      ["/nonexistent"] = "No such file or directory", ["input.txt"] = "Not a directory", ["/proc"] = "No such file or directory",
    } do
      local wrong = ("luabatch: cannot make a spill file in '%s': %s\n"):format(place, wanted)
      assert.same({ 2, "", wrong }, { shell("luabatch --memory 1M --tmp %s -e %s", place, job) })
      assert.same({ 2, "", wrong }, { shell("TMPDIR=%s luabatch --memory 1M -e %s", place, job) })
    end
    if shell "[ -w /dev/shm ]" == 0 then
      assert.same({ 0, "20000\n", "" }, {
        shell("luabatch --memory 1M --tmp /dev/shm -e %s && sort input.txt | cmp - <(sort elsewhere)", job) })
    end
    if shell "[ $(id -u) = 0 ] && mkdir -p fixed && mount -t tmpfs -o ro none fixed" == 0 then
      local status, _, message = shell("luabatch --memory 1M --tmp fixed -e %s", job)
      shell "umount fixed"
      assert.same({ 5, "luabatch: cannot make a spill file in 'fixed': Read-only file system\n" }, { status, message })
    end
  end)

  it("of standard output", function()
    local chunks = {
      [[lb.text "input.txt":save_text "-"]], [[lb.text "input.txt":save_text "/dev/stdout"]], [[lb.csv "input.csv":save_csv "-"]],
      [[lb.csv "input.csv":save_json "/dev/stdout"]], [[lb.csv "input.csv":save "-"]], [[lb.text "input.txt":sort_by():save_text "-"]],
      [[lb.text "input.txt":save_text("-", { compression = "zstd" })]], [[lb.csv "input.csv"]], [[lb.csv "input.csv":show(5)]],
      [[lb.csv "input.csv":take(3)]], [[lb.csv "input.csv":explain()]], [[lb.csv "input.csv":print_schema()]], [[print(1)]],
      [[io.write "x"]], [[1, 2]], [[lb.text "input.txt":foreach(print)]], [[lb.range(3):histogram(2)]],
    }
    local lines = {
      "luabatch --icsv --ojson input.csv", "luabatch --icsv --ocsv input.csv", "luabatch --help", "luabatch --version", "luabatch config",
      "luabatch completion bash", "luabatch --check -e 'lb.range(3):count()'",
    }
    for _, chunk in ipairs(chunks) do lines[#lines + 1] = "luabatch -e " .. support.quote(chunk) end
    for _, line in ipairs(lines) do
      for where, wanted in pairs { [">/dev/full"] = "No space left on device", [">&-"] = "Bad file descriptor" } do
        local status, output, message = shell("%s %s", line, where)
        assert.same({ 5, "" }, { status, output }, line .. where)
        assert.is_true(message:find("^luabatch: .-cannot write .-standard output: " .. wanted .. "\n$") ~= nil, line .. where .. message)
      end
    end
  end)

  it("of other outputs", function()
    for _, option in ipairs { "--output", "--trace", "--report" } do
      local status, _, message = shell("luabatch %s /dev/full -e 'lb.range(3):sort_by()'", option)
      assert.same({ 5, "luabatch: cannot write /dev/full: No space left on device\n" }, { status, message })
    end
    assert.same({ 0, "3\n", "" }, { shell "luabatch --stats -e 'lb.range(3):count()' 2>&-" })
    assert.same({ 0, "3\n", "" }, { shell "luabatch --stats -e 'lb.range(3):count()' 2>/dev/full" })
    assert.same({ 1, "", "" }, { shell "luabatch -e 'error(1)' 2>/dev/full" })
    assert.same({ 1, "", "" }, { shell "luabatch -e 'error(1)' 2>&-" })
    assert.same({ 0, "3\n", "" }, { shell "luabatch -e 'lb.range(3):count()' <&-" })
    assert.same({ 5, "", "luabatch: cannot read 'standard input' at byte 0: Bad file descriptor\n" }, {
      shell "luabatch -e 'lb.stdin():count()' <&-" })
    assert.same({ 0, "", "" }, { shell "luabatch -e 'lb.range(3):save_text(\"all\", { mode = \"overwrite\" }) return' <&- >&- 2>&-" })
    assert.same({ 0, "1\n2\n3\n", "" }, { shell "cat all" })
    assert.same({ 0, "3\n", "" }, { shell "luabatch -e 'lb.range(3):save_text(\"/dev/null\", { mode = \"ignore\" })'" })
  end)

  -- A filter changes the file while it is read.
  local change = [[
    local lb = require "luabatch"
    local kind, path, command = arg[1], arg[2], arg[3]
    local function mark(a) if tostring(a):find "^old,?777$" or a == "old777" then os.execute(command) end return true end
    local ds = lb[kind](path)
    if kind ~= "text" then ds = ds:map(function(r) return r.a end) end
    for _, pair in ipairs(ds:filter(mark):map(function(a) return a:sub(1, 3) end):value_counts():collect()) do print(pair[1], pair[2]) end
  ]]

  it("of inputs that change while they are read", function()
    local n = 300000
    assert.same({ 0, "", "" }, { shell([[
      for name in old new; do
        mkdir -p keep; seq 1 %d | awk -v n=$name '{ print n $1 "," $1 }' > keep/$name.txt
        sed 1ia,b keep/$name.txt > keep/$name.csv; gzip -1 < keep/$name.csv > keep/$name.csv.gz
        luabatch --quiet -e "lb.csv('keep/$name.csv'):save_json('keep/$name.json')" -e 2>/dev/null ||
        luabatch -e "lb.csv('keep/$name.csv'):save_json('keep/$name.json') lb.csv('keep/$name.csv'):save('keep/$name.lbb') return"
      done]], n) })
    local script = support.file(change, ".lua")
    local kinds = { { "text", "txt" }, { "csv", "csv" }, { "csv", "csv.gz" }, { "json", "json" }, { "read", "lbb" } }
    local changes = {
      "mv in/new.%s in/old.%s", "cp in/new.%s in/old.%s", "truncate -s 100000 in/old.%s", "echo new1,1 >> in/old.%s", "rm in/old.%s",
    }
    for _, kind in ipairs(kinds) do
      for _, command in ipairs(changes) do
        command = command:format(kind[2], kind[2])
        local status, output, message = shell("rm -rf in; cp -r keep in; luabatch --threads 2 %s %s in/old.%s '%s'", script, kind[1],
          kind[2], command)
        local told = ("%s, %s: "):format(kind[2], command)
        if status == 0 then
          assert.same(told .. ("old\t%d\n"):format(n), told .. output)
        else
          assert.same(told .. "4", told .. status .. (status ~= 4 and message or ""))
          assert.is_true(message:find("^luabatch: in/old." .. kind[2] .. "[: ]") ~= nil, told .. message)
        end
      end
    end
  end)

  it("of inputs that change between stages", function()
    local script = support.file([[
      local lb = require "luabatch"
      local few = lb.csv(arg[1]):filter(function(r) if r.a == "old777" then os.execute(arg[2]) end return r.b <= 1000 end)
      print(lb.csv(arg[1]):join(few:select("b", { c = "a" }), { on = "b", how = "inner" }):where "a <> c":count())]], ".lua")
    for _, ext in ipairs { "csv", "csv.gz" } do
      local status, output, message = shell("rm -rf in; cp -r keep in; luabatch %s in/old.%s 'mv in/new.%s in/old.%s'",
        script, ext, ext, ext)
      assert.same({ 4, "", ("luabatch: in/old.%s was replaced while it was read\n"):format(ext) }, { status, output, message })
    end
  end)

  it("of those who replace a folder at the same time", function()
    local job = [[luabatch -e 'lb.range(3):map(function(n) if n == 1 then os.execute "%s" end return n %s end)
      :save_text("both/", { mode = "overwrite" }) return']]
    local status, output, message = shell(
      "rm -f begun go; %s & %s %s; a=$?; touch go; wait $! && cat both/part* && ls -A | grep -c luabatch; exit $a",
      job:format(WAITS, "* 10"), HAS_BEGUN, job:format("true", ""))
    assert.same({ 0, "10\n20\n30\n0\n", "" }, { status, output, message })
  end)

  it("of those who append at the same time", function()
    local slow = [[luabatch -e 'lb.range(3):map(function(n) if n == 1 then os.execute "%s" end return n end)
      :save_text("%s", { mode = "append" }) return']]
    local status, output, message = shell(
      "rm -f begun go; echo old > log; %s & %s luabatch -e '%s'; a=$?; touch go; wait; cat log; exit $a",
      slow:format(WAITS, "log"), HAS_BEGUN, [[lb.range(9):save_text("log", { mode = "append" })]])
    assert.same({ 5, "old\n1\n2\n3\n", "luabatch: (command line):1: log: another run is appending to it\n" }, { status, output, message })
    status, output, message = shell("echo old > log; %s; a=$?; cat log; exit $a", slow:format("echo more >> log", "log"))
    assert.same({ 5, "old\nmore\n", "luabatch: (command line):1: log was written to by others since the run began to append to it\n" },
      { status, output, message })
    status, output, message = shell("rm -f log; %s; a=$?; cat log; exit $a", slow:format("echo more > log", "log"))
    assert.same({ 5, "more\n", "luabatch: (command line):1: log: another run has made it meanwhile\n" }, { status, output, message })
  end)
end)
