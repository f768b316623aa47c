-- Output in folders: partition_by of save_csv, save_json, save_text.
local lb = require "luabatch"
local support = require "tests.lua.support"

-- The files below a directory: map from path inside it to content.
local function tree(path)
  local files = {}
  local pipe = io.popen(("cd '%s' && find . -type f | LC_ALL=C sort"):format(path))
  for line in pipe:lines() do files[line:sub(3)] = support.read(path .. line:sub(3)) end
  pipe:close()
  return files
end

-- The rows of a folder's parts under one header; small parts, as in debug builds, are several.
local function joined(files, folder)
  local names = {}
  for name in pairs(files) do
    if name:sub(1, #folder + 1) == folder .. "/" then names[#names + 1] = name end
  end
  table.sort(names)
  for i, name in ipairs(names) do names[i] = i > 1 and files[name]:gsub("^[^\n]*\n", "") or files[name] end
  return table.concat(names)
end

local function directory() return support.path() .. "/" end

local function save(rows, options, format)
  local path = directory()
  lb.from(rows):select("k", "v", "w")["save_" .. (format or "csv")](lb.from(rows):select("k", "v", "w"), path, options)
  return tree(path), path
end

local function message(f)
  local ok, problem = pcall(f)
  assert.is_false(ok)
  return type(problem) == "table" and problem.message or tostring(problem)
end

describe("partition_by (seed " .. support.seed .. ")", function()
  local made = {}
  after_each(function()
    for _, path in ipairs(made) do os.execute("rm -rf '" .. path .. "'") end
    support.clean()
  end)
  local make_directory = directory
  function directory()
    local path = make_directory()
    made[#made + 1] = path
    return path
  end

  it("writes a folder for each value, without the column", function()
    local rows = { { k = 2, v = "a", w = 1 }, { k = 1, v = "b", w = 2 }, { k = 2, v = "c", w = 3 } }
    assert.same({
      ["_SUCCESS"] = "", ["k=1/part-00000.csv"] = "v,w\nb,2\n", ["k=2/part-00000.csv"] = "v,w\na,1\nc,3\n",
    }, (save(rows, { partition_by = { "k" } })))
    assert.same({
      ["_SUCCESS"] = "", ["k=1/part-00000.json"] = '{"v":"b","w":2}\n', ["k=2/part-00000.json"] = '{"v":"a","w":1}\n{"v":"c","w":3}\n',
    }, (save(rows, { partition_by = "k" }, "json")))
    assert.same({
      ["_SUCCESS"] = "", ["w=1/k=2/part-00000.txt"] = "a\n", ["w=2/k=1/part-00000.txt"] = "b\n", ["w=3/k=2/part-00000.txt"] = "c\n",
    }, (save(rows, { partition_by = { "w", "k" } }, "text")))
    assert.same({ ["_SUCCESS"] = "" }, (save({}, { partition_by = "k" })))
  end)

  it("lets no value out of the directory, and loses none", function()
    local values = { "../../evil", "..", ".", "", "a/b", "/", "x=y", "%41", "a\nb\0c\127",
      "__HIVE_DEFAULT_PARTITION__", "é", "'q\"", 1, support.has_integers and 1.0 or 2, 1.5,
      true, "true", "~", " ", "a*b?", "{}[]^\\:#" }
    local rows, n = { { v = "nil", w = 0 } }, 0
    for i, value in ipairs(values) do rows[i + 1] = { k = value, v = "r" .. i, w = i } end
    local files, path = save(rows, { partition_by = "k" })
    local parent = io.popen(("ls '%s/..' | grep -c evil"):format(path)):read "l"
    assert.equal("0", parent)
    local function rows_of(folder)
      return files["k=" .. folder .. "/part-00000.csv"]
    end
    assert.equal("v,w\nnil,0\n", rows_of "__HIVE_DEFAULT_PARTITION__")
    for i, folder in pairs {
      [1] = "..%2F..%2Fevil", [2] = "..", [3] = ".", [4] = "", [5] = "a%2Fb", [7] = "x%3Dy", [8] = "%2541", [9] = "a%0Ab%00c%7F",
      [10] = "%5F_HIVE_DEFAULT_PARTITION__", [11] = "é", [13] = "1",
      [14] = support.has_integers and "1.0" or "2", [15] = "1.5", [18] = "~", [19] = " ",
    } do
      assert.equal(("v,w\nr%d,%d\n"):format(i, i), rows_of(folder), folder)
    end
    assert.equal("v,w\nr16,16\nr17,17\n", rows_of "true")
    for _, content in pairs(files) do n = n + select(2, content:gsub("\n", "")) end
    local n_files = 0
    for _ in pairs(files) do n_files = n_files + 1 end
    assert.equal(#rows + n_files - 1, n) -- a header in each file but _SUCCESS
    assert.is_true(next((save({ { k = 1, v = 1, w = 1 } }, { partition_by = "k" }))) ~= nil)
    assert.matches("folder's name would have 302 bytes", message(function()
      save({ { k = ("a"):rep(300), v = 1, w = 1 } }, { partition_by = "k" })
    end))
    assert.matches("string, number or boolean expected, got a table", message(function()
      save({ { k = { 1 }, v = 1, w = 1 } }, { partition_by = "k" })
    end))
    local hidden = directory()
    lb.from({ { _h = 1, v = 2 } }):select("_h", "v"):save_csv(hidden, { partition_by = "_h" })
    assert.equal("v\n2\n", tree(hidden)["%5Fh=1/part-00000.csv"])
  end)

  it("gives the same bytes at any number of threads and memory", function()
    local path = support.path ".csv"
    local file = io.open(path, "w")
    file:write "k,v,w\n"
    local wanted = {}
    for i = 1, 15000 do
      local k = (i * 7919) % 40
      wanted[k] = (wanted[k] or "v,w\n") .. ("%d,row %d\n"):format(i, i)
      file:write(("%d,%d,row %d\n"):format(k, i, i))
    end
    file:close()
    for _, settings in ipairs { { threads = 1 }, { threads = 4 }, { threads = 4, memory = 4 * 1024 ^ 2 } } do
      local out = directory()
      support.with(settings, function()
        assert.equal(15000, lb.csv(path):save_csv(out, { partition_by = "k" }))
      end)
      local files, n = tree(out), 0
      for k, content in pairs(wanted) do
        assert.equal(content, joined(files, "k=" .. k))
        n = n + 1
      end
      assert.equal(40, n)
    end
  end)

  it("writes more folders than a process may open files", function()
    local out = directory()
    assert.equal(3000, lb.range(3000):map(function(i) return { k = i % 1100, v = i } end):select("k", "v")
      :save_csv(out, { partition_by = "k" }))
    assert.equal("v\n7\n1107\n2207\n", support.read(out .. "k=7/part-00000.csv"))
    assert.equal("1100", io.popen(("ls '%s' | grep -c ="):format(out)):read "l")
  end)

  it("compresses, appends, replaces and refuses", function()
    local out = directory()
    local ds = lb.from({ { k = 1, v = "a" }, { k = 2, v = "b" } }):select("k", "v")
    ds:save_csv(out, { partition_by = "k", compression = "gzip" })
    assert.same({ { v = "a" } }, lb.csv(out .. "k=1/"):collect())
    assert.matches("exists", message(function() ds:save_csv(out, { partition_by = "k" }) end))
    assert.equal(0, ds:save_csv(out, { partition_by = "k", mode = "ignore" }))
    lb.from({ { k = 2, v = "c" }, { k = 3, v = "d" } }):select("k", "v"):save_csv(out, {
      partition_by = "k", mode = "append", compression = "gzip" })
    assert.same({ { v = "b" }, { v = "c" } }, lb.csv(out .. "k=2/"):collect())
    assert.truthy(tree(out)["k=2/part-00001.csv.gz"])
    assert.truthy(tree(out)["k=3/part-00000.csv.gz"])
    ds:where("k = 1"):save_csv(out, { partition_by = "k", mode = "overwrite" })
    assert.same({ _SUCCESS = "", ["k=1/part-00000.csv"] = "v\na\n" }, tree(out))
    local file = io.open(out .. "k=1/precious", "w")
    file:write "x"
    file:close()
    assert.matches("holds 'precious', which is no part of an output", message(function()
      ds:save_csv(out, { partition_by = "k", mode = "overwrite" })
    end))
    -- Before anything is computed: the run would fail for another reason.
    local lazy = ds:with_columns { v = "cast(v as integer)" }
    assert.matches("holds 'precious'", message(function() lazy:save_csv(out, { partition_by = "k", mode = "overwrite" }) end))
    assert.matches("exists", message(function() lazy:save_csv(out, { partition_by = "k" }) end))
    assert.matches("whose path ends in '/'", message(function() ds:save_csv(support.path(), { partition_by = "k" }) end))
    assert.matches("there is no column 'kk'", message(function() ds:save_csv(directory(), { partition_by = "kk" }) end))
    assert.matches("leaves no column", message(function() ds:save_csv(directory(), { partition_by = { "v", "k" } }) end))
    assert.matches("needs rows", message(function() lb.range(3):save_csv(directory(), { partition_by = "k" }) end))
  end)

  it("leaves nothing behind a failure", function()
    local out = directory()
    local ds = lb.from({ { k = 1, v = "1" }, { k = 2, v = "x" } }):select("k", { v = "cast(v as int)" })
    assert.is_false(pcall(function() ds:save_csv(out, { partition_by = "k" }) end))
    assert.is_nil(io.open(out))
    assert.equal("0", io.popen(("ls -a '%s' | grep -c '%s'"):format(out:match "^(.*/)[^/]+/$", out:match "([^/]+)/$")):read "l")
  end)
end)
