-- Saving: text and the native format, files and directories, modes.
local lb = require "luabatch"
local support = require "tests.lua.support"

describe("saving", function()
  after_each(support.clean)

  local records = {
    { "a", 1 }, { "b", 2.5 }, { "c", true }, { "d", { 1, { x = "y" } } }, { "tab\there", -0.0 }, { "big", support.maxinteger },
  }

  it("save and read keep every value", function()
    local path = support.path ".lbb"
    assert.equal(#records, lb.from_pairs(records):save(path))
    local got = lb.read(path):collect()
    assert.same(records, got)
    assert.equal("float", math.type(got[5][2]))
    assert.equal(-1 / 0, 1 / got[5][2])
    assert.equal("integer", math.type(got[6][2]))
  end)

  it("save_text writes columns by tabs and tables as JSON", function()
    local path = support.path ".txt"
    assert.equal(4, lb.from_pairs({ { "a", 1 }, { "b", 2.5 }, { "c", true }, { "d", { 1, { x = "y" } } } }):save_text(path))
    assert.equal('a\t1\nb\t2.5\nc\ttrue\nd\t[1,{"x":"y"}]\n', support.read(path))
  end)

  it("save_tsv writes what lb.tsv reads back", function()
    for round = 1, 5 do
      local pieces = { "", "a", "\t", '"', ",", "\n", "\r", "é", "long enough to lie outside of a view" }
      local list = support.list(200, function(i)
        local row = { id = i, x = i % 7 == 0 and { i, "\t" } or nil }
        if i % 3 > 0 then row.s = pieces[math.random(#pieces)] .. pieces[math.random(#pieces)] .. pieces[math.random(#pieces)] end
        if round > 2 then row.x = nil end -- without tables it goes the fast way
        return row
      end)
      local path = support.path ".tsv"
      local ds = lb.from(list):map(function(r) return r end):select("id", "s", "x")
      assert.equal(200, ds:save_tsv(path))
      assert.equal("id\ts\tx\n", support.read(path):sub(1, 7))
      local got = lb.tsv(path, { types = { s = "string", x = "string" } }):collect()
      for i, row in ipairs(list) do
        assert.equal(row.s, got[i].s)
        assert.equal(row.x and ('[%d,"\\t"]'):format(i), got[i].x)
      end
      ds:save_tsv(path, { mode = "append" })
      assert.equal(400, lb.tsv(path, { types = { s = "string", x = "string" } }):count())
      assert.error_matches(function() ds:rename({ s = "t" }):save_tsv(path, { mode = "append" }) end,
        "save_tsv: cannot append: column 2 of .* is 's', that of the rows 't'")
    end
  end)

  it("save keeps rows with their names", function()
    local path = support.path ".lbb"
    local rows = {}
    for i = 1, 100 do rows[i] = { id = i, s = i % 3 > 0 and "x" .. i or nil, t = i % 5 == 0 and { i } or nil } end
    local ds = lb.from(rows):select("t", "id", "s")
    assert.equal(100, ds:save(path))
    local got = lb.read(path)
    local names = {}
    for i, column in ipairs(got:schema()) do names[i] = column.name end
    assert.same({ "t", "id", "s" }, names)
    assert.same(rows, got:collect())
    assert.same({ { n = 67 } }, got:where("s is not null"):agg({ n = lb.count() }):collect())
    assert.same({ 3, 6 }, got:filter(function(r) return r.s == nil end):map(function(r) return r.id end):take(2))
    assert.equal(100, ds:save(path, { mode = "append" }))
    assert.equal(200, lb.read(path):where("id > 0"):count())
    assert.error_matches(function() ds:rename({ s = "z" }):save(path, { mode = "append" }) end,
      "save: cannot append rows of t, id, z to .*, which has rows of t, id, s")
    assert.error_matches(function() lb.range(3):save(path, { mode = "append" }) end, "cannot append records that are no rows to")
    local other = support.path ".lbb.gz"
    lb.range(3):save(other)
    assert.error_matches(function() lb.read { path, other } end, "read: .* has rows of t, id, s, and .* records that are no rows")
    assert.same({ 1, 2, 3 }, lb.read(other):collect())
    -- Files behind each other, as cat makes them, must have the same columns, too.
    local odd = support.path ".lbb"
    ds:drop("t"):save(odd)
    local both = support.file(support.read(path) .. support.read(odd), ".lbb")
    assert.error_matches(function() lb.read(both):count() end, "damaged at byte %d+: rows of other columns behind the first ones")
    local empty = support.path ".lbb"
    assert.equal(0, ds:where("id > 1000"):save(empty))
    assert.equal(0, lb.read(empty):where("s = 'a'"):count())
    local directory = support.path() .. "/"
    ds:repartition(3):save(directory)
    assert.equal(5050, lb.read(directory):sum("id"))
  end)

  it("refuses names that promise another format", function()
    local ds = lb.from { { a = 1 } }
    assert.error_matches(function() ds:save "x.parquet" end, "save: parquet cannot be written; save_csv, save_tsv")
    assert.error_matches(function() ds:save_csv "x.parquet/" end, "save_csv: parquet cannot be written")
    assert.error_matches(function() ds:save "x.csv.gz" end,
      "save writes luabatch's own format, which lb.read reads %(such as x.lbb%); save_csv writes .csv files")
    local path = support.path ".csv"
    assert.equal(1, ds:save_json(path)) -- a text in a text file: the user knows
  end)

  it("numbers written as text come back as they were", function()
    local values = { -0.0, 0.0, 1.0, 1e15, 1e16, 2.0 ^ 53, 2.0 ^ 63, 5e-324, 2.2250738585072014e-308, 0.1, 1 / 3,
      1.7976931348623157e308, 1 / 0, -1 / 0, 0 / 0 }
    for _ = 1, 500 do
      local x = support.any_double()
      if x == x then values[#values + 1] = x end
    end
    local ds = lb.from(values):map(function(x) return { x = x } end):select("x")
    local path = support.path ".csv"
    ds:save_csv(path)
    local got = lb.csv(path, { types = { x = "float" } }):collect()
    for i, x in ipairs(values) do
      local y = got[i].x
      assert.equal(support.double_bytes(x == x and x or 0), support.double_bytes(y == y and y or 0), tostring(x))
    end
    -- A type that a sample shows keeps floats and integers apart, too.
    ds = lb.from({ { i = 1, f = support.float(1) }, { i = support.mininteger, f = -0.0 },
      { i = support.maxinteger, f = 1e300 } }):select("i", "f")
    ds:save_csv(path, { mode = "overwrite" })
    for i, row in ipairs(lb.csv(path):collect()) do
      -- A whole float becomes a number of LuaJIT, where it counts as an integer.
      local kind = not support.has_integers and i == 1 and "integer" or "float"
      assert.same({ "integer", kind }, { math.type(row.i), math.type(row.f) }, i)
    end
    assert.equal(-1 / 0, 1 / lb.csv(path):collect()[2].f)
    assert.same({ { name = "i", type = "integer" }, { name = "f", type = "float" } }, lb.csv(path):schema())
  end)

  it("modes: error, overwrite, append, ignore", function()
    local path = support.path ".txt"
    lb.range(2):save_text(path)
    local ok, err = pcall(function() lb.range(1):save_text(path) end)
    assert.is_false(ok)
    assert.equal(2, err.status)
    assert.equal("1\n2\n", support.read(path))
    assert.equal(0, lb.range(9):save_text(path, { mode = "ignore" }))
    assert.equal("1\n2\n", support.read(path))
    lb.range(3, 3):save_text(path, { mode = "append" })
    assert.equal("1\n2\n3\n", support.read(path))
    lb.range(7, 7):save_text(path, { mode = "overwrite" })
    assert.equal("7\n", support.read(path))
  end)

  it("appends to a file what is compressed as that is, and nothing else", function()
    local tools = { gzip = "gzip -c", zstd = "zstd -qc", lz4 = "lz4 -qc", bzip2 = "bzip2 -c" }
    local verbs = { save_text = "text", save_csv = "csv", save = "read" }
    local rows = lb.from({ { a = 1 } }):select("a")
    for verb, reader in pairs(verbs) do
      for kind in pairs(tools) do
        -- Of a name that says nothing of it.
        local path, plain = support.path(), support.path()
        rows[verb](rows, path, { compression = kind })
        rows[verb](rows, plain)
        for old, new in pairs { [path] = { kind, nil, "plain" }, [plain] = { "plain", kind, kind } } do
          local before = support.read(old)
          -- Before anything is computed: the run would fail for another reason.
          local lazy = rows:with_columns { a = "cast('x' as integer)" }
          local ok, problem = pcall(lazy[verb], lazy, old, { mode = "append", compression = new[2] })
          assert.is_false(ok)
          assert.matches(("%s holds %s data: %s data cannot be appended to it"):format(old, new[1], new[3]), problem.message, 1, true)
          assert.equal(2, problem.status)
          assert.equal(before, support.read(old))
        end
        assert.equal(1, rows[verb](rows, path, { mode = "append", compression = kind }))
        if reader ~= "read" then assert.equal(2, lb[reader](path):count()) end
        -- Columns are compared whatever the name.
        local other = rows:rename { a = "b" }
        if verb ~= "save_text" then
          assert.error_matches(function() other[verb](other, path, { mode = "append", compression = kind }) end, "cannot append")
        end
        local empty = support.file("")
        rows[verb](rows, empty, { mode = "append", compression = kind })
        assert.equal(1, lb.files(empty, { compression = kind }):count())
      end
    end
    -- lz4 may begin with a frame to be skipped; what is shorter than a magic number is no compressed data.
    local path = support.file("\80\42\77\24\0\0\0\0", ".lz4")
    rows:save_text(path, { mode = "append" })
    assert.same({ "1" }, lb.text(path):collect())
    assert.error_matches(function() rows:save_text(support.file("\31", ".gz"), { mode = "append" }) end, "holds plain data")
    -- Text that only begins so, which nobody but the user can know.
    local odd = support.file("\31\139\8\255 text\n")
    assert.error_matches(function() rows:save_text(odd, { mode = "append" }) end, "holds gzip data: plain data cannot be appended")
    for _, threads in ipairs { 1, 3 } do
      support.with({ threads = threads }, function() rows:save_text(odd, { mode = "append", compression = "none" }) end)
    end
    assert.equal("\31\139\8\255 text\n1\n1\n", support.read(odd))
    assert.error_matches(function() rows:save_text(odd, { mode = "append", compression = "zstd" }) end, "holds gzip data")
    local named, folder = support.path(".gz"), support.path("/")
    rows:save_text(named, { compression = "none" })
    assert.equal("1\n", support.read(named))
    rows:save_csv(folder, { compression = "none" })
    assert.equal("a\n1\n", support.read(folder .. "part-00000.csv"))
  end)

  it("appends to a CSV file rows of its columns only", function()
    local function message(f)
      local ok, problem = pcall(f)
      assert.is_false(ok)
      return type(problem) == "table" and problem.message or problem
    end
    for _, extension in ipairs { ".csv", ".csv.gz" } do
      local path = support.path(extension)
      local rows = lb.from({ { a = 1, b = "x" } }):select("a", "b")
      rows:save_csv(path)
      rows:save_csv(path, { mode = "append" })
      for _, case in ipairs {
        { rows:select("b", "a"), "column 1 of " .. path .. " is 'a', that of the rows 'b'" },
        { rows:select("a"), "rows of 1 columns to " .. path .. ", which has 2" },
        { rows:rename { b = "c" }, "column 2 of " .. path .. " is 'b', that of the rows 'c'" },
      } do
        assert.matches(case[2], message(function() case[1]:save_csv(path, { mode = "append" }) end), 1, true)
      end
      assert.same({ { a = 1, b = "x" }, { a = 1, b = "x" } }, lb.csv(path):collect())
      -- Without a line of names columns can only be counted.
      assert.matches("rows of 1 columns", message(function()
        rows:select("a"):save_csv(path, { mode = "append", header = false })
      end))
    end
    local empty = support.file("", ".csv")
    lb.from({ { a = 1 } }):save_csv(empty, { mode = "append" })
    assert.equal("a\n1\n", support.read(empty))
  end)

  it("writes strings as JSON and CSV that are read back byte by byte", function()
    local rows = { { s = "\xff" }, { s = "\u{ff}" }, { s = "\xe2\x82" }, { s = "\0\1\127\128\"\\" } }
    for byte = 0, 255 do rows[#rows + 1] = { s = "x" .. string.char(byte, math.random(0, 255), math.random(128, 255)) } end
    for _, format in ipairs { "json", "csv" } do
      local path = support.path("." .. format)
      lb.from(rows):select("s")["save_" .. format](lb.from(rows):select("s"), path)
      assert.same(rows, lb[format](path):collect())
    end
  end)

  it("a directory has parts and _SUCCESS", function()
    local path = support.path "/"
    lb.range(1000):save_text(path)
    local file = io.open(path .. "_SUCCESS")
    assert.truthy(file)
    file:close()
    assert.same(lb.range(1000):map(tostring):collect(), lb.text(path):collect())
  end)

  it("compresses by extension or option", function()
    for _, extension in ipairs { ".gz", ".zst", ".lz4" } do
      local path = support.path(extension)
      lb.range(5000):save_text(path)
      assert.same(5000, lb.text(path):count())
      assert.equal("5000", lb.text(path):sort_by(tonumber, { desc = true }):first())
    end
    local path = support.path "/"
    lb.range(10):save_text(path, { compression = "gzip" })
    assert.equal(10, lb.text(path):count())
    path = support.path ".lbb"
    lb.range(10):save(path, { compression = "zstd" })
  end)

  it("leaves nothing behind when a function fails", function()
    local path = support.path ".txt"
    local ok = pcall(function()
      lb.range(5000):map(function(n) return n == 4000 and error("bad") or n end):save_text(path)
    end)
    assert.is_false(ok)
    assert.is_nil(io.open(path))
  end)
end)
