"""lm-eval's local-completions with the server's tokenizer: likelihoods of endings and of whole texts, and generation."""

import sys

import lm_eval.models  # noqa: F401  names the models that get_model knows
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model

url, model = sys.argv[1:]
settings = {
    "model": model,
    "base_url": f"{url}/v1/completions",
    "tokenizer_backend": "remote",
    "auth_token": "sesame",
    "header": {"Authorization": "Bearer sesame"},
    "max_length": 256,
    "max_retries": 1,
}


def ask(kind: str, *arguments: tuple) -> list:
    return [Instance(request_type=kind, doc={}, arguments=each, idx=i) for i, each in enumerate(arguments)]


def close(a: float, b: float) -> bool:
    return abs(a - b) < 1e-3


endings = ask("loglikelihood", ("It was", " so"), ("It was s", "o"), ("It was", " s"), ("", "It"))
texts = ask("loglikelihood_rolling", ("It was so.",), ("It was so. " * 40,))
begun = ask("generate_until", ("It was", {"until": ["\n\n"], "max_gen_toks": 8}), ("So", {"until": ["zz"], "max_gen_toks": 8}))

results = []
for more in ({}, {"num_concurrent": 4}, {"tokenized_requests": False}, {"batch_size": 4}):
    lm = get_model("local-completions")(**settings, **more)
    (so, so_greedy), (o, _), (s, _), (start, _) = lm.loglikelihood(endings, disable_tqdm=True)
    assert close(so, s + o) and start < 0, more  # the chain rule, over three requests
    short, long = lm.loglikelihood_rolling(texts, disable_tqdm=True)
    assert long < short < 0
    said = lm.generate_until(begun, disable_tqdm=True)
    results.append((so, so_greedy, short, long, said))
    # what greedy generation says is what is likeliest
    ((_, greedy),) = lm.loglikelihood(ask("loglikelihood", ("It was", said[0][:1])), disable_tqdm=True)
    assert greedy
for each in results:
    assert each[4] == results[0][4]
    assert all(close(a, b) for a, b in zip(each[:4], results[0][:4])), results

tokenizer = lm.tokenizer
assert tokenizer.decode(tokenizer.encode("It was so.")) == "It was so."
assert tokenizer.eos_token == "<|im_end|>" and tokenizer.encode(tokenizer.eos_token) == [tokenizer.eos_token_id]
assert "<tool_call>" in tokenizer.tokenizer_info["chat_template"]
