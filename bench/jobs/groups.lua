-- The ten group-by questions of the db-benchmark, from CSV to CSV, and a filter by a Lua function.
-- Arguments: question (q1 to q10, filter), input, output; a fourth, "functions", gives the aggregates Lua
-- functions of the row, which double the values, instead of names of columns.
local lb = require "luabatch"

local question, input, output, kind = arg[1], arg[2], arg[3], arg[4]
local table_of_groups = lb.csv(input)
local v1, v2, v3 = "v1", "v2", "v3"
if kind == "functions" then
  v1 = function(row) return row.v1 * 2 end
  v2 = function(row) return row.v2 * 2 end
  v3 = function(row) return row.v3 * 2 end
end

local function by(...) return table_of_groups:group_by(...) end

local questions = {
  q1 = function() return by("id1"):agg { v1 = lb.sum(v1) } end,
  q2 = function() return by("id1", "id2"):agg { v1 = lb.sum(v1) } end,
  q3 = function() return by("id3"):agg { v1 = lb.sum(v1), v3 = lb.avg(v3) } end,
  q4 = function() return by("id4"):agg { v1 = lb.avg(v1), v2 = lb.avg(v2), v3 = lb.avg(v3) } end,
  q5 = function() return by("id6"):agg { v1 = lb.sum(v1), v2 = lb.sum(v2), v3 = lb.sum(v3) } end,
  q6 = function() return by("id4", "id5"):agg { median = lb.median(v3), stddev = lb.stddev(v3) } end,
  q7 = function()
    return by("id3"):agg { most = lb.max(v1), least = lb.min(v2) }:select("id3", { range = "most - least" })
  end,
  q8 = function()
    return table_of_groups:window { partition_by = "id6", order_by = { lb.desc "v3" }, place = lb.row_number() }
      :where("place <= 2"):select("id6", "v3")
  end,
  q9 = function()
    return by("id2", "id4"):agg { r = lb.corr(v1, v2) }:select("id2", "id4", { r2 = "r * r" })
  end,
  q10 = function()
    return by("id1", "id2", "id3", "id4", "id5", "id6"):agg { n = lb.count(), v3 = lb.sum(v3) }
  end,
}

if question == "filter" then
  print(table_of_groups:filter(function(row) return row.v1 >= 3 end):count())
else
  questions[question]():save_csv(output, { mode = "overwrite", header = false })
end
