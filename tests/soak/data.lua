--- The files that the jobs of tests/soak read, made from a seed: orders with a few heavy keys, sums that cancel, equal sort keys,
-- quotes and newlines in fields; users, events as JSON lines, text, and records that are bad.
local data = {}

local random = math.random

local function pick(list) return list[random(#list)] end

local function write(path, list)
  local file = assert(io.open(path, "wb"))
  assert(file:write(table.concat(list)))
  assert(file:close())
  return path
end

-- A number that is 1 for most, and large for few.
local function skewed(n)
  return math.max(1, math.floor(n * random() ^ 4))
end

local function time()
  return ("2024-%02d-%02dT%02d:%02d:%02d"):format(random(3), random(28), random(0, 23), random(0, 59), random(0, 59))
end

-- Floats whose sum depends on the order in which a plain loop adds them.
local function float()
  local kind = random(10)
  if kind <= 2 then return pick { "1e16", "-1e16", "1e300", "-1e300", "9007199254740993.0" } end
  if kind == 3 then return "" end
  if kind == 4 then return ("%.17g"):format(random() * 1e-9) end
  return ("%.3f"):format(random() * 2000 - 1000)
end

local function note()
  local kind = random(8)
  if kind == 1 then return '"two\nlines, ""quoted"""' end
  if kind == 2 then return "" end
  if kind == 3 then return '""' end
  return pick { "plain", "Ärger", "a b  c", "x;y", "007", "long enough not to be kept inside of a view" }
end

local function order(id, users)
  local user = random(10) <= 3 and "7" or random(20) == 1 and "" or tostring(skewed(users))
  return ("%d,%s,%s,%s,%d,%s,%s,%s\n"):format(id, user, pick { "tea", "pot", "cup", "jug", "tin" } .. random(9),
    ("%.2f"):format(random(1, 5000) / 100), random(-3, 9), time(), float(), note())
end

local function orders(path, first, last, users)
  local lines = { "id,user_id,item,price,qty,ts,x,note\n" }
  for id = first, last do lines[#lines + 1] = order(id, users) end
  return write(path, lines)
end

local function event(id, users)
  local tags = {}
  for i = 1, random(0, 3) do tags[i] = ('"%s"'):format(pick { "a", "b", "c\\n", "\\u00e9" }) end
  return ('{"id":%d,"user":%s,"tags":[%s],"at":{"page":"%s","n":%s}%s}\n'):format(id, random(9) == 1 and "null" or skewed(users),
    table.concat(tags, ","), pick { "home", "cart", "help" }, pick { random(100), random(100) + 0.5, "null" },
    random(30) == 1 and ',"late":true' or "")
end

-- Three columns of numbers; some lines are none.
local function bad(id)
  local kind = random(25)
  if kind == 1 then return ("%d,2\n"):format(id) end
  if kind == 2 then return ('%d,"open,3\n'):format(id):gsub('"', 'x"') end
  if kind == 3 then return ("%d,no number,3\n"):format(id) end
  return ("%d,%d,%d\n"):format(id, random(100), random(5))
end

--- Makes the files in a folder that is there.
-- @param folder its path
-- @param seed of all that is random
-- @param n orders
-- @return table of their paths
function data.make(folder, seed, n)
  math.randomseed(seed)
  local users, half = math.max(10, math.floor(n / 20)), math.floor(n / 2)
  local last, paths = n - math.floor(n / 5), { n = n, n_users = users }
  os.execute(("mkdir '%s/orders'"):format(folder))
  orders(folder .. "/orders/1.csv", 1, half, users)
  orders(folder .. "/orders/2.csv", half + 1, last, users)
  orders(folder .. "/orders/3.csv", last + 1, n, users)
  assert(os.execute(("gzip -n '%s/orders/3.csv'"):format(folder)))
  paths.orders = folder .. "/orders"
  local lines = { "id,name,country,age\n" }
  for id = 1, users do
    lines[#lines + 1] = ("%d,%s,%s,%s\n"):format(id, pick { "Ann", "Bo", "Cy", "Di" } .. id, pick { "SE", "NO", "FI", "" },
      random(9) == 1 and "" or random(90))
  end
  for _ = 1, 5 do lines[#lines + 1] = "7,Again,DK,1\n" end
  paths.users = write(folder .. "/users.csv", lines)
  lines = {}
  for id = 1, half do lines[id] = event(id, users) end
  paths.events = write(folder .. "/events.jsonl", lines)
  lines = {}
  for i = 1, half do
    local words = {}
    for k = 1, random(0, 12) do words[k] = pick { "the", "The", "of", "w" .. skewed(500), "a,b", "x-" .. random(30) } end
    lines[i] = table.concat(words, pick { " ", "  ", "\t" }) .. pick { "\n", "\n", "\r\n" }
  end
  paths.text = write(folder .. "/text.txt", lines)
  lines = { "id,a,b\n" }
  for id = 1, half do lines[#lines + 1] = (bad(id)) end
  paths.bad = write(folder .. "/bad.csv", lines)
  return paths
end

return data
