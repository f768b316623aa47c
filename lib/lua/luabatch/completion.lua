--- Completion of the command line for shells: `luabatch completion bash|zsh|fish`.
-- @module luabatch.completion
local options = require "luabatch.options"

local completion = {}

completion.shells = { "bash", "zsh", "fish" }

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local scripts = {}

function scripts.bash()
  local cases, flags = {}, {}
  for _, option in ipairs(options.list) do
    local flag = option.name and "--" .. option.name or "-" .. option.letter
    flags[#flags + 1] = flag
    if option.choices then
      cases[#cases + 1] = ("    %s) COMPREPLY=($(compgen -W %s -- \"$word\")); return ;;"):format(flag,
        quoted(table.concat(option.choices, " ")))
    elseif option.is_path then
      cases[#cases + 1] = ("    %s) COMPREPLY=($(compgen -f -- \"$word\")); return ;;"):format(flag)
    elseif option.value then
      cases[#cases + 1] = ("    %s) return ;;"):format(flag)
    end
  end
  return ([==[
# Completion of luabatch for bash: source <(luabatch completion bash)
_luabatch() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
  # bash cuts words at "="
  if [[ $word == = ]]; then word=; elif [[ $before == = ]]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi
  case $before in
%s
    completion) COMPREPLY=($(compgen -W 'bash zsh fish' -- "$word")); return ;;
  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W %s -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}
complete -o filenames -o bashdefault -F _luabatch luabatch
]==]):format(table.concat(cases, "\n"), quoted(table.concat(flags, " ")))
end

function scripts.zsh()
  local lines = {}
  for _, option in ipairs(options.list) do
    local flag = option.name and "--" .. option.name or "-" .. option.letter
    local help = option.help:gsub("[%[%]:]", "\\%0")
    local value = ""
    if option.value then
      local what = option.choices and "(" .. table.concat(option.choices, " ") .. ")" or option.is_path and "_files" or " "
      value = (option.value == "optional" and "::" or ":") .. option.shown .. ":" .. what
      if option.value == "optional" then flag = flag .. "=-" elseif option.name then flag = flag .. "=" end
    end
    lines[#lines + 1] = "  " .. quoted(("%s[%s]%s"):format(flag, help, value)) .. " \\"
  end
  return ([[
#compdef luabatch
# Completion of luabatch for zsh: luabatch completion zsh > a directory of $fpath/_luabatch
_arguments -s \
%s
  '1:job file:_files -g "*.lua"' \
  '*:argument:_files'
]]):format(table.concat(lines, "\n"))
end

function scripts.fish()
  local lines = { "# Completion of luabatch for fish: luabatch completion fish | source" }
  for _, option in ipairs(options.list) do
    local flag = option.name and "-l " .. option.name or "-s " .. option.letter
    local value = option.choices and " -x -a " .. quoted(table.concat(option.choices, " "))
      or option.is_path and " -r" or option.value and " -x" or ""
    lines[#lines + 1] = ("complete -c luabatch %s%s -d %s"):format(flag, value, quoted(option.help))
  end
  return table.concat(lines, "\n") .. "\n"
end

--- The script for a shell.
-- @param shell "bash", "zsh" or "fish"
-- @return string, or nil and a message
function completion.script(shell)
  if scripts[shell] then return scripts[shell]() end
  return nil, ("completion: '%s' expected, got %s%s"):format(table.concat(completion.shells, "', '"),
    shell and "'" .. shell .. "'" or "nothing", shell and require("luabatch.suggest").hint(shell, completion.shells) or "")
end

return completion
