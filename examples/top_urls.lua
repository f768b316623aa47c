-- The ten most requested paths of a web server's log.
-- luabatch examples/top_urls.lua examples/data/access.log
local lb = require "luabatch"

local top = lb.text(#arg > 0 and arg or "-")
  :field(7)
  :value_counts()
  -- Equal counts come in the order of the paths.
  :take_ordered(10, function(path, n) return { -n, path } end)

for _, pair in ipairs(top) do print(pair[2], pair[1]) end
