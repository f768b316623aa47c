-- Columns of the file that rows come from: `filename`, `hive`, and the paths of whole trees.
local lb = require "luabatch"
local support = require "tests.lua.support"

local ipairs, table, os, math, tostring = ipairs, table, os, math, tostring

local function directory()
  return support.file("") .. ".d/"
end

local function failure(f, ...)
  local ok, problem = pcall(f, ...)
  assert.is_false(ok)
  return tostring(problem)
end

-- Rows with columns of every type that a folder can say, and with values that paths mind.
local function make(n)
  local places = { "SE", "a/b=c d", "x%2Fy", "ö*", ".hidden", "_it", "007", "__HIVE_DEFAULT_PARTITION__" }
  local rows = {}
  for i = 1, n do
    rows[i] = {
      id = i, year = math.random(2020, 2022), place = places[math.random(#places + 1)], share = math.random(3) - 0.5,
      good = math.random(2) == 1,
    }
  end
  rows[1].place = nil
  return rows
end

describe("hive", function()
  it("reads what partition_by has written, with types, whatever the format", function()
    local want = make(400)
    for _, case in ipairs {
      { "save_csv", lb.csv }, { "save_tsv", lb.tsv }, { "save_json", lb.json },
      { "save_csv", lb.csv, { compression = "gzip" } }, { "save_json", lb.json, { compression = "zstd" } },
    } do
      local path = directory()
      local keys = { "year", "place", "share", "good" }
      local options = { partition_by = keys, compression = case[3] and case[3].compression }
      local ds = lb.from(want)
      ds[case[1]](ds, path, options)
      assert.equal(400, case[2](path):count())
      local back = case[2](path, { hive = true })
      assert.same({ "id", "year", "place", "share", "good" }, support.list(5, function(i) return back:schema()[i].name end))
      assert.same({ "integer", "integer", "string", "float", "boolean" }, support.list(5, function(i) return back:schema()[i].type end))
      assert.same(want, back:order_by("id"):collect())
      assert.same(want, case[2](path .. "**", { hive = true }):order_by("id"):collect())
      for _, threads in ipairs { 1, 3 } do
        support.with({ threads = threads }, function()
          assert.equal(lb.from(want):where("year = 2021 and good"):count(), back:where("year = 2021 and good"):count())
        end)
      end
      -- Only columns of folders are read, only one of the file's, or a function says.
      assert.same(lb.from(want):group_by("year"):count():order_by("year"):collect(),
        back:group_by("year"):count():order_by("year"):collect())
      assert.same(lb.from(want):order_by("id"):select("id"):collect(), back:order_by("id"):select("id"):collect())
      local f = function(r) return r.share * 10 + r.id end
      assert.equal(lb.from(want):map(f):sum(), back:map(f):sum())
      -- A declared type.
      assert.equal("2021", case[2](path, { hive = true, types = { year = "string" } }):where("year = '2021'"):first().year)
      os.execute("rm -rf '" .. path .. "'")
    end
  end)

  it("reads text as rows, and files of save", function()
    local path = directory()
    lb.from({ { t = "a", k = 1 }, { t = "b", k = 2 }, { t = "c", k = 1 } }):save_text(path, { partition_by = { "k" } })
    assert.same({ { line = "a", k = 1 }, { line = "c", k = 1 }, { line = "b", k = 2 } }, lb.text(path, { hive = true }):collect())
    os.execute("mv '" .. path .. "k=1/part-00000.txt' '" .. path .. "old' && rm '" .. path .. "old'")
    os.execute("mkdir -p '" .. path .. "n/k=7/'")
    lb.from({ { v = 1.5 } }):save(path .. "n/k=7/x.lbb")
    assert.same({ { v = 1.5, k = 7, from = path .. "n/k=7/x.lbb" } },
      lb.read(path .. "n/", { hive = true, filename = "from" }):collect())
    lb.range(3):save(path .. "range.lbb")
    assert.matches("read: 'filename' and 'hive' add columns to rows", failure(lb.read, path .. "range.lbb", { filename = true }))
    os.execute("rm -rf '" .. path .. "'")
  end)

  it("refuses paths that do not fit together", function()
    local path = directory()
    os.execute(("mkdir -p '%s'/a=1/b=2 '%s'/a=2"):format(path, path))
    local function put(name, text)
      local file = assert(io.open(path .. name, "w"))
      file:write(text)
      file:close()
    end
    put("a=1/b=2/x.csv", "v\n1\n")
    put("a=2/x.csv", "v\n1\n")
    assert.matches("csv: the folders of .*/a=1/b=2/x.csv say a, b, and those of .*/a=2/x.csv a", failure(lb.csv, path, { hive = true }))
    assert.matches("a csv: hive = true reads columns from folders", "a " .. failure(lb.csv, support.file("v\n1\n"), { hive = true })
      :gsub("^.-csv:", "csv:"))
    put("a=2/y.csv", "a\n1\n")
    assert.matches("csv: the files have a column 'a' too", failure(lb.csv, path .. "a=2/y.csv", { hive = true }))
    assert.matches("csv: the files have a column 'v' too, name the other", failure(lb.csv, path .. "a=2/x.csv", { filename = "v" }))
    assert.matches("bad option 'filename' of csv", failure(lb.csv, path .. "a=2/x.csv", { filename = 7 }))
    assert.matches("bad option 'a' of csv: types", failure(lb.csv, path .. "a=2/x.csv", { hive = true, types = { a = "int" } }))
    -- A folder that came since.
    local all = lb.csv(path .. "a=[2-9]/x.csv", { hive = true })
    os.execute(("mkdir '%s/a=9' '%s/a=3' && mv '%s/a=2/x.csv' '%s/a=9/x.csv'"):format(path, path, path, path))
    assert.same({ { v = 1, a = 9 } }, all:collect())
    os.execute(("mv '%s/a=9' '%s/a=2x'"):format(path, path))
    local odd = lb.csv(path .. "a=2*/x.csv", { hive = true, types = { a = "integer" } })
    assert.matches("'a=2x' in its path is no integer", failure(odd.collect, odd))
    os.execute("rm -rf '" .. path .. "'")
  end)

  it("takes the narrowest type that all folders fit", function()
    for _, case in ipairs {
      { { "1", "2" }, "integer" }, { { "1", "2.5" }, "float" }, { { "1", "x" }, "string" }, { { "007", "1" }, "string" },
      { { "true", "false" }, "boolean" }, { { "true", "1" }, "string" }, { { "9007199254740993", "0.5" }, "string" },
      { { "__HIVE_DEFAULT_PARTITION__" }, "string" }, { { "1", "__HIVE_DEFAULT_PARTITION__" }, "integer" },
    } do
      local path = directory()
      for i, text in ipairs(case[1]) do
        os.execute(("mkdir -p '%sk=%s' && printf 'v\\n%d\\n' > '%sk=%s/x.csv'"):format(path, text, i, path, text))
      end
      local ds = lb.csv(path, { hive = true })
      assert.equal(case[2], ds:schema()[2].type)
      assert.equal(#case[1], ds:count())
      assert.equal(#case[1], #ds:collect())
      os.execute("rm -rf '" .. path .. "'")
    end
  end)
end)

describe("filename", function()
  it("names the file of each row, whatever the threads and splits", function()
    local paths, want = {}, {}
    for i = 1, 7 do
      local lines = { "v" }
      for j = 1, math.random(0, 3000) do lines[#lines + 1] = tostring(i * 10000 + j) end
      paths[i] = support.file(table.concat(lines, "\n") .. "\n", ".csv")
      if #lines > 1 then want[#want + 1] = { filename = paths[i], count = #lines - 1 } end
    end
    table.sort(want, function(a, b) return a.filename < b.filename end)
    for _, threads in ipairs { 1, 3 } do
      support.with({ threads = threads }, function()
        local ds = lb.csv(paths, { filename = true })
        assert.same(want, ds:group_by("filename"):count():order_by("filename"):collect())
        for _, row in ipairs(ds:collect()) do assert.equal(paths[math.floor(row.v / 10000)], row.filename) end
      end)
    end
  end)

  it("goes with names that a JSON source shows late, and with columns", function()
    local lines = {}
    for i = 1, 30000 do lines[i] = ('{"a":%d,"p":"%s"}'):format(i, ("x"):rep(40)) end
    lines[#lines + 1] = '{"a":0,"late":"x"}'
    local path = support.file(table.concat(lines, "\n") .. "\n", ".json")
    local ds = lb.json(path, { filename = "f" })
    local all = ds:collect()
    assert.same({ a = 0, late = "x", f = path }, all[#all])
    assert.same({ a = 1, p = ("x"):rep(40), f = path }, all[1])
    assert.same({ { a = 0, f = path } }, lb.json(path, { filename = "f", columns = { "a" } }):where("a = 0"):collect())
    local clash = lb.json(path, { filename = "late" })
    assert.matches("json: the files have a column 'late' too", failure(clash.collect, clash))
  end)

  it("is shown by explain, and reads no more columns of the file for it", function()
    local path = support.file("a,b,c\n1,2,3\n", ".csv")
    local text = require("luabatch.display").plan(lb.csv(path, { filename = true }):select("b", "filename")._node, "optimised")
    assert.truthy(text:find("file_columns (csv) adds filename string", 1, true), text)
    assert.truthy(text:find("reads 1 of 3 columns: b", 1, true), text)
    assert.same({ { b = 2, filename = path } }, lb.csv(path, { filename = true }):select("b", "filename"):collect())
  end)
end)
