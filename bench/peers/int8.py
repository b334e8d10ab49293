"""Writes an OpenVINO model with 8-bit weights from an F16 GGUF file: int8.py GGUF FOLDER.

GenAI's own reader saves the graph it builds, and NNCF compresses its weights by channel, as `optimum-cli export openvino
--weight-format int8` does.
"""

import os
import shutil
import sys
import tempfile

import nncf
import openvino as ov
import openvino_genai as genai

source, folder = sys.argv[1:3]
with tempfile.TemporaryDirectory(dir=os.path.dirname(folder)) as draft:
    link = os.path.join(draft, "model.gguf")
    os.symlink(os.path.abspath(source), link)
    genai.LLMPipeline(link, "CPU", enable_save_ov_model=True)  # writes openvino_*.xml beside the link
    model = ov.Core().read_model(os.path.join(draft, "openvino_model.xml"))
    model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
    done = os.path.join(draft, "done")
    os.mkdir(done)
    ov.save_model(model, os.path.join(done, "openvino_model.xml"))
    for name in os.listdir(draft):
        if "tokenizer" in name:
            shutil.copy(os.path.join(draft, name), os.path.join(done, name))
    os.rename(done, folder)
