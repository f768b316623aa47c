-- Records that a run leaves out, and calls that failed: what the program tells of them, for any number of threads.
local support = require "tests.cli.support"

local assert, io, ipairs, math, os, select, string, tonumber = assert, io, ipairs, math, os, select, string, tonumber
local unpack = table.unpack or unpack -- luacheck: globals unpack
local run, file, path, read = support.run, support.file, support.path, support.read
local seed = tonumber(os.getenv("LB_SEED")) or os.time()

-- A file of two columns of numbers, some lines of which are bad, and some of which `TOOLS.fussy` refuses.
local function make(n, every)
  local lines, bad, refused = { "a,b\n" }, 0, 0
  for i = 1, n do
    local line = ("%d,%d\n"):format(i, i * 2)
    if math.random(every) == 1 then
      line = ({ "x\n", "1,2,3\n", ("%d,y\n"):format(i) })[math.random(3)]
      bad = bad + 1
    elseif i % 1000 == 7 then
      refused = refused + 1
    end
    lines[#lines + 1] = line
  end
  return file(table.concat(lines), ".csv"), bad, refused
end

local function chunk(input, on_bad, on_error, last)
  return ([[lb.csv(%q, { types = { a = "integer", b = "integer" }, on_bad = %s })
    :filter(function(r) if r.a %% 1000 == 7 then error("seven: " .. r.a, 0) end return true end, { on_error = %s })%s]])
    :format(input, on_bad, on_error, last or ":count()")
end

describe("what a run leaves out (seed " .. seed .. ")", function()
  math.randomseed(seed)
  after_each(support.clean)

  it("is told in one line, the same for any number of threads", function()
    local input, bad, refused = make(150000, 900)
    local first
    for _, threads in ipairs { "1", "2", "3", "8" } do
      local to = path ".json"
      local both = ("{ to = %q }"):format(to)
      local status, out, err = run("--threads", threads, "-e", chunk(input, both, both))
      assert.same({ 0, tostring(150000 - bad - refused) .. "\n" }, { status, out })
      assert.equal(1, select(2, err:gsub("\n", "\n")))
      assert.equal(bad + refused, tonumber(err:match("^luabatch: (%d+) records skipped: ")))
      assert.truthy(err:find(("%d in filter at (command line):2 (seven: "):format(refused), 1, true), err)
      local told = err .. read(to):gsub("[^\n]*/lua_[^\n]*\n", "%0")
      first = first or told
      assert.equal(first, told)
      assert.equal(bad + refused, select(2, read(to):gsub("\n", "\n")))
    end
    local status, _, err = run("--errors", "json", "-e", chunk(input, '"skip"', '"skip"'))
    assert.equal(0, status)
    assert.matches('^{"action":"count","skipped":' .. bad + refused .. ',"skips":%[{"byte":', err)
    assert.equal("", (select(3, run("--quiet", "-e", chunk(input, '"skip"', '"skip"')))))
    err = select(3, run("--quiet", "--stats=json", "-e", chunk(input, '"skip"', '"skip"')))
    assert.truthy(err:find(('"skipped":%d,"skips":[{'):format(bad + refused), 1, true), err)
  end)

  it("is bounded exactly by --max-errors", function()
    local input, bad, refused = make(60000, 700)
    local n, first = bad + refused, {}
    for _, threads in ipairs { "1", "3" } do
      for _, most in ipairs { n, n - 1, math.floor(n / 2), 0 } do
        local output = path ".csv"
        local status, _, err = run("--threads", threads, "--max-errors", tostring(most), "-e",
          chunk(input, '"skip"', '"skip"', (":save_csv(%q)"):format(output)))
        local is_there = os.rename(output, output) ~= nil
        if most == n then
          assert.same({ 0, true }, { status, is_there }, err)
        else
          assert.same({ 1, false }, { status, is_there }, err)
          assert.matches("^luabatch: %d+ records? [ia][sr]e? ?left out, and %-%-max%-errors allows " .. most .. "\n", err)
          first[most] = first[most] or err
          assert.equal(first[most], err)
        end
      end
    end
    -- Bad data alone ends as bad data does.
    assert.equal(4, (run("--max-errors", "1", "-e", ("lb.csv(%q, { on_bad = 'skip' }):count()"):format(file("a,b\n1\n2\n", ".csv")))))
    assert.equal(2, (run("--max-errors", "many", "-e", "1")))
  end)

  it("writes the files of records left out when they are too many, and nothing else", function()
    local input, bad, refused = make(60000, 700)
    local all_data, all_failed = path ".jsonl", path ".jsonl"
    assert.equal(0, (run("-e", chunk(input, ("{ to = %q }"):format(all_data), ("{ to = %q }"):format(all_failed)))))
    local last
    for _, threads in ipairs { "1", "3" } do
      for _, way in ipairs { "", ":checkpoint('kept'):map(function(r) return r.a end)" } do
        local data, failed, output = file("old\n", ".jsonl"), path ".jsonl", path ".json"
        local most = tostring(math.floor((bad + refused) / 2))
        local status, _, err = run("--threads", threads, "--checkpoint-dir", path "", "--max-errors", most, "-e",
          chunk(input, ("{ to = %q }"):format(data), ("{ to = %q }"):format(failed),
          way .. (":save_json(%q)"):format(output)))
        assert.equal(1, status)
        local n = tonumber(err:match("^luabatch: (%d+) records are left out"))
        assert.truthy(err:find(("\n  written to %s\n"):format(data), 1, true), err)
        assert.truthy(err:find(("\n  written to %s\n"):format(failed), 1, true), err)
        -- They are the first lines of those of a run without the limit, and all that were counted.
        local both = {}
        for i, pair in ipairs { { read(data), read(all_data) }, { read(failed), read(all_failed) } } do
          assert.equal(pair[2]:sub(1, #pair[1]), pair[1])
          both[i] = pair[1]
        end
        assert.equal(n, select(2, (both[1] .. both[2]):gsub("\n", "")))
        assert.is_true(n > 0 and n <= bad + refused)
        last = last or both
        assert.same(last, both)
        assert.is_nil(os.rename(output, output))
      end
    end
    local small = file("a,b\n1\n2\n", ".csv")
    local to = path ".jsonl"
    local call = ("lb.csv(%q, { on_bad = { to = %q } }):count()"):format(small, to)
    local _, _, err = run("--errors", "json", "--max-errors", "0", "-e", call)
    assert.truthy(err:find(('"status":4,"written":["%s"]}'):format(to), 1, true), err)
    -- What cannot be written does not hide what is wrong.
    _, _, err = run("--max-errors", "0", "-e", (call:gsub('{ to = ".-" }', "{ to = '/nonexistent/lb/x' }")))
    assert.matches("^luabatch: 2 records are left out.*\n  not written: cannot write '/nonexistent/lb/x': No such file", err)
    _, _, err = run("--errors", "json", "--max-errors", "0", "-e", (call:gsub('{ to = ".-" }', "{ to = '/nonexistent/lb/x' }")))
    assert.matches('^{"left_out":%["2 in csv at [^"]*"%],', err)
    assert.truthy(err:find([[,"not_written":"cannot write '/nonexistent/lb/x': No such file or directory",]], 1, true), err)
    -- Another error: as before.
    local good = file("a,b\n1,2\n3\n", ".csv")
    to = file("old\n", ".jsonl")
    assert.equal(1, (run("-e", ("lb.csv(%q, { on_bad = { to = %q } }):map(function() error 'x' end):count()"):format(good, to))))
    assert.equal("old\n", read(to))
  end)

  it("is told when a signal comes while what reads the list lets it wait", function()
    local job = [[os.execute("mkfifo " .. arg[1]) if arg[3] then os.execute("sleep 5 < " .. arg[1] .. " &") end
      lb.range(3000):map(function(x)
        if x == 1000 then io.open(arg[2], "w"):close() end
        error "z"
      end, { on_error = { to = arg[1] } }):count()]]
    for _, signal in ipairs { { "INT", 130 }, { "TERM", 143 } } do
      for _, reader in ipairs { {}, { "has it open and does not read" } } do
        local fifo, begun = path "", path ""
        -- The threads of the run are gone.
        local waits = ("test -e '%s' && [ $(ls /proc/$pid/task | wc -l) -le 3 ] && sleep 0.1"):format(begun)
        local status, out, err = support.signal(signal[1], waits, "--threads", "8", "--max-errors", "1000", "-e", job, fifo, begun,
          unpack(reader))
        assert.same({ signal[2], "" }, { status, out })
        assert.matches("^luabatch: %d+ records are left out, and %-%-max%-errors allows 1000\n.*\n  not written: interrupted\n", err)
      end
    end
  end)

  it("says where the first of too many records is", function()
    local bad = file("a,b\n1,2\n3\n4\n", ".csv")
    local _, _, err = run("--max-errors", "0", "-e", ("lb.csv(%q, { on_bad = 'skip' }):count()"):format(bad))
    assert.truthy(err:find(("1 field, not 2 (the first at %s:3)\n"):format(bad), 1, true), err)
    _, _, err = run("--max-errors", "0", "-e",
      ("lb.text(%q):map(function(s) return s == '3' and s.x.y or s end, { on_error = 'skip' }):count()"):format(bad))
    assert.truthy(err:find((" (at %s:3)\n"):format(bad), 1, true), err)
    _, _, err = run("--errors", "json", "--max-errors", "0", "-e", ("lb.csv(%q, { on_bad = 'skip' }):count()"):format(bad))
    assert.equal(('{"left_out":["2 in csv at %s: 1 field, not 2 (the first at %s:3)"],'):format(bad, bad)
      .. '"message":"2 records are left out, and --max-errors allows 0","status":4}\n', err)
  end)

  it("takes too many instructions for an error of the function, not of the data", function()
    if rawget(_G, "jit") then return end
    local input = file("x\n")
    local chunk_text = ("lb.text(%q):map(function(s) while true do end end, { on_error = 'skip' }):count()"):format(input)
    local status, _, err = run("--max-instructions", "1000", "-e", chunk_text)
    assert.equal(0, status)
    assert.truthy(err:find("1 in map at (command line):1 (the function executed more than 1000 instructions", 1, true), err)
    assert.truthy(err:find(("it is at %s:1)"):format(input), 1, true), err)
    assert.equal(1, (run("--max-instructions", "1000", "--max-errors", "0", "-e", chunk_text)))
  end)

  it("leaves no output, and old ones as they were, when it is too much or a later step fails", function()
    local input = make(3000, 200)
    local folder = path ""
    assert.equal(0, (run("-e", ("lb.range(3):save_text(%q)"):format(folder .. "/"))))
    local function list(place)
      local pipe = io.popen(("find %q ! -type d -exec sha1sum {} + 2>/dev/null | sort"):format(place))
      local names = pipe:read("a")
      pipe:close()
      return names
    end
    local saves = {
      ':map(function(r) return r.a .. "" end):save_text(%q)', ":save_csv(%q)", ":save_json(%q)", ":save(%q)",
      ':save_csv(%q, { mode = "append" })', ':save_json(%q, { mode = "overwrite" })', ':save(%q, { mode = "overwrite" })',
    }
    local folders = {
      ':save_csv(%q, { mode = "append" })', ":save_text(%q)", ':save_json(%q, { mode = "overwrite" })',
      ':with_columns({ year = "a %% 3" }):save_csv(%q, { partition_by = "year" })',
      ':with_columns({ year = "a %% 3" }):save_tsv(%q, { partition_by = "year", mode = "append" })',
      ':with_columns({ year = "a %% 3" }):save_json(%q, { partition_by = "year", mode = "overwrite" })',
    }
    -- Too much is left out; the file for it has no place; its name is a folder's.
    local ways = {
      { { "--max-errors", "3" }, '"skip"', 1 }, { {}, '{ to = "/nonexistent/lb/x.json" }', 5 }, { {}, ("{ to = %q }"):format(folder), 5 },
    }
    local function attempt(save, output, is_old)
      for _, way in ipairs(ways) do
        if is_old and not save:find("mode", 1, true) then return end
        local before = is_old and list(output) or ""
        local args = { "--threads", "2", table.unpack(way[1]) }
        args[#args + 1], args[#args + 2] = "-e", chunk(input, way[2], '"skip"', save:format(output))
        local status, _, err = run(table.unpack(args))
        assert.is_true(status ~= 0, save .. err)
        assert.equal(before, list(output), save .. err)
      end
    end
    for _, save in ipairs(saves) do
      local output = path ".out"
      attempt(save, output, false)
      assert.is_nil(os.rename(output, output))
      assert(io.open(output, "w")):close()
      attempt(save, output, true)
    end
    for _, save in ipairs(folders) do
      local output = path "/"
      attempt(save, output, false)
      assert.is_nil(os.rename(output, output))
      assert.equal(0, (run("-e", ("lb.range(3):save_text(%q)"):format(output))))
      attempt(save, output, true)
    end
  end)

  it("does not count behind a limit", function()
    local input = make(100000, 500)
    local first
    for _, threads in ipairs { "1", "2", "3", "8" } do
      local to = path ".json"
      local status, out, err = run("--threads", threads, "-e",
        chunk(input, ("{ to = %q }"):format(to), '"skip"', ":map(function(r) return r.a end):take(20000)[20000]"))
      assert.equal(0, status)
      local told = out .. err .. read(to)
      first = first or told
      assert.equal(first, told)
    end
  end)

  it("ends with the first error in the order of the input", function()
    local input = make(400000, 100000)
    for _, case in ipairs {
      chunk(input, '"skip"', '"fail"'), chunk(input, '"fail"', '"skip"'),
      chunk(input, '"skip"', '"fail"', ":map(function(r) return r.b, r.a end):reduce_by_key(math.max):count()"),
      chunk(input, '"skip"', '"fail"', (":order_by 'b':save_csv(%q)"):format(path ".csv")),
    } do
      local first
      for _, threads in ipairs { "1", "2", "3", "8" } do
        local status, _, err = run("--threads", threads, "--quiet", "-e", case)
        assert.is_true(status == 1 or status == 4, ("status %s: %s"):format(status, err))
        first = first or err
        assert.equal(first, err)
      end
    end
  end)

  it("does not wait long for records before one that failed", function()
    local lines = {}
    for i = 1, 300000 do lines[i] = ("%d\n"):format(i) end
    local input = file(table.concat(lines))
    local start = os.time()
    local status, _, err = run("--threads", "2", "-e", ([[lb.text(%q):map(function(s)
      if s == "1" then while true do pcall(error) end end
      error("late")
    end):count()]]):format(input))
    assert.equal(1, status)
    assert.matches("late", err)
    assert.is_true(os.time() - start < 30)
  end)

  it("is the same for every reader of records", function()
    local csv, json = "a,b\n1,2\n3\n", '{"a":1,"b":2}\n{"a":\n'
    for _, compress in ipairs { "cat", "gzip -c", "zstd -qc", "lz4 -qc", "bzip2 -c" } do
      local ending = ({ cat = "", gzip = ".gz", zstd = ".zst", lz4 = ".lz4", bzip2 = ".bz2" })[compress:match("%a+%d?%d?")]
      for _, case in ipairs { { "csv", csv, "fields" }, { "tsv", csv:gsub(",", "\t"), "fields" }, { "json", json, "syntax" } } do
        local plain, input, to = file(case[2]), path("." .. case[1] .. ending), path ".jsonl"
        if os.execute(("%s %s > %s 2> /dev/null"):format(compress, plain, input)) then
          local status, out, err = run("-e", ("lb.%s(%q, { on_bad = { to = %q } }):count()"):format(case[1], input, to))
          assert.same({ 0, "1\n" }, { status, out }, err)
          local line = case[1] == "json" and 2 or 3
          assert.matches(("^luabatch: 1 record skipped: 1 in .* %%(%s: .*; it is at line %d%%)\n$"):format(case[1], line), err)
          assert.matches(('^{"byte":%%d+,"file":"[^"]*","kind":"%s","line":%d,"message":"[^\n]*","raw":"[^\n]*"}\n$')
            :format(case[3], line), read(to))
        end
      end
    end
    local to = path ".jsonl"
    local status, out, told = support.shell(
      ("printf 'a,b\\n1,2\\n3\\n' | luabatch -e 'lb.csv(\"-\", { on_bad = { to = %q } }):count()'"):format(to))
    assert.same({ 0, "1\n" }, { status, out })
    assert.matches("1 in standard input %(csv: 1 field, not 2; it is at line 3%)", told)
    assert.truthy(read(to):find('"file":"-","kind":"fields","line":3', 1, true))
    -- A file must not take the place of what is read.
    local input = file("x\n")
    local _, _, err = run("-e", ("lb.text(%q):map(error, { on_error = { to = %q } }):count()"):format(input, input))
    assert.matches("on_error = { to = .* } would replace it, which is read", err)
    assert.equal("x\n", read(input))
    -- Nor be lost when the output takes its place.
    local bad, folder = file("a,b\n1\n", ".csv"), path "/"
    assert(os.execute("mkdir " .. folder))
    for _, output in ipairs { bad .. ".out", folder } do
      local side = output == folder and folder .. "bad.jsonl" or output
      local failed, _, message = run("-e", ("lb.csv(%q, { on_bad = { to = %q } }):save_csv(%q, { mode = 'overwrite' })")
        :format(bad, side, output))
      assert.equal(1, failed)
      assert.matches("on_bad = { to = .* } and the output .* would replace each other", message)
    end
    -- However the file is spelt, by a link, and behind a checkpoint.
    local name, link = folder:match "([^/]+)/$", path ".link"
    assert(os.execute(("ln -s %s %s"):format(folder, link)))
    for _, side in ipairs { folder .. "../" .. name .. "/new/bad.jsonl", link .. "/bad.jsonl" } do
      for _, step in ipairs { "", ":checkpoint('kept')" } do
        local failed, _, message = run("--checkpoint-dir", path ".checkpoints", "-e",
          ("lb.csv(%q, { on_bad = { to = %q } })%s:save_csv(%q, { mode = 'overwrite' })"):format(bad, side, step, folder))
        assert.equal(1, failed)
        assert.matches("and the output .* would replace each other", message)
      end
    end
    status, _, err = run("-e", ("lb.csv(%q, { on_bad = { to = %q } }):save_csv(%q, { mode = 'append' })")
      :format(bad, folder .. "bad.jsonl", folder))
    assert.equal(0, status, err)
  end)
end)

describe("--replay", function()
  after_each(support.clean)

  -- Runs a chunk that fails, and its call again.
  local function again(text, option, value)
    local directory = path "/"
    assert(os.execute("mkdir " .. directory))
    local status, _, err = run("--replay-dir", directory, option or "--threads", value or "2", "-e", text)
    assert.equal(1, status, err)
    local bundle = err:match("\n  replay with: luabatch %-%-replay ([^\n]*)\n$")
    assert.truthy(bundle, err)
    local replayed, out, problem = run("--replay", bundle)
    return err, replayed, out, problem, bundle
  end
  -- Message, step and traceback, without the place of the record.
  local function essence(err)
    return (err:gsub("\n  record [^\n]*", ""):gsub("\n  it was [^\n]*", ""):gsub("\n  replay with[^\n]*", ""))
  end

  it("takes nothing else", function()
    for _, word in ipairs { "more", "config", "-e" } do
      local status, out, err = run("--replay", "a.replay", word, word == "-e" and "print(1)" or "more")
      local wanted = ("luabatch: --replay makes one call again and takes nothing else, got '%s'\n"):format(word)
      assert.same({ 2, "", wanted }, { status, out, err })
    end
  end)

  it("fails as the call did, for every verb", function()
    local input = file("a,b\n1,x\n2,y\n3,z\n", ".csv")
    local rows = ("lb.csv(%q)"):format(input)
    local fail = "(function() local limit = { n = 2 } return function(v) "
      .. "if v == limit.n then local t = nil return t.x end return v end end)()"
    for _, text in ipairs {
      rows .. ":map(function(r) return f(r.a) end):collect()",
      rows .. ":filter(function(r) return f(r.a) and r.nothing end):collect()",
      rows .. ":with_columns({ c = function(r) return f(r.a) end }):collect()",
      rows .. ":map(function(r) return r.b, r.a end):map_values(f):collect()",
      rows .. ":map(function(r) return r.b, r.a end):reduce_groups(function(k, vs, emit) for v in vs do emit(k, f(v)) end end):collect()",
      rows .. ":map(function(r) return 'k', r.a end):reduce_by_key(function(a, b) return f(a) + f(b) end):collect()",
      rows .. ":map(function(r) return r.a end):map_partitions(function(it, emit) for v in it do emit(f(v)) end end):collect()",
      rows .. ":map(function(r) return r.a end):fold(0, function(a, b) return a + f(b) end)",
      rows .. ":agg({ m = lb.aggregate({ init = function() return 0 end, step = function(s, r) return s + f(r.a) end, "
        .. "merge = function(a, b) return a + b end }) }):collect()",
      ("lb.job({ mapper_init = function(task) task.n = 1 end, mapper = function(_, l, emit, task) emit(f(#l + task.n - 2), 1) end })"
        .. ":dataset(%q):collect()"):format(input),
      "lb.range(3):sort_by(function(v) f(v) end):collect()",
    } do
      local err, status, out, problem = again(("f = %s  return %s"):format(fail, text))
      assert.same({ 1, "" }, { status, out }, problem)
      assert.equal(essence(err), essence(problem))
    end
  end)

  it("gives what the call gives, and names the place where it failed first", function()
    local flag, input = path(), file("a\nb\n")
    local text = ([[lb.text(%q):map(function(l)
      if l == "b" and not io.open(%q) then error("no file") end
      return l, #l
    end):collect()]]):format(input, flag)
    local _, status, _, problem, bundle = again(text)
    assert.equal(1, status)
    assert.truthy(problem:find(("\n  it was record %s:2 (byte 2): b\n"):format(input), 1, true), problem)
    assert(os.execute("touch " .. flag))
    local ok, out, err = run("--replay", bundle)
    assert.same({ 0, '{"b",1}\n', "luabatch: the call succeeds\n" }, { ok, out, err })
    -- With the limit of time that it had; the JSON form names the file.
    assert.equal(1, (select(2, again("lb.range(2):map(function() while true do pcall(error) end end):count()", "--record-timeout", "0.2"))))
    local directory = path "/"
    assert(os.execute("mkdir " .. directory))
    err = select(3, run("--replay-dir", directory, "--errors", "json", "-e", "lb.range(2):map(function() error('x') end):count()"))
    assert.matches('"replay":"' .. directory:gsub("%p", "%%%0") .. '/?map%-1.replay"', err)
  end)

  it("makes the first call again that was skipped at a place, the same for any number of threads", function()
    local input = make(30000, 700)
    local text = chunk(input, '"skip"', '"skip"',
      ":map(function(r) if r.b % 512 == 0 then error({ r.a }) end end, { on_error = 'skip' }):count()")
    local first
    for _, threads in ipairs { "1", "2", "3", "8" } do
      local directory = path "/"
      local status, _, err = run("--threads", threads, "--replay-dir", directory, "-e", text)
      assert.equal(0, status, err)
      assert.equal(2, select(2, err:gsub("; replay with: luabatch %-%-replay [^ ]*/%w*%-1.replay%)", "")), err)
      local told = read(directory .. "filter-1.replay") .. read(directory .. "map-1.replay")
      first = first or told
      assert.equal(first, told)
      local problem = select(3, run("--replay", directory .. "filter-1.replay"))
      assert.matches("^luabatch: seven: %d*7\n  in filter\n.*\n  it was record [^\n]*%.csv:%d+ %(byte %d+%)\n$", problem)
      assert.matches("^luabatch: {%d+}\n  in map\n", (select(3, run("--replay", directory .. "map-1.replay"))))
    end
    -- When too many are left out, the first of them.
    local status, _, err = run("--max-errors", "1", "--replay-dir", path "/", "-e",
      "lb.range(9):map(function(n) error('no ' .. n, 0) end, { on_error = 'skip' }):count()")
    assert.equal(1, status)
    local problem = select(3, run("--replay", err:match("\n  replay with: luabatch %-%-replay ([^\n]*)\n$")))
    assert.matches("^luabatch: no 1\n  in map\n", problem)
    -- With no place for it the run ends well.
    local out
    status, out, err = run("--replay-dir", path "/", "-e", [[io.open(arg[1], "w"):close()
      return lb.range(2):map(error, { on_error = "skip" }):count()]], path "/x")
    assert.is_true(status == 0 or status == 1, out .. err)
  end)

  it("has all that a task saw, however many records", function()
    local lines = {}
    for i = 1, 7000 do lines[i] = i .. "\n" end
    local input = file(table.concat(lines))
    for _, case in ipairs {
      [[lb.text(%q):map_partitions(function(it, emit)
        local n = 0
        for s in it do
          n = n + #s
          if s == "6543" then error(n) end
          emit(s)
        end
      end):count()]],
      [[lb.job({
        mapper_init = function(task) task.n = 0 end, mapper = function(_, s, _, task) task.n = task.n + #s end,
        mapper_final = function(_, task) error(task.n .. " of " .. task.input) end,
      }):dataset(%q):count()]],
      [[lb.job({
        mapper = function(_, s, emit) emit(s:sub(-3), #s) emit("all", 1) end, reducers = 3,
        reducer_init = function(task) task.n = 0 end,
        reducer = function(k, list, emit, task)
          task.n = task.n * 7 %% 1000003 + #k
          if k ~= "333" then for v in list do task.n = task.n + v end end
        end,
        reducer_final = function(_, task) error(task.n) end,
      }):dataset(%q):count()]],
      [[lb.job({
        mapper = function(_, s, _, task)
          if #s == 4 then error(s) end
          task.n = (task.n or 0) + #s
        end,
        mapper_final = function(_, task) error(task.n) end, on_error = "skip",
      }):dataset(%q):count()]],
      [[lb.text(%q):map(function(s) return { n = #s, s = s } end):select("n", "s"):window({
        order_by = "s", rows = { -2500, 0 }, m = lb.over(function(f)
          local n = 0
          for r in f do
            n = n + #r.s
            if r.s == "6543" then error(n .. " " .. #f .. f[#f].s) end
          end
        end),
      }):count()]],
      [[lb.from({ { v = 1 }, { v = 2 } }):window({
        order_by = "v", rows = { 1, 1 }, m = lb.over(function(f) return #f > 0 and f or error("empty") end),
      }):count()]],
      [[lb.from({ { v = 1 }, { v = 2 } }):window({
        order_by = "v", rows = { 1, 1 }, m = lb.over(function(f) return #f > 0 or error("empty") end),
      }):count()]],
      "lb.range(9):repartition(2):map_partitions(function(it) local n = it() error(n) end):count()",
    } do
      local err, status, out, problem = again(case:format(input))
      assert.same({ 1, "" }, { status, out }, problem)
      assert.equal(essence(err), essence(problem))
    end
  end)

  it("runs nothing of a file that is not as it was written", function()
    local module = path "/"
    assert(os.execute("mkdir " .. module))
    local function say(what)
      local out = assert(io.open(module .. "spoken.lua", "w"))
      out:write(("return function(n) error('%s ' .. n, 0) end"):format(what))
      out:close()
    end
    say "old"
    local env = ("LUA_PATH='%s?.lua' luabatch "):format(module)
    local directory = path "/"
    local _, _, err = support.shell(env .. "--replay-dir " .. directory
      .. " -e 'local limit = 1 lb.range(3):map(function(n) if n > limit then require(\"spoken\")(n) end end):count()'")
    local bundle = directory .. "map-1.replay"
    assert.matches("^luabatch: old 2\n.*\n  replay with: luabatch %-%-replay ", err)
    -- Modules are required again, as they are now.
    say "new"
    local status, _, problem = support.shell(env .. "--replay " .. bundle)
    assert.same({ 1, "luabatch: new 2" }, { status, problem:match("^[^\n]*") })
    status, _, problem = run("--replay", bundle)
    assert.equal(1, status)
    assert.matches("^luabatch: [^\n]*module 'spoken' not found:", problem)
    local text, known = read(bundle), { damaged = true, version = true, kind = true }
    for i = 1, 24 do
      local bad
      if i % 3 == 0 then
        bad = text:sub(1, math.random(0, #text - 1))
      else
        local at = math.random(#text)
        bad = text:sub(1, at - 1) .. string.char((text:byte(at) + math.random(255)) % 256) .. text:sub(at + 1)
      end
      local name = file(bad)
      status, _, problem = run("--replay", name)
      local what = problem:find(" is damaged\n$") and "damaged" or problem:find(" another version of luabatch\n$") and "version"
        or problem:find(": this is not a file written by %-%-replay%-dir\n$") and "kind"
      assert.same({ 2, true }, { status, known[what] }, problem)
    end
    -- What cannot travel to workers is told when the action begins: there is no call.
    local other = path "/"
    status, _, err = run("--replay-dir", other, "-e",
      "local co = coroutine.create(print) lb.range(3):map(function() return co end):count()")
    assert.equal(1, status)
    assert.truthy(err:find("is a coroutine: it cannot travel to workers", 1, true), err)
    assert.is_nil(io.open(other))
  end)

  it("needs a directory, and a file of its own kind", function()
    local status, _, err = run("--replay-dir", file("x") .. "/calls", "-e", "1")
    assert.equal(2, status)
    assert.matches("^luabatch: %-%-replay%-dir: cannot write in '[^\n]*[^/\n]': Not a directory\n$", err)
    for _, bad in ipairs { file("luabatch replay 1\nxx"), file("luabatch replay 2\nxx"), file("hello"), "/nonexistent" } do
      status, _, err = run("--replay", bad)
      assert.equal(2, status)
      assert.matches("^luabatch: .*" .. bad:gsub("%p", "%%%0"), err)
    end
    -- It is made, with those above it, when there is something to put into it.
    local deep = path "/a/b/"
    run("--replay-dir", deep, "-e", "lb.range(2):count()")
    assert.is_nil(io.open(deep))
    status, _, err = run("--replay-dir", deep, "-e", "lb.range(2):map(function() error('x') end):count()")
    assert.equal(1, status)
    assert.matches("replay with: luabatch %-%-replay " .. deep:gsub("%p", "%%%0") .. "map%-1.replay", err)
    assert.truthy(io.open(deep .. "map-1.replay"))
    -- Errors of other kinds leave nothing there.
    local directory = path "/"
    assert(os.execute("mkdir " .. directory))
    run("--replay-dir", directory, "-e", "lb.csv('/nonexistent'):count()")
    assert.equal("", select(2, support.shell("ls " .. directory)))
  end)

  it("measures the time in which the process ran", function()
    local begun = path()
    local status, out, err = support.shell(([[
      %s --record-timeout 2 -e 'lb.range(50):map(function(n)
        io.open("%s", "w"):close()
        local t = os.clock()
        while os.clock() < t + 0.02 do end
        return n
      end):sum()' &
      while [ ! -e %s ] && kill -0 $!; do sleep 0.05; done; kill -STOP $!; sleep 2.5; kill -CONT $!; wait $!]]):format(
      support.quote(support.program), begun, begun))
    assert.same({ 0, "1275\n", "" }, { status, out, err })
  end)

  it("names files in one line, whatever their names", function()
    local name = path "a\nb.txt"
    assert(os.execute(("printf 'x\\n' > \"$(printf '%s')\""):format((name:gsub("\n", "\\n")))))
    local shown = name:gsub("\n", "\\x0a")
    local status, _, err = run("-e", "lb.text(arg[1]):map(function(s) return s + 1 end)", name)
    assert.equal(1, status)
    assert.truthy(err:find("\n  record " .. shown .. ":1 (byte 0): x\n", 1, true), err)
    status, _, err = run("--errors", "json", "-e", "lb.text(arg[1]):map(function(s) return s + 1 end)", name)
    assert.equal(1, status)
    assert.truthy(err:find('"record":"' .. shown:gsub("\\", "\\\\") .. ":1 (byte 0): x", 1, true), err)
  end)
end)
