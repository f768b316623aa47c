--- Saves of jobs that went on with --resume: each is done once, whatever its mode, and none on top of what is false by now.
local support = require "tests.cli.support"
local assert, ipairs, math, pairs, select = assert, ipairs, math, pairs, select

local folder, sh, write

describe("a save that stands on a checkpoint", function()
  before_each(function()
    folder, sh, write = support.folder "-saves"
  end)
  after_each(support.clean)

  it("adds to one path what several saves add, once each, though they are the same", function()
    write("add.lua", [[
      local lb = require "luabatch"
      local rows = lb.range(3):checkpoint "rows"
      local function add(path, records) return records:save_text(path, { mode = "append" }) end
      add("log", rows) add("log", rows) add("log", rows:map(function(n) return n * 10 end)) add("logs/", rows) add("logs/", rows)
      if os.getenv "STOP" then error "stop" end
      add("log", rows)]])
    for _, old in ipairs { "", "echo old > log; " } do
      assert.equal(1, (sh(old .. "STOP=1 luabatch --quiet add.lua")))
      assert.equal(1, (sh "STOP=1 luabatch --resume --quiet add.lua"))
      assert.same({ 0, "", "" }, { sh "luabatch --resume --quiet add.lua" })
      local _, out = sh "grep -v old log | tr '\\n' ' '; cat logs/part* | wc -l; rm -rf log logs"
      assert.equal("1 2 3 1 2 3 10 20 30 1 2 3 6\n", out)
    end
    -- What others changed meanwhile is not for us to judge.
    assert.equal(1, (sh "STOP=1 luabatch --quiet add.lua"))
    local status, _, err = sh "echo more >> log; luabatch --resume add.lua"
    assert.equal(1, status)
    assert.truthy(err:find("save_text: log has changed since the job that was killed added to it", 1, true), err)
  end)

  it("knows a path by whatever name a save has for it", function()
    write("add.lua", [[
      local lb = require "luabatch"
      local rows = lb.range(2):checkpoint "rows"
      for i, path in ipairs { "log", "./log", "link/log", "logs/", "link//logs/" } do
        rows:map(function(n) return i * 10 + n end):save_text(path, { mode = "append" })
      end
      if os.getenv "STOP" then error "stop" end]])
    sh "ln -s . link"
    assert.equal(1, (sh "STOP=1 luabatch --quiet add.lua"))
    assert.equal(1, (sh "STOP=1 luabatch --resume --quiet add.lua"))
    assert.same({ 0, "", "" }, { sh "luabatch --resume --quiet add.lua" })
    assert.equal("11 12 21 22 31 32 41 42 51 52 ", (select(2, sh "cat log logs/* | tr '\\n' ' '")))
    sh "rm -r log logs"
    assert.equal(1, (sh "STOP=1 luabatch --quiet add.lua"))
    local status, _, err = sh "echo more >> log; luabatch --resume add.lua"
    assert.equal(1, status)
    assert.truthy(err:find("save_text: log has changed since the job that was killed added to it", 1, true), err)
  end)

  it("does not take the place of what came to its path after the kill", function()
    write("save.lua", [[
      local lb = require "luabatch"
      lb.range(3):checkpoint("rows"):map(function(n)
        if n == 3 and os.getenv "STOP" then os.execute "kill -KILL $PPID; sleep 10" end
        return n
      end):save_text(arg[1], { mode = arg[2] })]])
    for _, path in ipairs { "out", "out/" } do
      for mode, want in pairs { error = "mine ", append = "mine ", overwrite = "1 2 3 ", ignore = "mine " } do
        local begun = ("luabatch --resume --quiet save.lua %s %s"):format(path, mode)
        assert.equal(137, (sh("rm -rf out; STOP=1 %s; s=$?; exit $s", begun)))
        assert.equal(0, (sh("luabatch -e 'lb.from { \"mine\" }:save_text(arg[1])' %s", path)))
        local status, _, err = sh(begun)
        local what = path .. " " .. mode .. ": " .. err
        assert.equal(mode == "error" and 2 or mode == "append" and 1 or 0, status, what)
        if mode == "error" then assert.truthy(err:find(path .. " exists", 1, true), what) end
        assert.equal(want, (select(2, sh "cat out out/* 2> /dev/null | tr '\\n' ' '")), what)
      end
    end
  end)

  it("does not add to a path what the killed job added of other inputs", function()
    write("add.lua", [[
      local lb = require "luabatch"
      lb.text("one.txt"):checkpoint("one"):save_text("log", { mode = "append" })
      if os.getenv "STOP" then error "stop" end]])
    for _, path in ipairs { "log", "log/" } do
      sh(("rm -rf log; sed -i 's,\"log/*\",\"%s\",' add.lua"):format(path))
      assert.equal(1, (sh "echo a > one.txt; STOP=1 luabatch --quiet add.lua"))
      local status, _, err = sh "echo b > one.txt; luabatch --resume --quiet add.lua"
      assert.same({ 1, "a\n" }, { status, (select(2, sh "cat log log/part* 2>/dev/null")) })
      assert.truthy(err:find(("save_text: the job that was killed added its records to %s already, and one.txt has changed since")
        :format(path), 1, true), err)
    end
  end)

  it("writes a path anew and adds to it, once each", function()
    write("add.lua", [[
      local lb = require "luabatch"
      local rows = lb.text("one.txt"):checkpoint "rows"
      rows:save_text("log", { mode = os.getenv "MODE" })
      rows:map(function(line) return line .. "!" end):save_text("log", { mode = "append" })
      if os.getenv "STOP" then error "stop" end
      rows:save_text("log", { mode = "append" })]])
    for _, mode in ipairs { "overwrite", "error", "append" } do
      assert.equal(1, (sh("rm -f log; echo a > one.txt; MODE=%s STOP=1 luabatch --quiet add.lua", mode)))
      assert.equal(1, (sh("MODE=%s STOP=1 luabatch --resume --quiet add.lua", mode)))
      assert.same({ 0, "", "" }, { sh("MODE=%s luabatch --resume --quiet add.lua", mode) })
      assert.equal("a a! a ", (select(2, sh "tr '\\n' ' ' < log")))
    end
    -- Of other inputs, what was added before goes with what it was added to.
    assert.equal(1, (sh "echo a > one.txt; MODE=overwrite STOP=1 luabatch --quiet add.lua"))
    assert.equal(1, (sh "echo b > one.txt; MODE=overwrite STOP=1 luabatch --resume --quiet add.lua"))
    assert.same({ 0, "", "" }, { sh "MODE=overwrite luabatch --resume --quiet add.lua" })
    assert.equal("b b! b ", (select(2, sh "tr '\\n' ' ' < log")))
  end)

  it("writes a path twice, each anew, though the second was finished", function()
    write("twice.lua", [[
      local lb = require "luabatch"
      local rows = lb.range(3):checkpoint "rows"
      rows:save_text("scratch", { mode = "overwrite" })
      print(lb.text("scratch"):count())
      rows:limit(1):save_text("scratch", { mode = "overwrite" })
      if os.getenv "STOP" then error "stop" end]])
    assert.equal(1, (sh "STOP=1 luabatch --quiet twice.lua"))
    assert.same({ 0, "3\n", "" }, { sh "luabatch --resume --quiet twice.lua" })
    assert.equal("1\n", (select(2, sh "cat scratch")))
  end)

  it("does not add to a path what the killed job added by another plan", function()
    write("add.lua", [[
      local lb = require "luabatch"
      lb.range(2):checkpoint("one"):map(function(n) return n * 10 end):save_text("log", { mode = "append" })
      if os.getenv "STOP" then error "stop" end]])
    assert.equal(1, (sh "STOP=1 luabatch --quiet add.lua"))
    local status, _, err = sh "sed -i 's/10/20/' add.lua; luabatch --resume --quiet add.lua"
    assert.same({ 1, "10\n20\n" }, { status, (select(2, sh "cat log")) })
    assert.truthy(err:find("save_text: the job that was killed added its records to log already, and its plan is another", 1, true), err)
    -- Where its records are not any more there is nothing to tell.
    assert.equal(0, (sh "rm log; luabatch --resume --quiet add.lua"))
    assert.equal("20\n40\n", (select(2, sh "cat log")))
  end)

  it("judges finished saves by --max-errors, too", function()
    write("skips.lua", [[
      local lb = require "luabatch"
      lb.range(10):checkpoint("ten"):map(function(n) if n % 3 == 0 then error "no" end return n end, { on_error = "skip" })
        :save_text("log", { mode = "append" })
      if os.getenv "STOP" then error "stop" end]])
    assert.equal(1, (sh "STOP=1 luabatch --quiet skips.lua"))
    local status, _, err = sh "luabatch --resume --max-errors 2 skips.lua"
    assert.equal(1, status)
    assert.truthy(err:find("--max-errors", 1, true), err)
    status, _, err = sh "luabatch --resume --max-errors 3 skips.lua"
    assert.equal(0, status, err)
    assert.same({ 0, "7\n", "" }, { sh "cat log | wc -l; rm log" })
  end)

  it("says what it is that cannot be added to again", function()
    write("add.lua", [[
      local lb = require "luabatch"
      lb.text(os.getenv "FROM"):checkpoint("one"):save_text("log", { mode = "append" })
      if os.getenv "STOP" then error "stop" end]])
    local before = "luabatch: save_text: the job that was killed added its records to log already, and "
    assert.equal(1, (sh "echo a > one.txt; FROM='*.txt' STOP=1 luabatch --quiet add.lua"))
    local status, _, err = sh "echo b > two.txt; FROM='*.txt' luabatch --resume --quiet add.lua"
    assert.same({ 1, before .. "the list of its inputs has changed since: they would be there twice" }, { status, err:match("[^\n]*") })
    assert.equal(1, (sh "rm log; echo a | FROM=- STOP=1 luabatch --quiet add.lua"))
    status, _, err = sh "echo a | FROM=- luabatch --resume --quiet add.lua"
    assert.same({ 1, before .. "it reads standard input, which cannot be checked: they would be there twice" },
      { status, err:match("[^\n]*") })
    assert.equal(1, (sh "rm log; mkfifo pipe; (echo a > pipe) & FROM=pipe STOP=1 luabatch --quiet add.lua"))
    status, _, err = sh "rm pipe; echo a > pipe; FROM=pipe luabatch --resume --quiet add.lua"
    assert.same({ 1, before .. "what it had read could not be checked: they would be there twice" }, { status, err:match("[^\n]*") })
  end)

  it("is judged by what its checkpoints leave out, too", function()
    write("skips.lua", [[
      local lb = require "luabatch"
      lb.range(10):map(function(n) if n % 3 == 0 then error "no" end return n end, { on_error = "skip" }):checkpoint "left":checkpoint "all"
        :save_text("log", { mode = "overwrite" })
      if os.getenv "STOP" then error "stop" end]])
    assert.equal(1, (sh "STOP=1 luabatch --quiet skips.lua"))
    local status, _, err = sh "luabatch --resume --max-errors 2 skips.lua"
    assert.equal(1, status)
    assert.truthy(err:find("checkpoint 'left' is computed anew: it leaves out 3 records, and --max-errors allows 2", 1, true), err)
    assert.falsy(err:find("written already", 1, true), err)
    status, _, err = sh "luabatch --resume --max-errors 3 skips.lua"
    assert.equal(0, status, err)
    assert.truthy(err:find("log is written already, 7 records", 1, true), err)
  end)

  it("goes on where a later save has replaced its records, whatever its mode", function()
    write("twice.lua", [[
      local lb = require "luabatch"
      local rows = lb.range(2):checkpoint "rows"
      local function save(add, mode) rows:map(function(n) return n + add end):save_text("log", { mode = mode }) end
      local stop, steps = os.getenv "STOP", 0
      local function step() steps = steps + 1 if stop == tostring(steps) then error "stop" end end
      save(10, os.getenv "MODE") step()
      save(20, "append") step()
      io.write((lb.text("log"):map(tonumber):sum()), " ")
      save(30, "overwrite") step()
      save(40, "append") step()]])
    for _, mode in ipairs { "error", "append", "overwrite", "ignore" } do
      for _, old in ipairs(mode == "append" and { "rm -f log", "echo 9 > log" } or { "rm -f log" }) do
        for second = mode == "append" and 1 or 2, 4, mode == "append" and 1 or 2 do
          local first = 3 + math.floor(second / 2) % 2
          local stops = ("%s, stop %d, then %d, %s"):format(mode, first, second, old)
          assert.equal(1, (sh("%s; MODE=%s STOP=%d luabatch --quiet twice.lua", old, mode, first)), stops)
          local status, _, err = sh("MODE=%s STOP=%d luabatch --resume --quiet twice.lua", mode, second)
          assert.matches("twice.lua:5: stop", err, stops)
          assert.equal(1, status, stops)
          -- What the path held before the job is gone for good.
          assert.same({ 0, "66 ", "" }, { sh("MODE=%s luabatch --resume --quiet twice.lua", mode) }, stops)
          assert.equal("31 32 41 42 ", (select(2, sh "tr '\\n' ' ' < log")), stops)
        end
      end
    end
    -- Where it is gone, all of it is written again.
    write("add.lua", (support.read(folder .. "/twice.lua"):gsub("overwrite", "append")))
    for second = 1, 4, 3 do
      assert.equal(1, (sh "MODE=append STOP=4 luabatch --quiet add.lua; s=$?; rm log; exit $s"))
      assert.equal(1, (sh("MODE=append STOP=%d luabatch --resume --quiet add.lua", second)))
      assert.equal(0, (sh "MODE=append luabatch --resume --quiet add.lua"))
      assert.equal("11 12 21 22 31 32 41 42 ", (select(2, sh "tr '\\n' ' ' < log; rm log")))
    end
    -- What others have written there meanwhile is not the job's to replace.
    for mode, message in pairs {
      error = "twice.lua:3: log exists (mode = \"overwrite\" replaces it)",
      append = "save_text: log has changed since the job that was killed wrote it",
    } do
      assert.equal(1, (sh("rm -f log; MODE=%s STOP=3 luabatch --quiet twice.lua; s=$?; echo mine > log; exit $s", mode)))
      local status, _, err = sh("MODE=%s luabatch --resume --quiet twice.lua", mode)
      assert.equal(mode == "error" and 2 or 1, status)
      assert.truthy(err:find(message, 1, true), err)
      assert.equal("mine\n", (select(2, sh "cat log")))
    end
  end)

  it("with mode = 'ignore' leaves what stood there before the job, though a later save has added to it", function()
    write("mine.lua", [[
      local lb = require "luabatch"
      local rows = lb.range(2):checkpoint "rows"
      rows:save_text("log", { mode = "ignore" })
      rows:map(function(n) return n * 10 end):save_text("log", { mode = "append" })
      if os.getenv "STOP" then error "stop" end]])
    for old, wanted in pairs { ["echo mine > log; "] = "mine 10 20 ", ["rm -f log; "] = "1 2 10 20 " } do
      assert.equal(1, (sh(old .. "STOP=1 luabatch --quiet mine.lua")))
      assert.same({ 0, "", "" }, { sh "luabatch --resume --quiet mine.lua" })
      local _, out = sh "tr '\\n' ' ' < log"
      assert.equal(wanted, out)
    end
  end)

  it("goes on where the job was killed while it made a save once more", function()
    for _, mode in ipairs { "error", "append", "overwrite", "ignore" } do
      write("again.lua", ([[
        local lb = require "luabatch"
        local rows = lb.range(2):checkpoint "rows"
        rows:map(function(n)
          if os.getenv "STOP" == "inside" then error "stop" end
          return n * 10
        end):save_text("log", { mode = "%s" })
        rows:save_text("log", { mode = "overwrite" })
        if os.getenv "STOP" then error "stop" end]]):format(mode))
      assert.equal(1, (sh "rm -f log; STOP=end luabatch --quiet again.lua"))
      assert.equal(1, (sh "STOP=inside luabatch --resume --quiet again.lua"))
      local status, _, err = sh "luabatch --resume --quiet again.lua"
      assert.same({ mode, 0, "" }, { mode, status, err })
      local _, out = sh "tr '\\n' ' ' < log"
      assert.equal("1 2 ", out)
    end
  end)

  it("with mode = 'ignore' counts again what it wrote itself, and leaves what others wrote", function()
    write("ignore.lua", [[
      local lb = require "luabatch"
      local seen = lb.counter "seen"
      local rows = lb.text("one.txt"):map(function(line) seen:add(1) return line end):checkpoint "rows"
      local function save(records) return records:save_text("log", { mode = "ignore" }) end
      print(save(rows), save(rows), save(rows:map(function(line) return line .. "!" end)), seen:value())
      if os.getenv "STOP" then error "stop" end]])
    local function ran(line)
      local status, out = sh(line)
      return { status, out }
    end
    local again = "log is written already, 2 records"
    assert.same({ 1, "2\t0\t0\t2\n" }, ran "seq 2 > one.txt; STOP=1 luabatch --quiet ignore.lua; s=$?; exit $s")
    local status, out, err = sh "luabatch --resume ignore.lua"
    assert.same({ 0, "2\t0\t0\t2\n" }, { status, out }, err)
    assert.truthy(err:find(again, 1, true), err)
    assert.falsy(err:find("nothing to resume", 1, true), err)
    assert.same({ 0, "1\n2\n", "" }, { sh "cat log; ls -A | grep checkpoints; true" })
    -- Of other inputs, or by another plan, its records take the place of those.
    assert.equal(1, (sh "rm log; STOP=1 luabatch --quiet ignore.lua"))
    assert.same({ 1, "3\t0\t0\t3\n" }, ran "seq 3 > one.txt; STOP=1 luabatch --resume --quiet ignore.lua")
    sh "sed -i 's/return line end/return \"+\" .. line end/' ignore.lua"
    assert.same({ 0, "3\t0\t0\t3\n" }, ran "luabatch --resume --quiet ignore.lua")
    assert.equal("+1\n+2\n+3\n", (select(2, sh "cat log")))
    -- What is not the job's stays as it is; nothing is read for it.
    for _, stop in ipairs { "STOP=1", "" } do
      assert.same({ #stop > 0 and 1 or 0, "0\t0\t0\t0\n" }, ran(stop .. " luabatch --resume --quiet ignore.lua"))
    end
    assert.equal(1, (sh "rm log; STOP=1 luabatch --quiet ignore.lua; s=$?; rm log; echo mine > log; echo 4 > one.txt; exit $s"))
    assert.same({ 0, "0\t0\t0\t0\n" }, ran "luabatch --resume --quiet ignore.lua")
    assert.same({ 0, "mine\n", "" }, { sh "cat log; ls -A | grep checkpoints; true" })
  end)
end)
