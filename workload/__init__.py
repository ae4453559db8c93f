"""The reference workload: ResNet-50 under MLPerf's LoadGen, and a sweep of kernels. `python -m workload --help`.

Runs by itself, on a machine or in a container, and leaves a results folder (results_folder.py). It needs torch,
torchvision and mlcommons-loadgen; nothing here imports them until a run has begun.
"""
