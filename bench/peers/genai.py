"""OpenVINO GenAI as one of the systems under test: protocol.ts says what is asked and answered.

Run with one JSON object: the common setup, and kv ("f16" or "u8"), blocks (32-token blocks of the pool, 0: enough),
evict ({"start", "recent", "max", "snapkv"} or null), batch (tokens of a step).
"""

import json
import os
import sys
import time

import numpy as np
import openvino as ov
import openvino_genai as genai

BLOCK = 32


def pipeline(setup):
    scheduler = genai.SchedulerConfig()
    per_sequence = (setup["context"] + 64 + BLOCK - 1) // BLOCK + 1
    scheduler.num_kv_blocks = setup.get("blocks") or per_sequence * setup["sequences"]
    scheduler.max_num_seqs = setup["sequences"]
    scheduler.max_num_batched_tokens = setup.get("batch", 512)
    scheduler.dynamic_split_fuse = True
    scheduler.enable_prefix_caching = False
    evict = setup.get("evict")
    if evict:
        scheduler.use_cache_eviction = True
        scheduler.cache_eviction_config = genai.CacheEvictionConfig(
            evict["start"], evict["recent"], evict["max"], genai.AggregationMode.NORM_SUM,
            apply_rotation=False, snapkv_window_size=evict["snapkv"])
    properties = {
        "KV_CACHE_PRECISION": setup["kv"],
        "INFERENCE_NUM_THREADS": setup["threads"],
        "ENABLE_CPU_PINNING": len(setup["cpus"]) > 0,
    }
    return genai.ContinuousBatchingPipeline(setup["model"], scheduler, "CPU", properties)


def peak_rss():
    with open("/proc/self/status") as status:
        return int(status.read().split("VmHWM:")[1].split()[0]) * 1024


def work(pipe, tokens, prompts, count):
    config = genai.GenerationConfig()
    config.max_new_tokens = count + 1
    config.ignore_eos = True
    config.do_sample = False
    config.apply_chat_template = False
    start = time.perf_counter()
    handles = [pipe.add_request(i, ov.Tensor(tokens[:, at:at + length]), config)
               for i, (at, length) in enumerate(prompts)]
    first = [None] * len(handles)
    generated = [[] for _ in handles]
    begun = done = None  # when all had begun, and when the first was done: seconds and tokens so far
    while pipe.has_non_finished_requests():
        pipe.step()
        now = time.perf_counter() - start
        for i, handle in enumerate(handles):
            if not handle.can_read():
                continue
            for output in handle.read().values():
                generated[i] += output.generated_ids
            if first[i] is None:
                first[i] = now
        counts = [len(ids) for ids in generated]
        if begun is None and None not in first:
            begun = (now, sum(counts))
        if done is None and max(counts) > count:
            done = (now, sum(counts))
    seconds = time.perf_counter() - start
    if counts != [count + 1] * len(prompts):
        raise RuntimeError(f"{counts} tokens came, {count + 1} of each were asked for")
    steady = {"seconds": done[0] - begun[0], "tokens": done[1] - begun[1]} if done > begun else {"seconds": 0, "tokens": 0}
    return {"first": first, "steady": steady, "seconds": seconds, "generated": generated, "peakRss": peak_rss()}


def main():
    setup = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")  # the libraries write to the standard output as they like
    os.dup2(2, 1)

    def answer(value):
        print(json.dumps(value), file=answers, flush=True)

    with open(setup["tokens"]) as file:
        tokens = np.array([json.load(file)], dtype=np.int64)
    pipe = pipeline(setup)
    work(pipe, tokens, [(0, 16)], 2)
    answer({"ready": f"OpenVINO GenAI {genai.__version__.split('-')[0]}"})
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer(work(pipe, tokens, asked["prompts"], asked["count"]))
        except Exception as error:  # noqa: BLE001: told, and the next is tried
            answer({"error": str(error)})


main()
