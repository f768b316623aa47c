-- Pivot tables, against loops.
local lb = require "luabatch"
local support = require "tests.lua.support"
local tostring, math = tostring, math

local function message(f, ...) return tostring(select(2, pcall(f, ...))) end

describe("pivot (seed " .. support.seed .. ")", function()
  after_each(support.clean)

  local rows = support.list(2000, function(i)
    return {
      id = i, country = math.random(5) > 1 and support.word(2) or nil, year = 2018 + math.random(0, 4),
      amount = math.random(6) > 1 and math.random(-50, 50) or nil, flag = math.random(3) > 1 and math.random(2) == 1 or nil,
    }
  end)
  local ds = lb.from(rows)

  -- {[key] = {[value] = list of rows}}
  local function cells(index, of)
    local result = {}
    for _, row in ipairs(rows) do
      local key, value = tostring(row[index]), tostring(row[of])
      result[key] = result[key] or {}
      result[key][value] = result[key][value] or {}
      table.insert(result[key][value], row)
    end
    return result
  end

  local function sum(list)
    local total
    for _, row in ipairs(list or {}) do
      if row.amount then total = (total or 0) + row.amount end
    end
    return total
  end

  it("makes columns of values that it finds", function()
    local wanted, n = cells("country", "year"), 0
    local before
    for threads = 1, 3 do
      support.with({ threads = threads, memory = threads == 2 and 8 * 1024 ^ 2 or nil }, function()
        local result = ds:pivot({ index = "country", columns = "year", values = lb.sum "amount" })
        assert.same({ "country", "2018", "2019", "2020", "2021", "2022" }, result._node.names)
        local list = result:collect()
        if before then assert.same(before, list) end
        before = list
      end)
    end
    for _, row in ipairs(before) do
      local group = wanted[tostring(row.country)]
      for year = 2018, 2022 do assert.equal(sum(group[tostring(year)]), row[tostring(year)]) end
      n = n + 1
    end
    for _ in pairs(wanted) do n = n - 1 end
    assert.equal(0, n)
  end)

  it("takes several aggregates and values in an order", function()
    local joined = lb.aggregate {
      init = function() return "" end, step = function(s, id) return s .. id .. " " end, merge = function(a, b) return a .. b end,
    }
    local result = ds:group_by("year"):pivot {
      columns = "flag", names = { true, false }, values = { n = lb.count(), ids = joined "id" }, fill = 0,
    }
    assert.same({ "year", "true_ids", "true_n", "false_ids", "false_n" }, result._node.names)
    local wanted = cells("year", "flag")
    for _, row in ipairs(result:collect()) do
      for _, flag in ipairs { "true", "false" } do
        local group, ids = wanted[tostring(row.year)][flag] or {}, ""
        for _, one in ipairs(group) do ids = ids .. one.id .. " " end
        assert.equal(#group, row[flag .. "_n"])
        assert.equal(#group > 0 and ids or 0, row[flag .. "_ids"])
      end
    end
  end)

  it("keeps rows none of whose values is wanted, and has nil as a value", function()
    local small = lb.from { { k = "a", c = "x", v = 1 }, { k = "b", v = 2 }, { k = "c", c = "y", v = 3 } }
    assert.same({ { k = "a", x = 1 }, { k = "b" }, { k = "c" } },
      small:pivot({ index = "k", columns = "c", values = lb.sum "v", names = { "x" } }):order_by("k"):collect())
    local all = small:pivot({ index = { "k" }, columns = "c", values = lb.sum "v" })
    assert.same({ "k", "nil", "x", "y" }, all._node.names)
    assert.same({ { k = "a", x = 1 }, { k = "b", ["nil"] = 2 }, { k = "c", y = 3 } }, all:order_by("k"):collect())
  end)

  it("makes one row without an index", function()
    assert.same({ { ["1"] = 2, ["2.5"] = 1, x = 1 } },
      lb.from({ { v = 1 }, { v = 1.0 }, { v = 2.5 }, { v = "x" } }):pivot({ columns = "v", values = lb.count() }):collect())
  end)

  it("names columns by a function", function()
    local result = ds:pivot {
      index = "flag", columns = "year", values = { n = lb.count(), t = lb.sum "amount" }, names = { 2019 },
      name = function(value, aggregate) return ("%s of %d"):format(aggregate, value) end,
    }
    assert.same({ "flag", "n of 2019", "t of 2019" }, result._node.names)
  end)

  it("of nothing has no cells", function()
    local none = ds:where("id < 0")
    assert.same({ "country" }, none:pivot({ index = "country", columns = "year", values = lb.count(), fill = 0 })._node.names)
    assert.matches("'year' has no values", message(function() return none:pivot({ columns = "year", values = lb.count() }) end))
    assert.same({ { ["2019"] = 0 } }, none:pivot({ columns = "year", values = lb.count(), names = { 2019 }, fill = 0 }):collect())
  end)

  it("agrees with what two groupings by hand give", function()
    local by_hand = {}
    for _, row in ipairs(ds:group_by("country", "year"):agg({ m = lb.median "amount" }):collect()) do
      by_hand[tostring(row.country) .. row.year] = row.m
    end
    for _, row in ipairs(ds:pivot({ index = "country", columns = "year", values = lb.median "amount" }):collect()) do
      for year = 2018, 2022 do assert.equal(by_hand[tostring(row.country) .. year], row[tostring(year)]) end
    end
  end)

  it("refuses what cannot be", function()
    local function refused(options) return message(function() return ds:pivot(options) end) end
    local count = lb.count()
    assert.matches("pivot_spec.lua:%d+: pivot needs the option 'columns'", refused { values = count })
    assert.matches("pivot needs the option 'values'", refused { columns = "year" })
    assert.matches("there is no column 'yaer'; did you mean 'year'", refused { columns = "yaer", values = count })
    assert.matches("there is no column 'idx'", refused { index = "idx", columns = "year", values = count })
    assert.matches("'year' is a column of the index already", refused { index = "year", columns = "year", values = count })
    assert.matches("pivot has no option 'indx'; did you mean 'index'", refused { indx = "year", columns = "year", values = count })
    assert.matches("aggregate such as lb.count%(%) expected", refused { columns = "year", values = { n = 1 } })
    assert.matches("the column '2019' comes twice", refused { columns = "year", values = count, names = { 2019, "2019" } })
    assert.matches("'names' to pivot %(list of values expected", refused { columns = "year", values = count, names = { a = 1 } })
    assert.matches("pivot: 2000 columns %(250 are possible%)", refused { columns = "id", values = count })
    assert.matches("'id' has more than 10000 values; say with 'names'", message(function()
      return lb.range(10001):map(function(n) return { id = n } end):select("id"):pivot({ columns = "id", values = count })
    end))
    assert.matches("amout", refused { columns = "year", names = { 2019 }, values = lb.sum "amout" })
    assert.matches("the columns of group_by are the index", message(function()
      return ds:group_by("year"):pivot({ index = "flag", columns = "country", values = count })
    end))
  end)
end)
