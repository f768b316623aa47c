-- Word count in plain Lua. Arguments: input.
local counts = {}
for line in io.lines(arg[1]) do
  for word in line:gmatch("%a+") do counts[word] = (counts[word] or 0) + 1 end
end
for word, n in pairs(counts) do io.write(word, "\t", n, "\n") end
