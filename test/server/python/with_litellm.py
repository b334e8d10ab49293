"""litellm, through its providers for servers that speak OpenAI's API and Anthropic's."""

import json
import sys
from typing import Literal

import litellm
from pydantic import BaseModel, Field

url, model = sys.argv[1:]
messages = [{"role": "user", "content": "Hi"}]
asking = {"api_key": "sesame", "messages": messages, "temperature": 0, "max_tokens": 400, "num_retries": 0}
# with tools this release loads its MCP proxy, which wants packages that litellm does not bring
asking["_skip_mcp_handler"] = True
openai = {**asking, "model": f"openai/{model}", "api_base": f"{url}/v1"}
vllm = {**asking, "model": f"hosted_vllm/{model}", "api_base": f"{url}/v1"}
anthropic = {**asking, "model": f"anthropic/{model}", "api_base": url}
short = {"max_tokens": 12, "logit_bias": {"96": -100, "97": -100}}
litellm.suppress_debug_info = True
weather = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
            "required": ["city"],
        },
    },
}


class Thing(BaseModel):
    colour: Literal["red", "blue"]
    size: int = Field(ge=1, le=9)


for provider in (openai, vllm):
    said = litellm.completion(**{**provider, **short})
    assert len(said.choices[0].message.content) == 12 and said.usage.completion_tokens == 12
    stream = litellm.completion(**{**provider, **short}, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == said.choices[0].message.content

for provider in (openai, vllm, anthropic):
    must = {**provider, "tools": [weather], "tool_choice": "required"}
    message = litellm.completion(**must).choices[0].message
    call = message.tool_calls[0]
    assert call.function.name == "weather" and json.loads(call.function.arguments)["city"] in ("Paris", "Rome")
    built = litellm.stream_chunk_builder(list(litellm.completion(**must, stream=True)))
    assert json.loads(built.choices[0].message.tool_calls[0].function.arguments)["city"] in ("Paris", "Rome")
    history = [*messages, message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": "blue"}]
    after = litellm.completion(**{**provider, "messages": history, "max_tokens": 12, "tools": [weather]})
    assert after.usage.completion_tokens == 12

for provider in (openai, vllm):
    parsed = litellm.completion(**provider, response_format=Thing).choices[0].message.content
    Thing.model_validate_json(parsed)
