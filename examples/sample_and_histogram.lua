-- Statistics and a histogram of the lengths of lines, from a tenth of them.
-- luabatch examples/sample_and_histogram.lua /usr/share/common-licenses
local lb = require "luabatch"

local lengths = lb.text(#arg > 0 and arg or "-"):sample(0.1, 42):map(function(line) return #line end):cache()

local stats = lengths:stats()
if stats.count == 0 then
  print("no lines")
  return
end
print(("%d lines, mean %.2f, standard deviation %.2f, from %d to %d"):format(stats.count, stats.mean,
  stats.stddev, stats.min, stats.max))

local edges, counts = lengths:histogram(10)
for i, n in ipairs(counts) do
  print(("%7.1f to %7.1f  %6d  %s"):format(edges[i], edges[i + 1], n, ("#"):rep(math.ceil(60 * n / stats.count))))
end
