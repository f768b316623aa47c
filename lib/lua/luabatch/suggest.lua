--- The nearest existing name to a misspelt one: "did you mean 'group_by_key'?".
-- @module luabatch.suggest
local suggest = {}

-- Edits (insert, delete, replace, swap of neighbours) from a to b.
local function distance(a, b)
  local before, last, row = {}, {}, {}
  for j = 0, #b do last[j] = j end
  for i = 1, #a do
    row[0] = i
    local byte = a:byte(i)
    for j = 1, #b do
      local cost = byte == b:byte(j) and 0 or 1
      local best = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost)
      if i > 1 and j > 1 and byte == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, before[j - 2] + 1)
      end
      row[j] = best
    end
    before, last, row = last, row, before
  end
  return last[#b]
end

--- Finds the candidate that a misspelt name most likely meant.
-- @param name what was written
-- @param candidates list of existing names
-- @return the nearest name, or nil when none is near
function suggest.nearest(name, candidates)
  local best, best_distance
  local limit = math.max(1, math.floor(#name / 3))
  local plain = name:lower():gsub("[_%-]", "")
  for _, candidate in ipairs(candidates) do
    local d = distance(name:lower(), candidate:lower())
    if candidate:lower():gsub("[_%-]", "") == plain then d = 0 end
    -- Long names share more by their beginning: group_by for group_by_key.
    if d > limit and #plain >= 4 and candidate:sub(1, #name) == name then d = limit end
    if d <= limit and (not best or d < best_distance or d == best_distance and candidate < best) then
      best, best_distance = candidate, d
    end
  end
  return best
end

-- What the same is called elsewhere: pandas, SQL, Spark, Lua.
local synonyms = {
  head = { "limit" }, tail = { "limit" }, groupby = { "group_by" }, sort = { "order_by", "sort_by" }, sort_values = { "order_by" },
  merge = { "join" }, query = { "where" }, assign = { "with_columns" }, with_column = { "with_columns" }, mutate = { "with_columns" },
  withcolumn = { "with_columns" }, dropna = { "drop_nil" }, fillna = { "fill_nil" }, apply = { "map" }, unique = { "distinct" },
  columns = { "schema" }, dtypes = { "schema" }, print = { "show" }, display = { "show" }, len = { "count" }, length = { "count" },
  size = { "count" }, each = { "foreach" }, mean = { "avg", "mean" }, average = { "avg", "mean" }, std = { "stddev" },
  stdev = { "stddev" }, var = { "variance" }, percentile = { "quantile" }, nunique = { "count_distinct" }, cumsum = { "sum" },
  read_csv = { "csv" }, read_json = { "json" }, parallelize = { "from" }, text_file = { "text" }, textfile = { "text" },
  to_csv = { "save_csv" }, write_csv = { "save_csv" }, to_tsv = { "save_tsv" }, to_json = { "save_json" },
  reducebykey = { "reduce_by_key" },
  left_on = { "on" }, right_on = { "on" }, by = { "on", "partition_by", "index" }, delimiter = { "sep" }, delim = { "sep" },
  separator = { "sep" }, dtype = { "types" }, names = { "columns" }, schema = { "types" }, partition = { "partition_by" },
  na_values = { "null" }, array_agg = { "collect_list" }, string_agg = { "collect_list" }, melt = { "flat_map" }, unpivot = { "flat_map" },
}

-- The first of the names that mean the same which is there.
local function synonym(name, candidates)
  for _, other in ipairs(synonyms[name:lower()] or {}) do
    for _, candidate in ipairs(candidates) do
      if candidate == other then return other end
    end
  end
end

--- The end of a message about an unknown name: "; did you mean 'x'?", or nothing.
-- @param name what was written
-- @param candidates list of existing names
-- @return string
function suggest.hint(name, candidates)
  local nearest = synonym(name, candidates) or suggest.nearest(name, candidates)
  return nearest and ("; did you mean '%s'?"):format(nearest) or ""
end

return suggest
