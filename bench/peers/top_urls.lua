-- The five most requested URLs in plain Lua. Arguments: input.
local counts, urls = {}, {}
for line in io.lines(arg[1]) do
  local url = line:match('"%u+ (%S+)')
  counts[url] = (counts[url] or 0) + 1
end
for url in pairs(counts) do urls[#urls + 1] = url end
table.sort(urls, function(a, b)
  if counts[a] ~= counts[b] then return counts[a] > counts[b] end
  return a < b
end)
for i = 1, 5 do io.write(urls[i], "\t", counts[urls[i]], "\n") end
