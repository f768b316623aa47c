--- Files that appear whole or not at all: what a run tells of itself, beside its results.
-- @module luabatch.whole
local core = require "luabatch.core"

local whole = {}

-- Out of memory is told without the file for which it was wanted.
local function write(path, text)
  local ok, message, status = core.write_file(path, text)
  local name = core.printable(path)
  if not ok and not message:find(name, 1, true) then message = ("cannot write '%s': %s"):format(name, message) end
  return ok, message, status
end

--- Whether a file can be written at a path.
-- @string path where
-- @return true, or nil, a message and the exit status that it stands for
-- @usage print((require("luabatch.whole").check("/nonexistent/file"))) --> nil
function whole.check(path)
  return write(path)
end

--- Writes a file; what was there is replaced when all is written.
-- @string path where
-- @param parts list of strings
-- @return true, or nil, a message and the exit status that it stands for
-- @usage print((require("luabatch.whole").write("/nonexistent/file", { "text" }))) --> nil
function whole.write(path, parts)
  return write(path, table.concat(parts))
end

return whole
