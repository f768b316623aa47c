--- Files that appear whole or not at all: what a run tells of itself, beside its results.
-- @module luabatch.whole
local whole = {}

-- A device or pipe takes what is written; it is not replaced.
local function is_plain(path)
  return not path:find("^/dev/") and not path:find("^/proc/")
end

--- Whether a file can be written at a path.
-- @string path where
-- @return true, or nil and a message
-- @usage print((require("luabatch.whole").check("/nonexistent/file"))) --> nil
function whole.check(path)
  local beside = is_plain(path) and path .. ".part" or path
  local file, message = io.open(beside, "w")
  if not file then return nil, message end
  file:close()
  if beside ~= path then os.remove(beside) end
  return true
end

--- Writes a file; what was there is replaced when all is written.
-- @string path where
-- @param parts list of strings
-- @return true, or nil and a message
-- @usage print((require("luabatch.whole").write("/nonexistent/file", { "text" }))) --> nil
function whole.write(path, parts)
  local beside = is_plain(path) and path .. ".part" or path
  local file, message = io.open(beside, "w")
  if not file then return nil, message end
  local good = true
  for _, part in ipairs(parts) do
    if good then good, message = file:write(part) end
  end
  local closed, problem = file:close()
  if good and not closed then good, message = nil, problem end
  if good and beside ~= path then good, message = os.rename(beside, path) end
  if not good then
    if beside ~= path then os.remove(beside) end
    message = tostring(message)
    return nil, message:find(beside, 1, true) and message or ("%s: %s"):format(path, message)
  end
  return true
end

return whole
