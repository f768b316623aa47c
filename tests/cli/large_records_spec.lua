-- Records of a megabyte and more: within the memory limit, or an error that says what is too large.
local cli = require "tests.cli.support"

local tonumber = tonumber

local N = 100
local RECORDS = ("lb.range(%d):map(function(i) return i %% 10, ('x'):rep(1000000) .. i end)"):format(N)

describe("records of a megabyte", function()
  after_each(cli.clean)

  it("are sorted within the memory", function()
    for verb, result in pairs {
      ["sort_by()"] = N, ["sort_by_key()"] = N, ["reduce_groups(function(k, v, emit) emit(k, #v()) end)"] = 10,
    } do
      local status, out, err = cli.run("--memory", "32M", "--threads", "2", "--stats=json", "-e",
        ("return %s:%s:count()"):format(RECORDS, verb))
      assert.same({ 0, result .. "\n" }, { status, out }, verb .. ": " .. err)
      local peak = tonumber(err:match('"peak_bytes":(%d+)'))
      assert.is_true(peak < 48 * 1024 * 1024, ("%s: %d bytes"):format(verb, peak))
    end
  end)

  it("make lists that are too large, which is an error", function()
    for _, verb in ipairs { "group_by_key", "cogroup" } do
      local status, out, err = cli.run("--memory", "32M", "--threads", "2", "-e",
        ("return %s:map(function(_, s) return 1, s end):%s(%s):count()"):format(RECORDS, verb,
          verb == "cogroup" and "lb.from_pairs { { 1, 2 } }" or ""))
      assert.same({ 5, "" }, { status, out })
      assert.truthy(err:find("^luabatch: " .. verb .. ": the list of key 1 needs more than %d+%.%d MiB %(the memory limit is 32%.0 MiB"),
        err)
    end
  end)
end)

describe("a line beyond the memory", function()
  after_each(cli.clean)

  it("is an error that names its place, of a file and of what grows when it is decompressed", function()
    local path = cli.path ".txt"
    cli.shell(("(echo first; head -c 80000000 /dev/zero | tr '\\0' x; echo) > %s; gzip -1 -k %s"):format(path, path))
    for _, line in ipairs {
      "luabatch --memory 16M -e 'lb.text(arg[1]):count()' PATH", "luabatch --memory 16M -e 'lb.text(arg[1]):count()' PATH.gz",
      "cat PATH | luabatch --memory 16M -e 'lb.stdin():count()'",
      "luabatch --memory 16M -e 'lb.csv(arg[1], { types = { first = \"string\" } }):count()' PATH",
    } do
      local status, out, err = cli.shell((line:gsub("PATH", path)))
      assert.same({ 5, "" }, { status, out }, line)
      assert.truthy(err:find("^luabatch: [^:]+: the %a+ at byte %d+ needs more than %d+%.%d MiB %(the memory limit is 16%.0 MiB"), err)
    end
    assert.same({ 0, "2\n", "" }, { cli.run("--memory", "1G", "-e", "lb.text(arg[1]):count()", path) })
    os.remove(path .. ".gz")
  end)
end)

describe("a zstd input with a large window", function()
  after_each(cli.clean)

  it("is read when the memory has room for it, and else an error that names the file", function()
    local path = cli.path ".zst"
    assert.equal(0, (cli.shell(("seq 8000000 | zstd -qc3 --long=27 > %s"):format(path))))
    for _, safe in ipairs { "--quiet", not cli.on_luajit and "--safe" or nil } do
      local status, out, err = cli.run(safe, "--memory", "32M", "--threads", "2", "-e", "lb.text(arg[1]):count()", path)
      assert.same({ 5, "" }, { status, out })
      local head, wanted = err:match(
        "^(.-)out of memory: (%d+) bytes wanted for the window of zstd data %(the memory limit is 32%.0 MiB; see %-%-memory%)")
      assert.equal("luabatch: " .. path .. ": ", head, err)
      assert.is_true(tonumber(wanted) > 64 * 1024 * 1024)
      assert.same({ 0, "8000000\n", "" }, { cli.run(safe, "--memory", "1G", "-e", "lb.text(arg[1]):count()", path) })
    end
  end)
end)

describe("a record of a tenth of the memory", function()
  after_each(cli.clean)

  it("passes every kind of verb", function()
    local path = cli.path ".json"
    cli.shell(([[(echo '{"id":1,"s":"a"}'; echo -n '{"id":2,"s":"'
      head -c 10000000 /dev/zero | tr '\0' x; echo '"}') > %s]]):format(path))
    for chunk, result in pairs {
      ["rows:order_by(lb.desc 's'):map(function(r) return #r.s end):sum()"] = "10000001",
      ["rows:group_by('id'):agg { m = lb.max 's' }:map(function(r) return #r.m end):sum()"] = "10000001",
      ["rows:distinct():count()"] = "2",
      ["rows:join(rows, { on = 's', strategy = 'hash' }):count()"] = "2",
      ["rows:window { partition_by = 'id', order_by = 's', n = lb.row_number() }:map(function(r) return #r.s end):sum()"] = "10000001",
      ["lb.text(arg[1]):map(function(l) return 1, l .. 'x' end):group_by_key():map(function(_, l) return #l[1] + #l[2] end):sum()"] =
        "10000033",
    } do
      chunk = "rows = lb.json(arg[1]) return " .. chunk
      assert.same({ 0, result .. "\n", "" }, { cli.run("--memory", "100M", "--threads", "2", "-e", chunk, path) })
    end
  end)
end)

describe("compressed inputs of several frames", function()
  after_each(cli.clean)

  it("are read whatever each frame needs, windows of zstd beyond 128 MiB, too", function()
    local path = cli.path ".zst"
    assert.equal(0, (cli.shell(("(seq 10 | zstd -qc; seq 100000 | zstd -qc3 --long=28) > %s"):format(path))))
    local status, out, err = cli.run("--memory", "32M", "--threads", "1", "-e", "lb.text(arg[1]):count()", path)
    assert.same({ 5, "" }, { status, out })
    local wanted = err:match "bytes wanted for the window of zstd data" and err:match "out of memory: (%d+) bytes"
    assert.is_true(wanted ~= nil and tonumber(wanted) > 256 * 1024 * 1024, err)
    assert.same({ 0, "100010\n", "" }, { cli.run("--memory", "1G", "-e", "lb.text(arg[1]):count()", path) })
  end)
end)

describe("print in a worker", function()
  after_each(cli.clean)

  it("ends with status 141 when the reader is gone", function()
    local status, out, err = cli.shell "luabatch -e 'lb.range(300000):foreach(print)' | true; status=${PIPESTATUS[0]}; exit $status"
    assert.same({ 141, "", "" }, { status, out, err })
  end)
end)

describe("the memory limit", function()
  after_each(cli.clean)

  it("does not count what the script has dropped", function()
    local path = cli.file("id,x\n1,2\n", ".csv")
    local chunk = [[
      local kept = {}
      for i = 1, 30 do kept[i] = ("x"):rep(1e6) .. i end
      for round = 1, 30 do
        for i = 1, 30 do local dropped = ("y"):rep(1e5) .. i .. round end
        assert(lb.csv(arg[1]):select("id"):count() == 1)
      end
      print(#kept)]]
    assert.same({ 0, "30\n", "" }, { cli.run("--memory", "16M", "-e", chunk, path) })
  end)
end)
