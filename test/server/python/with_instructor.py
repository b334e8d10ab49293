"""instructor: pydantic's models by tools, by JSON of a schema, and in parts while they are written."""

import sys
from typing import Literal

import instructor
import openai
from pydantic import BaseModel, Field

url, model = sys.argv[1:]
asking = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 400, "temperature": 0}


class Thing(BaseModel):
    colour: Literal["red", "blue"]
    size: int = Field(ge=1, le=9)


plain = openai.OpenAI(base_url=f"{url}/v1", api_key="sesame", max_retries=0)
modes = instructor.Mode
for mode in (modes.TOOLS, modes.TOOLS_STRICT, modes.JSON_SCHEMA, modes.RESPONSES_TOOLS):
    client = instructor.from_openai(plain, mode=mode)
    given = {**asking}
    if mode is modes.RESPONSES_TOOLS:
        given["max_output_tokens"] = given.pop("max_tokens")
    assert isinstance(client.chat.completions.create(**given, response_model=Thing, max_retries=0), Thing), mode

client = instructor.from_openai(plain, mode=modes.TOOLS)
parts = list(client.chat.completions.create_partial(**asking, response_model=Thing))
assert parts[-1].colour in ("red", "blue") and 1 <= parts[-1].size <= 9
