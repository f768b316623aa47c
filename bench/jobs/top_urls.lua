-- The five most requested URLs of an access log, found with a Lua pattern. Arguments: input.
local lb = require "luabatch"

local top = lb.text(arg[1])
  :map(function(line) return (line:match('"%u+ (%S+)')) end)
  :value_counts()
  :top(5, function(_, n) return n end)
for _, pair in ipairs(top) do print(pair[1], pair[2]) end
