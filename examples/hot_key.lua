-- A key with most of the records: 90,000 visits of which 4 in 5 are the crawler's, joined with where visitors come from. The
-- engine finds such keys and cuts them by itself (salt = "auto"); here the number of pieces is said, by a function of the key.
-- With --stats it tells which keys were split. Whatever is said, the result is the same.
-- luabatch examples/hot_key.lua
local lb = require "luabatch"

local visits = lb.range(90000):map(function(i)
  local visitor = i % 5 ~= 0 and "crawler" or "visitor " .. i % 7
  return visitor, i % 100
end)

local from = lb.from_pairs {
  { "crawler", "DE" }, { "visitor 0", "SE" }, { "visitor 1", "NO" }, { "visitor 2", "SE" }, { "visitor 5", "FI" },
}

for _, hot in ipairs(visits:hot_keys(2)) do print("hot", hot[1], hot[2]) end

local function pieces(visitor)
  if visitor == "crawler" then return 16 end
end

return visits:left_join(from, { salt = pieces })
  :map(function(_, seconds, country) return country or "?", seconds end)
  :reduce_by_key(function(a, b) return a + b end, { salt = 4 })
  :sort_by_key()
