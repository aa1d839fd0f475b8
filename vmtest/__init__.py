"""
The VM rig: real Debian kernels under QEMU, real OOM kills, and the product watching from inside.

``python3 -m vmtest --help`` from the root of the repository; ``README.md`` beside this file tells the whole story.
"""
