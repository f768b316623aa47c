--- Files that appear whole or not at all: what a run tells of itself, beside its results.
-- @module luabatch.whole
local core = require "luabatch.core"

local whole = {}

--- Whether a file can be written at a path.
-- @string path where
-- @return true, or nil, a message and the exit status that it stands for
-- @usage print((require("luabatch.whole").check("/nonexistent/file"))) --> nil
function whole.check(path)
  return core.write_file(path)
end

--- Writes a file; what was there is replaced when all is written.
-- @string path where
-- @param parts list of strings
-- @return true, or nil, a message and the exit status that it stands for
-- @usage print((require("luabatch.whole").write("/nonexistent/file", { "text" }))) --> nil
function whole.write(path, parts)
  return core.write_file(path, table.concat(parts))
end

return whole
