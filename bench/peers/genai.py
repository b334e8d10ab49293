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
    generated = before = 0
    steady_from = None
    while pipe.has_non_finished_requests():
        pipe.step()
        now = time.perf_counter() - start
        for i, handle in enumerate(handles):
            if not handle.can_read():
                continue
            generated += sum(len(output.generated_ids) for output in handle.read().values())
            if first[i] is None:
                first[i] = now
        if steady_from is None and None not in first:
            steady_from, before = now, generated
    seconds = time.perf_counter() - start
    if None in first or generated != (count + 1) * len(prompts):
        raise RuntimeError(f"{generated} tokens came, {(count + 1) * len(prompts)} were asked for")
    return {"first": first, "steady": {"seconds": seconds - steady_from, "tokens": generated - before},
            "seconds": seconds, "peakRss": peak_rss()}


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
