-- Per key the longest run of rising values, in input order: a reducer that must see each value, one
-- after the other, so that nothing can be combined beforehand.
-- Arguments: input of `key<TAB>value` lines.
local lb = require "luabatch"

return lb.text(arg[1])
  :map(function(line)
    local key, value = line:match("^([^\t]*)\t(.*)$")
    return key, tonumber(value)
  end)
  :reduce_groups(function(key, values, emit)
    local longest, length, last = 0, 0, math.huge
    for value in values do
      length = value > last and length + 1 or 1
      if length > longest then longest = length end
      last = value
    end
    emit(key, longest)
  end)
