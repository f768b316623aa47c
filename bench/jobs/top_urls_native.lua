-- The five most requested URLs of an access log, cut out by the native verb `field`. Arguments: input.
local lb = require "luabatch"

local top = lb.text(arg[1]):field(7):value_counts():top(5, function(_, n) return n end)
for _, pair in ipairs(top) do print(pair[1], pair[2]) end
