"""langchain-openai: chats, streams, tools, structured output by each of its methods, and its responses."""

import sys
from typing import Literal

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import BaseModel, Field

url, model = sys.argv[1:]
settings = {"base_url": f"{url}/v1", "api_key": "sesame", "model": model, "max_retries": 0, "temperature": 0}
chat = ChatOpenAI(**settings, max_tokens=400)
short = ChatOpenAI(**settings, max_tokens=12, logit_bias={96: -100, 97: -100})


class Thing(BaseModel):
    """A thing."""

    colour: Literal["red", "blue"]
    size: int = Field(ge=1, le=9)


@tool
def weather(city: Literal["Paris", "Rome"], days: Literal[1, 2, 3]) -> str:
    """Of a city."""
    return f"{days} days of sun in {city}"


# a chat, streamed, with the usage that langchain asks for
said = short.invoke("Hi")
assert len(said.content) == 12 and said.usage_metadata["output_tokens"] == 12
parts = list(short.stream("Hi", stream_usage=True))
assert "".join(part.content for part in parts) == said.content
assert sum(part.usage_metadata["output_tokens"] for part in parts if part.usage_metadata) == 12
assert len(short.batch(["Hi", "Ho"])) == 2
assert isinstance(OpenAI(**settings, max_tokens=12).invoke("Hi"), str)

# a tool: called, run, answered
called = chat.bind_tools([weather], tool_choice="any", parallel_tool_calls=False).invoke("Hi")
(call,) = called.tool_calls
assert call["args"]["city"] in ("Paris", "Rome") and call["args"]["days"] in (1, 2, 3) and not called.invalid_tool_calls
result = weather.invoke(call)
assert isinstance(result, ToolMessage) and "days of sun" in result.content
assert short.invoke([HumanMessage("Hi"), called, result]).content
named = chat.bind_tools([weather], tool_choice="weather", strict=True)
whole = None
for part in named.stream("Hi"):
    whole = part if whole is None else whole + part
assert whole.tool_calls[0]["name"] == "weather" and whole.tool_calls[0]["args"]["city"] in ("Paris", "Rome")

# structured output
for method in ("json_schema", "function_calling", "json_mode"):
    if method != "json_mode":
        assert isinstance(chat.with_structured_output(Thing, method=method).invoke("Hi"), Thing), method
    else:  # any object
        assert "parsed" in chat.bind(logit_bias={2: 5, 93: 5}).with_structured_output(
            Thing, method=method, include_raw=True
        ).invoke("Hi")

# OpenAI's newer API
newer = ChatOpenAI(**settings, max_tokens=12, use_responses_api=True, extra_body={"logit_bias": {96: -100, 97: -100}})
assert newer.invoke("Hi").text == said.content
assert "".join(part.text for part in newer.stream("Hi")) == said.content
responses = ChatOpenAI(**settings, max_tokens=400, use_responses_api=True)
assert responses.bind_tools([weather], tool_choice="any").invoke("Hi").tool_calls[0]["name"] == "weather"
assert isinstance(responses.with_structured_output(Thing).invoke("Hi"), Thing)
