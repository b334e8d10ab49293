/** Chat templates, cut down to what tells how their models call tools and think. */
export const QWEN = `{%- if tools %}{{- '<|im_start|>system\\n<tools>' }}{%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}{{- '\\n</tools> <tool_call>\\n{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|im_end|>\\n' }}{%- endif %}
{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content }}{%- if m.tool_calls %}{%- for call in m.tool_calls %}{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}{{- call.function.arguments | tojson }}{{- '}\\n</tool_call>' }}{%- endfor %}{%- endif %}{{- '<|im_end|>\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}`;
export const THINK = `${QWEN}{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- elif begin %}{{- '<think>\\n' }}{%- endif %}`;
export const MISTRAL = `{%- if tools is not none %}{{- '[AVAILABLE_TOOLS] ' + (tools | tojson) }}{%- endif %}{%- for m in messages %}{{- m.content }}{%- if m.tool_calls %}{{- '[TOOL_CALLS] ' }}{%- endif %}{%- endfor %}`;
export const LLAMA = `{{- 'Environment: ipython ' }}{%- if tools is not none %}{{- '{"name": function name, "parameters": dictionary}' + (tools | tojson) }}{%- endif %}{%- for m in messages %}{{- m.content }}{%- if m.tool_calls %}{{- m.tool_calls[0].function | tojson }}{%- endif %}{%- endfor %}`;
export const PLAIN = '{%- for m in messages %}{{- m.content }}{%- endfor %}';
