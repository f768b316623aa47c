-- Per key the longest run of rising values, in plain Lua with all values in memory. Arguments: input.
local function longest_rise(values)
  local longest, length, last = 0, 0, math.huge
  for i = 1, #values do
    local value = values[i]
    length = value > last and length + 1 or 1
    if length > longest then longest = length end
    last = value
  end
  return longest
end

local groups = {}
for line in io.lines(arg[1]) do
  local key, value = line:match("^([^\t]*)\t(.*)$")
  local values = groups[key]
  if values then
    values[#values + 1] = tonumber(value)
  else
    groups[key] = { tonumber(value) }
  end
end
for key, values in pairs(groups) do io.write(key, "\t", longest_rise(values), "\n") end
