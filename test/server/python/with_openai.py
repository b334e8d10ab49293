"""OpenAI's package: chats, tools, parsing by a schema, responses; the same calls with the asynchronous client."""

import asyncio
import json
import sys
from typing import Literal

import openai
from pydantic import BaseModel, Field

url, model = sys.argv[1:]
client = openai.OpenAI(base_url=f"{url}/v1", api_key="sesame", max_retries=0)
asking = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 400, "temperature": 0}
weather = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
            "required": ["city", "days"],
        },
    },
}


class Thing(BaseModel):
    colour: Literal["red", "blue"]
    size: int = Field(ge=1, le=9)


class Weather(BaseModel):
    """Of a city."""

    city: Literal["Paris", "Rome"]


# a chat, whole and streamed
short = {**asking, "max_tokens": 12, "logit_bias": {"96": -100, "97": -100}}
whole = client.chat.completions.create(**short)
assert whole.choices[0].finish_reason == "length" and whole.usage.completion_tokens == 12
stream = client.chat.completions.create(**short, stream=True, stream_options={"include_usage": True})
chunks = list(stream)
assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens
raw = client.chat.completions.with_raw_response.create(**short)
assert raw.status_code == 200 and raw.parse().choices[0].message.content == whole.choices[0].message.content

# tools: called, streamed, answered
must = {**asking, "tools": [weather], "tool_choice": "required", "parallel_tool_calls": False}
message = client.chat.completions.create(**must).choices[0].message
(call,) = message.tool_calls
given = json.loads(call.function.arguments)
assert given["city"] in ("Paris", "Rome") and 1 <= given["days"] <= 9
deltas = [d for c in client.chat.completions.create(**must, stream=True) for d in c.choices[0].delta.tool_calls or []]
assert [d.id is not None for d in deltas].count(True) == 1 and deltas[0].function.name == "weather"
assert "".join(d.function.arguments or "" for d in deltas) == call.function.arguments
with client.chat.completions.stream(**must) as events:
    kinds = {event.type for event in events}
    final = events.get_final_completion()
assert {"tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= kinds, kinds
assert final.choices[0].message.tool_calls[0].function.arguments == call.function.arguments
answer = {"role": "tool", "tool_call_id": call.id, "content": json.dumps({"sky": "blue"})}
after = client.chat.completions.create(**{**short, "messages": [*asking["messages"], message, answer]})
assert after.choices[0].message.content

# parse: what is said, and arguments of a call, as pydantic's models
parsed = client.chat.completions.parse(**asking, response_format=Thing)
assert isinstance(parsed.choices[0].message.parsed, Thing)
called = client.chat.completions.parse(**asking, tools=[openai.pydantic_function_tool(Weather)], tool_choice="required")
assert isinstance(called.choices[0].message.tool_calls[0].function.parsed_arguments, Weather)
with client.chat.completions.stream(**asking, response_format=Thing) as events:
    assert isinstance(events.get_final_completion().choices[0].message.parsed, Thing)

# responses: created, streamed, continued, parsed, with a tool
said = {"model": model, "input": "Hi", "max_output_tokens": 12, "temperature": 0}
bias = {"logit_bias": {"96": -100, "97": -100}}
first = client.responses.create(**said, extra_body=bias)
assert first.status == "incomplete" and len(first.output_text) == 12
with client.responses.stream(**said, extra_body=bias) as events:
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
assert text == first.output_text
second = client.responses.create(**{**said, "input": "More"}, previous_response_id=first.id, extra_body=bias)
assert second.usage.input_tokens > first.usage.input_tokens + 12
long = {**said, "max_output_tokens": 400}
assert isinstance(client.responses.parse(**long, text_format=Thing).output_parsed, Thing)
flat = {"type": "function", **weather["function"], "strict": False}
tooled = client.responses.create(**long, tools=[flat], tool_choice="required", parallel_tool_calls=False)
(item,) = [each for each in tooled.output if each.type == "function_call"]
assert json.loads(item.arguments)["city"] in ("Paris", "Rome")
result = {"type": "function_call_output", "call_id": item.call_id, "output": "blue"}
done = client.responses.create(**{**said, "input": [result]}, previous_response_id=tooled.id, extra_body=bias)
assert len(done.output_text) == 12
manual = client.responses.create(
    **{**said, "input": [{"role": "user", "content": "Hi"}, *tooled.output, result]}, extra_body=bias
)
assert manual.output_text == done.output_text


async def together() -> None:
    """Two at once, and a stream."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sesame", max_retries=0) as other:
        both = await asyncio.gather(*(other.chat.completions.create(**short) for _ in range(2)))
        assert {each.choices[0].message.content for each in both} == {whole.choices[0].message.content}
        parts = [c async for c in await other.chat.completions.create(**short, stream=True)]
        assert "".join(p.choices[0].delta.content or "" for p in parts) == whole.choices[0].message.content


asyncio.run(together())

try:
    client.chat.completions.create(**asking, tools=[weather], tool_choice={"type": "function", "function": {"name": "x"}})
    raise AssertionError("a tool that is not there was taken")
except openai.BadRequestError as error:
    assert error.param == "tool_choice"
